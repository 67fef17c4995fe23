//! From what was read to what will be taken: every rule that needs no database of ours.

use super::record::{Account, Customer, Member, Org, Person, Records, Told};
use super::report::Report;
use super::{Check, Options};
use agenstack_core::integration::{PageId, Provider, ShopDomain, Subdomain};
use agenstack_core::org::{display_name, email_address};
use agenstack_core::policy::Role;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The longest id of an old platform.
const ID: usize = 200;
/// The longest name of an account or title of a piece of knowledge.
const TITLE: usize = 200;
/// The most that a bot's setting or a piece of knowledge may say, in bytes.
const CONTENT: usize = 256 * 1024;

/// What will be taken of one organization.
pub(super) struct Planned {
    pub org: Org,
    /// By e-mail address.
    pub members: BTreeMap<String, Role>,
    pub accounts: Vec<Account>,
    pub told: Vec<Told>,
    /// By id.
    pub customers: HashMap<String, Customer>,
    /// Id by e-mail address.
    pub by_email: HashMap<String, String>,
}

/// What will be taken.
pub(super) struct Plan {
    /// In the order they came.
    pub orgs: Vec<Planned>,
    index: HashMap<String, usize>,
    /// Names by e-mail address.
    pub people: BTreeMap<String, String>,
}

impl Plan {
    pub fn get(&self, organization: &str) -> Option<&Planned> {
        self.index.get(organization).map(|at| &self.orgs[*at])
    }
}

/// Under this id the old platform wrote what it could assign to nobody: zeros, and a one at the end.
pub(super) fn is_nobody(organization: &str) -> bool {
    let bare: String = organization.trim().chars().filter(|c| *c != '-').collect();
    bare.len() == 32 && bare.strip_suffix('1').is_some_and(|rest| rest.bytes().all(|b| b == b'0'))
}

/// The role that a word of the old platform stands for; `None` for one that is not known.
pub(super) fn role(word: &str) -> Option<Role> {
    Some(match word.trim().to_lowercase().as_str() {
        "owner" => Role::Owner,
        "admin" | "administrator" | "developer" | "manager" => Role::Admin,
        "agent" | "support" => Role::Agent,
        "user" | "member" | "viewer" => Role::Viewer,
        _ => return None,
    })
}

impl Check {
    /// What kind of credential one of these holds, if any does.
    pub(super) fn any<'a>(&self, texts: impl IntoIterator<Item = Option<&'a str>>) -> Option<&'static str> {
        texts.into_iter().flatten().find_map(self.shape)
    }

    /// The same of everything within a value, names of fields included.
    pub(super) fn within(&self, value: &serde_json::Value) -> Option<&'static str> {
        use serde_json::Value;
        match value {
            Value::String(text) => (self.shape)(text),
            Value::Array(list) => list.iter().find_map(|v| self.within(v)),
            Value::Object(map) => map.iter().find_map(|(name, v)| {
                let named = (self.name)(name) && !v.is_null() && v.as_str() != Some("");
                (self.shape)(name).or_else(|| named.then_some("credential")).or_else(|| self.within(v))
            }),
            _ => None,
        }
    }
}

pub(super) fn holds(kind: &str) -> String {
    format!("it holds a credential ({kind}); credentials are never imported")
}

struct Making<'a> {
    plan: Plan,
    options: &'a Options,
    report: &'a mut Report,
    /// Organizations that are left out on purpose: what belongs to them is not told one by one.
    left: BTreeSet<String>,
}

/// Decides what will be taken; everything else goes into the report.
pub(super) fn plan(records: Records, options: &Options, report: &mut Report) -> Plan {
    let plan = Plan { orgs: Vec::new(), index: HashMap::new(), people: BTreeMap::new() };
    let mut making = Making { plan, options, report, left: BTreeSet::new() };
    for org in records.organizations {
        making.org(org);
    }
    making.people(records.people);
    making.members(records.members);
    for told in records.told {
        making.told(told);
    }
    for customer in records.customers {
        making.customer(customer);
    }
    making.accounts(records.accounts);
    making.plan
}

