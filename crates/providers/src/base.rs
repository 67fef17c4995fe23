//! Base addresses of providers, as configured.

use url::{Host, Url};

/// Why a configured base address is refused. Names no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not an absolute URL.
    #[error("the address is not an absolute URL")]
    NotAUrl,
    /// Neither https nor a loopback host.
    #[error("the address must be https unless its host is loopback")]
    NotHttps,
    /// The account's placeholder is missing or stands there twice.
    #[error("the address must contain {0} exactly once")]
    Placeholder(&'static str),
    /// Holds a user name, query or fragment.
    #[error("the address must be scheme, host, port and path only")]
    Parts,
    /// Names a number instead of a host, other than loopback.
    #[error("the address must name a host, not a number, unless it is loopback")]
    Address,
}

/// A base address, with one placeholder for the account where the provider has a host for each.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    text: String,
    placeholder: Option<&'static str>,
}

impl Base {
    /// Reads `text`; `placeholder` (`{shop}`, `{org}`) must stand in it once, in host or path.
    pub(crate) fn parse(text: &str, placeholder: Option<&'static str>) -> Result<Self, ConfigError> {
        let text = text.trim().trim_end_matches('/').to_owned();
        if let Some(mark) = placeholder
            && text.matches(mark).count() != 1
        {
            return Err(ConfigError::Placeholder(mark));
        }
        let base = Self { text, placeholder };
        // A value of the shape every account name has; what it looks like filled in is what is judged.
        let url = Url::parse(&base.of("sample")).map_err(|_| ConfigError::NotAUrl)?;
        if !url.username().is_empty()
            || url.password().is_some()
            || url.query().is_some()
            || url.fragment().is_some()
        {
            return Err(ConfigError::Parts);
        }
        check(&url)?;
        Ok(base)
    }

    /// The address of one account, without a closing slash.
    pub(crate) fn of(&self, account: &str) -> String {
        match self.placeholder {
            Some(mark) => self.text.replace(mark, account),
            None => self.text.clone(),
        }
    }
}

/// Whether an address may be spoken to at all (`security.md` 1, outbound hosts): https to a named host, or a
/// loopback host. Which named hosts there are is decided by [`Base`], whose accounts are typed names.
pub(crate) fn check(url: &Url) -> Result<(), ConfigError> {
    let (loopback, number) = match url.host() {
        None => return Err(ConfigError::NotAUrl),
        Some(Host::Domain(name)) => (name == "localhost" || name.ends_with(".localhost"), false),
        Some(Host::Ipv4(ip)) => (ip.is_loopback(), true),
        // A v4-mapped loopback address is refused like every other number.
        Some(Host::Ipv6(ip)) => (ip.is_loopback(), true),
    };
    match url.scheme() {
        "http" | "https" if loopback => Ok(()),
        "https" if number => Err(ConfigError::Address),
        "https" => Ok(()),
        _ => Err(ConfigError::NotHttps),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn https_and_loopback_are_accepted_and_nothing_else() {
        for good in [
            "https://{shop}",
            "https://{shop}/",
            "http://127.0.0.1:9/{shop}",
            "http://[::1]:9/s/{shop}",
            "http://{shop}.localhost:4000",
            "http://localhost:4000/{shop}",
        ] {
            assert!(Base::parse(good, Some("{shop}")).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("http://{shop}", ConfigError::NotHttps),
            ("ftp://127.0.0.1/{shop}", ConfigError::NotHttps),
            ("http://10.0.0.1/{shop}", ConfigError::NotHttps),
            ("https://10.0.0.1/{shop}", ConfigError::Address),
            ("https://169.254.169.254/{shop}", ConfigError::Address),
            ("https://[::ffff:127.0.0.1]/{shop}", ConfigError::Address),
            ("https://[64:ff9b::a00:1]/{shop}", ConfigError::Address),
            ("https://2130706433.1/{shop}", ConfigError::NotAUrl),
            ("https://shop.example", ConfigError::Placeholder("{shop}")),
            ("https://{shop}/{shop}", ConfigError::Placeholder("{shop}")),
            ("https://u:p@{shop}", ConfigError::Parts),
            ("https://{shop}/?a=b", ConfigError::Parts),
            ("{shop}", ConfigError::NotAUrl),
        ] {
            assert_eq!(Base::parse(bad, Some("{shop}")).map(|_| ()), Err(why), "{bad}");
        }
    }
}
