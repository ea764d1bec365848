//! Cells of the algorithm matrix: one connection each, bytes both ways, rekeys from both sides.

use crate::data::Pattern;
use crate::log::say;
use crate::peers::OpenSsh;
use crate::process::Feed;
use crate::program::Program;
use crate::sshd::Sshd;
use crate::table::Table;
use std::fmt;
use std::fs::File;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// One choice of algorithms; `None` leaves it to the two programs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Key exchange method.
    pub kex: Option<String>,
    /// Host key algorithm.
    pub host_key: Option<String>,
    /// Cipher of both directions.
    pub cipher: Option<String>,
    /// MAC of both directions; `None` with an AEAD cipher.
    pub mac: Option<String>,
    /// Whether zlib@openssh.com is on.
    pub zlib: bool,
}

/// How much a cell streams.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes each way.
    pub len: u64,
    /// Bytes after which both sides start a rekey.
    pub rekey: u64,
    /// Whether OpenSSH's RekeyLimit is exactly that, which makes it start a rekey before every large packet; else it
    /// is set so that OpenSSH does what the limit says.
    pub literal: bool,
    /// How long it may take.
    pub deadline: Duration,
}

impl Load {
    /// 8 MiB each way, new keys after 256 KiB.
    pub const SHORT: Self =
        Self { len: 8 << 20, rekey: 256 << 10, literal: false, deadline: Duration::from_secs(300) };
    /// The same, with OpenSSH starting a rekey before every packet of 32 KiB.
    pub const STORM: Self = Self { literal: true, ..Self::SHORT };
    /// 1 GiB each way, new keys after 64 MiB.
    pub const LONG: Self =
        Self { len: 1 << 30, rekey: 64 << 20, literal: true, deadline: Duration::from_secs(600) };

    /// Whether OpenSSH starts a rekey before every large packet: then the other side never gets to start one.
    fn is_storm(&self) -> bool {
        self.literal && self.rekey <= LARGE_PACKET * 16
    }
}

/// Bytes of the largest packet that OpenSSH sends, and a little.
const LARGE_PACKET: u64 = 32_900;

/// Key exchanges of a connection after the first, by who sent KEXINIT first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rekeys {
    /// Started by the client.
    pub client: usize,
    /// Started by the server.
    pub server: usize,
}

/// A cell that went well.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// What the server's log says.
    pub rekeys: Rekeys,
    /// From start to end of the program.
    pub elapsed: Duration,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{} {:.1}s", self.rekeys.client, self.rekeys.server, self.elapsed.as_secs_f64())
    }
}

impl Cell {
    /// Streams both ways at once, with other bytes each way; compares both checksums, the exit status, what was
    /// negotiated, and the number of key exchanges.
    pub fn run(&self, program: &Program, openssh: &OpenSsh, load: Load) -> Result<Passed, String> {
        let server_limit = if load.literal { load.rekey } else { self.openssh_limit(load.rekey) };
        let client_limit = if program.is_openssh() { server_limit } else { load.rekey };
        let sshd = Sshd::start(openssh, &["LogLevel DEBUG1", &format!("RekeyLimit {server_limit}")]);
        let up = Pattern { seed: 1, len: load.len };
        let down = Pattern { seed: 2, len: load.len };
        let file = sshd.file("down");
        write(&file, down).map_err(|e| e.to_string())?;
        let mut call = program.to(&sshd).option("RekeyLimit", client_limit).feed(Feed::Pattern(up));
        for (option, value) in self.options() {
            call = call.option(option, value);
        }
        // A background job has no standard input, so only sha256sum reads what comes.
        let remote = format!("cat '{}' & sha256sum >&2; wait; exit 7", file.display());
        let done = call.deadline(load.deadline).try_run(&remote)?;
        let problem = |what: String| Err(format!("{self}: {what}\n{done}\n{}", tail(&sshd.log(), 40)));
        if done.code() != 7 {
            return problem(format!("exit status {} instead of 7", done.code()));
        }
        if done.stdout.checksum != down.checksum() {
            return problem(format!("downloaded {}, not {}", done.stdout.checksum, down.checksum()));
        }
        if !done.stderr.text().contains(&up.checksum().hex) {
            return problem(format!("uploaded something else than {}", up.checksum()));
        }
        let log = sshd.log();
        if let Err(what) = self.negotiated(&log) {
            return problem(what);
        }
        let rekeys = rekeys(&log);
        // Half of one direction alone: a side may fill its window before it looks, and zlib makes less of the bytes.
        let least = usize::try_from(load.len / load.rekey / 4).unwrap_or(usize::MAX);
        if rekeys.client + rekeys.server < least {
            return problem(format!("{rekeys:?}, at least {least} expected"));
        }
        Ok(Passed { rekeys, elapsed: done.elapsed })
    }

