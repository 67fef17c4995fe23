//! Whose account is it: releases from one organization to another, and installations that begin at Shopify.

use crate::scene::{Answer, FERN, LARK, Scene, Tenant};
use crate::wire::shopify_query;
use agenstack_sandbox::Walk;
use agenstack_store::both_databases;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

async fn id_of(tenant: &Tenant, provider: &str) -> String {
    tenant.integration(provider).await["id"].as_str().expect("a connection").to_owned()
}

async fn release(from: &Tenant, id: &str, to: &str) -> Answer {
    from.browser
        .post(&from.api(&format!("/integrations/{id}/transfer")), json!({"organization_id": to}))
        .await
}

async fn try_shop(tenant: &Tenant, label: &str) -> String {
    let url = tenant.begin("shopify", &format!("&shop={label}")).await;
    let back = Walk::approve().through(&url).await.expect("the shop's owner installs the app");
    tenant.come_back(&back).await.location.expect("a redirect")
}

async fn history(tenant: &Tenant, id: &str) -> Vec<String> {
    let answer = tenant.browser.get(&tenant.api(&format!("/integrations/{id}/history"))).await.json();
    answer["items"].as_array().unwrap().iter().map(|c| c["code"].as_str().unwrap().to_owned()).collect()
}

/// A query as Shopify opens the app's address with, signed now.
fn install_query(scene: &Scene, shop: &str, secret: &str) -> String {
    let now = scene.running.app.now().secs().to_string();
    shopify_query(secret, &[("shop", shop), ("timestamp", &now), ("host", "YWRtaW4")])
}

