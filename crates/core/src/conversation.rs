//! Conversations, contacts and messages.

use crate::clock::Timestamp;
use crate::id::{ContactId, ConversationId, IntegrationId, MessageId, OrgId};
use crate::policy::words;
use serde::{Deserialize, Serialize};

words! {
    /// Who answers the customer now.
    Owner {
        /// The bot.
        Bot = "bot",
        /// A person: the bot is silent until handed back.
        Person = "person",
        /// Nobody: the connection is paused.
        Paused = "paused",
    }
}

words! {
    /// Whether a conversation wants attention.
    Status {
        /// In progress.
        Open = "open",
        /// Finished; the customer's next message opens it again.
        Closed = "closed",
    }
}

words! {
    /// Who wrote a message.
    Author {
        /// The shop's customer.
        Customer = "customer",
        /// The bot.
        Bot = "bot",
        /// A person of the shop's team, here or at the provider.
        Agent = "agent",
        /// A note of the product itself, such as a hand-over.
        System = "system",
    }
}

words! {
    /// What is known of a message's way.
    Delivery {
        /// It came in.
        Received = "received",
        /// It waits to be sent.
        Queued = "queued",
        /// The provider took it.
        Sent = "sent",
        /// It reached the customer's device.
        Delivered = "delivered",
        /// The customer saw it.
        Read = "read",
        /// The provider refused it.
        Failed = "failed",
        /// It was handed to the provider and the answer was lost: it may or may not have arrived, and is not sent again.
        Unknown = "unknown",
    }
}

/// The customer as lists show them.
#[derive(Clone, Debug, Serialize)]
pub struct ContactRef {
    /// Their id.
    pub id: ContactId,
    /// Their name, or a neutral word when the provider tells none.
    pub name: String,
}

/// A conversation with one customer on one channel.
#[derive(Clone, Debug, Serialize)]
pub struct Conversation {
    /// Its id.
    pub id: ConversationId,
    /// Whose it is.
    pub organization_id: OrgId,
    /// `messenger`; in a conversation that was imported, whatever its old platform called the channel.
    pub channel: String,
    /// The connection it runs over; `None` if it was imported, and nobody can be answered in it.
    pub integration_id: Option<IntegrationId>,
    /// The customer.
    pub contact: ContactRef,
    /// Who answers now.
    pub owner: Owner,
    /// Whether it wants attention.
    pub status: Status,
    /// When the last message came or went.
    pub last_message_at: Timestamp,
    /// The customer's id at the provider (page-scoped).
    #[serde(skip)]
    pub external_id: String,
    /// When the customer last wrote: Messenger's 24-hour window counts from here (`messenger.md` 3.3).
    #[serde(skip)]
    pub last_customer_at: Timestamp,
    /// The conversation in Kustomer, once handed over.
    #[serde(skip)]
    pub kustomer_id: Option<String>,
    /// What the bot remembers, as JSON.
    #[serde(skip)]
    pub bot_memory: String,
}

/// A message in a conversation.
#[derive(Clone, Debug, Serialize)]
pub struct Message {
    /// Its id.
    pub id: MessageId,
    /// Who wrote it.
    pub author: Author,
    /// What it says.
    pub text: String,
    /// When.
    pub created_at: Timestamp,
    /// What is known of its way.
    pub delivery: Delivery,
    /// Why it failed, in plain words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
