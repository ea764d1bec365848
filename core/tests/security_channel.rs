//! Channels against hostile peers. Each test carries its row of the security facts.

mod property;

#[path = "security_channel/sessions.rs"]
mod sessions;

use std::time::Duration;

use konko_core::channel::{
    ChannelId, ChannelRequest, DataStream, OpenFailure, OpenKind, PtyModes, WindowConfig,
};
use konko_core::error::{Fault, UsageError};
use konko_core::msg::{self, Message};
use konko_core::transport::negotiate::{Policy, Role};
use konko_core::wire::{Sink, SshStr};
use konko_core::{Blocked, ClientConfig, Decision, WantReply};
use konko_test::raw::rig::transport;
use konko_test::raw::*;
use proptest::prelude::*;

const ROLES: [Role; 2] = [Role::Client, Role::Server];
const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 32 * 1024;

fn rig(role: Role) -> Rig {
    let mut rig = Rig::new(role);
    rig.login();
    rig
}

/// A machine with one open channel: our number for it there.
fn open(role: Role) -> (Rig, ChannelId, u32) {
    let mut rig = rig(role);
    let (id, number) = rig.opened(5, WINDOW, PACKET);
    (rig, id, number)
}

fn text(s: &str) -> SshStr<'_> {
    SshStr::new(s.as_bytes())
}

fn request(channel: u32, kind: &str, reply: bool, fields: &[u8]) -> Vec<u8> {
    payload(&msg::ChannelRequest::new(channel, text(kind), reply, fields))
}

fn string(s: &[u8]) -> Vec<u8> {
    strings(0, &[s])[1..].to_vec()
}

fn open_message(kind: &str, number: u32, packet: u32, fields: &[u8]) -> Vec<u8> {
    payload(&msg::ChannelOpen::new(text(kind), number, WINDOW, packet, fields))
}

fn close(rig: &mut Rig, id: ChannelId) {
    rig.conn().close_channel(id).unwrap();
    rig.run();
}

fn write(rig: &mut Rig, id: ChannelId, data: &[u8]) -> Result<usize, UsageError> {
    rig.conn().write(id, DataStream::Data, data)
}

/// Each message that names a channel.
fn about(channel: u32) -> Vec<Vec<u8>> {
    vec![
        payload(&msg::ChannelData::new(channel, b"x")),
        payload(&msg::ChannelExtendedData::new(channel, 1, b"x")),
        payload(&msg::ChannelEof::new(channel)),
        payload(&msg::ChannelClose::new(channel)),
        request(channel, "exec", true, &string(b"id")),
        request(channel, "exit-status", false, &[0, 0, 0, 7]),
    ]
}

#[test]
fn c01_messages_for_channels_that_are_not_there_end_the_connection() {
    for role in ROLES {
        for n in 0..6 {
            for wrong in [0, 5, 1, u32::MAX] {
                // Never opened; the peer's own number; closed just now.
                let mut rig = if wrong == 0 {
                    let (mut rig, id, number) = open(role);
                    assert_eq!(number, 0);
                    close(&mut rig, id);
                    rig.put(&msg::ChannelClose::new(0));
                    rig
                } else {
                    open(role).0
                };
                let heard = rig.events.len();
                rig.send(&about(wrong)[n]);
                rig.assert_fault(Fault::BadChannel);
                assert_eq!(rig.events.len(), heard);
            }
        }
        // Adjusts and replies may be late.
        let (mut rig, id, number) = open(role);
        close(&mut rig, id);
        rig.put(&msg::ChannelClose::new(number));
        for late in [number, 77, u32::MAX] {
            rig.put(&msg::ChannelWindowAdjust::new(late, 1));
            rig.put(&msg::ChannelSuccess::new(late));
            rig.put(&msg::ChannelFailure::new(late));
        }
        rig.assert_alive();
    }
}

