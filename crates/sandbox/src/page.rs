//! Pages for people: what the sandbox is, being a customer, what the providers received, and the desk.

use crate::kustomer::webhook as desk_hook;
use crate::meta::webhook as meta;
use crate::record::Received;
use crate::shopify::webhook as shop_hook;
use crate::state::Sandbox;
use crate::world::desk::OwnApp;
use crate::world::people::{ChatMessage, psid};
use askama::Template;
use axum::Router;
use axum::extract::{Form, Path, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};

/// Everything that is a page.
pub(crate) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/", get(home))
        .route("/sandbox.css", get(css))
        .route("/chat.js", get(script))
        .route("/chat", get(chats))
        .route("/chat/{page}", get(chat).post(write))
        .route("/chat/{page}/messages", get(chat_part))
        .route("/received", get(received))
        .route("/received/{provider}", get(received_from))
        .route("/shops/{shop}", get(shop).post(shop_deed))
        .route("/shops/{shop}/open", get(open_app))
        .route("/kustomer-keys", get(keys))
        .route("/desk/{org}", get(desk))
        .route("/desk/{org}/{id}", post(desk_deed))
}

/// A page with its headers.
pub(crate) struct Html<T>(pub T);

impl<T: Template> Html<T> {
    /// The page, whose forms may end at another origin: a consent page sends the browser back to the product.
    pub(crate) fn with_forms_to(self, origin: &str) -> Response {
        let Ok(text) = self.0.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
        let mut response = axum::response::Html(text).into_response();
        let policy = format!(
            "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self' {origin}; base-uri 'none'; frame-ancestors 'none'"
        );
        let headers = response.headers_mut();
        if let Ok(policy) = HeaderValue::from_str(&policy) {
            headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        }
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}

impl<T: Template> IntoResponse for Html<T> {
    fn into_response(self) -> Response {
        self.with_forms_to("")
    }
}

#[derive(Template)]
#[template(path = "problem.html")]
struct Problem<'a> {
    who: &'a str,
    text: &'a str,
}

/// A page that says what is wrong.
pub(crate) fn problem(status: StatusCode, who: &str, text: &str) -> Response {
    (status, Html(Problem { who, text })).into_response()
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn css() -> Response {
    asset("text/css; charset=utf-8", include_str!("../assets/sandbox.css"))
}

async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("../assets/chat.js"))
}

struct Named {
    id: String,
    name: String,
    note: String,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    product: String,
    shops: Vec<Named>,
    pages: Vec<Named>,
    desks: Vec<Named>,
}

async fn home(State(sandbox): State<Sandbox>) -> Response {
    let world = sandbox.world();
    let named =
        |id: &str, name: &str, note: &str| Named { id: id.into(), name: name.into(), note: note.into() };
    let connected = |yes| if yes { "connected" } else { "not connected" };
    Html(Home {
        product: sandbox.settings().product_url.clone(),
        shops: world
            .shops
            .values()
            .map(|s| named(&s.domain, &s.name, connected(s.grant.is_some())))
            .collect(),
        pages: world
            .pages
            .values()
            .map(|p| named(&p.id, &p.name, connected(!p.subscribed.is_empty())))
            .collect(),
        desks: world
            .desks
            .values()
            .map(|d| named(&d.name, &d.title, connected(!d.webhooks.is_empty())))
            .collect(),
    })
    .into_response()
}

#[derive(Template)]
#[template(path = "chats.html")]
struct Chats {
    pages: Vec<Named>,
}

async fn chats(State(sandbox): State<Sandbox>) -> Response {
    let world = sandbox.world();
    let pages = world.pages.values().map(|p| Named {
        id: p.id.clone(),
        name: p.name.clone(),
        note: if p.subscribed.is_empty() { "not connected".into() } else { "connected".into() },
    });
    Html(Chats { pages: pages.collect() }).into_response()
}

#[derive(Deserialize)]
struct As {
    #[serde(rename = "as")]
    name: Option<String>,
}

fn customer(asked: Option<String>) -> String {
    let name: String = asked.unwrap_or_default().chars().filter(|c| !c.is_control()).take(60).collect();
    if name.trim().is_empty() { "Ana".into() } else { name.trim().into() }
}

#[derive(Template)]
#[template(path = "chat.html")]
struct Chat {
    id: String,
    name: String,
    customer: String,
    customer_query: String,
    connected: bool,
    messages: Vec<ChatMessage>,
}

#[derive(Template)]
#[template(path = "chat_part.html")]
struct ChatPart {
    messages: Vec<ChatMessage>,
}

