//! A host by the name that the user's configuration has for it: one call connects and logs in.
#![cfg(feature = "server")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use konko::core::keys::{CertificateKind, CertificateRequest, KeyType, PrivateKey};
use konko::core::provider::best;
use konko::server::{AuthAttempt, Credential, Handler, KeyProbe, Server, ServerOptions, Session};
use konko::{Client, Rng, Seed};

/// Alice comes in with the certificate, bob with the plain key; programs print who it is.
struct App;

impl Handler for App {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        let certified = match attempt.credential() {
            Credential::PublicKey { key, .. } => key.is_certificate(),
            _ => return attempt.reject(),
        };
        if certified == (attempt.user() == "alice") { attempt.accept() } else { attempt.reject() }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        let certified = probe.key().is_certificate();
        if certified == (probe.user() == "alice") { probe.would_do() } else { probe.reject() }
    }

    fn session(&mut self, session: Session) {
        let user = session.connection().user().unwrap_or_default();
        let _ = session.run(move |mut channel| {
            use std::io::Write;
            u32::from(write!(channel, "{user}").is_err())
        });
    }
}

/// What the test below starts, with a home of its own.
#[test]
fn whoever_is_at_home() {
    let Some(host) = std::env::var_os("KONKO_TEST_HOST") else { return };
    let client = Client::connect_configured(host.to_str().unwrap()).unwrap();
    let done = client.exec("whoami").unwrap();
    println!("it is {}", String::from_utf8_lossy(&done.stdout));
}

#[test]
fn an_alias_is_all_that_is_said() {
    let mut rng = Rng::from_seed(&Seed::new([7; 32]));
    let options = ServerOptions::with_new_key().unwrap();
    let host_key = options.host_keys()[0].public().clone();
    let server = Server::listen("127.0.0.1:0", options, |_| App).unwrap();
    let port = server.local_addr().port();
    let home = tempfile::tempdir().unwrap();
    let ssh = home.path().join(".ssh");
    fs::create_dir(&ssh).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o700)).unwrap();
    let key = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap();
    let authority = PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap().key_pair(best()).unwrap();
    let request = CertificateRequest::new(CertificateKind::User, key.public()).principals(["alice"]);
    let certificate = request.sign(&authority, None, &mut rng).unwrap();
    let write = |name: &str, text: &[u8]| {
        fs::write(ssh.join(name), text).unwrap();
        fs::set_permissions(ssh.join(name), fs::Permissions::from_mode(0o600)).unwrap();
    };
    write("work", key.to_openssh(None, &mut rng).unwrap().as_bytes());
    write("elsewhere.pub", certificate.to_openssh_line("").as_bytes());
    write("known_hosts", format!("[127.0.0.1]:{port} {}\n", host_key.to_openssh_line("")).as_bytes());
    let config = format!(
        "Host build*\n HostName 127.0.0.1\n Port {port}\n IdentityFile ~/.ssh/work\n IdentitiesOnly yes\n\
         Host build-alice\n User alice\n CertificateFile ~/.ssh/elsewhere.pub\nHost build-bob\n User bob\n"
    );
    write("config", config.as_bytes());
    for (alias, who) in [("build-alice", "alice"), ("build-bob", "bob")] {
        let mut call = Command::new(std::env::current_exe().unwrap());
        call.args(["--exact", "whoever_is_at_home", "--nocapture"]).env("KONKO_TEST_HOST", alias);
        call.env("HOME", home.path()).env_remove("SSH_AUTH_SOCK").stdin(Stdio::null());
        let done = call.output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && said.contains(&format!("it is {who}")), "{alias}: {done:?}");
    }
}
