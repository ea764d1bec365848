//! Who runs the cells of a matrix: the program under test with OpenSSH's server, or a client with `konko serve`.

use crate::data::Pattern;
use crate::matrix::{Cell, LARGE_PACKET, Load, Pair, Passed, Rekeys};
use crate::peers::OpenSsh;
use crate::process::{Feed, Finished};
use crate::program::Program;
use crate::serve::{EVERYTHING, Serve};
use crate::sshd::Sshd;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The program under test with OpenSSH's server, one for each cell.
#[derive(Debug)]
pub struct WithSshd<'a> {
    /// The client.
    pub program: &'a Program,
    /// Whose server.
    pub openssh: &'a OpenSsh,
}

impl Pair for WithSshd<'_> {
    /// Other bytes go each way.
    fn run(&self, cell: &Cell, load: Load) -> Result<Passed, String> {
        let server_limit = openssh_limit(cell, load);
        let client_limit = if self.program.is_openssh() { server_limit } else { load.rekey };
        let sshd = Sshd::start(self.openssh, &["LogLevel DEBUG1", &format!("RekeyLimit {server_limit}")]);
        let up = Pattern { seed: 1, len: load.len };
        let down = Pattern { seed: 2, len: load.len };
        let file = sshd.file("down");
        write(&file, down).map_err(|e| e.to_string())?;
        let mut call = self.program.to(&sshd).option("RekeyLimit", client_limit).feed(Feed::Pattern(up));
        for (option, value) in cell.options() {
            call = call.option(option, value);
        }
        // A background job has no standard input, so only sha256sum reads what comes.
        let remote = format!("cat '{}' & sha256sum >&2; wait; exit 7", file.display());
        let done = call.deadline(load.deadline).try_run(&remote)?;
        let checked = (|| {
            expect(&done, 7, down)?;
            if !done.stderr.text().contains(&up.checksum().hex) {
                return Err(format!("uploaded something else than {}", up.checksum()));
            }
            openssh_negotiated(cell, &sshd.log())?;
            let (server, client) = rekeys(&sshd.log());
            enough(Rekeys { client, server, either: 0 }, load)
        })();
        match checked {
            Ok(rekeys) => Ok(Passed { rekeys, elapsed: done.elapsed }),
            Err(what) => Err(format!("{cell}: {what}\n{done}\n{}", tail(&sshd.log(), 40))),
        }
    }

    fn check(&self, rekeys: Rekeys, load: Load) -> Result<(), String> {
        both(rekeys.server > 0 && (rekeys.client > 0 || load.is_storm()), rekeys)
    }
}

/// A client with `konko serve`, one for all cells.
#[derive(Debug)]
pub struct WithServe {
    client: Program,
    serve: Serve,
    users: AtomicUsize,
}

impl WithServe {
    /// Starts the server with everything that konko has, renewing keys as `load` says. `None`, and recorded as not
    /// run, when konko was not built.
    pub fn start(client: Program, load: Load) -> Option<Self> {
        let limit = format!("RekeyLimit={}", load.rekey);
        let options = [&EVERYTHING[..], &[&limit, "MaxStartups=100"]].concat();
        Some(Self { client, serve: Serve::start(&options)?, users: AtomicUsize::new(0) })
    }
}

