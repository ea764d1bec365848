//! New passphrases and comments for keys that are there already, and how private keys are written.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use konko::Rng;
use konko::core::keys::{FileCipher, KeyType, PrivateKey, PuttyVersion};
use konko::key_file::{self, Existing};
use zeroize::Zeroizing;

use super::ask::{self, reason};
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Give a key file another passphrase
    #[arg(short = 'p', id = "change_passphrase")]
    pub new_passphrase: bool,
    /// Give a key file another comment
    #[arg(short = 'c', id = "change_comment")]
    pub new_comment: bool,
    /// The passphrase that opens the key file
    #[arg(short = 'P', value_name = "PASSPHRASE")]
    pub old: Option<OsString>,
    /// The form of what is written: RFC4716 (for private keys OpenSSH's own), PKCS8, PEM, PPK or PPK2
    #[arg(short = 'm', value_name = "FORMAT", value_parser = format)]
    pub format: Option<Format>,
    /// Rounds of the key derivation of OpenSSH's files; each makes guessing slower, and opening too
    #[arg(short = 'a', value_name = "ROUNDS", default_value = "24", hide_default_value = true,
          value_parser = clap::value_parser!(u32).range(1..=2048))]
    rounds: u32,
    /// The cipher of OpenSSH's files
    #[arg(short = 'Z', value_name = "CIPHER", default_value = "aes256-ctr", hide_default_value = true,
          value_parser = cipher)]
    cipher: FileCipher,
}

/// Forms of keys, by ssh-keygen's names and PuTTY's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Rfc4716,
    Pkcs8,
    Pem,
    Putty(PuttyVersion),
}

fn format(name: &str) -> Result<Format, String> {
    match &name.to_ascii_uppercase()[..] {
        "RFC4716" => Ok(Format::Rfc4716),
        "PKCS8" => Ok(Format::Pkcs8),
        "PEM" => Ok(Format::Pem),
        "PPK" => Ok(Format::Putty(PuttyVersion::V3)),
        "PPK2" => Ok(Format::Putty(PuttyVersion::V2)),
        _ => Err(format!(
            "Unsupported conversion format \"{name}\"; there are RFC4716, PKCS8, PEM, PPK and PPK2"
        )),
    }
}

fn cipher(name: &str) -> Result<FileCipher, String> {
    FileCipher::from_name(name).ok_or_else(|| {
        let all: Vec<&str> = FileCipher::all().map(FileCipher::name).collect();
        format!("Invalid OpenSSH-format cipher '{name}'; there are {}", all.join(", "))
    })
}

impl Args {
    /// The text of a private key file, as the flags say. An empty passphrase is none.
    pub fn private_text(
        &self,
        key: &PrivateKey,
        passphrase: &[u8],
        rng: &mut Rng,
    ) -> Result<Zeroizing<String>, Failure> {
        let Flags { format, rounds, cipher, .. } = &self.change;
        let some = (!passphrase.is_empty()).then_some(passphrase);
        // Ed25519 has no older form, and is written in OpenSSH's own as there.
        let old = key.public().key_type() != KeyType::ED25519;
        Ok(match format {
            Some(Format::Pkcs8) => key.to_pkcs8(some, rng)?,
            Some(Format::Pem) if old && some.is_none() => key.to_pem()?,
            Some(Format::Pem) if old => {
                return Err(
                    "PEM of that kind protects no passphrase: it is hashed once, with MD5; take -m PKCS8"
                        .into(),
                );
            }
            Some(Format::Putty(version)) => key.to_putty(*version, some, rng)?,
            _ => key.to_openssh_with_cipher(some.map(|some| (some, *rounds)), *cipher, rng)?,
        })
    }

    /// The key in the file, and the passphrase that opened it: `-P`, none, or what the person says.
    pub fn open(&self, path: &Path, question: &str) -> Result<(PrivateKey, Zeroizing<Vec<u8>>), Failure> {
        ask::unlock(path, self.change.old.as_ref(), question)
    }
}

/// `-p`
pub fn passphrase(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let (key, _) = args.open(&path, "Enter old passphrase: ")?;
    if !key.comment().as_bytes().is_empty() {
        streams::line(format_args!("Key has comment '{}'", key.comment()));
    }
    let new = match &args.new_passphrase {
        Some(given) => Zeroizing::new(given.as_bytes().to_vec()),
        None => {
            let first = ask::secret("Enter new passphrase (empty for no passphrase): ")?;
            if *first != *ask::secret("Enter same passphrase again: ")? {
                return Err(Failure::one("Pass phrases do not match.  Try again."));
            }
            first
        }
    };
    save(args, &path, &key, &new)?;
    streams::line(format_args!("Your identification has been saved with the new passphrase."));
    Ok(())
}

/// `-c`
pub fn comment(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let bytes = ask::read(&path)?;
    let (mut key, passphrase) = args.open(&path, "Enter passphrase: ")?;
    if !bytes.windows(b"BEGIN OPENSSH".len()).any(|w| w == b"BEGIN OPENSSH") && !bytes.starts_with(b"PuTTY") {
        return Err("Comments are only supported for keys stored in OpenSSH's format (-p converts)".into());
    }
    match key.comment() {
        old if old.as_bytes().is_empty() => streams::line(format_args!("No existing comment")),
        old => streams::line(format_args!("Old comment: {old}")),
    }
    let new = match &args.comment {
        Some(given) => given.as_bytes().to_vec(),
        None => ask::ask("New comment: ")?.map(|answer| answer.to_vec()).unwrap_or_default(),
    };
    key.set_comment(&new);
    save(args, &path, &key, &passphrase)?;
    let public = key_file::public_path(&path);
    let text = key.public().to_openssh_line(&String::from_utf8_lossy(&new)) + "\n";
    key_file::write_public(&public, text.as_bytes(), Existing::Replace).map_err(|e| {
        Failure::one(format!("Unable to save public key to {}: {}", public.display(), reason(&e)))
    })?;
    match key.comment() {
        new if new.as_bytes().is_empty() => streams::line(format_args!("Comment removed")),
        new => streams::line(format_args!("Comment '{new}' applied")),
    }
    Ok(())
}

fn save(args: &Args, path: &Path, key: &PrivateKey, passphrase: &[u8]) -> Result<(), Failure> {
    let mut rng = Rng::from_seed(&konko::seed_from_os()?);
    let text = args.private_text(key, passphrase, &mut rng)?;
    key_file::write_private(path, text.as_bytes(), Existing::Replace)
        .map_err(|e| Failure::one(format!("Saving key \"{}\" failed: {}", path.display(), reason(&e))))
}
