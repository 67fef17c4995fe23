//! Organizations for measuring, by the built program.

use crate::scene::{Scene, environment};
use crate::wire;
use agenstack_store::both_databases;
use std::process::{Command, Output};

/// The path of the built program's command, with the settings of a scene.
async fn seed(scene: &Scene, n: &str) -> Output {
    let settings = environment(&scene.settings, &scene.db.url);
    let mut command = Command::new(env!("CARGO_BIN_EXE_agenstack"));
    command.env_clear().envs(settings).args(["seed", "--organizations", n]);
    tokio::task::spawn_blocking(move || command.output().expect("the program starts")).await.expect("it ends")
}

both_databases! {
    async fn an_empty_database_is_filled_so_that_signed_deliveries_find_their_owners_and_a_full_one_is_left_alone(db: TestDb) {
        let scene = Scene::on(db).await;
        let done = seed(&scene, "230").await;
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(String::from_utf8_lossy(&done.stdout).ends_with("230 of 230 organizations\n"));
        let mut read = scene.db.store.global_read().await.unwrap();
        use agenstack_core::integration::Provider;
        for (provider, account) in [
            (Provider::Shopify, "shop-00001.myshopify.com"), (Provider::Shopify, "shop-00230.myshopify.com"),
            (Provider::Messenger, "100000000000001"), (Provider::Messenger, "100000000000230"),
        ] {
            assert!(read.route_by_account(provider, account).await.unwrap().is_some(), "{account}");
        }
        for (provider, account) in [(Provider::Shopify, "shop-00231.myshopify.com"), (Provider::Messenger, "100000000000000")] {
            assert!(read.route_by_account(provider, account).await.unwrap().is_none(), "{account}");
        }
        drop(read);
        let body = r#"{"id":7,"name":"1001"}"#;
        let signature = wire::shopify_signature(&scene, body);
        let told = wire::shopify(&scene, "orders/updated", "shop-00120.myshopify.com", "hook-1", body, Some(signature)).await;
        assert_eq!(told.status, 200);
        scene.settle().await;
        let again = seed(&scene, "1").await;
        assert_eq!(again.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&again.stderr).contains("empty database only"));
    }
}
