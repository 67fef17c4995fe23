//! The session's cookie.

use agenstack_core::clock::Timestamp;
use cookie::{Cookie, SameSite};
use http::{HeaderMap, HeaderValue, header};
use secrecy::{ExposeSecret, SecretString};

/// `__Host-`: over https, without a domain, for the whole site; browsers keep others from setting it.
fn name(secure: bool) -> &'static str {
    if secure { "__Host-agenstack_session" } else { "agenstack_session" }
}

fn cookie(secure: bool, value: String, max_age_secs: i64) -> HeaderValue {
    let cookie = Cookie::build((name(secure), value))
        .http_only(true)
        .same_site(SameSite::Lax)
        .secure(secure)
        .path("/")
        .max_age(cookie::time::Duration::seconds(max_age_secs))
        .build();
    let mut value =
        HeaderValue::from_str(&cookie.to_string()).expect("a cookie of letters and digits is a header value");
    value.set_sensitive(true);
    value
}

/// Signs the browser in.
pub(crate) fn sign_in(secure: bool, token: &SecretString, now: Timestamp, until: Timestamp) -> HeaderValue {
    cookie(secure, token.expose_secret().to_owned(), until.secs() - now.secs())
}

/// Signs the browser out.
pub(crate) fn sign_out(secure: bool) -> HeaderValue {
    cookie(secure, String::new(), 0)
}

/// The token of the request's cookie; none if it stands there twice.
pub(crate) fn session_token(headers: &HeaderMap, secure: bool) -> Option<String> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|h| h.to_str().ok());
    let mut ours =
        all.flat_map(Cookie::split_parse).filter_map(Result::ok).filter(|c| c.name() == name(secure));
    let first = ours.next()?.value().to_owned();
    ours.next().is_none().then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_for_this_site_only_and_not_for_scripts() {
        let now = Timestamp::from_secs(0);
        let plain = sign_in(false, &SecretString::from("t"), now, now.plus_secs(60));
        assert_eq!(plain, "agenstack_session=t; HttpOnly; SameSite=Lax; Path=/; Max-Age=60");
        assert!(plain.is_sensitive());
        let secure = sign_in(true, &SecretString::from("t"), now, now.plus_secs(60));
        assert_eq!(secure, "__Host-agenstack_session=t; HttpOnly; SameSite=Lax; Secure; Path=/; Max-Age=60");
    }

    #[test]
    fn a_cookie_that_stands_there_twice_is_none() {
        let mut headers = HeaderMap::new();
        headers.insert(header::COOKIE, HeaderValue::from_static("a=1; agenstack_session=x"));
        assert_eq!(session_token(&headers, false).as_deref(), Some("x"));
        assert_eq!(session_token(&headers, true), None);
        headers.append(header::COOKIE, HeaderValue::from_static("agenstack_session=y"));
        assert_eq!(session_token(&headers, false), None);
    }
}
