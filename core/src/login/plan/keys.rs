//! Keys: those that are here, in files, and elsewhere.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::auth::Method;
use crate::auth::client::{AuthRequest, SignTicket};
use crate::client::ClientConnection;
use crate::crypto::HashAlgorithm;
use crate::error::UsageError;
use crate::keys::{KeyError, KeyPair, PrivateKey, PublicKey};
use crate::login::{Answer, LockedKey, LoginMethod, Outcome, PASSPHRASES, Question};

use super::agent::KeyFile;
use super::{Doing, Login, Offered, Way};

impl Login {
    /// The best algorithm for the key; and RSA with SHA-1, if the policy has it, for servers that do
    /// not say what they take. `None`, and a line in the report, if there is no algorithm at all.
    pub(super) fn offered(
        &mut self,
        conn: &ClientConnection,
        way: usize,
        key: PublicKey,
        origin: Option<String>,
    ) -> Option<Offered> {
        let mut all = conn.signature_algorithms(&key).into_iter();
        let theirs = conn.server_signature_algorithms();
        let Some(algorithm) = all.next() else {
            let policy = &conn.config().algorithms.user_key;
            let ours: Vec<_> = policy.iter().copied().filter(|algorithm| key.fits(*algorithm)).collect();
            let outcome = match theirs {
                Some(theirs) if !ours.is_empty() => {
                    Outcome::NoCommonAlgorithm { ours, theirs: theirs.to_owned() }
                }
                _ => {
                    let why = "the policy has no algorithm for it (PubkeyAcceptedAlgorithms)";
                    Outcome::Skipped(why.to_owned())
                }
            };
            self.record(Method::PublicKey, Some((Some(&key), origin, None)), outcome);
            return None;
        };
        let guessed = theirs.is_none() && key.signature_algorithms().len() > 1;
        let rest = all.filter(|a| a.hash() == Some(HashAlgorithm::Sha1)).collect();
        Some(Offered { way, key, pair: None, origin, algorithm, rest, in_agent: None, guessed, locked: None })
    }

    pub(super) fn offer_pair(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        pair: Arc<KeyPair>,
        origin: Option<String>,
    ) -> Result<(), UsageError> {
        let Some(offered) = self.offered(conn, way, pair.public().clone(), origin) else { return Ok(()) };
        self.sign(conn, Offered { pair: Some(pair), ..offered })
    }

    pub(super) fn probe(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        key: PublicKey,
        origin: String,
        locked: Option<LockedKey>,
    ) -> Result<(), UsageError> {
        let Some(offered) = self.offered(conn, way, key, Some(origin)) else { return Ok(()) };
        let offered = Offered { locked, ..offered };
        self.send(conn, AuthRequest::ProbeKey { key: &offered.key, algorithm: offered.algorithm })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }

    /// Sends the signed request, or asks for the signature first.
    pub(super) fn sign(&mut self, conn: &mut ClientConnection, offered: Offered) -> Result<(), UsageError> {
        match &offered.pair {
            Some(pair) if !self.sign_elsewhere => {
                self.send(conn, AuthRequest::PublicKey { key: pair, algorithm: offered.algorithm })?;
                self.doing = Doing::Signed(offered);
            }
            _ => {
                self.send(
                    conn,
                    AuthRequest::ExternalKey { key: &offered.key, algorithm: offered.algorithm },
                )?;
                self.doing = Doing::Signing { offered, ticket: None };
            }
        }
        Ok(())
    }

    pub(super) fn on_file(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let file = KeyFile::new(self.name_of(way), answer);
        self.on_key_file(conn, way, file)?;
        self.unless_waiting(conn)
    }

    /// What the application calls a key file.
    pub(super) fn name_of(&self, way: usize) -> String {
        match self.candidates.get(way).map(|c| &c.way) {
            Some(Way::Given(LoginMethod::File { name } | LoginMethod::Agent { name })) => name.clone(),
            _ => String::new(),
        }
    }

    /// Offers the key of a file, if there is one.
    pub(super) fn on_key_file(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        file: KeyFile,
    ) -> Result<(), UsageError> {
        let name = file.name;
        let why = match file.bytes {
            Ok(bytes) => match self.load(conn, &bytes) {
                Ok(pair) => return self.offer_pair(conn, way, pair, Some(name)),
                Err(KeyError::Encrypted) => match PrivateKey::public_of(&bytes) {
                    // No passphrase for a key that the server would not take.
                    Ok(public) => {
                        let locked = LockedKey { bytes, public: public.clone() };
                        return self.probe(conn, way, public, name, Some(locked));
                    }
                    Err(error) => format!("{error}"),
                },
                Err(error) => format!("{error}"),
            },
            Err(why) => why,
        };
        self.record(Method::PublicKey, Some((None, Some(name), None)), Outcome::Skipped(why));
        Ok(())
    }

