//! Keys: those that are here, in files, and elsewhere.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use crate::auth::Method;
use crate::auth::client::{AuthRequest, HostClaim, SignTicket};
use crate::client::ClientConnection;
use crate::crypto::HashAlgorithm;
use crate::error::UsageError;
use crate::keys::{Certificate, CertificateKind, KeyError, KeyPair, PrivateKey, PublicKey};
use crate::login::{Answer, Asked, LockedKey, LoginMethod, Outcome, PASSPHRASES, Question};

use super::agent::KeyFile;
use super::{Doing, FileKey, FileName, Login, Offered, Way};

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
        let file = None;
        Some(Offered {
            way,
            key,
            pair: None,
            origin,
            algorithm,
            rest,
            in_agent: None,
            guessed,
            file,
            locked: None,
        })
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
    ) -> Result<(), UsageError> {
        let Some(offered) = self.offered(conn, way, key, Some(origin)) else { return Ok(()) };
        self.probe_offered(conn, offered)
    }

    fn probe_offered(&mut self, conn: &mut ClientConnection, offered: Offered) -> Result<(), UsageError> {
        self.send(conn, AuthRequest::ProbeKey { key: &offered.key, algorithm: offered.algorithm })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }

    /// A key of this host, for its user. Which algorithms a server takes of hosts it does not say: server-sig-algs is
    /// about users (RFC 8308 §3.1).
    pub(super) fn vouch(
        &mut self,
        conn: &mut ClientConnection,
        key: &Arc<KeyPair>,
        claim: HostClaim<'_>,
    ) -> Result<(), UsageError> {
        let public = key.public();
        let algorithm = conn.config().algorithms.user_key.iter().copied().find(|a| public.fits(*a));
        let Some(algorithm) = algorithm else {
            let why = "the policy has no algorithm for it (HostbasedAcceptedAlgorithms)";
            self.record(
                Method::HostBased,
                Some((Some(public), None, None)),
                Outcome::Skipped(why.to_owned()),
            );
            return Ok(());
        };
        self.send(conn, AuthRequest::HostBased { key, algorithm, claim })?;
        self.doing = Doing::Vouched(public.clone(), algorithm);
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
            Some(Way::Given(
                LoginMethod::File { name }
                | LoginMethod::CertifiedFile { name }
                | LoginMethod::Agent { name },
            )) => name.clone(),
            _ => String::new(),
        }
    }

    /// Offers the key of a file, if there is one, or asks for the certificate under which it is to be offered.
    pub(super) fn on_key_file(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        file: KeyFile,
    ) -> Result<(), UsageError> {
        let candidate = self.candidates.get(way);
        let certified =
            candidate.is_some_and(|c| matches!(c.way, Way::Given(LoginMethod::CertifiedFile { .. })));
        let name = FileName { place: candidate.map_or(way, |c| c.place), name: file.name };
        match file.bytes.and_then(|bytes| self.load(conn, bytes).map_err(|error| format!("{error}"))) {
            Ok(key) if certified => self.ask_certificate(way, name, key),
            Ok(key) => return self.offer_file(conn, way, name, key, None),
            Err(why) => {
                let key = (None, Some(name.name), None);
                self.record(Method::PublicKey, Some(key), Outcome::Skipped(why));
            }
        }
        Ok(())
    }

    /// Offers the key of a file, or its certificate.
    fn offer_file(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        name: FileName,
        key: FileKey,
        certificate: Option<PublicKey>,
    ) -> Result<(), UsageError> {
        let file = certificate.is_none().then(|| name.clone());
        let public = certificate.unwrap_or_else(|| key.public().clone());
        let Some(offered) = self.offered(conn, way, public, Some(name.name)) else { return Ok(()) };
        let offered = Offered { file, ..offered };
        match key {
            FileKey::Ready(pair) => match under(pair, &offered.key) {
                Some(pair) => self.sign(conn, Offered { pair: Some(pair), ..offered }),
                None => Ok(()),
            },
            // No passphrase for a key that the server would not take.
            FileKey::Locked(locked) => self.probe_offered(conn, Offered { locked: Some(locked), ..offered }),
            FileKey::InAgent(_, blob) => {
                self.probe_offered(conn, Offered { in_agent: Some(blob), ..offered })
            }
        }
    }

    fn ask_certificate(&mut self, way: usize, name: FileName, key: FileKey) {
        self.question = Some(Asked { way: name.place, question: Question::CertificateFile });
        self.doing = Doing::Certificate { way, name, key };
    }

    /// A certificate beside the key file, or not.
    pub(super) fn on_certificate(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        name: FileName,
        key: FileKey,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let certificate = match answer {
            Answer::File(Ok(bytes)) => Some(certificate_for(key.public(), &bytes)),
            Answer::File(Err(why)) => Some(Err(why)),
            _ => None,
        };
        match certificate {
            Some(Ok(certificate)) => self.offer_file(conn, way, name, key, Some(certificate))?,
            Some(Err(why)) => {
                let why = Outcome::Skipped(format!("its certificate: {why}"));
                self.record(Method::PublicKey, Some((None, Some(name.name), None)), why);
            }
            None => {}
        }
        self.unless_waiting(conn)
    }

    fn load(
        &self,
        conn: &ClientConnection,
        bytes: zeroize::Zeroizing<alloc::vec::Vec<u8>>,
    ) -> Result<FileKey, KeyError> {
        match PrivateKey::load(&bytes, None) {
            Ok(key) if key.public().key_type().is_security_key() => Err(KeyError::OnSecurityKey),
            Ok(key) => Ok(FileKey::Ready(Arc::new(key.key_pair(conn.config().provider)?))),
            Err(KeyError::Encrypted) => {
                let public = PrivateKey::public_of(&bytes)?;
                if public.key_type().is_security_key() {
                    return Err(KeyError::OnSecurityKey);
                }
                Ok(FileKey::Locked(LockedKey { bytes, public }))
            }
            Err(error) => Err(error),
        }
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
            Answer::Unlocked(Ok(pair)) => match under(pair, &offered.key) {
                Some(pair) => {
                    return self.sign(conn, Offered { pair: Some(pair), locked: None, ..offered });
                }
                None => KeyError::OtherKey,
            },
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
        let Some(algorithm) = offered.rest.pop_front().filter(|_| rejected) else {
            // The key alone will not do. Would it, under a certificate?
            let public = offered.key;
            let in_agent = offered.in_agent.map(|blob| FileKey::InAgent(public, blob));
            let here = offered.pair.map(FileKey::Ready).or(offered.locked.map(FileKey::Locked));
            let key = here.or(in_agent);
            return match (offered.file, key) {
                (Some(name), Some(key)) if rejected => {
                    self.ask_certificate(offered.way, name, key);
                    Ok(())
                }
                _ => self.choose(conn),
            };
        };
        offered.algorithm = algorithm;
        if !probing {
            return self.sign(conn, offered);
        }
        self.send(conn, AuthRequest::ProbeKey { key: &offered.key, algorithm })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }
}

impl FileKey {
    fn public(&self) -> &PublicKey {
        match self {
            FileKey::Ready(pair) => pair.public(),
            FileKey::Locked(locked) => locked.public(),
            FileKey::InAgent(public, _) => public,
        }
    }
}

/// The pair under the certificate that is offered, if one is.
fn under(pair: Arc<KeyPair>, offered: &PublicKey) -> Option<Arc<KeyPair>> {
    if !offered.is_certificate() {
        return Some(pair);
    }
    pair.certified(offered).ok().map(Arc::new)
}

/// The certificate of a file, if it is a user's and for this key.
fn certificate_for(key: &PublicKey, bytes: &[u8]) -> Result<PublicKey, String> {
    let (certificate, _) = Certificate::from_openssh_line(bytes).map_err(|error| format!("{error}"))?;
    if certificate.kind() != CertificateKind::User {
        return Err("it is not a user certificate".to_owned());
    }
    if certificate.key() != key {
        return Err(format!("{}", KeyError::OtherKey));
    }
    Ok(certificate.public().clone())
}
