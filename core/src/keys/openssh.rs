//! The container `openssh-key-v1` (OpenSSH PROTOCOL.key): reading and writing.

use alloc::string::String;
use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::file_cipher::FileCipher;
use super::{FOREIGN, KdfLimits, KeyError, PrivateKey, PublicKey, kdf, pem};
use crate::crypto::exact;
use crate::rng::Rng;
use crate::wire::{Reader, Sink};

pub(super) const LABEL: &str = "OPENSSH PRIVATE KEY";
const MAGIC: &[u8] = b"openssh-key-v1\0";
/// OpenSSH writes 16 bytes of salt; F-07 bounds what we read.
const MAX_SALT: usize = 64;
/// OpenSSH breaks lines here.
const LINE_WIDTH: usize = 70;

/// The container before decryption.
struct Container<'a> {
    cipher: FileCipher,
    kdf: Option<Bcrypt<'a>>,
    public: PublicKey,
    private: &'a [u8],
    tag: &'a [u8],
}

struct Bcrypt<'a> {
    salt: &'a [u8],
    rounds: u32,
}

/// The public half, which stands in clear in an encrypted container too.
pub(super) fn public(bytes: &[u8]) -> Result<PublicKey, KeyError> {
    Container::parse(bytes).map(|c| c.public)
}

/// Reads a container (without PEM around it).
pub(super) fn read(
    bytes: &[u8],
    passphrase: Option<&[u8]>,
    limits: &KdfLimits,
) -> Result<PrivateKey, KeyError> {
    let container = Container::parse(bytes)?;
    let mut private = Zeroizing::new(container.private.to_vec());
    if let Some(kdf) = &container.kdf {
        let material = kdf.derive(passphrase, container.cipher, limits)?;
        container.cipher.decrypt(&material, &mut private, container.tag)?;
    }
    let mut r = Reader::new(&private);
    let same = r.array::<4>()?.ct_eq(&r.array::<4>()?);
    if !bool::from(same) {
        return Err(if container.cipher.encrypts() {
            KeyError::WrongPassphrase
        } else {
            KeyError::Malformed("the check numbers differ")
        });
    }
    let mut key = PrivateKey::read_typed(&mut r)?;
    key.set_comment(r.string()?);
    check_padding(r.rest())?;
    // F-08: what a file shows as public and what it signs with are one key.
    if *key.public() != container.public {
        return Err(FOREIGN);
    }
    Ok(key)
}

impl<'a> Container<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, KeyError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(KeyError::Malformed("not an openssh-key-v1 container"))?;
        let mut r = Reader::new(body);
        let cipher_name = r.string()?;
        let kdf_name = r.string()?;
        let kdf_options = r.string()?;
        if r.u32()? != 1 {
            return Err(KeyError::Malformed("a container holds exactly one key"));
        }
        let public = PublicKey::from_blob(r.string()?)?;
        let private = r.string()?;
        let text = |name: &[u8]| String::from_utf8_lossy(name.get(..64).unwrap_or(name)).into_owned();
        let known = core::str::from_utf8(cipher_name).ok();
        let cipher = match known {
            Some("none") => FileCipher::NONE,
            _ => known
                .and_then(FileCipher::from_name)
                .ok_or_else(|| KeyError::UnsupportedCipher(text(cipher_name)))?,
        };
        let tag = r.bytes(cipher.tag())?;
        r.end()?;
        let kdf = match (kdf_name, cipher.encrypts()) {
            (b"none", false) if kdf_options.is_empty() => None,
            (b"bcrypt", true) => Some(Bcrypt::parse(kdf_options)?),
            (b"none" | b"bcrypt", _) => return Err(KeyError::Malformed("cipher without key derivation")),
            _ => return Err(KeyError::UnsupportedKdf(text(kdf_name))),
        };
        if private.is_empty() || !private.len().is_multiple_of(cipher.block()) {
            return Err(KeyError::Malformed("the private section is not whole blocks"));
        }
        Ok(Container { cipher, kdf, public, private, tag })
    }
}

