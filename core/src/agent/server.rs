//! The agent's end of one connection.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::keyring::Keyring;
use super::message::{Frames, QUERY, SESSION_BIND, algorithm_of, framed, number};
use super::permit::{Binding, Bindings};
use super::{AgentError, Constraints, MAX_BINDINGS, MAX_SESSION_ID, read_key};
use crate::connection::Decision;
use crate::keys::{PrivateKey, PublicKey, SignatureAlgorithm, signature};
use crate::time::Time;
use crate::wire::{Reader, Sink};

/// Answers that wait to be sent; with more, no request is taken.
const MAX_WAITING: usize = 512 * 1024;

/// One connection to a [`Keyring`].
///
/// Give it what comes ([`receive`](Self::receive)), [`poll`](Self::poll) it, and send what it says
/// ([`take_tx`](Self::take_tx)). Requests are answered in order, and while a person is asked about one
/// ([`Confirm`]) the next ones wait.
#[derive(Default)]
pub struct Server {
    frames: Frames,
    out: Vec<u8>,
    bindings: Bindings,
    doing: Doing,
}

#[derive(Default)]
enum Doing {
    #[default]
    Nothing,
    /// Somebody is asked whether this may be signed.
    Confirming(Signing),
    /// A passphrase that may not be tried yet.
    Unlocking(Zeroizing<Vec<u8>>),
}

struct Signing {
    key: PublicKey,
    algorithm: SignatureAlgorithm,
    message: Zeroizing<Vec<u8>>,
}

/// May a key be used? Answer it with [`Server::answer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "the client waits until somebody answers"]
pub struct Confirm {
    /// The key.
    pub key: PublicKey,
    /// What whoever added it called it.
    pub comment: Vec<u8>,
}

/// What comes of a request.
enum Done {
    Yes,
    No,
    /// The agent's way to say that an extension failed.
    ExtensionFailed,
    Said,
    Ask(Confirm),
}

impl Done {
    fn if_so(yes: bool) -> Self {
        if yes { Done::Yes } else { Done::No }
    }
}