#[test]
fn c02_nothing_happens_on_a_channel_before_both_sides_agreed() {
    for role in ROLES {
        let mut messages = about(0);
        messages.push(payload(&msg::ChannelWindowAdjust::new(0, 1)));
        for message in &messages {
            // We are opening it.
            let mut rig = rig(role);
            rig.conn().open(OpenKind::Session).unwrap();
            rig.run();
            rig.expect(90);
            let heard = rig.events.len();
            rig.send(message);
            rig.assert_fault(Fault::BadChannel);
            assert_eq!(rig.events.len(), heard);
            // The peer opens it and nobody has decided.
            let mut rig = self::rig(role);
            rig.app.hold_opens = true;
            rig.send(&open_message("x-test", 9, PACKET, &[]));
            assert_eq!(rig.events_with("Open "), 1, "{:?}", rig.events);
            rig.send(message);
            rig.assert_fault(Fault::BadChannel);
        }
    }
}

#[test]
fn c03_a_channel_is_confirmed_once_and_only_if_we_asked() {
    for role in ROLES {
        let confirm = |number| payload(&msg::ChannelOpenConfirmation::new(number, 6, WINDOW, PACKET, &[]));
        let refuse = |number| {
            payload(&msg::ChannelOpenFailure { recipient: number, reason: 1, description: text("no") })
        };
        for again in [confirm(0), refuse(0), confirm(3), refuse(3)] {
            let (mut rig, ..) = open(role);
            rig.send(&again);
            rig.assert_fault(Fault::BadChannel);
        }
        for again in [confirm(0), refuse(0)] {
            let mut rig = rig(role);
            rig.conn().open(OpenKind::Session).unwrap();
            rig.run();
            rig.send(&refuse(0));
            assert_eq!(rig.events_with("OpenFailed"), 1);
            rig.send(&again);
            rig.assert_fault(Fault::BadChannel);
        }
        // One that the peer opens.
        let mut rig = self::rig(role);
        rig.app.hold_opens = true;
        rig.send(&open_message("x-test", 9, PACKET, &[]));
        rig.send(&confirm(0));
        rig.assert_fault(Fault::BadChannel);
    }
}

#[test]
fn c04_a_client_takes_no_sessions_and_forwards_for_nobody() {
    let direct = |port: u32| {
        let mut f = string(b"localhost");
        f.put_u32(port);
        f.put_string(b"127.0.0.1");
        f.put_u32(4000);
        f
    };
    let mut rig = rig(Role::Client);
    for (kind, fields) in [("session", vec![]), ("direct-tcpip", direct(22))] {
        rig.send(&open_message(kind, 9, PACKET, &fields));
        let m = rig.expect(92);
        assert_eq!(m[1..9], [0, 0, 0, 9, 0, 0, 0, 1]);
    }
    assert_eq!(rig.events_with("Open "), 0);
    // Others are for the application to refuse; it may have asked for them.
    for kind in ["x11", "auth-agent@openssh.com", "tun@openssh.com"] {
        rig.send(&open_message(kind, 9, PACKET, &[]));
        let ticket = rig.app.open_tickets.pop().unwrap();
        rig.conn_client().reject_channel(ticket, OpenFailure::UNKNOWN_CHANNEL_TYPE, "no").unwrap();
        rig.run();
        assert_eq!(rig.expect(92)[5..9], [0, 0, 0, 3]);
    }
    let mut rig = self::rig(Role::Server);
    rig.send(&open_message("forwarded-tcpip", 9, PACKET, &direct(22)));
    rig.expect(92);
}

#[test]
fn c05_packet_sizes_of_zero_are_refused_and_of_one_are_kept() {
    for role in ROLES {
        let mut rig = rig(role);
        rig.send(&open_message("x-test", 9, 0, &[]));
        rig.expect(92);
        assert_eq!(rig.events_with("Open "), 0);
        let mut rig = self::rig(role);
        rig.conn().open(OpenKind::Session).unwrap();
        rig.run();
        rig.expect(90);
        rig.put(&msg::ChannelOpenConfirmation::new(0, 1, WINDOW, 0, &[]));
        rig.assert_fault(Fault::BadChannel);
        for packet in [1, 8, u32::MAX] {
            let mut rig = self::rig(role);
            let (id, _) = rig.opened(1, u32::MAX, packet);
            let taken = write(&mut rig, id, &vec![7; 1 << 20]).unwrap();
            rig.collect();
            assert!(rig.peer.rx.len() < 400 * 1024, "bounded, {}", rig.peer.rx.len());
            let lengths: Vec<usize> =
                rig.messages().iter().map(|m| msg::ChannelData::parse(m).unwrap().data.len()).collect();
            assert_eq!(lengths.iter().sum::<usize>(), taken);
            assert!(lengths.iter().all(|n| *n > 0 && *n <= (packet as usize).min(32768)));
        }
    }
}

