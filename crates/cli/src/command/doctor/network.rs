//! What is reached from here, and whether we are.

use super::{Findings, clock::Clocks};
use crate::config::Config;
use crate::wiring::providers;
use agenstack_providers::{Dark, Http};
use std::net::IpAddr;
use url::{Host, Url};

/// Whether the public URL is one that providers reach, and whether this server answers there.
pub(super) async fn public_url(config: &Config, http: &Http, found: &mut Findings) {
    let url = &config.server.public_url;
    if url.is_https() {
        found.good(format!("public URL {url}"));
    } else {
        found.note(format!(
            "public URL {url} is only good for trying; providers need https (AGENSTACK_PUBLIC_URL)"
        ));
    }
    if url.is_https() && is_private(url.as_str()).await {
        found.note(format!(
            "the name in {url} leads to a private address from here; providers deliver webhooks from the internet, \
             so it has to lead to a public one there"
        ));
    }
    match http.glance(&format!("{url}/healthz")).await {
        Ok(seen) if seen.status == 200 && seen.body.contains(r#""status":"ok""#) => {
            found.good(format!("a server answers at {url}"));
        }
        Ok(seen) => found.note(format!(
            "what answers at {url} is not this server (status {}): if it runs, let the proxy lead to \
             AGENSTACK_LISTEN ({})",
            seen.status, config.server.listen
        )),
        Err(Dark::Untrusted) => found.bad(
            format!("{url} has no certificate that is trusted here"),
            "Shopify and Meta deliver webhooks to a valid certificate only: get one for this name (Let's Encrypt), \
             with its whole chain",
        ),
        Err(Dark::Refused) => found.note(format!("{url} names a number and was not tried; providers want a name")),
        Err(_) => found.note(format!(
            "nothing answers at {url} from here: the server is not started, or this machine does not reach its own \
             outer address. Try {url}/healthz from elsewhere; providers have to reach it"
        )),
    }
}

/// Whether the host has addresses, and none that the internet leads to.
async fn is_private(url: &str) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let Some(Host::Domain(name)) = url.host() else { return false };
    let Ok(found) = tokio::net::lookup_host((name, 443)).await else { return false };
    let mut addresses = found.map(|address| address.ip()).peekable();
    addresses.peek().is_some() && addresses.all(is_inner)
}

fn is_inner(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_unspecified()
        }
    }
}

/// Each provider that is set up: whether it can be reached, and its time.
pub(super) async fn hosts(config: &Config, http: &Http, clocks: &mut Clocks<'_>, found: &mut Findings) {
    if let Err(error) = providers(config, http) {
        found.bad(format!("{error:#}"), "remove that setting, or give it as in docs/configuration.md");
    }
    let not_set_up = |what: &str, names: &str| format!("{what} is not set up; set {names}");
    match &config.shopify.app {
        None => found.note(not_set_up("Shopify", "SHOPIFY_API_KEY and SHOPIFY_API_SECRET")),
        Some(_) => {
            let url = config.shopify.url.as_str().replace("{shop}", "admin.shopify.com");
            reach("Shopify", "SHOPIFY_URL", &url, http, clocks, found).await;
        }
    }
    match &config.messenger.app {
        None => found.note(not_set_up(
            "Messenger",
            "MESSENGER_APP_ID, MESSENGER_APP_SECRET and MESSENGER_VERIFY_TOKEN",
        )),
        Some(_) => {
            let url = config.messenger.graph_url.as_str();
            reach("Messenger", "GRAPH_URL", url, http, clocks, found).await;
        }
    }
    if config.kustomer.app.is_none() {
        found.note(
            "Kustomer connects by API key and by an app of the account's own; for your own app set KUSTOMER_CLIENT_ID and \
             KUSTOMER_CLIENT_SECRET",
        );
    }
    // The host that all accounts share; where each has a path, that of none.
    let url = config.kustomer.api_url.as_str().replace("{org}.", "").replace("{org}", "");
    reach("Kustomer", "KUSTOMER_API_URL", &url, http, clocks, found).await;
}

async fn reach(
    who: &str,
    setting: &str,
    url: &str,
    http: &Http,
    clocks: &mut Clocks<'_>,
    found: &mut Findings,
) {
    let host = Url::parse(url).ok().and_then(|url| {
        let port = url.port_or_known_default()?;
        Some(format!("{}:{port}", url.host_str()?))
    });
    let host = host.unwrap_or_else(|| setting.to_owned());
    let asked = clocks.now();
    match http.glance(url).await {
        Ok(seen) => {
            found.good(format!("{who} can be reached at {host}"));
            if let Some(date) = seen.date {
                clocks.provider(who, asked, date);
            }
        }
        Err(Dark::Untrusted) => found.bad(
            format!("{who} is not who answers at {host}: its certificate is not trusted here"),
            "install the root certificates (ca-certificates), and let no proxy on the way open TLS; check the clock",
        ),
        Err(Dark::Refused) => found.bad(
            format!("{who}'s address cannot be used"),
            format!("remove {setting}; only the sandbox needs another"),
        ),
        Err(Dark::Unreachable | Dark::Silent) => found.bad(
            format!("{who} cannot be reached at {host}"),
            "check the network, the firewall (outgoing, port 443) and DNS",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inner_addresses_are_told_from_those_of_the_internet() {
        for inner in [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "::1",
            "fd00::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_inner(inner.parse().unwrap()), "{inner}");
        }
        for outer in ["203.0.113.5", "2001:db8::1", "172.32.0.1"] {
            assert!(!is_inner(outer.parse().unwrap()), "{outer}");
        }
    }
}
