//! The sandbox refuses what the real providers refuse: otherwise it would prove nothing.

#![allow(clippy::unwrap_used, reason = "a test that meets what it did not expect ends there")]

use agenstack_sandbox::{Settings, Walk, serve};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

const PRODUCT: &str = "http://127.0.0.1:1";
const BACK: &str = "http://127.0.0.1:1/back";

struct Stage {
    url: String,
    settings: Settings,
    http: Client,
}

impl Stage {
    async fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let settings = Settings::demo(url.clone(), PRODUCT);
        tokio::spawn(serve(listener, settings.clone(), std::future::pending()));
        let tls = rustls::ClientConfig::builder()
            .with_root_certificates(rustls::RootCertStore::empty())
            .with_no_client_auth();
        let http = Client::builder().no_proxy().tls_backend_preconfigured(tls).build().unwrap();
        Self { url, settings, http }
    }

    async fn send(&self, request: RequestBuilder) -> (u16, Value) {
        let answer = request.send().await.unwrap();
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.unwrap()).unwrap_or_default())
    }

    async fn shop_code(&self, shop: &str, walk: &Walk) -> String {
        let s = &self.settings;
        let url = format!(
            "{}/shopify/{shop}/admin/oauth/authorize?client_id={}&scope=read_orders,read_products&redirect_uri={BACK}&state=s",
            self.url, s.shopify_api_key
        );
        parameter(&walk.through(&url).await.unwrap(), "code")
    }

    async fn shop_token(&self, shop: &str, fields: Value) -> (u16, Value) {
        let s = &self.settings;
        let mut body = json!({"client_id": s.shopify_api_key, "client_secret": s.shopify_api_secret});
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        let url = format!("{}/shopify/{shop}/admin/oauth/access_token", self.url);
        self.send(self.http.post(url).json(&body)).await
    }

    async fn graphql(&self, shop: &str, token: &str, query: &str) -> (u16, Value) {
        let url = format!("{}/shopify/{shop}/admin/api/2026-10/graphql.json", self.url);
        let request = self.http.post(url).header("x-shopify-access-token", token);
        self.send(request.json(&json!({"query": query}))).await
    }

    fn proof(&self, token: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.settings.meta_app_secret.as_bytes()).unwrap();
        mac.update(token.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    }

    async fn graph(&self, method: Method, path: &str, token: &str, proof: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/graph/v26.0{path}", self.url);
        let url = format!("{url}{}appsecret_proof={proof}", if path.contains('?') { "&" } else { "?" });
        let mut request = self.http.request(method, url).bearer_auth(token);
        if !body.is_null() {
            request = request.json(&body);
        }
        self.send(request).await
    }

    /// A long-lived user token of a person who ticked everything but `untick`.
    async fn user_token(&self, person: &str, untick: &[&str]) -> String {
        let s = &self.settings;
        let url = format!(
            "{}/facebook/v26.0/dialog/oauth?client_id={}&redirect_uri={BACK}&state=s&scope=pages_show_list,pages_messaging,pages_manage_metadata",
            self.url, s.meta_app_id
        );
        let untick = untick.iter().map(|u| (*u).to_owned()).collect();
        let walk = Walk { person: Some(person.into()), untick, deny: false };
        let code = parameter(&walk.through(&url).await.unwrap(), "code");
        let exchange = async |fields: Value| {
            let mut form = json!({"client_id": s.meta_app_id, "client_secret": s.meta_app_secret});
            for (name, value) in fields.as_object().unwrap() {
                form[name] = value.clone();
            }
            let url = format!("{}/graph/v26.0/oauth/access_token", self.url);
            let (status, body) = self.send(self.http.post(url).form(&form)).await;
            assert_eq!(status, 200, "{body}");
            body["access_token"].as_str().unwrap().to_owned()
        };
        let short = exchange(json!({"code": code, "redirect_uri": BACK})).await;
        exchange(json!({"grant_type": "fb_exchange_token", "fb_exchange_token": short})).await
    }

    async fn page_token(&self, person: &str, page: &str) -> String {
        let user = self.user_token(person, &[]).await;
        let (_, pages) =
            self.graph(Method::GET, "/me/accounts", &user, &self.proof(&user), Value::Null).await;
        let found = pages["data"].as_array().unwrap().iter().find(|p| p["id"] == page).unwrap().clone();
        found["access_token"].as_str().unwrap().to_owned()
    }

    async fn desk(&self, method: Method, path: &str, token: &str, body: Value) -> (u16, Value) {
        let mut request = self.http.request(method, format!("{}/kustomer-api/lark-supply{path}", self.url));
        request = request.bearer_auth(token);
        if !body.is_null() {
            request = request.json(&body);
        }
        self.send(request).await
    }

    async fn keys(&self, org: &str) -> Value {
        self.send(self.http.get(format!("{}/control/kustomer/{org}/keys", self.url))).await.1
    }
}

fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url.query_pairs().find(|(n, _)| n == name).map(|(_, v)| v.into_owned()).unwrap_or_default()
}

const SHOP: &str = "query { shop { myshopifyDomain } }";
const LARK: &str = "lark-supply.myshopify.com";
const FERN: &str = "fern-goods.myshopify.com";

#[tokio::test]
async fn shopify_takes_a_code_once_for_its_own_shop_and_only_with_the_right_secret() {
    let stage = Stage::new().await;
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    assert_eq!(
        stage.shop_token(LARK, json!({"code": code, "client_secret": "wrong", "expiring": "1"})).await.0,
        401
    );
    assert_eq!(stage.shop_token(FERN, json!({"code": code, "expiring": "1"})).await.0, 400);
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    assert_eq!(stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await.0, 200);
    assert_eq!(stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await.0, 400);
}

#[tokio::test]
async fn shopify_refuses_tokens_without_an_end_of_another_shop_and_of_an_earlier_grant() {
    let stage = Stage::new().await;
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    let (_, permanent) = stage.shop_token(LARK, json!({"code": code})).await;
    assert_eq!(stage.graphql(LARK, permanent["access_token"].as_str().unwrap(), SHOP).await.0, 403);
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    let (_, first) = stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await;
    let token = first["access_token"].as_str().unwrap();
    assert_eq!(stage.graphql(LARK, token, SHOP).await.1["data"]["shop"]["myshopifyDomain"], LARK);
    assert_eq!(stage.graphql(FERN, token, SHOP).await.0, 401);
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await;
    assert_eq!(stage.graphql(LARK, token, SHOP).await.0, 401);
}

#[tokio::test]
async fn shopify_rotates_refresh_tokens_and_repeats_an_answer_only_until_the_new_token_is_used() {
    let stage = Stage::new().await;
    let code = stage.shop_code(LARK, &Walk::approve()).await;
    let (_, first) = stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await;
    let refresh =
        |token: &Value| json!({"grant_type": "refresh_token", "refresh_token": token["refresh_token"]});
    let (_, second) = stage.shop_token(LARK, refresh(&first)).await;
    assert_ne!(second["refresh_token"], first["refresh_token"]);
    // The answer was lost: the same old token gives the same pair.
    assert_eq!(stage.shop_token(LARK, refresh(&first)).await.1["access_token"], second["access_token"]);
    assert_eq!(stage.graphql(LARK, second["access_token"].as_str().unwrap(), SHOP).await.0, 200);
    let (status, dead) = stage.shop_token(LARK, refresh(&first)).await;
    assert_eq!((status, dead["error"].as_str()), (401, Some("invalid_request")));
    assert_eq!(stage.graphql(LARK, first["access_token"].as_str().unwrap(), SHOP).await.0, 401);
}

#[tokio::test]
async fn shopify_denies_what_was_not_granted_and_throttles_what_costs_too_much() {
    let stage = Stage::new().await;
    let walk = Walk { untick: vec!["read_orders".into()], ..Walk::default() };
    let code = stage.shop_code(LARK, &walk).await;
    let (_, grant) = stage.shop_token(LARK, json!({"code": code, "expiring": "1"})).await;
    let token = grant["access_token"].as_str().unwrap();
    let (_, denied) = stage.graphql(LARK, token, "query { orders(first: 1) { nodes { id } } }").await;
    assert_eq!(denied["errors"][0]["extensions"]["code"], "ACCESS_DENIED");
    assert_eq!(
        stage.graphql(LARK, token, "query { nonsense { id } }").await.1["errors"][0]["extensions"]["code"],
        "undefinedField"
    );
    let many: String = (0..1500).map(|n| format!("a{n}: shop {{ id }} ")).collect();
    let (_, throttled) = stage.graphql(LARK, token, &format!("query {{ {many} }}")).await;
    assert_eq!(throttled["errors"][0]["extensions"]["code"], "THROTTLED");
    assert!(throttled["extensions"]["cost"]["throttleStatus"]["restoreRate"].is_number());
}

#[tokio::test]
async fn meta_wants_the_proof_of_just_this_token_and_the_pages_own_token() {
    let stage = Stage::new().await;
    let user = stage.user_token("lena", &[]).await;
    assert_eq!(
        stage.graph(Method::GET, "/me/accounts", &user, "wrong", Value::Null).await.1["error"]["code"],
        100
    );
    let lark = stage.page_token("lena", "100000000000001").await;
    let fern = stage.page_token("finn", "100000000000002").await;
    let fields = "/100000000000001/subscribed_apps?subscribed_fields=messages";
    assert_eq!(stage.graph(Method::POST, fields, &fern, &stage.proof(&fern), Value::Null).await.0, 400);
    assert_eq!(
        stage.graph(Method::POST, fields, &lark, &stage.proof(&fern), Value::Null).await.1["error"]["code"],
        100
    );
    assert_eq!(
        stage.graph(Method::POST, fields, &lark, &stage.proof(&lark), Value::Null).await.1["success"],
        true
    );
}