impl Making<'_> {
    fn org(&mut self, mut org: Org) {
        if is_nobody(&org.id) {
            return self.report.quarantined(&org.place);
        }
        if self.options.skip_organizations.contains(&org.id) {
            self.report.skipped(&org.place, "it is left out on the command line");
            self.left.insert(org.id);
            return;
        }
        if let Some(kind) = self.options.check.any([Some(org.id.as_str()), Some(org.name.as_str())]) {
            return self.report.refused(&org.place, holds(kind));
        }
        if org.id.len() > ID || self.plan.index.contains_key(&org.id) {
            return self.report.skipped(&org.place, "its id is there already, or too long");
        }
        let name: String = org.name.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let name: String = name.trim().chars().take(80).collect();
        let named = display_name(&name)
            .unwrap_or_else(|| format!("Organization {}", &org.id.chars().take(40).collect::<String>()));
        if named != org.name {
            self.report
                .noted(&org.place, format!("its name is \"{named}\" here: a name has 1 to 80 characters"));
        }
        org.name = named;
        self.plan.index.insert(org.id.clone(), self.plan.orgs.len());
        self.plan.orgs.push(Planned {
            org,
            members: BTreeMap::new(),
            accounts: Vec::new(),
            told: Vec::new(),
            customers: HashMap::new(),
            by_email: HashMap::new(),
        });
    }

    /// Where a row belongs; if nowhere, that is told.
    fn home(&mut self, organization: &str, place: &str) -> Option<usize> {
        if let Some(at) = self.plan.index.get(organization) {
            return Some(*at);
        }
        if is_nobody(organization) {
            self.report.quarantined(place);
        } else if organization.is_empty() {
            self.report.skipped(place, "it belongs to no organization");
        } else if !self.left.contains(organization) {
            self.report.skipped(place, "its organization is not taken");
        }
        None
    }

    fn people(&mut self, people: Vec<Person>) {
        for p in people {
            let Some(email) = email_address(&p.email) else {
                self.report.skipped(&p.place, "its e-mail address is none");
                continue;
            };
            if self.options.skip_users.contains(&email) {
                self.report.skipped(&p.place, "it is left out on the command line");
                continue;
            }
            if let Some(kind) = self.options.check.any([Some(p.email.as_str()), Some(p.name.as_str())]) {
                self.report.refused(&p.place, holds(kind));
                continue;
            }
            let name: String = p.name.trim().chars().filter(|c| !c.is_control()).take(80).collect();
            let local = || email.split('@').next().unwrap_or_default().chars().take(80).collect();
            let name = display_name(&name).unwrap_or_else(local);
            self.plan.people.entry(email).or_insert(name);
        }
    }

    fn members(&mut self, members: Vec<Member>) {
        let mut admins: HashMap<usize, String> = HashMap::new();
        for m in members {
            let Some(at) = self.home(&m.organization, &m.place) else { continue };
            let email = email_address(&m.email).filter(|e| self.plan.people.contains_key(e));
            let Some(email) = email else {
                self.report.skipped(&m.place, "its person is not taken");
                continue;
            };
            let as_role = role(&m.role).unwrap_or_else(|| {
                self.report.noted(
                    &m.place,
                    "its role is a word that is not known here: a viewer, who may only look",
                );
                Role::Viewer
            });
            if matches!(m.role.trim().to_lowercase().as_str(), "admin" | "administrator") {
                admins.entry(at).or_insert_with(|| email.clone());
            }
            let held = self.plan.orgs[at].members.entry(email).or_insert(as_role);
            // Roles are ordered from the one that may do most.
            *held = (*held).min(as_role);
        }
        for (at, planned) in self.plan.orgs.iter_mut().enumerate() {
            if planned.members.is_empty() {
                self.report.noted(&planned.org.place, "nobody belongs to it, so that nobody sees it");
            } else if !planned.members.values().any(|r| *r == Role::Owner) {
                match admins.get(&at) {
                    Some(email) => {
                        planned.members.insert(email.clone(), Role::Owner);
                        let reason = format!("it has no owner: {email}, its first admin, becomes one");
                        self.report.noted(&planned.org.place, reason);
                    }
                    None => self.report.noted(&planned.org.place, "it has neither an owner nor an admin"),
                }
            }
        }
        let placed: BTreeSet<&String> = self.plan.orgs.iter().flat_map(|o| o.members.keys()).collect();
        let lost: Vec<String> =
            self.plan.people.keys().filter(|email| !placed.contains(email)).cloned().collect();
        for email in lost {
            self.report.skipped(&format!("user {email}"), "belongs to no organization that is taken");
            self.plan.people.remove(&email);
        }
    }

    fn told(&mut self, mut told: Told) {
        let Some(at) = self.home(&told.organization, &told.place) else { return };
        let check = &self.options.check;
        let kind = check.any([Some(told.id.as_str()), Some(told.title.as_str())]);
        if let Some(kind) = kind.or_else(|| check.within(&told.content)) {
            return self.report.refused(&told.place, holds(kind));
        }
        told.title = told.title.trim().chars().filter(|c| !c.is_control()).take(TITLE).collect();
        if told.content.to_string().len() > CONTENT {
            return self.report.skipped(&told.place, "it says more than 256 KiB");
        }
        let planned = &mut self.plan.orgs[at];
        if planned.told.iter().any(|t| (t.kind, &t.id) == (told.kind, &told.id)) {
            return self.report.skipped(&told.place, "there is another of the same name before it");
        }
        planned.told.push(told);
    }

    fn customer(&mut self, mut c: Customer) {
        let Some(at) = self.home(&c.organization, &c.place) else { return };
        let texts = [Some(c.id.as_str()), c.name.as_deref(), c.email.as_deref()];
        if let Some(kind) = self.options.check.any(texts) {
            return self.report.refused(&c.place, holds(kind));
        }
        c.email = c.email.as_deref().and_then(email_address);
        let planned = &mut self.plan.orgs[at];
        if planned.customers.contains_key(&c.id) {
            return self.report.skipped(&c.place, "there is another of the same id before it");
        }
        if let Some(email) = &c.email {
            planned.by_email.entry(email.clone()).or_insert_with(|| c.id.clone());
        }
        planned.customers.insert(c.id.clone(), c);
    }

    fn accounts(&mut self, accounts: Vec<Account>) {
        let mut by_name: BTreeMap<(Provider, String), Vec<Account>> = BTreeMap::new();
        for mut a in accounts {
            // A row of nobody claims nothing.
            if self.home(&a.organization, &a.place).is_none() {
                continue;
            }
            if let Some(kind) = self.options.check.any([Some(a.account.as_str()), a.label.as_deref()]) {
                self.report.refused(&a.place, holds(kind));
                continue;
            }
            let Some(name) = account_name(a.provider, &a.account) else {
                let reason = format!("it does not name a {} account", a.provider.title());
                self.report.skipped(&a.place, reason);
                continue;
            };
            a.account.clone_from(&name);
            a.label = a.label.map(|l| l.trim().chars().filter(|c| !c.is_control()).take(TITLE).collect());
            by_name.entry((a.provider, name)).or_default().push(a);
        }
        for ((provider, name), mut claims) in by_name {
            let owners: BTreeSet<&String> = claims.iter().map(|a| &a.organization).collect();
            if owners.len() > 1 {
                for a in &claims {
                    let reason = format!(
                        "{} {name} is claimed by {} organizations: neither claim is taken",
                        provider.title(),
                        owners.len()
                    );
                    self.report.refused(&a.place, reason);
                }
                continue;
            }
            // Several rows of one organization say the same.
            claims.sort_by_key(|a| a.label.is_none());
            let first = claims.swap_remove(0);
            if let Some(at) = self.plan.index.get(&first.organization) {
                self.plan.orgs[*at].accounts.push(first);
            }
        }
    }
}

