//! With real sockets: what only a listener does.

use super::*;
use tokio::sync::oneshot;

#[tokio::test]
async fn past_the_bound_a_connection_waits_until_another_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let limits = Limits { connections: 2, headers: Duration::from_millis(150), ..Limits::default() };
    let serving = tokio::spawn(serve(listener, router(&Seen::default()), limits, async {
        let _ = stopped.await;
    }));
    let mut silent = [TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    let mut third = TcpStream::connect(address).await.unwrap();
    third.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    // The two that say nothing are let go after their time, and the third is served then.
    let mut said = String::new();
    third.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("127.0.0.1"), "{said}");
    for stream in &mut silent {
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    }
    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn whoever_had_reached_the_system_when_the_end_came_is_answered() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut streams = Vec::new();
    for _ in 0..16 {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        streams.push(stream);
    }
    let serving = tokio::spawn(serve(listener, router(&Seen::default()), Limits::default(), async {}));
    for mut stream in streams {
        let mut said = String::new();
        stream.read_to_string(&mut said).await.unwrap();
        assert!(said.starts_with("HTTP/1.1 200 OK"), "{said}");
    }
    serving.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err(), "nobody new is let in");
}