#[test]
fn c06_a_window_beyond_32_bits_is_fatal() {
    for role in ROLES {
        let mut rig = rig(role);
        let (_, number) = rig.opened(1, u32::MAX - 5, PACKET);
        rig.put(&msg::ChannelWindowAdjust::new(number, 0));
        rig.put(&msg::ChannelWindowAdjust::new(number, 5));
        rig.assert_alive();
        rig.put(&msg::ChannelWindowAdjust::new(number, 1));
        rig.assert_fault(Fault::WindowOverflow);
    }
}

#[test]
fn c07_c09_a_peer_that_is_not_read_may_send_one_window_and_no_byte_more() {
    for role in ROLES {
        for extended in [false, true] {
            let (mut rig, _, number) = open(role);
            rig.app.hold_data = true;
            let data = vec![1; PACKET as usize];
            for n in 0..WINDOW / PACKET {
                // Both streams share the window.
                if extended && n % 2 == 0 {
                    rig.put(&msg::ChannelExtendedData::new(number, 1, &data));
                } else {
                    rig.put(&msg::ChannelData::new(number, &data));
                }
            }
            rig.assert_alive();
            assert_eq!(rig.numbers(), [], "no credit for what was not consumed");
            rig.put(&msg::ChannelData::new(number, b""));
            rig.assert_alive();
            rig.put(&msg::ChannelExtendedData::new(number, u32::from(extended), b"x"));
            rig.assert_fault(Fault::WindowExceeded);
            assert_eq!(rig.app.data.len(), WINDOW as usize);
        }
    }
}

#[test]
fn c08_a_packet_larger_than_announced_is_fatal() {
    for role in ROLES {
        let (mut rig, _, number) = open(role);
        rig.put(&msg::ChannelData::new(number, &[0; PACKET as usize]));
        rig.assert_alive();
        rig.put(&msg::ChannelData::new(number, &[0; PACKET as usize + 1]));
        rig.assert_fault(Fault::WindowExceeded);
    }
}

#[test]
fn c10_unknown_extended_data_is_dropped_and_its_window_given_back() {
    for role in ROLES {
        for code in [0, 2, u32::MAX] {
            let (mut rig, _, number) = open(role);
            rig.app.hold_data = true;
            let data = vec![1; PACKET as usize];
            let mut credit = u64::from(WINDOW);
            for _ in 0..10 * WINDOW / PACKET {
                rig.put(&msg::ChannelExtendedData::new(number, code, &data));
                credit -= u64::from(PACKET);
                for m in rig.messages() {
                    credit += u64::from(msg::ChannelWindowAdjust::parse(&m).unwrap().bytes);
                }
                assert!(credit >= u64::from(PACKET));
            }
            rig.assert_alive();
            assert_eq!(rig.events_with("Data"), 0);
        }
    }
}

