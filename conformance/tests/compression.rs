//! Bulk data that cannot be compressed through compressed connections, on every path and with real peers: what makes
//! a compressor fall back to stored blocks in the middle of a run of full packets.

use konko::core::crypto::Compression;
use konko::core::transport::negotiate::Policy;
use konko::{Auth, Client, ClientOptions, HostKeys};
use konko_conformance::data::{checksum_of, noise};
use konko_conformance::matrix::at_once;
use konko_conformance::peers::konko;
use konko_conformance::serve::Setup;
use konko_conformance::sftp::{SftpCall, SftpClient};
use konko_conformance::sshd::login;
use konko_conformance::{Call, Client as Peer, Feed, OpenSsh, Process, Program, Serve, Sshd, not_run};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Bytes of noise; enough for a thousand packets.
const MUCH: usize = 30 << 20;
const LITTLE: usize = 3 << 20;
const PATIENCE: Duration = Duration::from_secs(300);

/// Noise, text of 64 letters out of it, and both in turn.
fn files(folder: &Path, len: usize) -> Vec<(&'static str, Vec<u8>)> {
    let noise = noise(len);
    let letter = |b: &u8| b' ' + (b & 63);
    let text = noise[..len / 4].iter().map(letter).collect::<Vec<u8>>();
    let mixed = noise[..len / 4].chunks(10_000).zip(text.chunks(7_000)).flat_map(|(n, t)| [n, t].concat());
    let files = vec![("mixed", mixed.collect()), ("text", text), ("noise", noise)];
    for (name, bytes) in &files {
        fs::write(folder.join(name), bytes).unwrap();
    }
    files
}

#[track_caller]
fn same(path: &Path, bytes: &[u8]) {
    let found = fs::read(path).unwrap();
    assert_eq!(checksum_of(&found), checksum_of(bytes), "{}", path.display());
}

fn sshd() -> Option<Sshd> {
    let Some(openssh) = OpenSsh::system() else {
        not_run("compression with OpenSSH's server", "sshd or ssh is not installed");
        return None;
    };
    Some(Sshd::start(&openssh, &["Compression yes"]))
}

#[test]
fn b0_the_library_and_openssh() {
    let Some(sshd) = sshd() else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut algorithms = Policy::Modern.algorithms(true);
    algorithms.set_compression(&[Compression::ZlibOpenssh]);
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any()).algorithms(algorithms);
    let client = Client::connect(("127.0.0.1", sshd.port), options).unwrap();
    client.login(login(), Auth::new().key_file(sshd.keys.private("user_ed25519"))).unwrap();
    let sftp = client.sftp().unwrap();
    for (name, bytes) in files(folder.path(), MUCH) {
        let (from, there, back) =
            (folder.path().join(name), folder.path().join("there"), folder.path().join("back"));
        sftp.put(&from, &there).unwrap();
        same(&there, &bytes);
        sftp.get(&there, &back).unwrap();
        same(&back, &bytes);
    }
}

#[test]
fn b0_the_programs_and_openssh() {
    let (Some(sshd), Some(program), Some(konko)) = (sshd(), Program::konko(), konko()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let files = files(folder.path(), MUCH);
    for (name, bytes) in &files {
        let call = program.to(&sshd).option("Compression", "yes").feed(Feed::Bytes(bytes.clone()));
        let done = call.deadline(PATIENCE).run("cat");
        done.expect_code(0);
        assert_eq!(done.stdout.checksum, checksum_of(bytes), "{name}");
    }
    let copy = |from: &str, to: &str| {
        let mut command = Command::new(&konko);
        command.arg("scp").arg("-P").arg(sshd.port.to_string()).arg("-C").arg("-i");
        command.arg(sshd.keys.private("user_ed25519")).args(["-o", "BatchMode=yes", "-o"]);
        command.arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display())).args([from, to]);
        let done = Process::new(command).deadline(PATIENCE).run().unwrap();
        done.expect_code(0);
    };
    for (name, bytes) in &files {
        let local = |name: &str| folder.path().join(name).display().to_string();
        let remote = format!("{}@127.0.0.1:{}", login(), local("there"));
        copy(&local(name), &remote);
        same(&folder.path().join("there"), bytes);
        copy(&remote, &local("back"));
        same(&folder.path().join("back"), bytes);
    }
}

#[test]
fn b0_openssh_and_the_server() {
    let work = tempfile::tempdir().unwrap();
    let root = work.path().join("root");
    fs::create_dir(&root).unwrap();
    let Some(setup) = Setup::new(&["RekeyLimit=5M"]) else { return };
    let serve = setup.root(&root).start();
    let openssh =
        |client: &SftpClient| matches!(client, SftpClient::OpenSsh | SftpClient::Scp | SftpClient::Lftp);
    for client in SftpClient::on_this_machine().into_iter().filter(openssh) {
        let call = SftpCall::to(&serve).compress();
        let len = if client == SftpClient::Lftp { LITTLE } else { MUCH };
        for (name, bytes) in files(work.path(), len) {
            let (there, back) = (format!("{client}-{name}"), work.path().join(format!("{client}-{name}")));
            call.send(client, &work.path().join(name), &format!("/{there}"));
            same(&root.join(&there), &bytes);
            call.fetch(client, &format!("/{there}"), &back);
            same(&back, &bytes);
        }
    }
    assert!(serve.log().contains("compression zlib@openssh.com"), "{}", serve.log());
}

#[test]
fn b0_every_client_and_the_server() {
    let Some(serve) = Serve::start(&["RekeyLimit=1M"]) else { return };
    at_once(&Peer::all(), |client| {
        let noise = noise(if matches!(client, Peer::OpenSsh(_)) { MUCH } else { LITTLE });
        let call = Call::to(serve.port, serve.keys()).key("user_ed25519").user(&client.to_string());
        let done = call.compress().feed(Feed::Bytes(noise.clone())).deadline(PATIENCE).run(client, "cat");
        done.expect_code(0);
        assert_eq!(done.stdout.checksum, checksum_of(&noise), "{client}");
    });
}
