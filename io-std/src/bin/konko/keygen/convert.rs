//! Keys in other formats: written with `-e`, read with `-i`.

use std::path::Path;

use konko::core::keys::{KeyError, PrivateKey, PublicKey};
use konko::{Rng, key_file};

use super::ask::read;
use super::change::Format;
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Print the public half in another format, RFC 4716 unless -m says which
    #[arg(short = 'e')]
    pub export: bool,
    /// Read a key of another format, whichever it is, and print it in OpenSSH's: a public key as a line, a private key
    /// as a file, with the passphrase that it had or that -N says
    #[arg(short = 'i')]
    pub import: bool,
}

/// `-e`
pub fn export(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let key = public_half(args, &path)?;
    let text = match args.change.format {
        None | Some(Format::Rfc4716) => {
            let mine = String::from_utf8_lossy(&super::ask::user_at_host()).into_owned();
            let (bits, kind) = (key.bits(), key.key_type().short_name());
            let comment = format!("{bits}-bit {kind}, converted by {mine} from OpenSSH");
            // It fits into one line there.
            key.to_rfc4716(&comment.chars().take(60).collect::<String>())
        }
        Some(Format::Pkcs8) => key.to_spki_pem()?,
        Some(Format::Pem) => key.to_pkcs1_pem().or_else(|_| key.to_spki_pem())?,
        Some(Format::Putty(_)) => {
            return Err("PuTTY has no format of its own for public keys; take RFC4716".into());
        }
    };
    streams::try_line(text.trim_end())?;
    Ok(())
}

/// `-i`
pub fn import(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let bytes = read(&path)?;
    match PublicKey::load(&bytes) {
        Ok((key, _)) => {
            streams::try_line(key.to_openssh_line(""))?;
            return Ok(());
        }
        Err(e) if matches!(PrivateKey::load(&bytes, None), Err(KeyError::PublicKeyGiven)) => {
            return Err(format!("{}: {e}", path.display()).into());
        }
        Err(_) => {}
    }
    let (key, old) = args.open(&path, "Enter passphrase: ")?;
    let passphrase = match &args.new_passphrase {
        Some(_) => args.new_passphrase(&path)?,
        None => old,
    };
    let mut rng = Rng::from_seed(&konko::seed_from_os()?);
    let text =
        key.to_openssh((!passphrase.is_empty()).then_some((&passphrase, super::generate::ROUNDS)), &mut rng)?;
    streams::try_line(text.trim_end())?;
    Ok(())
}

/// The public half of what is in the file, or beside it.
fn public_half(args: &Args, path: &Path) -> Result<PublicKey, Failure> {
    let bytes = read(path)?;
    if let Ok((key, _)) = PublicKey::load(&bytes) {
        return Ok(key);
    }
    if let Ok(key) = PrivateKey::public_of(&bytes) {
        return Ok(key);
    }
    let beside = key_file::read(key_file::public_path(path)).ok();
    if let Some((key, _)) = beside.and_then(|bytes| PublicKey::load(&bytes).ok()) {
        return Ok(key);
    }
    Ok(args.open(path, "Enter passphrase: ")?.0.public().clone())
}