#[test]
fn c11_c12_what_may_follow_eof_and_close() {
    for role in ROLES {
        for data in
            [payload(&msg::ChannelData::new(0, b"x")), payload(&msg::ChannelExtendedData::new(0, 1, b"x"))]
        {
            let (mut rig, ..) = open(role);
            rig.put(&msg::ChannelEof::new(0));
            rig.send(&data);
            rig.assert_fault(Fault::BadChannel);
            assert_eq!(rig.app.data, b"");
        }
        // Adjusts, requests and a second EOF are fine; the EOF is told once.
        let (mut rig, id, _) = open(role);
        rig.put(&msg::ChannelEof::new(0));
        rig.put(&msg::ChannelEof::new(0));
        rig.put(&msg::ChannelWindowAdjust::new(0, 100));
        rig.send(&request(0, "exit-status", false, &[0, 0, 0, 7]));
        rig.assert_alive();
        assert_eq!(rig.events_with("Eof"), 1);
        assert_eq!(rig.events_with("Exit(Status(7))"), 1);
        // After our EOF an adjust changes nothing.
        rig.conn().send_eof(id).unwrap();
        rig.run();
        rig.put(&msg::ChannelWindowAdjust::new(0, 100));
        assert_eq!(rig.numbers(), [96]);
        assert_eq!(write(&mut rig, id, b"x"), Err(UsageError::ChannelState));
        // After our CLOSE, what still comes is dropped; after both there is no channel.
        close(&mut rig, id);
        let heard = rig.events.len();
        rig.send(&request(0, "exec", true, &string(b"id")));
        assert_eq!((rig.events.len(), rig.numbers()), (heard, vec![97]));
        rig.put(&msg::ChannelClose::new(0));
        assert_eq!(rig.events_with("Closed"), 1);
        rig.put(&msg::ChannelClose::new(0));
        rig.assert_fault(Fault::BadChannel);
    }
}

#[test]
fn c13_numbers_are_used_again_identifiers_are_not() {
    for role in ROLES {
        let (mut rig, first, number) = open(role);
        rig.put(&msg::ChannelClose::new(number));
        assert_eq!(rig.numbers(), [97], "CLOSE without EOF is answered");
        for _ in 0..1000 {
            let (id, again) = rig.opened(5, WINDOW, PACKET);
            assert_eq!(again, number);
            assert_eq!(write(&mut rig, first, b"x"), Err(UsageError::NoSuchChannel));
            rig.put(&msg::ChannelData::new(number, b"x"));
            close(&mut rig, id);
            rig.put(&msg::ChannelClose::new(number));
            assert_eq!(rig.numbers(), [97]);
        }
        assert_eq!(rig.events_with("Closed"), 1001);
    }
}

#[test]
fn c15_replies_to_nothing_are_dropped_and_do_not_hide_the_real_one() {
    for role in ROLES {
        let (mut rig, id, number) = open(role);
        for _ in 0..10_000 {
            rig.peer.put(&msg::RequestSuccess::new(b""));
            rig.peer.put(&msg::RequestFailure::new());
            rig.peer.put(&msg::ChannelSuccess::new(number));
            rig.peer.put(&msg::ChannelFailure::new(number));
        }
        let heard = rig.events.len();
        rig.run();
        assert_eq!(rig.events.len(), heard);
        rig.conn().request(id, ChannelRequest::Shell, WantReply::Yes).unwrap();
        rig.conn().request_global("hello", b"", WantReply::Yes).unwrap();
        rig.run();
        rig.put(&msg::ChannelFailure::new(number));
        rig.put(&msg::RequestSuccess::new(b"yes"));
        assert_eq!(rig.events_with("RequestDone { ok: false }"), 1);
        assert_eq!(rig.events_with("GlobalReply { ok: true"), 1);
    }
}

#[test]
fn c16_the_connection_protocol_is_a_closed_list() {
    for role in ROLES {
        for number in (83..90).chain(101..128) {
            let (mut rig, ..) = open(role);
            rig.send(&[number, 0, 0, 0, 0]);
            rig.assert_fault(Fault::UnexpectedMessage);
        }
    }
}

#[test]
fn c18_data_eof_and_close_keep_their_order_across_a_key_exchange() {
    for role in ROLES {
        let (mut rig, id, _) = open(role);
        assert_eq!(write(&mut rig, id, &[1; 1000]), Ok(1000));
        rig.peer.send_kexinit();
        rig.run();
        // The gate is shut: nothing is taken, the rest waits as flags.
        assert_eq!(write(&mut rig, id, b"later"), Ok(0));
        rig.conn().request(id, ChannelRequest::ExitStatus(3), WantReply::No).unwrap();
        rig.conn().send_eof(id).unwrap();
        rig.conn().close_channel(id).unwrap();
        rig.run();
        assert_eq!(rig.expect(94)[0], 94);
        rig.expect(20);
        rig.peer.agree();
        rig.method();
        rig.peer.send_newkeys();
        rig.run();
        assert_eq!(rig.numbers(), [98, 96, 97]);
    }
}

