//! Users and programs put together, with the blocking client.
#![cfg(feature = "server")]

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko::core::authorized_keys::AuthorizedKeys;
use konko::core::keys::{KeyPair, KeyType, PrivateKey};
use konko::core::provider::best;
use konko::core::{Rng, Seed};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service, System};
use konko::{Auth, Client, ClientOptions, ErrorKind, Exit, HostKeys, Pty};

fn key(n: u8) -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([n; 32]))).unwrap();
    Arc::new(key.key_pair(best()).unwrap())
}

/// A line of authorized_keys.
fn line(options: &str, key: &KeyPair) -> AuthorizedKeys {
    let line = format!("{options} {}", key.public().to_openssh_line(""));
    let keys = AuthorizedKeys::parse("test", line.trim_start().as_bytes()).unwrap();
    assert!(keys.warnings().is_empty(), "{:?}", keys.warnings());
    keys
}

fn serve(users: Users, programs: Programs) -> Server {
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap()
}

fn connect(server: &Server) -> Client {
    let insecure = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    Client::connect(server.local_addr(), insecure).unwrap()
}

fn system(users: Users) -> Server {
    serve(users, Programs::new().system(System::new().dir("/")))
}

fn alice() -> Users {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland").keys(line("", &key(1)))).unwrap();
    users
}

fn login(server: &Server) -> Client {
    let client = connect(server);
    client.login("alice", Auth::new().key(key(1))).unwrap();
    client
}

#[test]
fn passwords_and_keys_let_in_and_nothing_else_does() {
    let server = system(alice());
    let client = connect(&server);
    for wrong in [Auth::new().password("looking-glass"), Auth::new().key(key(2))] {
        assert!(matches!(client.login("alice", wrong).unwrap_err().kind(), ErrorKind::Auth(_)));
    }
    assert!(connect(&server).login("mallory", Auth::new().key(key(1))).is_err());
    let login = client.login("alice", Auth::new().password("wonderland")).unwrap();
    assert_eq!(login.method.name(), "password");
}

#[test]
fn two_factors_are_two() {
    let mut users = alice();
    users.require("publickey,password publickey,keyboard-interactive".parse().unwrap());
    let server = system(users);
    assert!(connect(&server).login("alice", Auth::new().password("wonderland")).is_err());
    assert!(connect(&server).login("alice", Auth::new().key(key(1))).is_err());
    let both = Auth::new().key(key(1)).password("wonderland");
    assert_eq!(connect(&server).login("alice", both).unwrap().method.name(), "password");
}

#[test]
fn c_27_a_forced_command_is_all_that_runs() {
    let mut users = Users::new();
    let options = r#"no-pty,command="echo \"forced, not $SSH_ORIGINAL_COMMAND\"; exit 5""#;
    users.add("alice", User::new().keys(line(options, &key(1)))).unwrap();
    let server = system(users);
    let client = login(&server);
    let output = client.exec("rm -rf important").unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "forced, not rm -rf important\n");
    assert_eq!(output.exit, Exit::Status(5));
    let shell = client.session().unwrap();
    let refused = shell.request_pty(&Pty::default()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::RequestRefused(_)), "{refused}");
    shell.shell().unwrap();
    let mut text = String::new();
    (&shell).read_to_string(&mut text).unwrap();
    assert_eq!(text, "forced, not \n");
    let subsystem = client.session().unwrap();
    subsystem.subsystem("sftp").unwrap();
    text.clear();
    (&subsystem).read_to_string(&mut text).unwrap();
    assert_eq!(text, "forced, not sftp\n");
}

#[test]
fn a_command_table_says_what_there_is() {
    let programs = Programs::new().command("greet", |call| {
        let hello = [b"hello, ", call.argument(), b" from ", call.user().as_bytes()].concat();
        u32::from(call.channel().write_all(&hello).is_err())
    });
    let server = serve(alice(), programs);
    let client = login(&server);
    let output = client.exec("greet  the  queen ").unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello, the  queen from alice");
    let output = client.exec("greet\u{7}x").unwrap();
    assert_eq!(output.exit, Exit::Status(127));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "\"greet\\x07x\" is no command here; commands: greet\r\n"
    );
    assert!(client.session().unwrap().subsystem("sftp").is_err());
}