#[tokio::test]
async fn meta_sends_only_to_a_customer_of_this_page_inside_the_window() {
    let stage = Stage::new().await;
    let control = async |path: &str, body: Value| {
        stage.send(stage.http.post(format!("{}/control{path}", stage.url)).json(&body)).await.1
    };
    let wrote = control("/messages", json!({"page_id": "100000000000001", "from": "Bo", "text": "hi"})).await;
    let lark = stage.page_token("lena", "100000000000001").await;
    let fern = stage.page_token("finn", "100000000000002").await;
    let send = |psid: &Value, text: &str| json!({"recipient": {"id": psid}, "messaging_type": "RESPONSE", "message": {"text": text}});
    let post = async |page: &str, token: &str, body: Value| {
        stage.graph(Method::POST, &format!("/{page}/messages"), token, &stage.proof(token), body).await.1
    };
    let psid = &wrote["psid"];
    assert!(post("100000000000001", &lark, send(psid, "hello")).await["message_id"].is_string());
    assert_eq!(post("100000000000002", &fern, send(psid, "x")).await["error"]["error_subcode"], 2_018_001);
    assert_eq!(post("100000000000001", &fern, send(psid, "x")).await["error"]["code"], 190);
    assert_eq!(post("100000000000001", &lark, send(psid, "  ")).await["error"]["error_subcode"], 2_018_034);
    assert_eq!(
        post("100000000000001", &lark, send(psid, &"x".repeat(2000))).await["error"]["error_subcode"],
        2_018_109
    );
    control("/messenger/100000000000001/lapse", Value::Null).await;
    assert_eq!(post("100000000000001", &lark, send(psid, "x")).await["error"]["error_subcode"], 2_018_278);
}

#[tokio::test]
async fn meta_takes_a_pages_token_away_when_it_is_unticked() {
    let stage = Stage::new().await;
    let lark = stage.page_token("lena", "100000000000001").await;
    let about = async || {
        stage.graph(Method::GET, "/100000000000001?fields=id", &lark, &stage.proof(&lark), Value::Null).await
    };
    assert_eq!(about().await.0, 200);
    stage.user_token("lena", &["100000000000001"]).await;
    assert_eq!(about().await.1["error"]["code"], 190);
}

#[tokio::test]
async fn kustomer_wants_the_verifier_the_role_and_a_key_of_the_account() {
    let stage = Stage::new().await;
    let s = &stage.settings;
    let verifier = "v".repeat(43);
    let challenge =
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, Sha256::digest(&verifier));
    let code = async || {
        let url = format!(
            "{}/kustomer/lark-supply/oauth/authorize?response_type=code&client_id={}&redirect_uri={BACK}&scope=org.permission.customer.read&state=s&code_challenge={challenge}&code_challenge_method=S256",
            stage.url, s.kustomer_client_id
        );
        parameter(&Walk::approve().through(&url).await.unwrap(), "code")
    };
    let token = async |code: String, verifier: &str| {
        let form = json!({"grant_type": "authorization_code", "client_id": s.kustomer_client_id, "client_secret": s.kustomer_client_secret,
            "code": code, "redirect_uri": BACK, "code_verifier": verifier});
        stage
            .send(stage.http.post(format!("{}/kustomer-api/lark-supply/oauth/token", stage.url)).form(&form))
            .await
    };
    assert_eq!(token(code().await, "wrong").await.0, 400);
    let (status, grant) = token(code().await, &verifier).await;
    assert_eq!(status, 200);
    let access = grant["access_token"].as_str().unwrap();
    assert_eq!(stage.desk(Method::GET, "/v1/customers/email=a%40b.c", access, Value::Null).await.0, 404);
    assert_eq!(stage.desk(Method::GET, "/v1/conversations", access, Value::Null).await.0, 403);
    let (own, other) = (stage.keys("lark-supply").await, stage.keys("fern-goods").await);
    for (key, status) in
        [(&own["full"], 200), (&own["expired"], 401), (&other["full"], 401), (&json!("x"), 401)]
    {
        assert_eq!(
            stage.desk(Method::GET, "/v1/users/current", key.as_str().unwrap(), Value::Null).await.0,
            status
        );
    }
    let full = own["full"].as_str().unwrap();
    let customer =
        json!({"name": "Bo", "externalId": "x", "emails": [{"type": "home", "email": "bo@example.com"}]});
    assert_eq!(stage.desk(Method::POST, "/v1/customers", full, customer.clone()).await.0, 201);
    assert_eq!(stage.desk(Method::POST, "/v1/customers", full, customer).await.0, 409);
    let hook = |n: u32| json!({"name": "x", "url": format!("https://x.example/{n}"), "events": ["kustomer.message.create"]});
    for n in 0..5 {
        assert_eq!(stage.desk(Method::POST, "/v1/outbound-webhooks", full, hook(n)).await.0, 201);
    }
    assert_eq!(stage.desk(Method::POST, "/v1/outbound-webhooks", full, hook(5)).await.0, 400);
}