impl Server {
    /// For a connection that was accepted. Who may connect is for the system to say: see who the peer is before this.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes bytes from the client. Hand in what one read brought, and [`poll`](Self::poll) before the next.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.frames.push(bytes);
    }

    /// What is to be sent to the client now, once.
    pub fn take_tx(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.out)
    }

    /// When to [`poll`](Self::poll) again though nothing came.
    pub fn deadline(&self, keyring: &Keyring) -> Option<Time> {
        matches!(self.doing, Doing::Unlocking(_)).then(|| keyring.unlock_after())
    }

    /// Answers the requests that are here, until a person is to be asked, or no more are.
    ///
    /// # Errors
    ///
    /// [`AgentError::Length`]: close the connection. Everything else that is wrong with a request is answered.
    pub fn poll(&mut self, keyring: &mut Keyring, now: Time) -> Result<Option<Confirm>, AgentError> {
        keyring.expire(now);
        while self.out.len() < MAX_WAITING {
            match core::mem::take(&mut self.doing) {
                Doing::Nothing => {}
                Doing::Unlocking(passphrase) if now >= keyring.unlock_after() => {
                    let done = Done::if_so(keyring.unlock(&passphrase, now));
                    self.say(done);
                }
                waiting => {
                    self.doing = waiting;
                    return Ok(None);
                }
            }
            let Some(message) = self.frames.next()? else { return Ok(None) };
            match self.handle(keyring, now, &message).unwrap_or(Done::No) {
                Done::Ask(confirm) => return Ok(Some(confirm)),
                done => self.say(done),
            }
        }
        Ok(None)
    }

    /// Answers the last [`Confirm`]. [`poll`](Self::poll) afterwards: the next requests have waited.
    pub fn answer(&mut self, keyring: &mut Keyring, decision: Decision) {
        match core::mem::take(&mut self.doing) {
            Doing::Confirming(signing) if decision.is_accept() => {
                let done = self.sign(keyring, &signing);
                self.say(done);
            }
            Doing::Confirming(_) => self.say(Done::No),
            other => self.doing = other,
        }
    }

    fn say(&mut self, done: Done) {
        let status = match done {
            Done::Yes => number::SUCCESS,
            Done::No => number::FAILURE,
            Done::ExtensionFailed => number::EXTENSION_FAILURE,
            Done::Said | Done::Ask(_) => return,
        };
        self.out.put_string(&[status]);
    }

    fn reply(&mut self, write: impl Fn(&mut dyn Sink)) -> Done {
        match framed(write) {
            Ok(message) => {
                self.out.put(&message);
                Done::Said
            }
            Err(_) => Done::No,
        }
    }

    /// One request. An error is a request that cannot be read, or asks for what is not done.
    fn handle(&mut self, keyring: &mut Keyring, now: Time, message: &[u8]) -> Result<Done, AgentError> {
        let mut r = Reader::new(message);
        let kind = r.u8()?;
        // F-20: what binds a connection counts while the agent is locked, too.
        let open = matches!(kind, number::UNLOCK | number::REQUEST_IDENTITIES | number::EXTENSION);
        if keyring.is_locked() && !open {
            return Ok(Done::No);
        }
        Ok(match kind {
            number::REQUEST_IDENTITIES => self.list(keyring),
            number::SIGN => self.on_sign(keyring, r)?,
            number::ADD | number::ADD_CONSTRAINED => self.add(keyring, now, r)?,
            number::REMOVE => {
                let key = read_key(r.string()?)?;
                r.end()?;
                let seen = self.sees(keyring, &key);
                if seen {
                    keyring.remove(&key);
                }
                Done::if_so(seen)
            }
            number::REMOVE_ALL => {
                keyring.remove_all();
                Done::Yes
            }
            // There are none, and so they are gone.
            number::REMOVE_ALL_RSA => Done::Yes,
            number::LOCK => {
                let passphrase = r.string()?;
                r.end()?;
                Done::if_so(keyring.lock(passphrase))
            }
            number::UNLOCK => {
                let passphrase = Zeroizing::new(r.string()?.to_vec());
                r.end()?;
                if !keyring.is_locked() {
                    return Ok(Done::No);
                }
                self.doing = Doing::Unlocking(passphrase);
                Done::Said
            }
            number::EXTENSION => self.on_extension(keyring, r)?,
            // F-22: no module is loaded because somebody names it.
            _ => Done::No,
        })
    }

    fn sees(&self, keyring: &Keyring, key: &PublicKey) -> bool {
        keyring.find(key).is_some_and(|held| self.bindings.permit(&held.destinations, None))
    }

    fn list(&mut self, keyring: &Keyring) -> Done {
        let bindings = core::mem::take(&mut self.bindings);
        let seen: Vec<_> = if keyring.is_locked() {
            Vec::new()
        } else {
            keyring.held().iter().filter(|held| bindings.permit(&held.destinations, None)).collect()
        };
        let done = self.reply(|out| {
            out.put_u8(number::IDENTITIES);
            out.put_u32(u32::try_from(seen.len()).unwrap_or(u32::MAX));
            for held in &seen {
                out.put_string(held.blob());
                out.put_string(held.comment());
            }
        });
        self.bindings = bindings;
        done
    }

    fn add(&self, keyring: &mut Keyring, now: Time, mut r: Reader<'_>) -> Result<Done, AgentError> {
        let (key, shown) = PrivateKey::read_given(&mut r)?;
        let comment = r.string()?;
        let constraints = Constraints::read(&mut r, false)?;
        if keyring.find(&shown).is_some() && !self.sees(keyring, &shown) {
            // A key that cannot be seen from here cannot be replaced from here.
            return Ok(Done::No);
        }
        keyring.add_as(&key, &shown, comment, &constraints, now)?;
        Ok(Done::Yes)
    }

    fn on_sign(&mut self, keyring: &mut Keyring, mut r: Reader<'_>) -> Result<Done, AgentError> {
        let (blob, message, flags) = (r.string()?, r.string()?, r.u32()?);
        r.end()?;
        let key = read_key(blob)?;
        let (Some(held), Some(algorithm)) =
            (keyring.find(&key), algorithm_of(key.signature_algorithms(), flags))
        else {
            return Ok(Done::No);
        };
        if !self.bindings.permit_signature(&held.destinations, &key, message) {
            return Ok(Done::No);
        }
        let ask = held.confirm.then(|| Confirm { key: key.clone(), comment: held.comment().to_vec() });
        let signing = Signing { key, algorithm, message: Zeroizing::new(message.to_vec()) };
        Ok(match ask {
            Some(confirm) => {
                self.doing = Doing::Confirming(signing);
                Done::Ask(confirm)
            }
            None => self.sign(keyring, &signing),
        })
    }

    fn sign(&mut self, keyring: &mut Keyring, signing: &Signing) -> Done {
        // Somebody may have locked the agent while a person was asked.
        if keyring.is_locked() {
            return Done::No;
        }
        let Some(signature) = keyring.sign(&signing.key, signing.algorithm, &signing.message) else {
            return Done::No;
        };
        self.reply(|out| {
            out.put_u8(number::SIGNATURE);
            out.put_string(&signature);
        })
    }

    fn on_extension(&mut self, keyring: &Keyring, mut r: Reader<'_>) -> Result<Done, AgentError> {
        let name = r.string()?;
        Ok(if name == SESSION_BIND.as_bytes() {
            // Whoever tries is not local, whether it comes to something or not.
            self.bindings.attempted = true;
            match self.bind(keyring, r) {
                Ok(true) => Done::Yes,
                _ => Done::ExtensionFailed,
            }
        } else if name == QUERY.as_bytes() && !keyring.is_locked() {
            self.reply(|out| {
                out.put_u8(number::EXTENSION_RESPONSE);
                out.put_string(QUERY.as_bytes());
                out.put_string(SESSION_BIND.as_bytes());
            })
        } else {
            Done::No
        })
    }

    /// Binds the connection to a session, if its server has signed it (OpenSSH ssh-agent.c
    /// `process_ext_session_bind`).
    fn bind(&mut self, keyring: &Keyring, mut r: Reader<'_>) -> Result<bool, AgentError> {
        let (blob, session_id, signed, forwarded) = (r.string()?, r.string()?, r.string()?, r.bool()?);
        r.end()?;
        if session_id.len() > MAX_SESSION_ID {
            return Ok(false);
        }
        let host_key = PublicKey::from_blob(blob)?;
        let name = Reader::new(signed).string()?;
        let named = |a: &&SignatureAlgorithm| a.signature_name().as_bytes() == name;
        let Some(algorithm) = host_key.signature_algorithms().iter().find(named).copied() else {
            return Ok(false);
        };
        if signature::verify(keyring.provider, &host_key, algorithm, session_id, signed).is_err() {
            return Ok(false);
        }
        // A connection that logs in somewhere does not go on from there.
        if self.bindings.list.iter().any(|bound| !bound.forwarded) {
            return Ok(false);
        }
        if let Some(bound) = self.bindings.list.iter().find(|bound| bound.session_id == session_id) {
            return Ok(bound.host_key == host_key);
        }
        if self.bindings.list.len() >= MAX_BINDINGS {
            return Ok(false);
        }
        self.bindings.list.push(Binding { host_key, session_id: session_id.to_vec(), forwarded });
        Ok(true)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Server({} sessions)", self.bindings.list.len())
    }
}
