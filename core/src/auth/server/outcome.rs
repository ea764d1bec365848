//! What came of an attempt.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::keys::{PublicKey, SignatureAlgorithm, SignatureDetails};

/// An authentication request that is over, and what came of it. There is one for each request that
/// was answered with SUCCESS or FAILURE, whoever decided: the one place to count and to log. A yes to
/// a probe, a challenge and an expired password are no outcome; the client goes on from there.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthOutcome {
    /// The user name, as the client wrote it.
    pub user: Vec<u8>,
    /// The method, as the client wrote it.
    pub method: Vec<u8>,
    /// The signature algorithm, as the client wrote it; empty but with `publickey`.
    pub algorithm: Vec<u8>,
    /// The key, if one was offered and could be read. It is the client's only if it was accepted.
    pub key: Option<Box<PublicKey>>,
    /// What came of it.
    pub result: AuthResult,
    /// Whether it is one of the failed attempts that the limit is about: every rejection but that of a
    /// first request for `none`, with which clients ask what there is (OpenSSH auth2.c).
    pub counted: bool,
}

/// Who and how, without the bytes of a name, which may be a password typed in the wrong place.
impl fmt::Debug for AuthOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthOutcome")
            .field("method", &crate::wire::SshStr::new(&self.method))
            .field("key", &self.key)
            .field("result", &self.result)
            .field("counted", &self.counted)
            .finish_non_exhaustive()
    }
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthResult {
    /// The user is in.
    Accepted,
    /// Right, and more is needed.
    Partial,
    /// No.
    Rejected(AuthRejection),
}

/// Why an attempt was rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AuthRejection {
    /// The application said so.
    Decision,
    /// The user name is no text, or holds a NUL.
    UserName,
    /// The method is not offered now, or the service is another than `ssh-connection`.
    Method,
    /// The password is longer than the limits allow.
    PasswordLength,
    /// The signature algorithm is not among those that users may sign with.
    Algorithm,
    /// The key cannot be read, is too short or too large, does not fit the algorithm, or has served as
    /// a factor.
    Key,
    /// The request is bound to another host key than this server's (`publickey-hostbound-v00@openssh.com`).
    HostKey,
    /// The application would have the key, and the signature is not one of this key over this session.
    Signature,
    /// The signature is right, and the security key that made it was not touched, or did not verify its user, as it has to.
    Presence,
    /// The number of answers is not the number of prompts (RFC 4256 §3.4).
    AnswerCount,
}

impl fmt::Display for AuthRejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AuthRejection::Decision => "rejected",
            AuthRejection::UserName => "the user name is no text",
            AuthRejection::Method => "the method is not offered",
            AuthRejection::PasswordLength => "the password is too long",
            AuthRejection::Algorithm => "the signature algorithm is not accepted (PubkeyAcceptedAlgorithms)",
            AuthRejection::Key => "the key is unusable, too short, too large, or was used before",
            AuthRejection::HostKey => "the request is bound to the host key of another server",
            AuthRejection::Signature => "the signature is wrong",
            AuthRejection::Presence => {
                "the security key was not touched, or did not verify its user (PubkeyAuthOptions)"
            }
            AuthRejection::AnswerCount => "the number of answers is wrong",
        })
    }
}

/// A key whose signature over this session was verified. Only a verification makes one.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedKey {
    key: PublicKey,
    algorithm: SignatureAlgorithm,
    details: Option<SignatureDetails>,
}

impl VerifiedKey {
    /// Of what was just verified; see `verify`.
    pub(super) fn new(
        key: PublicKey,
        algorithm: SignatureAlgorithm,
        details: Option<SignatureDetails>,
    ) -> Self {
        VerifiedKey { key, algorithm, details }
    }

    /// The key that signed; a certificate if it came with one, and then what the certificate says is still to be
    /// [validated](crate::keys::Certificate::validate).
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The algorithm of the signature.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// What a security key said about its user.
    pub fn details(&self) -> Option<SignatureDetails> {
        self.details
    }
}

impl fmt::Debug for VerifiedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifiedKey({:?} {})", self.key, self.algorithm)
    }
}
