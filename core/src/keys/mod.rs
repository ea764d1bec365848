//! Public and private keys, their files, fingerprints and signatures.
//!
//! Everything here is a function of its arguments: files are read and written by the caller. Sizes
//! are bounded before any arithmetic, secrets are wiped, and each error says what to do about it.
//! Key files are decrypted and public halves recomputed with the portable primitives, whatever
//! [`Provider`](crate::crypto::Provider) signs and verifies.

mod algorithm;
mod certificate;
mod der;
mod details;
mod ec_parameters;
mod ecdsa;
mod ed25519;
mod error;
mod file_cipher;
mod fingerprint;
mod kdf;
mod key_type;
mod load;
mod openssh;
mod pair;
mod pbes2;
mod pem;
mod private;
mod public;
mod putty;
mod randomart;
mod rsa;
mod security_key;
pub mod signature;
mod ssh2;

pub use algorithm::{Algorithm, SignatureAlgorithm};
pub use certificate::{
    BadValidity, Certificate, CertificateCheck, CertificateKind, CertificateOption, CertificateProblem,
    CertificateRequest, Certified, Permits, Principals, RequestProblem, UnsignedCertificate, Validity,
};
pub use details::{SignatureDetails, TouchPolicy};
pub use error::KeyError;
pub use file_cipher::FileCipher;
pub use fingerprint::Fingerprint;
pub use kdf::KdfLimits;
pub use key_type::{Halves, KeyFormat, KeyType};
pub use load::MAX_FILE;
pub use pair::KeyPair;
pub use private::PrivateKey;
pub use public::{DEFAULT_MIN_RSA_BITS, PublicKey};
pub use putty::PuttyVersion;

/// Of files in every format.
const FOREIGN: KeyError = KeyError::Inconsistent("the public half is not the private one's");
