//! OpenSSH certificates: a key, and what an authority says about it (OpenSSH PROTOCOL.certkeys).
//!
//! A certificate is a [`PublicKey`] of a type of its own: it is offered, negotiated and signed with like any other. As a
//! [`Certificate`] it shows its fields, which say nothing until they are [validated](Certificate::validate): anybody can write
//! one. [`CertificateRequest`] is one that is to be issued.

mod check;
mod fields;
mod format;
mod given;
mod issue;
mod validity;

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use check::{CertificateCheck, CertificateProblem, Certified, Permits, Principals};
pub(super) use format::{TABLE, is_old};
pub use issue::{CertificateRequest, RequestProblem, UnsignedCertificate};
pub use validity::{BadValidity, Validity};

use self::fields::Fields;
use super::{KeyError, KeyType, PublicKey, SignatureAlgorithm};
use crate::text::{next_field, without_mark};
use crate::wire::{Reader, SshStr};

/// Longest certificate, in bytes. Ours; OpenSSH's limit is that of a packet.
pub(super) const MAX_CERTIFICATE: usize = 64 * 1024;

/// What a certificate is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CertificateKind {
    /// A user logs in with it.
    User,
    /// A host shows it.
    Host,
}

impl CertificateKind {
    /// `SSH_CERT_TYPE_USER`, `SSH_CERT_TYPE_HOST`.
    const fn number(self) -> u32 {
        match self {
            Self::User => 1,
            Self::Host => 2,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        [Self::User, Self::Host].into_iter().find(|kind| kind.number() == number)
    }

    /// `user` or `host`, as ssh-keygen says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for CertificateKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A critical option or an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CertificateOption<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its data, as it stands there: mostly nothing, or a string.
    pub data: &'a [u8],
}

/// The name and the data of an option.
type OwnOption = (Box<[u8]>, Box<[u8]>);

/// A certificate, read and not yet believed.
///
/// ```
/// # use konko_core::keys::{CertificateKind, CertificateRequest, KeyType, PrivateKey};
/// # use konko_core::{provider, Rng, Seed};
/// let mut rng = Rng::from_seed(&Seed::new([7; 32]));
/// let [key, authority] = [(); 2].map(|()| PrivateKey::generate(KeyType::ED25519, &mut rng).unwrap());
/// let authority = authority.key_pair(provider::rustcrypto()).unwrap();
/// let request = CertificateRequest::new(CertificateKind::User, key.public())
///     .key_id("alice@example.org")
///     .principals(["alice"])
///     .valid(0, 2_000_000_000);
/// let certificate = request.sign(&authority, None, &mut rng).unwrap();
/// assert_eq!(certificate.key(), key.public());
/// assert_eq!(certificate.principals().collect::<Vec<_>>(), [b"alice"]);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    public: PublicKey,
    key: PublicKey,
    authority: PublicKey,
    serial: u64,
    kind: CertificateKind,
    key_id: Box<[u8]>,
    principals: Vec<Box<[u8]>>,
    valid_after: u64,
    valid_before: u64,
    critical: Vec<OwnOption>,
    extensions: Vec<OwnOption>,
    /// How many bytes of the fields the authority signed, and the signature.
    signed: usize,
    signature: Box<[u8]>,
}

