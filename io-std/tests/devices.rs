//! Sessions with servers that answer requests as they like, or not at all.
#![cfg(feature = "server")]

mod device;
mod odd_server;

use std::io::Read;
use std::time::Duration;

use device::{Answers, device};
use konko::{Auth, Client, ClientOptions, ErrorKind, Exec, Exit, HostKeys, Pty};

fn client(addr: std::net::SocketAddr) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(addr, options).unwrap();
    client.login("someone", Auth::new().none()).unwrap();
    client
}

/// Whatever is answered or not: what comes is the command's, and nothing waits for anything else.
#[test]
fn c4_what_comes_of_a_command_is_shown_though_nothing_was_answered() {
    for program in [Answers::Yes, Answers::Never] {
        for pty in [Answers::Yes, Answers::Never] {
            for terminal in [false, true] {
                let client = client(device(pty, program, true));
                let run = Exec::new("x").timeout(Duration::from_secs(10));
                let run = if terminal { run.pty(Pty::default()) } else { run };
                let out = client.exec_with(&run).unwrap();
                assert_eq!((out.exit, &out.stdout[..]), (Exit::Status(3), &b"hello\n"[..]));
            }
        }
    }
}

#[test]
fn c4_a_channel_that_is_driven_by_hand_starts_when_something_comes() {
    let client = client(device(Answers::Never, Answers::Never, true));
    let channel = client.session().unwrap();
    let _terminal = channel.send_pty(&Pty::default()).unwrap();
    channel.env("A", b"\xff").unwrap();
    channel.exec("x").unwrap();
    let mut text = String::new();
    (&channel).read_to_string(&mut text).unwrap();
    assert_eq!((&text[..], channel.wait().unwrap()), ("hello\n", Exit::Status(3)));
}

#[test]
fn c4_a_refusal_is_an_error_and_ends_all_waiting() {
    let client = client(device(Answers::Yes, Answers::No, false));
    let run = Exec::new("x").stdin(&[0; 1 << 17]);
    let error = client.exec_with(&run).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RequestRefused("exec")), "{error}");

    let client = self::client(device(Answers::Yes, Answers::No, false));
    let channel = client.session().unwrap();
    let asked = channel.send(&konko::core::channel::ChannelRequest::Shell).unwrap();
    let mut nothing = Vec::new();
    (&channel).read_to_end(&mut nothing).unwrap();
    assert!(nothing.is_empty() && !channel.takes_input());
    assert!(matches!(channel.wait().unwrap_err().kind(), ErrorKind::RequestRefused("shell")));
    assert!(matches!(asked.wait().unwrap_err().kind(), ErrorKind::RequestRefused("shell")));
}

#[test]
fn c4_a_terminal_that_is_refused_is_an_error_of_the_library() {
    let client = client(device(Answers::No, Answers::Yes, true));
    let run = Exec::new("x").pty(Pty::default());
    let error = client.exec_with(&run).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::RequestRefused("pseudo-terminal")), "{error}");
}

#[test]
fn c4_sftp_says_what_was_refused() {
    let client = client(device(Answers::Yes, Answers::No, false));
    let error = client.sftp().unwrap_err();
    assert!(error.to_string().contains("refused the request: subsystem"), "{error}");
}
