//! Writes what was planned, one organization after the other, each step in a transaction of its own.

use super::chat::{self, Chats};
use super::plan::{Plan, Planned};
use super::report::{OrgLine, Report};
use super::{NotImported, Options};
use crate::error::AppError;
use crate::{App, new_id, reset};
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::id::OrgId;
use agenstack_core::org::{Organization, User};
use agenstack_core::policy::Role;
use agenstack_core::sealed::Place;
use agenstack_store::StoreError;
use agenstack_store::global::import::Imported;
use agenstack_store::tenant::brought::Brought;
use agenstack_store::tenant::former::FormerAccount;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// No password has this hash: nobody can log in with it. Whoever has it still has to choose one.
pub(crate) const NO_PASSWORD: &str = "!";

/// Where an organization's rows go.
pub(super) enum Home {
    /// Into its own, here.
    Here(OrgCtx),
    /// A dry run would make it: everything in it would be new.
    New,
}

/// Somebody who is to choose a password.
struct Invited {
    user: User,
    home: OrgCtx,
    organizations: Vec<String>,
}

struct Run<'a> {
    app: &'a App,
    options: &'a Options,
    report: Report,
    homes: HashMap<String, Home>,
    /// Whose account was counted, with whether it is new.
    people: BTreeSet<String>,
    invited: BTreeMap<String, Invited>,
    /// People whom a dry run would write to.
    would_write: BTreeSet<String>,
}

pub(super) async fn apply(
    app: &App,
    plan: Plan,
    chats: Chats,
    options: &Options,
    report: Report,
) -> Result<Report, NotImported> {
    let mut run = Run {
        app,
        options,
        report,
        homes: HashMap::new(),
        people: BTreeSet::new(),
        invited: BTreeMap::new(),
        would_write: BTreeSet::new(),
    };
    for planned in &plan.orgs {
        let Some(home) = run.organization(planned).await? else { continue };
        run.members(&plan, planned, &home).await?;
        run.told(planned, &home).await?;
        run.homes.insert(planned.org.id.clone(), home);
    }
    run.write_mails().await?;
    let Run { mut report, homes, .. } = run;
    chat::take(app, &plan, &homes, chats, options, &mut report).await?;
    Ok(report)
}

/// An id that keeps the old one, where that is a UUID.
fn kept_id(id: &str) -> Option<OrgId> {
    let bare: String = id.trim().chars().filter(|c| *c != '-').collect();
    let fits = bare.len() == 32 && id.trim().len() == 36;
    u128::from_str_radix(&bare, 16).ok().filter(|_| fits).map(OrgId::from_bits)
}

