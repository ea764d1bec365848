//! SFTP as clients meet it: the subsystem of a server, a forced command, two streams.
#![cfg(feature = "server")]

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use konko::core::authorized_keys::AuthorizedKeys;
use konko::core::keys::{KeyPair, KeyType, PrivateKey};
use konko::core::provider::best;
use konko::core::sftp::{
    ClientConfig, Event, Handle, MsgBuf, Reply, RequestId, SftpClient as Machine, UsageError,
};
use konko::core::{Rng, Seed};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::sftp::{Attrs, OpenFlags, Root, StatusCode, serve_streams};
use konko::{Auth, Channel, Client, ClientOptions, HostKeys};

/// A client of one request at a time.
struct Talk<S> {
    machine: Machine,
    rx: MsgBuf,
    stream: S,
}

#[derive(Debug, PartialEq)]
enum Got {
    Status(StatusCode),
    Handle(Handle),
    Data(Vec<u8>),
    Path(String),
}

impl<S: Read + Write> Talk<S> {
    fn new(stream: S) -> Self {
        let mut talk = Talk { machine: Machine::new(ClientConfig::default()), rx: MsgBuf::new(), stream };
        talk.turn(|machine| machine.is_ready(), |_| {}).unwrap();
        talk
    }

    /// Sends and receives until `done`.
    fn turn(
        &mut self,
        done: impl Fn(&Machine) -> bool,
        mut got: impl FnMut((RequestId, Got)),
    ) -> io::Result<()> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let tx = self.machine.tx();
            self.stream.write_all(tx.pending())?;
            tx.consume(tx.len());
            if done(&self.machine) {
                return Ok(());
            }
            let n = self.stream.read(&mut buffer)?;
            if n == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let mut input = &buffer[..n];
            while let Some(event) = self.machine.poll(&mut self.rx, &mut input).map_err(io::Error::other)? {
                match event {
                    Event::Ready => {}
                    Event::Data { id, data, .. } => got((id, Got::Data(data.to_vec()))),
                    Event::Reply { id, reply: Reply::Status(s) } => got((id, Got::Status(s.code))),
                    Event::Reply { id, reply: Reply::Handle(h) } => got((id, Got::Handle(h))),
                    Event::Reply { id, reply: Reply::Path(p) } => {
                        got((id, Got::Path(String::from_utf8_lossy(p).into_owned())));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    fn call(&mut self, request: impl FnOnce(&mut Machine) -> Result<RequestId, UsageError>) -> Got {
        request(&mut self.machine).unwrap();
        let mut all: Vec<Got> = Vec::new();
        self.turn(
            |machine| machine.outstanding() == 0,
            |(_, got)| match (all.last_mut(), got) {
                (Some(Got::Data(have)), Got::Data(more)) => have.extend(more),
                (_, got) => all.push(got),
            },
        )
        .unwrap();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }

    fn open(&mut self, path: &str, flags: OpenFlags) -> Got {
        self.call(|c| c.open(path.as_bytes(), flags, &Attrs::new()))
    }

    fn put(&mut self, path: &str, content: &[u8]) -> Got {
        let handle = match self.open(path, OpenFlags::WRITE | OpenFlags::CREATE) {
            Got::Handle(handle) => handle,
            refused => return refused,
        };
        // All of it is on its way before the first answer is read.
        for (i, piece) in content.chunks(200_000).enumerate() {
            self.machine.write(&handle, i as u64 * 200_000, piece).unwrap();
        }
        let done = |machine: &Machine| machine.outstanding() == 0;
        self.turn(done, |(_, got)| assert_eq!(got, Got::Status(StatusCode::OK))).unwrap();
        self.call(|c| c.close(&handle))
    }

    fn get(&mut self, path: &str, size: usize) -> Vec<u8> {
        let Got::Handle(handle) = self.open(path, OpenFlags::READ) else { panic!() };
        let mut content = Vec::new();
        for at in (0..size).step_by(200_000) {
            self.machine.read(&handle, at as u64, 200_000.min((size - at) as u32)).unwrap();
        }
        let done = |machine: &Machine| machine.outstanding() == 0;
        // Replies come in the order of the requests here.
        let keep = |(_, got)| match got {
            Got::Data(data) => content.extend(data),
            other => panic!("{other:?}"),
        };
        self.turn(done, keep).unwrap();
        assert_eq!(self.call(|c| c.close(&handle)), Got::Status(StatusCode::OK));
        content
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0u64..).flat_map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ i << 7).to_be_bytes()).take(len).collect()
}

fn key(n: u8) -> Arc<KeyPair> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&Seed::new([n; 32]))).unwrap();
    Arc::new(key.key_pair(best()).unwrap())
}

fn server(options: &str, programs: Programs) -> Server {
    let line = format!("{options} {}", key(1).public().to_openssh_line(""));
    let mut users = Users::new();
    let keys = AuthorizedKeys::parse("test", line.trim_start().as_bytes()).unwrap();
    users.add("alice", User::new().keys(keys)).unwrap();
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap()
}