#[test]
fn c18_a_close_of_the_peer_inside_our_key_exchange_is_answered_after_it() {
    for role in ROLES {
        let (mut rig, id, number) = open(role);
        rig.conn().rekey().unwrap();
        rig.poll();
        rig.conn().request(id, ChannelRequest::Shell, WantReply::Yes).unwrap();
        rig.run();
        rig.put(&msg::ChannelClose::new(number));
        assert_eq!(rig.events_with("Closed"), 1);
        rig.rekey();
        assert_eq!(rig.numbers(), [98, 97], "and nothing behind CLOSE");
    }
}

#[test]
fn c25_connections_go_to_hosts_and_ports_that_exist() {
    let mut rig = rig(Role::Server);
    let fields = |host: &[u8], port: u32| {
        let mut f = string(host);
        f.put_u32(port);
        f.put_string(b"127.0.0.1");
        f.put_u32(u32::MAX);
        f
    };
    for (host, port) in [(&b"a\0b"[..], 22), (&[b'h'; 1026], 22), (b"h", 0), (b"h", 65_536), (b"h", u32::MAX)]
    {
        rig.send(&open_message("direct-tcpip", 9, PACKET, &fields(host, port)));
        assert_eq!(rig.expect(92)[5..9], [0, 0, 0, 1]);
    }
    assert_eq!(rig.events_with("Open "), 0);
    rig.send(&open_message("direct-tcpip", 9, PACKET, &fields(b"h", 65_535)));
    rig.expect(91);
    rig.send(&open_message("direct-tcpip", 9, PACKET, b"short"));
    rig.assert_fault(Fault::Malformed);
}

#[test]
fn c29_channels_are_counted_open_and_undecided() {
    let mut rig = rig(Role::Server);
    for n in 0..256 {
        rig.send(&open_message("session", n, PACKET, &[]));
        rig.expect(91);
    }
    rig.send(&open_message("session", 256, PACKET, &[]));
    assert_eq!(rig.expect(92)[5..9], [0, 0, 0, 4]);
    let mut rig = self::rig(Role::Server);
    rig.app.hold_opens = true;
    for n in 0..16 {
        rig.send(&open_message("session", n, PACKET, &[]));
    }
    assert_eq!((rig.app.open_tickets.len(), rig.numbers()), (16, vec![]));
    rig.send(&open_message("session", 16, PACKET, &[]));
    assert_eq!(rig.expect(92)[5..9], [0, 0, 0, 4]);
}

#[test]
fn c30_a_question_that_nobody_answers_is_a_no_after_30_seconds() {
    let mut rig = rig(Role::Server);
    rig.app.hold_requests = true;
    let number = rig.open(5, WINDOW, PACKET);
    rig.app.hold_opens = true;
    rig.send(&open_message("session", 6, PACKET, &[]));
    rig.send(&request(number, "shell", true, &[]));
    rig.app.request_tickets.clear();
    rig.wait(Duration::from_millis(29_999));
    assert_eq!(rig.numbers(), []);
    rig.wait(Duration::from_millis(1));
    let answers = rig.messages();
    // The keepalive probe of the same moment comes first.
    let answers: Vec<_> = answers.into_iter().filter(|m| m[0] != 80).collect();
    assert_eq!(answers.iter().map(|m| m[0]).collect::<Vec<_>>(), [92, 100]);
    assert_eq!(answers[0][5..9], [0, 0, 0, 1]);
    let stale = rig.app.open_tickets.pop().unwrap();
    assert_eq!(rig.conn_server().accept_channel(stale), Err(UsageError::StaleTicket));
    // The session may still get a program.
    rig.send(&request(number, "shell", true, &[]));
    assert_eq!(rig.app.request_tickets.len(), 1);
}

