//! Messages and their frames (RFC 9987).

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{AgentError, MAX_MESSAGE};
use crate::crypto::{Scrubbed, exact};
use crate::keys::SignatureAlgorithm;
use crate::wire::Sink;

/// Numbers of messages (RFC 9987; those of old tokens and of OpenSSH's list too).
pub(super) mod number {
    pub(crate) const FAILURE: u8 = 5;
    pub(crate) const SUCCESS: u8 = 6;
    /// Of SSH version 1, which OpenSSH's ssh-add sends along.
    pub(crate) const REMOVE_ALL_RSA: u8 = 9;
    pub(crate) const REQUEST_IDENTITIES: u8 = 11;
    pub(crate) const IDENTITIES: u8 = 12;
    pub(crate) const SIGN: u8 = 13;
    pub(crate) const SIGNATURE: u8 = 14;
    pub(crate) const ADD: u8 = 17;
    pub(crate) const REMOVE: u8 = 18;
    pub(crate) const REMOVE_ALL: u8 = 19;
    pub(crate) const ADD_TOKEN: u8 = 20;
    pub(crate) const REMOVE_TOKEN: u8 = 21;
    pub(crate) const LOCK: u8 = 22;
    pub(crate) const UNLOCK: u8 = 23;
    pub(crate) const ADD_CONSTRAINED: u8 = 25;
    pub(crate) const ADD_TOKEN_CONSTRAINED: u8 = 26;
    pub(crate) const EXTENSION: u8 = 27;
    pub(crate) const EXTENSION_FAILURE: u8 = 28;
    pub(crate) const EXTENSION_RESPONSE: u8 = 29;
}

/// The extension that binds a connection to a session (OpenSSH PROTOCOL.agent §1).
pub(super) const SESSION_BIND: &str = "session-bind@openssh.com";
/// The extension that lists extensions (RFC 9987).
pub(super) const QUERY: &str = "query";

/// Flags of a signature (RFC 9987). Never both.
const SHA2_256: u32 = 2;
const SHA2_512: u32 = 4;

/// The flags that ask for an algorithm. Only RSA keys have any.
pub(super) fn flags_of(algorithm: SignatureAlgorithm) -> u32 {
    match algorithm.signature_name() {
        "rsa-sha2-256" => SHA2_256,
        "rsa-sha2-512" => SHA2_512,
        _ => 0,
    }
}

/// The algorithm that the flags ask for, among those that a key has. What they say to keys that are not RSA is
/// nothing; of both, OpenSSH takes SHA-256.
pub(super) fn algorithm_of(own: &[SignatureAlgorithm], flags: u32) -> Option<SignatureAlgorithm> {
    let named = |name: &str| own.iter().copied().find(|algorithm| algorithm.signature_name() == name);
    let rsa = named("ssh-rsa");
    match rsa {
        None => own.first().copied(),
        Some(_) if flags & SHA2_256 != 0 => named("rsa-sha2-256"),
        Some(_) if flags & SHA2_512 != 0 => named("rsa-sha2-512"),
        sha1 => sha1,
    }
}

/// A message with its length in front. Its bytes may hold secrets, so they are counted first and written once.
pub(super) fn framed(write: impl Fn(&mut dyn Sink)) -> Result<Zeroizing<Vec<u8>>, AgentError> {
    let message = exact(&write);
    if message.len() > MAX_MESSAGE {
        return Err(AgentError::TooLarge);
    }
    Ok(exact(|out| out.put_string(&message)))
}

/// Bytes that come in, cut into messages. They may hold private keys, and are wiped.
#[derive(Default)]
pub(super) struct Frames {
    bytes: Scrubbed,
    /// A length was wrong; nothing after it can be read.
    lost: Option<u32>,
}

impl Frames {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        if self.lost.is_none() {
            self.bytes.put(bytes);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next whole message, without its length.
    pub(super) fn next(&mut self) -> Result<Option<Zeroizing<Vec<u8>>>, AgentError> {
        if let Some(length) = self.lost {
            return Err(AgentError::Length(length));
        }
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_be_bytes(*length);
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        // F-17: before any memory is taken for it.
        if size == 0 || size > MAX_MESSAGE {
            self.lost = Some(length);
            return Err(AgentError::Length(length));
        }
        let Some(message) = rest.get(..size) else { return Ok(None) };
        let message = Zeroizing::new(message.to_vec());
        let taken = size.saturating_add(4);
        let left = self.bytes.len().saturating_sub(taken);
        self.bytes.copy_within(taken.., 0);
        self.bytes.truncate(left);
        Ok(Some(message))
    }
}
