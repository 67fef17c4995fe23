//! Conversations with what was said in them. They come finished and in people's hands: nobody is answered in them, and the bot
//! has no business there.

use super::apply::Home;
use super::plan::{Plan, Planned, holds, is_nobody};
use super::record::{Chat, Said};
use super::report::Report;
use super::{NotImported, Options, legacy};
use crate::bot::{Memory, seal_memory};
use crate::conversation::text_place;
use crate::handle::NAMELESS;
use crate::{App, new_id};
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::{IdMaker, MessageId};
use agenstack_core::org::{display_name, email_address};
use agenstack_store::TenantTx;
use agenstack_store::tenant::conversation::ImportedConversation;
use agenstack_store::tenant::message::StoredMessage;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Conversations that are taken at once; those of one organization share a transaction.
const BATCH: usize = 100;

/// Where conversations come from.
pub(super) enum Chats {
    /// They are all here.
    Read(std::vec::IntoIter<Chat>),
    /// They are read bit by bit.
    Legacy(Box<legacy::Chats>),
}

impl Chats {
    async fn next(&mut self, report: &mut Report) -> Result<Vec<Chat>, NotImported> {
        match self {
            Self::Read(all) => Ok(all.take(BATCH).collect()),
            Self::Legacy(old) => old.next(BATCH, report).await,
        }
    }
}

/// What is known of the customer of a conversation.
struct With<'a> {
    external_id: String,
    name: &'a str,
    email: Option<String>,
    /// Their id, if they are a customer of their own.
    customer: Option<&'a str>,
}

struct Taking<'a> {
    app: &'a App,
    plan: &'a Plan,
    options: &'a Options,
    report: &'a mut Report,
    /// Organization and id of what has come already.
    seen: HashSet<(String, String)>,
    /// Organization and id of customers who had a conversation.
    met: HashSet<(String, String)>,
}

/// Takes them all.
pub(super) async fn take(
    app: &App,
    plan: &Plan,
    homes: &HashMap<String, Home>,
    mut chats: Chats,
    options: &Options,
    report: &mut Report,
) -> Result<(), NotImported> {
    let mut taking = Taking { app, plan, options, report, seen: HashSet::new(), met: HashSet::new() };
    loop {
        let batch = chats.next(taking.report).await?;
        if batch.is_empty() {
            break;
        }
        let mut by_org: BTreeMap<String, Vec<Chat>> = BTreeMap::new();
        for chat in batch {
            if let Some(chat) = taking.fit(chat, homes) {
                by_org.entry(chat.organization.clone()).or_default().push(chat);
            }
        }
        for (org, chats) in by_org {
            let planned = plan.get(&org).expect("what is fit belongs to a planned organization");
            match &homes[&org] {
                Home::Here(ctx) => taking.write(ctx, planned, &chats).await?,
                Home::New => taking.count(planned, &chats),
            }
        }
    }
    taking.unmet(homes);
    Ok(())
}

