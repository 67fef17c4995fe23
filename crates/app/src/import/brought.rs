//! Bots' settings and knowledge that were brought along, as people of the organization read them.

use crate::App;
use crate::error::AppError;
use agenstack_core::ctx::OrgCtx;
use agenstack_core::id::BroughtId;
use agenstack_core::policy::Action;
use agenstack_core::sealed::Place;

/// How many are shown at once.
const PAGE: i64 = 50;

/// One of them.
#[derive(Clone, Debug)]
pub struct Brought {
    /// Whether it is a bot's settings; otherwise it is knowledge.
    pub is_bot: bool,
    /// What it is called.
    pub title: String,
    /// What it says, by name.
    pub facts: Vec<(String, String)>,
}

/// Whether there is anything.
///
/// # Errors
/// If the role is too small.
pub async fn any(app: &App, org: &OrgCtx) -> Result<bool, AppError> {
    org.require(Action::OrganizationRead)?;
    Ok(!app.store().tenant_read(org).await?.brought_list(None, 1).await?.is_empty())
}

/// A stretch of them, and after which the list goes on.
///
/// # Errors
/// If the role is too small, or one does not open.
pub async fn list(
    app: &App,
    org: &OrgCtx,
    after: Option<&str>,
) -> Result<(Vec<Brought>, Option<String>), AppError> {
    org.require(Action::OrganizationRead)?;
    let after = after.and_then(BroughtId::parse);
    let mut rows = app.store().tenant_read(org).await?.brought_list(after.as_ref(), PAGE + 1).await?;
    let more = rows.len() as i64 > PAGE;
    rows.truncate(PAGE as usize);
    let next = rows.last().filter(|_| more).map(|r| r.id.as_str().to_owned());
    let mut all = Vec::with_capacity(rows.len());
    for row in rows {
        let place = Place { table: "imported_settings", row: row.id.as_str(), column: "content" };
        let bytes = app.keyring().open(org.org(), place, &row.content).await?;
        let content = serde_json::from_slice(&bytes).unwrap_or_default();
        all.push(Brought { is_bot: row.kind == "bot", title: row.title, facts: facts(content) });
    }
    Ok((all, next))
}

fn facts(content: serde_json::Map<String, serde_json::Value>) -> Vec<(String, String)> {
    let shown = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Array(list) => list
            .iter()
            .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(", "),
        other => other.to_string(),
    };
    let words = |name: &str| {
        let mut words = name.replace('_', " ");
        if let Some(first) = words.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        words
    };
    let told = content.iter().filter(|(_, v)| !v.is_null());
    told.map(|(name, v)| (words(name), shown(v))).filter(|(_, text)| !text.is_empty()).collect()
}
