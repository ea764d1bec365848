//! Groups of a group exchange (RFC 4419): what a client asks for and screens, and what a server takes from a file.

use std::sync::Arc;

use konko_core::crypto::groups::{GROUP14, GROUP15, GROUP16};
use konko_core::crypto::{Kex, Policy};
use konko_core::error::Fault;
use konko_core::msg::Message;
use konko_core::transport::{BadModulus, Moduli};
use konko_core::{ClientConfig, ServerConfig, TransportConfig, msg};
use konko_test::host_key;
use konko_test::raw::rig::transport;
use konko_test::raw::{Rig, payload};

/// Safe primes of `openssl dhparam`: 2048 bits with generator 5, and 3072 with 2.
const LINES: &str = include_str!("data/moduli");

fn hex(p: &[u8]) -> String {
    p.iter().map(|b| format!("{b:02X}")).collect()
}

fn line(kind: u8, tests: u8, trials: u8, size: u32, g: &str, p: &str) -> String {
    format!("20260101000000 {kind} {tests} {trials} {size} {g} {p}\n")
}

fn moduli(text: &str) -> (Moduli, Vec<(u32, BadModulus)>) {
    let (moduli, warnings) = Moduli::parse(&b"moduli"[..], text.as_bytes()).unwrap();
    (moduli, warnings.into_iter().map(|w| (w.at.line, w.problem)).collect())
}

fn gex() -> TransportConfig {
    let mut transport = transport(Policy::Modern);
    transport.algorithms.kex = vec![Kex::GroupExchangeSha256];
    transport
}

/// What a server with these moduli proposes for a request.
fn proposal(moduli: Option<&Moduli>, request: [u32; 3], seed: u8) -> Vec<u8> {
    let mut transport = gex();
    transport.moduli = moduli.map(|moduli| Arc::new(moduli.clone()));
    let mut rig = Rig::seeded(ServerConfig::with_transport(transport, vec![host_key()]), seed);
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
    rig.kexinit();
    let [min, n, max] = request;
    rig.send(&payload(&msg::GexRequest::new(min, n, max)));
    let group = rig.expect(31);
    msg::GexGroup::parse(&group).unwrap().p.to_vec()
}

#[test]
fn a_file_of_moduli_is_read_as_openssh_reads_it() {
    let p = hex(GROUP14.p);
    let text = [
        "# Time Type Tests Tries Size Generator Modulus\r\n".to_owned(),
        line(2, 6, 100, 2047, "2", &p),
        line(4, 6, 100, 2047, "2", &p),
        line(2, 0, 100, 2047, "2", &p),
        line(2, 7, 100, 2047, "2", &p),
        line(2, 6, 0, 2047, "2", &p),
        line(2, 6, 100, 2048, "2", &p),
        line(2, 6, 100, 2047, "1", &p),
        line(2, 6, 100, 2047, "2", &p.replacen('F', "G", 1)),
        line(2, 6, 100, 2046, "2", &format!("{}E", &p[..p.len() - 1])),
        "20260101000000 2 6 100 2047 2\n".to_owned(),
        "\n".to_owned(),
        line(2, 6, 100, 4095, "5", &hex(GROUP16.p)),
    ];
    let (moduli, warnings) = moduli(&text.concat());
    assert_eq!(moduli.len(), 2);
    assert!(moduli.contains(GROUP14.p) && moduli.contains(GROUP16.p) && !moduli.contains(GROUP15.p));
    use BadModulus::{Fields, Numbers, Untested};
    assert_eq!(
        warnings,
        [
            (3, Untested),
            (4, Untested),
            (5, Untested),
            (6, Untested),
            (7, Numbers),
            (8, Numbers),
            (9, Fields),
            (10, Numbers),
            (11, Fields)
        ]
    );
    for cut in 0..text[1].len() {
        // Any part of a line is read or refused, never more.
        let (moduli, _) = self::moduli(&text[1][..cut]);
        assert!(moduli.is_empty() || cut == text[1].len() - 1, "{cut}");
    }
}

#[test]
fn k20_a_server_takes_the_smallest_group_of_its_file_that_is_large_enough_at_random() {
    let (file, warnings) = moduli(LINES);
    assert!(warnings.is_empty() && file.len() == 4, "{warnings:?}");
    let bits = |p: &[u8]| p.len() * 8;
    // Three of 2048 bits, one of 3072.
    let of = |request| (0..12).map(|seed| proposal(Some(&file), request, seed)).collect::<Vec<_>>();
    let small = of([2048, 2048, 8192]);
    assert!(small.iter().all(|p| bits(p) == 2048 && file.contains(p)));
    assert!(small.iter().any(|p| *p != small[0]), "always the same");
    assert!(of([2048, 2049, 8192]).iter().all(|p| bits(p) == 3072 && file.contains(p)));
    // None is large enough: the largest.
    assert!(of([2048, 8192, 8192]).iter().all(|p| bits(p) == 3072 && file.contains(p)));
    // None is within what the client allows, or there is no file: the fixed ones.
    assert!(of([4096, 4096, 8192]).iter().all(|p| p == GROUP16.p));
    assert_eq!(proposal(None, [2048, 3072, 8192], 1), GROUP15.p);
    assert_eq!(proposal(None, [2048, 2048, 8192], 1), GROUP14.p);
}