#[tokio::test]
async fn an_accounts_own_app_is_known_there_only_and_its_codes_and_tokens_are_its_own() {
    let stage = Stage::new().await;
    let s = &stage.settings;
    let verifier = "v".repeat(43);
    let challenge =
        base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, Sha256::digest(&verifier));
    let app = async |org: &str| {
        let url = format!("{}/control/kustomer/{org}/private-app", stage.url);
        stage.send(stage.http.get(url)).await.1
    };
    let (own, other) = (app("moss-market").await, app("fern-goods").await);
    let consent = |client: &Value| {
        format!(
            "{}/kustomer/moss-market/oauth/authorize?response_type=code&client_id={}&redirect_uri={BACK}&scope=org.permission.customer.read&state=s&code_challenge={challenge}&code_challenge_method=S256",
            stage.url,
            client.as_str().unwrap()
        )
    };
    assert!(Walk::approve().through(&consent(&other["client_id"])).await.is_err(), "another account's app");
    let code =
        async || parameter(&Walk::approve().through(&consent(&own["client_id"])).await.unwrap(), "code");
    let token = async |fields: Value| {
        let url = format!("{}/kustomer-api/moss-market/oauth/token", stage.url);
        stage.send(stage.http.post(url).form(&fields)).await
    };
    let exchange = async |id: &Value, secret: &Value| {
        let fields = json!({"grant_type": "authorization_code", "client_id": id, "client_secret": secret, "code": code().await,
            "redirect_uri": BACK, "code_verifier": verifier});
        token(fields).await
    };
    let refused = |status: u16| (status, json!({"error": "invalid_client"}));
    assert_eq!(exchange(&own["client_id"], &json!("wrong")).await, refused(401));
    assert_eq!(exchange(&other["client_id"], &other["client_secret"]).await, refused(400));
    assert_eq!(exchange(&json!(s.kustomer_client_id), &json!(s.kustomer_client_secret)).await, refused(400));
    let (status, grant) = exchange(&own["client_id"], &own["client_secret"]).await;
    assert_eq!(status, 200);
    let refresh = async || {
        let fields = json!({"grant_type": "refresh_token", "client_id": own["client_id"], "client_secret": own["client_secret"],
            "refresh_token": grant["refresh_token"]});
        token(fields).await
    };
    let deed = async |deed: &str| {
        let url = format!("{}/control/kustomer/moss-market/private-app/{deed}", stage.url);
        assert_eq!(stage.send(stage.http.post(url)).await.0, 200);
    };
    deed("uninstall").await;
    assert_eq!(refresh().await, refused(400));
    deed("install").await;
    assert_eq!(refresh().await.0, 200);
    deed("new-secret").await;
    assert_eq!(refresh().await, refused(401));
    let key = stage.keys("lark-supply").await["other_region"].as_str().unwrap().to_owned();
    let (status, body) = stage.desk(Method::GET, "/v1/auth/tokens/current", &key, Value::Null).await;
    assert!(status == 403 && body.to_string().contains(" pod "), "{status} {body}");
}

#[tokio::test]
async fn an_app_that_is_not_installed_or_known_gets_no_consent_page() {
    let stage = Stage::new().await;
    let s = &stage.settings;
    for url in [
        format!(
            "{}/kustomer/moss-market/oauth/authorize?response_type=code&client_id={}&redirect_uri={BACK}&code_challenge=x&code_challenge_method=S256",
            stage.url, s.kustomer_client_id
        ),
        format!(
            "{}/shopify/{LARK}/admin/oauth/authorize?client_id=other&redirect_uri={BACK}&state=s",
            stage.url
        ),
        format!(
            "{}/shopify/{LARK}/admin/oauth/authorize?client_id={}&redirect_uri=http://evil.example/&state=s",
            stage.url, s.shopify_api_key
        ),
        format!("{}/facebook/v26.0/dialog/oauth?client_id=1&redirect_uri={BACK}&state=s", stage.url),
    ] {
        assert!(Walk::approve().through(&url).await.is_err(), "{url}");
    }
}
