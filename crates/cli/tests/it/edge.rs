//! What arrives at the webhooks over the wire itself: bodies that lie about their length, that are too large, too slow or cut
//! off, and headers past their bounds. Each gets an answer in the shape of all errors or none, nothing of it is stored, and
//! the server goes on.

use crate::scene::{LARK, Scene};
use crate::wire::{delivery, message, messenger_signed, meta_signature};
use agenstack_store::both_databases;
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Says something to the server; gives the first answer's status and error, or nothing where the connection is closed.
async fn said(scene: &Scene, text: impl AsRef<[u8]>, then_close: bool) -> Option<(u16, Value)> {
    let address = scene.product.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The server may have closed it before all was said.
    let _ = stream.write_all(text.as_ref()).await;
    if then_close {
        let _ = stream.shutdown().await;
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    // Of several answers on one connection the first.
    let body = rest.split("HTTP/1.1 ").next().unwrap();
    Some((status, serde_json::from_str(body).unwrap_or_default()))
}

fn head(scene: &Scene, body: &str, lengths: &str) -> String {
    let (name, signature) = meta_signature(scene, body);
    format!("POST /api/webhooks/messenger HTTP/1.1\r\nHost: x\r\n{name}: {signature}\r\n{lengths}\r\n\r\n")
}

both_databases! {
    async fn a_body_that_is_not_what_it_says_is_refused_in_the_shape_of_all_errors_and_stores_nothing(db: TestDb) {
        let scene = Scene::on(db).await;
        let v = scene.connected("V", LARK).await;
        let before = v.list("/events").await.len();
        let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_lie", "hello")]).to_string();
        let length = body.len();
        let chunked = format!("{length:x}\r\n{body}\r\n");
        let close = "Connection: close";
        let cases = [
            ("shorter than it says", format!("Content-Length: {}", length + 1), body.clone(), Some((400, "invalid"))),
            ("longer than it says", format!("Content-Length: {}\r\n{close}", length - 1), body.clone(), Some((401, "signature"))),
            ("nothing of it", format!("Content-Length: {length}"), String::new(), Some((400, "invalid"))),
            ("no length at all", close.to_owned(), body.clone(), Some((401, "signature"))),
            ("chunks without an end", "Transfer-Encoding: chunked".to_owned(), chunked, Some((400, "invalid"))),
            ("a chunk that is none", "Transfer-Encoding: chunked".to_owned(), "zz\r\n".to_owned(), Some((400, "invalid"))),
            ("a length below nothing", "Content-Length: -5".to_owned(), body.clone(), Some((400, ""))),
            ("two lengths", format!("Content-Length: {length}\r\nContent-Length: 1"), body.clone(), Some((400, ""))),
            ("a gibibyte", "Content-Length: 1073741824".to_owned(), body.clone(), Some((413, "too_large"))),
        ];
        for (what, lengths, sent, expected) in cases {
            let text = head(&scene, &body, &lengths) + &sent;
            let answer = said(&scene, text, true).await;
            let told = answer.as_ref().map(|(status, error)| (*status, error["error"]["code"].as_str().unwrap_or_default()));
            assert_eq!(told, expected, "{what}: {answer:?}");
        }
        // Chunks that go on for ever are read as far as the bound.
        let endless = format!("10000\r\n{}\r\n", "x".repeat(0x10000)).repeat(20);
        let text = head(&scene, &body, "Transfer-Encoding: chunked") + &endless;
        let (status, error) = said(&scene, text, false).await.expect("an answer");
        assert_eq!((status, error["error"]["code"].as_str()), (413, Some("too_large")));
        assert_eq!(v.list("/events").await.len(), before);
        // In chunks it is as good as in one.
        let halves = body.split_at(length / 2);
        let text = head(&scene, &body, &format!("Transfer-Encoding: chunked\r\n{close}"))
            + &[halves.0, halves.1].map(|h| format!("{:x}\r\n{h}\r\n", h.len())).concat() + "0\r\n\r\n";
        assert_eq!(said(&scene, text, false).await.expect("an answer").0, 200);
        assert_eq!(v.list("/events").await.len(), before + 1);
    }

    async fn a_body_that_stops_half_way_is_told_so_after_five_seconds_while_others_are_accepted(db: TestDb) {
        let scene = Scene::on(db).await;
        scene.connected("V", LARK).await;
        let body = delivery(LARK.page, &[message(LARK.page, "7000000000000001", "m_half", "hello")]).to_string();
        let text = head(&scene, &body, &format!("Content-Length: {}", body.len())) + &body[..20];
        let began = Instant::now();
        let slow = said(&scene, text, false);
        let well = delivery(LARK.page, &[message(LARK.page, "7000000000000002", "m_well", "hello")]);
        let (slow, well) = tokio::join!(slow, async { (messenger_signed(&scene, &well).await, began.elapsed()) });
        let (status, error) = slow.expect("an answer");
        assert_eq!((status, error["error"]["code"].as_str()), (408, Some("timed_out")));
        assert!(error["error"]["request_id"].is_string(), "{error}");
        assert!(began.elapsed() >= Duration::from_secs(5), "{:?}", began.elapsed());
        assert_eq!(well.0, 200);
        assert!(well.1 < Duration::from_secs(5), "{:?}", well.1);
    }
}