impl Taking<'_> {
    /// The conversation without what is not taken of it; `None` if that is all of it.
    fn fit(&mut self, mut chat: Chat, homes: &HashMap<String, Home>) -> Option<Chat> {
        if is_nobody(&chat.organization) {
            self.report.quarantined(&chat.place);
            return None;
        }
        if !homes.contains_key(&chat.organization) {
            if !self.options.skip_organizations.contains(&chat.organization) {
                self.report.skipped(&chat.place, "its organization is not taken");
            }
            return None;
        }
        if !self.seen.insert((chat.organization.clone(), chat.id.clone())) {
            self.report.skipped(&chat.place, "there is another of the same id before it");
            return None;
        }
        let texts = [&chat.customer_name, &chat.customer_email, &chat.channel];
        let texts = texts.into_iter().map(|t| t.as_deref()).chain([Some(chat.id.as_str())]);
        if let Some(kind) = self.options.check.any(texts) {
            self.report.refused(&chat.place, holds(kind));
            return None;
        }
        let messages = std::mem::take(&mut chat.messages);
        for said in messages {
            if let Some(kind) = self.options.check.any([Some(said.text.as_str()), Some(said.id.as_str())]) {
                self.report.refused(&said.place, holds(kind));
            } else if said.text.trim().is_empty() {
                self.report.skipped(&said.place, "it has no text");
            } else if said.author.is_err() {
                self.report.skipped(&said.place, "who said it is told by a word that is not known here");
            } else {
                chat.messages.push(said);
            }
        }
        if chat.messages.is_empty() {
            self.report.skipped(&chat.place, "nothing is said in it that is taken");
            return None;
        }
        Some(chat)
    }

    fn with<'c>(&self, planned: &'c Planned, chat: &'c Chat) -> With<'c> {
        let email = chat.customer_email.as_deref().and_then(email_address);
        let by_email = || email.as_ref().and_then(|e| planned.by_email.get(e));
        let id = chat.customer.as_ref().filter(|id| planned.customers.contains_key(*id)).or_else(by_email);
        let source = &self.options.source;
        match id.and_then(|id| planned.customers.get(id)) {
            Some(c) => With {
                external_id: format!("{source}:customer:{}", c.id),
                name: c.name.as_deref().or(chat.customer_name.as_deref()).unwrap_or(NAMELESS),
                email: c.email.clone().or(email),
                customer: Some(&c.id),
            },
            None => With {
                external_id: format!("{source}:conversation:{}", chat.id),
                name: chat.customer_name.as_deref().unwrap_or(NAMELESS),
                email,
                customer: None,
            },
        }
    }

    /// A dry run, of an organization that is not there yet.
    fn count(&mut self, planned: &Planned, chats: &[Chat]) {
        let id = &planned.org.id;
        for chat in chats {
            if let Some(customer) = self.with(planned, chat).customer.map(str::to_owned)
                && self.met.insert((id.clone(), customer))
            {
                self.report.count(id, "customers", true);
            }
            self.report.count(id, "conversations", true);
            let mut ids = HashSet::new();
            chat.messages.iter().for_each(|m| self.report.count(id, "messages", ids.insert(&m.id)));
        }
    }

    async fn write(&mut self, org: &OrgCtx, planned: &Planned, chats: &[Chat]) -> Result<(), NotImported> {
        // The key comes from another transaction; it is fetched before this one begins.
        self.app.keyring().key(org.org()).await?;
        let mut tx = self.app.store().tenant(org).await?;
        let mut new = Vec::new();
        for chat in chats {
            self.one(org, &mut tx, planned, chat, &mut new).await?;
        }
        if !self.options.dry_run {
            tx.commit().await?;
        }
        for (kind, is_new) in new {
            self.report.count(&planned.org.id, kind, is_new);
        }
        Ok(())
    }

    async fn one(
        &mut self,
        org: &OrgCtx,
        tx: &mut TenantTx,
        planned: &Planned,
        chat: &Chat,
        new: &mut Vec<(&'static str, bool)>,
    ) -> Result<(), NotImported> {
        let (app, now) = (self.app, self.app.now());
        let with = self.with(planned, chat);
        let name = display_name(&with.name.chars().take(80).collect::<String>());
        let began = chat.created_at.or_else(|| chat.messages.iter().find_map(|m| m.at)).unwrap_or(now);
        let fresh = new_id!(app, ContactId, began);
        let name = name.as_deref().unwrap_or(NAMELESS);
        let (contact, is_new) = tx.contact_import(&fresh, &with.external_id, name, began).await?;
        if let Some(customer) = with.customer
            && self.met.insert((planned.org.id.clone(), customer.to_owned()))
        {
            new.push(("customers", is_new));
        }

        let times = times(&chat.messages, began);
        let of_customer = chat.messages.iter().zip(&times).filter(|(m, _)| m.author == Ok(Author::Customer));
        let id = new_id!(app, ConversationId, began);
        let memory = match &with.email {
            Some(email) => Some(seal_memory(app, org.org(), &id, &Memory::of_imported(email)).await?),
            None => None,
        };
        let channel = channel(chat.channel.as_deref());
        let conversation = ImportedConversation {
            external_id: &format!("{}:{}", self.options.source, chat.id),
            channel: &channel,
            contact: &contact,
            memory: memory.as_ref(),
            last_customer_at: of_customer.map(|(_, at)| *at).max().unwrap_or(began),
            last_message_at: times.iter().copied().max().unwrap_or(began),
            created_at: began,
        };
        let (id, is_new) = tx.conversation_import(&id, &conversation).await?;
        new.push(("conversations", is_new));

        let key = app.keyring().key(org.org()).await?;
        // A maker of its own: ids sort by when something was said, however long ago.
        let maker = IdMaker::new();
        for (said, at) in chat.messages.iter().zip(times) {
            let Ok(author) = said.author else { continue };
            let message = MessageId::new(&maker, at, app.entropy());
            let stored = StoredMessage {
                conversation_id: id.clone(),
                author,
                text: key.seal(text_place(&message), said.text.as_bytes(), app.entropy()),
                delivery: match author {
                    Author::Customer | Author::System => Delivery::Received,
                    Author::Bot | Author::Agent => Delivery::Sent,
                },
                external_id: Some(format!("{}:{}", self.options.source, said.id)),
                error: None,
                handed_out_at: None,
                created_at: at,
                id: message,
            };
            new.push(("messages", tx.message_add(&stored).await?));
        }
        Ok(())
    }

    /// Customers who never wrote. A row with nothing but a name would be of no use, and could not be found when that customer
    /// asks to be forgotten.
    fn unmet(&mut self, homes: &HashMap<String, Home>) {
        for planned in self.plan.orgs.iter().filter(|p| homes.contains_key(&p.org.id)) {
            let mut unmet: Vec<_> = planned.customers.values().collect();
            unmet.sort_by(|a, b| a.place.cmp(&b.place));
            for c in unmet {
                if !self.met.contains(&(planned.org.id.clone(), c.id.clone())) {
                    self.report.skipped(&c.place, "the customer has no conversation that is taken");
                }
            }
        }
    }
}

/// When each message was said: what has no time of its own was said with the one before it.
fn times(messages: &[Said], began: Timestamp) -> Vec<Timestamp> {
    let mut last = began;
    messages
        .iter()
        .map(|m| {
            last = m.at.unwrap_or(last);
            last
        })
        .collect()
}

/// The old platform's word, in a shape that can be shown anywhere.
fn channel(word: Option<&str>) -> String {
    let word: String = word.unwrap_or_default().to_lowercase();
    let word: String =
        word.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(32).collect();
    if word.is_empty() { "imported".into() } else { word }
}
