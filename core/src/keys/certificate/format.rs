//! The rows of certificates in the table of key types: one for each type of plain key.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::fields::Fields;
use crate::crypto::{BadKey, BadSignature, HashAlgorithm, Policy, Provider, Signer};
use crate::keys::{Algorithm, KeyError, KeyFormat, KeyType, SignatureAlgorithm, SignatureDetails};
use crate::wire::{Reader, Sink};

/// A certificate for keys of the type `plain`.
struct Row {
    name: &'static str,
    plain: KeyType,
    algorithms: fn() -> &'static [SignatureAlgorithm],
}

macro_rules! rows {
    ($($type:ident = $name:literal for $plain:ident: $($algorithm:ident = $algorithm_name:literal signs $signs:ident),+;)*) => {
        impl KeyType {
            $(
                #[doc = concat!("A certificate for a key of [that type](Self::", stringify!($plain), ").")]
                pub const $type: Self = Self::new(&Row {
                    name: $name,
                    plain: KeyType::$plain,
                    algorithms: || &[$(SignatureAlgorithm::$algorithm),+],
                });
            )*
        }

        impl SignatureAlgorithm {
            $($(
                #[doc = concat!("With a certificate; signatures are those of [`", stringify!($signs), "`](Self::", stringify!($signs), ").")]
                pub const $algorithm: Self = Self::new(
                    &const { certified($algorithm_name, KeyType::$type, SignatureAlgorithm::$signs) },
                );
            )+)*
        }

        /// All types of certificates, best first.
        pub(in crate::keys) static TABLE: &[KeyType] = &[$(KeyType::$type),*];
    };
}

rows! {
    ED25519_CERT = "ssh-ed25519-cert-v01@openssh.com" for ED25519:
        ED25519_CERT = "ssh-ed25519-cert-v01@openssh.com" signs ED25519;
    ECDSA_NISTP256_CERT = "ecdsa-sha2-nistp256-cert-v01@openssh.com" for ECDSA_NISTP256:
        ECDSA_NISTP256_CERT = "ecdsa-sha2-nistp256-cert-v01@openssh.com" signs ECDSA_NISTP256;
    ECDSA_NISTP384_CERT = "ecdsa-sha2-nistp384-cert-v01@openssh.com" for ECDSA_NISTP384:
        ECDSA_NISTP384_CERT = "ecdsa-sha2-nistp384-cert-v01@openssh.com" signs ECDSA_NISTP384;
    ECDSA_NISTP521_CERT = "ecdsa-sha2-nistp521-cert-v01@openssh.com" for ECDSA_NISTP521:
        ECDSA_NISTP521_CERT = "ecdsa-sha2-nistp521-cert-v01@openssh.com" signs ECDSA_NISTP521;
    SK_ED25519_CERT = "sk-ssh-ed25519-cert-v01@openssh.com" for SK_ED25519:
        SK_ED25519_CERT = "sk-ssh-ed25519-cert-v01@openssh.com" signs SK_ED25519;
    SK_ECDSA_NISTP256_CERT = "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" for SK_ECDSA_NISTP256:
        SK_ECDSA_NISTP256_CERT = "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com" signs SK_ECDSA_NISTP256;
    RSA_CERT = "ssh-rsa-cert-v01@openssh.com" for RSA:
        RSA_SHA512_CERT = "rsa-sha2-512-cert-v01@openssh.com" signs RSA_SHA512,
        RSA_SHA256_CERT = "rsa-sha2-256-cert-v01@openssh.com" signs RSA_SHA256,
        RSA_SHA1_CERT = "ssh-rsa-cert-v01@openssh.com" signs RSA_SHA1;
}

/// An algorithm that signs as another, which stands under that one's name in signatures (PROTOCOL.certkeys).
const fn certified(name: &'static str, kind: KeyType, signs: SignatureAlgorithm) -> Algorithm {
    let algorithm = Algorithm::new(name, kind).signature(signs.name());
    let algorithm = match signs.policy() {
        Policy::Modern => algorithm,
        policy => algorithm.policy(policy),
    };
    match signs.hash() {
        Some(hash) => algorithm.hash(hash),
        None => algorithm,
    }
}

impl Row {
    /// The fields of the plain key in a certificate.
    fn plain_fields(&self, key: &[u8]) -> Option<Vec<u8>> {
        Fields::read(self.plain, &mut Reader::new(key)).ok().map(|fields| fields.key)
    }

    /// The algorithm of the plain key that signs in the place of this one.
    fn plain_algorithm(&self, algorithm: SignatureAlgorithm) -> Option<SignatureAlgorithm> {
        let mut own = self.plain.signature_algorithms().iter().copied();
        own.find(|own| own.name() == algorithm.signature_name())
    }
}

impl KeyFormat for Row {
    fn name(&self) -> &'static str {
        self.name
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        (self.algorithms)()
    }

    fn certifies(&self) -> Option<KeyType> {
        Some(self.plain)
    }

    fn certified(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.plain_fields(key)
    }

    /// The fields stay as they are, to the byte: they are what the authority signed.
    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let bytes = r.rest();
        Fields::read(self.plain, r)?;
        let length = bytes.len().saturating_sub(r.rest().len());
        out.put(bytes.get(..length).unwrap_or_default());
        Ok(())
    }

    fn bits(&self, key: &[u8]) -> usize {
        self.plain_fields(key).map_or(0, |key| self.plain.format().bits(&key))
    }

    fn rsa_size(&self, key: &[u8]) -> Option<[usize; 2]> {
        self.plain.format().rsa_size(&self.plain_fields(key)?)
    }

    fn on_device(&self) -> bool {
        self.plain.format().on_device()
    }

    fn signer(&self, _: &dyn Provider, _: &[u8]) -> Result<Box<dyn Signer>, BadKey> {
        Err(BadKey)
    }

    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        self.plain.format().read_signature(r)
    }

    fn write_signature(&self, raw: &[u8], out: &mut dyn Sink) {
        self.plain.format().write_signature(raw, out);
    }

    fn details(&self, raw: &[u8]) -> Option<SignatureDetails> {
        self.plain.format().details(raw)
    }

    fn verify(
        &self,
        provider: &dyn Provider,
        key: &[u8],
        algorithm: SignatureAlgorithm,
        message: &[u8],
        raw: &[u8],
    ) -> Result<(), BadSignature> {
        let key = self.plain_fields(key).ok_or(BadSignature)?;
        let algorithm = self.plain_algorithm(algorithm).ok_or(BadSignature)?;
        self.plain.format().verify(provider, &key, algorithm, message, raw)
    }
}

/// Whether an algorithm hashes with SHA-1.
pub(in crate::keys) fn is_old(algorithm: SignatureAlgorithm) -> bool {
    algorithm.hash() == Some(HashAlgorithm::Sha1)
}