impl Pair for WithServe {
    /// The server sends back what it gets.
    fn run(&self, cell: &Cell, load: Load) -> Result<Passed, String> {
        // By the user name, the lines of this cell are found in the log that all have in common.
        let user = format!("cell-{}", self.users.fetch_add(1, Ordering::SeqCst));
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        let known_hosts = self.serve.known_hosts();
        let openssh = self.client.is_openssh();
        // Left to OpenSSH, the cipher is its first.
        let cipher = cell.cipher.clone().or_else(|| Some("chacha20-poly1305@openssh.com".into()));
        let chosen = Cell { cipher, ..cell.clone() };
        let limit = if openssh { openssh_limit(&chosen, load) } else { load.rekey };
        let bytes = Pattern { seed: 1, len: load.len };
        let mut call = self.client.call(home.path(), self.serve.port).user(&user);
        // OpenSSH 10 believes no plain key where only certificates are to be taken.
        let authorities = home.path().join("authorities");
        let line = format!("@cert-authority * {}\n", self.serve.keys().public_line("ca"));
        std::fs::write(&authorities, line).expect("the folder is writable");
        let known_hosts = format!("{} {}", known_hosts.display(), authorities.display());
        call = call.option("UserKnownHostsFile", known_hosts).option("StrictHostKeyChecking", "yes");
        call = call.option("BatchMode", "yes").identity(self.serve.keys(), "user_ed25519");
        call = call.option("RekeyLimit", limit).feed(Feed::Pattern(bytes));
        for (option, value) in cell.options() {
            call = call.option(option, value);
        }
        if openssh {
            call = call.args(&["-v"]);
        }
        let done = call.deadline(load.deadline).try_run("cat")?;
        let log = self.serve.whole_log_of(&user);
        let checked = (|| {
            expect(&done, 0, bytes)?;
            konko_negotiated(cell, &log)?;
            let renewed = log.lines().filter(|line| line.contains("keys renewed")).count();
            if !openssh {
                return enough(Rekeys { either: renewed, ..Rekeys::default() }, load);
            }
            let (client, server) = rekeys(&done.stderr.text());
            // One that the end of the connection cut off is begun on one side alone.
            if renewed.abs_diff(client + server) > 1 {
                return Err(format!("the client says {client}+{server} rekeys, the server {renewed}"));
            }
            enough(Rekeys { client, server, either: 0 }, load)
        })();
        match checked {
            Ok(rekeys) => Ok(Passed { rekeys, elapsed: done.elapsed }),
            Err(what) => Err(format!("{cell}: {what}\n{done}\n{}", tail(&log, 40))),
        }
    }

    fn check(&self, rekeys: Rekeys, load: Load) -> Result<(), String> {
        if !self.client.is_openssh() {
            return both(rekeys.either > 0, rekeys);
        }
        both(rekeys.client > 0 && (rekeys.server > 0 || load.is_storm()), rekeys)
    }
}

fn both(right: bool, rekeys: Rekeys) -> Result<(), String> {
    if right { Ok(()) } else { Err(format!("one side never started a rekey: {rekeys}")) }
}

/// The RekeyLimit with which OpenSSH starts a rekey after `load.rekey` bytes of output. It counts blocks, but takes the
/// *bytes* of the packet that it is about to send for blocks (`ssh_packet_need_rekeying`, up to 10.0 at least): with a
/// limit of 256 KiB it would start a rekey before every packet of 32 KiB.
fn openssh_limit(cell: &Cell, load: Load) -> u64 {
    if load.literal {
        return load.rekey;
    }
    let small = cell.cipher.as_ref().is_some_and(|c| c.starts_with("chacha20") || c.starts_with("3des"));
    let block = if small { 8 } else { 16 };
    load.rekey + LARGE_PACKET * block
}

fn expect(done: &Finished, code: i32, output: Pattern) -> Result<(), String> {
    if done.code() != code {
        return Err(format!("exit status {} instead of {code}", done.code()));
    }
    if done.stdout.checksum != output.checksum() {
        return Err(format!("got {}, not {}", done.stdout.checksum, output.checksum()));
    }
    Ok(())
}

/// Half of one direction alone is enough: a side may fill its window before it looks, and zlib makes less of the bytes.
fn enough(rekeys: Rekeys, load: Load) -> Result<Rekeys, String> {
    let least = usize::try_from(load.len / load.rekey / 4).unwrap_or(usize::MAX);
    if rekeys.total() < least {
        return Err(format!("{rekeys:?}, at least {least} expected"));
    }
    Ok(rekeys)
}

/// Checks the choice against the `debug1: kex: …` lines of OpenSSH.
fn openssh_negotiated(cell: &Cell, log: &str) -> Result<(), String> {
    let zlib = if cell.zlib { "zlib@openssh.com" } else { "none" };
    let mut expected = Vec::new();
    expected.extend(cell.kex.as_ref().map(|k| format!("kex: algorithm: {k}")));
    expected.extend(cell.host_key.as_ref().map(|h| format!("kex: host key algorithm: {h}")));
    for way in ["client->server", "server->client"] {
        let cipher = cell.cipher.as_ref().map(|c| format!("kex: {way} cipher: {c} "));
        expected.extend(cipher);
        expected.extend(cell.mac.as_ref().map(|m| format!("MAC: {m} ")));
    }
    expected.push(format!("compression: {zlib}"));
    let missing = expected.iter().find(|e| !log.lines().any(|line| format!("{line} ").contains(*e)));
    missing.map_or(Ok(()), |e| Err(format!("the server did not log \"{e}\"")))
}

