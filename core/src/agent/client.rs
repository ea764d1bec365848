//! The client's end: one request, one answer.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::message::{Frames, QUERY, SESSION_BIND, flags_of, framed, number};
use super::{AgentError, Constraints, Identity, MAX_IDENTITIES, Purpose};
use crate::keys::{Certificate, KeyError, PrivateKey, SignatureAlgorithm};
use crate::wire::{Reader, Sink};

/// A client of an agent, over one connection to it.
///
/// Each call puts a request into [`take_tx`](Self::take_tx); [`receive`](Self::receive) then brings the one answer to
/// it. The next request is for after that.
#[derive(Default)]
pub struct Client {
    frames: Frames,
    out: Zeroizing<Vec<u8>>,
    asked: Option<Asked>,
}

#[derive(Clone, Copy)]
enum Asked {
    List,
    Sign(SignatureAlgorithm),
    /// What is answered by yes or no.
    Do(&'static str),
    /// An extension that is answered by yes or no.
    Extension(&'static str),
    Query,
}

/// What an agent answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The keys that it has, to [`list`](Client::list).
    Identities(Vec<Identity>),
    /// The signature blob, to [`sign`](Client::sign). It names the algorithm that was asked for.
    Signature(Vec<u8>),
    /// It is done.
    Done,
    /// The names of its extensions, to [`query`](Client::query).
    Extensions(Vec<Vec<u8>>),
    /// It refused. It does not say why: it has no such key, its user said no, it is locked, or it knows no such
    /// request.
    Refused,
}

impl Asked {
    const fn words(self) -> &'static str {
        match self {
            Asked::List => "list its keys",
            Asked::Sign(_) => "sign",
            Asked::Do(words) | Asked::Extension(words) => words,
            Asked::Query => "list its extensions",
        }
    }
}

impl Client {
    /// On a connection that is new.
    pub fn new() -> Self {
        Self::default()
    }

    /// What is to be sent to the agent now, once.
    pub fn take_tx(&mut self) -> Zeroizing<Vec<u8>> {
        core::mem::take(&mut self.out)
    }

    /// Whether an answer is outstanding.
    pub fn is_waiting(&self) -> bool {
        self.asked.is_some()
    }

    fn ask(&mut self, asked: Asked, write: impl Fn(&mut dyn Sink)) -> Result<(), AgentError> {
        if self.asked.is_some() {
            return Err(AgentError::Busy);
        }
        self.out = framed(write)?;
        self.asked = Some(asked);
        Ok(())
    }

    /// Asks for the keys: [`Reply::Identities`].
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn list(&mut self) -> Result<(), AgentError> {
        self.ask(Asked::List, |out| out.put_u8(number::REQUEST_IDENTITIES))
    }

    /// Asks for a signature over `message`, which the agent hashes, by the key of that blob: [`Reply::Signature`].
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`]; [`AgentError::TooLarge`].
    pub fn sign(
        &mut self,
        blob: &[u8],
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<(), AgentError> {
        self.ask(Asked::Sign(algorithm), |out| {
            out.put_u8(number::SIGN);
            out.put_string(blob);
            out.put_string(message);
            out.put_u32(flags_of(algorithm));
        })
    }

    /// Adds a key. One that is there is replaced, with what limits its use.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`]; [`AgentError::Constraint`] and [`AgentError::TooLarge`] for what cannot be sent.
    pub fn add(
        &mut self,
        key: &PrivateKey,
        comment: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentError> {
        constraints.check(false)?;
        let kind = if constraints.is_empty() { number::ADD } else { number::ADD_CONSTRAINED };
        self.ask(Asked::Do("add a key"), |out| {
            out.put_u8(kind);
            out.put_string(key.public().key_type().name().as_bytes());
            out.put(key.expose_fields());
            out.put_string(comment);
            constraints.put(out);
        })
    }

    /// Adds a key under a certificate, beside the plain key if that is there.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add); [`AgentError::Key`] for a certificate that is for another key.
    pub fn add_certified(
        &mut self,
        key: &PrivateKey,
        certificate: &Certificate,
        comment: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentError> {
        constraints.check(false)?;
        if certificate.key() != key.public() {
            return Err(AgentError::Key(KeyError::OtherKey));
        }
        let kind = if constraints.is_empty() { number::ADD } else { number::ADD_CONSTRAINED };
        self.ask(Asked::Do("add a certificate"), |out| {
            out.put_u8(kind);
            key.put_given(certificate, out);
            out.put_string(comment);
            constraints.put(out);
        })
    }

    /// Adds the keys of a token, by the module that reads it (PKCS#11) and its PIN.
    ///
    /// # Errors
    ///
    /// As [`add`](Self::add).
    pub fn add_token(
        &mut self,
        module: &[u8],
        pin: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentError> {
        constraints.check(true)?;
        let kind = if constraints.is_empty() { number::ADD_TOKEN } else { number::ADD_TOKEN_CONSTRAINED };
        self.ask(Asked::Do("add the keys of a token"), |out| {
            out.put_u8(kind);
            out.put_string(module);
            out.put_string(pin);
            constraints.put(out);
        })
    }

    /// Removes the keys of a token.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn remove_token(&mut self, module: &[u8]) -> Result<(), AgentError> {
        self.ask(Asked::Do("remove the keys of a token"), |out| {
            out.put_u8(number::REMOVE_TOKEN);
            out.put_string(module);
            out.put_string(b"");
        })
    }

    /// Removes the key of that blob.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn remove(&mut self, blob: &[u8]) -> Result<(), AgentError> {
        self.ask(Asked::Do("remove a key"), |out| {
            out.put_u8(number::REMOVE);
            out.put_string(blob);
        })
    }

    /// Removes all keys.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn remove_all(&mut self) -> Result<(), AgentError> {
        self.ask(Asked::Do("remove all keys"), |out| out.put_u8(number::REMOVE_ALL))
    }

    /// Locks the agent: it shows and uses no key until it is [unlocked](Self::unlock) with the same words.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn lock(&mut self, passphrase: &[u8]) -> Result<(), AgentError> {
        self.ask(Asked::Do("lock itself"), |out| {
            out.put_u8(number::LOCK);
            out.put_string(passphrase);
        })
    }

    /// Unlocks the agent.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn unlock(&mut self, passphrase: &[u8]) -> Result<(), AgentError> {
        self.ask(Asked::Do("unlock itself"), |out| {
            out.put_u8(number::UNLOCK);
            out.put_string(passphrase);
        })
    }

    /// Asks for the names of the agent's extensions: [`Reply::Extensions`].
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn query(&mut self) -> Result<(), AgentError> {
        self.ask(Asked::Query, |out| {
            out.put_u8(number::EXTENSION);
            out.put_string(QUERY.as_bytes());
        })
    }

    /// Binds this connection to a session, so that the agent knows where a key is used: by the server's host key, the
    /// session identifier, and the signature of the first key exchange, which the agent verifies (OpenSSH
    /// PROTOCOL.agent §1). [`session_binding`](crate::ClientConnection::session_binding) has the three. An agent that
    /// does not know of it refuses, which does no harm.
    ///
    /// # Errors
    ///
    /// [`AgentError::Busy`].
    pub fn bind_session(
        &mut self,
        host_key: &[u8],
        session_id: &[u8],
        signature: &[u8],
        purpose: Purpose,
    ) -> Result<(), AgentError> {
        self.ask(Asked::Extension("bind itself to a session"), |out| {
            out.put_u8(number::EXTENSION);
            out.put_string(SESSION_BIND.as_bytes());
            out.put_string(host_key);
            out.put_string(session_id);
            out.put_string(signature);
            out.put_bool(purpose == Purpose::Forwarding);
        })
    }

    /// Takes bytes from the agent; the answer, once it is here whole.
    ///
    /// # Errors
    ///
    /// What is wrong with the answer. The connection can be used on, but after [`AgentError::Length`] and
    /// [`AgentError::Unasked`].
    pub fn receive(&mut self, bytes: &[u8]) -> Result<Option<Reply>, AgentError> {
        self.frames.push(bytes);
        if self.asked.is_none() {
            return if self.frames.is_empty() { Ok(None) } else { Err(AgentError::Unasked) };
        }
        let Some(message) = self.frames.next()? else { return Ok(None) };
        let Some(asked) = self.asked.take() else { return Err(AgentError::Unasked) };
        if !self.frames.is_empty() {
            return Err(AgentError::Unasked);
        }
        reply(asked, &message).map(Some)
    }
}

