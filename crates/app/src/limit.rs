//! Limits on attempts to log in and sign up, in this process.
//!
//! A log-in counts against three buckets: the address, the address with the account, and the account. The last is
//! so much wider than the second that one stranger cannot lock an owner out, however long they try.

use crate::error::AppError;
use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// The buckets.
pub struct Limits {
    clock: DefaultClock,
    address: DefaultKeyedRateLimiter<IpAddr>,
    pair: DefaultKeyedRateLimiter<(IpAddr, String)>,
    account: DefaultKeyedRateLimiter<String>,
    signup: DefaultKeyedRateLimiter<IpAddr>,
    reset: DefaultKeyedRateLimiter<IpAddr>,
    reset_pair: DefaultKeyedRateLimiter<(IpAddr, String)>,
    reset_account: DefaultKeyedRateLimiter<String>,
}

fn bucket<K: std::hash::Hash + Eq + Clone>(
    burst: u32,
    one_more_every: Duration,
) -> DefaultKeyedRateLimiter<K> {
    let burst = NonZeroU32::new(burst).expect("bursts are written as positive numbers");
    let quota =
        Quota::with_period(one_more_every).expect("periods are written as positive").allow_burst(burst);
    RateLimiter::keyed(quota)
}

impl Limits {
    pub(crate) fn new() -> Self {
        Self {
            clock: DefaultClock::default(),
            address: bucket(60, Duration::from_secs(2)),
            pair: bucket(10, Duration::from_secs(30)),
            account: bucket(100, Duration::from_secs(10)),
            signup: bucket(60, Duration::from_secs(10)),
            reset: bucket(30, Duration::from_secs(10)),
            reset_pair: bucket(3, Duration::from_secs(300)),
            reset_account: bucket(20, Duration::from_secs(300)),
        }
    }

    /// One attempt to log in.
    ///
    /// # Errors
    /// [`AppError::TooMany`] with the seconds until another counts.
    pub(crate) fn login(&self, address: IpAddr, email: &str) -> Result<(), AppError> {
        // The narrow buckets first, so that a limited stranger does not use up the wide one.
        self.take(&self.address, &network(address))?;
        self.take(&self.pair, &(network(address), email.to_owned()))?;
        self.take(&self.account, &email.to_owned())
    }

    /// One request of the operator's page, right or wrong: an attempt that is not let through must not tell whether the
    /// password was right. No bucket is shared between addresses, so that nobody can lock the operator out elsewhere.
    ///
    /// # Errors
    /// [`AppError::TooMany`] with the seconds until another counts.
    pub(crate) fn operator(&self, address: IpAddr) -> Result<(), AppError> {
        self.take(&self.address, &network(address))
    }

    /// One attempt to sign up.
    ///
    /// # Errors
    /// [`AppError::TooMany`] with the seconds until another counts.
    pub(crate) fn signup(&self, address: IpAddr) -> Result<(), AppError> {
        self.take(&self.signup, &network(address))
    }

    /// One request for a link to a new password: nobody's mailbox is filled with them.
    ///
    /// # Errors
    /// [`AppError::TooMany`] with the seconds until another counts.
    pub(crate) fn reset(&self, address: IpAddr, email: &str) -> Result<(), AppError> {
        self.take(&self.reset, &network(address))?;
        self.take(&self.reset_pair, &(network(address), email.to_owned()))?;
        self.take(&self.reset_account, &email.to_owned())
    }

    /// One attempt to choose a password by a link.
    ///
    /// # Errors
    /// [`AppError::TooMany`] with the seconds until another counts.
    pub(crate) fn reset_choice(&self, address: IpAddr) -> Result<(), AppError> {
        self.take(&self.reset, &network(address))
    }

    /// Forgets full buckets, so that memory does not grow with the number of addresses seen.
    pub(crate) fn sweep(&self) {
        self.address.retain_recent();
        self.pair.retain_recent();
        self.account.retain_recent();
        self.signup.retain_recent();
        self.reset.retain_recent();
        self.reset_pair.retain_recent();
        self.reset_account.retain_recent();
    }

    fn take<K: std::hash::Hash + Eq + Clone>(
        &self,
        bucket: &DefaultKeyedRateLimiter<K>,
        key: &K,
    ) -> Result<(), AppError> {
        bucket.check_key(key).map_err(|until| AppError::TooMany {
            retry_after_secs: until.wait_time_from(self.clock.now()).as_secs() + 1,
        })
    }
}

/// One customer of an access network holds a whole IPv6 /64.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_stranger_is_limited_and_does_not_lock_the_owner_out() {
        let limits = Limits::new();
        let (stranger, owner) = ([203, 0, 113, 9].into(), [198, 51, 100, 7].into());
        let refused = (0..1000).filter(|_| limits.login(stranger, "v@example.com").is_err()).count();
        assert!(refused >= 985, "{refused}");
        assert!(limits.login(owner, "v@example.com").is_ok());
    }

    #[test]
    fn the_operators_page_is_limited_for_one_stranger_and_open_to_the_operator() {
        let limits = Limits::new();
        let (stranger, operator) = ([203, 0, 113, 9].into(), [198, 51, 100, 7].into());
        assert!((0..1000).filter(|_| limits.operator(stranger).is_ok()).count() <= 61);
        assert!(limits.operator(operator).is_ok());
    }

    #[test]
    fn addresses_of_one_ipv6_network_share_a_bucket() {
        let limits = Limits::new();
        let tried = (0..200u128).map(|n| IpAddr::V6((0x2001_0db8 << 96 | n).into()));
        assert!(tried.filter(|a| limits.login(*a, &format!("{a}@example.com")).is_ok()).count() <= 61);
    }
}
