//! Credentials of one customer have no place in the configuration of a platform that serves many.
//!
//! `serve`, `demo` and `doctor` ask [`check`] before anything else. What it refuses ends the program with
//! [`EXIT_CODE`] and one line for each name, never a value. The names are data, shared with `agenstack scan`:
//! `crates/scan/rules.toml`.

pub use agenstack_scan::{Names, RenamedName, TenantName};

use crate::config::{Source, Sources};
use std::collections::BTreeSet;
use std::fmt;

/// The exit code for a refused configuration: `EX_CONFIG` of `sysexits.h`.
pub const EXIT_CODE: u8 = 78;

/// A setting that belongs to one customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Its name as it was found.
    pub name: String,
    /// Where it was found.
    pub source: Source,
    /// On which line of an env file.
    pub line: Option<usize>,
    /// Why it is refused.
    pub why: String,
    /// Where that customer connects instead.
    pub instead: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, source, line, why, instead } = self;
        let line = line.map(|line| format!(", line {line}")).unwrap_or_default();
        write!(f, "{name} ({source}{line}) is refused: {why}; remove it, {instead}")
    }
}

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Anything here stops the program.
    pub refused: Vec<Refused>,
    /// To be shown at each start.
    pub warnings: Vec<String>,
}

/// Looks at every name in every source. A name that is set to nothing is as good as absent: a line such as
/// `SHOPIFY_ACCESS_TOKEN=` in a template holds nobody's credential.
pub fn check(sources: &Sources) -> Report {
    let names = Names::get();
    let found: Vec<_> = sources.names().into_iter().filter(|found| !found.empty).collect();
    // An old name gives way to the new one wherever that stands, so all sources are looked at first.
    let given: BTreeSet<&str> = found.iter().filter_map(|found| found.setting).collect();
    let mut report = Report::default();
    for item in &found {
        if let Some(rule) = names.tenant(&item.name) {
            let published = rule.secret && names.is_published(&item.name);
            report.refused.push(Refused {
                name: item.name.clone(),
                source: item.source.clone(),
                line: item.line,
                why: rule.why.clone(),
                instead: if published { format!("{}; {ROTATE}", rule.instead) } else { rule.instead.clone() },
            });
        } else if let Some((rule, is_file)) = names.renamed(&item.name) {
            let new = if is_file { format!("{}_FILE", rule.new) } else { rule.new.clone() };
            let mut text = if given.contains(rule.new.as_str()) {
                format!(
                    "{} ({}) is ignored, because {} is set as well; remove it",
                    item.name, item.source, rule.new
                )
            } else {
                format!("{} ({}) is an old name that still works; call it {new}", item.name, item.source)
            };
            if rule.secret {
                text = format!("{text}; {ROTATE}");
            }
            report.warnings.push(text);
        }
    }
    report
}

const ROTATE: &str = "front-end bundlers publish variables with this prefix to every browser, so take the secret for \
                      known and rotate it";

#[cfg(test)]
mod tests {
    use super::*;

    const CANARY: &str = "canary-7f3a";

