//! Making certificates (`ssh-keygen -s`).

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::fields::MAX_PRINCIPALS;
use super::{Certificate, CertificateKind, MAX_CERTIFICATE};
use crate::crypto::Provider;
use crate::keys::{KeyPair, KeyType, PublicKey, SignatureAlgorithm, signature};
use crate::rng::Rng;
use crate::text::Sources;
use crate::wire::Sink;

/// A certificate that is to be issued.
///
/// Unless something is said it is for nobody, permits nothing, and is valid for ever.
#[derive(Clone, Debug)]
pub struct CertificateRequest {
    kind: CertificateKind,
    key: PublicKey,
    serial: u64,
    key_id: Vec<u8>,
    principals: Vec<Vec<u8>>,
    valid_after: u64,
    valid_before: u64,
    critical: Vec<(Vec<u8>, Vec<u8>)>,
    extensions: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Why a certificate cannot be issued.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestProblem {
    /// There are no certificates for keys of this type.
    KeyType(KeyType),
    /// A certificate cannot sign certificates.
    Authority,
    /// The authority's key does not sign with this algorithm.
    Algorithm(SignatureAlgorithm),
    /// More than 256 principals, an empty one, or one with a NUL.
    Principals,
    /// The key identity has a NUL.
    KeyId,
    /// It is never valid: its end is not after its beginning.
    Validity,
    /// An option stands twice.
    OptionTwice,
    /// It is longer than 64 KiB.
    TooLarge,
    /// The authority's key did not sign, or what came of it is no signature.
    Signature,
}

impl fmt::Display for RequestProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyType(kind) => write!(f, "there are no certificates for keys of type {kind}"),
            Self::Authority => f.write_str("a certificate cannot sign certificates; give a plain key"),
            Self::Algorithm(algorithm) => {
                write!(f, "the authority's key does not sign with {algorithm}")
            }
            Self::Principals => f.write_str("principals are at most 256, and none is empty or has a NUL"),
            Self::KeyId => f.write_str("the key identity has a NUL"),
            Self::Validity => f.write_str("the certificate would end before it begins"),
            Self::OptionTwice => f.write_str("an option of the certificate stands twice"),
            Self::TooLarge => f.write_str("the certificate would be longer than 64 KiB"),
            Self::Signature => f.write_str("the authority's key does not sign"),
        }
    }
}

impl core::error::Error for RequestProblem {}

impl CertificateRequest {
    /// For this key; of a certificate, for its key.
    pub fn new(kind: CertificateKind, key: &PublicKey) -> Self {
        CertificateRequest {
            kind,
            key: key.plain(),
            serial: 0,
            key_id: Vec::new(),
            principals: Vec::new(),
            valid_after: 0,
            valid_before: u64::MAX,
            critical: Vec::new(),
            extensions: Vec::new(),
        }
    }

    /// The number that the authority will know it by.
    #[must_use]
    pub fn serial(mut self, serial: u64) -> Self {
        self.serial = serial;
        self
    }

    /// What it is called in logs.
    #[must_use]
    pub fn key_id(mut self, id: impl Into<Vec<u8>>) -> Self {
        self.key_id = id.into();
        self
    }

