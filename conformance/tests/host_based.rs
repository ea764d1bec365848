//! Hostbased authentication with OpenSSH, in both roles. Its server reads a user's `.shosts` and
//! `known_hosts` at fixed places, so it runs with a home of its own in a mount namespace, which takes root.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use konko::core::auth::{Method, MethodSet};
use konko::core::hosts::{Equivalents, HostTrust, KnownHosts};
use konko::core::keys::PrivateKey;
use konko::core::provider;
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::{Auth, Client, ClientOptions, Exit, HostKeys};
use konko_conformance::{KeyRing, OpenSsh, Sshd, not_run};

#[test]
fn our_client_is_vouched_for_at_openssh() {
    let Some(openssh) = OpenSsh::system() else {
        return not_run("hostbased with OpenSSH", "sshd is not installed");
    };
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join(".ssh")).unwrap();
    let extra = [
        "HostbasedAuthentication yes",
        "HostbasedUsesNameFromPacketOnly yes",
        "IgnoreRhosts no",
        "IgnoreUserKnownHosts no",
        "PubkeyAuthentication no",
    ];
    let Some(sshd) = Sshd::with_home(&openssh, &extra, home.path()) else {
        return not_run("hostbased with OpenSSH", "only root can give its server a home");
    };
    // The host that vouches has the keys of a user of the other tests.
    for kind in ["ed25519", "ecdsa256", "rsa"] {
        let name = format!("user_{kind}");
        let key = PrivateKey::load(&fs::read(sshd.keys.private(&name)).unwrap(), None).unwrap();
        let key = Arc::new(key.key_pair(provider::best()).unwrap());
        let login = |user: &str, host: &str| {
            let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
            let client = Client::connect(("127.0.0.1", sshd.port), options).unwrap();
            let auth = Auth::new().host_based(Arc::clone(&key), host, user);
            client.login("root", auth).map(|_| client.exec("exit 6").unwrap().exit)
        };
        // Nobody knows the host.
        assert!(login("root", "client.example.").is_err(), "{kind}");
        fs::write(home.path().join(".shosts"), "client.example root\n").unwrap();
        let known = format!("client.example {}\n", sshd.keys.public_line(&name));
        fs::write(home.path().join(".ssh/known_hosts"), known).unwrap();
        for host in ["client.example.", "client.example"] {
            assert_eq!(login("root", host).unwrap(), Exit::Status(6), "{kind} {host}");
        }
        // Another user, another host.
        assert!(login("alice", "client.example.").is_err(), "{kind}");
        assert!(login("root", "other.example.").is_err(), "{kind}");
        fs::remove_file(home.path().join(".shosts")).unwrap();
    }
}

/// ssh-keysign reads its configuration and its keys at fixed places: it gets a folder of its own there.
#[test]
fn openssh_is_believed_by_our_server() {
    let Some(openssh) = OpenSsh::system().filter(|_| Path::new("/usr/lib/openssh/ssh-keysign").exists())
    else {
        return not_run("OpenSSH's hostbased client", "ssh or ssh-keysign is not installed");
    };
    if !nix::unistd::geteuid().is_root() {
        return not_run("OpenSSH's hostbased client", "only root can give ssh-keysign a folder");
    }
    let keys = KeyRing::shared();
    let etc = tempfile::tempdir().unwrap();
    fs::write(etc.path().join("ssh_config"), "EnableSSHKeysign yes\n").unwrap();
    fs::copy(keys.private("user_ed25519"), etc.path().join("ssh_host_ed25519_key")).unwrap();
    fs::copy(keys.public("user_ed25519"), etc.path().join("ssh_host_ed25519_key.pub")).unwrap();
    let run = |equivalents: &str, known: &str| {
        let (equivalents, _) = Equivalents::parse(&b"shosts.equiv"[..], equivalents.as_bytes()).unwrap();
        let mut hosts = KnownHosts::new();
        hosts.add_file(&b"known_hosts"[..], known.as_bytes()).unwrap();
        let mut users = Users::new();
        users.add("root", User::new().password("never used")).unwrap();
        let programs = Arc::new(Programs::new().command("five", |_| 5u32));
        let service = Service::new(Arc::new(users), programs).trust_hosts(HostTrust::new(equivalents, hosts));
        let methods = MethodSet::EMPTY.with(Method::HostBased);
        let options = ServerOptions::with_new_key().unwrap().methods(methods);
        let server = Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", "mount --bind \"$1\" /etc/ssh && shift && exec \"$@\"", "sh"]);
        command.arg(etc.path()).arg(openssh.ssh());
        for option in [
            "HostbasedAuthentication=yes",
            "EnableSSHKeysign=yes",
            "BatchMode=yes",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=VERBOSE",
        ] {
            command.args(["-o", option]);
        }
        command.args(["-p", &server.local_addr().port().to_string(), "root@127.0.0.1", "five"]);
        let output = command.output().unwrap();
        drop(server);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // What ssh-keysign calls this host: the name of the address that the connection comes from.
    let known = format!("localhost {}\n", keys.public_line("user_ed25519"));
    let (status, said) = run("localhost\n", &known);
    assert_eq!(status, Some(5), "{said}");
    for (equivalents, known) in [
        ("", &known[..]),
        ("localhost\n", ""),
        ("-localhost\nlocalhost\n", &known),
        ("localhost bob\n", &known),
    ] {
        let (status, said) = run(equivalents, known);
        assert_eq!(status, Some(255), "{equivalents:?} {known:?}: {said}");
    }
}
