//! HTTP/2, by a client that speaks frames.

use super::*;
use h2::client::{Builder, Connection, ResponseFuture, SendRequest};
use h2::{Reason, RecvStream};
use http::StatusCode;

type Asking = SendRequest<Bytes>;

async fn shaken(
    stage: &Stage,
    builder: &Builder,
) -> (Asking, Connection<DuplexStream, Bytes>, JoinHandle<()>) {
    let (stream, served) = stage.open();
    let (asking, connection) = builder.handshake(stream).await.unwrap();
    (asking, connection, served)
}

/// A client whose connection is looked after, so that it answers pings.
async fn alive(
    stage: &Stage,
    builder: &Builder,
) -> (Asking, JoinHandle<Result<(), h2::Error>>, JoinHandle<()>) {
    let (asking, connection, served) = shaken(stage, builder).await;
    (asking, tokio::spawn(connection), served)
}

fn request(path: &str) -> http::Request<()> {
    http::Request::builder().uri(format!("http://x{path}")).body(()).unwrap()
}

async fn ask(asking: &mut Asking, path: &str) -> ResponseFuture {
    std::future::poll_fn(|cx| asking.poll_ready(cx)).await.unwrap();
    asking.send_request(request(path), true).unwrap().0
}

async fn whole(mut body: RecvStream) -> usize {
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        length += part.len();
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    length
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_let_go_after_a_minute_and_one_that_is_used_is_not() {
    let stage = Stage::new();
    let (mut asking, _alive, served) = alive(&stage, &Builder::new()).await;
    for _ in 0..3 {
        let answer = ask(&mut asking, "/").await.await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(whole(answer.into_body()).await, "127.0.0.1".len());
        tokio::time::sleep(Duration::from_secs(59)).await;
    }
    let began = Instant::now();
    served.await.unwrap();
    took(began.elapsed(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_preface_without_a_request_is_let_go_after_ten_seconds() {
    let stage = Stage::new();
    let began = Instant::now();
    let (_asking, _alive, served) = alive(&stage, &Builder::new()).await;
    served.await.unwrap();
    took(began.elapsed(), 10);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_answer_when_it_is_asked_whether_it_is_there_is_let_go() {
    let stage = Stage::new();
    let (mut asking, mut connection, served) = shaken(&stage, &Builder::new()).await;
    let answer = tokio::select! {
        answer = async { ask(&mut asking, "/live").await.await } => answer.unwrap(),
        _ = &mut connection => panic!("the connection stands"),
    };
    assert_eq!(answer.status(), StatusCode::OK);
    // From here on nobody looks after the connection.
    let began = Instant::now();
    served.await.unwrap();
    assert!(began.elapsed() <= Duration::from_secs(21), "{:?}", began.elapsed());
    drop(connection);
}

#[tokio::test(start_paused = true)]
async fn a_live_stream_without_news_stays_open() {
    let stage = Stage::new();
    let (mut asking, _alive, served) = alive(&stage, &Builder::new()).await;
    let mut body = ask(&mut asking, "/live").await.await.unwrap().into_body();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(600)).await;
        let news = stage.seen.live.lock().unwrap().clone().expect("the stream is open");
        news.send(Bytes::from_static(b"news")).await.unwrap();
        assert_eq!(body.data().await.unwrap().unwrap(), "news");
    }
    assert!(!served.is_finished());
}

#[tokio::test(start_paused = true)]
async fn whoever_makes_no_room_for_the_answers_is_let_go_after_thirty_seconds() {
    let stage = Stage::new();
    let (mut asking, _alive, served) = alive(&stage, Builder::new().initial_window_size(1_000)).await;
    let began = Instant::now();
    let answers = [ask(&mut asking, "/large").await, ask(&mut asking, "/large").await];
    let mut held = Vec::new();
    for answer in answers {
        held.push(answer.await.unwrap());
    }
    served.await.unwrap();
    took(began.elapsed(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_large_answer_that_is_read_comes_whole() {
    let stage = Stage::new();
    let (mut asking, _alive, _served) = alive(&stage, Builder::new().initial_window_size(1_000)).await;
    let answer = ask(&mut asking, "/large").await.await.unwrap();
    assert_eq!(whole(answer.into_body()).await, 1024 * 1024);
    let answer = ask(&mut asking, "/one-part").await.await.unwrap();
    assert_eq!(answer.headers()["content-length"], "200000");
    assert_eq!(whole(answer.into_body()).await, 200_000);
}

#[tokio::test(start_paused = true)]
async fn whoever_reads_slowly_is_not_let_go() {
    let stage = Stage::new();
    let (mut asking, _alive, _served) = alive(&stage, Builder::new().initial_window_size(4_000)).await;
    let began = Instant::now();
    let mut body = ask(&mut asking, "/one-part").await.await.unwrap().into_body();
    let mut length = 0;
    while let Some(part) = body.data().await {
        let part = part.unwrap();
        length += part.len();
        tokio::time::sleep(Duration::from_millis(250)).await;
        body.flow_control().release_capacity(part.len()).unwrap();
    }
    assert_eq!(length, 200_000);
    assert!(began.elapsed() > Duration::from_secs(40), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn too_many_or_too_long_headers_are_refused() {
    let stage = Stage::new();
    let (mut asking, _alive, _served) = alive(&stage, &Builder::new()).await;
    for (lines, length) in [(80, 1), (2, 16 * 1024)] {
        let mut request = request("/");
        for n in 0..lines {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            request.headers_mut().insert(name, "a".repeat(length).parse().unwrap());
        }
        std::future::poll_fn(|cx| asking.poll_ready(cx)).await.unwrap();
        let answer = asking.send_request(request, true).unwrap().0.await;
        assert_eq!(answer.unwrap().status(), StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{lines}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_requests_at_once_and_no_more() {
    let stage = Stage::new();
    let (mut asking, _alive, _served) = alive(&stage, &Builder::new()).await;
    let first = ask(&mut asking, "/never").await;
    stage.seen.begun.notified().await;
    assert_eq!(asking.current_max_send_streams(), 64);
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn whoever_takes_back_what_was_asked_again_and_again_is_told_to_end() {
    let stage = Stage::new();
    let (mut asking, alive, served) = alive(&stage, &Builder::new()).await;
    let mut taken_back = 0;
    loop {
        if std::future::poll_fn(|cx| asking.poll_ready(cx)).await.is_err() {
            break;
        }
        let Ok((answer, mut stream)) = asking.send_request(request("/never"), true) else { break };
        tokio::select! {
            () = stage.seen.begun.notified() => {}
            _ = answer => break,
        }
        stream.send_reset(Reason::CANCEL);
        taken_back += 1;
        assert!(taken_back < 1_000, "nobody minds");
    }
    assert!(taken_back > 200, "{taken_back}");
    drop(asking);
    alive.await.unwrap().unwrap();
    served.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_body_of_another_length_than_it_was_told_is_no_body() {
    let stage = Stage::new();
    for (told, sent) in [("3", "hello"), ("9", "hello")] {
        let (mut asking, _alive, _served) = alive(&stage, &Builder::new()).await;
        let mut request = request("/body");
        *request.method_mut() = http::Method::POST;
        request.headers_mut().insert("content-length", told.parse().unwrap());
        std::future::poll_fn(|cx| asking.poll_ready(cx)).await.unwrap();
        let (answer, mut stream) = asking.send_request(request, false).unwrap();
        let _ = stream.send_data(Bytes::from_static(sent.as_bytes()), true);
        match answer.await {
            Ok(answer) => assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{told}"),
            Err(error) => assert_eq!(error.reason(), Some(Reason::PROTOCOL_ERROR), "{told}"),
        }
    }
}
