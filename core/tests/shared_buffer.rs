//! Loops of many connections read into one buffer: a connection keeps only what it could not take.

use std::sync::Arc;

use konko_core::replay::{Report, Setup, replay};
use konko_core::*;

use konko_test::apps::{Host, Shell, source_byte};
use konko_test::{App, host_key, transport_config};

/// Gives `bytes` to a connection as such a loop does: into its own buffer if it has something in
/// there, else into the shared one.
fn feed(shared: &mut RxBuf, rest: &mut RxBuf, bytes: &[u8], mut poll: impl FnMut(&mut RxBuf)) {
    if rest.is_empty() {
        shared.push(bytes);
        poll(shared);
        *rest = shared.split_off();
        assert!(shared.is_empty());
    } else {
        rest.push(bytes);
        poll(rest);
    }
}

#[test]
fn two_connections_share_a_buffer_and_a_recording_of_them_replays() {
    let (client, server) =
        (ClientConfig::new(transport_config()), ServerConfig::new(transport_config(), vec![host_key()]));
    let input: Vec<u8> = (0..300_000u64).map(source_byte).collect();
    for piece in [1000, 4096, 33_333] {
        let (mut shell, mut host) = (Shell::new("echo").with_input(input.clone()), Host::default());
        let [seed_c, seed_s] = [1, 2].map(|n| Seed::new([n; 32]));
        let mut c = ClientConnection::recorded(Arc::new(client.clone()), seed_c, Time::ZERO);
        let mut s = ServerConnection::recorded(Arc::new(server.clone()), seed_s, Time::ZERO);
        let mut shared = RxBuf::new();
        let (mut c_rest, mut s_rest) = (RxBuf::new(), RxBuf::new());
        for turn in 0.. {
            assert!(turn < 100_000, "it never ends");
            let n = c.tx().len().min(piece);
            let up = c.tx().pending()[..n].to_vec();
            c.tx().consume(n);
            feed(&mut shared, &mut s_rest, &up, |rx| {
                while let Step::Event(event) = s.poll(Time::ZERO, rx).unwrap() {
                    host.on_event(&mut s, event);
                }
                host.idle(&mut s);
            });
            let n = s.tx().len().min(piece);
            let down = s.tx().pending()[..n].to_vec();
            s.tx().consume(n);
            feed(&mut shared, &mut c_rest, &down, |rx| {
                while let Step::Event(event) = c.poll(Time::ZERO, rx).unwrap() {
                    shell.on_event(&mut c, event);
                }
            });
            if shell.seen.closed {
                break;
            }
        }
        assert!(shell.seen.out == input);
        assert_eq!(c.open_channels(), 0);
        let [of_client, of_server] = [c.take_transcript().unwrap(), s.take_transcript().unwrap()];
        for (transcript, setup) in [
            (of_client, Setup::Client { config: Arc::new(client.clone()), keys: &[] }),
            (of_server, Setup::Server(Arc::new(server.clone()))),
        ] {
            let report: Report = replay(&transcript, setup).unwrap();
            assert!(report.polls > 10, "{report:?}");
        }
    }
}

#[test]
fn what_is_split_off_is_no_larger_than_it_has_to_be() {
    let mut shared = RxBuf::new();
    shared.push(&[7; 100_000]);
    let mut rest = shared.split_off();
    assert_eq!((shared.len(), rest.len()), (0, 100_000));
    shared.push(b"another's");
    shared.eof();
    let last = shared.split_off();
    assert_eq!((last.len(), shared.is_empty()), (9, true));
    assert!(format!("{last:?}").contains("end of input") && !format!("{shared:?}").contains("end"));
    rest.push(b"more");
    assert_eq!(rest.len(), 100_004);
}
