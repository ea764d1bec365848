//! The bodies of konko's fuzzers: each takes any bytes and panics when a promise is broken.
//!
//! | target | what runs | what holds |
//! |---|---|---|
//! | `client`, `server` | a whole connection under the null provider; the first bytes are the application's decisions, the rest what the peer sends | no panic; errors are sticky and silent; output is bounded; the recording replays; the same events and output when the input comes byte by byte |
//! | `mitm` | two real machines and a man in the middle who drops, inserts, repeats, swaps, cuts and changes | if the client gets to the end, everything it saw is what it would have seen without him |
//! | `channels` | two machines and any sequence of calls | neither finds fault with the other; nothing follows CLOSE; no window is exceeded |
//! | `packets` | every real packet protection | nothing but what was sealed opens |
//! | `sftp_client`, `sftp_server` | one end of SFTP; decisions, then what the peer sends | no panic; the same events however the input is cut; limits hold; nothing changes in read-only mode |
//! | `sftp_pair` | get, put and copy between the two ends, bytes cut and delayed | neither finds fault with the other; what ends well is right |
//! | `wire`, `msgs`, `private_key`, `public_key`, `known_hosts`, `krl`, `sshsig`, `authorized_keys`, `transcript` | the parsers | no panic; what parses comes out again the same |
//!
//! The targets for libFuzzer are in `fuzz_targets`; on stable, `tests/corpus.rs` runs every body over
//! its corpus and over mutations of it.

pub mod channels;
pub mod input;
pub mod machine;
pub mod mitm;
pub mod packets;
pub mod parsers;
pub mod peer;
pub mod seeds;
pub mod sftp;

/// The name of a target and its body.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: &[Target] = &[
    ("client", machine::client),
    ("server", machine::server),
    ("mitm", mitm::mitm),
    ("channels", channels::channels),
    ("packets", packets::packets),
    ("sftp_client", sftp::client),
    ("sftp_server", sftp::server),
    ("sftp_pair", sftp::pair),
    ("wire", parsers::wire),
    ("msgs", parsers::msgs),
    ("private_key", parsers::private_key),
    ("public_key", parsers::public_key),
    ("known_hosts", parsers::known_hosts),
    ("krl", parsers::krl),
    ("sshsig", parsers::sshsig),
    ("authorized_keys", parsers::authorized_keys),
    ("transcript", parsers::transcript),
];

/// Runs the target of that name.
///
/// # Panics
///
/// When there is none, and when its body finds something.
pub fn run(name: &str, data: &[u8]) {
    let (_, body) = TARGETS.iter().find(|(n, _)| *n == name).expect("a target of that name");
    body(data);
}
