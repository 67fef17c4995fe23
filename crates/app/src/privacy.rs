//! What Meta tells us on behalf of the person who connected a page: that they removed the app, or want their data
//! deleted (`messenger.md` 1.11). That person works for a shop; their id may stand in several organizations.

use crate::App;
use crate::connect::audit;
use crate::error::AppError;
use crate::ingest::Refused;
use crate::live::Topic;
use crate::state::Change;
use agenstack_core::clock::Timestamp;
use agenstack_core::ctx::{Ctx, OrgCtx};
use agenstack_core::integration::{ConnectionStatus, LastError, Provider};
use serde::Serialize;

/// Bytes of the mark in a confirmation code.
const MARK: usize = 12;
const LABEL: &str = "data-deletion";

/// What Meta shows the person.
#[derive(Debug, Serialize)]
pub struct Deletion {
    /// A page that tells how the request stands.
    pub url: String,
    /// Letters and digits; the page's address ends with it.
    pub confirmation_code: String,
}

/// The person whom a signed form is about.
fn person(app: &App, form: &[u8]) -> Result<String, Refused> {
    let messenger = app.messenger().map_err(|_| Refused::NotSetUp)?;
    let mut fields = url::form_urlencoded::parse(form).filter(|(name, _)| name == "signed_request");
    let (Some((_, text)), None) = (fields.next(), fields.next()) else { return Err(Refused::Signature) };
    messenger.signed_request(&text).map(|r| r.user_id).map_err(|_| Refused::Signature)
}

/// The person removed the app: every connection they made needs somebody to authorize again.
///
/// # Errors
/// [`Refused`] says what to answer.
pub async fn deauthorize(app: &App, ctx: &Ctx, form: &[u8]) -> Result<(), Refused> {
    let person = person(app, form)?;
    let message =
        "The person who connected this page removed AgenStack at Facebook; somebody has to reconnect it.";
    forget(app, ctx, &person, "app_removed", message, "integration.deauthorized").await?;
    Ok(())
}

/// The person wants their data deleted: what we hold of them are tokens and their id.
///
/// # Errors
/// [`Refused`] says what to answer.
pub async fn data_deletion(app: &App, ctx: &Ctx, form: &[u8]) -> Result<Deletion, Refused> {
    let person = person(app, form)?;
    let message = "The person who connected this page had their data deleted at Facebook; somebody has to reconnect it.";
    forget(app, ctx, &person, "person_deleted", message, "privacy.person_deleted").await?;
    let confirmation_code = code(app, ctx.now);
    Ok(Deletion {
        url: format!("{}/privacy/deletion/{confirmation_code}", app.public_url()),
        confirmation_code,
    })
}

async fn forget(
    app: &App,
    ctx: &Ctx,
    person: &str,
    code: &str,
    message: &str,
    action: &str,
) -> Result<(), AppError> {
    let owned = app.store().global_read().await?.routes_by_actor(Provider::Messenger, person).await?;
    for owned in owned {
        let org = OrgCtx::from_signed(ctx.clone(), &owned.route);
        let error = LastError { code: code.to_owned(), message: message.to_owned(), at: ctx.now };
        let mut tx = app.store().tenant(&org).await?;
        let route = &owned.route;
        if tx.integration_forget(&route.integration, route.generation, &error).await? {
            audit(app, &org, &mut tx, action, route.integration.as_str(), ctx.now).await?;
            let change = Change {
                generation: route.generation,
                status: ConnectionStatus::NeedsReconnect,
                code,
                message,
                at: ctx.now,
            };
            crate::state::changed(app, &org, &mut tx, &route.integration, change).await?;
            tx.commit().await?;
            app.live().changed(org.org(), Topic::Integrations);
        }
    }
    Ok(())
}

/// When it was done, and a mark that only this installation can make: the page needs no table.
fn code(app: &App, at: Timestamp) -> String {
    let when = at.millis().to_be_bytes();
    let mark = app.keyring().vault().platform_digest(LABEL, &when);
    hex::encode([&when[..], &mark[..MARK]].concat())
}

/// When a deletion was carried out; `None` for a code that this installation did not give.
pub fn deletion_done(app: &App, code: &str) -> Option<Timestamp> {
    let bytes = hex::decode(code).ok().filter(|b| b.len() == 8 + MARK)?;
    let (when, mark) = bytes.split_first_chunk::<8>()?;
    let ours = app.keyring().vault().is_platform_digest(LABEL, when, mark);
    ours.then(|| Timestamp::from_millis(i64::from_be_bytes(*when)))
}
