//! A way to the database that takes time, and may lead to another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on; what is asked, later.
pub struct Slow {
    pub port: u16,
    server: Arc<AtomicU16>,
    millis: Arc<AtomicU64>,
}

impl Slow {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let millis = Arc::new(AtomicU64::new(0));
        let server = Arc::new(AtomicU16::new(server));
        let (of, to) = (millis.clone(), server.clone());
        tokio::spawn(async move {
            while let Ok((asking, _)) = listener.accept().await {
                let (millis, server) = (of.clone(), to.load(Ordering::SeqCst));
                tokio::spawn(async move {
                    let Ok(answering) = TcpStream::connect(("127.0.0.1", server)).await else { return };
                    let ((mut asked, mut told), (mut answered, mut ask)) =
                        (asking.into_split(), answering.into_split());
                    let there = async {
                        let mut bytes = vec![0; 64 * 1024];
                        while let Ok(n @ 1..) = asked.read(&mut bytes).await {
                            tokio::time::sleep(Duration::from_millis(millis.load(Ordering::SeqCst))).await;
                            if ask.write_all(&bytes[..n]).await.is_err() {
                                return;
                            }
                        }
                    };
                    // Either end of it ends both.
                    tokio::select! {
                        () = there => {}
                        _ = tokio::io::copy(&mut answered, &mut told) => {}
                    }
                });
            }
        });
        Self { port, server, millis }
    }

    /// Whoever comes from now on is led to another server.
    pub fn lead_to(&self, server: u16) {
        self.server.store(server, Ordering::SeqCst);
    }

    /// From now on each question takes so much longer.
    pub fn take(&self, millis: u64) {
        self.millis.store(millis, Ordering::SeqCst);
    }
}
