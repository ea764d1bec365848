//! Every algorithm that `konko serve` and a client have in common: 1 MiB each way at once, new keys after every
//! 256 KiB. The clients are OpenSSH's, old and new, and konko's own. With `--full` also 1 GiB each way with new keys
//! after 64 MiB; see `server_clients` for another client that does that.

use konko_conformance::log::say;
use konko_conformance::matrix::{AEAD, FOR_KEX};
use konko_conformance::peers::full;
use konko_conformance::{Cell, List, Load, Matrix, OpenSsh, Program, WithServe, not_run};

/// A client and what it has in common with the server.
struct Side {
    client: Program,
    name: String,
    openssh: Option<OpenSsh>,
}

impl Side {
    fn openssh(openssh: Option<OpenSsh>, missing: &str) -> Option<Self> {
        let Some(openssh) = openssh else {
            not_run("the server's matrix with OpenSSH's client", missing);
            return None;
        };
        let client = Program::new(vec![openssh.ssh().into()]);
        let (major, minor) = openssh.version();
        Some(Self { client, name: format!("OpenSSH {major}.{minor}"), openssh: Some(openssh) })
    }

    fn system() -> Option<Self> {
        Self::openssh(OpenSsh::system(), "sshd or ssh is not installed")
    }

    fn ten() -> Option<Self> {
        Self::openssh(OpenSsh::ten(), "neither the system's version is 10 nor is one under target/peers")
    }

    fn konko() -> Option<Self> {
        Some(Self { client: Program::konko()?, name: "konko".into(), openssh: None })
    }

    /// All that konko has, less what the client has not.
    fn common(&self, list: List) -> Vec<String> {
        let theirs = self.openssh.as_ref().map(|openssh| openssh.query(list.query()));
        let common = list.known().into_iter().map(str::to_owned);
        common.filter(|name| theirs.as_ref().is_none_or(|t| t.contains(name))).collect()
    }

    fn run(&self, mut matrix: Matrix, load: Load) {
        let Some(pair) = WithServe::start(self.client.clone(), load) else { return };
        matrix.name = format!("{} to konko serve, {}", self.name, matrix.name);
        matrix.run(&pair, load);
    }

    fn ciphers_and_macs(&self) {
        for zlib in [false, true] {
            let (ciphers, macs) = (self.common(List::Cipher), self.common(List::Mac));
            self.run(Matrix::ciphers_and_macs(&ciphers, &macs, zlib), Load::QUICK);
        }
    }

    fn key_exchanges(&self, kex: &[String]) {
        self.run(Matrix::key_exchanges(kex, &self.common(List::HostKey)), Load::QUICK);
    }
}

#[test]
fn openssh_with_every_cipher_and_mac() {
    let Some(side) = Side::system() else { return };
    side.ciphers_and_macs();
}

#[test]
fn openssh_with_every_key_exchange_and_host_key() {
    let Some(side) = Side::system() else { return };
    side.key_exchanges(&side.common(List::Kex));
}

#[test]
fn openssh_10_with_its_hybrids_and_every_host_key() {
    let Some(side) = Side::ten() else { return };
    side.key_exchanges(&["mlkem768x25519-sha256", "sntrup761x25519-sha512"].map(str::to_owned));
}

#[test]
fn konko_with_every_cipher_and_mac() {
    let Some(side) = Side::konko() else { return };
    side.ciphers_and_macs();
}

#[test]
fn konko_with_every_key_exchange_and_host_key() {
    let Some(side) = Side::konko() else { return };
    side.key_exchanges(&side.common(List::Kex));
}

#[test]
fn every_key_exchange_compressed() {
    let sides = [Side::system(), Side::konko()].into_iter().flatten();
    for side in sides {
        let cell = |kex: &str, _: &str| {
            let (kex, cipher) = (Some(kex.to_owned()), Some(FOR_KEX.to_owned()));
            Some(Cell { kex, cipher, zlib: true, ..Cell::default() })
        };
        let matrix = Matrix::new("key exchange, zlib on", &side.common(List::Kex), &["zlib".into()], cell);
        side.run(matrix, Load::QUICK);
    }
}

#[test]
fn defaults() {
    let sides = [Side::system(), Side::ten(), Side::konko()].into_iter().flatten();
    for side in sides {
        let cell = |_: &str, zlib: &str| Some(Cell { zlib: zlib == "zlib", ..Cell::default() });
        let matrix = Matrix::new("defaults", &["defaults".into()], &["none".into(), "zlib".into()], cell);
        side.run(matrix, Load::SHORT);
    }
}

#[test]
fn new_keys_before_every_packet() {
    let Some(side) = Side::system() else { return };
    let rows = ["curve25519-sha256", "ecdh-sha2-nistp256"].map(str::to_owned);
    let columns = [FOR_KEX, "chacha20-poly1305@openssh.com", "aes256-ctr"].map(str::to_owned);
    let cell = |kex: &str, cipher: &str| {
        let (kex, cipher) = (Some(kex.to_owned()), Some(cipher.to_owned()));
        Some(Cell { kex, cipher, ..Cell::default() })
    };
    let storm = Load { len: Load::QUICK.len, ..Load::STORM };
    side.run(Matrix::new("a storm of rekeys", &rows, &columns, cell), storm);
}

#[test]
fn one_gibibyte_each_way() {
    if !full() {
        return say("1 GiB streams: only with conformance/test --full");
    }
    let rows = [FOR_KEX, "chacha20-poly1305@openssh.com", "aes256-ctr"].map(str::to_owned);
    let sides = [Side::system(), Side::konko()].into_iter().flatten();
    for side in sides {
        let cell = |cipher: &str, zlib: &str| {
            let mac = Some("hmac-sha2-256-etm@openssh.com".to_owned()).filter(|_| !AEAD.contains(&cipher));
            // zlib takes minutes, whatever the cipher.
            let worth = zlib == "none" || cipher == FOR_KEX;
            let cell = Cell { cipher: Some(cipher.to_owned()), mac, zlib: zlib == "zlib", ..Cell::default() };
            worth.then_some(cell)
        };
        let matrix = Matrix::new("1 GiB each way", &rows, &["none".into(), "zlib".into()], cell);
        side.run(matrix, Load::LONG);
    }
}