/// Reads an answer. Each request has its own, and nothing else is one (F-18).
fn reply(asked: Asked, message: &[u8]) -> Result<Reply, AgentError> {
    let malformed = |_| AgentError::Malformed(asked.words());
    let mut r = Reader::new(message);
    let got = r.u8().map_err(malformed)?;
    let reply = match (asked, got) {
        // OpenSSH looks at nothing behind these, and some agents leave something there.
        (_, number::FAILURE) => return Ok(Reply::Refused),
        (Asked::Extension(_) | Asked::Query, number::EXTENSION_FAILURE) => return Ok(Reply::Refused),
        (Asked::Do(_) | Asked::Extension(_), number::SUCCESS) => return Ok(Reply::Done),
        (Asked::List, number::IDENTITIES) => return identities(r).map(Reply::Identities),
        (Asked::Sign(algorithm), number::SIGNATURE) => {
            let blob = r.string().map_err(malformed)?;
            let name = Reader::new(blob).string().map_err(malformed)?;
            if name != algorithm.signature_name().as_bytes() {
                let got = String::from_utf8_lossy(name.get(..64).unwrap_or(name)).into_owned();
                return Err(AgentError::Algorithm { asked: algorithm, got });
            }
            Reply::Signature(blob.to_vec())
        }
        // RFC 9987 says the second, drafts before it the first.
        (Asked::Query, number::SUCCESS | number::EXTENSION_RESPONSE) => {
            if got == number::EXTENSION_RESPONSE && r.string().map_err(malformed)? != QUERY.as_bytes() {
                return Err(AgentError::Malformed(asked.words()));
            }
            let mut names = Vec::new();
            while !r.is_empty() && names.len() < MAX_IDENTITIES {
                names.push(r.string().map_err(malformed)?.to_vec());
            }
            Reply::Extensions(names)
        }
        (_, got) => return Err(AgentError::UnexpectedReply { asked: asked.words(), got }),
    };
    r.end().map_err(malformed)?;
    Ok(reply)
}

fn identities(mut r: Reader<'_>) -> Result<Vec<Identity>, AgentError> {
    let malformed = |_| AgentError::Malformed(Asked::List.words());
    let count = r.u32().map_err(malformed)?;
    if usize::try_from(count).map_or(true, |count| count > MAX_IDENTITIES) {
        return Err(AgentError::TooManyKeys(count));
    }
    // Each has two lengths, so the bytes that are here bound what is kept.
    let mut list = Vec::new();
    for _ in 0..count {
        let (blob, comment) = (r.string().map_err(malformed)?, r.string().map_err(malformed)?);
        list.push(Identity::new(blob, comment));
    }
    Ok(list)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("waiting_for", &self.asked.map(Asked::words)).finish()
    }
}