#[test]
fn programs_of_the_system_get_all_their_streams() {
    let server = system(alice());
    let client = login(&server);
    let input = vec![b'i'; 3 << 20];
    let run = |command| client.exec_with(&konko::Exec::new(command).stdin(&input)).unwrap();
    let output = run("cat; echo oops >&2; exit 3");
    assert!(output.stdout == input && output.stderr == b"oops\n" && output.exit == Exit::Status(3));
    let killed = client.exec("kill -TERM $$").unwrap();
    assert!(matches!(&killed.exit, Exit::Signal { signal, .. } if signal == "TERM"), "{}", killed.exit);
    // A program that reads nothing, and ends while its input waits.
    assert_eq!(run("exit 4").exit, Exit::Status(4));
    assert_eq!(client.exec("pwd").unwrap().stdout, b"/\n");
}

#[test]
fn signals_sizes_and_hang_ups_reach_the_program() {
    let server = system(alice());
    let client = login(&server);
    let channel = client.session().unwrap();
    channel.request_pty(&Pty { columns: 81, rows: 25, ..Pty::default() }).unwrap();
    channel
        // A shell looks at its traps between commands, not while it reads.
        .exec(
            "stty -echo; trap 'stty size; s=1' WINCH; stty size; while [ -z $s ]; do sleep 0.02; done; \
               read line; echo \"got $line\"; read x",
        )
        .unwrap();
    let mut read = lines(&channel);
    assert_eq!(read(), "25 81");
    channel.window_change(132, 43).unwrap();
    assert_eq!(read(), "43 132");
    (&channel).write_all(b"word\n").unwrap();
    assert_eq!(read(), "got word");
    channel.signal("HUP").unwrap();
    let Exit::Signal { signal, .. } = channel.wait().unwrap() else { panic!("no signal") };
    assert_eq!(signal, "HUP");

    // Closed channels and lost connections end programs that do not say otherwise.
    let sleeps = "echo $$; exec sleep 1000";
    let channel = client.session().unwrap();
    channel.exec(sleeps).unwrap();
    let pid = lines(&channel)();
    drop(channel);
    gone(&pid);
    let channel = client.session().unwrap();
    channel.exec(sleeps).unwrap();
    let pid = lines(&channel)();
    client.disconnect();
    gone(&pid);
    assert!(server.shutdown(Duration::from_secs(5)));
}

#[test]
fn d8_what_a_session_leaves_behind_is_killed_if_the_server_wants_that() {
    for kills in [true, false] {
        let system = if kills { System::new().kill_user_processes() } else { System::new() };
        let server = serve(alice(), Programs::new().system(system.dir("/")));
        // The session ends, its channel is closed, and the connection is lost.
        let mut left = Vec::new();
        for (end, terminal) in (0..3).flat_map(|end| [(end, false), (end, true)]) {
            let client = login(&server);
            let channel = client.session().unwrap();
            if terminal {
                channel.request_pty(&Pty::default()).unwrap();
            }
            let job = "trap '' HUP; sleep 1000 >/dev/null 2>&1 </dev/null & echo $!";
            channel.exec(format!("{job}; {}", if end == 0 { "exit 3" } else { "sleep 1000" })).unwrap();
            left.push(lines(&channel)());
            match end {
                0 => assert_eq!(channel.wait().unwrap(), Exit::Status(3)),
                1 => drop(channel),
                _ => client.disconnect(),
            }
        }
        // Longer than others are given to end.
        std::thread::sleep(Duration::from_millis(if kills { 0 } else { 700 }));
        for pid in left {
            if kills {
                gone(&pid);
                continue;
            }
            let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
            let group = rustix::process::getpgid(Some(pid)).expect("it lives on");
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).unwrap();
        }
        assert!(server.shutdown(Duration::from_secs(5)), "what is left keeps nothing from ending");
    }
}

/// Reads line by line, without the line ends.
fn lines(channel: &konko::Channel) -> impl FnMut() -> String + use<> {
    channel.set_timeout(Some(Duration::from_secs(10)));
    let mut channel = channel.clone();
    move || {
        let mut line = Vec::new();
        let mut byte = [0];
        while channel.read(&mut byte).unwrap() == 1 && byte != *b"\n" {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }
}

fn gone(pid: &str) {
    let path = format!("/proc/{pid}");
    let start = Instant::now();
    while std::path::Path::new(&path).exists() {
        assert!(start.elapsed() < Duration::from_secs(5), "process {pid} lives");
        std::thread::sleep(Duration::from_millis(5));
    }
}