#[test]
fn a_client_asks_for_the_group_size_that_it_prefers() {
    for (preferred, asked) in [(3072, 3072), (4096, 4096), (0, 2048), (u32::MAX, 8192)] {
        let mut transport = gex();
        transport.preferred_group_bits = preferred;
        let mut rig = Rig::client(ClientConfig::new(transport));
        rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
        rig.kexinit();
        assert_eq!(rig.expect(34), payload(&msg::GexRequest::new(2048, asked, 8192)));
    }
}

/// A client that screens, with the group that the server proposes; whether there was a job, and what came of it.
fn screened(p: &[u8], known: Option<Moduli>) -> (usize, Rig) {
    let mut transport = gex();
    transport.screen_groups = true;
    transport.moduli = known.map(Arc::new);
    let mut rig = Rig::client(ClientConfig::new(transport));
    rig.peer.offer = rig.peer.offer.clone().kex(Kex::GroupExchangeSha256);
    rig.kexinit();
    rig.expect(34);
    rig.send(&payload(&msg::GexGroup::new(p, &[2])));
    (rig.events_with("Job"), rig)
}

#[test]
fn k20_a_client_that_screens_tests_what_is_in_no_list() {
    let (file, _) = moduli(LINES);
    let unknown = proposal(Some(&file), [2048, 2048, 8192], 1);
    // Known ones need no test.
    for (p, known) in [(GROUP14.p, None), (&unknown[..], Some(file))] {
        let (jobs, mut rig) = screened(p, known);
        assert_eq!(jobs, 0);
        rig.expect(32);
    }
    let able = cfg!(feature = "screening");
    let (jobs, mut rig) = screened(&unknown, None);
    assert_eq!(jobs, 1);
    // Nothing is computed in it before.
    assert!(!rig.messages().iter().any(|m| m[0] == 32));
    rig.finish_jobs();
    match able {
        true => drop(rig.expect(32)),
        // Who cannot tell takes nothing.
        false => rig.assert_fault(Fault::BadGroup),
    }
    // An odd number that is no prime, and a prime that is no safe one (2^2203 - 1).
    let mut composite = unknown.clone();
    *composite.last_mut().unwrap() ^= 4;
    let mersenne = [&[0x07][..], &[0xff; 275]].concat();
    for p in [composite, mersenne] {
        let (jobs, mut rig) = screened(&p, None);
        assert_eq!(jobs, 1);
        rig.finish_jobs();
        rig.assert_fault(Fault::BadGroup);
        assert!(!rig.messages().iter().any(|m| m[0] == 32));
    }
}

/// The prime is 2q + 1 no more: in a group with elements of small order a peer chooses one of them, and K is one of few.
#[test]
fn k15_a_group_in_which_the_secret_can_be_forced_gives_none() {
    use konko_core::crypto::kex::{Ephemeral, PublicValue};
    let provider = konko_core::provider::rustcrypto();
    // p = 2^521 - 1, of which p - 1 is divisible by 3, 5, 11, 31, 41 …; h = g^((p-1)/3) has order 3.
    let p = [&[0x01][..], &[0xff; 65]].concat();
    let third = konko_core::crypto::Secret::new(divided_by_3(&p));
    let h = provider.modexp(&p, &[3], &third).unwrap();
    assert!(h.expose().len() > 8, "no trivial one");
    let mut refused = 0;
    for seed in 0..24 {
        let mut rng = konko_core::Rng::from_seed(&konko_core::Seed::new([seed; 32]));
        let (own, _) = Ephemeral::dh(&p, &[3], &mut rng, provider).unwrap();
        // An exponent that 3 divides gives K = 1.
        refused += usize::from(own.finish(&PublicValue::Mpint(h.expose().to_vec()), provider).is_err());
    }
    assert!((1..24).contains(&refused), "{refused}");
}

/// `(p - 1) / 3`
fn divided_by_3(p: &[u8]) -> Vec<u8> {
    let mut rest = 0u16;
    let mut out: Vec<u8> = Vec::new();
    for (at, byte) in p.iter().enumerate() {
        let byte = if at + 1 == p.len() { byte - 1 } else { *byte };
        let number = rest * 256 + u16::from(byte);
        out.push((number / 3) as u8);
        rest = number % 3;
    }
    assert_eq!(rest, 0);
    out
}
