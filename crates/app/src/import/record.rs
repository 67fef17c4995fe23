//! What an import is made of, wherever it was read. Nothing here is checked yet; `place` says where it stood, for people.

use agenstack_core::clock::Timestamp;
use agenstack_core::conversation::Author;
use agenstack_core::integration::Provider;

/// An organization.
#[derive(Clone, Debug)]
pub struct Org {
    /// Where it stood.
    pub place: String,
    /// Its id at the old platform.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// When it was made.
    pub created_at: Option<Timestamp>,
}

/// A person.
#[derive(Clone, Debug)]
pub struct Person {
    /// Where they stood.
    pub place: String,
    /// Their e-mail address.
    pub email: String,
    /// Their name.
    pub name: String,
}

/// A person's place in an organization.
#[derive(Clone, Debug)]
pub struct Member {
    /// Where it stood.
    pub place: String,
    /// The organization's id at the old platform.
    pub organization: String,
    /// The person's e-mail address.
    pub email: String,
    /// The old platform's word for what they may do.
    pub role: String,
}

/// A bot's settings, or something it knows.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where it stood.
    pub place: String,
    /// The organization's id at the old platform.
    pub organization: String,
    /// `bot` or `knowledge`.
    pub kind: &'static str,
    /// Its id at the old platform.
    pub id: String,
    /// What it is called.
    pub title: String,
    /// What it says: of a bot one object, of knowledge `content`, `category` and `tags`.
    pub content: serde_json::Value,
}

/// A customer of an organization.
#[derive(Clone, Debug)]
pub struct Customer {
    /// Where they stood.
    pub place: String,
    /// The organization's id at the old platform.
    pub organization: String,
    /// Their id at the old platform.
    pub id: String,
    /// Their name.
    pub name: Option<String>,
    /// Their e-mail address.
    pub email: Option<String>,
}

/// An account that an organization had connected.
#[derive(Clone, Debug)]
pub struct Account {
    /// Where it stood.
    pub place: String,
    /// The organization's id at the old platform.
    pub organization: String,
    /// Whose account.
    pub provider: Provider,
    /// The shop's domain, the page's id or name, the help desk's subdomain.
    pub account: String,
    /// What people call it.
    pub label: Option<String>,
    /// When it was connected.
    pub connected_at: Option<Timestamp>,
}

/// A conversation with its messages, the oldest first.
#[derive(Clone, Debug)]
pub struct Chat {
    /// Where it stood.
    pub place: String,
    /// The organization's id at the old platform.
    pub organization: String,
    /// Its id at the old platform.
    pub id: String,
    /// The customer's id at the old platform.
    pub customer: Option<String>,
    /// The customer's name, where there is no customer by id.
    pub customer_name: Option<String>,
    /// The customer's e-mail address, where there is no customer by id.
    pub customer_email: Option<String>,
    /// Over what it was held.
    pub channel: Option<String>,
    /// When it began.
    pub created_at: Option<Timestamp>,
    /// What was said.
    pub messages: Vec<Said>,
}

/// A message.
#[derive(Clone, Debug)]
pub struct Said {
    /// Where it stood.
    pub place: String,
    /// Its id at the old platform.
    pub id: String,
    /// Who said it; the old platform's word if that is none we know.
    pub author: Result<Author, String>,
    /// What.
    pub text: String,
    /// When.
    pub at: Option<Timestamp>,
}

/// Everything but conversations, which may be too many to hold at once.
#[derive(Debug, Default)]
pub struct Records {
    /// The organizations.
    pub organizations: Vec<Org>,
    /// The people.
    pub people: Vec<Person>,
    /// Who is where.
    pub members: Vec<Member>,
    /// Bots and knowledge.
    pub told: Vec<Told>,
    /// The customers.
    pub customers: Vec<Customer>,
    /// Connected accounts.
    pub accounts: Vec<Account>,
}
