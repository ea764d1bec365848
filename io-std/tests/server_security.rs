//! Rows of the security facts that a whole server has to keep.
#![cfg(feature = "server")]

mod raw_client;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use konko::core::channel::{ChannelRequest, OpenFailure, OpenKind};
use konko::core::wire::SshStr;
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::{Auth, Client, ClientOptions, ErrorKind, HostKeys};
use raw_client::{Raw, Stop};

/// A server with the parts as they come.
fn serve(programs: Programs) -> Server {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap()
}

fn alice(server: &Server) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), options).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

#[test]
fn c_24_c_26_c_36_no_kind_of_forwarding_is_on_by_default() {
    let server =
        serve(Programs::new().command("cat", |call| {
            std::io::copy(&mut call.channel(), &mut std::io::sink()).map_or(1u32, |_| 0)
        }));
    let client = alice(&server);
    // A listener that nobody must reach.
    let secret = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    secret.set_nonblocking(true).unwrap();
    let port = secret.local_addr().unwrap().port();
    let why = |result: Result<konko::Channel, konko::Error>| match result.unwrap_err().kind() {
        ErrorKind::OpenRefused(why, _) => *why,
        other => panic!("{other}"),
    };
    let refused = why(client.direct_tcpip("127.0.0.1", port));
    assert_eq!(refused, OpenFailure::ADMINISTRATIVELY_PROHIBITED);
    for kind in ["direct-streamlocal@openssh.com", "tun@openssh.com", "x11", "auth-agent@openssh.com"] {
        let open = OpenKind::Other { kind: SshStr::new(kind.as_bytes()), fields: &[] };
        assert_eq!(why(client.open(open)), OpenFailure::UNKNOWN_CHANNEL_TYPE, "{kind}");
    }
    assert!(secret.accept().is_err(), "nobody connected");
    let session = client.session().unwrap();
    assert!(session.request(&ChannelRequest::AuthAgent).is_err());
    let x11 = ChannelRequest::Other { kind: SshStr::new(b"x11-req"), fields: &[0; 13] };
    assert!(session.request(&x11).is_err());
    session.exec("cat").unwrap();
    assert!(session.request(&ChannelRequest::AuthAgent).is_err());

    let socket = TcpStream::connect(server.local_addr()).unwrap();
    let mut raw = Raw::new(socket, 1, "cat").run(Stop::Running);
    for name in ["tcpip-forward", "cancel-tcpip-forward", "streamlocal-forward@openssh.com", "anything"] {
        for host in [&b""[..], b"*", b"0.0.0.0", b"::", b"localhost"] {
            let mut fields = (host.len() as u32).to_be_bytes().to_vec();
            fields.extend_from_slice(host);
            fields.extend_from_slice(&[0, 0, 0, 0]);
            assert!(!raw.request_global(name, &fields), "{name}");
        }
    }
}

#[test]
fn c_17_a_channel_that_nobody_reads_holds_up_no_other() {
    let server = serve(
        Programs::new()
            .command("flood", |call| {
                std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut call.channel()).map_or(1u32, |_| 0)
            })
            .command("echo", |call| {
                std::io::copy(&mut call.channel(), &mut call.channel()).map_or(1u32, |_| 0)
            })
            .command("deaf", |_| {
                thread::park_timeout(Duration::from_secs(60));
                0u32
            }),
    );
    let client = alice(&server);
    let flood = client.session().unwrap();
    flood.exec("flood").unwrap();
    let mut deaf = client.session().unwrap();
    deaf.exec("deaf").unwrap();
    deaf.set_timeout(Some(Duration::from_millis(300)));
    // Until the window is full, in the other direction.
    while deaf.write_all(&[0; 32 << 10]).is_ok() {}

    let (mut echo, size) = (client.session().unwrap(), 16 << 20);
    echo.exec("echo").unwrap();
    let reader = thread::spawn({
        let mut echo = echo.clone();
        move || std::io::copy(&mut Read::by_ref(&mut echo).take(size), &mut std::io::sink())
    });
    std::io::copy(&mut std::io::repeat(7).take(size), &mut echo).unwrap();
    assert_eq!(reader.join().unwrap().unwrap(), size);
}

#[test]
fn c_34_what_was_written_before_the_end_arrives() {
    let server = serve(Programs::new().command("both", |call| {
        // Standard output ends long before standard error does.
        call.channel().write_all(&[b'o'; 3 << 20]).unwrap();
        call.channel().stderr().write_all(&[b'e'; 3 << 20]).unwrap();
        9u32
    }));
    let client = alice(&server);
    for _ in 0..5 {
        let output = client.exec("both").unwrap();
        assert_eq!((output.exit, output.stdout.len(), output.stderr.len()), (9.into(), 3 << 20, 3 << 20));
    }
    // A reader who takes his time gets it all too.
    let mut slow = client.session().unwrap();
    slow.exec("both").unwrap();
    let mut stderr = slow.stderr();
    let errors = thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()).unwrap());
    let (mut total, mut buffer) = (0, [0; 4096]);
    while let n @ 1.. = slow.read(&mut buffer).unwrap() {
        total += n;
        if total % (1 << 20) < 4096 {
            thread::yield_now();
        }
    }
    assert_eq!((total, errors.join().unwrap(), slow.wait().unwrap()), (3 << 20, 3 << 20, 9.into()));
}

#[test]
fn r_02_nothing_but_the_program_touches_signals() {
    fn sources(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                if path.file_name().unwrap() != "bin" {
                    sources(&path, found);
                }
            } else {
                found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    sources(&here.join("src"), &mut found);
    sources(&here.join("../core/src"), &mut found);
    assert!(found.len() > 50);
    for (path, text) in found {
        // What a program starts with, between fork and exec: the default.
        let text = text.replace("libc::signal(signal, libc::SIG_DFL)", "");
        for handler in ["signal_hook", "sigaction", "libc::signal", "extern \"C\" fn"] {
            assert!(!text.contains(handler), "{path} has {handler}");
        }
    }
}