#[test]
fn c31_empty_data_is_no_event_and_costs_linear_time() {
    for role in ROLES {
        let (mut rig, _, number) = open(role);
        for _ in 0..100_000 {
            rig.peer.put(&msg::ChannelData::new(number, b""));
        }
        let heard = rig.events.len();
        rig.run();
        rig.assert_alive();
        assert_eq!(rig.events.len(), heard);
    }
}

#[test]
fn c33_c35_global_requests_are_answered_in_order_and_unknown_ones_with_no() {
    for role in ROLES {
        let mut rig = rig(role);
        for n in 0..100 {
            let name = ["roaming@appgate.com", "keepalive@openssh.com", "tcpip-forward", "x@vendor"][n % 4];
            rig.peer.put(&msg::GlobalRequest::new(text(name), n % 3 != 0, b""));
        }
        rig.run();
        rig.assert_alive();
        assert_eq!(rig.numbers(), vec![82; 66]);
    }
    // Nothing of the kind before authentication.
    let mut rig = Rig::new(Role::Client);
    rig.app.proofs.clear();
    rig.service();
    rig.wait(Duration::from_secs(3600));
    rig.assert_alive();
    assert_eq!(rig.numbers(), []);
}

#[test]
fn c33_late_answers_to_global_requests_keep_the_order_of_the_requests() {
    for role in ROLES {
        let mut rig = rig(role);
        rig.app.hold_globals = true;
        // Those that the core answers by itself wait for their turn as well.
        for name in ["x@test", "keepalive@openssh.com", "x@test", "x@test", "keepalive@openssh.com", "x@test"]
        {
            rig.put(&msg::GlobalRequest::new(text(name), true, b""));
        }
        // Each answer is another, and they are decided last to first.
        let answers = [(true, Some(1)), (false, None), (true, None), (true, Some(4))];
        assert_eq!(rig.app.global_tickets.len(), answers.len());
        while let Some(ticket) = rig.app.global_tickets.pop() {
            assert_eq!(rig.numbers(), []);
            let (ok, port) = answers[rig.app.global_tickets.len()];
            rig.conn().reply_global(ticket, Decision::accept_if(ok), port).unwrap();
            rig.run();
        }
        let expected: [&[u8]; 6] = [&[81, 0, 0, 0, 1], &[82], &[82], &[81], &[82], &[81, 0, 0, 0, 4]];
        assert_eq!(rig.messages(), expected, "{role:?}");
    }
}

#[test]
fn c33_late_decisions_do_not_change_the_order_of_replies() {
    let mut rig = rig(Role::Server);
    rig.app.hold_requests = true;
    let number = rig.open(5, WINDOW, PACKET);
    for _ in 0..4 {
        rig.send(&request(number, "x@test", true, &[]));
    }
    let verdicts = [true, false, true, false];
    while let Some(ticket) = rig.app.request_tickets.pop() {
        assert_eq!(rig.numbers(), []);
        let ok = verdicts[rig.app.request_tickets.len()];
        rig.conn_server().reply(ticket, Decision::accept_if(ok)).unwrap();
        rig.collect();
    }
    assert_eq!(rig.numbers(), [99, 100, 99, 100]);
}

#[test]
fn v37_replies_do_not_pile_up_when_the_peer_does_not_read() {
    for role in ROLES {
        let mut rig = rig(role);
        rig.collect();
        let mut pushed = 0;
        while rig.blocked != Some(Blocked::Output) {
            for _ in 0..1000 {
                rig.peer.put(&msg::GlobalRequest::new(text("x"), true, b""));
            }
            let bytes = std::mem::take(&mut rig.peer.tx);
            rig.rx.push(&bytes);
            rig.poll();
            pushed += 1000;
            assert!(pushed < 200_000);
        }
        assert!(rig.tx().len() <= (1 << 20) + 64);
        // Drained, it goes on where it stopped, and loses none.
        let mut answered = 0;
        for _ in 0..100 {
            rig.collect();
            answered += rig.numbers().len();
            rig.poll();
        }
        assert_eq!(answered, pushed);
        assert_eq!(rig.blocked, Some(Blocked::Input));
    }
}

