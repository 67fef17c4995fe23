//! What must hold while machines fail: each fault is made on purpose, seeded and bounded, under load, and a ledger of what
//! was acknowledged is compared with the database afterwards. The figures of the long forms are in `docs/reliability.md`.

mod bulk;
mod certificate;
mod cluster;
mod disk;
mod failover;
mod flood;
mod full;
mod kill;
mod ledger;
mod load;
mod node;
mod outage;
mod place;
mod poison;
mod power;
mod proxy;
mod replay;
mod restore;
mod roll;
mod skew;
mod stall;
mod stop;
mod storm;
mod tls;

use agenstack_core::entropy::{SeededEntropy, bytes};

/// How often something is done: a little in every run of the tests, as often as the variable says otherwise.
fn times(variable: &str, few: usize) -> usize {
    std::env::var_os(variable).and_then(|n| n.into_string().ok()?.parse().ok()).unwrap_or(few)
}

/// Chance that is the same for the same seed: `AGENSTACK_TEST_SEED`.
struct Dice(SeededEntropy);

impl Dice {
    fn new() -> Self {
        let seed = times("AGENSTACK_TEST_SEED", 1);
        tell(&format!("seed {seed}"));
        Self(SeededEntropy::new(seed as u64))
    }

    /// A number from 0 up to, and without, `n`.
    fn below(&self, n: usize) -> usize {
        (u64::from_le_bytes(bytes(&self.0)) % n as u64) as usize
    }
}

/// A figure of this run, for whoever runs it with `--nocapture`.
#[expect(clippy::print_stdout, reason = "the harness shows what a test prints when it is asked to")]
fn tell(figure: &str) {
    println!("{figure}");
}
