//! Before one leaves for a provider, and the choice of a page after it.

use super::{Form, Frame, Page, Wrong, frame, go, org_frame, page};
use crate::Shared;
use crate::api::Query;
use crate::api::oauth::provider_of;
use crate::failure::Outcome;
use crate::gate::Member;
use agenstack_app::connect::{self as deed, PageChoice};
use agenstack_core::integration::{Provider, ShopDomain, Subdomain};
use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use secrecy::SecretString;
use serde::Deserialize;

#[derive(Template)]
#[template(path = "connect.html")]
pub(super) struct Before {
    pub frame: Frame,
    pub org: String,
    pub provider: &'static str,
    pub title: &'static str,
    pub set_up: bool,
    pub oauth: bool,
    pub wrong: Option<Wrong>,
    pub shop: String,
    pub subdomain: String,
    /// Where the button leads, once it is known.
    pub onward: Option<Onward>,
    pub asks: Vec<(String, &'static str)>,
    /// For copying: what a Kustomer app is registered with.
    pub redirect_uri: String,
    pub roles: String,
    pub client_id: String,
    /// Where the own app's button leads, once it is known.
    pub own: Option<Onward>,
    /// Whether the part about the own app is open.
    pub own_open: bool,
}

/// The last step before leaving.
pub(super) struct Onward {
    pub href: String,
    pub to: String,
}

fn asks(shared: &Shared, provider: Provider) -> Vec<(String, &'static str)> {
    let scopes = shared.app().asked_scopes(provider);
    scopes
        .into_iter()
        .map(|n| {
            let text = deed::scope_text(provider, &n);
            (n, text)
        })
        .collect()
}

fn before_page(shared: &Shared, member: &Member, provider: Provider) -> Before {
    let asks = asks(shared, provider);
    Before {
        frame: org_frame(member, &format!("Connect {}", provider.title()), "integrations"),
        org: member.org.org().as_str().to_owned(),
        provider: provider.as_str(),
        title: if provider == Provider::Messenger { "Facebook Messenger" } else { provider.title() },
        set_up: shared.app().is_set_up(provider),
        oauth: shared.app().kustomer_oauth(),
        wrong: None,
        shop: String::new(),
        subdomain: String::new(),
        onward: None,
        redirect_uri: shared.app().redirect_uri(provider),
        roles: asks.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join("\n"),
        asks,
        client_id: String::new(),
        own: None,
        own_open: false,
    }
}

#[derive(Deserialize)]
pub(crate) struct Given {
    shop: Option<String>,
    subdomain: Option<String>,
}

/// `GET /orgs/{org}/integrations/{provider}/connect`: what it enables, what it will ask, and the way on. The way on
/// is a link: a form that ends at a provider is refused by our own content policy.
pub(crate) async fn before(
    State(shared): State<Shared>,
    member: Member,
    Path((org, provider)): Path<(String, String)>,
    Query(given): Query<Given>,
) -> Outcome<Response> {
    let provider = provider_of(&provider)?;
    let mut shown = before_page(&shared, &member, provider);
    let base = format!("/api/oauth/{provider}/redirect?organization_id={org}");
    let mut status = StatusCode::OK;
    match provider {
        Provider::Messenger => shown.onward = Some(Onward { href: base, to: "Facebook".into() }),
        Provider::Shopify => {
            if let Some(text) = given.shop {
                match ShopDomain::from_input(&text) {
                    Some(shop) => {
                        let to = shop.as_str().to_owned();
                        shown.onward = Some(Onward { href: format!("{base}&shop={shop}"), to });
                    }
                    None => {
                        status = StatusCode::BAD_REQUEST;
                        let text = "Write the shop's name as in name.myshopify.com: lower-case letters, digits and dashes.";
                        shown.wrong = Some(Wrong { field: "shop".into(), text: text.into() });
                    }
                }
                shown.shop = text;
            }
        }
        Provider::Kustomer => {
            if let Some(text) = given.subdomain {
                match Subdomain::from_input(&text) {
                    Some(name) => {
                        let to = format!("{name}.kustomerapp.com");
                        shown.onward = Some(Onward { href: format!("{base}&subdomain={name}"), to });
                    }
                    None => {
                        status = StatusCode::BAD_REQUEST;
                        let text =
                            "Write the name before .kustomerapp.com: lower-case letters, digits and dashes.";
                        shown.wrong = Some(Wrong { field: "subdomain".into(), text: text.into() });
                    }
                }
                shown.subdomain = text;
            }
        }
    }
    Ok(page(status, shown))
}

#[derive(Deserialize)]
pub(crate) struct Key {
    subdomain: String,
    api_key: String,
}

/// `POST /orgs/{org}/integrations/kustomer/api-key`
pub(crate) async fn api_key(
    State(shared): State<Shared>,
    member: Member,
    Form(given): Form<Key>,
) -> Outcome<Response> {
    let key = SecretString::from(given.api_key);
    match deed::kustomer_api_key(shared.app(), &member.org, &given.subdomain, key).await {
        Ok(_) => Ok(go(&format!("/orgs/{}/integrations?kustomer=connected", member.org.org()))),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            let mut shown = before_page(&shared, &member, Provider::Kustomer);
            shown.wrong = Some(wrong);
            shown.subdomain = given.subdomain;
            Ok(page(status, shown))
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct OwnApp {
    subdomain: String,
    client_id: String,
    client_secret: String,
}

/// `POST /orgs/{org}/integrations/kustomer/private-app`: answers with the way on, as a link.
pub(crate) async fn private_app(
    State(shared): State<Shared>,
    member: Member,
    Form(given): Form<OwnApp>,
) -> Outcome<Response> {
    let secret = SecretString::from(given.client_secret);
    let (app, org, session) = (shared.app(), &member.org, &member.session);
    let begun =
        deed::kustomer_private_app(app, org, session, &given.subdomain, &given.client_id, secret).await;
    let mut shown = before_page(&shared, &member, Provider::Kustomer);
    shown.own_open = true;
    let status = match begun {
        Ok(href) => {
            let to = Subdomain::from_input(&given.subdomain).map_or_else(String::new, |n| n.to_string());
            shown.own = Some(Onward { href, to: format!("{to}.kustomerapp.com") });
            StatusCode::OK
        }
        Err(error) => {
            let (status, mut wrong) = Wrong::of(error)?;
            if wrong.field == "subdomain" {
                wrong.field = "own-subdomain".into();
            }
            shown.wrong = Some(wrong);
            status
        }
    };
    (shown.subdomain, shown.client_id) = (given.subdomain, given.client_id);
    Ok(page(status, shown))
}

#[derive(Template)]
#[template(path = "pages.html")]
pub(super) struct Pages {
    pub frame: Frame,
    pub org: String,
    pub pages: Vec<PageChoice>,
    pub wrong: Option<Wrong>,
    pub any: bool,
}

async fn chooser(shared: &Shared, member: &Member, wrong: Option<Wrong>) -> Outcome<Pages> {
    let pages = deed::pages(shared.app(), &member.org).await?;
    Ok(Pages {
        frame: org_frame(member, "Choose a page", "integrations"),
        org: member.org.org().as_str().to_owned(),
        any: pages.iter().any(|p| p.selectable),
        pages,
        wrong,
    })
}

/// `GET /orgs/{org}/integrations/messenger/pages`
pub(crate) async fn pages(State(shared): State<Shared>, member: Member) -> Outcome<Response> {
    Ok(Page(chooser(&shared, &member, None).await?).into_response())
}

#[derive(Deserialize)]
pub(crate) struct Choice {
    #[serde(default)]
    page_id: String,
}

/// `POST /orgs/{org}/integrations/messenger/pages`
pub(crate) async fn choose_page(
    State(shared): State<Shared>,
    member: Member,
    Form(choice): Form<Choice>,
) -> Outcome<Response> {
    match deed::choose_page(shared.app(), &member.org, &choice.page_id).await {
        Ok(_) => Ok(go(&format!("/orgs/{}/integrations?messenger=connected", member.org.org()))),
        Err(error) => {
            let (status, wrong) = Wrong::of(error)?;
            Ok(page(status, chooser(&shared, &member, Some(wrong)).await?))
        }
    }
}

#[derive(Template)]
#[template(path = "state_refused.html")]
pub(super) struct StateRefused {
    pub frame: Frame,
    pub title: &'static str,
}

/// The 400 page of a callback whose state is not ours, used up, too old, or of another browser.
pub(crate) fn state_refused(shared: &Shared, provider: Provider, signed_in: bool) -> Response {
    let mut frame = frame(shared, "Start again");
    frame.signed_in = signed_in;
    page(StatusCode::BAD_REQUEST, StateRefused { frame, title: provider.title() })
}
