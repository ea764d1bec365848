//! Records a session, writes it to a file, and replays it from there: every byte, event and deadline is the same
//! again, or the first difference is named.
//!
//! ```text
//! cargo run -p konko-core --example record              records to session.konko in the folder for temporary files
//! cargo run -p konko-core --example record -- FILE      replays the client's side of a file of this example
//! ```
//!
//! A recording holds the session's secrets; `redact` gives an outline that can be shown to others.

mod memory;

use std::error::Error;
use std::sync::Arc;

use konko_core::replay::{SecretTranscript, Setup, replay};
use konko_core::*;
use memory::{Host, Runner};

/// A whole session in memory, the client's side recorded.
fn session() -> SecretTranscript {
    let now = Time::ZERO;
    let mut client = ClientConnection::recorded(Arc::new(memory::client_config()), Seed::new([3; 32]), now);
    let mut server = ServerConnection::new(Arc::new(memory::server_config()), Seed::new([2; 32]), now);
    let (mut runner, mut host) = (Runner::new("greet"), Host::default());
    let (mut client_rx, mut server_rx) = (RxBuf::new(), RxBuf::new());
    while !runner.closed {
        while let Step::Event(event) = client.poll(now, &mut client_rx).unwrap() {
            runner.on_event(&mut client, event);
        }
        while let Step::Event(event) = server.poll(now, &mut server_rx).unwrap() {
            host.on_event(&mut server, event);
        }
        for (tx, rx) in [(client.tx(), &mut server_rx), (server.tx(), &mut client_rx)] {
            rx.push(tx.pending());
            tx.consume(tx.len());
        }
    }
    client.take_transcript().unwrap()
}

fn main() -> Result<(), Box<dyn Error>> {
    let path = match std::env::args_os().nth(1) {
        Some(path) => path.into(),
        None => {
            let path = std::env::temp_dir().join("session.konko");
            std::fs::write(&path, session().to_bytes())?;
            println!("recorded to {}", path.display());
            path
        }
    };
    let transcript = SecretTranscript::from_bytes(&std::fs::read(path)?)?;
    let setup = Setup::Client { config: Arc::new(memory::client_config()), keys: &[] };
    let report = replay(&transcript, setup)?;
    println!("replayed: {report:?}\n\nits outline, without secrets:");
    transcript.redact().lines().take(20).for_each(|line| println!("  {line}"));
    Ok(())
}