fn thread(sandbox: &Sandbox, page: &str, customer: &str) -> Option<(String, bool, Vec<ChatMessage>)> {
    let world = sandbox.world();
    let page = world.pages.get(page)?;
    let chat = page.chats.get(&psid(&page.id, customer));
    Some((
        page.name.clone(),
        !page.subscribed.is_empty(),
        chat.map(|c| c.messages.clone()).unwrap_or_default(),
    ))
}

fn encoded(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

async fn chat(State(sandbox): State<Sandbox>, Path(id): Path<String>, Query(who): Query<As>) -> Response {
    let customer = customer(who.name);
    let Some((name, connected, messages)) = thread(&sandbox, &id, &customer) else {
        return problem(StatusCode::NOT_FOUND, "Facebook", "There is no such page.");
    };
    Html(Chat { id, name, customer_query: encoded(&customer), customer, connected, messages }).into_response()
}

async fn chat_part(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Query(who): Query<As>,
) -> Response {
    match thread(&sandbox, &id, &customer(who.name)) {
        Some((.., messages)) => Html(ChatPart { messages }).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

#[derive(Deserialize)]
struct Written {
    text: String,
    #[serde(rename = "as")]
    name: Option<String>,
}

async fn write(
    State(sandbox): State<Sandbox>,
    Path(id): Path<String>,
    Form(written): Form<Written>,
) -> Response {
    let customer = customer(written.name);
    let text: String = written.text.trim().chars().take(2000).collect();
    if !text.is_empty() && meta::customer_writes(&sandbox, &id, &customer, &text).is_none() {
        return problem(StatusCode::NOT_FOUND, "Facebook", "There is no such page.");
    }
    Redirect::to(&format!("/chat/{id}?as={}", encoded(&customer))).into_response()
}

#[derive(Template)]
#[template(path = "received.html")]
struct ReceivedPage {
    provider: String,
    calls: Vec<Received>,
}

fn calls(sandbox: &Sandbox, provider: &str) -> Response {
    let record = sandbox.record();
    let fits = |r: &&Received| provider.is_empty() || r.provider == provider;
    let calls = record.received.iter().rev().filter(fits).take(200).cloned().collect();
    Html(ReceivedPage { provider: provider.to_owned(), calls }).into_response()
}

async fn received(State(sandbox): State<Sandbox>) -> Response {
    calls(&sandbox, "")
}

async fn received_from(State(sandbox): State<Sandbox>, Path(provider): Path<String>) -> Response {
    calls(&sandbox, &provider)
}

struct OrderRow {
    name: String,
    email: String,
    status: String,
    parcel: String,
    tracking: String,
}

#[derive(Template)]
#[template(path = "shop.html")]
struct ShopPage {
    domain: String,
    name: String,
    connected: bool,
    frozen: bool,
    orders: Vec<OrderRow>,
}

async fn shop(State(sandbox): State<Sandbox>, Path(domain): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(shop) = world.shops.get(&domain) else {
        return problem(StatusCode::NOT_FOUND, "Shopify", "There is no shop with this name.");
    };
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let row = |o: &Value| OrderRow {
        name: text(&o["name"]),
        email: text(&o["email"]),
        status: text(&o["displayFulfillmentStatus"]),
        parcel: text(&o["fulfillments"][0]["displayStatus"]),
        tracking: text(&o["fulfillments"][0]["trackingInfo"][0]["number"]),
    };
    Html(ShopPage {
        name: shop.name.clone(),
        connected: shop.grant.is_some(),
        frozen: shop.frozen,
        orders: shop.orders.iter().map(row).collect(),
        domain,
    })
    .into_response()
}

/// The app's address, opened from the shop's admin: signed, and naming nobody but the shop.
async fn open_app(State(sandbox): State<Sandbox>, Path(domain): Path<String>) -> Response {
    if !sandbox.world().shops.contains_key(&domain) {
        return problem(StatusCode::NOT_FOUND, "Shopify", "There is no shop with this name.");
    }
    let settings = sandbox.settings();
    let timestamp = crate::clock::now().to_string();
    let label = domain.split('.').next().unwrap_or_default();
    let host = STANDARD_NO_PAD.encode(format!("admin.shopify.com/store/{label}"));
    let mut pairs = vec![("host", host.as_str()), ("shop", &domain), ("timestamp", &timestamp)];
    let hmac = crate::sign::shopify_query_mac(&settings.shopify_api_secret, &pairs);
    pairs.push(("hmac", &hmac));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    Redirect::to(&format!("{}/install/shopify?{query}", settings.product_url)).into_response()
}

#[derive(Deserialize)]
struct ShopDeed {
    deed: String,
    order: Option<String>,
}

async fn shop_deed(
    State(sandbox): State<Sandbox>,
    Path(domain): Path<String>,
    Form(ask): Form<ShopDeed>,
) -> Response {
    let mut world = sandbox.world();
    let Some(shop) = world.shops.get_mut(&domain) else {
        return problem(StatusCode::NOT_FOUND, "Shopify", "There is no shop with this name.");
    };
    match ask.deed.as_str() {
        "uninstall" => shop_hook::uninstall(&sandbox, shop),
        "freeze" | "thaw" => {
            shop.frozen = ask.deed == "freeze";
            shop_hook::tell(&sandbox, shop, "shop/update", &shop_hook::sample(shop, "shop/update"));
        }
        "deliver" => {
            let wanted = ask.order.unwrap_or_default();
            if let Some(order) = shop.orders.iter_mut().find(|o| o["name"] == wanted.as_str()) {
                if let Some(parcel) = order["fulfillments"].get_mut(0) {
                    parcel["displayStatus"] = json!("DELIVERED");
                    parcel["deliveredAt"] = json!(crate::clock::rfc3339(crate::clock::now_ms()));
                }
                let body = shop_hook::rest_order(order);
                shop_hook::tell(&sandbox, shop, "orders/updated", &body);
            }
        }
        _ => {}
    }
    Redirect::to(&format!("/shops/{domain}")).into_response()
}

struct KeyRow {
    org: String,
    kind: &'static str,
    text: String,
}

#[derive(Template)]
#[template(path = "keys.html")]
struct Keys {
    keys: Vec<KeyRow>,
}

async fn keys(State(sandbox): State<Sandbox>) -> Response {
    let world = sandbox.world();
    let rows = world.desks.values().flat_map(|d| {
        d.keys.iter().map(|k| KeyRow { org: d.name.clone(), kind: k.kind, text: k.text.clone() })
    });
    Html(Keys { keys: rows.collect() }).into_response()
}

struct Handed {
    id: String,
    name: String,
    status: String,
    customer: String,
    lines: Vec<(String, String)>,
    notes: Vec<String>,
}

#[derive(Template)]
#[template(path = "desk.html")]
struct DeskPage {
    org: String,
    title: String,
    app: OwnApp,
    conversations: Vec<Handed>,
}

async fn desk(State(sandbox): State<Sandbox>, Path(org): Path<String>) -> Response {
    let world = sandbox.world();
    let Some(desk) = world.desks.get(&org) else {
        return problem(StatusCode::NOT_FOUND, "Kustomer", "There is no account with this name.");
    };
    let text = |v: &Value| v.as_str().unwrap_or("").to_owned();
    let of = |i: &&Value, id: &Value| i["relationships"]["conversation"]["data"]["id"] == *id;
    let handed = desk.conversations.iter().rev().map(|c| {
        let who = &c["relationships"]["customer"]["data"]["id"];
        let customer = desk.customers.iter().find(|p| p["id"] == *who);
        Handed {
            id: text(&c["id"]),
            name: text(&c["attributes"]["name"]),
            status: text(&c["attributes"]["status"]),
            customer: customer.map(|p| text(&p["attributes"]["name"])).unwrap_or_default(),
            lines: desk
                .messages
                .iter()
                .filter(|m| of(m, &c["id"]))
                .map(|m| (text(&m["attributes"]["direction"]), text(&m["attributes"]["preview"])))
                .collect(),
            notes: desk
                .notes
                .iter()
                .filter(|n| of(n, &c["id"]))
                .map(|n| text(&n["attributes"]["body"]))
                .collect(),
        }
    });
    let conversations = handed.collect();
    Html(DeskPage { title: desk.title.clone(), app: desk.own_app.clone(), org, conversations })
        .into_response()
}

#[derive(Deserialize)]
struct DeskDeed {
    deed: String,
    #[serde(default)]
    text: String,
}

async fn desk_deed(
    State(sandbox): State<Sandbox>,
    Path((org, id)): Path<(String, String)>,
    Form(ask): Form<DeskDeed>,
) -> Response {
    let mut world = sandbox.world();
    if let Some(desk) = world.desks.get_mut(&org) {
        match ask.deed.as_str() {
            "answer" if !ask.text.trim().is_empty() => {
                desk_hook::agent_answers(&sandbox, desk, &id, ask.text.trim());
            }
            "done" => {
                desk_hook::agent_closes(&sandbox, desk, &id);
            }
            _ => {}
        }
    }
    Redirect::to(&format!("/desk/{org}")).into_response()
}