/// Checks the choice against the first line of konko's log that tells the algorithms.
pub fn konko_negotiated(cell: &Cell, log: &str) -> Result<(), String> {
    let Some(line) = log.lines().find(|line| line.contains("; kex ")) else {
        return Err("konko serve did not log what was negotiated".into());
    };
    let mut expected = Vec::new();
    expected.extend(cell.kex.as_ref().map(|k| format!("; kex {k} (")));
    expected.extend(cell.host_key.as_ref().map(|h| format!("host key {h};")));
    let zlib = if cell.zlib { "zlib@openssh.com" } else { "none" };
    expected.extend(cell.mac.as_ref().map(|m| format!(" {m} compression {zlib};")));
    expected.push(format!(" compression {zlib};"));
    for way in ["out", "in"] {
        expected.extend(cell.cipher.as_ref().map(|c| format!("; {way} {c} ")));
    }
    let line = format!("{line};");
    // The last ones stand there once for each direction.
    let missing = expected.iter().find(|e| match e.starts_with(' ') {
        true => line.matches(*e).count() != 2,
        false => !line.contains(*e),
    });
    missing.map_or(Ok(()), |e| Err(format!("konko serve did not log \"{e}\"")))
}

fn write(path: &Path, pattern: Pattern) -> io::Result<()> {
    io::copy(&mut pattern.reader(), &mut io::BufWriter::with_capacity(1 << 20, File::create(path)?)).map(drop)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Who sent KEXINIT first in every key exchange but the first: how many the one who wrote the log, how many the other.
fn rekeys(log: &str) -> (usize, usize) {
    let inits = log.lines().filter_map(|line| {
        let sent = line.contains("SSH2_MSG_KEXINIT sent");
        (sent || line.contains("SSH2_MSG_KEXINIT received")).then_some(sent)
    });
    let inits: Vec<bool> = inits.collect();
    let firsts: Vec<bool> = inits.chunks_exact(2).skip(1).map(|pair| pair[0]).collect();
    let own = firsts.iter().filter(|sent| **sent).count();
    (own, firsts.len() - own)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_exchange_is_no_rekey() {
        let log = "debug1: SSH2_MSG_KEXINIT sent\ndebug1: SSH2_MSG_KEXINIT received\n\
                   debug1: SSH2_MSG_KEXINIT received\ndebug1: SSH2_MSG_KEXINIT sent\n\
                   debug1: SSH2_MSG_KEXINIT sent\ndebug1: SSH2_MSG_KEXINIT received\n\
                   debug1: SSH2_MSG_KEXINIT sent\ndebug1: SSH2_MSG_KEXINIT received\n";
        assert_eq!(rekeys(log), (2, 1));
    }

    #[test]
    fn what_konko_logs_is_compared_word_by_word() {
        let log = "konko serve: #1 p: peer SSH-2.0-x; kex curve25519-sha256 (not post-quantum, strict), host key \
                   ssh-ed25519; out aes128-ctr hmac-sha1 compression none; in aes128-ctr hmac-sha1 compression none";
        let cell = |mac: &str, zlib| Cell {
            kex: Some("curve25519-sha256".into()),
            host_key: Some("ssh-ed25519".into()),
            cipher: Some("aes128-ctr".into()),
            mac: Some(mac.into()),
            zlib,
        };
        assert_eq!(konko_negotiated(&cell("hmac-sha1", false), log), Ok(()));
        assert!(konko_negotiated(&cell("hmac-sha1-96", false), log).is_err());
        assert!(konko_negotiated(&cell("hmac-sha1", true), log).is_err());
        let other = Cell { kex: Some("curve25519-sha256@libssh.org".into()), ..cell("hmac-sha1", false) };
        assert!(konko_negotiated(&other, log).is_err());
    }
}
