//! A new key.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use konko::Rng;
use konko::core::keys::{KeyType, PrivateKey};
use konko::key_file::{self, Existing};

use super::ask::reason;
use super::{Args, Failure};

/// Rounds of bcrypt of what is written, unless something else is asked for (OpenSSH's choice).
pub const ROUNDS: u32 = 24;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// The type of the new key: ed25519, ecdsa or rsa
    #[arg(short = 't', value_name = "TYPE", default_value = "ed25519", hide_default_value = true)]
    key_type: String,
    /// Bits of the new key: 256, 384 or 521 for ecdsa, 2048 to 16384 for rsa
    #[arg(short, value_name = "BITS")]
    bits: Option<u32>,
}

impl Flags {
    /// What `-t` says.
    pub fn key_type(&self) -> &str {
        &self.key_type
    }
}

/// Makes a key and writes both files.
pub fn run(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let flags = &args.generate;
    let (name, kind, bits) = kind(&flags.key_type, flags.bits)?;
    let mut rng = Rng::from_seed(&konko::seed_from_os()?);
    args.tell(format_args!("Generating public/private {name} key pair."));
    let mut key = match bits {
        Some(bits) => PrivateKey::generate_of_size(kind, bits, &mut rng)?,
        None => PrivateKey::generate(kind, &mut rng)?,
    };
    let path = args.file("Enter file in which to save the key", &name)?;
    make_folder(args, &path)?;
    if !args.may_overwrite(&path)? {
        return Err(Failure::one(""));
    }
    let passphrase = args.new_passphrase(&path)?;
    key.set_comment(&args.comment());
    let text = args.private_text(&key, &passphrase, &mut rng)?;
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |e| Failure::one(format!("Saving key \"{path}\" failed: {}", reason(&e)))
    };
    key_file::write_private(&path, text.as_bytes(), Existing::Replace).map_err(failed(&path))?;
    let public = key_file::public_path(&path);
    let line = key.public().to_openssh_line(&String::from_utf8_lossy(key.comment().as_bytes())) + "\n";
    key_file::write_public(&public, line.as_bytes(), Existing::Replace).map_err(failed(&public))?;
    args.tell(format_args!("Your identification has been saved in {}", path.display()));
    args.tell(format_args!("Your public key has been saved in {}", public.display()));
    args.tell("The key fingerprint is:");
    args.tell(format_args!("{} {}", key.public().fingerprint(args.hash), key.comment()));
    args.tell("The key's randomart image is:");
    args.tell(key.public().randomart(args.hash));
    Ok(())
}

/// The type's name as in the names of files, the type, and the bits where there is a choice.
fn kind(name: &str, bits: Option<u32>) -> Result<(String, KeyType, Option<usize>), Failure> {
    let lower = name.to_ascii_lowercase();
    // The names on the wire are taken too, as there.
    let (short, curve) = match &lower[..] {
        "ed25519" | "ssh-ed25519" => ("ed25519", None),
        "rsa" | "ssh-rsa" | "rsa-sha2-256" | "rsa-sha2-512" => ("rsa", None),
        "ecdsa" => ("ecdsa", None),
        "ecdsa-sha2-nistp256" => ("ecdsa", Some(256)),
        "ecdsa-sha2-nistp384" => ("ecdsa", Some(384)),
        "ecdsa-sha2-nistp521" => ("ecdsa", Some(521)),
        _ => return Err(format!("unknown key type {name}; there are ed25519, ecdsa and rsa").into()),
    };
    let (kind, bits) = match (short, curve.or(bits)) {
        ("ed25519", _) => (KeyType::ED25519, None),
        ("ecdsa", None | Some(256)) => (KeyType::ECDSA_NISTP256, None),
        ("ecdsa", Some(384)) => (KeyType::ECDSA_NISTP384, None),
        ("ecdsa", Some(521)) => (KeyType::ECDSA_NISTP521, None),
        ("ecdsa", _) => {
            return Err("Invalid ECDSA key length: valid lengths are 256, 384 or 521 bits".into());
        }
        // Smaller ones are no longer safe, and OpenSSH's servers refuse them too (RequiredRSASize).
        (_, Some(bits @ ..2048)) => {
            return Err(format!("Invalid RSA key length {bits}: minimum is 2048 bits").into());
        }
        (_, Some(bits @ 16_385..)) => {
            return Err(format!("Invalid RSA key length {bits}: maximum is 16384 bits").into());
        }
        (_, bits) => (KeyType::RSA, bits.map(|bits| bits as usize)),
    };
    Ok((short.to_owned(), kind, bits))
}

/// The folder of the user's keys is made if it is not there.
fn make_folder(args: &Args, path: &Path) -> Result<(), Failure> {
    let Some(folder) = path.parent().filter(|folder| folder.ends_with(".ssh")) else { return Ok(()) };
    if args.file.is_some() || folder.exists() {
        return Ok(());
    }
    fs::DirBuilder::new().mode(0o700).create(folder).map_err(|e| {
        Failure::from(format!("Could not create directory '{}': {}", folder.display(), reason(&e)))
    })?;
    args.tell(format_args!("Created directory '{}'.", folder.display()));
    Ok(())
}