/// An account's name in the shape that we know it by; a page may be known by its name alone.
fn account_name(provider: Provider, text: &str) -> Option<String> {
    let text = text.trim();
    match provider {
        Provider::Shopify => {
            let text = text.to_lowercase();
            let text = text.trim_start_matches("http://").trim_start_matches("https://");
            let text = text.split('/').next().filter(|_| !text.starts_with("admin.")).unwrap_or(text);
            ShopDomain::from_input(text).map(|s| s.as_str().to_owned())
        }
        Provider::Kustomer => Subdomain::from_input(&text.to_lowercase()).map(|s| s.as_str().to_owned()),
        Provider::Messenger => match PageId::parse(text) {
            Some(id) => Some(id.as_str().to_owned()),
            None => display_name(text),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_told_from_everybody_else() {
        let nobody = format!("{}-0000-0000-0000-{}1", "0".repeat(8), "0".repeat(11));
        assert!(is_nobody(&nobody) && is_nobody(&nobody.replace('-', "")));
        for other in ["", "1", &"0".repeat(32), &nobody.replace('1', "2"), &format!("1{}1", "0".repeat(30))] {
            assert!(!is_nobody(other), "{other}");
        }
    }

    #[test]
    fn each_word_for_a_role_has_its_role_here() {
        let all = ["owner", "admin", "developer", "Manager", "agent", "user", "viewer", "superhero"];
        let told: Vec<String> =
            all.iter().map(|w| format!("{w} {}", role(w).map_or("-", Role::as_str))).collect();
        insta::assert_snapshot!(told.join(", "), @"owner owner, admin admin, developer admin, Manager admin, agent agent, user viewer, viewer viewer, superhero -");
    }

    #[test]
    fn an_account_is_known_by_one_name_however_it_was_written() {
        for text in ["lark-supply", "LARK-supply.myshopify.com", "https://lark-supply.myshopify.com/admin"] {
            assert_eq!(
                account_name(Provider::Shopify, text).as_deref(),
                Some("lark-supply.myshopify.com"),
                "{text}"
            );
        }
        assert_eq!(account_name(Provider::Shopify, "https://evil.example"), None);
        assert_eq!(account_name(Provider::Kustomer, "Lark.kustomerapp.com").as_deref(), Some("lark"));
        assert_eq!(account_name(Provider::Messenger, " 1234567 ").as_deref(), Some("1234567"));
        assert_eq!(account_name(Provider::Messenger, "Lark Supply").as_deref(), Some("Lark Supply"));
    }
}
