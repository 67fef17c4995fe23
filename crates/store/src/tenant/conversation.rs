//! Conversations and the contacts they are with.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{ContactRef, Conversation, Owner, Status};
use agenstack_core::id::{ContactId, ConversationId, IntegrationId};
use agenstack_core::sealed::Sealed;

macro_rules! select {
    () => {
        "SELECT c.id, c.channel, c.integration_id, c.contact_id, c.external_id, c.owner, c.status, c.kustomer_id, c.bot_memory, \
         c.last_customer_at, c.last_message_at, p.name \
         FROM conversations c JOIN contacts p ON p.organization_id = c.organization_id AND p.id = c.contact_id \
         WHERE c.organization_id = $1 "
    };
}

statements! { Tenant;
    CONTACT_ADD = "INSERT INTO contacts (organization_id, id, integration_id, external_id, name, created_at)
        VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (organization_id, integration_id, external_id) DO NOTHING";
    CONTACT_ID = "SELECT id FROM contacts WHERE organization_id = $1 AND integration_id = $2 AND external_id = $3";
    CONTACT_NAME = "UPDATE contacts SET name = $3 WHERE organization_id = $1 AND id = $2";
    CONVERSATION_ADD = "INSERT INTO conversations (organization_id, id, channel, integration_id, contact_id, external_id, owner, status,
            last_customer_at, last_message_at, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, 'bot', 'open', $7, $7, $7)
        ON CONFLICT (organization_id, integration_id, external_id) DO NOTHING";
    CONVERSATION_BY_CUSTOMER = concat!(select!(), "AND c.integration_id = $2 AND c.external_id = $3");
    CONVERSATION_BY_KUSTOMER = concat!(select!(), "AND c.kustomer_id = $2");
    CONVERSATION_FIND = concat!(select!(), "AND c.id = $2");
    CONVERSATION_LIST = concat!(select!(), "AND ($2 = '' OR c.owner = $2) AND ($3 = '' OR c.status = $3)
          AND (c.last_message_at < $4 OR (c.last_message_at = $4 AND c.id < $5))
        ORDER BY c.last_message_at DESC, c.id DESC LIMIT $6");
    CONVERSATION_SCAN = concat!(select!(), "AND c.id > $2 ORDER BY c.id LIMIT $3");
    CONVERSATION_FORGET = "UPDATE conversations SET bot_memory = NULL
        WHERE organization_id = $1 AND id = $2 AND bot_memory IS NOT NULL";
    CONVERSATION_UPDATE = "UPDATE conversations SET owner = $3, status = $4, kustomer_id = $5, bot_memory = $6, last_customer_at = $7,
            last_message_at = $8
        WHERE organization_id = $1 AND id = $2";
    // What was imported runs over no connection: it is finished, and a person's.
    CONVERSATION_IMPORT = "INSERT INTO conversations (organization_id, id, channel, integration_id, contact_id, external_id, owner, status,
            bot_memory, last_customer_at, last_message_at, created_at)
        VALUES ($1, $2, $3, '', $4, $5, 'person', 'closed', $6, $7, $8, $9)
        ON CONFLICT (organization_id, integration_id, external_id) DO NOTHING";
    CONVERSATION_IMPORTED = "SELECT id FROM conversations WHERE organization_id = $1 AND integration_id = '' AND external_id = $2";
    CONVERSATION_LATER = "UPDATE conversations SET
            last_customer_at = CASE WHEN last_customer_at < $3 THEN $3 ELSE last_customer_at END,
            last_message_at = CASE WHEN last_message_at < $4 THEN $4 ELSE last_message_at END
        WHERE organization_id = $1 AND id = $2";
    CONVERSATION_COUNT = "SELECT COUNT(*) FROM conversations WHERE organization_id = $1 AND ($2 = '' OR owner = $2)
        AND status = 'open'";
    CONVERSATION_NEWEST = "SELECT COALESCE(MAX(last_message_at), 0) FROM conversations
        WHERE organization_id = $1 AND integration_id <> ''";
}

/// A conversation with the bot's sealed memory (`conversations.bot_memory` of row `id`).
#[derive(Clone, Debug)]
pub struct StoredConversation {
    /// The conversation; its `bot_memory` is empty here.
    pub conversation: Conversation,
    /// What the bot remembers, sealed.
    pub memory: Option<Sealed>,
}

