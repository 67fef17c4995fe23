//! HTTP/1.1.

use super::*;

#[tokio::test(start_paused = true)]
async fn whoever_sends_nothing_half_a_line_or_half_a_preface_is_let_go_after_ten_seconds() {
    let stage = Stage::new();
    for begun in ["", "P", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let (said, elapsed) = stage.said(begun).await;
        assert!(!said.contains("200 OK"), "{begun:?}: {said}");
        took(elapsed, 10);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_drip_in_for_ever_are_let_go_after_ten_seconds_however_many_came_before() {
    let stage = Stage::new();
    for request in [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let (stream, served) = stage.open();
        let (mut reading, mut writing) = tokio::io::split(stream);
        writing.write_all(request).await.unwrap();
        let began = Instant::now();
        let dripping = tokio::spawn(async move {
            let line = b"GET / HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat(&b'x'));
            for byte in line {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if writing.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        });
        let mut said = Vec::new();
        reading.read_to_end(&mut said).await.unwrap();
        took(began.elapsed(), 10);
        assert_eq!(said.is_empty(), request.is_empty());
        served.await.unwrap();
        dripping.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_kept_and_not_used_is_let_go_and_one_that_asks_again_is_served() {
    let stage = Stage::new();
    let (mut stream, served) = stage.open();
    let mut answer = [0; 512];
    for _ in 0..3 {
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let n = stream.read(&mut answer).await.unwrap();
        let text = String::from_utf8_lossy(&answer[..n]);
        assert!(text.starts_with("HTTP/1.1 200 OK") && text.ends_with("127.0.0.1"), "{text}");
        tokio::time::sleep(Duration::from_secs(9)).await;
    }
    let began = Instant::now();
    assert_eq!(stream.read(&mut answer).await.unwrap(), 0);
    took(began.elapsed(), 1);
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn whoever_does_not_read_the_answer_is_let_go_after_thirty_seconds_without_a_byte() {
    let stage = Stage::new();
    let (mut stream, served) = stage.open();
    stream.write_all(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let began = Instant::now();
    // A little is read now and then: the time begins again.
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(20)).await;
        stream.read_exact(&mut [0; 4 * 1024]).await.unwrap();
    }
    served.await.unwrap();
    took(began.elapsed(), 90);
}

#[tokio::test(start_paused = true)]
async fn a_live_stream_without_news_stays_open() {
    let stage = Stage::new();
    let (mut stream, served) = stage.open();
    stream.write_all(b"GET /live HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 4 * 1024];
    let n = stream.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK"));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(600)).await;
        let news = stage.seen.live.lock().unwrap().clone().expect("the stream is open");
        news.send(Bytes::from_static(b"news")).await.unwrap();
        let n = stream.read(&mut answer).await.unwrap();
        assert!(String::from_utf8_lossy(&answer[..n]).contains("news"));
    }
    assert!(!served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn while_places_are_scarce_who_only_waits_has_a_second_and_who_works_has_all_their_time() {
    let stage = Stage::new();
    let (mut idle, idle_served) = stage.open();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    assert_ne!(idle.read(&mut [0; 512]).await.unwrap(), 0);
    let (mut busy, busy_served) = stage.open();
    busy.write_all(b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    stage.seen.begun.notified().await;
    let (_silent, silent_served) = stage.open();
    let began = Instant::now();
    stage.crowded.send_replace(true);
    silent_served.await.unwrap();
    idle_served.await.unwrap();
    took(began.elapsed(), 1);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(!busy_served.is_finished());
    // Whoever asks at once is served in a crowd as well.
    let (said, _) = stage.said("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_before_the_end_is_answered_and_who_is_silent_is_not_waited_for() {
    let stage = Stage::new();
    let (mut stream, served) = stage.open();
    stream.write_all(b"POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhe").await.unwrap();
    stage.seen.begun.notified().await;
    let (_silent, silent_served) = stage.open();
    let began = Instant::now();
    tokio::task::yield_now().await;
    stage.over.send_replace(true);
    silent_served.await.unwrap();
    let waited = began.elapsed();
    took(waited, 1);
    stream.write_all(b"llo").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("hello"), "{said}");
    served.await.unwrap();
    assert_eq!(began.elapsed(), waited);
}

#[tokio::test(start_paused = true)]
async fn what_was_on_its_way_when_the_end_came_is_answered_and_the_answer_says_that_it_is_the_last() {
    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    let stage = Stage::new();
    let (mut kept, _) = stage.open();
    kept.write_all(ASKED).await.unwrap();
    let mut said = [0; 512];
    let n = kept.read(&mut said).await.unwrap();
    let said = String::from_utf8_lossy(&said[..n]);
    assert!(said.starts_with("HTTP/1.1 200 OK") && !said.contains("connection: close"), "{said}");
    let (new, _) = stage.open();
    stage.over.send_replace(true);
    for mut stream in [kept, new] {
        tokio::time::advance(Duration::from_millis(400)).await;
        stream.write_all(ASKED).await.unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK") && said.contains("connection: close"), "{said}");
    }
}

/// What is sent, and how the answer begins; empty where the connection is closed without one.
const MALFORMED: &[(&str, &str)] = &[
    // request lines
    ("GET /\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/0.9\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/3.0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("G\x01T / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET /\x7f HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("\u{feff}GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("\x16\x03\x01\x02\x00\x01\x00\x01\u{fc}\x03\x03\r\n\r\n\r\n\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    // header lines
    ("GET / HTTP/1.1\r\nHost: x\r\nNo-Colon\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost : x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/1.1\r\n: x\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n folded\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rB: c\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    // lengths
    ("POST /body HTTP/1.1\r\nContent-Length: -1\r\n\r\nx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nContent-Length: +1\r\n\r\nx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nContent-Length: 0x1\r\n\r\nx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nContent-Length: 1, 1\r\n\r\nx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\nx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    ("POST /body HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.1 400 Bad Request"),
    // chunks: the handler is told that the body is broken
    (
        "POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nz\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 400 Bad Request",
    ),
    (
        "POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 400 Bad Request",
    ),
    (
        "POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nx\r\n0\r\n\r\n",
        "HTTP/1.1 400 Bad Request",
    ),
    (
        "POST /body HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxxx0\r\n\r\n",
        "HTTP/1.1 400 Bad Request",
    ),
];

#[tokio::test(start_paused = true)]
async fn what_is_no_http_is_answered_400_and_the_connection_ends_with_it() {
    let stage = Stage::new();
    for (sent, expected) in MALFORMED {
        // Whatever comes after it is not read as a request.
        let (said, elapsed) = stage.said(format!("{sent}GET / HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        assert!(said.starts_with(expected), "{sent:?}: {said:?}");
        assert!(!said.contains("200 OK"), "{sent:?}: {said:?}");
        assert_eq!(elapsed, Duration::ZERO, "{sent:?}");
    }
    let (said, _) = stage.said("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn of_two_lengths_none_can_hide_a_second_request() {
    let stage = Stage::new();
    let hidden = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    for both in
        ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        // Chunks count, the length does not, and the connection ends: whatever a proxy before us thought is of no use.
        let (said, _) = stage.said(format!("POST /body HTTP/1.1\r\n{both}\r\n\r\n0\r\n\r\n{hidden}")).await;
        assert_eq!(said.matches("HTTP/1.1 ").count(), 1, "{both:?}: {said}");
    }
    // Twice the same is once.
    let twice = "Content-Length: 5\r\nContent-Length: 5\r\nConnection: close";
    let (said, _) = stage.said(format!("POST /body HTTP/1.1\r\n{twice}\r\n\r\nhello")).await;
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("hello"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_length_that_is_too_small_leaves_a_rest_that_is_no_request() {
    let stage = Stage::new();
    let (said, _) = stage.said("POST /body HTTP/1.1\r\nContent-Length: 2\r\n\r\nhello\r\n\r\n").await;
    assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    assert_eq!(said.matches("HTTP/1.1 400 Bad Request").count(), 1, "{said}");
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_long_headers_are_refused() {
    let stage = Stage::new();
    let many: String = (0..80).map(|n| format!("X-{n}: 1\r\n")).collect();
    let long = format!("X-Long: {}\r\n", "a".repeat(64 * 1024));
    for headers in [many, long] {
        let (said, _) = stage.said(format!("GET / HTTP/1.1\r\nHost: x\r\n{headers}\r\n")).await;
        assert!(said.starts_with("HTTP/1.1 431"), "{said}");
    }
    let (said, _) = stage.said(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(70_000))).await;
    assert!(said.starts_with("HTTP/1.1 431"), "{said}");
}
