//! Strangers hold connections, open more than there is room for, and send what is no HTTP: rows 15 to 18 of the experiments.
//! While they do, what providers deliver is accepted.

use super::ledger::{Ledger, drained};
use super::load::Load;
use super::node::{Node, Stage};
use super::{Dice, tell, times};
use crate::scene::client;
use crate::wire::{delivery, message, meta_signature_by};
use agenstack_store::testing::{TestDb, postgres, sqlite};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const ORGANIZATIONS: usize = 10;
/// Few: what they send is also worked on before a test ends.
const LINES: usize = 4;
const SOME: usize = 60;
/// Connections that are opened at once: the system lets 128 wait, and lets go of others.
const WAVE: usize = 100;
/// A machine that does other things as well is late. Who is never let go is later than that.
const LATE: Duration = Duration::from_secs(40);
/// Whoever is served at all is served before that.
const PATIENCE: Duration = Duration::from_secs(60);

/// This process holds the other end of every connection.
fn many_files() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).expect("the own limit can be raised");
}

fn address(node: &Node) -> SocketAddr {
    node.at.trim_start_matches("http://").parse().expect("an address")
}

/// What they begin with, a byte that they go on with each second, and when the server has to let go of them.
fn slow(n: usize) -> (&'static str, bool, Duration) {
    let (ten, five) = (Duration::from_secs(10), Duration::from_secs(5));
    match n % 6 {
        0 => ("", false, ten),
        1 => ("POST /api/webhooks/shopify HTTP/1.1\r\nHost: x\r\nX-Slow: ", true, ten),
        2 => ("PRI * HTT", false, ten),
        3 => ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0", false, ten),
        4 => ("POST /api/webhooks/shopify HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n", true, five),
        _ => {
            let begun =
                "POST /api/webhooks/messenger HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n";
            (begun, false, five)
        }
    }
}

/// Holds one connection for as long as it may; gives how much longer than it should that was.
async fn hold(to: SocketAddr, n: usize) -> Duration {
    let (begun, drips, due) = slow(n);
    // The server may have it before this side is told, and later than this side begins: its time is never shorter than ours.
    let opened = Instant::now();
    let stream = TcpStream::connect(to).await.expect("it listens");
    let (mut reading, mut writing) = stream.into_split();
    // A reset is an end as well.
    let _ = writing.write_all(begun.as_bytes()).await;
    let dripping = async {
        let mut second = tokio::time::interval(Duration::from_secs(1));
        while drips && writing.write_all(b"x").await.is_ok() {
            second.tick().await;
        }
        std::future::pending::<()>().await
    };
    let mut said = Vec::new();
    tokio::select! {
        _ = reading.read_to_end(&mut said) => {}
        () = dripping => {}
    }
    let said = String::from_utf8_lossy(&said);
    assert!(!said.contains("HTTP/1.1 200"), "{begun:?}: {said}");
    let held = opened.elapsed();
    assert!(held >= due, "{begun:?} was let go after {held:?} already: {said:?}");
    held.saturating_sub(due)
}

/// A delivery on a connection of its own; gives how long its answer took.
async fn fresh(stage: &Stage, node: &Node, n: usize) -> Duration {
    let page = (100_000_000_000_001_u64 + n as u64 % ORGANIZATIONS as u64).to_string();
    let mid = format!("m_fresh_{n}");
    let body = delivery(&page, &[message(&page, "7999999999999999", &mid, &mid)]).to_string();
    let (name, signature) = meta_signature_by(&stage.settings.meta_app_secret, &body);
    let began = Instant::now();
    let mut again = tokio::time::interval(Duration::from_millis(500));
    while began.elapsed() < PATIENCE {
        again.tick().await;
        let request = client().post(format!("{}/api/webhooks/messenger", node.at)).header(name, &signature);
        // Too much for this machine just now, or let go for being late itself: as a provider does, it comes again.
        let Ok(answer) = request.timeout(PATIENCE).body(body.clone()).send().await else { continue };
        if answer.status() == 200 {
            return began.elapsed();
        }
        assert_eq!(answer.status(), 503);
        assert!(answer.headers().contains_key("retry-after"));
    }
    panic!("not accepted within {PATIENCE:?}");
}