impl<'a> Bcrypt<'a> {
    fn parse(options: &'a [u8]) -> Result<Self, KeyError> {
        let mut r = Reader::new(options);
        let salt = r.string()?;
        let rounds = r.u32()?;
        r.end()?;
        if salt.is_empty() || salt.len() > MAX_SALT {
            return Err(KeyError::Malformed("the length of the salt"));
        }
        Ok(Bcrypt { salt, rounds })
    }

    fn derive(
        &self,
        passphrase: Option<&[u8]>,
        cipher: FileCipher,
        limits: &KdfLimits,
    ) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        limits.check_bcrypt(self.rounds)?;
        let passphrase = passphrase.filter(|p| !p.is_empty()).ok_or(KeyError::Encrypted)?;
        kdf::bcrypt(passphrase, self.salt, self.rounds, cipher.key().saturating_add(cipher.iv()))
    }
}

/// 1, 2, 3 and so on, at most 255 bytes.
fn check_padding(padding: &[u8]) -> Result<(), KeyError> {
    let counted = padding.iter().zip(1u8..=255).all(|(byte, expected)| *byte == expected);
    if counted && padding.len() <= 255 { Ok(()) } else { Err(KeyError::Malformed("padding")) }
}

impl PrivateKey {
    /// The key in OpenSSH's format, as `ssh-keygen` writes it, with a line feed at the end.
    ///
    /// With a passphrase it is encrypted with `aes256-ctr` under `bcrypt` of that many rounds (24 is
    /// OpenSSH's choice; each costs about 7 ms). `rng` gives the salt and the check number.
    ///
    /// Write it to a file that nobody else can read *from the moment it exists* (F-16).
    ///
    /// # Errors
    /// [`KeyError::KdfCost`] for rounds that [`load`](Self::load) would refuse, and
    /// [`KeyError::Encrypted`] for an empty passphrase: say `None` to write it unencrypted.
    pub fn to_openssh(
        &self,
        passphrase: Option<(&[u8], u32)>,
        rng: &mut Rng,
    ) -> Result<Zeroizing<String>, KeyError> {
        self.to_openssh_with_cipher(passphrase, FileCipher::AES256_CTR, rng)
    }

    /// As [`to_openssh`](Self::to_openssh), encrypted with `cipher` if there is a passphrase.
    ///
    /// # Errors
    /// As there.
    pub fn to_openssh_with_cipher(
        &self,
        passphrase: Option<(&[u8], u32)>,
        cipher: FileCipher,
        rng: &mut Rng,
    ) -> Result<Zeroizing<String>, KeyError> {
        let cipher = if passphrase.is_some() { cipher } else { FileCipher::NONE };
        let mut private = self.private_section(cipher, rng);
        let (mut kdf_options, mut tag) = (Vec::new(), Vec::new());
        if let Some((passphrase, rounds)) = passphrase {
            let salt = rng.array::<16>();
            kdf_options.put_string(&salt);
            kdf_options.put_u32(rounds);
            let kdf = Bcrypt { salt: &salt, rounds };
            let material = kdf.derive(Some(passphrase), cipher, &KdfLimits::default())?;
            tag = cipher.encrypt(&material, &mut private)?;
        }
        let kdf = if passphrase.is_some() { "bcrypt" } else { "none" };
        let container = exact(|out| {
            out.put(MAGIC);
            out.put_string(cipher.name().as_bytes());
            out.put_string(kdf.as_bytes());
            out.put_string(&kdf_options);
            out.put_u32(1);
            out.put_string(&self.public().to_blob());
            out.put_string(&private);
            out.put(&tag);
        });
        pem::write(LABEL, LINE_WIDTH, &container)
    }

    fn private_section(&self, cipher: FileCipher, rng: &mut Rng) -> Zeroizing<Vec<u8>> {
        let check = rng.array::<4>();
        let fields = exact(|out| {
            out.put(&check);
            out.put(&check);
            out.put_string(self.public().key_type().name().as_bytes());
            out.put(self.expose_fields());
            out.put_string(self.comment().as_bytes());
        });
        exact(|out| {
            out.put(&fields);
            let padding = fields.len().next_multiple_of(cipher.block()).saturating_sub(fields.len());
            (1u8..).take(padding).for_each(|byte| out.put_u8(byte));
        })
    }
}
