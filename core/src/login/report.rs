//! What was tried, and what came of it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::auth::Method;
use crate::error::UsageError;
use crate::keys::{Fingerprint, SignatureAlgorithm};
use crate::wire::SshStr;

/// One thing that was tried to authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attempt {
    /// The method.
    pub method: Method,
    /// The key, for publickey.
    pub key: Option<Fingerprint>,
    /// Where the key came from, for publickey.
    pub origin: Option<String>,
    /// How it was to sign, for publickey.
    pub algorithm: Option<SignatureAlgorithm>,
    /// The algorithm was a guess among several: the server did not say which it takes (RFC 8308 §3.1).
    pub guessed: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// The methods that can go on, as the server said afterwards.
    pub remaining: Vec<String>,
}

/// What came of an [`Attempt`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The server said yes, and the user is in.
    Accepted,
    /// The server said yes and wants more.
    Partial,
    /// The server said no.
    Rejected,
    /// Nothing was sent, for the reason given.
    Skipped(String),
    /// Nothing was sent: the server says which algorithms it takes (RFC 8308 §3.1), and the key has none of them.
    NoCommonAlgorithm {
        /// What the key can do and the policy allows.
        ours: Vec<SignatureAlgorithm>,
        /// What the server takes, joined by commas; from the peer.
        theirs: String,
    },
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.method.name())?;
        if let Some(origin) = &self.origin {
            write!(f, " {origin}")?;
        }
        if let Some(key) = &self.key {
            write!(f, " {key}")?;
        }
        if let Some(algorithm) = &self.algorithm {
            let guessed = if self.guessed { ", a guess: the server does not say what it takes" } else { "" };
            write!(f, " ({algorithm}{guessed})")?;
        }
        match &self.outcome {
            Outcome::Accepted => f.write_str(": accepted")?,
            Outcome::Partial => f.write_str(": accepted, and more is needed")?,
            Outcome::Rejected => f.write_str(": rejected by the server")?,
            Outcome::Skipped(why) => write!(f, ": not sent, {why}")?,
            Outcome::NoCommonAlgorithm { ours, theirs } => {
                let ours = ours.iter().map(|a| a.name()).collect::<Vec<_>>().join(",");
                let theirs = SshStr::new(theirs.as_bytes()).excerpt(500);
                write!(f, ": not sent, it can sign by {ours}, and the server takes {theirs}")?;
            }
        }
        if !self.remaining.is_empty() {
            write!(f, "; it goes on with {}", self.remaining.join(","))?;
        }
        Ok(())
    }
}

/// How the user came in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoggedIn {
    /// The method that completed it.
    pub method: Method,
    /// The server asked for no proof at all. Be careful what you tell it next.
    pub trivial: bool,
    /// All that was tried, in order.
    pub attempts: Vec<Attempt>,
}

/// Nothing that was tried let the user in.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthFailure {
    /// The user name.
    pub user: Vec<u8>,
    /// All that was tried or skipped, in order.
    pub attempts: Vec<Attempt>,
    /// The methods that the server would still take.
    pub remaining: Vec<String>,
    /// A call that made no sense ended it: what is wrong with the user name, a key or a signature.
    pub usage: Option<UsageError>,
    /// Why the connection ended over it, if it did.
    pub ended: Option<String>,
}

impl fmt::Display for AuthFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "permission denied for user \"{}\"", SshStr::new(&self.user))?;
        if !self.remaining.is_empty() {
            write!(f, " (the server takes {})", self.remaining.join(","))?;
        }
        if self.attempts.is_empty() && self.usage.is_none() {
            return f.write_str("; nothing was tried: give a key or a password");
        }
        for attempt in &self.attempts {
            write!(f, "\n  {attempt}")?;
        }
        if let Some(usage) = &self.usage {
            write!(f, "\n  then {usage}")?;
        }
        self.ended.as_ref().map_or(Ok(()), |why| write!(f, "\n  then {why}"))
    }
}

impl core::error::Error for AuthFailure {}