/// How much memory it takes at most, looked at now and then.
struct Watch {
    node: Node,
    most: (u64, usize),
}

impl Watch {
    fn look(&mut self) {
        let (resident, files) = self.node.takes();
        self.most = (self.most.0.max(resident), self.most.1.max(files));
    }
}

async fn ends_well(running: super::load::Running, store: &agenstack_store::Store) {
    let load = running.stop().await;
    drained(store).await;
    let ledger: &Ledger = &load.ledger;
    let (count, silences) = (ledger.count(), ledger.silences());
    tell(&format!("{count} acknowledged, {} told to come again, {silences} not answered", ledger.refusals()));
    // A line that paused may find its connection closed just when it sends again, as any client may, and sends once more.
    assert!(silences * 20 <= count, "{silences} without an answer of {count}");
    ledger.audit(store).await.holds();
}

async fn held(db: TestDb) {
    many_files();
    let sockets = times("AGENSTACK_TEST_SOCKETS", 2_000);
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let node = Node::start(&stage, None).await;
    let nodes = [node];
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let [node] = nodes;
    let ledger = &running.load.clone().ledger;
    let usual = ledger.more(SOME).await;
    ledger.measure();
    let mut watch = Watch { most: (0, 0), node };
    assert!(!watch.node.has_large_pages(), "what is not used of a large page counts as the process's");
    let (before, accepted) = (watch.node.takes(), ledger.count());
    let mut held = JoinSet::new();
    let (mut late, mut meanwhile) = (Duration::ZERO, Duration::ZERO);
    let mut look = tokio::time::interval(Duration::from_millis(200));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let began = Instant::now();
    for n in 0..sockets {
        held.spawn(hold(address(&watch.node), n));
        if n % WAVE == WAVE - 1 {
            // Who comes last is accepted last: the system's queue is empty then, and none of them falls out of it.
            meanwhile = meanwhile.max(fresh(&stage, &watch.node, n).await);
        }
    }
    loop {
        tokio::select! {
            // All that have ended, before it is looked again.
            biased;
            ended = held.join_next() => match ended {
                Some(by) => late = late.max(by.expect("it was let go in its time")),
                None => break,
            },
            _ = look.tick() => {
                watch.look();
                meanwhile = meanwhile.max(fresh(&stage, &watch.node, sockets + began.elapsed().as_millis() as usize).await);
            }
        }
    }
    let accepted = ledger.count() - accepted;
    let (lasted, (p99, slowest)) = (began.elapsed(), ledger.answers());
    let after = ledger.more(SOME).await;
    tell(&format!(
        "{sockets} slow connections on {}: all let go after {lasted:?}, at most {late:?} after their time; {accepted} events acknowledged \
         meanwhile, answers 99% {p99:?}, slowest {slowest:?}, on new connections {meanwhile:?}; {SOME} acknowledgements {usual:?} before, {after:?} after; memory {} KiB before, {} at most, {} after; \
         files {} before, {} at most",
        db.store.kind(),
        before.0,
        watch.most.0,
        watch.node.takes().0,
        before.1,
        watch.most.1,
    ));
    assert!(late < LATE, "{late:?}");
    assert!(accepted > SOME, "only {accepted} in {lasted:?}");
    assert!(watch.most.1 > before.1 + sockets / 2, "they were there together: {:?}", watch.most);
    assert!(watch.most.0 < before.0 + 200 * 1024, "KiB: {:?}, before {before:?}", watch.most);
    assert!(watch.node.runs());
    ends_well(running, &db.store).await;
}

