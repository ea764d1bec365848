//! The algorithm matrix: cells of one connection each, bytes both ways, rekeys from both sides.

use crate::log::say;
use crate::table::Table;
use konko_core::crypto::algorithms;
use konko_core::keys::SignatureAlgorithm;
use std::fmt;
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
    /// 1 MiB each way, new keys after 256 KiB.
    pub const QUICK: Self = Self { len: 1 << 20, deadline: Duration::from_secs(120), ..Self::SHORT };
    /// As SHORT, with OpenSSH starting a rekey before every packet of 32 KiB.
    pub const STORM: Self = Self { literal: true, ..Self::SHORT };
    /// 1 GiB each way, new keys after 64 MiB.
    pub const LONG: Self =
        Self { len: 1 << 30, rekey: 64 << 20, literal: true, deadline: Duration::from_secs(600) };

    /// Whether OpenSSH starts a rekey before every large packet: then the other side never gets to start one.
    pub fn is_storm(&self) -> bool {
        self.literal && self.rekey <= LARGE_PACKET * 16
    }
}

/// Bytes of the largest packet that OpenSSH sends, and a little.
pub const LARGE_PACKET: u64 = 32_900;

/// Key exchanges of a connection after the first, by who sent KEXINIT first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rekeys {
    /// Started by the client.
    pub client: usize,
    /// Started by the server.
    pub server: usize,
    /// Started by one of them: konko's log does not say which.
    pub either: usize,
}

impl Rekeys {
    /// All of them.
    pub fn total(self) -> usize {
        self.client + self.server + self.either
    }
}

impl std::ops::Add for Rekeys {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            client: self.client + other.client,
            server: self.server + other.server,
            either: self.either + other.either,
        }
    }
}

impl fmt::Display for Rekeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { client, server, either: 0 } => write!(f, "{client}+{server}"),
            _ => write!(f, "{}", self.total()),
        }
    }
}

/// A cell that went well.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// What the logs say.
    pub rekeys: Rekeys,
    /// From start to end of the program.
    pub elapsed: Duration,
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:.1}s", self.rekeys, self.elapsed.as_secs_f64())
    }
}

impl Cell {
    /// The options that choose it, as ssh_config names them.
    pub fn options(&self) -> Vec<(&'static str, String)> {
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
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let options: Vec<String> = self.options().iter().map(|(o, v)| format!("{o}={v}")).collect();
        f.write_str(&options.join(" "))
    }
}

/// A client and a server that can run cells; one of them is konko.
pub trait Pair: Sync {
    /// Streams both ways at once; compares the checksums, the exit status, what was negotiated, and the number of key
    /// exchanges. The error says all that is known.
    fn run(&self, cell: &Cell, load: Load) -> Result<Passed, String>;

    /// The number of all rekeys of a matrix; the error is that one of the two never started any, though it had to.
    fn check(&self, rekeys: Rekeys, load: Load) -> Result<(), String>;
}

/// The lists of KEXINIT that an option of OpenSSH and of konko sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum List {
    /// `KexAlgorithms`.
    Kex,
    /// `HostKeyAlgorithms`.
    HostKey,
    /// `Ciphers`.
    Cipher,
    /// `MACs`.
    Mac,
}

impl List {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Kex, Self::HostKey, Self::Cipher, Self::Mac];

    /// The option that sets it.
    pub fn option(self) -> &'static str {
        match self {
            Self::Kex => "KexAlgorithms",
            Self::HostKey => "HostKeyAlgorithms",
            Self::Cipher => "Ciphers",
            Self::Mac => "MACs",
        }
    }

    /// What `ssh -Q` calls it.
    pub fn query(self) -> &'static str {
        match self {
            Self::Kex => "kex",
            Self::HostKey => "HostKeyAlgorithms",
            Self::Cipher => "cipher",
            Self::Mac => "mac",
        }
    }

    /// Its place among the name-lists of KEXINIT; of a cipher and a MAC, that of the client's direction.
    pub fn place(self) -> usize {
        match self {
            Self::Kex => 0,
            Self::HostKey => 1,
            Self::Cipher => 2,
            Self::Mac => 4,
        }
    }

    /// All that konko has.
    pub fn known(self) -> Vec<&'static str> {
        match self {
            Self::Kex => algorithms::Kex::ALL.iter().map(|a| a.name()).collect(),
            // No host here has its key on a device.
            Self::HostKey => {
                let all = SignatureAlgorithm::all().filter(|a| !a.key_type().is_security_key());
                all.map(|a| a.name()).collect()
            }
            Self::Cipher => algorithms::Cipher::ALL.iter().map(|a| a.name()).collect(),
            Self::Mac => algorithms::Mac::ALL.iter().map(|a| a.name()).collect(),
        }
    }
}

