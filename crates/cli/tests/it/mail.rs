//! What owners and admins are told when a connection stops: on every page, and by mail.

use crate::scene::{FERN, LARK, Scene, Tenant};
use agenstack_core::clock::Clock;
use agenstack_core::id::{OrgId, UserId};
use agenstack_core::policy::Role;
use agenstack_store::both_databases;
use agenstack_store::global::outbox::Mail;
use reqwest::{Method, StatusCode};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// A mail server on this machine: keeps what it is given, and refuses as often as it is told.
#[derive(Clone, Default)]
struct Post {
    mails: Arc<Mutex<Vec<String>>>,
    refuse: Arc<AtomicUsize>,
}

impl Post {
    async fn open() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let post = Self::default();
        let opened = post.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(opened.clone().serve(stream));
            }
        });
        (post, url)
    }

    async fn serve(self, stream: TcpStream) {
        let mut lines = BufReader::new(stream);
        let _ = lines.write_all(b"220 post ready\r\n").await;
        let mut line = String::new();
        while lines.read_line(&mut line).await.is_ok_and(|n| n > 0) {
            let verb = line.split_whitespace().next().unwrap_or_default().to_uppercase();
            let refused = verb == "MAIL"
                && self.refuse.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1)).is_ok();
            let answer = match verb.as_str() {
                "EHLO" => "250 post\r\n",
                "MAIL" if refused => "451 later\r\n",
                "DATA" => "354 go on\r\n",
                "QUIT" => "221 bye\r\n",
                _ => "250 ok\r\n",
            };
            if lines.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
            if verb == "DATA" {
                let mut text = String::new();
                loop {
                    line.clear();
                    if lines.read_line(&mut line).await.is_ok_and(|n| n > 0) && line != ".\r\n" {
                        text += &line;
                    } else {
                        break;
                    }
                }
                self.mails.lock().unwrap().push(text);
                let _ = lines.write_all(b"250 taken\r\n").await;
            }
            line.clear();
        }
    }

    fn mails(&self) -> Vec<String> {
        self.mails.lock().unwrap().clone()
    }
}

/// Another person in an organization.
async fn member(scene: &Scene, tenant: &Tenant, name: &str, role: Role) {
    let other = scene.tenant(name).await;
    let me = other.browser.get("/api/me").await.json();
    let id = UserId::parse(me["user"]["id"].as_str().unwrap()).unwrap();
    let mut tx = scene.db.store.global().await.unwrap();
    tx.membership_add(&OrgId::parse(&tenant.org).unwrap(), &id, role, scene.clock.now()).await.unwrap();
    tx.commit().await.unwrap();
}

async fn outbox(scene: &Scene) -> Vec<Mail> {
    scene.db.store.global_read().await.unwrap().outbox_list(None, 99).await.unwrap()
}

/// The shop's tokens are dead, and that was found when they were to be renewed.
async fn break_shop(scene: &Scene) {
    scene.control(Method::POST, &format!("/shopify/{}/revoke-tokens", LARK.shop()), None).await;
    scene.pass_time(3_700);
    scene.care().await;
}

/// The emulated shop tells real time: whoever connects it comes back to it.
async fn reconnect(scene: &Scene, tenant: &Tenant, passed: i64) {
    scene.pass_time(-passed);
    tenant.connect_shopify(LARK.label).await;
}

