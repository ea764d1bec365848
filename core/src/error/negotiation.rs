//! Nothing in common: which category, and what each side has (RFC 4253 §7.1).

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::crypto::Policy;

/// A category of algorithms that are negotiated on their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AlgorithmCategory {
    /// Key exchange.
    Kex,
    /// Host key.
    HostKey,
    /// Cipher, client to server.
    CipherClientToServer,
    /// Cipher, server to client.
    CipherServerToClient,
    /// MAC, client to server.
    MacClientToServer,
    /// MAC, server to client.
    MacServerToClient,
    /// Compression, client to server.
    CompressionClientToServer,
    /// Compression, server to client.
    CompressionServerToClient,
}

impl AlgorithmCategory {
    /// Words for a person, and the option that sets it.
    const fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Kex => ("key exchange method", "KexAlgorithms"),
            Self::HostKey => ("host key algorithm", "HostKeyAlgorithms"),
            Self::CipherClientToServer => ("cipher (client to server)", "Ciphers"),
            Self::CipherServerToClient => ("cipher (server to client)", "Ciphers"),
            Self::MacClientToServer => ("MAC (client to server)", "MACs"),
            Self::MacServerToClient => ("MAC (server to client)", "MACs"),
            Self::CompressionClientToServer => ("compression (client to server)", "Compression"),
            Self::CompressionServerToClient => ("compression (server to client)", "Compression"),
        }
    }
}

/// One category without an algorithm in common.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mismatch {
    /// Which one.
    pub category: AlgorithmCategory,
    /// Our names, joined by commas.
    pub ours: String,
    /// The peer's names, joined by commas, escaped.
    pub theirs: String,
    /// The strictest policy that has one of theirs.
    pub policy_that_would_match: Option<Policy>,
}

/// Every category that failed, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NegotiationFailure {
    /// At least one.
    pub mismatches: Vec<Mismatch>,
}

impl fmt::Display for NegotiationFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, m) in self.mismatches.iter().enumerate() {
            let (what, option) = m.category.words();
            if i > 0 {
                writeln!(f)?;
            }
            writeln!(f, "  no {what} in common")?;
            writeln!(f, "    ours:   {}", m.ours)?;
            writeln!(f, "    theirs: {}", m.theirs)?;
            match m.policy_that_would_match {
                Some(p) => write!(f, "    the policy {} would match; or set {option}", p.name())?,
                None => write!(f, "    no policy of konko has any of these")?,
            }
        }
        Ok(())
    }
}
