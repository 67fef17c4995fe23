//! Rows of one organization. Each statement binds `organization_id` as `$1`, from the transaction.

pub mod audit;
pub mod brought;
pub mod conversation;
pub mod event;
pub mod event_history;
pub mod event_minute;
pub mod farewell;
pub mod flow;
pub mod former;
pub mod history;
pub mod integration;
pub mod job;
pub mod message;
pub mod offer;
pub mod organization;
pub mod outbox;
pub mod privacy;
pub mod replay;
pub mod retention;
pub mod sealed;
pub mod transfer;

pub(crate) const STATEMENTS: &[&[crate::statement::Statement]] = &[
    audit::STATEMENTS,
    brought::STATEMENTS,
    conversation::STATEMENTS,
    event::STATEMENTS,
    event_history::STATEMENTS,
    event_minute::STATEMENTS,
    farewell::STATEMENTS,
    flow::STATEMENTS,
    former::STATEMENTS,
    history::STATEMENTS,
    integration::STATEMENTS,
    job::STATEMENTS,
    message::STATEMENTS,
    offer::STATEMENTS,
    organization::STATEMENTS,
    outbox::STATEMENTS,
    privacy::STATEMENTS,
    replay::STATEMENTS,
    retention::STATEMENTS,
    sealed::STATEMENTS,
    transfer::STATEMENTS,
];

/// Lists as JSON text.
pub(crate) fn list_to_text(list: &[String]) -> String {
    serde_json::to_string(list).expect("a list of text is always JSON")
}

/// Lists from JSON text.
pub(crate) fn list_from_text(
    text: &str,
    table: &'static str,
    column: &'static str,
) -> Result<Vec<String>, crate::error::StoreError> {
    serde_json::from_str(text).map_err(|_| crate::error::StoreError::Corrupt { table, column })
}