/// A conversation of an older platform.
#[derive(Clone, Debug)]
pub struct ImportedConversation<'a> {
    /// Under which name it came.
    pub external_id: &'a str,
    /// What it was held over there.
    pub channel: &'a str,
    /// With whom.
    pub contact: &'a ContactId,
    /// By what the customer is recognised, sealed (`conversations.bot_memory` of row `id`).
    pub memory: Option<&'a Sealed>,
    /// When the customer last wrote.
    pub last_customer_at: Timestamp,
    /// When anybody last wrote.
    pub last_message_at: Timestamp,
    /// When it began.
    pub created_at: Timestamp,
}

/// Where a list of conversations goes on: after this one.
#[derive(Clone, Debug)]
pub struct ConversationCursor {
    /// Its last message.
    pub last_message_at: Timestamp,
    /// Its id.
    pub id: ConversationId,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    channel: String,
    integration_id: String,
    contact_id: String,
    external_id: String,
    owner: String,
    status: String,
    kustomer_id: Option<String>,
    bot_memory: Option<Vec<u8>>,
    last_customer_at: i64,
    last_message_at: i64,
    name: String,
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "conversations", column }
}

impl TenantTx {
    fn conversation(&self, r: Row) -> Result<StoredConversation, StoreError> {
        Ok(StoredConversation {
            memory: r.bot_memory.map(Sealed::from_bytes),
            conversation: Conversation {
                id: ConversationId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
                organization_id: self.org.clone(),
                channel: r.channel,
                integration_id: match r.integration_id.as_str() {
                    "" => None,
                    id => Some(IntegrationId::parse(id).ok_or_else(|| corrupt("integration_id"))?),
                },
                contact: ContactRef {
                    id: ContactId::parse(&r.contact_id).ok_or_else(|| corrupt("contact_id"))?,
                    name: r.name,
                },
                owner: Owner::parse(&r.owner).ok_or_else(|| corrupt("owner"))?,
                status: Status::parse(&r.status).ok_or_else(|| corrupt("status"))?,
                last_message_at: Timestamp::from_millis(r.last_message_at),
                external_id: r.external_id,
                last_customer_at: Timestamp::from_millis(r.last_customer_at),
                kustomer_id: r.kustomer_id,
                bot_memory: String::new(),
            },
        })
    }

    /// The conversation with a customer of a page, begun if there is none. The ids are used only then.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_open(
        &mut self,
        fresh: (&ConversationId, &ContactId),
        integration: &IntegrationId,
        external_id: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<StoredConversation, StoreError> {
        let org = self.org.as_str();
        execute!(
            self,
            CONTACT_ADD,
            org,
            fresh.1.as_str(),
            integration.as_str(),
            external_id,
            name,
            now.millis()
        )?;
        let (contact,) =
            rows!(fetch_one, self, (String,), CONTACT_ID, org, integration.as_str(), external_id)?;
        execute!(
            self,
            CONVERSATION_ADD,
            org,
            fresh.0.as_str(),
            "messenger",
            integration.as_str(),
            contact,
            external_id,
            now.millis()
        )?;
        let row =
            rows!(fetch_one, self, Row, CONVERSATION_BY_CUSTOMER, org, integration.as_str(), external_id)?;
        self.conversation(row)
    }

