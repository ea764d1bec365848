//! PuTTY's files (`.ppk`), versions 2 and 3: PuTTY's manual, appendix C.

use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};
use core::fmt::Write;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Digest as _;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::file_cipher::FileCipher;
use super::kdf::{self, Derived};
use super::load::MAX_FILE;
use super::{KdfLimits, KeyError, KeyType, PrivateKey, PublicKey, pem};
use crate::crypto::exact;
use crate::rng::Rng;
use crate::text::{Limits, Lines, lines};
use crate::wire::Reader;

/// What a file begins with.
pub(super) const START: &[u8] = b"PuTTY-User-Key-File-";

/// PuTTY breaks lines here.
const LINE_WIDTH: usize = 64;

/// What is written: PuTTYgen's memory in KiB and lanes, and about as many passes as it chooses.
const MEMORY: u32 = 8192;
const PASSES: u32 = 21;

/// The form of a `.ppk` file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PuttyVersion {
    /// Read by PuTTY before 0.75 too; its passphrase is hashed once, with SHA-1.
    V2,
    /// PuTTY 0.75 and later: Argon2id and HMAC-SHA-256.
    V3,
}

/// A file before decryption.
struct File<'a> {
    version: PuttyVersion,
    kind: KeyType,
    encrypted: bool,
    comment: &'a [u8],
    public: Vec<u8>,
    argon2: Option<Argon2>,
    private: Zeroizing<Vec<u8>>,
    mac: Vec<u8>,
}

struct Argon2 {
    flavour: argon2::Algorithm,
    /// Memory in KiB, passes, lanes.
    cost: [u32; 3],
    salt: Vec<u8>,
}

const DAMAGED: KeyError = KeyError::Malformed("a line of the .ppk file is not the one that belongs there");
const CIPHER: FileCipher = FileCipher::AES256_CBC;

/// The public half, which stands in clear.
pub(super) fn public(text: &[u8]) -> Result<PublicKey, KeyError> {
    PublicKey::from_blob(&File::parse(text)?.public)
}

pub(super) fn read(
    text: &[u8],
    passphrase: Option<&[u8]>,
    limits: &KdfLimits,
) -> Result<PrivateKey, KeyError> {
    let file = File::parse(text)?;
    let public = PublicKey::from_blob(&file.public)?;
    if public.key_type() != file.kind {
        return Err(KeyError::TypeMismatch {
            declared: file.kind.name().into(),
            found: public.key_type().name().into(),
        });
    }
    if let Some(Argon2 { cost: [memory, passes, lanes], .. }) = &file.argon2 {
        limits.check_argon2(*memory, *passes, *lanes)?;
    }
    let passphrase = match (file.encrypted, passphrase) {
        (true, Some(passphrase)) if !passphrase.is_empty() => passphrase,
        (true, _) => return Err(KeyError::Encrypted),
        (false, _) => &[],
    };
    let secrets = Secrets::derive(file.version, file.encrypted, file.argon2.as_ref(), passphrase)?;
    let mut private = file.private;
    if file.encrypted {
        CIPHER.decrypt(&secrets.material, &mut private, &[])?;
    }
    let mac = secrets.mac(file.version, file.kind, file.encrypted, file.comment, &file.public, &private)?;
    if !bool::from(mac.ct_eq(&file.mac)) {
        return Err(if file.encrypted {
            KeyError::WrongPassphrase
        } else {
            KeyError::Malformed("what it says is not what was written")
        });
    }
    let halves = file.kind.format().read_putty(public.fields(), &mut Reader::new(&private))?;
    let mut key = PrivateKey::from_halves(file.kind, halves);
    if *key.public() != public {
        return Err(super::FOREIGN);
    }
    key.set_comment(file.comment);
    Ok(key)
}

impl<'a> File<'a> {
    fn parse(text: &'a [u8]) -> Result<Self, KeyError> {
        let limits = Limits { file: MAX_FILE, line: MAX_FILE };
        let mut lines = lines(text, limits).map_err(|_| KeyError::TooLarge)?;
        let first = lines.next().ok_or(DAMAGED)?.whole();
        let (version, kind) = match field(first.strip_prefix(START).unwrap_or_default()) {
            Some((b"2", kind)) => (PuttyVersion::V2, kind),
            Some((b"3", kind)) => (PuttyVersion::V3, kind),
            _ => return Err(KeyError::UnsupportedFormat("of PuTTY (.ppk) of another version than 2 and 3")),
        };
        let kind = KeyType::named(kind)?;
        let encrypted = match header(&mut lines, b"Encryption")? {
            b"none" => false,
            b"aes256-cbc" => true,
            other => {
                let name = String::from_utf8_lossy(other.get(..64).unwrap_or(other));
                return Err(KeyError::UnsupportedCipher(name.into_owned()));
            }
        };
        let comment = header(&mut lines, b"Comment")?;
        let public = body(&mut lines, b"Public-Lines")?.to_vec();
        let argon2 = match (version, encrypted) {
            (PuttyVersion::V3, true) => Some(Argon2::parse(&mut lines)?),
            _ => None,
        };
        let private = body(&mut lines, b"Private-Lines")?;
        let mac = pem::hex(header(&mut lines, b"Private-MAC")?).ok_or(DAMAGED)?;
        if encrypted && (private.is_empty() || !private.len().is_multiple_of(CIPHER.block())) {
            return Err(KeyError::Malformed("the private section is not whole blocks"));
        }
        Ok(File { version, kind, encrypted, comment, public, argon2, private, mac })
    }
}

