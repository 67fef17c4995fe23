//! `[server]`: where it listens, how it is reached, whom it believes.

use super::setting::Settings;
use ipnet::IpNet;
use secrecy::SecretString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use url::{Host, Url};

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// Where it listens, how it is reached, whom it believes.
#[derive(Clone, Debug)]
pub struct Server {
    /// The address of the server.
    pub listen: SocketAddr,
    /// How browsers and providers reach it.
    pub public_url: PublicUrl,
    /// Whether `public_url` was given; otherwise it follows `listen`.
    pub public_url_given: bool,
    /// The address of `/metrics`; `None`: off.
    pub metrics_listen: Option<SocketAddr>,
    /// Whose `X-Forwarded-For` is believed. Empty: nobody's.
    pub trusted_proxies: Vec<IpNet>,
    /// What the operator's page asks for; `None`: there is no such page.
    pub operator_password: Option<SecretString>,
    /// How much accepted work is done at once.
    pub workers: usize,
    /// How long a stopping server waits for what is under way.
    pub shutdown: Duration,
}

impl Server {
    pub(super) fn read(settings: &mut Settings) -> Self {
        let listen = settings.parse("AGENSTACK_LISTEN", address).unwrap_or(LISTEN);
        let public_url = settings.parse("AGENSTACK_PUBLIC_URL", PublicUrl::parse);
        let metrics_listen = settings.parse("AGENSTACK_METRICS_LISTEN", address);
        if metrics_listen == Some(listen) && listen.port() != 0 {
            settings.problem(
                "AGENSTACK_METRICS_LISTEN",
                "is the address of AGENSTACK_LISTEN; metrics need their own",
            );
        }
        let trusted_proxies = settings.parse("AGENSTACK_TRUSTED_PROXIES", networks).unwrap_or_default();
        settings.parse_secret("AGENSTACK_OPERATOR_PASSWORD", |text| match text.chars().count() {
            16.. => Ok(()),
            _ => Err("must have at least 16 characters".to_owned()),
        });
        let operator_password = settings.secret("AGENSTACK_OPERATOR_PASSWORD");
        let workers = settings.parse("AGENSTACK_WORKERS", |text| number(text, 1..=256)).unwrap_or(16);
        let secs = settings.parse("AGENSTACK_SHUTDOWN_SECS", |text| number(text, 0..=3600)).unwrap_or(20);
        Self {
            listen,
            public_url_given: public_url.is_some(),
            public_url: public_url.unwrap_or_else(|| PublicUrl::of(listen)),
            metrics_listen,
            trusted_proxies,
            operator_password,
            workers,
            shutdown: Duration::from_secs(secs as u64),
        }
    }
}

/// Scheme, host and port by which browsers and providers reach the server; no slash at the end.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// Reads a URL: https, or http for a loopback host; nothing behind the host but a slash.
    pub fn parse(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|_not_shown| "expected a URL such as https://chat.example.com")?;
        let host = url.host().ok_or("expected a URL with a host, such as https://chat.example.com")?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => {
                return Err("must be https: only a loopback host, such as 127.0.0.1, may be http".to_owned());
            }
            _ => return Err("must begin with https://".to_owned()),
        }
        let has_user = !url.username().is_empty() || url.password().is_some();
        if has_user || url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err("must end after the host and the port, without user, path or query".to_owned());
        }
        Ok(Self(url.origin().ascii_serialization()))
    }

    /// The URL of a server that listens here and is reached from this machine only.
    pub fn of(listen: SocketAddr) -> Self {
        let ip = if listen.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { listen.ip() };
        Self(format!("http://{}", SocketAddr::new(ip, listen.port())))
    }

    /// The URL, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is https, so that cookies are `Secure`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https://")
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicUrl({})", self.0)
    }
}

/// Whether nothing sent to this host leaves the machine. Names below `localhost` are loopback by RFC 6761.
pub(super) fn is_loopback<S: AsRef<str>>(host: &Host<S>) -> bool {
    match host {
        Host::Domain(name) => {
            let name = name.as_ref().to_ascii_lowercase();
            // URLs of schemes that the URL standard does not know keep an IPv4 address as a name.
            let is_loopback_ip = name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback());
            name == "localhost" || name.ends_with(".localhost") || is_loopback_ip
        }
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_not_shown| {
        "expected an IP address and a port, such as 127.0.0.1:8080 or [::1]:8080".to_owned()
    })
}

pub(super) fn number(text: &str, range: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("expected a whole number from {} to {}", range.start(), range.end()))
}

fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let networks: Option<Vec<IpNet>> =
        words.map(|word| word.parse().ok().or_else(|| word.parse().ok().map(IpAddr::into))).collect();
    let networks =
        networks.ok_or("expected a list of IP addresses or networks, such as 10.0.0.5,192.168.0.0/24")?;
    if networks.iter().any(|network| network.prefix_len() == 0) {
        return Err(
            "trusts everyone, so that anybody could pretend any address; name your proxies".to_owned()
        );
    }
    Ok(networks)
}