fn login(server: &Server) -> Client {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(server.local_addr(), options).unwrap();
    client.login("alice", Auth::new().key(key(1))).unwrap();
    client
}

fn sftp(client: &Client) -> Channel {
    let channel = client.session().unwrap();
    channel.subsystem("sftp").unwrap();
    channel
}

#[test]
fn the_subsystem_serves_files_and_ends_well() {
    let dir = tempfile::tempdir().unwrap();
    let server = server("", Programs::new().sftp(Root::open(dir.path()).unwrap()));
    let client = login(&server);
    let content = pattern(1_000_001);
    let channel = sftp(&client);
    let mut talk = Talk::new(channel.clone());
    assert_eq!(talk.put("file", &content), Got::Status(StatusCode::OK));
    assert!(fs::read(dir.path().join("file")).unwrap() == content);
    assert!(talk.get("file", content.len()) == content);
    // Several sessions of one connection, each with its own handles.
    let mut other = Talk::new(sftp(&client));
    let Got::Handle(handle) = talk.open("file", OpenFlags::READ) else { panic!() };
    assert_eq!(other.call(|c| c.read(&handle, 0, 9)), Got::Status(StatusCode::FAILURE), "s_07: not its own");
    assert_eq!(talk.call(|c| c.realpath(b".")), Got::Path("/".into()));
    channel.send_eof().unwrap();
    assert!(channel.wait().unwrap().success());
    // Nothing else runs here, and nobody is told a name.
    assert!(client.session().unwrap().exec("true").is_err());
    assert!(client.session().unwrap().shell().is_err());
}

#[test]
fn a_client_that_talks_nonsense_is_cut_off_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let server = server("", Programs::new().sftp(Root::open(dir.path()).unwrap()));
    let channel = sftp(&login(&server));
    (&channel).write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let mut text = String::new();
    channel.stderr().read_to_string(&mut text).unwrap();
    assert!(text.starts_with("sftp: SFTP: "), "{text}");
    assert!(!channel.wait().unwrap().success());
}

#[test]
fn a_forced_internal_sftp_holds_with_its_options() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("alice")).unwrap();
    fs::write(dir.path().join("alice/file"), "hers").unwrap();
    let programs = || Programs::new().command("rm", |_| 0u32).sftp(Root::open(dir.path()).unwrap());
    let forced = server(r#"command="internal-sftp -R -d /%u -P stat""#, programs());
    let client = login(&forced);
    for start in
        [|c: &Channel| c.subsystem("sftp"), |c: &Channel| c.exec("rm -rf /"), |c: &Channel| c.shell()]
    {
        let channel = client.session().unwrap();
        start(&channel).unwrap();
        let mut talk = Talk::new(channel);
        assert_eq!(talk.call(|c| c.realpath(b".")), Got::Path("/alice".into()));
        assert_eq!(talk.put("file", b"x"), Got::Status(StatusCode::PERMISSION_DENIED));
        assert_eq!(talk.call(|c| c.stat(b"file")), Got::Status(StatusCode::PERMISSION_DENIED));
        assert_eq!(talk.get("file", 4), b"hers");
    }
    // What is not understood may have been a restriction.
    let unknown = server(r#"command="internal-sftp -Z""#, programs());
    let channel = sftp(&login(&unknown));
    let mut text = String::new();
    channel.stderr().read_to_string(&mut text).unwrap();
    assert_eq!(text, "sftp: an option of internal-sftp is not known\r\n");
    assert!(!channel.wait().unwrap().success());
    // Another forced command stays what it is.
    let other = server(r#"command="rm""#, programs());
    let channel = sftp(&login(&other));
    text.clear();
    (&channel).read_to_string(&mut text).unwrap();
    assert_eq!((&text[..], channel.wait().unwrap().success()), ("", true));
}

#[test]
fn each_user_in_a_folder_of_their_own() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("alice")).unwrap();
    let top = dir.path().to_owned();
    let programs = Programs::new().sftp_with(move |call| match call.user() {
        "alice" => Root::open(top.join("alice")),
        _ => Err(io::Error::other("no folder")),
    });
    let server = server("", programs);
    let mut talk = Talk::new(sftp(&login(&server)));
    assert_eq!(talk.put("/file", b"x"), Got::Status(StatusCode::OK));
    assert_eq!(fs::read(dir.path().join("alice/file")).unwrap(), b"x");
}

#[test]
fn two_streams_are_enough() {
    let dir = tempfile::tempdir().unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let root = Root::open(dir.path()).unwrap();
    let serving = std::thread::spawn(move || {
        serve_streams(&theirs, &theirs, root.config(), &mut root.session()).map_err(|e| e.to_string())
    });
    let content = pattern(1_000_000);
    let mut talk = Talk::new(&ours);
    assert_eq!(talk.put("file", &content), Got::Status(StatusCode::OK));
    assert!(talk.get("file", content.len()) == content);
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(serving.join().unwrap(), Ok(()));
}
