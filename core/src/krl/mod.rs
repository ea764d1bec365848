//! Key revocation lists (OpenSSH PROTOCOL.krl): read, asked, changed and written.
//!
//! A list revokes plain keys, by themselves or by their hashes, and certificates, by their serial numbers or key ids,
//! of one certificate authority or of any. A file that cannot be read whole revokes nothing that could be relied on:
//! whoever asks has to refuse every key then ([`RevokedKeys`] says so in its type).

mod problem;
mod read;
mod revoked;
mod serials;
mod spec;
mod write;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

pub use problem::KrlError;
pub use revoked::{NotReadable, RevokedKeys};
pub use spec::{Authority, SpecProblem};

use crate::crypto::HashAlgorithm;
use crate::date::Date;
use crate::keys::{Certificate, PublicKey};
use serials::Serials;

/// How large a list may be, in bytes: about a million keys by their hashes.
pub const MAX_FILE: usize = 64 * 1024 * 1024;

/// A key revocation list.
///
/// ```
/// # use konko_core::krl::Krl;
/// # use konko_core::keys::PublicKey;
/// let line = b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINFtSbggKRyVeFDitf8xA29Zg+1YGYKaPC9ct1zY2Y5Q";
/// let (key, _) = PublicKey::from_openssh_line(line).unwrap();
/// let mut krl = Krl::new();
/// krl.revoke_key(&key.to_blob());
/// let krl = Krl::parse(&krl.to_bytes()).unwrap();
/// assert!(krl.check_key(&key).is_some());
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Krl {
    version: u64,
    generated: u64,
    flags: u64,
    comment: Vec<u8>,
    keys: BTreeSet<Box<[u8]>>,
    sha1: BTreeSet<[u8; 20]>,
    sha256: BTreeSet<[u8; 32]>,
    certificates: Vec<Certificates>,
}

/// What is revoked of one authority's certificates; without a key, of any authority's.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Certificates {
    authority: Option<Box<[u8]>>,
    serials: Serials,
    key_ids: BTreeSet<Box<[u8]>>,
}

/// What a list may revoke a certificate by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFields<'a> {
    /// The key that is certified.
    pub key: &'a PublicKey,
    /// The blob of the authority's key.
    pub authority: &'a [u8],
    /// The serial number; 0 stands for none.
    pub serial: u64,
    /// The key id.
    pub key_id: &'a [u8],
}

/// By what a key or a certificate is revoked. `Display` completes "it is revoked by".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RevokedBy {
    /// The key itself.
    Key,
    /// The key's hash.
    Hash(HashAlgorithm),
    /// The certificate's serial number.
    Serial,
    /// The certificate's key id.
    KeyId,
    /// The key of the authority that signed the certificate.
    Authority,
}

impl fmt::Display for RevokedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RevokedBy::Key => "its key",
            RevokedBy::Hash(_) => "the hash of its key",
            RevokedBy::Serial => "its serial number",
            RevokedBy::KeyId => "its key id",
            RevokedBy::Authority => "the key of its authority",
        })
    }
}

