//! The hot paths, one by one, so that their instructions can be counted: `conformance/instructions` runs this under
//! valgrind with few and with many rounds, and takes the difference.
//!
//! ```text
//! instructions NAME ROUNDS      instructions --list
//! ```

mod ends;

use std::hint::black_box;

use ends::{Ends, host_key};
use konko_core::channel::{ChannelEvent, ChannelRequest};
use konko_core::crypto::Cipher;
use konko_core::wire::SshStr;
use konko_core::*;

/// What is counted: its name, and what so many rounds of it do.
type Path = (&'static str, fn(usize));

const PATHS: &[Path] = &[
    ("a data packet of 64 bytes", |rounds| data(rounds, 64)),
    ("a data packet of 32 KiB", |rounds| data(rounds, 32 * 1024)),
    ("a request and its reply", requests),
    ("a channel opened and closed", channels),
    ("a poll that finds nothing, 1000 channels", polls),
    ("a handshake and login", handshakes),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    match &args[..] {
        [list] if list == "--list" => PATHS.iter().for_each(|(name, _)| println!("{name}")),
        [name, rounds] => {
            let (_, run) = PATHS.iter().find(|(known, _)| known == name).expect("no such path");
            run(rounds.parse().expect("a number of rounds"));
        }
        _ => println!("run by conformance/instructions"),
    }
}

fn config() -> TransportConfig {
    let mut config = TransportConfig::new(provider::rustcrypto());
    config.algorithms.set_ciphers(&[Cipher::Aes128Gcm]);
    config.algorithms.kex = vec![konko_core::crypto::Kex::Curve25519Sha256];
    config.rekey.bytes = 1 << 40;
    config.limits.channels = 2000;
    config
}

fn ends() -> Ends {
    Ends::new(config(), host_key(provider::rustcrypto()))
}

fn data(rounds: usize, len: usize) {
    let mut ends = ends();
    let id = ends.open();
    for _ in 0..rounds {
        black_box(ends.send(id, len));
    }
}

fn requests(rounds: usize) {
    let mut ends = ends();
    let id = ends.open();
    for _ in 0..rounds {
        ends.client.request(id, ChannelRequest::Exec(SshStr::new(b"date")), WantReply::Yes).unwrap();
        ends.server_rx.push(ends.client.tx().pending());
        let tx = ends.client.tx();
        tx.consume(tx.len());
        while let Step::Event(event) = ends.server.poll(ends.now, &mut ends.server_rx).unwrap() {
            if let ServerEvent::Channel(_, ChannelEvent::Request { ticket: Some(ticket), .. }) = event {
                ends.server.reply(ticket, Decision::Accept).unwrap();
            }
        }
        ends.exchange();
    }
}

fn channels(rounds: usize) {
    let mut ends = ends();
    for _ in 0..rounds {
        let id = ends.open();
        ends.client.close_channel(id).unwrap();
        ends.exchange();
        ends.exchange();
    }
    assert_eq!(ends.client.open_channels(), 0);
}

fn polls(rounds: usize) {
    let mut ends = ends();
    for _ in 0..1000 {
        ends.open();
    }
    for _ in 0..rounds {
        let step = black_box(ends.client.poll(ends.now, &mut ends.client_rx));
        assert!(matches!(step, Ok(Step::Blocked(Blocked::Input))));
    }
}

fn handshakes(rounds: usize) {
    let key = host_key(provider::rustcrypto());
    for _ in 0..rounds {
        black_box(Ends::new(config(), key.clone()));
    }
}
