//! Messages of a conversation, their text sealed.

use crate::db::{TenantTx, execute, rows};
use crate::error::StoreError;
use crate::statement::statements;
use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::{Author, Delivery};
use agenstack_core::id::{ConversationId, IntegrationId, MessageId};
use agenstack_core::sealed::Sealed;

macro_rules! columns {
    () => {
        "id, conversation_id, author, text, delivery, external_id, error, handed_out_at, created_at"
    };
}

statements! { Tenant;
    MESSAGE_ADD = "INSERT INTO messages (organization_id, id, conversation_id, author, text, delivery, external_id, created_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (organization_id, conversation_id, external_id) DO NOTHING";
    MESSAGE_FIND = concat!("SELECT ", columns!(), " FROM messages WHERE organization_id = $1 AND id = $2");
    MESSAGE_BY_EXTERNAL = concat!("SELECT ", columns!(), " FROM messages
        WHERE organization_id = $1 AND conversation_id = $2 AND external_id = $3");
    MESSAGE_LIST = concat!("SELECT ", columns!(), " FROM messages
        WHERE organization_id = $1 AND conversation_id = $2 AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4");
    MESSAGE_HANDED_OUT = "UPDATE messages SET handed_out_at = $3 WHERE organization_id = $1 AND id = $2 AND handed_out_at IS NULL";
    MESSAGE_TAKEN_BACK = "UPDATE messages SET handed_out_at = NULL WHERE organization_id = $1 AND id = $2 AND delivery = 'queued'";
    MESSAGE_SENT = "UPDATE messages SET delivery = 'sent', external_id = $3, error = NULL
        WHERE organization_id = $1 AND id = $2 AND delivery IN ('queued', 'unknown')";
    MESSAGE_DELIVERY = "UPDATE messages SET delivery = $3, error = $4 WHERE organization_id = $1 AND id = $2";
    MESSAGE_CANCEL = "UPDATE messages SET delivery = 'failed', error = $3
        WHERE organization_id = $1 AND delivery = 'queued' AND handed_out_at IS NULL AND conversation_id IN
            (SELECT id FROM conversations WHERE organization_id = $1 AND integration_id = $2)";
    MESSAGE_REACHED = "UPDATE messages SET delivery = $4 WHERE organization_id = $1 AND conversation_id = $2 AND created_at <= $3
        AND author IN ('bot', 'agent') AND (delivery = 'sent' OR (delivery = 'delivered' AND $4 = 'read'))";
    MESSAGE_ABOUT_SET = "UPDATE messages SET about = $3 WHERE organization_id = $1 AND id = $2";
    MESSAGE_ABOUT = concat!("SELECT ", columns!(), " FROM messages
        WHERE organization_id = $1 AND about = $2 AND id > $3 ORDER BY id LIMIT $4");
    // What waits to be sent would be sent with the text that stands there now.
    MESSAGE_ERASE = "UPDATE messages SET text = $3,
            error = CASE WHEN delivery = 'queued' AND handed_out_at IS NULL THEN 'It was erased before it was sent.' ELSE error END,
            delivery = CASE WHEN delivery = 'queued' AND handed_out_at IS NULL THEN 'failed' ELSE delivery END
        WHERE organization_id = $1 AND id = $2";
    MESSAGE_LAST = concat!("SELECT ", columns!(), " FROM messages m
        WHERE organization_id = $1 AND author <> 'system' AND id = (SELECT MAX(n.id) FROM messages n WHERE n.organization_id = $1
            AND n.conversation_id = m.conversation_id AND n.author <> 'system') AND conversation_id = $2");
}

/// A message with its sealed text (`messages.text` of row `id`).
#[derive(Clone, Debug)]
pub struct StoredMessage {
    /// Its id.
    pub id: MessageId,
    /// Its conversation.
    pub conversation_id: ConversationId,
    /// Who wrote it.
    pub author: Author,
    /// What it says, sealed.
    pub text: Sealed,
    /// What is known of its way.
    pub delivery: Delivery,
    /// The provider's id of it.
    pub external_id: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// When a worker handed it to the provider; set before the call, so that a lost answer is known to be lost.
    pub handed_out_at: Option<Timestamp>,
    /// When it was written.
    pub created_at: Timestamp,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    conversation_id: String,
    author: String,
    text: Vec<u8>,
    delivery: String,
    external_id: Option<String>,
    error: Option<String>,
    handed_out_at: Option<i64>,
    created_at: i64,
}

fn corrupt(column: &'static str) -> StoreError {
    StoreError::Corrupt { table: "messages", column }
}

fn message(r: Row) -> Result<StoredMessage, StoreError> {
    Ok(StoredMessage {
        id: MessageId::parse(&r.id).ok_or_else(|| corrupt("id"))?,
        conversation_id: ConversationId::parse(&r.conversation_id)
            .ok_or_else(|| corrupt("conversation_id"))?,
        author: Author::parse(&r.author).ok_or_else(|| corrupt("author"))?,
        text: Sealed::from_bytes(r.text),
        delivery: Delivery::parse(&r.delivery).ok_or_else(|| corrupt("delivery"))?,
        external_id: r.external_id,
        error: r.error,
        handed_out_at: r.handed_out_at.map(Timestamp::from_millis),
        created_at: Timestamp::from_millis(r.created_at),
    })
}

impl TenantTx {
    /// Adds a message. `false` if the conversation has one with this provider id already.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_add(&mut self, m: &StoredMessage) -> Result<bool, StoreError> {
        let n = execute!(
            self,
            MESSAGE_ADD,
            self.org.as_str(),
            m.id.as_str(),
            m.conversation_id.as_str(),
            m.author.as_str(),
            m.text.as_bytes(),
            m.delivery.as_str(),
            m.external_id.as_deref(),
            m.created_at.millis(),
        )?;
        Ok(n == 1)
    }

    /// One message.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_find(&mut self, id: &MessageId) -> Result<Option<StoredMessage>, StoreError> {
        let row = rows!(fetch_optional, self, Row, MESSAGE_FIND, self.org.as_str(), id.as_str())?;
        row.map(message).transpose()
    }

    /// The message of a conversation with this provider id.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_by_external(
        &mut self,
        conversation: &ConversationId,
        external_id: &str,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let row = rows!(
            fetch_optional,
            self,
            Row,
            MESSAGE_BY_EXTERNAL,
            self.org.as_str(),
            conversation.as_str(),
            external_id
        )?;
        row.map(message).transpose()
    }

    /// The newest messages of a conversation, newest first; `before` is the id of the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_list(
        &mut self,
        conversation: &ConversationId,
        before: Option<&MessageId>,
        limit: i64,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let rows = rows!(
            fetch_all,
            self,
            Row,
            MESSAGE_LIST,
            self.org.as_str(),
            conversation.as_str(),
            before.map_or("", MessageId::as_str),
            limit
        )?;
        rows.into_iter().map(message).collect()
    }

    /// The newest message of a conversation that is not a note of the product.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_last(
        &mut self,
        conversation: &ConversationId,
    ) -> Result<Option<StoredMessage>, StoreError> {
        let row = rows!(fetch_optional, self, Row, MESSAGE_LAST, self.org.as_str(), conversation.as_str())?;
        row.map(message).transpose()
    }

    /// Records that the message is about to be handed to the provider. `false` if it was handed out before.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_handed_out(&mut self, id: &MessageId, at: Timestamp) -> Result<bool, StoreError> {
        Ok(execute!(self, MESSAGE_HANDED_OUT, self.org.as_str(), id.as_str(), at.millis())? == 1)
    }

    /// The provider surely did not take the message: it may be handed out again.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_taken_back(&mut self, id: &MessageId) -> Result<(), StoreError> {
        execute!(self, MESSAGE_TAKEN_BACK, self.org.as_str(), id.as_str())?;
        Ok(())
    }

    /// The provider took the message and gave it this id.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_sent(&mut self, id: &MessageId, external_id: &str) -> Result<(), StoreError> {
        execute!(self, MESSAGE_SENT, self.org.as_str(), id.as_str(), external_id)?;
        Ok(())
    }

    /// What is known of a message's way now.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_delivery(
        &mut self,
        id: &MessageId,
        delivery: Delivery,
        error: Option<&str>,
    ) -> Result<(), StoreError> {
        execute!(self, MESSAGE_DELIVERY, self.org.as_str(), id.as_str(), delivery.as_str(), error)?;
        Ok(())
    }

    /// Gives up what waits to be sent over a connection, for `reason`.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_cancel(
        &mut self,
        integration: &IntegrationId,
        reason: &str,
    ) -> Result<u64, StoreError> {
        execute!(self, MESSAGE_CANCEL, self.org.as_str(), integration.as_str(), reason)
    }

    /// Everything we sent up to `until` reached the customer (`delivered` or `read`).
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_reached(
        &mut self,
        conversation: &ConversationId,
        until: Timestamp,
        delivery: Delivery,
    ) -> Result<(), StoreError> {
        execute!(
            self,
            MESSAGE_REACHED,
            self.org.as_str(),
            conversation.as_str(),
            until.millis(),
            delivery.as_str()
        )?;
        Ok(())
    }

    /// The message tells what was read over this connection.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_about_set(
        &mut self,
        id: &MessageId,
        integration: &IntegrationId,
    ) -> Result<(), StoreError> {
        execute!(self, MESSAGE_ABOUT_SET, self.org.as_str(), id.as_str(), integration.as_str())?;
        Ok(())
    }

    /// The messages that tell what was read over a connection, in the order of their ids, after the last one seen.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_about(
        &mut self,
        integration: &IntegrationId,
        after: Option<&MessageId>,
        limit: i64,
    ) -> Result<Vec<StoredMessage>, StoreError> {
        let (org, after) = (self.org.as_str(), after.map_or("", MessageId::as_str));
        let rows = rows!(fetch_all, self, Row, MESSAGE_ABOUT, org, integration.as_str(), after, limit)?;
        rows.into_iter().map(message).collect()
    }

    /// Puts another text, sealed for this row, in the place of what the message said. If it waits to be sent, it is not
    /// sent any more.
    ///
    /// # Errors
    /// If the database refuses.
    pub async fn message_erase(&mut self, id: &MessageId, text: &Sealed) -> Result<bool, StoreError> {
        Ok(execute!(self, MESSAGE_ERASE, self.org.as_str(), id.as_str(), text.as_bytes())? == 1)
    }
}
