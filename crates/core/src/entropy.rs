//! Randomness as a value.

use std::sync::Mutex;

/// Where random bytes come from.
pub trait Entropy: Send + Sync {
    /// Fills `buf` with bytes nobody can guess.
    fn fill(&self, buf: &mut [u8]);
}

/// Random bytes as an array.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut buf = [0u8; N];
    entropy.fill(&mut buf);
    buf
}

/// The operating system's generator.
#[derive(Debug, Default)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buf: &mut [u8]) {
        #[expect(clippy::disallowed_methods, reason = "the one place where real randomness enters")]
        let filled = getrandom::fill(buf);
        // Going on with guessable secrets would be worse than stopping.
        filled.expect("the operating system gives random bytes");
    }
}

/// A repeatable stream for tests: SHA-256 of seed and counter. Never for production.
#[derive(Debug)]
pub struct SeededEntropy(Mutex<(u64, u64)>);

impl SeededEntropy {
    /// A stream that is the same for the same seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new((seed, 0)))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, buf: &mut [u8]) {
        use sha2::Digest;
        let mut state = self.0.lock().expect("no holder of this lock can panic");
        for chunk in buf.chunks_mut(32) {
            let mut hash = sha2::Sha256::new();
            hash.update(state.0.to_le_bytes());
            hash.update(state.1.to_le_bytes());
            state.1 += 1;
            chunk.copy_from_slice(&hash.finalize()[..chunk.len()]);
        }
    }
}