impl Argon2 {
    fn parse(lines: &mut Lines<'_>) -> Result<Self, KeyError> {
        let flavour = match header(lines, b"Key-Derivation")? {
            b"Argon2id" => argon2::Algorithm::Argon2id,
            b"Argon2i" => argon2::Algorithm::Argon2i,
            b"Argon2d" => argon2::Algorithm::Argon2d,
            other => {
                let name = String::from_utf8_lossy(other.get(..64).unwrap_or(other));
                return Err(KeyError::UnsupportedKdf(name.into_owned()));
            }
        };
        let mut cost = [0; 3];
        for (name, to) in
            [&b"Argon2-Memory"[..], b"Argon2-Passes", b"Argon2-Parallelism"].iter().zip(&mut cost)
        {
            *to = number(header(lines, name)?)?;
        }
        let salt = pem::hex(header(lines, b"Argon2-Salt")?).ok_or(DAMAGED)?;
        Ok(Argon2 { flavour, cost, salt })
    }
}

/// `NAME: value`; the value ends where the line does.
fn field(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = line.windows(2).position(|pair| pair == b": ")?;
    let (name, value) = line.split_at(colon);
    Some((name, value.strip_prefix(b": ")?))
}

fn header<'a>(lines: &mut Lines<'a>, name: &[u8]) -> Result<&'a [u8], KeyError> {
    let line = lines.next().ok_or(DAMAGED)?.whole();
    match field(line) {
        Some((found, value)) if found == name => Ok(value),
        // An empty comment.
        None if line.strip_suffix(b":") == Some(name) => Ok(&[]),
        _ => Err(DAMAGED),
    }
}

fn number(text: &[u8]) -> Result<u32, KeyError> {
    core::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(DAMAGED)
}

/// So many lines of base64.
fn body(lines: &mut Lines<'_>, name: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
    let count = number(header(lines, name)?)?;
    let mut text = Zeroizing::new(Vec::with_capacity(super::load::MAX_FILE.min(64 << 10)));
    for _ in 0..count {
        let line = lines.next().ok_or(DAMAGED)?.text();
        if text.len().saturating_add(line.len()) > text.capacity() {
            return Err(KeyError::TooLarge);
        }
        text.extend_from_slice(line);
    }
    let mut bytes = Zeroizing::new(alloc::vec![0u8; text.len()]);
    let length = Base64::decode(&text[..], &mut bytes).map_err(|_| KeyError::Malformed("base64"))?.len();
    bytes.truncate(length);
    Ok(bytes)
}

/// What the passphrase is turned into.
struct Secrets {
    /// Key and IV.
    material: Derived,
    mac_key: Derived,
}

impl Secrets {
    fn derive(
        version: PuttyVersion,
        encrypted: bool,
        argon2: Option<&Argon2>,
        passphrase: &[u8],
    ) -> Result<Self, KeyError> {
        match (version, argon2) {
            (PuttyVersion::V3, Some(Argon2 { flavour, cost, salt })) => {
                let mut all = kdf::argon2(*flavour, passphrase, salt, *cost, 80)?;
                let mac_key = Zeroizing::new(all.get(48..).unwrap_or_default().to_vec());
                all.truncate(48);
                Ok(Secrets { material: all, mac_key })
            }
            (PuttyVersion::V3, None) => {
                Ok(Secrets { material: Derived::default(), mac_key: Derived::default() })
            }
            (PuttyVersion::V2, _) => {
                let hash = |parts: [&[u8]; 2]| {
                    let mut hash = sha1::Sha1::new();
                    parts.iter().for_each(|part| hash.update(part));
                    hash.finalize()
                };
                let mut material = Zeroizing::new(Vec::with_capacity(40));
                for counter in 0..2 {
                    material.extend_from_slice(&hash([&[0, 0, 0, counter], passphrase]));
                }
                material.truncate(CIPHER.key());
                material.resize(48, 0);
                let own = if encrypted { passphrase } else { &[] };
                let mac_key = hash([b"putty-private-key-file-mac-key", own]);
                Ok(Secrets { material, mac_key: Zeroizing::new(mac_key.to_vec()) })
            }
        }
    }

