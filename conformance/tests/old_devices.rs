//! What old devices need is refused, says which option allows it, and is allowed by that option alone.

use konko_conformance::{OpenSsh, Program, Sshd, not_run};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};

/// A server with an RSA key of 1024 bits and nothing else, as routers of twenty years have.
#[test]
fn c18_a_short_rsa_key_is_refused_until_it_is_asked_for() {
    let Some(program) = Program::under_test() else { return };
    let Some(openssh) = OpenSsh::system() else {
        not_run("a server with a short RSA key", "sshd is not installed");
        return;
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("short");
    let mut make = Command::new("ssh-keygen");
    make.args(["-q", "-t", "rsa", "-b", "1024", "-N", "", "-f"]).arg(&key);
    assert!(make.status().expect("ssh-keygen runs").success());
    // The configuration's other host key is one that the call does not offer.
    let sshd = Sshd::with_host_keys(&openssh, &["ed25519"], &[&format!("HostKey {}", key.display())]);
    let call = || {
        let call = program.to(&sshd).option("StrictHostKeyChecking", "accept-new");
        call.option("HostKeyAlgorithms", "rsa-sha2-512").option("UserKnownHostsFile", "/dev/null")
    };
    if !program.is_openssh() {
        let done = call().option("AllowTerrapin", "yes").run("echo in");
        done.expect_code(255).expect_stderr(&["1024 bits"]).expect_stderr(&["-o RequiredRSASize=1024"]);
        assert_eq!(done.stdout.text(), "");
    }
    let done = call().option("RequiredRSASize", "1024").run("echo in");
    done.expect_code(0);
    assert_eq!(done.stdout.text(), "in\n");
    call().option("RequiredRSASize", "2048").run("echo in").expect_code(255);
}

/// TinySSH behind a port: ChaCha20-Poly1305 only, and no strict key exchange.
fn tinysshd(folder: &Path) -> Option<u16> {
    let keys = folder.join("keys");
    if !Command::new("tinysshd-makekey").arg("-q").arg(&keys).status().is_ok_and(|status| status.success()) {
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let output = OwnedFd::from(socket.try_clone().expect("a second handle"));
            let mut server = Command::new("tinysshd");
            server.arg("-q").arg(&keys).stdin(OwnedFd::from(socket)).stdout(output).stderr(Stdio::null());
            let mut child = server.spawn().expect("it was found before");
            std::thread::spawn(move || child.wait());
        }
    });
    Some(port)
}

#[test]
fn c18_a_server_open_to_truncation_is_refused_until_it_is_asked_for() {
    let Some(program) = Program::under_test() else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let Some(port) = tinysshd(folder.path()) else {
        not_run("a server without strict key exchange", "tinysshd is not installed");
        return;
    };
    let call = || {
        let call = program.call(folder.path(), port).option("StrictHostKeyChecking", "accept-new");
        call.option("BatchMode", "yes").option("UserKnownHostsFile", "/dev/null")
    };
    if !program.is_openssh() {
        let done = call().option("RequiredRSASize", 1024).run("true");
        done.expect_code(255).expect_stderr(&["CVE-2023-48795"]).expect_stderr(&["-o AllowTerrapin=yes"]);
        // Nobody has a key there: being turned away as a user is as far as one comes.
        let done = call().option("AllowTerrapin", "yes").run("true");
        done.expect_code(255).expect_stderr(&["permission denied"]);
        return;
    }
    call().run("true").expect_code(255).expect_stderr(&["permission denied"]);
}