/// Ciphers that are their own MAC.
pub const AEAD: [&str; 3] =
    ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "chacha20-poly1305@openssh.com"];

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

/// A cipher that asks for 128 bits: with 256, OpenSSH's group exchange takes a group of 8192 bits, for every rekey.
pub const FOR_KEX: &str = "aes128-gcm@openssh.com";

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

    /// The ciphers and MACs that go together, with the key exchange that costs least.
    pub fn ciphers_and_macs(ciphers: &[String], macs: &[String], zlib: bool) -> Self {
        let name = format!("cipher x MAC, zlib {}", if zlib { "on" } else { "off" });
        let macs = [macs, &["(own)".to_owned()]].concat();
        Self::new(name, ciphers, &macs, |cipher, mac| {
            let own = mac == "(own)";
            let mac = Some(mac.to_owned()).filter(|_| !own);
            let (kex, cipher_name) = (Some("curve25519-sha256".to_owned()), Some(cipher.to_owned()));
            let cell = Cell { kex, cipher: cipher_name, mac, zlib, host_key: None };
            (own == AEAD.contains(&cipher)).then_some(cell)
        })
    }

    /// Every key exchange method with every host key algorithm.
    pub fn key_exchanges(kex: &[String], host_keys: &[String]) -> Self {
        Self::new("key exchange x host key", kex, host_keys, |k, h| {
            let (kex, host_key) = (Some(k.to_owned()), Some(h.to_owned()));
            Some(Cell { kex, host_key, cipher: Some(FOR_KEX.to_owned()), ..Cell::default() })
        })
    }

    /// Runs all cells, as many at once as there are processors, and prints the table and the count.
    ///
    /// # Panics
    /// When a cell fails, or when in the whole matrix one of the two sides never started a rekey.
    pub fn run(&self, pair: &dyn Pair, load: Load) {
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let begun = Instant::now();
        let results = self.results(pair, load);
        let run = results.iter().flatten().count();
        let passed: Vec<Passed> = results.iter().flatten().filter_map(|r| r.as_ref().ok().copied()).collect();
        let rekeys = passed.iter().fold(Rekeys::default(), |sum, p| sum + p.rekeys);
        say(&format!(
            "\n{}: {run} cells, {} passed, {} failed; {} MiB each way, rekeys started by client+server: \
             {rekeys}; {:.0} s\n{}",
            self.name,
            passed.len(),
            run - passed.len(),
            load.len >> 20,
            begun.elapsed().as_secs_f64(),
            self.table(&results),
        ));
        let failures: Vec<String> = results.into_iter().flatten().filter_map(Result::err).collect();
        assert!(failures.is_empty(), "{} cells failed; the first:\n{}", failures.len(), failures[0]);
        assert!(run > 0, "{}: no cells", self.name);
        if let Err(why) = pair.check(rekeys, load) {
            panic!("{}: {why}", self.name);
        }
    }

    fn results(&self, pair: &dyn Pair, load: Load) -> Vec<Option<Result<Passed, String>>> {
        at_once(&self.cells, |cell| cell.as_ref().map(|cell| pair.run(cell, load)))
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

/// Does something with each item, as many at once as there are processors; the results in the order of the items.
///
/// # Panics
/// When one of them panics.
pub fn at_once<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((i, item)) =
            Some(next.fetch_add(1, Ordering::SeqCst)).and_then(|i| Some((i, items.get(i)?)))
        {
            done.push((i, work(item)));
        }
        done
    };
    let workers = thread::available_parallelism().map_or(2, usize::from).min(8);
    let mut results = thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
        let joined =
            workers.into_iter().map(|w| w.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.flatten().collect::<Vec<_>>()
    });
    results.sort_by_key(|(i, _)| *i);
    results.into_iter().map(|(_, result)| result).collect()
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