async fn flooded(db: TestDb) {
    many_files();
    let sockets = times("AGENSTACK_TEST_FLOOD", 2_000);
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    // Half as many connections as are opened, unless the usual bound is lower.
    let node = Node::start(&stage, Some(256 + sockets / 2)).await;
    let nodes = [node];
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let [node] = nodes;
    let ledger = &running.load.clone().ledger;
    let usual = ledger.more(SOME).await;
    ledger.measure();
    let mut watch = Watch { most: (0, 0), node };
    let before = watch.node.takes();
    let (opened, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let mut flood = JoinSet::new();
    for _ in 0..sockets {
        let (to, opened, over) = (address(&watch.node), opened.clone(), over.clone());
        flood.spawn(async move {
            while !over.load(Ordering::SeqCst) {
                // Silent until it is let go, and there again at once.
                if let Ok(mut stream) = TcpStream::connect(to).await {
                    opened.fetch_add(1, Ordering::SeqCst);
                    let _ = stream.read(&mut [0; 64]).await;
                }
            }
        });
    }
    let (mut meanwhile, mut n) = (Duration::ZERO, 0);
    let began = Instant::now();
    // Until each has been let go and come again.
    while n < 5 || opened.load(Ordering::SeqCst) < 2 * sockets {
        assert!(began.elapsed() < 2 * PATIENCE, "{n} rounds, {opened:?} connections");
        ledger.more(SOME / 5).await;
        watch.look();
        meanwhile = meanwhile.max(fresh(&stage, &watch.node, n).await);
        n += 1;
    }
    let lasted = began.elapsed();
    let (p99, slowest) = ledger.answers();
    over.store(true, Ordering::SeqCst);
    flood.shutdown().await;
    let again = fresh(&stage, &watch.node, n).await;
    let after = ledger.more(SOME).await;
    tell(&format!(
        "{sockets} connections at once on {}, {} in all in {lasted:?}: answers meanwhile 99% {p99:?}, slowest {slowest:?}, on new connections \
         {meanwhile:?}; after it {again:?}, and {SOME} acknowledgements {after:?} ({usual:?} before); memory {} KiB before, {} at most, {} \
         after; files {} before, {} at most",
        db.store.kind(),
        opened.load(Ordering::SeqCst),
        before.0,
        watch.most.0,
        watch.node.takes().0,
        before.1,
        watch.most.1,
    ));
    assert!(watch.most.1 <= 256 + sockets / 2, "more files than there are: {:?}", watch.most);
    assert!(watch.most.0 < before.0 + 200 * 1024, "KiB: {:?}, before {before:?}", watch.most);
    assert!(watch.node.runs());
    ends_well(running, &db.store).await;
}

/// A delivery that is signed, as bytes.
fn whole(stage: &Stage, n: usize) -> Vec<u8> {
    let page = "100000000000001";
    let mid = format!("m_bytes_{n}");
    let body = delivery(page, &[message(page, "7888888888888888", &mid, &mid)]).to_string();
    let (name, signature) = meta_signature_by(&stage.settings.meta_app_secret, &body);
    let length = body.len();
    format!("POST /api/webhooks/messenger HTTP/1.1\r\nHost: x\r\n{name}: {signature}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

/// The same with a few things changed: bytes, lines twice or gone, lies about the length.
fn broken(mut bytes: Vec<u8>, dice: &Dice) -> Vec<u8> {
    const WORDS: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"\0",
        b"\r",
        b" ",
        b":",
        b"Content-Length: 7\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"HTTP/2.0",
        b"\xff",
        b"Content-Length: -1\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Expect: 100-continue\r\n",
        b"\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n",
    ];
    for _ in 0..1 + dice.below(4) {
        let at = dice.below(bytes.len());
        match dice.below(5) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes.truncate(at.max(1)),
            2 => {
                let piece = bytes[at..(at + dice.below(80)).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => drop(bytes.drain(at..(at + dice.below(10)).min(bytes.len() - 1).max(at))),
            _ => {
                // Rather where the headers are than in the body.
                let (at, word) = (at.min(dice.below(200)), WORDS[dice.below(WORDS.len())]);
                bytes.splice(at..at, word.iter().copied());
            }
        }
    }
    bytes
}

async fn garbled(db: TestDb) {
    let (requests, dice) = (times("AGENSTACK_TEST_MALFORMED", 1_000), Dice::new());
    let stage = Stage::new(&db.url, ORGANIZATIONS).await;
    let node = Node::start(&stage, None).await;
    let nodes = [node];
    let running = Load::new(&stage, &nodes, ORGANIZATIONS).run(LINES);
    let [mut node] = nodes;
    running.load.ledger.more(SOME).await;
    let (before, to) = (node.takes(), address(&node));
    let mut seen = std::collections::BTreeMap::<String, usize>::new();
    let mut at_once = JoinSet::new();
    for n in 0..requests {
        let sent = match n % 20 {
            // Eight MiB, in chunks and with a length.
            0 => [
                &b"POST /api/webhooks/shopify HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n800000\r\n"[..],
                &[b'x'; 1 << 23],
            ]
            .concat(),
            1 => [
                &b"POST /api/webhooks/shopify HTTP/1.1\r\nContent-Length: 8388608\r\n\r\n"[..],
                &[b'x'; 1 << 23],
            ]
            .concat(),
            _ => broken(whole(&stage, n), &dice),
        };
        at_once.spawn(async move {
            let mut stream = TcpStream::connect(to).await.expect("it listens");
            // It may be closed before all is said.
            let _ = stream.write_all(&sent).await;
            let _ = stream.shutdown().await;
            let mut said = Vec::new();
            let read = tokio::time::timeout(Duration::from_secs(40), stream.read_to_end(&mut said)).await;
            assert!(read.is_ok(), "nobody answers and nobody hangs up: {:?}", String::from_utf8_lossy(&sent));
            let status = String::from_utf8_lossy(&said).split(' ').nth(1).unwrap_or("closed").to_owned();
            (status, sent)
        });
        if at_once.len() >= 32 {
            let (status, sent) = at_once.join_next().await.expect("some run").expect("it is answered");
            judge(&mut seen, status, &sent);
        }
    }
    while let Some(ended) = at_once.join_next().await {
        let (status, sent) = ended.expect("it is answered");
        judge(&mut seen, status, &sent);
    }
    running.load.ledger.more(SOME).await;
    tell(&format!(
        "{requests} malformed or lying requests on {}: {seen:?}; memory {} KiB before, {} after",
        db.store.kind(),
        before.0,
        node.takes().0
    ));
    assert!(seen.len() > 3 && seen["400"] > 0, "{seen:?}");
    assert!(node.takes().0 < before.0 + 100 * 1024, "KiB: {:?}, before {before:?}", node.takes());
    assert!(node.runs());
    ends_well(running, &db.store).await;
}

fn judge(seen: &mut std::collections::BTreeMap<String, usize>, status: String, sent: &[u8]) {
    // A change that says the same, or a delivery whose signature was not touched, is as good as any.
    let known =
        ["closed", "100", "200", "400", "401", "403", "404", "405", "408", "413", "414", "431", "503"];
    let beginning = String::from_utf8_lossy(&sent[..sent.len().min(600)]);
    assert!(known.contains(&status.as_str()), "{status}: {beginning:?}");
    *seen.entry(status).or_default() += 1;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_thousands_hold_their_connections_with_a_byte_a_second_deliveries_are_accepted_on_sqlite() {
    held(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn while_thousands_hold_their_connections_with_a_byte_a_second_deliveries_are_accepted_on_postgres() {
    held(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_past_the_bound_is_survived_and_over_when_it_ends_on_sqlite() {
    flooded(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_connections_past_the_bound_is_survived_and_over_when_it_ends_on_postgres() {
    flooded(postgres().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_http_or_lies_about_its_body_is_refused_and_the_others_are_served_on_sqlite() {
    garbled(sqlite().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_no_http_or_lies_about_its_body_is_refused_and_the_others_are_served_on_postgres() {
    garbled(postgres().await).await;
}
