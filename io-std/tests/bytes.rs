//! C10: what the system and the protocol have as bytes goes through as it is, text or not; what has to be text and is
//! none is refused, and never becomes something else.

mod program;

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::process::Stdio;

use konko::core::auth::{Method, MethodSet};
use konko::core::client::Password;
use konko::core::server::Challenge;
use konko::server::{
    AuthAttempt, Connection, Credential, Handler, KeyProbe, Program, Programs, Server, ServerOptions, Session,
};
use konko::sftp::SftpOptions;
use konko::{Auth, Client, ClientOptions, HostKeys, Sftp};
use program::{Home, konko, run};

const SECRET: &[u8] = b"p\xe4ssword";

/// Everybody's secret is no text. Alice has it as a password, bob as an answer.
struct Door(Programs);

impl Handler for Door {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match (attempt.user(), attempt.credential()) {
            ("alice", Credential::Password(p)) if p.expose() == SECRET => attempt.accept(),
            ("bob", Credential::KeyboardInteractive { .. }) => {
                let prompts = vec![("Answer: ".to_owned(), false)];
                attempt.challenge(Challenge { prompts, ..Challenge::default() }).unwrap();
            }
            ("bob", Credential::Answers(answers)) if answers[0].expose() == SECRET => attempt.accept(),
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }

    fn session(&mut self, session: Session) {
        self.0.start(session).unwrap();
    }
}

fn server() -> Server {
    serve(&[Method::Password, Method::KeyboardInteractive])
}

fn serve(methods: &[Method]) -> Server {
    let options =
        ServerOptions::with_new_key().unwrap().methods(methods.iter().copied().collect::<MethodSet>());
    let show =
        |bytes: Vec<u8>| move |mut channel: konko::Channel| u32::from(channel.write_all(&bytes).is_err());
    let programs = Programs::new()
        .command("say", |call| u32::from(call.channel().write_all(call.argument()).is_err()))
        .otherwise(move |session| match session.program().clone() {
            Program::Subsystem(name) | Program::Exec(name) => session.run(show(name)),
            Program::Shell => {
                session.reject();
                Ok(())
            }
        });
    Server::listen("127.0.0.1:0", options, move |_: &Connection| Door(programs.clone())).unwrap()
}

fn connect(server: &Server) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    Client::connect(server.local_addr(), options).unwrap()
}

#[test]
fn c10_passwords_and_answers_are_bytes() {
    let server = server();
    connect(&server).login("alice", Auth::new().password(SECRET)).unwrap();
    // The password that answers a hidden question, and an answer of its own.
    let asking = serve(&[Method::KeyboardInteractive]);
    connect(&asking).login("bob", Auth::new().password(SECRET)).unwrap();
    connect(&server).login("bob", Auth::new().interactive(1, |_| Some(vec![Password::new(SECRET)]))).unwrap();
    let wrong = Auth::new().password("p\u{fffd}ssword");
    assert!(connect(&asking).login("bob", wrong).is_err());
}

#[test]
fn c10_commands_their_arguments_and_subsystems_are_bytes() {
    let server = server();
    let client = connect(&server);
    client.login("alice", Auth::new().password(SECRET)).unwrap();
    assert_eq!(client.exec(b"  say  caf\xe9 \xff ").unwrap().stdout, b"caf\xe9 \xff");
    assert_eq!(client.exec(b"s\xe4y caf\xe9").unwrap().stdout, b"s\xe4y caf\xe9");
    let mut channel = client.session().unwrap();
    channel.subsystem(b"sub\xff").unwrap();
    let mut name = Vec::new();
    channel.read_to_end(&mut name).unwrap();
    assert_eq!(name, b"sub\xff");
}

#[test]
fn c10_a_start_directory_is_bytes_and_a_subsystem_too() {
    let home = Home::new();
    let dir = home.path().join(OsStr::from_bytes(b"caf\xe9"));
    if std::fs::create_dir(&dir).is_err() {
        return;
    }
    let mut call = konko(["sftp-server", "-d"]);
    call.arg(&dir).stderr(Stdio::inherit());
    let sftp = Sftp::spawn(call, SftpOptions::default()).unwrap();
    let start = sftp.canonicalize("").unwrap();
    assert!(start.ends_with(b"/caf\xe9"), "{}", start.escape_ascii());
    let mut options = SftpOptions::default();
    options.subsystem = b"sf\xfftp".to_vec();
    let server = server();
    let client = connect(&server);
    client.login("alice", Auth::new().password(SECRET)).unwrap();
    // The program says its name, which is no SFTP; what matters is that it was asked for.
    assert!(client.sftp_with(options).is_err());
}

#[test]
fn c10_a_banner_that_is_no_text_is_refused() {
    let home = Home::new();
    std::fs::write(home.file("banner"), b"caf\xe9").unwrap();
    let mut call = konko(["serve", "--listen", "127.0.0.1:0"]);
    call.args(home.server_arguments()).arg("-o").arg(format!("Banner={}", home.file("banner").display()));
    call.env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = run(call);
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(!ended.status.success() && said.contains("it is not UTF-8"), "{said}");
}
