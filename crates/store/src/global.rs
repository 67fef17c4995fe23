//! What crosses tenants: a short list that a reviewer reads whole.
//!
//! Log-in and membership ([`account`]), wrapped keys by organization ([`key`]), how far their renewal is ([`renewal`]), consuming an authorization
//! ([`flow`]), finding the owner of an account ([`routing`]), accepting webhooks ([`inbox`]), leasing queued rows
//! ([`queue`]) accounts on offer ([`transfer`]), mails ([`outbox`]), ways to a new password ([`reset`]), organizations that
//! come from elsewhere ([`import`]), how far the work is that one node does for all ([`upkeep`]), and how it goes in numbers ([`minute`]). None of these reads a token, a routed payload or a message; PostgreSQL grants them no such column.
//! What they do read sealed, each for a stated reason, is listed in `tests/wall/catalog.rs`.

pub mod account;
pub mod flow;
pub mod import;
pub mod inbox;
pub mod key;
pub mod minute;
pub mod outbox;
pub mod queue;
pub mod renewal;
pub mod reset;
pub mod routing;
pub mod transfer;
pub mod upkeep;

pub(crate) const STATEMENTS: &[&[crate::statement::Statement]] = &[
    account::STATEMENTS,
    flow::STATEMENTS,
    import::STATEMENTS,
    inbox::STATEMENTS,
    key::STATEMENTS,
    minute::STATEMENTS,
    outbox::STATEMENTS,
    queue::STATEMENTS,
    queue::behind::STATEMENTS,
    queue::held::STATEMENTS,
    queue::state::STATEMENTS,
    renewal::STATEMENTS,
    reset::STATEMENTS,
    routing::STATEMENTS,
    transfer::STATEMENTS,
    upkeep::STATEMENTS,
    crate::notice::STATEMENTS,
];
