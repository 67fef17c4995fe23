//! The bot without a language model: what it remembers, what it decides, what it says.
//!
//! [`decide`] is a pure function of what it remembers and what the customer wrote; [`answer`] of what was found.
//! Neither chooses an account, a token or whose orders are read: that comes from the connection the message came
//! over. What a customer may be told is decided here, in [`answer`], not by whoever asks.

mod text;
mod words;

use crate::App;
use crate::conversation::memory_place;
use crate::error::AppError;
use agenstack_core::id::{ConversationId, OrgId};
use agenstack_core::sealed::Sealed;
use agenstack_providers::shopify::Order;
use agenstack_store::tenant::conversation::StoredConversation;
use serde::{Deserialize, Serialize};

/// How many pairs of number and e-mail a customer may try.
pub const MOST_TRIES: u8 = 5;
/// After this many messages in a row that it did not understand, the bot passes the conversation on.
const MOST_MISSES: u8 = 3;

/// What the bot remembers of a conversation. Sealed at rest: it holds an e-mail address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    greeted: bool,
    /// It has asked about an order and waits for what is missing.
    asking: bool,
    number: Option<String>,
    email: Option<String>,
    /// The order whose e-mail the customer knew.
    verified: Option<String>,
    tries: u8,
    misses: u8,
}

impl Memory {
    /// Of a conversation that was imported: only by whom it was, so that what is asked on that person's behalf finds it.
    pub(crate) fn of_imported(email: &str) -> Self {
        Self { email: Some(email.to_owned()), ..Self::default() }
    }
    /// The e-mail address, if the customer named the order it belongs to.
    pub fn verified_email(&self) -> Option<&str> {
        self.verified.as_ref().and(self.email.as_deref())
    }
    /// The order whose e-mail the customer knew.
    pub fn verified_order(&self) -> Option<&str> {
        self.verified.as_deref()
    }
    /// The order the customer asked about last.
    pub fn order_number(&self) -> Option<&str> {
        self.number.as_deref()
    }
}

/// What the customer did.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// Wrote, or tapped something that says this.
    Text(&'a str),
    /// Sent something that is not text.
    Other,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Say this.
    Say(String),
    /// Fetch this order, then ask [`answer`].
    LookUp {
        /// The order's number as the customer wrote it.
        number: String,
        /// The e-mail address the order has to have.
        email: String,
    },
    /// Say this, and pass the conversation to a person.
    HandOver(String),
}

/// Decides what to do, and remembers.
pub fn decide(memory: &mut Memory, input: Input<'_>) -> Decision {
    let Input::Text(said) = input else { return missed(memory, text::ONLY_TEXT) };
    let heard = words::read(said, memory.asking);
    if heard.wants_person {
        return hand_over(memory, text::PASSING_ON);
    }
    let first = !std::mem::replace(&mut memory.greeted, true);
    if heard.about_order || memory.asking || (heard.number.is_some() && heard.email.is_some()) {
        let named_something = heard.number.is_some() || heard.email.is_some();
        if heard.about_order || named_something {
            return about_order(memory, heard, first);
        }
    }
    memory.asking = false;
    if heard.greets {
        memory.misses = 0;
        return Decision::Say(text::GREETING.to_owned());
    }
    if heard.thanks {
        memory.misses = 0;
        return Decision::Say(text::WELCOME.to_owned());
    }
    missed(memory, if first { text::GREETING } else { text::NOT_UNDERSTOOD })
}

fn about_order(memory: &mut Memory, heard: words::Heard, first: bool) -> Decision {
    memory.misses = 0;
    memory.asking = true;
    // A new question about another order begins anew; the address is asked for again with it.
    if let Some(number) = heard.number
        && memory.number.as_ref() != Some(&number)
    {
        if memory.verified.take().is_some() {
            memory.email = None;
        }
        memory.number = Some(number);
    }
    if heard.email.is_some() {
        memory.email = heard.email;
    }
    if memory.tries >= MOST_TRIES {
        return hand_over(memory, text::TOO_MANY_TRIES);
    }
    let say = |question: &str| {
        let hello = if first { text::HELLO } else { "" };
        Decision::Say(format!("{hello}{question}"))
    };
    match (&memory.number, &memory.email) {
        (Some(number), Some(email)) => Decision::LookUp { number: number.clone(), email: email.clone() },
        (None, None) => say(text::ASK_BOTH),
        (Some(number), None) => say(&text::ask_email(number)),
        (None, Some(_)) => say(text::ASK_NUMBER),
    }
}

/// What may be said about the order that was found. Equality is checked here, in code: the shop's search takes
/// words apart, and an order number alone discloses nothing (`shopify.md` 3.4).
pub fn answer(memory: &mut Memory, number: &str, email: &str, found: Option<&Order>) -> Decision {
    let theirs = found.filter(|order| {
        let same_number = bare(&order.name) == bare(number);
        same_number && order.email.as_deref().is_some_and(|e| e.trim().to_lowercase() == email)
    });
    if let Some(order) = theirs {
        memory.asking = false;
        memory.tries = 0;
        memory.verified = Some(order.name.clone());
        return Decision::Say(text::order(order));
    }
    memory.tries += 1;
    // Which of the two was wrong is not told: it would let a stranger find out numbers or addresses.
    memory.number = None;
    memory.email = None;
    memory.verified = None;
    if memory.tries >= MOST_TRIES {
        return hand_over(memory, text::TOO_MANY_TRIES);
    }
    Decision::Say(text::no_such_order(found.is_some_and(|o| o.email.is_none())).to_owned())
}

/// A number or name of an order as it is compared.
pub(crate) fn bare(number: &str) -> String {
    number.trim().trim_start_matches('#').to_lowercase()
}

fn missed(memory: &mut Memory, say: &str) -> Decision {
    memory.greeted = true;
    memory.misses += 1;
    if memory.misses >= MOST_MISSES {
        return hand_over(memory, text::NOT_MINE);
    }
    Decision::Say(say.to_owned())
}

fn hand_over(memory: &mut Memory, say: &str) -> Decision {
    memory.greeted = true;
    memory.asking = false;
    memory.misses = 0;
    Decision::HandOver(say.to_owned())
}

/// What the bot says when the order could not be fetched for good.
pub fn could_not_look() -> Decision {
    Decision::HandOver(text::COULD_NOT_LOOK.to_owned())
}

/// The bot's memory of a conversation. One that does not open is forgotten: the bot then asks again.
pub(crate) async fn open_memory(app: &App, org: &OrgId, stored: &StoredConversation) -> Memory {
    let Some(sealed) = &stored.memory else { return Memory::default() };
    match app.keyring().open(org, memory_place(&stored.conversation.id), sealed).await {
        Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
        Err(error) => {
            tracing::warn!(%error, conversation.id = %stored.conversation.id, "the bot's memory could not be opened");
            Memory::default()
        }
    }
}

/// The memory, sealed for its row.
pub(crate) async fn seal_memory(
    app: &App,
    org: &OrgId,
    id: &ConversationId,
    memory: &Memory,
) -> Result<Sealed, AppError> {
    let bytes = serde_json::to_vec(memory).map_err(|e| AppError::Internal(Box::new(e)))?;
    Ok(app.keyring().key(org).await?.seal(memory_place(id), &bytes, app.entropy()))
}

#[cfg(test)]
mod tests;