    pub(super) fn load(&self, conn: &ClientConnection, bytes: &[u8]) -> Result<Arc<KeyPair>, KeyError> {
        let key = PrivateKey::load(bytes, None)?;
        Ok(Arc::new(key.key_pair(conn.config().provider)?))
    }

    /// Goes on with the next way if the last one came to nothing before anything was sent.
    pub(super) fn unless_waiting(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        if matches!(self.doing, Doing::Nothing) { self.choose(conn) } else { Ok(()) }
    }

    pub(super) fn on_key_accepted(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        match mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Probing(offered) if offered.locked.is_some() => {
                self.ask_passphrase(offered, 1);
                Ok(())
            }
            Doing::Probing(offered) => self.sign(conn, offered),
            other => {
                self.doing = other;
                Ok(())
            }
        }
    }

    pub(super) fn ask_passphrase(&mut self, offered: Offered, attempt: u32) {
        if let Some(key) = offered.locked.clone() {
            let way = offered.way;
            self.doing = Doing::Passphrase { offered, attempt };
            self.ask(way, Question::Passphrase { key, attempt });
        }
    }

    pub(super) fn on_unlocked(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        attempt: u32,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let error = match answer {
            Answer::Unlocked(Ok(pair)) => {
                return self.sign(conn, Offered { pair: Some(pair), locked: None, ..offered });
            }
            Answer::Unlocked(Err(KeyError::WrongPassphrase)) if attempt < PASSPHRASES => {
                self.ask_passphrase(offered, attempt.saturating_add(1));
                return Ok(());
            }
            Answer::Unlocked(Err(error)) => error,
            // What the last one came to.
            _ if attempt > 1 => KeyError::WrongPassphrase,
            _ => KeyError::Encrypted,
        };
        let file = (None, offered.origin, None);
        self.record(Method::PublicKey, Some(file), Outcome::Skipped(format!("{error}")));
        self.choose(conn)
    }

    pub(super) fn on_sign(&mut self, conn: &mut ClientConnection, new: SignTicket) -> Result<(), UsageError> {
        let Doing::Signing { offered, ticket } = &mut self.doing else { return Ok(()) };
        let Some(request) = conn.sign_request(&new) else { return Ok(()) };
        let (key, algorithm, message) = (request.key.clone(), request.algorithm, request.message.to_vec());
        let (way, pair) = (offered.way, offered.pair.clone());
        let question = match &offered.in_agent {
            Some(blob) => self.agent.sign(blob, algorithm, &message),
            None => Ok(Question::Sign { key, pair, algorithm, message }),
        };
        match question {
            Ok(question) => {
                *ticket = Some(new);
                self.ask(way, question);
                Ok(())
            }
            Err(why) => {
                conn.cancel_signature(new)?;
                if let Doing::Signing { offered, .. } = mem::replace(&mut self.doing, Doing::Nothing) {
                    self.record_offered(&offered, Outcome::Skipped(why));
                }
                self.choose(conn)
            }
        }
    }

    pub(super) fn on_signature(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        ticket: SignTicket,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let signature = match answer {
            Answer::Signature(signature) => Ok(signature),
            answer if offered.in_agent.is_some() => match self.agent.signature(answer) {
                Some(signature) => signature,
                None => {
                    self.ask(offered.way, Question::Agent { send: Vec::new() });
                    self.doing = Doing::Signing { offered, ticket: Some(ticket) };
                    return Ok(());
                }
            },
            _ => Err("the signer gave up".to_owned()),
        };
        let why = match signature {
            Ok(signature) => match conn.provide_signature(ticket, &signature) {
                Ok(()) => {
                    self.doing = Doing::Signed(offered);
                    return Ok(());
                }
                // Nothing was sent; other keys may do better (AC-09).
                Err(UsageError::KeyMismatch) => "what signed made no signature by this key".to_owned(),
                Err(other) => return Err(other),
            },
            Err(why) => {
                conn.cancel_signature(ticket)?;
                why
            }
        };
        self.record_offered(&offered, Outcome::Skipped(why));
        self.choose(conn)
    }

    /// The server said no to a key: the same with another algorithm, or the next way.
    pub(super) fn next_algorithm(
        &mut self,
        conn: &mut ClientConnection,
        offered: Offered,
        probing: bool,
        outcome: Outcome,
    ) -> Result<(), UsageError> {
        let rejected = outcome == Outcome::Rejected;
        self.record_offered(&offered, outcome);
        let mut offered = offered;
        let Some(algorithm) = offered.rest.pop_front().filter(|_| rejected) else { return self.choose(conn) };
        offered.algorithm = algorithm;
        if !probing {
            return self.sign(conn, offered);
        }
        self.send(conn, AuthRequest::ProbeKey { key: &offered.key, algorithm })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }
}
