//! The rule file, read once.

use serde::Deserialize;
use std::sync::LazyLock;

/// The part of `rules.toml` that tells by whom a setting is owned.
#[derive(Debug, Deserialize)]
pub struct Names {
    /// Prefixes that front-end bundlers publish.
    pub published_prefixes: Vec<String>,
    /// What belongs to one customer.
    pub tenant: Vec<TenantName>,
    /// What belongs to the platform and was called something else.
    pub renamed: Vec<RenamedName>,
}

/// Names that hold one customer's credential or account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TenantName {
    /// `shopify`, `messenger` or `kustomer`.
    pub provider: String,
    /// Whether the value is a credential; otherwise it names an account.
    pub secret: bool,
    /// Why it is refused.
    pub why: String,
    /// Where that customer connects instead.
    pub instead: String,
    /// The names, in capitals.
    pub names: Vec<String>,
}

/// A credential of the platform under its old name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RenamedName {
    /// The old name.
    pub old: String,
    /// The name to use.
    pub new: String,
    /// Whether the value is a secret.
    pub secret: bool,
}

impl Names {
    /// The rules that this binary was built with.
    pub fn get() -> &'static Self {
        static NAMES: LazyLock<Names> = LazyLock::new(|| {
            toml::from_str(include_str!("../rules.toml")).expect("a test reads this very text")
        });
        &NAMES
    }

    /// Which customer's setting this is, if it is one.
    pub fn tenant(&self, name: &str) -> Option<&TenantName> {
        let name = normal(name);
        let name = name.strip_suffix("_FILE").unwrap_or(&name);
        let is =
            |rule: &str| name.strip_suffix(rule).is_some_and(|rest| rest.is_empty() || rest.ends_with('_'));
        self.tenant.iter().find(|rule| rule.names.iter().any(|rule| is(rule)))
    }

    /// The entry of a platform credential under its old name, and whether it came as `…_FILE`.
    pub fn renamed(&self, name: &str) -> Option<(&RenamedName, bool)> {
        let name = normal(name);
        self.renamed.iter().find_map(|rule| match name.strip_prefix(rule.old.as_str())? {
            "" => Some((rule, false)),
            "_FILE" if rule.secret => Some((rule, true)),
            _ => None,
        })
    }

    /// Whether front-end bundlers publish a variable of this name.
    pub fn is_published(&self, name: &str) -> bool {
        let name = normal(name);
        self.published_prefixes.iter().any(|prefix| name.starts_with(prefix))
    }
}

/// `shopify.access-token`, `shopifyAccessToken` and `SHOPIFY_ACCESS_TOKEN` are one name.
pub(crate) fn normal(name: &str) -> String {
    let mut out = String::with_capacity(name.len() + 4);
    let mut after_small = false;
    for c in name.chars() {
        if after_small && c.is_ascii_uppercase() {
            out.push('_');
        }
        after_small = c.is_ascii_lowercase() || c.is_ascii_digit() && after_small;
        out.push(if matches!(c, '-' | '.' | ' ') { '_' } else { c.to_ascii_uppercase() });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_known_in_every_spelling_and_behind_every_prefix() {
        let names = Names::get();
        for name in [
            "SHOPIFY_ACCESS_TOKEN",
            "VITE_SHOPIFY_ACCESS_TOKEN",
            "NEXT_PUBLIC_SHOPIFY_ACCESS_TOKEN",
            "REACT_APP_SHOPIFY_ACCESS_TOKEN",
            "shopify_access_token",
            "shopify.access_token",
            "shopify-access-token",
            "shopifyAccessToken",
            "SHOPIFY_ACCESS_TOKEN_FILE",
            "ACME_SHOPIFY_ACCESS_TOKEN",
            "AGENSTACK_SHOPIFY_ACCESS_TOKEN",
        ] {
            assert_eq!(names.tenant(name).map(|rule| rule.provider.as_str()), Some("shopify"), "{name}");
        }
        for name in
            ["SHOPIFY_ACCESS_TOKENS_PER_MINUTE", "MYSHOPIFY_ACCESS", "HOMEPAGE_ACCESS_TOKEN", "PATH", ""]
        {
            assert!(names.tenant(name).is_none(), "{name}");
        }
    }

    #[test]
    fn the_rules_contradict_themselves_nowhere() {
        let names = Names::get();
        let mut seen = std::collections::BTreeSet::new();
        for name in names.tenant.iter().flat_map(|rule| &rule.names) {
            assert!(seen.insert(name), "{name} stands there twice");
            assert_eq!(normal(name), *name);
        }
        for rule in &names.renamed {
            assert!(names.tenant(&rule.old).is_none() && names.tenant(&rule.new).is_none(), "{}", rule.old);
            assert!(names.is_published(&rule.old));
        }
    }
}