    /// The conversation with a customer of a page, if there is one.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_by_customer(
        &mut self,
        integration: &IntegrationId,
        external_id: &str,
    ) -> Result<Option<StoredConversation>, StoreError> {
        let row = rows!(
            fetch_optional,
            self,
            Row,
            CONVERSATION_BY_CUSTOMER,
            self.org.as_str(),
            integration.as_str(),
            external_id
        )?;
        row.map(|r| self.conversation(r)).transpose()
    }

    /// The conversation that was handed over as this Kustomer conversation.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_by_kustomer(
        &mut self,
        kustomer_id: &str,
    ) -> Result<Option<StoredConversation>, StoreError> {
        let row = rows!(fetch_optional, self, Row, CONVERSATION_BY_KUSTOMER, self.org.as_str(), kustomer_id)?;
        row.map(|r| self.conversation(r)).transpose()
    }

    /// One conversation.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_find(
        &mut self,
        id: &ConversationId,
    ) -> Result<Option<StoredConversation>, StoreError> {
        let row = rows!(fetch_optional, self, Row, CONVERSATION_FIND, self.org.as_str(), id.as_str())?;
        row.map(|r| self.conversation(r)).transpose()
    }

    /// Newest activity first.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_list(
        &mut self,
        owner: Option<Owner>,
        status: Option<Status>,
        after: Option<&ConversationCursor>,
        limit: i64,
    ) -> Result<Vec<StoredConversation>, StoreError> {
        let rows = rows!(
            fetch_all,
            self,
            Row,
            CONVERSATION_LIST,
            self.org.as_str(),
            owner.map_or("", Owner::as_str),
            status.map_or("", Status::as_str),
            after.map_or(i64::MAX, |c| c.last_message_at.millis()),
            after.map_or("", |c| c.id.as_str()),
            limit,
        )?;
        rows.into_iter().map(|r| self.conversation(r)).collect()
    }

    /// Stores what can change of a conversation, with the bot's memory sealed again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_update(
        &mut self,
        c: &Conversation,
        memory: Option<&Sealed>,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            CONVERSATION_UPDATE,
            self.org.as_str(),
            c.id.as_str(),
            c.owner.as_str(),
            c.status.as_str(),
            c.kustomer_id.as_deref(),
            memory.map(Sealed::as_bytes),
            c.last_customer_at.millis(),
            c.last_message_at.millis(),
        )?;
        Ok(())
    }

    /// The customer's name, once the provider told it.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn contact_name(&mut self, id: &ContactId, name: &str) -> Result<(), StoreError> {
        execute!(self, CONTACT_NAME, self.org.as_str(), id.as_str(), name)?;
        Ok(())
    }

    /// The customer of an older platform, and whether they are new. `fresh` is used only then.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn contact_import(
        &mut self,
        fresh: &ContactId,
        external_id: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<(ContactId, bool), StoreError> {
        let org = self.org.as_str();
        let n = execute!(self, CONTACT_ADD, org, fresh.as_str(), "", external_id, name, now.millis())?;
        let (id,) = rows!(fetch_one, self, (String,), CONTACT_ID, org, "", external_id)?;
        let id = ContactId::parse(&id).ok_or(StoreError::Corrupt { table: "contacts", column: "id" })?;
        Ok((id, n == 1))
    }

    /// A conversation of an older platform, and whether it is new. `fresh` is used only then; one that is there already
    /// keeps everything but the times of what was written since.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_import(
        &mut self,
        fresh: &ConversationId,
        c: &ImportedConversation<'_>,
    ) -> Result<(ConversationId, bool), StoreError> {
        let org = self.org.as_str();
        let n = execute!(
            self,
            CONVERSATION_IMPORT,
            org,
            fresh.as_str(),
            c.channel,
            c.contact.as_str(),
            c.external_id,
            c.memory.map(Sealed::as_bytes),
            c.last_customer_at.millis(),
            c.last_message_at.millis(),
            c.created_at.millis(),
        )?;
        if n == 1 {
            return Ok((fresh.clone(), true));
        }
        let (id,) = rows!(fetch_one, self, (String,), CONVERSATION_IMPORTED, org, c.external_id)?;
        let (customer, message) = (c.last_customer_at.millis(), c.last_message_at.millis());
        execute!(self, CONVERSATION_LATER, org, id.as_str(), customer, message)?;
        Ok((ConversationId::parse(&id).ok_or_else(|| corrupt("id"))?, false))
    }

    /// How many open conversations there are, of one owner or of all.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_count(&mut self, owner: Option<Owner>) -> Result<i64, StoreError> {
        let (n,) = rows!(
            fetch_one,
            self,
            (i64,),
            CONVERSATION_COUNT,
            self.org.as_str(),
            owner.map_or("", Owner::as_str)
        )?;
        Ok(n)
    }

    /// When anything last happened in any conversation that was not imported.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_newest(&mut self) -> Result<Timestamp, StoreError> {
        let (ms,) = rows!(fetch_one, self, (i64,), CONVERSATION_NEWEST, self.org.as_str())?;
        Ok(Timestamp::from_millis(ms))
    }

    /// All of them, whatever their state, in the order of their ids, after the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_scan(
        &mut self,
        after: Option<&ConversationId>,
        limit: i64,
    ) -> Result<Vec<StoredConversation>, StoreError> {
        let after = after.map_or("", ConversationId::as_str);
        let rows = rows!(fetch_all, self, Row, CONVERSATION_SCAN, self.org.as_str(), after, limit)?;
        rows.into_iter().map(|r| self.conversation(r)).collect()
    }

    /// Erases what the bot remembers. `false` if it remembers nothing.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn conversation_forget(&mut self, id: &ConversationId) -> Result<bool, StoreError> {
        Ok(execute!(self, CONVERSATION_FORGET, self.org.as_str(), id.as_str())? == 1)
    }
}