    fn mac(
        &self,
        version: PuttyVersion,
        kind: KeyType,
        encrypted: bool,
        comment: &[u8],
        public: &[u8],
        private: &[u8],
    ) -> Result<Vec<u8>, KeyError> {
        let data = exact(|out| {
            out.put_string(kind.name().as_bytes());
            out.put_string(encryption(encrypted).as_bytes());
            out.put_string(comment);
            out.put_string(public);
            out.put_string(private);
        });
        const KEY: KeyError = KeyError::Malformed("the key of its MAC");
        Ok(match version {
            PuttyVersion::V2 => {
                let mut mac = Hmac::<sha1::Sha1>::new_from_slice(&self.mac_key).map_err(|_| KEY)?;
                mac.update(&data);
                mac.finalize().into_bytes().to_vec()
            }
            PuttyVersion::V3 => {
                let mut mac = Hmac::<sha2::Sha256>::new_from_slice(&self.mac_key).map_err(|_| KEY)?;
                mac.update(&data);
                mac.finalize().into_bytes().to_vec()
            }
        })
    }
}

fn encryption(encrypted: bool) -> &'static str {
    if encrypted { "aes256-cbc" } else { "none" }
}

impl PrivateKey {
    /// The key as PuTTY's `.ppk` file, which PuTTY, WinSCP and FileZilla read.
    ///
    /// With a passphrase it is encrypted with AES-256-CBC; in version 3 under Argon2id with 8 MiB and 21 passes, about
    /// 60 ms, in version 2 under a single hash. `rng` gives the salt.
    ///
    /// # Errors
    /// [`KeyError::UnsupportedKeyType`] for a type that PuTTY has not, and [`KeyError::Encrypted`] for an empty
    /// passphrase: say `None` to write it unencrypted.
    pub fn to_putty(
        &self,
        version: PuttyVersion,
        passphrase: Option<&[u8]>,
        rng: &mut Rng,
    ) -> Result<Zeroizing<String>, KeyError> {
        if passphrase.is_some_and(<[u8]>::is_empty) {
            return Err(KeyError::Encrypted);
        }
        let encrypted = passphrase.is_some();
        let kind = self.public().key_type();
        let argon2 = (encrypted && version == PuttyVersion::V3).then(|| Argon2 {
            flavour: argon2::Algorithm::Argon2id,
            cost: [MEMORY, PASSES, 1],
            salt: rng.array::<16>().to_vec(),
        });
        let secrets = Secrets::derive(version, encrypted, argon2.as_ref(), passphrase.unwrap_or_default())?;
        let public = self.public().to_blob();
        // A comment is one line.
        let comment: Vec<u8> =
            self.comment().as_bytes().iter().map(|b| if b.is_ascii_control() { b' ' } else { *b }).collect();
        let mut private = self.putty_section(encrypted)?;
        let mac = secrets.mac(version, kind, encrypted, &comment, &public, &private)?;
        if encrypted {
            CIPHER.encrypt(&secrets.material, &mut private)?;
        }
        let mut text =
            Zeroizing::new(String::with_capacity(private.len().saturating_mul(2).saturating_add(4096)));
        let digit = if version == PuttyVersion::V2 { 2 } else { 3 };
        let comment = String::from_utf8_lossy(&comment);
        let _ = write!(text, "PuTTY-User-Key-File-{digit}: {}\nEncryption: ", kind.name());
        let _ = write!(text, "{}\nComment: {comment}\n", encryption(encrypted));
        put_body(&mut text, "Public", &public);
        if let Some(Argon2 { cost: [memory, passes, lanes], salt, .. }) = &argon2 {
            let _ =
                write!(text, "Key-Derivation: Argon2id\nArgon2-Memory: {memory}\nArgon2-Passes: {passes}\n");
            let _ = write!(text, "Argon2-Parallelism: {lanes}\nArgon2-Salt: ");
            put_hex(&mut text, salt);
        }
        put_body(&mut text, "Private", &private);
        text.push_str("Private-MAC: ");
        put_hex(&mut text, &mac);
        Ok(text)
    }

    /// The private fields; where they are encrypted, padded with their own SHA-1.
    fn putty_section(&self, encrypted: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let fields = self.public().key_type().format().write_putty(self.expose_fields())?;
        let fields = fields.expose();
        let length = if encrypted { fields.len().next_multiple_of(CIPHER.block()) } else { fields.len() };
        let padding = sha1::Sha1::digest(fields);
        Ok(exact(|out| {
            out.put(fields);
            out.put(padding.get(..length.saturating_sub(fields.len())).unwrap_or_default());
        }))
    }
}

fn put_hex(text: &mut String, bytes: &[u8]) {
    bytes.iter().for_each(|byte| {
        let _ = write!(text, "{byte:02x}");
    });
    text.push('\n');
}

fn put_body(text: &mut String, name: &str, bytes: &[u8]) {
    let encoded = Zeroizing::new(Base64::encode_string(bytes));
    let _ = writeln!(text, "{name}-Lines: {}", encoded.len().div_ceil(LINE_WIDTH));
    for line in encoded.as_bytes().chunks(LINE_WIDTH) {
        text.push_str(core::str::from_utf8(line).unwrap_or_default());
        text.push('\n');
    }
}
