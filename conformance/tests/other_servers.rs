//! Trees to SFTP servers with habits of their own: Erlang's, which writes a file at its CLOSE, and Twisted Conch's, which
//! changes no attributes of open files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use konko::sftp::{GetOptions, Links, PutOptions};
use konko::{Auth, Client, ClientOptions, HostKeys, Sftp};
use konko_conformance::data::noise;
use konko_conformance::peers::{installed, python};
use konko_conformance::{KeyRing, not_run};

/// A server that ends with its standard input; ended when dropped.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    /// `None`, and recorded as not run, when it says no port.
    fn start(name: &str, mut command: Command) -> Option<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // Erlang's goes on writing there, and ends when it cannot.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let port = line.trim_end().strip_prefix("port ").and_then(|port| port.parse().ok());
        let mut peer = Peer { child, port: 0 };
        match port {
            Some(port) => peer.port = port,
            None => {
                not_run(name, "not installed; conformance/install does it");
                return None;
            }
        }
        Some(peer)
    }

    fn sftp(&self) -> Sftp {
        let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(("127.0.0.1", self.port), options).unwrap();
        client.login("alice", Auth::new().password("wonderland")).unwrap();
        client.sftp().unwrap()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peer_file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

fn erlang(keys: &Path, root: &Path) -> Option<Peer> {
    let Some(escript) = installed("escript") else {
        not_run("Erlang's SFTP server", "not installed; conformance/install does it");
        return None;
    };
    fs::create_dir(keys).unwrap();
    fs::copy(KeyRing::shared().private("host_ed25519"), keys.join("ssh_host_ed25519_key")).unwrap();
    let mut command = Command::new(escript);
    command.arg(peer_file("erlang_server.escript")).arg(keys).arg(root);
    Peer::start("Erlang's SFTP server", command)
}

fn conch(root: &Path) -> Option<Peer> {
    let Some(python) = python() else {
        not_run("Twisted Conch", "not installed; conformance/install puts it under target/peers");
        return None;
    };
    let mut command = Command::new(python);
    command.arg(peer_file("conch_server.py")).arg(KeyRing::shared().private("host_ed25519")).arg(root);
    Peer::start("Twisted Conch", command)
}

/// A tree goes up and comes back, without and with its attributes.
fn trees(peer: &Peer, root: &Path, here: &Path) {
    let tree = here.join("tree");
    fs::create_dir_all(tree.join("sub/deep")).unwrap();
    for (name, len, mode) in [("a", 6, 0o640), ("sub/big", 3_000_000, 0o600), ("sub/deep/empty", 0, 0o644)] {
        fs::write(tree.join(name), noise(len)).unwrap();
        fs::set_permissions(tree.join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let sftp = peer.sftp();
    for (name, preserve) in [("plain", false), ("kept", true)] {
        let put = PutOptions::new().preserve(preserve);
        let report = sftp.put_tree(&tree, name, &put, Links::Skip).unwrap();
        assert!(report.is_complete(), "{name}: {report:?}");
        assert_eq!(report.files, 3, "{name}: {report:?}");
        // Nobody asked for attributes: nothing is said of them.
        assert!(preserve || report.warnings.is_empty(), "{name}: {report:?}");
        let back = here.join(name);
        let report = sftp.get_tree(name, &back, &GetOptions::new(), Links::Skip).unwrap();
        assert!(report.is_complete(), "{name}: {report:?}");
        for file in ["a", "sub/big", "sub/deep/empty"] {
            let expected = fs::read(tree.join(file)).unwrap();
            assert!(fs::read(root.join(name).join(file)).unwrap() == expected, "{name}/{file} there");
            assert!(fs::read(back.join(file)).unwrap() == expected, "{name}/{file} back");
        }
    }
    // One file has its size verified though the server may write at CLOSE only.
    let summary = sftp.put_with(tree.join("sub/big"), "big", &PutOptions::new()).unwrap();
    assert!(summary.size_verified && summary.size == 3_000_000, "{summary:?}");
}

#[test]
fn e2_trees_are_whole_on_erlangs_server_which_writes_at_close() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    if let Some(peer) = erlang(&folder.path().join("keys"), &root) {
        trees(&peer, &root, folder.path());
    }
}

#[test]
fn e3_trees_are_whole_on_twisted_conch_which_changes_no_open_file() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir(&root).unwrap();
    if let Some(peer) = conch(&root) {
        trees(&peer, &root, folder.path());
    }
}