    /// The users or hosts that it is for. A certificate for nobody lets nobody in.
    #[must_use]
    pub fn principals(mut self, names: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Self {
        self.principals = names.into_iter().map(|name| name.as_ref().to_vec()).collect();
        self
    }

    /// From when on, and from when on not any more, in seconds since 1970 UTC; [`u64::MAX`] is never.
    #[must_use]
    pub fn valid(mut self, after: u64, before: u64) -> Self {
        self.valid_after = after;
        self.valid_before = before;
        self
    }

    /// The command that runs whatever the client asks for.
    #[must_use]
    pub fn force_command(self, command: impl AsRef<[u8]>) -> Self {
        self.critical_option("force-command", &text(command.as_ref()))
    }

    /// The addresses and networks that it may be used from, separated by commas.
    #[must_use]
    pub fn source_address(self, list: impl AsRef<[u8]>) -> Self {
        self.critical_option("source-address", &text(list.as_ref()))
    }

    /// Whether a text is a list for [`source_address`](Self::source_address).
    pub fn is_source_address(list: impl AsRef<[u8]>) -> bool {
        Sources::networks(list.as_ref()).is_some()
    }

    /// Any critical option, with its data as it is to stand there.
    #[must_use]
    pub fn critical_option(mut self, name: impl Into<Vec<u8>>, data: &[u8]) -> Self {
        self.critical.push((name.into(), data.to_vec()));
        self
    }

    /// Any extension, with its data as it is to stand there; permissions such as `permit-pty` have none.
    #[must_use]
    pub fn extension(mut self, name: impl Into<Vec<u8>>, data: &[u8]) -> Self {
        self.extensions.push((name.into(), data.to_vec()));
        self
    }

    /// Has it signed by a key that is here; with an algorithm of one's own choice, or else the best.
    ///
    /// # Errors
    /// [`RequestProblem`].
    pub fn sign(
        &self,
        authority: &KeyPair,
        algorithm: Option<SignatureAlgorithm>,
        rng: &mut Rng,
    ) -> Result<Certificate, RequestProblem> {
        let unsigned = self.prepare(authority.public(), algorithm, rng)?;
        let signature = authority.sign(unsigned.algorithm, unsigned.message(), rng);
        unsigned.finish(&signature.map_err(|_| RequestProblem::Signature)?)
    }

    /// Writes what an authority has to sign whose key is elsewhere: in an agent, in hardware. Then
    /// [`UnsignedCertificate::signed`].
    ///
    /// # Errors
    /// [`RequestProblem`].
    pub fn prepare(
        &self,
        authority: &PublicKey,
        algorithm: Option<SignatureAlgorithm>,
        rng: &mut Rng,
    ) -> Result<UnsignedCertificate, RequestProblem> {
        let kind = KeyType::certificates().find(|kind| kind.plain() == self.key.key_type());
        let kind = kind.ok_or(RequestProblem::KeyType(self.key.key_type()))?;
        self.check(authority)?;
        let algorithm = match algorithm {
            Some(algorithm) => {
                authority.own_algorithm(algorithm).ok_or(RequestProblem::Algorithm(algorithm))?
            }
            None => *authority.signature_algorithms().first().ok_or(RequestProblem::Authority)?,
        };
        let mut message = Vec::new();
        message.put_string(kind.name().as_bytes());
        message.put_string(&rng.array::<32>());
        message.put(self.key.fields());
        message.put_u64(self.serial);
        message.put_u32(self.kind.number());
        message.put_string(&self.key_id);
        let mut principals = Vec::new();
        self.principals.iter().for_each(|name| principals.put_string(name));
        message.put_string(&principals);
        message.put_u64(self.valid_after);
        message.put_u64(self.valid_before);
        message.put_string(&options(&self.critical)?);
        message.put_string(&options(&self.extensions)?);
        message.put_string(b"");
        message.put_string(&authority.to_blob());
        if message.len() > MAX_CERTIFICATE / 2 {
            return Err(RequestProblem::TooLarge);
        }
        Ok(UnsignedCertificate { message, authority: authority.clone(), algorithm })
    }

    fn check(&self, authority: &PublicKey) -> Result<(), RequestProblem> {
        if authority.is_certificate() {
            return Err(RequestProblem::Authority);
        }
        let name = |name: &Vec<u8>| !name.is_empty() && !name.contains(&0);
        if self.principals.len() > MAX_PRINCIPALS || !self.principals.iter().all(name) {
            return Err(RequestProblem::Principals);
        }
        if self.key_id.contains(&0) {
            return Err(RequestProblem::KeyId);
        }
        if self.valid_after >= self.valid_before {
            return Err(RequestProblem::Validity);
        }
        Ok(())
    }
}

/// A certificate that lacks its signature.
#[derive(Clone)]
pub struct UnsignedCertificate {
    message: Vec<u8>,
    authority: PublicKey,
    algorithm: SignatureAlgorithm,
}

impl UnsignedCertificate {
    /// What the authority has to sign, as it is: hashing belongs to the algorithm.
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// How it has to sign.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The certificate with a signature that was made elsewhere, as SSH encodes it (RFC 4253 §6.6). It is verified.
    ///
    /// # Errors
    /// [`RequestProblem::Signature`] if it is not the authority's.
    pub fn signed(self, provider: &dyn Provider, signature: &[u8]) -> Result<Certificate, RequestProblem> {
        signature::verify(provider, &self.authority, self.algorithm, &self.message, signature)
            .map_err(|_| RequestProblem::Signature)?;
        self.finish(signature)
    }

    fn finish(mut self, signature: &[u8]) -> Result<Certificate, RequestProblem> {
        self.message.put_string(signature);
        Certificate::from_blob(&self.message).map_err(|_| RequestProblem::Signature)
    }
}

impl fmt::Debug for UnsignedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnsignedCertificate({} bytes for {:?})", self.message.len(), self.authority)
    }
}

/// Data that is one string.
fn text(text: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_string(text);
    data
}

/// Options in the order of their names, each once (PROTOCOL.certkeys).
fn options(options: &[(Vec<u8>, Vec<u8>)]) -> Result<Vec<u8>, RequestProblem> {
    let mut sorted: Box<[_]> = options.iter().collect();
    sorted.sort();
    if sorted.windows(2).any(|two| matches!(two, [one, other] if one.0 == other.0)) {
        return Err(RequestProblem::OptionTwice);
    }
    let mut list = Vec::new();
    for (name, data) in sorted {
        list.put_string(name);
        list.put_string(data);
    }
    Ok(list)
}
