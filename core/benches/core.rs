//! What the machine costs on top of its cryptography: `cargo bench -p konko-core [--features aws-lc]`.
//!
//! Prints, per provider: packets sealed and opened through a connection beside the bare cipher,
//! handshakes per key exchange, and the price of a poll that finds nothing. Interleaved, best of many
//! runs; compare within one run only.

mod ends;

use std::hint::black_box;
use std::time::{Duration, Instant};

use ends::{Ends, host_key};
use konko_core::crypto::{Cipher, DirectionKeys, Kex, Mac, Protection, Provider, Secret};
use konko_core::*;

fn main() {
    let mut providers = vec![provider::rustcrypto()];
    if provider::best().name() != provider::rustcrypto().name() {
        providers.push(provider::best());
    }
    for p in providers {
        println!("== provider {} ==", p.name());
        packets(p);
        handshakes(p);
    }
    idle();
}

fn best(runs: usize, mut f: impl FnMut() -> Duration) -> Duration {
    (0..runs).map(|_| f()).min().unwrap()
}

fn packets(provider: &'static dyn Provider) {
    println!("{:<52} {:>7} {:>12} {:>12} {:>7}", "seal + open", "bytes", "bare", "connection", "ratio");
    let gcm = |cipher| Protection { cipher, mac: None };
    for protection in [
        gcm(Cipher::Aes128Gcm),
        gcm(Cipher::Aes256Gcm),
        gcm(Cipher::ChaCha20Poly1305),
        Protection { cipher: Cipher::Aes128Ctr, mac: Some(Mac::HmacSha256Etm) },
        Protection { cipher: Cipher::Aes256Ctr, mac: Some(Mac::HmacSha512) },
    ] {
        let mut config = TransportConfig::new(provider);
        config.algorithms.set_ciphers(&[protection.cipher]);
        config.algorithms.set_macs(protection.mac.as_slice());
        config.rekey.bytes = 1 << 40;
        let mut ends = Ends::new(config, host_key(provider));
        let id = ends.open();
        for len in [64, 1024, 32 * 1024] {
            let rounds = (4 << 20) / (len + 512);
            let mut bare = Bare::new(provider, protection, len);
            let (mut b, mut c) = (Duration::MAX, Duration::MAX);
            for _ in 0..15 {
                b = b.min(best(1, || bare.run(rounds)));
                c = c.min(best(1, || (0..rounds).map(|_| ends.send(id, len)).sum()));
            }
            let per = |d: Duration| d.as_nanos() as f64 / rounds as f64;
            let name = format!("{} {}", protection.cipher, protection.mac.map_or("", |m| m.name()));
            let gbs = |ns: f64| len as f64 / ns;
            println!(
                "{name:<52} {len:>7} {:>7.0} ns   {:>7.0} ns   {:>5.0} %  ({:.2} GB/s)",
                per(b),
                per(c),
                100.0 * per(b) / per(c),
                gbs(per(c))
            );
        }
    }
}

/// The cipher by itself, on packets of the same size.
struct Bare {
    sealer: Box<dyn konko_core::crypto::PacketSealer>,
    opener: Box<dyn konko_core::crypto::PacketOpener>,
    packet: Vec<u8>,
    seq: u32,
}

impl Bare {
    fn new(provider: &'static dyn Provider, protection: Protection, len: usize) -> Bare {
        let keys = || DirectionKeys {
            iv: Secret::copy_of(&[1; 16][..protection.cipher.iv_len()]),
            key: Secret::copy_of(&[2; 64][..protection.cipher.key_len()]),
            mac: Secret::copy_of(&[3; 64][..protection.mac.map_or(0, |m| m.key_len())]),
        };
        let sealer = provider.sealer(protection, &keys()).unwrap();
        let opener = provider.opener(protection, &keys()).unwrap();
        let shape = sealer.shape();
        let fixed = if shape.length_in_block { 0 } else { 4 };
        let body = (5 + 9 + len + 4 - fixed).next_multiple_of(shape.block) + fixed;
        Bare { sealer, opener, packet: vec![0; body + shape.tag], seq: 0 }
    }

    fn run(&mut self, rounds: usize) -> Duration {
        let (head, tag) = (self.sealer.shape().head, self.sealer.shape().tag);
        let body = self.packet.len() - tag - 4;
        let start = Instant::now();
        for _ in 0..rounds {
            self.packet[..4].copy_from_slice(&(body as u32).to_be_bytes());
            self.sealer.seal(self.seq, &mut self.packet);
            let n = self.opener.length(self.seq, &mut self.packet[..head]);
            assert_eq!(n as usize, body);
            self.opener.open(self.seq, &mut self.packet).unwrap();
            self.seq += 1;
        }
        start.elapsed()
    }
}

fn handshakes(provider: &'static dyn Provider) {
    println!("{:<52} {:>12}", "handshake and login, both sides, Ed25519", "time");
    for kex in [
        Kex::MlKem768X25519Sha256,
        Kex::Curve25519Sha256,
        Kex::EcdhNistp256,
        Kex::EcdhNistp384,
        Kex::EcdhNistp521,
        Kex::Group14Sha256,
        Kex::Group16Sha512,
    ] {
        let key = host_key(provider);
        let mut config = TransportConfig::new(provider);
        config.algorithms.kex = vec![kex];
        let time = best(10, || {
            let start = Instant::now();
            black_box(Ends::new(config.clone(), key.clone()));
            start.elapsed()
        });
        println!("{:<52} {:>9.0} us", kex.name(), time.as_nanos() as f64 / 1000.0);
    }
}

fn idle() {
    println!("== a poll that finds nothing ==");
    for channels in [1, 1000] {
        let p = provider::rustcrypto();
        let mut config = TransportConfig::new(p);
        config.limits.channels = 2000;
        let mut ends = Ends::new(config, host_key(p));
        for _ in 0..channels {
            ends.open();
        }
        let rounds = 100_000;
        let time = best(10, || {
            let start = Instant::now();
            for _ in 0..rounds {
                let step = black_box(ends.client.poll(ends.now, &mut ends.client_rx));
                assert!(matches!(step, Ok(Step::Blocked(Blocked::Input))));
            }
            start.elapsed()
        });
        println!("{channels:>5} channels: {:>5.1} ns", time.as_nanos() as f64 / rounds as f64);
    }
}