    fn environment<'a>(names: impl IntoIterator<Item = &'a str>) -> Sources {
        Sources::from_environment(
            names.into_iter().map(|name| (name.to_owned(), CANARY.to_owned())).collect(),
        )
    }

    #[test]
    fn every_known_name_is_refused_with_and_without_a_prefix_and_as_a_file() {
        for rule in &Names::get().tenant {
            for name in &rule.names {
                for prefix in ["", "VITE_", "NEXT_PUBLIC_", "REACT_APP_"] {
                    for suffix in ["", "_FILE"] {
                        let name = format!("{prefix}{name}{suffix}");
                        let report = check(&environment([name.as_str()]));
                        assert_eq!(report.refused.len(), 1, "{name}");
                        let line = report.refused[0].to_string();
                        assert!(line.starts_with(&format!("{name} (environment) is refused: ")), "{line}");
                        assert!(line.contains("Integrations >") && !line.contains('\n'), "{line}");
                        let rotate = rule.secret && !prefix.is_empty();
                        assert_eq!(line.contains("rotate"), rotate, "{line}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_refused_name_is_found_in_the_env_file_and_anywhere_in_the_config_file() {
        let mut sources = environment(["PATH"]);
        sources.add_env_file(".env", &format!("KUSTOMER_SUBDOMAIN={CANARY}\nKUSTOMER_ORG_ID=\nbroken\n"));
        let file = format!(
            "SHOPIFY_STORE_NAME = '{CANARY}'\nfacebook_page_id = 5\n[shopify]\naccess_token = '{CANARY}'\nurl = ''\n\
             [kustomer]\napi_key = '{CANARY}'\n[messenger]\npage_access_token_file = '{CANARY}'\n\
             [[customer]]\nshopifyStoreUrl = ['{CANARY}']\n",
        );
        sources.add_file("agenstack.toml", &file).unwrap();
        let report = check(&sources);
        let first = report.refused[0].to_string();
        assert!(first.starts_with("KUSTOMER_SUBDOMAIN (.env, line 1) is refused: "), "{first}");
        let found: Vec<_> = report.refused.iter().map(|r| format!("{} in {}", r.name, r.source)).collect();
        assert_eq!(
            found,
            [
                "KUSTOMER_SUBDOMAIN in .env",
                "SHOPIFY_STORE_NAME in agenstack.toml",
                "customer.shopifyStoreUrl in agenstack.toml",
                "facebook_page_id in agenstack.toml",
                "kustomer.api_key in agenstack.toml",
                "messenger.page_access_token_file in agenstack.toml",
                "shopify.access_token in agenstack.toml",
            ]
        );
        let shown =
            format!("{report:?}") + &report.refused.iter().map(Refused::to_string).collect::<String>();
        assert!(!shown.contains("canary"));
    }

    #[test]
    fn a_name_set_to_nothing_is_not_refused() {
        let empty =
            [("SHOPIFY_ACCESS_TOKEN", ""), ("VITE_KUSTOMER_API_KEY", " "), ("VITE_SHOPIFY_API_SECRET", "")];
        let environment = empty.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(check(&Sources::from_environment(environment)), Report::default());
    }

    #[test]
    fn the_names_of_this_platform_are_not_refused() {
        for setting in crate::config::SETTINGS {
            let file = format!("{}_FILE", setting.name);
            assert_eq!(check(&environment([setting.name, &file])), Report::default(), "{}", setting.name);
            assert!(Names::get().tenant(setting.key).is_none(), "{}", setting.key);
        }
    }

    #[test]
    fn an_old_name_of_the_platform_is_told_its_new_name_and_a_secret_to_be_rotated() {
        let rules = &Names::get().renamed;
        let report = check(&environment(rules.iter().map(|rule| rule.old.as_str())));
        assert!(report.refused.is_empty());
        assert_eq!(report.warnings.len(), rules.len());
        for rule in rules {
            let line = report.warnings.iter().find(|line| line.starts_with(&rule.old)).unwrap();
            assert!(line.contains(&format!("call it {}", rule.new)), "{line}");
            assert_eq!(line.contains("rotate"), rule.secret, "{line}");
            assert!(!line.contains("canary"));
        }
    }

    #[test]
    fn an_old_name_beside_its_new_one_is_ignored_with_a_warning() {
        let mut sources = environment(["VITE_SHOPIFY_API_SECRET"]);
        sources.add_file("agenstack.toml", "[shopify]\napi_secret_file = 'x'").unwrap();
        let report = check(&sources);
        assert_eq!(report.warnings.len(), 1);
        assert!(report.warnings[0].contains("is ignored, because SHOPIFY_API_SECRET is set as well"));
        assert!(report.warnings[0].contains("rotate"));
    }
}