impl Run<'_> {
    fn now(&self) -> Timestamp {
        self.app.now()
    }

    /// Finds or makes the organization; `None` if nothing of it is to be taken.
    async fn organization(&mut self, planned: &Planned) -> Result<Option<Home>, NotImported> {
        let org = &planned.org;
        let from = format!("{}:{}", self.options.source, org.id);
        let found = self.app.store().global_read().await?.organization_imported(&from).await?;
        let is_new = found.is_none();
        let imported = match found {
            Some(it) if it.is_closed => {
                self.report.skipped(&org.place, "it was deleted here since, with everything in it");
                return Ok(None);
            }
            Some(it) => Some(it),
            None if self.options.dry_run => None,
            None => Some(self.make(planned, &from).await?),
        };
        self.report.organizations.push(OrgLine {
            source_id: org.id.clone(),
            name: org.name.clone(),
            id: imported.as_ref().map(|it| it.id.as_str().to_owned()),
            is_new,
            counts: BTreeMap::new(),
        });
        Ok(Some(match imported {
            Some(it) => Home::Here(OrgCtx::from_queue(self.app.ctx(Actor::Operator), &it.proof)),
            None => Home::New,
        }))
    }

    async fn make(&self, planned: &Planned, from: &str) -> Result<Imported, NotImported> {
        let (app, now) = (self.app, self.now());
        let fresh = || new_id!(app, OrgId, now);
        let mut id = kept_id(&planned.org.id).unwrap_or_else(fresh);
        loop {
            let created_at = planned.org.created_at.unwrap_or(now);
            let made = Organization { id: id.clone(), name: planned.org.name.clone(), created_at };
            let mut tx = app.store().global().await?;
            match tx.organization_import(&made, from).await {
                Ok(it) => {
                    app.keyring().create(&mut tx, &id, app.ids(), app.entropy(), now).await?;
                    tx.commit().await?;
                    return Ok(it);
                }
                // Somebody else has this id: it is not taken from them.
                Err(StoreError::Conflict(_)) if kept_id(&planned.org.id) == Some(id) => id = fresh(),
                Err(e) => return Err(e.into()),
            }
        }
    }

    /// Accounts and memberships. An account that is there keeps its name, its password, and the role it has by now.
    async fn members(&mut self, plan: &Plan, planned: &Planned, home: &Home) -> Result<(), NotImported> {
        let (app, now) = (self.app, self.now());
        let mut found = Vec::new();
        // A person is a row of nobody's organization; a dry run lets the transaction go.
        let mut tx = app.store().global().await?;
        for (email, role) in &planned.members {
            let known = tx.user_by_email(email).await?;
            let (user, is_new, has_password) = match known {
                Some(c) => (c.user, false, c.password_hash != NO_PASSWORD),
                None => {
                    let name = plan.people.get(email).cloned().unwrap_or_default();
                    let user = User { id: new_id!(app, UserId, now), email: email.clone(), name };
                    tx.user_add(&user, NO_PASSWORD, now).await?;
                    (user, true, false)
                }
            };
            let joined = match home {
                Home::New => true,
                Home::Here(org) => {
                    let absent = tx.membership_find(org.org(), &user.id).await?.is_none();
                    if absent {
                        tx.membership_add(org.org(), &user.id, *role, now).await?;
                    }
                    absent
                }
            };
            found.push((user, *role, is_new, has_password, joined));
        }
        if !self.options.dry_run {
            tx.commit().await?;
        }
        for (user, role, is_new, has_password, joined) in found {
            self.joined(planned, home, user, role, (is_new, has_password, joined));
        }
        Ok(())
    }

    fn joined(
        &mut self,
        planned: &Planned,
        home: &Home,
        user: User,
        role: Role,
        (is_new, has_password, joined): (bool, bool, bool),
    ) {
        self.report.count(&planned.org.id, "members", joined);
        if self.people.insert(user.email.clone()) {
            self.report.people.add(is_new);
        }
        if has_password {
            if joined {
                let reason = format!(
                    "had an account here before: it becomes {role} of {}, with the password it has; make sure that it is theirs",
                    planned.org.name
                );
                self.report.noted(&format!("user {}", user.email), reason);
            }
            return;
        }
        match home {
            Home::New => drop(self.would_write.insert(user.email)),
            Home::Here(org) => {
                let invited = self.invited.entry(user.email.clone());
                let invited =
                    invited.or_insert_with(|| Invited { user, home: org.clone(), organizations: Vec::new() });
                invited.organizations.push(planned.org.name.clone());
            }
        }
    }

    /// Accounts to connect again, bots and knowledge.
    async fn told(&mut self, planned: &Planned, home: &Home) -> Result<(), NotImported> {
        let kind = |kind: &str| if kind == "bot" { "bots" } else { "knowledge" };
        let id = &planned.org.id;
        let Home::Here(org) = home else {
            planned.accounts.iter().for_each(|_| self.report.count(id, "accounts", true));
            planned.told.iter().for_each(|t| self.report.count(id, kind(t.kind), true));
            return Ok(());
        };
        let (app, now) = (self.app, self.now());
        let key = app.keyring().key(org.org()).await?;
        let mut tx = app.store().tenant(org).await?;
        let mut new = Vec::new();
        for a in &planned.accounts {
            let former = FormerAccount {
                provider: a.provider,
                account: a.account.clone(),
                label: a.label.clone().unwrap_or_else(|| a.account.clone()),
                connected_at: a.connected_at,
            };
            new.push(("accounts", tx.former_add(&former, now).await?));
        }
        for t in &planned.told {
            let brought = new_id!(app, BroughtId, now);
            let place = Place { table: "imported_settings", row: brought.as_str(), column: "content" };
            let content = key.seal(place, t.content.to_string().as_bytes(), app.entropy());
            let brought = Brought {
                kind: t.kind.to_owned(),
                source_id: format!("{}:{}", self.options.source, t.id),
                title: t.title.clone(),
                content,
                id: brought,
            };
            new.push((kind(t.kind), tx.brought_add(&brought, now).await?));
        }
        if !self.options.dry_run {
            tx.commit().await?;
        }
        for (kind, is_new) in new {
            self.report.count(id, kind, is_new);
        }
        Ok(())
    }

    /// Lets everybody choose a password who has none yet and was not written to.
    async fn write_mails(&mut self) -> Result<(), AppError> {
        if !self.options.mails {
            return Ok(());
        }
        let mut sent = 0;
        for invited in self.invited.values() {
            let Invited { user, home, organizations } = invited;
            self.would_write.remove(&user.email);
            if self.options.dry_run {
                sent += u64::from(!reset::was_invited(self.app, home, user).await?);
            } else {
                sent += u64::from(reset::invite(self.app, home, user, organizations).await?);
            }
        }
        self.report.mails = sent + self.would_write.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_is_a_uuid_is_kept_and_any_other_is_not() {
        let kept = kept_id("0198c0de-7a11-7000-8000-00000000abcd").unwrap();
        assert_eq!(kept, kept_id("0198C0DE-7A11-7000-8000-00000000ABCD").unwrap());
        assert_eq!(OrgId::parse(kept.as_str()), Some(kept));
        assert!(kept_id("17").is_none() && kept_id("lark").is_none() && kept_id(&"a".repeat(32)).is_none());
    }
}