both_databases! {
    async fn owners_and_admins_get_one_mail_each_and_nobody_else_does(db: TestDb) {
        let (post, url) = Post::open().await;
        let settings = [("AGENSTACK_SMTP_URL", url.as_str()), ("AGENSTACK_MAIL_FROM", "AgenStack <post@example.com>")];
        let scene = Scene::with(db, &settings).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        for (name, role) in [("Admin", Role::Admin), ("Agent", Role::Agent), ("Viewer", Role::Viewer)] {
            member(&scene, &lark, name, role).await;
        }
        break_shop(&scene).await;
        scene.settle().await;
        assert!(post.mails().is_empty(), "what is mended at once is not told");
        // The server does not take the first ones; they are tried again, and come once.
        post.refuse.store(3, Ordering::SeqCst);
        for _ in 0..6 {
            scene.pass_time(40);
            scene.settle().await;
        }
        let mails = post.mails();
        assert_eq!(mails.len(), 2, "{mails:?}");
        for to in ["lark.supply@example.com", "admin@example.com"] {
            let mail = mails.iter().find(|m| m.contains(&format!("To: {to}"))).expect("one for each");
            assert!(mail.contains("Subject: Shopify needs reconnecting: lark-supply.myshopify.com"), "{mail}");
            let unfolded = mail.replace("=\r\n", "");
            assert!(unfolded.contains("/integrations/int_") && unfolded.contains("choose Reconnect"), "{mail}");
        }
        assert!(outbox(&scene).await.iter().all(|m| m.state == "sent"));
        // Somebody reconnects, and it breaks again for the same reason on the same day: nobody is written to again.
        reconnect(&scene, &lark, 3_700 + 240).await;
        break_shop(&scene).await;
        for _ in 0..8 {
            scene.pass_time(40);
            scene.settle().await;
        }
        assert_eq!(post.mails().len(), 2);
        assert_eq!(fern.integration("shopify").await["status"], "connected");
    }

    async fn what_was_reconnected_before_the_mail_was_written_is_not_told(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        break_shop(&scene).await;
        reconnect(&scene, &lark, 3_700).await;
        scene.pass_time(4_000);
        scene.settle().await;
        assert!(outbox(&scene).await.is_empty());
    }

    async fn without_a_mail_server_mails_are_kept(db: TestDb) {
        let scene = Scene::on(db).await;
        let _lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/uninstall", LARK.shop()), None).await;
        scene.settle().await;
        scene.pass_time(60);
        scene.settle().await;
        let mails = outbox(&scene).await;
        assert_eq!(mails.len(), 1, "{mails:?}");
        assert_eq!((mails[0].state.as_str(), mails[0].subject.as_str()), ("kept", "Shopify was removed: lark-supply.myshopify.com"));
        assert!(mails[0].body.contains("connect it at") && mails[0].body.contains("uninstalled at the shop"), "{}", mails[0].body);
    }

    async fn the_operator_reads_numbers_and_kept_mails_by_password_and_nobody_else_does(db: TestDb) {
        const PASSWORD: &str = "of the operator: 0123456789";
        let scene = Scene::with(db, &[("AGENSTACK_OPERATOR_PASSWORD", PASSWORD)]).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        scene.write(LARK.page, "Bo Canary", "where is my parcel?").await;
        scene.control(Method::POST, &format!("/shopify/{}/uninstall", LARK.shop()), None).await;
        scene.settle().await;
        scene.pass_time(60);
        scene.settle().await;
        let url = format!("{}/operator", scene.product);
        let read = async |password: Option<&str>| {
            let request = scene.http.get(&url);
            let request = match password {
                Some(password) => request.basic_auth("anybody", Some(password)),
                None => request,
            };
            scene.browser().finish(request).await
        };
        let page = read(Some(PASSWORD)).await;
        assert_eq!(page.status, StatusCode::OK, "{}", page.text);
        for part in ["lark.supply@example.com", "Shopify was removed: lark-supply.myshopify.com", "kept", "AGENSTACK_SMTP_URL"] {
            assert!(page.text.contains(part), "{part}: {}", page.text);
        }
        assert!(!page.text.contains("Bo Canary") && !page.text.contains("parcel"), "no customer");
        for wrong in [None, Some(""), Some("of the operator: 0123456788"), Some("of the operator: 0123456789 ")] {
            let refused = read(wrong).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{wrong:?}");
            assert!(!refused.text.contains("lark"), "{}", refused.text);
        }
        assert_eq!(lark.browser.get("/operator").await.status, StatusCode::UNAUTHORIZED, "a member is no operator");
        // Two seconds bring one more try: among many in a row most are refused, a right guess too.
        let mut refused = [0, 0];
        for (guess, refused) in ["guessed", PASSWORD].into_iter().zip(&mut refused) {
            for _ in 0..80 {
                *refused += usize::from(read(Some(guess)).await.status == StatusCode::TOO_MANY_REQUESTS);
            }
        }
        assert!(refused[0] > 0 && refused[1] > 0, "{refused:?}");
    }

    async fn without_a_password_there_is_no_operators_page(db: TestDb) {
        let scene = Scene::on(db).await;
        assert_eq!(scene.browser().get("/operator").await.status, StatusCode::NOT_FOUND);
    }

    async fn a_pause_is_told_only_when_it_lasts(db: TestDb) {
        let scene = Scene::on(db).await;
        let _lark = scene.connected("Lark Supply", LARK).await;
        scene.control(Method::POST, &format!("/shopify/{}/freeze", LARK.shop()), None).await;
        scene.write(LARK.page, "Bo", "order #1001 ana@example.com").await;
        scene.pass_time(3_600);
        scene.settle().await;
        assert!(outbox(&scene).await.is_empty());
        scene.pass_time(86_400);
        scene.settle().await;
        let mails = outbox(&scene).await;
        assert!(mails.len() == 1 && mails[0].body.contains("has been paused for a day"), "{mails:?}");
    }

    async fn every_page_says_what_stands_still_until_it_is_mended_and_only_at_its_own_organization(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let fern = scene.connected("Fern Goods", FERN).await;
        let pages = |tenant: &Tenant| ["", "/inbox", "/integrations", "/events"].map(|p| format!("/orgs/{}{p}", tenant.org));
        let banner = "Connections that stand still";
        for page in pages(&lark) {
            assert!(!lark.browser.get(&page).await.text.contains(banner), "{page}");
        }
        break_shop(&scene).await;
        scene.write(LARK.page, "Bo", "hello").await;
        for page in pages(&lark) {
            let text = lark.browser.get(&page).await.text;
            assert!(text.contains(banner) && text.contains("Shopify: lark-supply.myshopify.com"), "{page}");
            assert!(text.contains("/reconnect\">Reconnect"), "{page}");
        }
        for page in pages(&fern) {
            assert!(!fern.browser.get(&page).await.text.contains(banner), "{page}");
        }
        // Who may not mend it reads whom to ask.
        member(&scene, &fern, "Nobody", Role::Viewer).await;
        let mut tx = scene.db.store.global().await.unwrap();
        let fern_user = fern.browser.get("/api/me").await.json()["user"]["id"].as_str().unwrap().to_owned();
        tx.membership_add(&OrgId::parse(&lark.org).unwrap(), &UserId::parse(&fern_user).unwrap(), Role::Viewer, scene.clock.now()).await.unwrap();
        tx.commit().await.unwrap();
        let text = fern.browser.get(&format!("/orgs/{}/inbox", lark.org)).await.text;
        assert!(text.contains("Ask an owner or admin") && !text.contains("/reconnect\""), "{text}");
        reconnect(&scene, &lark, 3_700).await;
        for page in pages(&lark) {
            assert!(!lark.browser.get(&page).await.text.contains(banner), "{page}");
        }
    }

    async fn messages_that_wait_for_a_page_are_counted(db: TestDb) {
        let scene = Scene::on(db).await;
        let lark = scene.connected("Lark Supply", LARK).await;
        let signed = scene.control(Method::GET, "/messenger/signed-request/lena", None).await;
        let url = format!("{}/api/webhooks/messenger/deauthorize", scene.product);
        let form = [("signed_request", signed["signed_request"].as_str().unwrap())];
        let done = scene.browser().finish(scene.http.post(url).form(&form)).await;
        assert_eq!(done.status, StatusCode::OK);
        scene.control(Method::POST, "/messages", Some(json!({"page_id": LARK.page, "from": "Bo", "text": "hello"}))).await;
        scene.settle().await;
        let text = lark.browser.get(&format!("/orgs/{}/inbox", lark.org)).await.text;
        assert!(text.contains("1 message waits."), "{text}");
    }
}
