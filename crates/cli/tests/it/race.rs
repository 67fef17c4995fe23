//! Two nodes over one database and one expired token: exactly one refresh, and everybody adopts it.

use crate::scene::{LARK, Scene, environment};
use agenstack::config::{Config, Sources};
use agenstack::wiring::{Role, World, providers, start};
use agenstack_app::{integration, token};
use agenstack_core::ctx::{Actor, OrgCtx, QueuedFor};
use agenstack_core::entropy::OsEntropy;
use agenstack_core::id::OrgId;
use agenstack_core::integration::ShopDomain;
use agenstack_providers::Http;
use agenstack_store::both_databases;
use futures::future::join_all;
use reqwest::Method;
use std::sync::Arc;

/// Rounds of each run of this test; the figure of many more is in `docs/performance.md`.
const ROUNDS: i64 = 25;
const CALLERS: usize = 20;

both_databases! {
    async fn twenty_callers_on_two_nodes_make_one_refresh_each_round_and_none_meets_a_stale_token(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        // A second node: its own pools, its own caches, its own locks; the same database, providers and clock.
        let mut settings = environment(&scene.settings, &scene.db.url);
        settings.insert("AGENSTACK_PUBLIC_URL".into(), scene.product.clone());
        let config = Config::load(&Sources::from_environment(settings)).unwrap();
        let world = World { clock: scene.clock.clone(), entropy: Arc::new(OsEntropy), http: Http::new() };
        let other = start(&config, Role::Web, None, world).await.unwrap();
        // The cheapest call there is: the emulated shop counts what each costs.
        let shopify = providers(&config, &Http::new()).unwrap().shopify.unwrap();
        let shop = ShopDomain::parse(&LARK.shop()).unwrap();

        let org = QueuedFor::row(OrgId::parse(&lark.org).unwrap());
        let id = lark.integration("shopify").await["id"].as_str().unwrap().to_owned();
        for round in 0..ROUNDS {
            scene.pass_time(3_600);
            scene.control(Method::DELETE, "/received", None).await;
            let callers = (0..CALLERS).map(|n| {
                let app = if n % 2 == 0 { scene.running.app.clone() } else { other.app.clone() };
                let (org, id) = (OrgCtx::from_queue(app.ctx(Actor::Worker), &org), id.clone());
                let (shopify, shop) = (&shopify, &shop);
                async move {
                    let it = integration::get(&app, &org, &id).await?;
                    token::call(&app, &org, &it, |t| async move { shopify.granted_scopes(shop, &t).await }).await
                }
            });
            for scopes in join_all(callers).await {
                assert!(scopes.is_ok(), "round {round}: {scopes:?}");
            }
            let calls = scene.received("shopify").await;
            assert_eq!(calls.iter().filter(|c| c.1 == "token.refresh").count(), 1, "round {round}");
            let refused = scene.control(Method::GET, "/received?provider=shopify", None).await;
            assert!(refused.as_array().unwrap().iter().all(|c| c["status"] == 200), "round {round}");
        }
        assert_eq!(lark.integration("shopify").await["status"], "connected");
    }
}
