//! Passwords: Argon2id, off the async threads, a few at a time.

use crate::error::AppError;
use agenstack_core::entropy::{Entropy, bytes};
use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Params, Version};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::Semaphore;

/// At least this many characters; length is what counts (no rules on kinds of characters).
pub const MIN_CHARS: usize = 12;
/// At most this many bytes, so that a log-in cannot be made expensive.
pub const MAX_BYTES: usize = 256;

/// 19 MiB, two passes, one lane: the first choice of OWASP's password storage sheet for Argon2id.
fn argon2() -> Argon2<'static> {
    let params = Params::new(19 * 1024, 2, 1, None).expect("the parameters are within Argon2's bounds");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

/// Hashes and checks passwords, at most two at a time: each takes 19 MiB and a core.
pub struct Hasher {
    slots: Semaphore,
    /// Checked against when there is no such account, so that the answer takes the same time.
    decoy: String,
}

fn hash(password: &SecretString, salt: &[u8; 16]) -> Result<String, AppError> {
    let hash = argon2().hash_password_with_salt(password.expose_secret().as_bytes(), salt);
    hash.map(|h| h.to_string()).map_err(|e| AppError::Internal(e.to_string().into()))
}

/// What no password is known to hash to: checking one against it takes as long as against any. Made without hashing anything,
/// since each process makes one, and most of them never let anybody in.
fn decoy(entropy: &dyn Entropy) -> String {
    let bounds = "the parameters are within Argon2's bounds";
    let decoy = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(argon2().params()).expect(bounds),
        salt: Some(Salt::new(&bytes::<16>(entropy)).expect(bounds)),
        hash: Some(Output::new(&bytes::<{ Params::DEFAULT_OUTPUT_LEN }>(entropy)).expect(bounds)),
    };
    decoy.to_string()
}

impl Hasher {
    pub(crate) fn new(entropy: &dyn Entropy) -> Self {
        Self { slots: Semaphore::new(2), decoy: decoy(entropy) }
    }

    async fn work<T: Send + 'static>(&self, f: impl FnOnce() -> T + Send + 'static) -> Result<T, AppError> {
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");
        tokio::task::spawn_blocking(f).await.map_err(|e| AppError::Internal(Box::new(e)))
    }

    /// A hash to store, in PHC form.
    ///
    /// # Errors
    /// Names the rule that the password breaks.
    pub(crate) async fn hash(
        &self,
        password: SecretString,
        entropy: &dyn Entropy,
    ) -> Result<String, AppError> {
        check_rules(&password)?;
        let salt = bytes(entropy);
        self.work(move || hash(&password, &salt)).await?
    }

    /// Whether the password is the one of `stored`; without `stored` it takes as long and says no.
    ///
    /// # Errors
    /// If the work could not be done: then nobody is let in.
    pub(crate) async fn verify(
        &self,
        password: SecretString,
        stored: Option<String>,
    ) -> Result<bool, AppError> {
        let known = stored.is_some();
        let phc = stored.unwrap_or_else(|| self.decoy.clone());
        let right = self
            .work(move || {
                let short_enough = password.expose_secret().len() <= MAX_BYTES;
                let presented = if short_enough { password.expose_secret().as_bytes() } else { b"" };
                PasswordHash::new(&phc)
                    .is_ok_and(|hash| argon2().verify_password(presented, &hash).is_ok() && short_enough)
            })
            .await?;
        Ok(known && right)
    }
}

fn check_rules(password: &SecretString) -> Result<(), AppError> {
    let text = password.expose_secret();
    if text.chars().count() < MIN_CHARS {
        return Err(AppError::invalid(
            "password",
            format!("The password needs at least {MIN_CHARS} characters."),
        ));
    }
    if text.len() > MAX_BYTES {
        return Err(AppError::invalid(
            "password",
            format!("The password may have at most {MAX_BYTES} bytes."),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use agenstack_core::entropy::SeededEntropy;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_is_accepted() {
        let entropy = SeededEntropy::new(1);
        let hasher = Hasher::new(&entropy);
        let stored = hasher.hash("correct horse battery".to_owned().into(), &entropy).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{stored}");
        assert!(
            hasher.verify("correct horse battery".to_owned().into(), Some(stored.clone())).await.unwrap()
        );
        assert!(
            !hasher.verify("correct horse batterz".to_owned().into(), Some(stored.clone())).await.unwrap()
        );
        assert!(!hasher.verify("correct horse battery".to_owned().into(), None).await.unwrap());
        // An imported row that holds a plain password opens for nobody.
        assert!(
            !hasher
                .verify("plain password 1".to_owned().into(), Some("plain password 1".into()))
                .await
                .unwrap()
        );
    }

    #[tokio::test]
    async fn what_is_checked_where_nobody_is_known_has_the_form_of_what_is_stored() {
        let entropy = SeededEntropy::new(1);
        let hasher = Hasher::new(&entropy);
        let stored = hasher.hash("correct horse battery".to_owned().into(), &entropy).await.unwrap();
        let form = |phc: &str| {
            let hash = PasswordHash::new(phc).unwrap();
            let (salt, output) = (hash.salt.unwrap().len(), hash.hash.unwrap().len());
            (hash.algorithm, hash.version, hash.params.to_string(), salt, output)
        };
        assert_eq!(form(&hasher.decoy), form(&stored));
        assert_ne!(hasher.decoy, Hasher::new(&entropy).decoy, "each process has its own");
    }

    #[tokio::test]
    async fn a_short_and_an_endless_password_are_refused_with_the_rule() {
        let entropy = SeededEntropy::new(1);
        let hasher = Hasher::new(&entropy);
        for bad in ["short".to_owned(), "x".repeat(257)] {
            let refused = hasher.hash(bad.into(), &entropy).await;
            assert!(matches!(refused, Err(AppError::Invalid { field: "password", .. })));
        }
    }
}