both_databases! {
    async fn a_released_account_moves_to_the_named_organization_and_its_history_stays(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo", "hello").await;
        let moss = scene.tenant("Moss Market").await;
        for (provider, label) in [("shopify", "lark-supply.myshopify.com"), ("messenger", "Lark Supply"), ("kustomer", "lark-supply")] {
            let id = id_of(&lark, provider).await;
            let made = release(&lark, &id, &moss.org).await;
            assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
            assert_eq!(release(&lark, &id, &moss.org).await.code(), "on_offer");
            let offers = moss.list("/transfers").await;
            assert_eq!((offers[0]["label"].clone(), offers[0]["from_name"].clone()), (json!(label), json!("Lark Supply")));
            let page = moss.browser.get(&format!("/orgs/{}/integrations", moss.org)).await.text;
            assert!(page.contains(label) && page.contains("to this organization"), "{page}");
            assert_eq!(lark.integration(provider).await["status"], "connected", "it stays until it is taken");
            match provider {
                "shopify" => moss.connect_shopify(LARK.label).await,
                "messenger" => moss.connect_page(LARK.facebook, LARK.page).await,
                _ => moss.connect_kustomer(LARK.label).await,
            }
            assert!(moss.list("/transfers").await.is_empty());
            assert_eq!(lark.integration(provider).await, Value::Null);
            assert_eq!(history(&lark, &id).await, ["transferred", "connected"]);
            assert_eq!(history(&moss, &id_of(&moss, provider).await).await, ["connected"]);
        }
        // What was written stays where it was; what is written now goes to the new owner.
        assert_eq!(lark.list("/conversations").await.len(), 1);
        scene.write(LARK.page, "Cy", "hello there").await;
        assert_eq!(lark.list("/conversations").await.len(), 1);
        assert_eq!(moss.list("/conversations").await.len(), 1);
        // What the former owner still has to say does not cut the new one off.
        scene.pass_time(120);
        scene.settle().await;
        scene.pass_time(-120);
        let thread = scene.write(LARK.page, "Cy", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
    }

    async fn without_a_release_or_after_it_was_taken_back_declined_or_over_an_account_stays_where_it_is(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let (moss, fern) = (scene.tenant("Moss Market").await, scene.tenant("Fern Goods").await);
        let id = id_of(&lark, "shopify").await;
        let refused = |location: &str| location.contains("shopify=error&reason=owned_by_another");
        assert!(refused(&try_shop(&moss, LARK.label).await));
        let path = lark.api(&format!("/integrations/{id}/transfer"));
        for end in ["taken back", "declined", "over", "to somebody else"] {
            let to = if end == "to somebody else" { &fern.org } else { &moss.org };
            assert_eq!(release(&lark, &id, to).await.status, StatusCode::CREATED, "{end}");
            match end {
                "taken back" => {
                    for _ in 0..2 {
                        let done = lark.browser.send(Method::DELETE, &path, None).await;
                        assert_eq!(done.status, StatusCode::NO_CONTENT);
                    }
                }
                "declined" => {
                    let offer = moss.list("/transfers").await[0]["id"].as_str().unwrap().to_owned();
                    let declined = moss.api(&format!("/transfers/{offer}"));
                    let stranger = fern.browser.send(Method::DELETE, &fern.api(&format!("/transfers/{offer}")), None).await;
                    assert_eq!(stranger.status, StatusCode::NOT_FOUND);
                    assert_eq!(moss.browser.send(Method::DELETE, &declined, None).await.status, StatusCode::NO_CONTENT);
                    assert_eq!(moss.browser.send(Method::DELETE, &declined, None).await.status, StatusCode::NOT_FOUND);
                }
                "over" => scene.pass_time(8 * 86_400),
                _ => {}
            }
            assert!(moss.list("/transfers").await.is_empty(), "{end}");
            if end == "over" {
                scene.pass_time(-8 * 86_400);
                lark.browser.send(Method::DELETE, &path, None).await;
            }
            assert!(refused(&try_shop(&moss, LARK.label).await), "{end}");
            assert_eq!(lark.integration("shopify").await["status"], "connected", "{end}");
        }
        let thread = scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        assert!(thread.last().unwrap().1.contains("LARK1001"), "{thread:?}");
    }

    async fn only_an_owner_releases_and_only_to_something_that_can_be_an_organization(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let moss = scene.tenant("Moss Market").await;
        let id = id_of(&lark, "shopify").await;
        for bad in ["", "moss", "org_", &lark.org, "usr_00000000000000000000000000"] {
            let answer = release(&lark, &id, bad).await;
            assert_eq!((answer.status, answer.code()), (StatusCode::BAD_REQUEST, "invalid".into()), "{bad}");
        }
        // Whether there is such an organization is not told.
        let nobody = release(&lark, &id, "org_00000000000000000000000000").await;
        assert_eq!(nobody.status, StatusCode::CREATED);
        let stranger = moss.browser.post(&lark.api(&format!("/integrations/{id}/transfer")), json!({"organization_id": moss.org})).await;
        assert_eq!(stranger.status, StatusCode::NOT_FOUND);
        let own_id = release(&moss, &id, &lark.org).await;
        assert_eq!(own_id.status, StatusCode::NOT_FOUND, "another organization's connection");
    }

    async fn an_installation_that_begins_at_shopify_is_bound_only_by_the_person_who_chooses_and_confirms(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        let calls = scene.calls().await;
        let query = install_query(&scene, &LARK.shop(), &scene.settings.shopify_api_secret);
        for path in [format!("/install/shopify?{query}"), format!("/?{query}")] {
            let begun = lark.browser.get(&path).await;
            assert_eq!(begun.status, StatusCode::SEE_OTHER);
            let choose = begun.location.unwrap();
            // Nobody is signed in: log in first, and come back to it.
            let stranger = scene.browser().get(&choose).await;
            assert!(stranger.location.as_deref().unwrap().starts_with("/login?next=%2Finstall%2Fshopify%2Fchoose"), "{stranger:?}", stranger = stranger.location);
            let page = lark.browser.get(&choose).await;
            assert_eq!(page.status, StatusCode::OK);
            assert!(page.text.contains("Lark Supply") && page.text.contains("lark-supply.myshopify.com"));
            let confirm = format!("/orgs/{}/integrations/shopify/connect?shop=lark-supply.myshopify.com", lark.org);
            assert!(page.text.contains(&confirm), "{}", page.text);
            assert!(lark.browser.get(&confirm).await.text.contains("Continue to Shopify"));
        }
        assert!(lark.list("/integrations").await.is_empty(), "nothing is bound by the request");
        assert_eq!(scene.calls().await, calls);
        lark.connect_shopify(LARK.label).await;
        let again = lark.browser.get(&format!("/install/shopify?{query}")).await.location.unwrap();
        assert!(lark.browser.get(&again).await.text.contains("Connected here"));
    }

    async fn an_installation_that_shopify_did_not_sign_or_signed_long_ago_leads_nowhere(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.tenant("Lark Supply").await;
        let secret = &scene.settings.shopify_api_secret;
        let good = install_query(&scene, &LARK.shop(), secret);
        let forged = install_query(&scene, &LARK.shop(), "another secret");
        let evil = install_query(&scene, "evil.example", secret);
        let twice = format!("{good}&shop={}", FERN.shop());
        let old = shopify_query(secret, &[("shop", &LARK.shop()), ("timestamp", "1700000000")]);
        for query in [forged, evil, twice, old, String::new(), format!("shop={}", LARK.shop())] {
            let answer = lark.browser.get(&format!("/install/shopify?{query}")).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        }
        let choose = lark.browser.get(&format!("/install/shopify?{good}")).await.location.unwrap();
        for wrong in [choose.replace("lark-supply", "fern-goods"), choose.replace("mark=", "mark=0"), "/install/shopify/choose".into()] {
            assert_eq!(lark.browser.get(&wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
        }
        scene.pass_time(1_900);
        assert_eq!(lark.browser.get(&choose).await.status, StatusCode::BAD_REQUEST, "too old");
    }

    async fn while_shopifys_secret_is_rotated_both_count_for_webhooks_callbacks_and_installations(db: TestDb) {
        const FORMER: &str = "a-former-app-secret-of-the-platform-0001";
        let scene = Scene::with(db, &[("SHOPIFY_API_SECRET_PREVIOUS", FORMER)]).await;
        let lark = scene.tenant("Lark Supply").await;
        let current = scene.settings.shopify_api_secret.clone();
        // The return from Shopify, signed anew by the test with the one or the other.
        for (secret, connected) in [("neither of the two", false), (FORMER, true), (current.as_str(), true)] {
            let url = lark.begin("shopify", &format!("&shop={}", LARK.label)).await;
            let back = Walk::approve().through(&url).await.expect("the shop's owner installs the app");
            let back = url::Url::parse(&back).expect("an address");
            let pairs: Vec<(String, String)> =
                back.query_pairs().into_owned().filter(|(n, _)| n != "hmac" && n != "host").collect();
            let pairs: Vec<(&str, &str)> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let done = lark.come_back(&format!("{}?{}", back.path(), shopify_query(secret, &pairs))).await;
            let ends = done.location.expect("a redirect");
            assert_eq!(ends.ends_with("?shopify=connected"), connected, "{ends}");
            let opened = lark.browser.get(&format!("/install/shopify?{}", install_query(&scene, &LARK.shop(), secret))).await;
            assert_eq!(opened.status == StatusCode::SEE_OTHER, connected, "{secret}");
            let body = r#"{"id":1}"#;
            let (signature, id) = (crate::wire::shopify_signature_by(secret, body), format!("hook {}", secret.len()));
            let told = crate::wire::shopify(&scene, "orders/updated", &LARK.shop(), &id.replace(' ', "-"), body, Some(signature)).await;
            assert_eq!(told.status == StatusCode::OK, connected, "{secret}");
        }
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }

    async fn the_page_of_a_connection_tells_all_there_is_and_stays_after_its_end(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let moss = scene.tenant("Moss Market").await;
        scene.write(LARK.page, "Bo", "hello").await;
        for (provider, needles) in [
            ("shopify", ["lark-supply.myshopify.com", "reach AgenStack", "read_orders", "The account was connected."]),
            ("messenger", ["Page 100000000000001", "message.text", "pages_messaging", "has no end of its own"]),
            ("kustomer", ["lark-supply", "OAuth", "reach AgenStack", "By you"]),
        ] {
            let id = id_of(&lark, provider).await;
            let path = format!("/orgs/{}/integrations/{id}", lark.org);
            let page = lark.browser.get(&path).await;
            for needle in needles {
                assert!(page.text.contains(needle), "{provider}: {needle}\n{}", page.text);
            }
            let tested = lark.browser.form(&format!("{path}/test"), &[("back", "connection")]).await;
            assert!(tested.text.contains("answers") && tested.text.contains("How it came to be so"), "{}", tested.text);
            assert_eq!(moss.browser.get(&path).await.status, StatusCode::NOT_FOUND);
            assert_eq!(moss.browser.get(&format!("/orgs/{}/integrations/{id}", moss.org)).await.status, StatusCode::NOT_FOUND);
            lark.browser.send(Method::DELETE, &lark.api(&format!("/integrations/{id}")), None).await;
            let after = lark.browser.get(&path).await.text;
            assert!(after.contains("Connect it again") && after.contains("The account was disconnected here."), "{after}");
            let list = lark.browser.get(&format!("/orgs/{}/integrations", lark.org)).await.text;
            assert!(list.contains(&format!("/integrations/{id}")), "what has ended is still found");
        }
    }
}
