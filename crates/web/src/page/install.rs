//! An installation that begins at Shopify: the request is verified, the person logs in, chooses an organization and
//! confirms. Nothing is bound by the request itself.

use super::{Frame, Page, frame, go, page, signed_frame};
use crate::Shared;
use crate::api::Query;
use crate::failure::{Asked, Outcome};
use crate::gate::{SignedIn, Visitor};
use agenstack_app::account;
use agenstack_app::connect::{Install, install, install_again, reason_text};
use agenstack_core::integration::Provider;
use agenstack_core::policy::Action;
use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "install_refused.html")]
pub(super) struct InstallRefused {
    pub frame: Frame,
    pub text: String,
}

fn refused(shared: &Shared, signed_in: bool, text: String) -> Response {
    let mut frame = frame(shared, "Start again from Shopify");
    frame.signed_in = signed_in;
    page(StatusCode::BAD_REQUEST, InstallRefused { frame, text })
}

/// `GET /install/shopify`: the app's address, as Shopify opens it.
pub(crate) async fn begin(
    State(shared): State<Shared>,
    Visitor(session): Visitor,
    RawQuery(query): RawQuery,
) -> Response {
    from_shopify(&shared, session.is_some(), query.as_deref().unwrap_or_default())
}

/// What any address of ours does that Shopify opens with a signed query.
pub(super) fn from_shopify(shared: &Shared, signed_in: bool, query: &str) -> Response {
    match install(shared.app(), query) {
        Ok(Install { shop, until, mark }) => {
            go(&format!("/install/shopify/choose?shop={shop}&until={until}&mark={mark}"))
        }
        Err(reason) => refused(shared, signed_in, reason_text(Provider::Shopify, &reason)),
    }
}

/// Whether a query is one that Shopify opens the app's address with.
pub(super) fn is_from_shopify(query: &str) -> bool {
    let has = |name: &str| url::form_urlencoded::parse(query.as_bytes()).any(|(n, _)| n == name);
    has("hmac") && has("shop")
}

#[derive(Deserialize)]
pub(crate) struct Carried {
    #[serde(default)]
    shop: String,
    #[serde(default)]
    until: i64,
    #[serde(default)]
    mark: String,
}

/// An organization that the shop can be connected to.
pub(super) struct Choice {
    pub name: String,
    pub href: String,
    /// Where the shop is connected already.
    pub connected: bool,
}

#[derive(Template)]
#[template(path = "install.html")]
pub(super) struct InstallPage {
    pub frame: Frame,
    pub shop: String,
    pub user: String,
    pub choices: Vec<Choice>,
}

/// `GET /install/shopify/choose`: the organizations in which the person may connect. Each leads to the connect page of
/// that organization, which asks once more.
pub(crate) async fn choose(
    State(shared): State<Shared>,
    SignedIn(session): SignedIn,
    Asked(ctx): Asked,
    Query(carried): Query<Carried>,
) -> Outcome<Response> {
    let app = shared.app();
    let Some(asked) = install_again(app, &carried.shop, carried.until, &carried.mark) else {
        let text = "This link from Shopify is too old or was not made for this installation. Open AgenStack from the shop's admin again.";
        return Ok(refused(&shared, true, text.to_owned()));
    };
    let shop = asked.shop.as_str();
    let mut choices = Vec::new();
    for membership in account::memberships(app, &session).await? {
        if !membership.role.may(Action::IntegrationManage) {
            continue;
        }
        let org = membership.organization.id.as_str().to_owned();
        let connected = account::has_account(app, &ctx, &membership, Provider::Shopify, shop).await?;
        let href = if connected {
            format!("/orgs/{org}/integrations")
        } else {
            format!("/orgs/{org}/integrations/shopify/connect?shop={shop}")
        };
        choices.push(Choice { name: membership.organization.name, href, connected });
    }
    let frame = signed_frame(&shared, "Connect your shop");
    Ok(Page(InstallPage { frame, shop: shop.to_owned(), user: session.user.name, choices }).into_response())
}
