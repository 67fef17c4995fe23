//! Is it a secret, or does it only look like one?

use crate::rule::{Check, Rule, Rules};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Bits for each character, by how often each one occurs.
pub(crate) fn entropy(value: &str) -> f64 {
    let mut counts = [0u32; 256];
    for byte in value.bytes() {
        counts[usize::from(byte)] += 1;
    }
    let all = value.len() as f64;
    counts.iter().filter(|n| **n > 0).map(|n| f64::from(*n) / all).map(|p| -p * p.log2()).sum()
}

/// Made by a finger on the keyboard: one character again and again, or a row of neighbours.
fn is_patterned(value: &str) -> bool {
    let bytes = value.as_bytes();
    if bytes.len() < 6 {
        return false;
    }
    let near = bytes.windows(2).filter(|w| w[0].abs_diff(w[1]) <= 1).count();
    let alternate = bytes.windows(3).filter(|w| w[0].abs_diff(w[2]) <= 1).count();
    let period = (1..=bytes.len() / 3).any(|n| bytes.iter().zip(&bytes[n..]).all(|(a, b)| a == b));
    near * 10 > bytes.len() * 6 || alternate * 10 > bytes.len() * 7 || period
}

/// Whether a value is nobody's.
pub(crate) fn is_placeholder(rules: &Rules, value: &str) -> bool {
    let value = value.trim();
    value.is_empty() || rules.placeholder.any.is_match(value)
}

/// Whether a value names no customer's account in particular.
pub(crate) fn is_any_account(rules: &Rules, value: &str) -> bool {
    is_placeholder(rules, value) || rules.placeholder.account.is_match(value)
}

/// Whether `value` is what the rule looks for; otherwise why not.
pub(crate) fn check(rules: &Rules, rule: &Rule, value: &str, host: Option<&str>) -> Result<(), &'static str> {
    match rule.check {
        Check::None => Ok(()),
        Check::Token | Check::Names | Check::Key => token(rules, rule, value),
        Check::Jwt => {
            token(rules, rule, value)?;
            if is_public_jwt(value) { Err("a token that says it is public") } else { Ok(()) }
        }
        Check::Url => url(rules, value, host.unwrap_or_default()),
        Check::Password => password(rules, value),
        Check::Weak if rules.placeholder.weak.is_match(value) && !value.eq_ignore_ascii_case("changeme") => {
            Ok(())
        }
        Check::Weak => Err("no password that everybody tries"),
        Check::Account if is_any_account(rules, value) => Err("names no customer in particular"),
        Check::Account => Ok(()),
        Check::Id => id(rules, value),
    }
}

fn token(rules: &Rules, rule: &Rule, value: &str) -> Result<(), &'static str> {
    // The part in front is the same for all: `shpat_`, `sk_live_`.
    let body =
        value.rsplit_once(['_', '-']).map_or(value, |(_, tail)| if tail.len() >= 16 { tail } else { value });
    if is_placeholder(rules, value) || is_patterned(body) {
        return Err("a placeholder");
    }
    if entropy(body) < rule.entropy {
        return Err("not varied enough to be a secret");
    }
    let has = |test: fn(&u8) -> bool| body.as_bytes().iter().any(test);
    let mixed = has(u8::is_ascii_digit) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_uppercase);
    if rule.mixed && !mixed || rule.digits && !(has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)) {
        return Err("words, not a secret");
    }
    Ok(())
}

/// Some providers sign what they mean to be published, and say so inside.
fn is_public_jwt(value: &str) -> bool {
    let Some(payload) = value.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()) else {
        return false;
    };
    let Ok(payload) = serde_json::from_slice::<serde_json::Value>(&payload) else { return false };
    let text = |key: &str| payload.get(key).and_then(|v| v.as_str()).unwrap_or_default();
    matches!(text("role"), "anon" | "public") || (text("sub") == "1234567890" && text("name") == "John Doe")
}

fn url(rules: &Rules, value: &str, host: &str) -> Result<(), &'static str> {
    let here = matches!(
        host,
        "localhost" | "127.0.0.1" | "[::1]" | "host" | "hostname" | "0.0.0.0" | "host.docker.internal"
    );
    let lower = value.to_ascii_lowercase();
    let common = matches!(
        lower.as_str(),
        "password" | "pass" | "passwd" | "pwd" | "secret" | "pw" | "changeme" | "user"
    );
    if is_placeholder(rules, value) || common || host.contains("example") || host.starts_with(['<', '{', '$'])
    {
        return Err("a placeholder");
    }
    if host == "host"
        || here && value.len() < 12
        || value.starts_with(['{', '$', '<', '%', ':']) && !value.contains("%2")
    {
        return Err("opens nothing beyond this machine");
    }
    Ok(())
}

fn password(rules: &Rules, value: &str) -> Result<(), &'static str> {
    if rules.placeholder.weak.is_match(value) && !value.eq_ignore_ascii_case("password") {
        return Ok(());
    }
    let bytes = value.as_bytes();
    let plain = bytes.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'-' | b'.' | b' '));
    if rules.placeholder.no_password.is_match(value)
        || is_placeholder(rules, value)
        || plain
        || value.len() < 6
    {
        return Err("a word beside the word password");
    }
    if !bytes.iter().any(u8::is_ascii_alphabetic) && value.len() < 8 { Err("a number") } else { Ok(()) }
}

fn id(rules: &Rules, value: &str) -> Result<(), &'static str> {
    let bare = value.replace('-', "");
    if value.len() == 36 && bare.len() == 32 {
        // The last place alone tells the organization of nobody from the identifier of nothing.
        return if bare.bytes().all(|b| b == bare.as_bytes()[0])
            || is_patterned(&bare) && !bare.starts_with("0000000")
        {
            Err("an identifier of nothing")
        } else {
            Ok(())
        };
    }
    if value.bytes().all(|b| b.is_ascii_digit()) {
        return if value.len() >= 10
            && (is_patterned(value) || is_placeholder(rules, value) || value.ends_with("00000000"))
            || value == "0"
        {
            Err("a number that stands for any")
        } else {
            Ok(())
        };
    }
    if value.to_ascii_lowercase().starts_with("default") {
        return Ok(());
    }
    let word = matches!(
        value,
        "public"
            | "global"
            | "anonymous"
            | "all"
            | "any"
            | "system"
            | "guest"
            | "self"
            | "current"
            | "me"
            | "default"
    );
    if word && value != "default" || is_any_account(rules, value) {
        Err("names no organization in particular")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_finger_makes_is_no_secret() {
        for value in [
            "0000000000000000",
            "abcdefghijklmnop",
            "a1b2c3d4e5f6a7b8c9d0",
            "abcabcabcabcabc",
            "1234567890123456",
        ] {
            assert!(is_patterned(value), "{value}");
        }
        for value in ["8f14e45fceea167a5a36dedd4bea2543", "c9f0f895fb98ab9159f51fd0297e236d"] {
            assert!(!is_patterned(value), "{value}");
        }
    }
}
