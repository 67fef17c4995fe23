//! Whether a request that changes something was made by our own pages.

use http::HeaderMap;
use url::Url;

/// Browsers say with every such request which site made it. One that says another is refused; a program that says
/// nothing carries no cookie that somebody else's page could have sent along.
pub(crate) fn is_ours(headers: &HeaderMap, public_url: &str) -> bool {
    let text = |name: &str| headers.get(name).map(|v| v.to_str().unwrap_or("unreadable"));
    match (text("origin"), text("sec-fetch-site")) {
        (Some(origin), _) => is_same(origin, public_url, text("host")),
        (None, Some(site)) => matches!(site, "same-origin" | "none"),
        (None, None) => true,
    }
}

/// The site as configured, or as this very request addresses it: the cookie is bound to that name.
fn is_same(origin: &str, public_url: &str, host: Option<&str>) -> bool {
    let Ok(origin) = Url::parse(origin) else { return false };
    if Url::parse(public_url).is_ok_and(|ours| ours.origin() == origin.origin()) {
        return true;
    }
    let secure = public_url.starts_with("https://");
    let Some(name) = origin.host_str() else { return false };
    let named = origin.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
    !secure && origin.scheme() == "http" && host == Some(named.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn another_sites_page_is_refused_however_it_is_spelt() {
        let ours = "https://shop.example";
        for (origin, site, ok) in [
            (Some("https://shop.example"), None, true),
            (Some("https://shop.example:443"), None, true),
            (Some("http://shop.example"), None, false),
            (Some("https://shop.example.evil.example"), None, false),
            (Some("https://evil.example"), Some("same-origin"), false),
            (Some("null"), None, false),
            (None, Some("cross-site"), false),
            (None, Some("same-site"), false),
            (None, Some("same-origin"), true),
            (None, None, true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", HeaderValue::from_static("shop.example"));
            for (name, value) in [("origin", origin), ("sec-fetch-site", site)] {
                if let Some(value) = value {
                    headers.insert(name, HeaderValue::from_static(value));
                }
            }
            assert_eq!(is_ours(&headers, ours), ok, "{origin:?} {site:?}");
        }
    }
}
