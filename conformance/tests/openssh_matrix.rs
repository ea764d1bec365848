//! Every algorithm that the program and OpenSSH's server have in common: 8 MiB each way at once, new keys after every
//! 256 KiB, and for some after every packet that OpenSSH sends; with `--full` that for all, and 1 GiB each way with
//! new keys after 64 MiB.

use konko_conformance::log::say;
use konko_conformance::matrix::{AEAD, FOR_KEX};
use konko_conformance::peers::full;
use konko_conformance::probe::offered;
use konko_conformance::{Cell, List, Load, Matrix, OpenSsh, Program, WithSshd, not_run};
use std::collections::BTreeSet;

fn system() -> Option<(Program, OpenSsh)> {
    let program = Program::under_test()?;
    let openssh = OpenSsh::system();
    if openssh.is_none() {
        not_run("the matrix with OpenSSH", "sshd or ssh is not installed");
    }
    Some((program, openssh?))
}

fn ten() -> Option<(Program, OpenSsh)> {
    let program = Program::under_test()?;
    let openssh = OpenSsh::ten();
    if openssh.is_none() {
        not_run("ML-KEM with OpenSSH 10", "neither the system's version nor unpacked under target/peers");
    }
    Some((program, openssh?))
}

/// What both have: the server's list, less what the program does not offer. All that konko knows by name must be
/// there, so that an algorithm cannot leave the table unseen.
fn common(program: &Program, openssh: &OpenSsh, list: List) -> Vec<String> {
    // No DSA, and no security keys: there is no such host key to present.
    let usable = |n: &String| !n.starts_with("ssh-dss") && !n.contains("sk-");
    let server: Vec<String> = openssh.query(list.query()).into_iter().filter(usable).collect();
    let common = offered(program, list, &server);
    let have: BTreeSet<&str> = common.iter().map(String::as_str).collect();
    let known = list.known();
    let missing: Vec<&str> =
        known.into_iter().filter(|n| server.iter().any(|s| s == n) && !have.contains(n)).collect();
    assert!(missing.is_empty(), "the program does not offer {missing:?}");
    common
}

fn some(name: &str) -> Option<String> {
    Some(name.to_owned())
}

/// The load of the big matrices.
fn load() -> Load {
    if full() { Load::STORM } else { Load::SHORT }
}

fn ciphers_and_macs(zlib: bool) {
    let Some((program, openssh)) = system() else { return };
    let ciphers = common(&program, &openssh, List::Cipher);
    let macs = common(&program, &openssh, List::Mac);
    run(&Matrix::ciphers_and_macs(&ciphers, &macs, zlib), &program, &openssh, load());
}

fn run(matrix: &Matrix, program: &Program, openssh: &OpenSsh, load: Load) {
    matrix.run(&WithSshd { program, openssh }, load);
}

#[test]
fn every_cipher_with_every_mac() {
    ciphers_and_macs(false);
}

#[test]
fn every_cipher_with_every_mac_compressed() {
    ciphers_and_macs(true);
}

#[test]
fn every_key_exchange_with_every_host_key() {
    let Some((program, openssh)) = system() else { return };
    let kex = common(&program, &openssh, List::Kex);
    let host_keys = common(&program, &openssh, List::HostKey);
    run(&Matrix::key_exchanges(&kex, &host_keys), &program, &openssh, load());
}

#[test]
fn every_key_exchange_compressed() {
    let Some((program, openssh)) = system() else { return };
    let kex = common(&program, &openssh, List::Kex);
    let cell =
        |k: &str, _: &str| Some(Cell { kex: some(k), cipher: some(FOR_KEX), zlib: true, ..Cell::default() });
    run(&Matrix::new("key exchange, zlib on", &kex, &["zlib".into()], cell), &program, &openssh, load());
}

#[test]
fn ml_kem_with_every_host_key() {
    let Some((program, openssh)) = ten() else { return };
    let name = "mlkem768x25519-sha256";
    if offered(&program, List::Kex, &[name.to_owned()]).is_empty() {
        // An old OpenSSH run to check the tests; konko has it, so for konko this is a failure.
        assert!(program.is_openssh(), "the program does not offer {name}");
        return say(&format!("{name} is not offered by the OpenSSH under test"));
    }
    let host_keys = common(&program, &openssh, List::HostKey);
    let cell = |h: &str, zlib: &str| {
        let cipher = some(FOR_KEX);
        Some(Cell { kex: some(name), host_key: some(h), cipher, zlib: zlib == "zlib", ..Cell::default() })
    };
    let title = format!("{name}, OpenSSH {}.{}", openssh.version().0, openssh.version().1);
    run(
        &Matrix::new(title, &host_keys, &["none".into(), "zlib".into()], cell),
        &program,
        &openssh,
        Load::SHORT,
    );
}

#[test]
fn sntrup761_with_openssh_10() {
    let Some((program, openssh)) = ten() else { return };
    let names = ["sntrup761x25519-sha512", "sntrup761x25519-sha512@openssh.com"].map(str::to_owned);
    let cell = |kex: &str, _: &str| {
        let (kex, host_key, cipher) = (some(kex), some("ssh-ed25519"), some(FOR_KEX));
        Some(Cell { kex, host_key, cipher, ..Cell::default() })
    };
    let columns = ["ssh-ed25519".to_owned()];
    run(&Matrix::new("sntrup761, OpenSSH 10", &names, &columns, cell), &program, &openssh, Load::SHORT);
}

#[test]
fn new_keys_before_every_packet() {
    let Some((program, openssh)) = system() else { return };
    let rows = ["curve25519-sha256", "ecdh-sha2-nistp256"].map(str::to_owned);
    let columns =
        ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"].map(str::to_owned);
    let cell = |k: &str, c: &str| Some(Cell { kex: some(k), cipher: some(c), ..Cell::default() });
    run(&Matrix::new("a storm of rekeys", &rows, &columns, cell), &program, &openssh, Load::STORM);
}

#[test]
fn defaults_with_openssh_10() {
    let Some((program, openssh)) = ten() else { return };
    let cell = |_: &str, zlib: &str| Some(Cell { zlib: zlib == "zlib", ..Cell::default() });
    let matrix =
        Matrix::new("defaults, OpenSSH 10", &["defaults".into()], &["none".into(), "zlib".into()], cell);
    run(&matrix, &program, &openssh, Load::SHORT);
}

#[test]
fn one_gibibyte_each_way() {
    if !full() {
        return say("1 GiB streams: only with conformance/test --full");
    }
    let Some((program, openssh)) = system() else { return };
    let rows = ["aes128-gcm@openssh.com", "chacha20-poly1305@openssh.com", "aes256-ctr"].map(str::to_owned);
    let cell = |cipher: &str, zlib: &str| {
        let mac = some("hmac-sha2-256-etm@openssh.com").filter(|_| !AEAD.contains(&cipher));
        Some(Cell { cipher: some(cipher), mac, zlib: zlib == "zlib", ..Cell::default() })
    };
    run(
        &Matrix::new("1 GiB each way", &rows, &["none".into(), "zlib".into()], cell),
        &program,
        &openssh,
        Load::LONG,
    );
}
