use super::*;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::post;
use std::convert::Infallible;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::ReceiverStream;
use tower::ServiceExt;

fn router(bodies: &Bodies) -> Router {
    Router::new()
        .route("/", post(|body: Bytes| async move { body.len().to_string() }))
        .layer(DefaultBodyLimit::max(1024 * 1024))
        .layer(from_fn_with_state(bodies.clone(), bounded))
}

async fn posted(bodies: &Bodies, body: Body) -> Response {
    let request = http::Request::post("/").body(body).unwrap();
    router(bodies).oneshot(request).await.unwrap()
}

/// A body of so many parts, of so many bytes, each so long after the former; it does not end by itself if it is `open`.
fn dripping(parts: usize, bytes: usize, millis: u64, open: bool) -> Body {
    let (sender, receiver) = mpsc::channel(1);
    tokio::spawn(async move {
        for _ in 0..parts {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            if sender.send(Bytes::from(vec![b'x'; bytes])).await.is_err() {
                return;
            }
        }
        if open {
            sender.closed().await;
        }
    });
    Body::from_stream(ReceiverStream::new(receiver).map(Ok::<_, Infallible>))
}

#[tokio::test(start_paused = true)]
async fn a_body_that_comes_at_the_least_rate_is_read_and_one_below_it_is_not() {
    let bodies = Bodies::new();
    for (parts, bytes, millis, open, status) in [
        (20, 1024, 990, false, 200),
        (3, 1, 1_500, false, 200),
        (20, 1024, 1_100, false, 408),
        (20, 1, 1_000, false, 408),
        (1, 100 * 1024, 0, true, 408),
        (0, 0, 0, true, 408),
    ] {
        let began = Instant::now();
        let answer = posted(&bodies, dripping(parts, bytes, millis, open)).await;
        assert_eq!(answer.status().as_u16(), status, "{parts} of {bytes} each {millis} ms");
        if status == 408 {
            assert_eq!(began.elapsed().as_secs(), 5, "{parts} of {bytes} each {millis} ms");
        }
    }
    assert_eq!(bodies.0.available_permits(), ROOM);
}

#[tokio::test(start_paused = true)]
async fn when_there_is_no_room_a_large_body_is_to_come_again_and_a_usual_one_is_read() {
    let bodies = Bodies::new();
    let held: Vec<_> = (0..69)
        .map(|_| {
            tokio::spawn({
                let bodies = bodies.clone();
                async move { posted(&bodies, dripping(15, 64 * 1024, 10, true)).await.status() }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let refused = posted(&bodies, Body::from(vec![b'x'; 512 * 1024])).await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()[header::RETRY_AFTER], "1");
    assert_eq!(posted(&bodies, Body::from(vec![b'x'; 8 * 1024])).await.status(), StatusCode::OK);
    for one in held {
        assert_eq!(one.await.unwrap(), StatusCode::REQUEST_TIMEOUT);
    }
    assert_eq!(posted(&bodies, Body::from(vec![b'x'; 512 * 1024])).await.status(), StatusCode::OK);
    assert_eq!(bodies.0.available_permits(), ROOM);
}

#[tokio::test]
async fn parts_of_one_byte_cost_what_they_take() {
    let bodies = Bodies::new();
    // Hardly any room is left: for a thousand parts of one byte, which would be nothing by themselves.
    let thousand = FREE + 1_000 * (PART + 1);
    let _held = bodies.0.clone().try_acquire_many_owned(u32::try_from(ROOM - thousand).unwrap()).unwrap();
    for (many, status) in [(1_000, StatusCode::OK), (2_000, StatusCode::SERVICE_UNAVAILABLE)] {
        let parts = (0..many).map(|_| Ok::<_, Infallible>(Bytes::from_static(b"x")));
        let answer = posted(&bodies, Body::from_stream(tokio_stream::iter(parts))).await;
        assert_eq!(answer.status(), status, "{many}");
    }
}

#[tokio::test]
async fn what_says_beforehand_that_it_is_too_large_is_not_read_and_what_breaks_off_is_never_taken_for_whole()
{
    let bodies = Bodies::new();
    let large = posted(&bodies, Body::from(vec![0; 1024 * 1024 + 1])).await;
    assert_eq!(large.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let most = posted(&bodies, Body::from(vec![0; 1024 * 1024])).await;
    assert_eq!(most.status(), StatusCode::OK);
    let parts = [Ok(Bytes::from_static(b"{}")), Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof))];
    let broken = posted(&bodies, Body::from_stream(tokio_stream::iter(parts))).await;
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
}
