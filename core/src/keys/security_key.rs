//! Keys on a security key, whose private half never leaves it (OpenSSH PROTOCOL.u2f).
//!
//! What such a key signs is a hash of its application, flags and a counter, and a hash of the message. Flags and counter
//! stand in the signature. Signatures are made elsewhere: by an agent, or by whoever asks the device.

use alloc::vec::Vec;

use super::{
    Algorithm, Halves, KeyError, KeyFormat, KeyType, SignatureAlgorithm, SignatureDetails, signature,
};
use crate::crypto::{BadSignature, Digest, HashAlgorithm, Provider};
use crate::wire::{Reader, Sink};

/// A row: the type's name, and the type of key that the device has.
struct SecurityKey {
    name: &'static str,
    inner: KeyType,
    algorithms: fn() -> &'static [SignatureAlgorithm],
}

const ED25519: &str = "sk-ssh-ed25519@openssh.com";
const ECDSA: &str = "sk-ecdsa-sha2-nistp256@openssh.com";

impl KeyType {
    /// Ed25519 on a security key.
    pub const SK_ED25519: Self = Self::new(&SecurityKey {
        name: ED25519,
        inner: KeyType::ED25519,
        algorithms: || &[SignatureAlgorithm::SK_ED25519],
    });
    /// ECDSA over P-256 on a security key.
    pub const SK_ECDSA_NISTP256: Self = Self::new(&SecurityKey {
        name: ECDSA,
        inner: KeyType::ECDSA_NISTP256,
        algorithms: || &[SignatureAlgorithm::SK_ECDSA_NISTP256],
    });
}

impl SignatureAlgorithm {
    /// Ed25519 on a security key.
    pub const SK_ED25519: Self = Self::new(&const { Algorithm::new(ED25519, KeyType::SK_ED25519) });
    /// ECDSA over P-256 on a security key.
    pub const SK_ECDSA_NISTP256: Self =
        Self::new(&const { Algorithm::new(ECDSA, KeyType::SK_ECDSA_NISTP256).hash(HashAlgorithm::Sha256) });
}

/// The longest application, in bytes. Ours; people's are `ssh:` and a word.
const MAX_APPLICATION: usize = 1024;
/// The longest key handle and the longest reserved field of a private key file, in bytes (CTAP2: 1023).
const MAX_HANDLE: usize = 4096;
/// Flags and counter.
const DETAILS: usize = 5;

/// The application that a key belongs to: text without NUL, since OpenSSH has no other.
fn application<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], KeyError> {
    let application = r.string()?;
    if application.len() > MAX_APPLICATION || application.contains(&0) {
        return Err(KeyError::Malformed("the application of a security key"));
    }
    Ok(application)
}

impl SecurityKey {
    /// The fields of the key on the device, and the application.
    fn parts<'a>(&self, key: &'a [u8]) -> Option<(Vec<u8>, &'a [u8])> {
        let mut r = Reader::new(key);
        let mut inner = Vec::new();
        self.inner.format().read(&mut r, &mut inner).ok()?;
        Some((inner, application(&mut r).ok()?))
    }
}

impl KeyFormat for SecurityKey {
    fn name(&self) -> &'static str {
        self.name
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        (self.algorithms)()
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        self.inner.format().read(r, out)?;
        out.put_string(application(r)?);
        Ok(())
    }

    fn bits(&self, _key: &[u8]) -> usize {
        256
    }

    fn on_device(&self) -> bool {
        true
    }

    /// What a key file has: the public fields, flags, the handle that the device knows its key by, and a reserved field
    /// (`sshkey_private_serialize`). None of it signs.
    fn read_private(&self, r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let mut public = Vec::new();
        self.read(r, &mut public)?;
        let (flags, handle, reserved) = (r.u8()?, r.string()?, r.string()?);
        if handle.len() > MAX_HANDLE || reserved.len() > MAX_HANDLE {
            return Err(KeyError::Malformed("the key handle of a security key"));
        }
        let private = |out: &mut dyn Sink| {
            out.put(&public);
            out.put_u8(flags);
            out.put_string(handle);
            out.put_string(reserved);
        };
        Ok(Halves::written(|out| out.put(&public), private))
    }

    /// PROTOCOL.u2f, "SSH U2F Signatures": flags and counter stand behind the signature. Raw, they do too.
    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        let mut raw = self.inner.format().read_signature(r)?;
        raw.extend_from_slice(r.bytes(DETAILS).map_err(signature::bad)?);
        Ok(raw)
    }

    fn write_signature(&self, raw: &[u8], out: &mut dyn Sink) {
        let (raw, details) = raw.split_at_checked(raw.len().saturating_sub(DETAILS)).unwrap_or((raw, &[]));
        self.inner.format().write_signature(raw, out);
        out.put(details);
    }

    fn details(&self, raw: &[u8]) -> Option<SignatureDetails> {
        let [flags, counter @ ..] = raw.last_chunk::<DETAILS>()?;
        Some(SignatureDetails::new(*flags, u32::from_be_bytes(*counter)))
    }

    fn verify(
        &self,
        provider: &dyn Provider,
        key: &[u8],
        _: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
    ) -> Result<(), BadSignature> {
        let (inner, application) = self.parts(key).ok_or(BadSignature)?;
        let (raw, details) = raw.split_last_chunk::<DETAILS>().ok_or(BadSignature)?;
        let [application, message] =
            [application, message].map(|text| Digest::of(provider, HashAlgorithm::Sha256, &[text]));
        let signed = [application.as_bytes(), details, message.as_bytes()].concat();
        let algorithm = *self.inner.signature_algorithms().first().ok_or(BadSignature)?;
        self.inner.format().verify(provider, &inner, algorithm, &signed, raw)
    }
}
