//! Keys that are there already: public halves and fingerprints.

use std::path::Path;

use konko::SshStr;
use konko::core::keys::{KeyError, MAX_FILE, PrivateKey, PublicKey};
use konko::core::text::{Limits, lines};
use konko::key_file;

use super::ask::read;
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Show the fingerprint of a key file, or of each line of a file of public keys
    #[arg(short = 'l')]
    pub fingerprint: bool,
    /// Print the public half of a private key
    #[arg(short = 'y')]
    pub public: bool,
}

/// `-y`
pub fn public(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let (key, _) = args.open(&path, &format!("Enter passphrase for \"{}\": ", path.display()))?;
    let comment = String::from_utf8_lossy(key.comment().as_bytes()).into_owned();
    streams::try_line(key.public().to_openssh_line(&comment))?;
    Ok(())
}

/// `-l`
pub fn fingerprints(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let bytes = read(&path)?;
    match PrivateKey::public_of(&bytes) {
        Ok(key) => {
            // What is encrypted, or of another format, has its comment in the file beside it.
            let own = PrivateKey::load(&bytes, None).map(|key| key.comment().as_bytes().to_vec());
            let own = own.ok().filter(|own| !own.is_empty());
            let comment = own.unwrap_or_else(|| comment_beside(&path, &key));
            show(args, &key, &SshStr::new(&comment));
            return Ok(());
        }
        Err(KeyError::NotAKey | KeyError::PublicKeyGiven | KeyError::CertificateGiven) => {}
        // The public half may stand beside it.
        Err(e) => {
            let beside = key_file::read(key_file::public_path(&path)).ok();
            let read = beside.as_ref().and_then(|line| PublicKey::from_openssh_line(line).ok());
            let (key, comment) = read.ok_or_else(|| format!("{}: {e}", path.display()))?;
            show(args, &key, &comment);
            return Ok(());
        }
    }
    let limits = Limits { file: MAX_FILE, line: MAX_FILE };
    let mut found = false;
    for line in lines(&bytes, limits)? {
        if let Some((key, comment)) = line.read().ok().and_then(key_in) {
            show(args, &key, &comment);
            found = true;
        }
    }
    if let (false, Ok((key, comment))) = (found, PublicKey::load(&bytes)) {
        show(args, &key, &SshStr::new(&comment));
        return Ok(());
    }
    if found { Ok(()) } else { Err(format!("{} is not a public key file.", path.display()).into()) }
}

/// The key of a line of a `.pub`, authorized_keys or known_hosts file, which may stand behind other fields.
fn key_in(line: &[u8]) -> Option<(PublicKey, SshStr<'_>)> {
    let mut rest = line;
    for _ in 0..4 {
        if let Ok(found) = PublicKey::from_openssh_line(rest) {
            return Some(found);
        }
        rest = behind_options(rest)?;
    }
    None
}

/// What stands behind the first field, in which blanks may stand between quotation marks.
fn behind_options(line: &[u8]) -> Option<&[u8]> {
    let mut quoted = false;
    let mut escaped = false;
    for (i, &b) in line.iter().enumerate() {
        match b {
            b'"' if !escaped => quoted = !quoted,
            b' ' | b'\t' if !quoted => return Some(line[i..].trim_ascii_start()),
            _ => {}
        }
        escaped = b == b'\\' && !escaped;
    }
    None
}

/// The comment in the `.pub` file, if it is that of the key.
fn comment_beside(path: &Path, key: &PublicKey) -> Vec<u8> {
    let Ok(text) = key_file::read(key_file::public_path(path)) else { return Vec::new() };
    match PublicKey::from_openssh_line(&text) {
        Ok((beside, comment)) if beside == *key => comment.as_bytes().to_vec(),
        _ => Vec::new(),
    }
}

/// A key as `ssh-keygen -l` shows it.
fn show(args: &Args, key: &PublicKey, comment: &SshStr<'_>) {
    let comment = if comment.as_bytes().is_empty() { "no comment".to_owned() } else { comment.to_string() };
    let (bits, print, kind) = (key.bits(), key.fingerprint(args.hash), key.key_type().short_name());
    streams::line(format_args!("{bits} {print} {comment} ({kind})"));
    if args.verbose > 0 {
        streams::line(format_args!("{}", key.randomart(args.hash)));
    }
}