impl Certificate {
    /// The certificate that a public key is; `None` for a plain key.
    pub fn of(public: &PublicKey) -> Option<Self> {
        let plain = public.key_type().format().certifies()?;
        let mut r = Reader::new(public.fields());
        let fields = Fields::read(plain, &mut r).ok()?;
        r.end().ok()?;
        let owned = |options: Vec<CertificateOption<'_>>| -> Vec<OwnOption> {
            options.into_iter().map(|option| (option.name.into(), option.data.into())).collect()
        };
        Some(Certificate {
            public: public.clone(),
            key: PublicKey::from_fields(plain, fields.key),
            authority: fields.authority,
            serial: fields.serial,
            kind: fields.kind,
            key_id: fields.key_id.into(),
            principals: fields.principals.into_iter().map(Box::from).collect(),
            valid_after: fields.valid_after,
            valid_before: fields.valid_before,
            critical: owned(fields.critical),
            extensions: owned(fields.extensions),
            signed: fields.signed,
            signature: fields.signature.into(),
        })
    }

    /// Reads a certificate's blob.
    ///
    /// # Errors
    /// [`KeyError::NotACertificate`] for a plain key, [`KeyError::UnsupportedKeyType`] for a type that is not here, and what
    /// is wrong with the fields: at most 64 KiB, 256 principals, 256 options of either kind; the authority is a plain key.
    pub fn from_blob(blob: &[u8]) -> Result<Self, KeyError> {
        let name = Reader::new(blob).string()?;
        let Some(kind) = TABLE.iter().copied().find(|kind| kind.name().as_bytes() == name) else {
            return Err(match KeyType::named(name) {
                Ok(_) => KeyError::NotACertificate,
                _ => KeyError::unsupported_type(name),
            });
        };
        let public = PublicKey::from_blob_with(kind, blob)?;
        Self::of(&public).ok_or(KeyError::NotACertificate)
    }

    /// Reads the line of a `-cert.pub` file, `type base64 [comment]`, and returns the comment too. Lines behind it do no
    /// harm.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob), [`KeyError::NotAKey`] for a line that is no key at all, and
    /// [`KeyError::TypeMismatch`].
    pub fn from_openssh_line(line: &[u8]) -> Result<(Self, SshStr<'_>), KeyError> {
        let line = without_mark(line).trim_ascii_start();
        let line = line.split(|b| *b == b'\n').next().unwrap_or_default().trim_ascii_end();
        if line.len() > 2 * MAX_CERTIFICATE {
            return Err(KeyError::TooLarge);
        }
        let (declared, rest) = next_field(line);
        let (encoded, comment) = next_field(rest);
        if encoded.is_empty() || line.contains(&0) {
            return Err(KeyError::NotAKey);
        }
        let blob = PublicKey::blob_of(declared, encoded)?;
        Ok((Self::from_blob(&blob)?, SshStr::new(comment)))
    }

    /// The line of a `-cert.pub` file, without a line end.
    pub fn to_openssh_line(&self, comment: &str) -> String {
        self.public.to_openssh_line(comment)
    }

    /// The certificate as a public key: what is offered.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The plain key that it is for.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Who signed it, as it says.
    pub fn authority(&self) -> &PublicKey {
        &self.authority
    }

    /// The name of the algorithm that the authority signed with, as it says.
    pub fn signature_algorithm(&self) -> SshStr<'_> {
        SshStr::new(Reader::new(&self.signature).string().unwrap_or_default())
    }

    /// The number that its authority knows it by; 0 where it has none.
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// What it is for.
    pub fn kind(&self) -> CertificateKind {
        self.kind
    }

    /// What its authority calls it. For logs: nobody is that.
    pub fn key_id(&self) -> SshStr<'_> {
        SshStr::new(&self.key_id)
    }

    /// The names of users or hosts that it is for, as it says. Whether it is for one of them is what
    /// [`validate`](Self::validate) answers.
    pub fn principals(&self) -> impl Iterator<Item = &[u8]> {
        self.principals.iter().map(|name| &**name)
    }

    /// From when on it is valid, in seconds since 1970 UTC.
    pub fn valid_after(&self) -> u64 {
        self.valid_after
    }

    /// From when on it is not valid any more, in seconds since 1970 UTC; [`u64::MAX`] is never.
    pub fn valid_before(&self) -> u64 {
        self.valid_before
    }

    /// What whoever believes it has to know and obey.
    pub fn critical_options(&self) -> impl Iterator<Item = CertificateOption<'_>> {
        self.critical.iter().map(|(name, data)| CertificateOption { name, data })
    }

    /// What it permits, to those who know it.
    pub fn extensions(&self) -> impl Iterator<Item = CertificateOption<'_>> {
        self.extensions.iter().map(|(name, data)| CertificateOption { name, data })
    }

    /// What the authority signed: the blob up to the signature.
    fn signed_message(&self) -> Vec<u8> {
        let mut message = self.public.to_blob();
        let rest = self.public.fields().len().saturating_sub(self.signed);
        message.truncate(message.len().saturating_sub(rest));
        message
    }
}

/// Prints what it says about itself, without believing it.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("key", &self.key)
            .field("kind", &self.kind)
            .field("key_id", &self.key_id())
            .field("serial", &self.serial)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Whether it is a certificate: see [`Certificate::of`].
    pub fn is_certificate(&self) -> bool {
        self.key_type().is_certificate()
    }

    /// The key itself: that which a certificate is for, or this one.
    #[must_use]
    pub fn plain(&self) -> PublicKey {
        let format = self.key_type().format();
        let plain = format.certifies().and_then(|kind| Some((kind, format.certified(self.fields())?)));
        plain.map_or_else(|| self.clone(), |(kind, fields)| PublicKey::from_fields(kind, fields))
    }
}

impl KeyType {
    /// All types of certificates, best first.
    pub fn certificates() -> impl Iterator<Item = Self> + Clone {
        TABLE.iter().copied()
    }

    /// Whether keys of the type are certificates.
    pub fn is_certificate(self) -> bool {
        self.format().certifies().is_some()
    }

    /// The type of the keys that certificates of this type are for; itself for any other.
    #[must_use]
    pub fn plain(self) -> Self {
        self.format().certifies().unwrap_or(self)
    }

    /// Whether private keys of the type are on a security key: what is in a key file signs nothing.
    pub fn is_security_key(self) -> bool {
        self.format().on_device()
    }
}

impl SignatureAlgorithm {
    /// With what authorities may sign certificates unless somebody says otherwise: `CASignatureAlgorithms` of OpenSSH, all
    /// that are sound and plain. No SHA-1.
    pub fn of_authorities() -> impl Iterator<Item = Self> + Clone {
        KeyType::all().flat_map(|kind| kind.signature_algorithms().iter().copied()).filter(|a| !is_old(*a))
    }
}

/// The name of an algorithm or an option, for an error.
fn shown(name: &[u8]) -> String {
    SshStr::new(name).excerpt(80).to_owned()
}
