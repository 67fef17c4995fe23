//! Organizations for measuring: each with a connected shop and page, and tokens that nobody gave. Only into an empty
//! database, so that it can never touch anybody's.

use crate::error::AppError;
use crate::token::place;
use crate::{App, new_id};
use agenstack_core::ctx::{Actor, OrgCtx};
use agenstack_core::entropy::bytes;
use agenstack_core::integration::{
    AccountIdentifier, ConnectionStatus, Integration, Provider, SealedTokens, Subscription,
};
use agenstack_core::org::{Membership, Organization, User};
use agenstack_core::policy::Role;
use agenstack_store::tenant::integration::Ends;
use futures::StreamExt;
use futures::stream;

/// Organizations that are made in one transaction.
const BATCH: u32 = 200;
/// How many organizations' connections are stored at once.
const AT_ONCE: usize = 12;
/// The page of the i-th organization has this number plus i.
const PAGES: u64 = 100_000_000_000_000;

/// Makes organizations 1 to `n`; the i-th has the shop `shop-0000i.myshopify.com` and the page `100000000000000 + i`. Calls
/// `told` with how many are there after each batch.
///
/// # Errors
/// [`AppError::Conflict`] if there is any organization already.
pub async fn seed(app: &App, n: u32, mut told: impl FnMut(u32)) -> Result<(), AppError> {
    if app.store().global_read().await?.organization_any().await? {
        return Err(AppError::conflict(
            "not_empty",
            "There are organizations in this database already. Seeding is for measuring, into an empty database only.",
        ));
    }
    let mut done = 0;
    while done < n {
        let to = n.min(done + BATCH);
        let made = organizations(app, done + 1..=to).await?;
        let mut stored =
            stream::iter(made.into_iter().map(|(i, m)| connections(app, i, m))).buffer_unordered(AT_ONCE);
        while let Some(one) = stored.next().await {
            one?;
        }
        done = to;
        told(done);
    }
    Ok(())
}

async fn organizations(
    app: &App,
    numbers: std::ops::RangeInclusive<u32>,
) -> Result<Vec<(u32, Membership)>, AppError> {
    let now = app.now();
    let mut tx = app.store().global().await?;
    let mut made = Vec::new();
    for i in numbers {
        let id = new_id!(app, UserId, now);
        let user = User { email: format!("owner-{i:05}@seed.invalid"), name: format!("Owner {i}"), id };
        // No password has this hash: nobody can log in.
        tx.user_add(&user, "!", now).await?;
        let organization =
            Organization { id: new_id!(app, OrgId, now), name: format!("Shop {i}"), created_at: now };
        tx.organization_add(&organization, &user.id).await?;
        app.keyring().create(&mut tx, &organization.id, app.ids(), app.entropy(), now).await?;
        made.push((i, Membership { organization, user: user.id, role: Role::Owner }));
    }
    tx.commit().await?;
    Ok(made)
}

async fn connections(app: &App, i: u32, membership: Membership) -> Result<(), AppError> {
    let now = app.now();
    let org = OrgCtx::from_membership(app.ctx(Actor::Operator), &membership);
    let key = app.keyring().key(org.org()).await?;
    let shop = format!("shop-{i:05}.myshopify.com");
    let page = (PAGES + u64::from(i)).to_string();
    let accounts = [
        (
            shop.clone(),
            AccountIdentifier::Shopify {
                store_name: format!("shop-{i:05}"),
                shop_id: format!("gid://shopify/Shop/{i}"),
                shop,
            },
        ),
        (page.clone(), AccountIdentifier::Messenger { page_id: page, page_name: format!("Shop {i}") }),
    ];
    let mut tx = app.store().tenant(&org).await?;
    for (external_id, account_identifier) in accounts {
        let id = new_id!(app, IntegrationId, now);
        let made_up = format!("seed-{}", hex::encode(bytes::<16>(app.entropy())));
        let token = key.seal(place(&id, "access_token"), made_up.as_bytes(), app.entropy());
        let is_shop = matches!(account_identifier, AccountIdentifier::Shopify { .. });
        let provider = if is_shop { Provider::Shopify } else { Provider::Messenger };
        let it = Integration {
            id,
            organization_id: org.org().clone(),
            provider,
            status: ConnectionStatus::Connected,
            account_identifier,
            scopes: app.asked_scopes(provider),
            missing_scopes: Vec::new(),
            token_expires_at: None,
            connected_at: now,
            last_success_at: None,
            last_error: None,
            external_id,
            generation: 1,
            last_event_at: None,
            acting_user_id: None,
            webhook_id: None,
            client_id: None,
            subscription: Some((Subscription::Active, now)),
        };
        let tokens = SealedTokens { access_token: Some(token), ..SealedTokens::default() };
        tx.integration_put(&it, &tokens, Ends::default(), true).await?;
    }
    Ok(tx.commit().await?)
}