    /// The RekeyLimit with which OpenSSH starts a rekey after `rekey` bytes of output. It counts blocks, but takes the
    /// *bytes* of the packet that it is about to send for blocks (`ssh_packet_need_rekeying`, up to 10.0 at least): with
    /// a limit of 256 KiB it would start a rekey before every packet of 32 KiB.
    fn openssh_limit(&self, rekey: u64) -> u64 {
        let small = self.cipher.as_ref().is_some_and(|c| c.starts_with("chacha20") || c.starts_with("3des"));
        let block = if small { 8 } else { 16 };
        rekey + LARGE_PACKET * block
    }

    fn options(&self) -> Vec<(&'static str, String)> {
        let named = [
            ("KexAlgorithms", &self.kex),
            ("HostKeyAlgorithms", &self.host_key),
            ("Ciphers", &self.cipher),
            ("MACs", &self.mac),
        ];
        let mut options: Vec<(&str, String)> =
            named.into_iter().filter_map(|(option, value)| Some((option, value.clone()?))).collect();
        options.push(("Compression", if self.zlib { "yes" } else { "no" }.into()));
        options
    }

    /// Checks the choice against the server's `debug1: kex: …` lines.
    fn negotiated(&self, log: &str) -> Result<(), String> {
        let zlib = if self.zlib { "zlib@openssh.com" } else { "none" };
        let mut expected = Vec::new();
        expected.extend(self.kex.as_ref().map(|k| format!("kex: algorithm: {k}")));
        expected.extend(self.host_key.as_ref().map(|h| format!("kex: host key algorithm: {h}")));
        for way in ["client->server", "server->client"] {
            let cipher = self.cipher.as_ref().map(|c| format!("kex: {way} cipher: {c} "));
            expected.extend(cipher);
            expected.extend(self.mac.as_ref().map(|m| format!("MAC: {m} ")));
        }
        expected.push(format!("compression: {zlib}"));
        let missing = expected.iter().find(|e| !log.lines().any(|line| format!("{line} ").contains(*e)));
        missing.map_or(Ok(()), |e| Err(format!("the server did not log \"{e}\"")))
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<String> = self.options().iter().map(|(o, v)| format!("{o}={v}")).collect();
        f.write_str(&options.join(" "))
    }
}

fn write(path: &std::path::Path, pattern: Pattern) -> io::Result<()> {
    io::copy(&mut pattern.reader(), &mut io::BufWriter::with_capacity(1 << 20, File::create(path)?)).map(drop)
}

fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Reads who sent KEXINIT first in every key exchange but the first.
pub fn rekeys(log: &str) -> Rekeys {
    let inits = log.lines().filter_map(|line| {
        let sent = line.contains("SSH2_MSG_KEXINIT sent");
        (sent || line.contains("SSH2_MSG_KEXINIT received")).then_some(sent)
    });
    let inits: Vec<bool> = inits.collect();
    let mut found = Rekeys::default();
    for pair in inits.chunks_exact(2).skip(1) {
        match pair[0] {
            true => found.server += 1,
            false => found.client += 1,
        }
    }
    found
}

/// The cells of a matrix by row and column; a missing one has nothing to run there.
#[derive(Clone, Debug)]
pub struct Matrix {
    /// What it is called in the output.
    pub name: String,
    /// Heading of each row.
    pub rows: Vec<String>,
    /// Heading of each column.
    pub columns: Vec<String>,
    /// Row by row.
    pub cells: Vec<Option<Cell>>,
}