#[test]
fn texts_and_fields_that_fit_no_packet_are_refused_at_the_call() {
    let (mut rig, id, _) = open(Role::Client);
    let long = vec![b'x'; 300 * 1024];
    let exec = ChannelRequest::Exec(SshStr::new(&long));
    let c = rig.conn_client();
    assert_eq!(c.request(id, exec, WantReply::Yes), Err(UsageError::InvalidText));
    let open = OpenKind::Other { kind: text("x"), fields: &long };
    assert_eq!(c.open(open), Err(UsageError::InvalidText));
    assert_eq!(c.request_global("x", &long, WantReply::Yes), Err(UsageError::InvalidText));
    rig.run();
    assert_eq!(rig.numbers(), []);
}

/// Writes, and gives the window so much more after each.
fn writers_stay_within(packet: u32, window: u32, steps: &[(usize, u32)]) -> Result<(), TestCaseError> {
    let mut config = ClientConfig::new(transport(Policy::Modern));
    config.window.initial = 1000;
    let full = config.transport.limits.output_soft;
    let mut rig = Rig::client(config);
    rig.login();
    let (id, number) = rig.opened(1, window, packet);
    let mut left = u64::from(window);
    for &(len, adjust) in steps {
        let taken = write(&mut rig, id, &vec![0; len]).unwrap();
        let unsent = rig.tx().len();
        rig.collect();
        let mut seen = 0;
        for m in rig.messages() {
            let n = msg::ChannelData::parse(&m).unwrap().data.len();
            prop_assert!(n > 0 && n <= packet as usize);
            seen += n;
        }
        prop_assert_eq!(seen, taken);
        prop_assert!(seen as u64 <= left);
        // Never waits for a whole packet of window, and stops only for a reason; small packets fill the
        // output with what stands around them.
        prop_assert!(seen == len || seen as u64 == left || unsent >= full, "{} of {}", seen, len);
        left -= seen as u64;
        rig.put(&msg::ChannelWindowAdjust::new(number, adjust));
        left += u64::from(adjust);
    }
    Ok(())
}

#[test]
fn b6_packets_of_one_byte_fill_the_output_before_the_window() {
    writers_stay_within(1, 0, &[(0, 7283), (7283, 0)]).unwrap();
}

proptest! {
    #![proptest_config(property::config(64))]

    /// C-32: packets of ours respect the peer's window and packet size, whatever they are.
    #[test]
    fn c32_writers_stay_within_window_and_packet(
        packet in 1u32..40_000,
        window in 0u32..200_000,
        steps in prop::collection::vec((0usize..60_000, 0u32..50_000), 1..20),
    ) {
        writers_stay_within(packet, window, &steps)?;
    }

    /// C-09: what was granted is never more than the window above what was consumed.
    #[test]
    fn c09_credit_follows_consumption(steps in prop::collection::vec((1usize..3000, 0usize..4000), 1..60)) {
        let mut config = ClientConfig::new(transport(Policy::Modern));
        config.window = WindowConfig::new().initial(8000).max(8000).packet(3000);
        let mut rig = Rig::client(config);
        rig.login();
        let (id, number) = rig.opened(1, 0, 1);
        rig.app.hold_data = true;
        let (mut granted, mut sent, mut consumed) = (8000usize, 0usize, 0usize);
        for (n, c) in steps {
            let n = n.min(granted - sent);
            if n > 0 {
                rig.put(&msg::ChannelData::new(number, &vec![0; n]));
                sent += n;
            }
            rig.conn_client().consume(id, c).unwrap();
            consumed = (consumed + c).min(sent);
            rig.run();
            for m in rig.messages() {
                granted += msg::ChannelWindowAdjust::parse(&m).unwrap().bytes as usize;
            }
            prop_assert!(granted <= consumed + 8000);
            // Half a window consumed and not granted again is not kept back.
            prop_assert!(granted + 4000 >= consumed + 8000);
        }
        rig.assert_alive();
    }
}