/// One thing that a list revokes, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Item<'a> {
    /// The blob of a key.
    Key(&'a [u8]),
    /// The SHA-256 hash of a key's blob.
    Sha256(&'a [u8; 32]),
    /// The SHA-1 hash of a key's blob.
    Sha1(&'a [u8; 20]),
    /// What follows is about certificates of the authority with this key, or of any.
    Authority(Option<&'a [u8]>),
    /// Certificates with a serial number from the first to the last, both included.
    Serials(u64, u64),
    /// Certificates with this key id.
    KeyId(&'a [u8]),
}

impl Krl {
    /// A list that revokes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of the list, which its author counts up; 0 if nobody did.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Sets the number of the list.
    pub fn set_version(&mut self, version: u64) {
        self.version = version;
    }

    /// When the list was made, in seconds since 1970 UTC.
    pub fn generated(&self) -> u64 {
        self.generated
    }

    /// Sets when the list is made, in seconds since 1970 UTC.
    pub fn set_generated(&mut self, seconds: u64) {
        self.generated = seconds;
    }

    /// The same as `YYYYMMDDTHHMMSSZ`.
    pub fn generated_text(&self) -> String {
        let (days, second) = (self.generated / 86_400, self.generated % 86_400);
        let Date { year, month, day } = Date::from_days(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        alloc::format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// What its author says about it.
    pub fn comment(&self) -> &[u8] {
        &self.comment
    }

    /// Sets what is said about it.
    pub fn set_comment(&mut self, comment: impl Into<Vec<u8>>) {
        self.comment = comment.into();
    }

    /// By what a key is revoked, or a certificate; `None` if it is not.
    pub fn check_key(&self, key: &PublicKey) -> Option<RevokedBy> {
        let Some(certificate) = Certificate::of(key) else { return self.check_blob(&key.to_blob()) };
        self.check_certificate(&CertificateFields {
            key: certificate.key(),
            authority: &certificate.authority().to_blob(),
            serial: certificate.serial(),
            key_id: certificate.key_id().as_bytes(),
        })
    }

    /// The same for a key's blob, which may be of a type that we do not have.
    pub fn check_blob(&self, blob: &[u8]) -> Option<RevokedBy> {
        use sha2::Digest as _;
        if !self.sha1.is_empty() && self.sha1.contains(&<[u8; 20]>::from(sha1::Sha1::digest(blob))) {
            return Some(RevokedBy::Hash(HashAlgorithm::Sha1));
        }
        if !self.sha256.is_empty() && self.sha256.contains(&<[u8; 32]>::from(sha2::Sha256::digest(blob))) {
            return Some(RevokedBy::Hash(HashAlgorithm::Sha256));
        }
        self.keys.contains(blob).then_some(RevokedBy::Key)
    }

    /// By what a certificate is revoked: its plain key, its key id or serial number under its authority or any, the
    /// plain key of its authority. `None` if it is not.
    pub fn check_certificate(&self, certificate: &CertificateFields<'_>) -> Option<RevokedBy> {
        let plain = self.check_blob(&certificate.key.to_blob());
        plain
            .or_else(|| self.check_fields(certificate))
            .or_else(|| self.check_blob(certificate.authority).map(|_| RevokedBy::Authority))
    }

    fn check_fields(&self, certificate: &CertificateFields<'_>) -> Option<RevokedBy> {
        let of =
            |list: &&Certificates| list.authority.as_ref().is_none_or(|key| **key == *certificate.authority);
        let mut lists = self.certificates.iter().filter(of);
        lists.find_map(|list| {
            if list.key_ids.contains(certificate.key_id) {
                return Some(RevokedBy::KeyId);
            }
            list.serials.contains(certificate.serial).then_some(RevokedBy::Serial)
        })
    }

    /// Revokes a key, by its blob.
    pub fn revoke_key(&mut self, blob: &[u8]) {
        self.keys.insert(blob.into());
    }

    /// Revokes the key whose blob has this SHA-1 hash.
    pub fn revoke_sha1(&mut self, hash: [u8; 20]) {
        self.sha1.insert(hash);
    }

    /// Revokes the key whose blob has this SHA-256 hash.
    pub fn revoke_sha256(&mut self, hash: [u8; 32]) {
        self.sha256.insert(hash);
    }

    /// Revokes the certificates with a serial number from `first` to `last`, both included, that the authority with
    /// this key blob signed, or any authority.
    ///
    /// # Errors
    /// [`KrlError::Serials`]: 0, which stands for no serial number, or a range that ends before it begins.
    pub fn revoke_serials(
        &mut self,
        authority: Option<&[u8]>,
        first: u64,
        last: u64,
    ) -> Result<(), KrlError> {
        self.of(authority).serials.add(first, last)
    }

    /// Revokes the certificates with this key id that the authority with this key blob signed, or any authority.
    pub fn revoke_key_id(&mut self, authority: Option<&[u8]>, key_id: &[u8]) {
        self.of(authority).key_ids.insert(key_id.into());
    }

    fn of(&mut self, authority: Option<&[u8]>) -> &mut Certificates {
        let at = self.certificates.iter().position(|list| list.authority.as_deref() == authority);
        let at = at.unwrap_or_else(|| {
            let authority = authority.map(Box::from);
            let (serials, key_ids) = (Serials::default(), BTreeSet::new());
            self.certificates.push(Certificates { authority, serials, key_ids });
            self.certificates.len().saturating_sub(1)
        });
        // It was found, or put there.
        #[allow(clippy::indexing_slicing)]
        &mut self.certificates[at]
    }

    /// What the list revokes, in the order in which `ssh-keygen -Q -l` prints it.
    pub fn items(&self) -> impl Iterator<Item = Item<'_>> {
        let keys = self.keys.iter().map(|blob| Item::Key(blob));
        let hashes = self.sha256.iter().map(Item::Sha256).chain(self.sha1.iter().map(Item::Sha1));
        let certificates = self.certificates.iter().flat_map(|list| {
            let serials = list.serials.runs().map(|(first, last)| Item::Serials(first, last));
            let ids = list.key_ids.iter().map(|id| Item::KeyId(id));
            core::iter::once(Item::Authority(list.authority.as_deref())).chain(serials).chain(ids)
        });
        keys.chain(hashes).chain(certificates)
    }
}