/// Cells are timed and the machine is small: one matrix at a time.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

impl Matrix {
    /// Makes a matrix of all rows × all columns.
    pub fn new(
        name: impl Into<String>,
        rows: &[String],
        columns: &[String],
        cell: impl Fn(&str, &str) -> Option<Cell>,
    ) -> Self {
        let cells =
            rows.iter().flat_map(|r| columns.iter().map(|c| cell(r, c)).collect::<Vec<_>>()).collect();
        Self { name: name.into(), rows: rows.to_vec(), columns: columns.to_vec(), cells }
    }

    /// Runs all cells, as many at once as there are processors, and prints the table and the count.
    ///
    /// # Panics
    /// When a cell fails, or when in the whole matrix one of the two sides never started a rekey.
    pub fn run(&self, program: &Program, openssh: &OpenSsh, load: Load) {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begun = Instant::now();
        let results = self.results(program, openssh, load);
        let run = results.iter().flatten().count();
        let passed: Vec<Passed> = results.iter().flatten().filter_map(|r| r.as_ref().ok().copied()).collect();
        let client: usize = passed.iter().map(|p| p.rekeys.client).sum();
        let server: usize = passed.iter().map(|p| p.rekeys.server).sum();
        say(&format!(
            "\n{}: {run} cells, {} passed, {} failed; {} MiB each way, rekeys started by client+server: \
             {client}+{server}; {:.0} s\n{}",
            self.name,
            passed.len(),
            run - passed.len(),
            load.len >> 20,
            begun.elapsed().as_secs_f64(),
            self.table(&results),
        ));
        let failures: Vec<String> = results.into_iter().flatten().filter_map(Result::err).collect();
        assert!(failures.is_empty(), "{} cells failed; the first:\n{}", failures.len(), failures[0]);
        let both = server > 0 && (client > 0 || load.is_storm());
        assert!(both, "one side never started a rekey: {client}+{server}");
    }

    fn results(
        &self,
        program: &Program,
        openssh: &OpenSsh,
        load: Load,
    ) -> Vec<Option<Result<Passed, String>>> {
        let next = AtomicUsize::new(0);
        let results = Mutex::new(vec![None; self.cells.len()]);
        let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
        thread::scope(|scope| {
            for _ in 0..workers {
                scope.spawn(|| {
                    loop {
                        let i = next.fetch_add(1, Ordering::SeqCst);
                        let Some(cell) = self.cells.get(i) else { return };
                        let result = cell.as_ref().map(|cell| cell.run(program, openssh, load));
                        results.lock().expect("no worker panics with the lock")[i] = result;
                    }
                });
            }
        });
        results.into_inner().expect("no worker panics with the lock")
    }

    fn table(&self, results: &[Option<Result<Passed, String>>]) -> Table {
        let heading = std::iter::once("").chain(self.columns.iter().map(String::as_str)).map(short);
        let mut table = Table::new(heading);
        for (row, results) in self.rows.iter().zip(results.chunks(self.columns.len())) {
            let cells = results.iter().map(|result| match result {
                None => "-".to_owned(),
                Some(Ok(passed)) => passed.to_string(),
                Some(Err(_)) => "FAIL".to_owned(),
            });
            table.row(std::iter::once(short(row)).chain(cells));
        }
        table
    }
}

/// Names for a table that fits on a screen.
fn short(name: &str) -> String {
    let mut name = name.replace("-cert-v01@openssh.com", "+cert").replace("@openssh.com", "@");
    for (long, short) in [
        ("diffie-hellman-group-exchange", "dh-gex"),
        ("diffie-hellman-group", "dh-group"),
        ("ecdsa-sha2-", ""),
        ("ecdh-sha2-", ""),
        ("chacha20-poly1305", "chacha20"),
        ("hmac-", ""),
    ] {
        name = name.replace(long, short);
    }
    name
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
        assert_eq!(rekeys(log), Rekeys { client: 1, server: 2 });
    }
}
