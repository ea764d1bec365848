//! The example `tokio` logs in as `konko` does, runs commands on many channels, and moves trees.

#[path = "../examples/tokio.rs"]
mod example;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use example::{Work, run};
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::sftp::Root;
use konko::{Auth, HostKeys, KeyType, PrivateKey, Rng, Seed};
use konko_mio::core::authorized_keys::AuthorizedKeys;
use konko_mio::core::hosts::learn_line;
use konko_mio::core::{Error, provider};

/// A server where alice comes in with a key and then a password, whose key is in `known_hosts`.
fn server(dir: &Path) -> Server {
    let mut rng = Rng::from_seed(&Seed::new([5; 32]));
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    fs::write(dir.join("id_ed25519"), key.to_openssh(None, &mut rng).unwrap()).unwrap();
    let line = key.key_pair(provider::best()).unwrap().public().to_openssh_line("");
    let mut users = Users::new();
    let alice =
        User::new().password("wonderland").keys(AuthorizedKeys::parse("keys", line.as_bytes()).unwrap());
    users.add("alice", alice.require("publickey,password".parse().unwrap())).unwrap();
    let programs = Programs::new().command("say", |call| {
        use std::io::Write;
        call.channel().write_all(call.argument()).unwrap();
        7u32
    });
    let programs = programs.sftp(Root::open(dir.join("served")).unwrap());
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    let host_key = options.host_keys()[0].public().clone();
    let server = Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
    let line = learn_line("127.0.0.1", server.local_addr().port(), &host_key, None).unwrap();
    fs::write(dir.join("known_hosts"), line + "\n").unwrap();
    server
}

/// What the example reports, and how the connection ended.
fn work(
    addr: SocketAddr,
    known: &Path,
    auth: Auth<'_>,
    jobs: &[String],
) -> (BTreeMap<String, Vec<String>>, Option<Error>) {
    let files = HostKeys::known_hosts().user_files([known]).global_files(["/dev/null"]).into();
    let host = HostKeys::lookup(&files, "127.0.0.1", addr.port());
    let (login, answers) = auth.login("alice", provider::best());
    let (jobs, channels, report) = (jobs.to_vec(), BTreeMap::new(), Vec::new());
    let mut work = Work { host, login, answers, jobs, channels, report };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let end = runtime.block_on(run(&addr.to_string(), &mut work)).unwrap();
    let mut report: BTreeMap<String, Vec<String>> = BTreeMap::new();
    work.report.into_iter().for_each(|(job, said)| report.entry(job).or_default().push(said));
    (report, end)
}

#[test]
fn it_logs_in_runs_commands_on_many_channels_and_moves_trees() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let (from, back) = (dir.join("from"), dir.join("back"));
    fs::create_dir_all(dir.join("served")).unwrap();
    fs::create_dir_all(from.join("deep/er")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    fs::write(from.join("deep/er/big"), &big).unwrap();
    fs::write(from.join("empty"), b"").unwrap();
    let server = server(dir);
    let known = dir.join("known_hosts");
    let auth =
        || Auth::new().key_file(dir.join("missing")).key_file(dir.join("id_ed25519")).password("wonderland");

    let mut jobs: Vec<String> = (0..8).map(|n| format!("say {n}")).collect();
    jobs.push(format!("put:{}:there", from.display()));
    let (report, end) = work(server.local_addr(), &known, auth(), &jobs);
    assert!(end.is_none(), "{end:?} {report:?}");
    for job in &jobs[..8] {
        assert_eq!(report[job][0], "Status(7)", "{report:?}");
        assert!(report.values().flatten().any(|said| *said == job["say ".len()..]), "{report:?}");
    }
    assert_eq!(report[&jobs[8]], ["2 files"]);
    assert!(fs::read(dir.join("served/there/deep/er/big")).unwrap() == big);

    let jobs = [format!("get:there:{}", back.display()), "get:nothing:anywhere".into(), "nonsense".into()];
    let (report, end) = work(server.local_addr(), &known, auth(), &jobs);
    assert!(end.is_none(), "{end:?} {report:?}");
    assert_eq!(report[&jobs[0]], ["2 files"]);
    assert!(report[&jobs[1]][0].contains("nothing"), "{report:?}");
    assert!(fs::read(back.join("deep/er/big")).unwrap() == big);
    assert_eq!(fs::read(back.join("empty")).unwrap(), b"");

    // A host that is not known, and a user who may not come in.
    let (report, end) = work(server.local_addr(), &dir.join("none"), auth(), &jobs);
    assert!(report["host key"][0].contains("is not known"), "{report:?}");
    assert!(matches!(end, Some(Error::Rejected(_))), "{end:?}");
    let (report, end) = work(server.local_addr(), &known, Auth::new().password("wonderland"), &jobs);
    assert!(report["login"].iter().any(|said| said.contains("password")), "{report:?}");
    assert!(end.is_none(), "{end:?}");
    server.shutdown(std::time::Duration::from_secs(5));
}
