//! `-k`, `-Q`: key revocation lists.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use konko::core::keys::{Certificate, KeyError, PrivateKey, PublicKey};
use konko::core::krl::{Authority, Item, Krl, MAX_FILE};
use konko::key_file::{self, Existing};
use konko::{HashAlgorithm, SshStr};
use std::os::unix::ffi::OsStrExt;

use super::ask::{read, reason};
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Make a key revocation list (-f) of what files name: keys, certificates, `serial: N`, `id: ID`, `hash: SHA256:…`;
    /// with -u, add it to the list that is there
    #[arg(short = 'k')]
    pub make: bool,
    /// Say which keys a key revocation list (-f) revokes; with -l, print the list
    #[arg(short = 'Q')]
    pub query: bool,
    /// Add to the key revocation list that is there
    #[arg(short = 'u')]
    pub update: bool,
}

/// `-k`
pub fn make(args: &Args) -> Result<(), Failure> {
    let path = args.file.as_ref().ok_or("KRL generation requires an output file")?;
    let there = path.try_exists().map_err(|e| cannot("access KRL", path, &e))?;
    let mut krl = match (args.revocation.update, there) {
        (false, _) => Krl::new(),
        (true, true) => load(path)?,
        (true, false) => return Err(format!("KRL \"{}\" does not exist", path.display()).into()),
    };
    let authority = match &args.with {
        None => Authority::Unsaid,
        Some(word) if word.as_os_str().eq_ignore_ascii_case("none") => Authority::Any,
        Some(file) => Authority::Key(public_key(file)?.0.to_blob().into()),
    };
    match args.number.as_deref().map(str::parse) {
        None => {}
        Some(Ok(version)) => krl.set_version(version),
        Some(Err(_)) => return Err("Invalid KRL version: it is a number".into()),
    }
    if let Some(comment) = &args.comment {
        krl.set_comment(comment.as_bytes());
    }
    for file in args.words.iter().map(Path::new) {
        let name = if file == Path::new("-") { Path::new("(standard input)") } else { file };
        args.tell(format_args!("Revoking from {}", name.display()));
        let spec = read_whole(file)?;
        krl.revoke_from(&spec, &authority)
            .map_err(|(line, problem)| format!("{}:{line}: {problem}", name.display()))?;
    }
    krl.set_generated(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()));
    key_file::write_public(path, &krl.to_bytes(), Existing::Replace)
        .map_err(|e| format!("write {}: {}", path.display(), reason(&e)).into())
}

/// `-Q`
pub fn query(args: &Args) -> Result<(), Failure> {
    let krl = load(args.file.as_ref().ok_or("KRL checking requires an input file")?)?;
    if args.show.fingerprint {
        print(&krl)?;
    }
    let mut revoked = false;
    for file in args.words.iter().map(Path::new) {
        let (key, comment) = public_key(file)?;
        let comment = SshStr::new(&comment);
        let comment = if comment.as_bytes().is_empty() { String::new() } else { format!(" ({comment})") };
        let by = krl.check_key(&key);
        let word = if by.is_none() { "ok" } else { "REVOKED" };
        streams::try_line(format_args!("{}{comment}: {word}", file.display()))?;
        revoked |= by.is_some();
    }
    if revoked { Err(Failure::one("")) } else { Ok(()) }
}

/// As `-k` would read it again, as far as that has words for it.
fn print(krl: &Krl) -> Result<(), Failure> {
    let mut lines =
        vec![format!("# KRL version {}", krl.version()), format!("# Generated at {}", krl.generated_text())];
    if !krl.comment().is_empty() {
        lines.push(format!("# Comment: {}", SshStr::new(krl.comment())));
    }
    lines.push(String::new());
    for item in krl.items() {
        match item {
            Item::Key(blob) => {
                let key = PublicKey::from_blob(blob);
                lines.push(key.map_or_else(
                    |e| format!("# a key that cannot be read: {e}"),
                    |key| format!("hash: {} # {}", key.fingerprint(HashAlgorithm::Sha256), key.key_type()),
                ));
            }
            Item::Sha256(hash) => lines.push(format!("hash: SHA256:{}", hex(hash))),
            Item::Sha1(hash) => lines.push(format!("# hash SHA1:{}", hex(hash))),
            Item::Authority(None) => lines.extend([String::new(), "# Wildcard CA".into()]),
            Item::Authority(Some(blob)) => {
                let key = PublicKey::from_blob(blob).map_or_else(
                    |e| format!("that cannot be read: {e}"),
                    |key| format!("{} {}", key.key_type(), key.fingerprint(HashAlgorithm::Sha256)),
                );
                lines.extend([String::new(), format!("# CA key {key}")]);
            }
            Item::Serials(first, last) if first == last => lines.push(format!("serial: {first}")),
            Item::Serials(first, last) => lines.push(format!("serial: {first}-{last}")),
            Item::KeyId(id) => lines.push(format!("id: {}", SshStr::new(id))),
            _ => {}
        }
    }
    streams::try_line(lines.join("\n"))?;
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn load(path: &Path) -> Result<Krl, Failure> {
    let bytes = read_whole(path).map_err(|e| format!("Unable to load KRL {}: {}", path.display(), e.text))?;
    Krl::parse(&bytes).map_err(|e| format!("Invalid KRL file {}: {e}", path.display()).into())
}

/// A file that may be as large as a list; `-` is standard input.
fn read_whole(path: &Path) -> Result<Vec<u8>, Failure> {
    if path == Path::new("-") {
        return Ok(read(path)?.to_vec());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| cannot("open", path, &e))?;
    file.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|e| cannot("read", path, &e))?;
    Ok(bytes)
}

fn cannot(what: &str, path: &Path, e: &std::io::Error) -> Failure {
    format!("Cannot {what} \"{}\": {}", path.display(), reason(e)).into()
}

/// The public key in a file, or beside a private key, and its comment.
pub fn public_key(path: &Path) -> Result<(PublicKey, Vec<u8>), Failure> {
    let failed = |e: KeyError| Failure::from(format!("Cannot load public key {}: {e}", path.display()));
    let bytes = read(path)?;
    let line = |bytes: &[u8]| -> Result<(PublicKey, Vec<u8>), KeyError> {
        if let Ok((certificate, comment)) = Certificate::from_openssh_line(bytes) {
            return Ok((certificate.public().clone(), comment.as_bytes().to_vec()));
        }
        let (key, comment) = PublicKey::from_openssh_line(bytes)?;
        Ok((key, comment.as_bytes().to_vec()))
    };
    let given = match line(&bytes) {
        Ok(found) => return Ok(found),
        Err(e) => e,
    };
    match PrivateKey::public_of(&bytes) {
        Ok(key) => {
            let beside = key_file::read(key_file::public_path(path)).ok();
            let beside = beside.and_then(|bytes| line(&bytes).ok()).filter(|(public, _)| *public == key);
            Ok(beside.unwrap_or_else(|| (key, Vec::new())))
        }
        Err(KeyError::NotAKey | KeyError::PublicKeyGiven | KeyError::CertificateGiven) => Err(failed(given)),
        Err(e) => {
            let beside: Option<PathBuf> = Some(key_file::public_path(path)).filter(|path| path.exists());
            let beside = beside.and_then(|path| key_file::read(path).ok());
            beside.and_then(|bytes| line(&bytes).ok()).ok_or_else(|| failed(e))
        }
    }
}
