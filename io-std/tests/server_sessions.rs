//! When the sessions of the system's programs end, and what their clients can tell them.
#![cfg(feature = "server")]

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use konko::core::channel::ChannelRequest;
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service, System};
use konko::{Auth, Channel, Client, ClientOptions, Exit, HostKeys, Pty};

const PATIENCE: Duration = Duration::from_secs(20);

fn server() -> Server {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let programs = Programs::new().system(System::new().dir("/"));
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap()
}

fn client(server: &Server) -> Client {
    let insecure = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), insecure).unwrap();
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    client
}

fn started(client: &Client, terminal: bool, command: &str) -> Channel {
    let channel = client.session().unwrap();
    if terminal {
        channel.request_pty(&Pty::default()).unwrap();
    }
    match command {
        "" => channel.shell().unwrap(),
        command => channel.exec(command).unwrap(),
    }
    channel.set_timeout(Some(PATIENCE));
    channel
}

fn rest(channel: &Channel) -> String {
    let mut text = Vec::new();
    (&mut &*channel).read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn c15_on_a_terminal_the_end_of_the_program_ends_the_session() {
    let server = server();
    let client = client(&server);
    let start = Instant::now();
    // The job in the background holds the terminal.
    let channel = started(&client, true, "");
    (&mut &channel).write_all(b"sleep 60 &\necho pid=$!\necho last $((6 * 7))\nexit 7\n").unwrap();
    let text = rest(&channel);
    assert_eq!(channel.wait().unwrap(), Exit::Status(7));
    assert!(text.contains("last 42\r\n"), "{text}");
    // All that the program wrote comes, also when others write without end.
    let command = "trap '' HUP; (trap '' HUP; while echo noise; do :; done) & \
                   i=0; while [ $i -lt 3000 ]; do i=$((i+1)); echo line $i; done; echo pid=$!; exit 5";
    let channel = started(&client, true, command);
    let noisy = rest(&channel);
    assert_eq!(channel.wait().unwrap(), Exit::Status(5));
    assert!(noisy.contains("line 3000\r\n") && noisy.contains("pid="), "{} bytes", noisy.len());
    // And when more was typed than anybody has read.
    let channel = started(&client, true, "stty raw; sleep 60 & echo pid=$!; sleep 0.3; exit 3");
    let writer = channel.clone();
    let typing = thread::spawn(move || (&mut &writer).write_all(&vec![b'x'; 1 << 20]));
    let typed = rest(&channel);
    assert_eq!(channel.wait().unwrap(), Exit::Status(3));
    let _ = typing.join().unwrap();
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    for text in [text, noisy, typed] {
        let pid = text.split("pid=").filter_map(|rest| rest.split("\r\n").next()?.trim().parse().ok()).last();
        let pid = rustix::process::Pid::from_raw(pid.unwrap()).unwrap();
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

#[test]
fn c15_without_a_terminal_open_outputs_keep_the_session() {
    let server = server();
    let client = client(&server);
    for command in ["(sleep 1; echo late) & exit 4", "(sleep 1; echo late) 2>/dev/null & exec 2>&-; exit 4"] {
        let channel = started(&client, false, command);
        assert_eq!(rest(&channel), "late\n", "{command}");
        assert_eq!(channel.wait().unwrap(), Exit::Status(4), "{command}");
    }
    // Nobody has them open: over at once.
    let channel = started(&client, false, "sleep 60 >/dev/null 2>&1 </dev/null & echo $!; exit 4");
    let pid = rest(&channel).trim().parse().unwrap();
    assert_eq!(channel.wait().unwrap(), Exit::Status(4));
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    assert!(rustix::process::test_kill_process(pid).is_ok(), "it lives on");
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// Says that nobody reads the output any more.
fn eow(channel: &Channel) {
    channel.request(&ChannelRequest::Eow).unwrap();
}

/// Whether a program came to its end, and what it left in a file by then.
fn left(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok().filter(|text| text.ends_with('\n'))
}

#[test]
fn d9_when_nobody_reads_the_output_only_that_is_closed() {
    let server = server();
    let client = client(&server);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("left");
    let name = file.display();
    // It ignores that nobody reads, and comes to its own end.
    let channel = started(
        &client,
        false,
        &format!(
            "trap '' PIPE; echo one; read x; for i in 1 2 3; do echo $i; done 2>/dev/null; \
             echo to the end >&2; echo ran >'{name}'; exit 6"
        ),
    );
    let mut out = BufReader::new(&channel);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    eow(&channel);
    (&mut &channel).write_all(b"go on\n").unwrap();
    let mut errors = String::new();
    channel.stderr().read_to_string(&mut errors).unwrap();
    assert_eq!(errors, "to the end\n", "standard error is a stream of its own");
    assert_eq!(channel.wait().unwrap(), Exit::Status(6));
    assert_eq!(left(&file).as_deref(), Some("ran\n"));
    // It does not ignore it.
    let channel = started(&client, false, "echo one; read x; while :; do echo more; done");
    eow(&channel);
    (&mut &channel).write_all(b"go on\n").unwrap();
    let exit = channel.wait().unwrap();
    assert!(matches!(&exit, Exit::Signal { signal, .. } if signal == "PIPE"), "{exit}");
    // It was waiting for room, since nobody had read for long.
    let channel = started(&client, false, "yes");
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        thread::sleep(Duration::from_millis(50));
    }
    eow(&channel);
    eow(&channel);
    let exit = channel.wait().unwrap();
    assert!(matches!(&exit, Exit::Signal { signal, .. } if signal == "PIPE"), "{exit}");
    // It is told while it is silent: it sees the end of the pipe.
    let script = format!(
        "import os,select; p=select.poll(); p.register(1,0); p.poll(15000) and open('{name}','w').write('told\\n')"
    );
    if std::process::Command::new("python3").arg("--version").output().is_ok() {
        std::fs::remove_file(&file).unwrap();
        let _channel = started(&client, false, &format!("exec python3 -c \"{script}\""));
        eow(&_channel);
        until("the end of the pipe is seen", || left(&file).is_some());
    }
    // On a terminal there is one stream for all: it goes on, unseen.
    std::fs::remove_file(&file).ok();
    let channel = started(
        &client,
        true,
        &format!("i=0; while [ $i -lt 9000 ]; do i=$((i+1)); echo $i; done; echo ran >'{name}'; exit 6"),
    );
    eow(&channel);
    assert_eq!(channel.wait().unwrap(), Exit::Status(6));
    assert_eq!(left(&file).as_deref(), Some("ran\n"));
}
