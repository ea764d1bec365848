//! Whatever stands on the port: the program ends with 255 within its timeout, names the phase, and shows what came,
//! escaped.

use konko_conformance::bad_peer::{Then, kexinit, packet};
use konko_conformance::log::say;
use konko_conformance::{BadPeer, Finished, Program};
use std::time::Duration;

/// How long the program waits (`ConnectTimeout`), and how long it may take in all.
const TIMEOUT: u64 = 2;
const LIMIT: Duration = Duration::from_secs(8);

const IDENT: &[u8] = b"SSH-2.0-bad_peer\r\n";
/// Words for the phase before the first packet.
const IDENTIFICATION: &[&str] = &["identification"];
/// Words for the phase between the first packet and the new keys.
const KEY_EXCHANGE: &[&str] = &["key exchange"];

fn meet(bytes: impl Into<Vec<u8>>, then: Then) -> Option<(Program, Finished)> {
    let program = Program::under_test()?;
    let peer = BadPeer::start(bytes, then);
    let home = tempfile::tempdir().expect("a temporary folder");
    let call = program.call(home.path(), peer.port).option("BatchMode", "yes");
    let done = call.option("ConnectTimeout", TIMEOUT).deadline(LIMIT).run("true");
    done.expect_code(255);
    assert!(!done.stderr.bytes.is_empty(), "an error without a message\n{done}");
    let raw = done.stderr.bytes.iter().any(|b| *b < 0x20 && !b"\t\r\n".contains(b) || *b == 0x7f);
    assert!(!raw, "what came is not escaped\n{done}");
    Some((program, done))
}

/// Checks the words of the message; OpenSSH, run to check the tests, has its own.
fn expect(bytes: impl Into<Vec<u8>>, then: Then, phase: &[&str], shown: &[&str]) {
    let Some((program, done)) = meet(bytes, then) else { return };
    if program.is_openssh() {
        return;
    }
    done.expect_stderr(phase);
    if !shown.is_empty() {
        done.expect_stderr(shown);
    }
}

#[test]
fn closed_at_once() {
    expect("", Then::Close, IDENTIFICATION, &["closed", "end of file", "ended"]);
}

#[test]
fn silent() {
    expect("", Then::Hold, IDENTIFICATION, &["timeout", "timed out", "seconds"]);
}

#[test]
fn nobody_listens() {
    let Some(program) = Program::under_test() else { return };
    let home = tempfile::tempdir().expect("a temporary folder");
    let port = konko_conformance::sshd::free_port();
    let done = program.call(home.path(), port).option("BatchMode", "yes").deadline(LIMIT).run("true");
    done.expect_code(255).expect_stderr(&["refused"]).expect_stderr(&[&port.to_string()]);
}

#[test]
fn identification_cut_short() {
    expect("SSH-2.0-half_an_id", Then::Close, IDENTIFICATION, &["SSH-2.0-half_an_id"]);
    expect("SSH-2.0-half_an_id", Then::Hold, IDENTIFICATION, &["SSH-2.0-half_an_id"]);
}

#[test]
fn identification_without_end() {
    let mut long = b"SSH-2.0-".to_vec();
    long.extend([b'x'; 100]);
    expect(long, Then::Repeat, IDENTIFICATION, &["SSH-2.0-xxx"]);
}

#[test]
fn lines_without_end_before_the_identification() {
    expect("Welcome to the machine\r\n", Then::Repeat, IDENTIFICATION, &["Welcome to the machine"]);
}

#[test]
fn other_protocol_versions() {
    expect("SSH-1.5-old\n", Then::Hold, IDENTIFICATION, &["SSH-1.5-old"]);
    expect("SSH-3.0-new\r\n", Then::Hold, IDENTIFICATION, &["SSH-3.0-new"]);
}

#[test]
fn garbage() {
    let garbage: Vec<u8> = (0..2000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    expect(garbage.clone(), Then::Close, IDENTIFICATION, &["\\x"]);
    expect(garbage, Then::Hold, IDENTIFICATION, &["\\x"]);
}

#[test]
fn escape_sequences_are_not_passed_on() {
    expect("\x1b]0;owned\x07\x1b[2J\r\n", Then::Close, IDENTIFICATION, &["\\x1b", "\\e"]);
}

#[test]
fn http() {
    let answer =
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n<html></html>\r\n";
    expect(answer, Then::Close, IDENTIFICATION, &["HTTP/1.1 400 Bad Request"]);
}

#[test]
fn tls() {
    // An alert: fatal, unexpected message.
    expect([0x15, 3, 3, 0, 2, 2, 10], Then::Close, IDENTIFICATION, &["\\x15"]);
    expect([0x15, 3, 3, 0, 2, 2, 10], Then::Hold, IDENTIFICATION, &["\\x15"]);
}

#[test]
fn redis() {
    let answer = "-ERR unknown command 'SSH-2.0-konko', with args beginning with: \r\n";
    expect(answer, Then::Hold, IDENTIFICATION, &["-ERR unknown command"]);
}

#[test]
fn closed_after_the_identification() {
    expect(IDENT, Then::Close, KEY_EXCHANGE, &["closed", "end of file", "ended"]);
}

#[test]
fn silent_after_the_identification() {
    if Program::under_test().is_some_and(|p| p.is_openssh()) {
        // Its ConnectTimeout ends with the identification.
        return say("OpenSSH waits for ever for a KEXINIT: not tried with it");
    }
    expect(IDENT, Then::Hold, KEY_EXCHANGE, &["timeout", "timed out", "seconds"]);
}

#[test]
fn garbage_after_the_identification() {
    expect([IDENT, &[0xff; 64]].concat(), Then::Hold, KEY_EXCHANGE, &["\\xff", "ffffffff", "4294967295"]);
}

#[test]
fn a_first_packet_cut_short() {
    let packet = packet(&kexinit(["curve25519-sha256"; 10]));
    let half = [IDENT, &packet[..packet.len() / 2]].concat();
    expect(half, Then::Close, KEY_EXCHANGE, &["closed", "end of file", "ended"]);
}

#[test]
fn a_kexinit_cut_short() {
    let payload = kexinit(["curve25519-sha256"; 10]);
    expect([IDENT, &packet(&payload[..40])].concat(), Then::Hold, KEY_EXCHANGE, &["KEXINIT"]);
}

#[test]
fn nothing_in_common() {
    let lists = ["nothing-you-know"; 10];
    let both = [IDENT, &packet(&kexinit(lists))].concat();
    expect(both, Then::Hold, &["key exchange", "negotiat"], &["nothing-you-know"]);
}

#[test]
fn a_message_of_another_phase() {
    // CHANNEL_OPEN (90) before anything else.
    expect([IDENT, &packet(&[90, 0, 0, 0, 0])].concat(), Then::Hold, KEY_EXCHANGE, &["90", "CHANNEL_OPEN"]);
}

#[test]
fn a_disconnect_with_escapes_in_its_reason() {
    let text = b"go \x1b[31maway";
    let mut payload = vec![1, 0, 0, 0, 11, 0, 0, 0, text.len() as u8];
    payload.extend_from_slice(text);
    payload.extend_from_slice(&[0; 4]);
    expect([IDENT, &packet(&payload)].concat(), Then::Close, KEY_EXCHANGE, &["away"]);
}
