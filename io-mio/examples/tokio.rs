//! The core in an async runtime: what it takes to embed it in tokio, or in any other, in one page.
//!
//! ```text
//! cargo run --release -p konko-mio --example tokio -- 127.0.0.1:2222
//! ssh -p 2222 alice@127.0.0.1 hello        (the password is "wonderland")
//! ```
//!
//! [`drive`] is the whole binding: poll until the connection is blocked, then wait for what it is
//! blocked on. One task owns the connection; others send it closures.

use std::io;
use std::sync::Arc;

use konko_mio::core::channel::{ChannelEvent, ChannelRequest, Stream};
use konko_mio::core::keys::{KeyType, PrivateKey};
use konko_mio::core::server::{Attempt, Verdict};
use konko_mio::core::*;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::Instant;

/// Something that another task wants of a connection: the answer to a ticket, for example.
pub(crate) type Call<S> = Box<dyn FnOnce(&mut Connection<S>) + Send>;

/// Why a connection ended; `None` when this side closed it.
pub(crate) type End = Option<Error>;

/// Runs a connection to its end. Its time 0 is `start`.
pub(crate) async fn drive<S: Side>(
    mut conn: Connection<S>,
    stream: impl AsyncRead + AsyncWrite,
    start: Instant,
    mut calls: UnboundedReceiver<Call<S>>,
    mut on_event: impl FnMut(&mut Connection<S>, EventOf<'_, S>),
) -> io::Result<End> {
    let (mut reader, mut writer) = tokio::io::split(Box::pin(stream));
    let mut rx = RxBuf::new();
    loop {
        let blocked = match conn.poll(Time::ZERO + start.elapsed(), &mut rx) {
            Ok(Step::Event(event)) => {
                on_event(&mut conn, event);
                continue;
            }
            Ok(Step::Blocked(Blocked::Closed)) => {
                writer.shutdown().await?;
                return Ok(None);
            }
            Ok(Step::Blocked(why)) => why,
            Err(error) => {
                // The last words; the peer may be gone.
                let _ = writer.write_all(conn.tx().pending()).await;
                let _ = writer.shutdown().await;
                return Ok(Some(error));
            }
        };
        let due = conn.deadline().map(|(at, _)| start + at.since(Time::ZERO));
        // Idle connections keep no memory for input and output.
        if rx.is_empty() {
            rx.release();
        }
        let sending = !conn.tx().is_empty();
        tokio::select! {
            n = writer.write(conn.tx().pending()), if sending => conn.tx().consume(n?),
            n = reader.read(rx.spare()), if blocked == Blocked::Input => match n? {
                0 => rx.eof(),
                n => rx.filled(n),
            },
            () = tokio::time::sleep_until(due.unwrap_or(start)), if due.is_some() => {}
            Some(call) = calls.recv() => call(&mut conn),
        }
    }
}

/// Lets alice in and says back what she asks for.
fn on_event(conn: &mut ServerConnection, event: ServerEvent<'_>) {
    let _ = match event {
        ServerEvent::Auth(ServerAuth::Attempt { ticket, attempt, .. }) => {
            let right = matches!(attempt, Attempt::Password(b"wonderland"));
            conn.decide_auth(ticket, if right { Verdict::Accept } else { Verdict::Reject })
        }
        ServerEvent::Auth(ServerAuth::Probe { ticket, .. }) => conn.decide_probe(ticket, Decision::Reject),
        ServerEvent::Open { ticket, .. } => conn.accept_channel(ticket).map(drop),
        ServerEvent::Channel(channel, ChannelEvent::Request { ticket, request }) => {
            if let ChannelRequest::Exec(command) = request {
                let _ = conn.write(channel, Stream::Data, command.as_bytes());
                let _ = conn.request(channel, ChannelRequest::ExitStatus(0), WantReply::No);
                let _ = conn.close_channel(channel);
            }
            ticket.map_or(Ok(()), |ticket| {
                conn.reply(ticket, Decision::accept_if(matches!(request, ChannelRequest::Exec(_))))
            })
        }
        ServerEvent::GlobalRequest { ticket: Some(ticket), .. } => {
            conn.reply_global(ticket, Decision::Reject, None)
        }
        _ => Ok(()),
    };
}

#[allow(dead_code, reason = "the tests take this file as a module")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let random = || -> Result<Seed, String> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(|e| e.to_string())?;
        Ok(Seed::new(seed))
    };
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&random()?))?;
    let key = Arc::new(key.key_pair(provider::best())?);
    let config = Arc::new(ServerConfig::new(TransportConfig::new(provider::best()), vec![key]));
    let addr = std::env::args().nth(1).unwrap_or("127.0.0.1:2222".into());
    let listener = tokio::net::TcpListener::bind(&addr).await?;
    println!("listening on {addr}");
    loop {
        let (socket, peer) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let conn = ServerConnection::new(config.clone(), random()?, Time::ZERO);
        let (_calls, calls) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(async move {
            match drive(conn, socket, Instant::now(), calls, on_event).await {
                Ok(Some(error)) => eprintln!("{peer}: {error}"),
                Ok(None) => eprintln!("{peer}: closed"),
                Err(error) => eprintln!("{peer}: {error}"),
            }
        });
    }
}
