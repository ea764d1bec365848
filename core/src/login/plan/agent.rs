//! The keys in an agent: which, in which order, and what is sent to it.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::{Candidate, Doing, FileName, Login, Offered, Way};
use crate::agent::{Client, Identity, Purpose, Reply};
use crate::auth::Method;
use crate::auth::client::AuthRequest;
use crate::client::ClientConnection;
use crate::error::UsageError;
use crate::keys::{PrivateKey, PublicKey, SignatureAlgorithm};
use crate::login::{Answer, LoginMethod, Outcome, Question};
use crate::wire::SshStr;

/// The connection to the agent, of which there is one a login.
#[derive(Debug, Default)]
pub(super) struct Connection {
    client: Client,
    /// Why it cannot be used any more.
    lost: Option<String>,
}

/// What the agent is asked before its keys are known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Talk {
    Bind,
    List,
}

/// A key that the agent has.
#[derive(Clone, Debug)]
pub(super) struct AgentKey {
    key: PublicKey,
    blob: Vec<u8>,
    origin: String,
    /// A key file names it, too: the file's place and name.
    named: Option<FileName>,
}

/// Key files are read to find their keys in the agent.
#[derive(Debug)]
pub(super) struct Identifying {
    keys: Vec<AgentKey>,
    /// The key file at hand, which does not tell its public half.
    file: Option<KeyFile>,
}

/// A key file that was read.
#[derive(Clone)]
pub(super) struct KeyFile {
    pub(super) name: String,
    /// What stands in it, or why it cannot be read.
    pub(super) bytes: Result<Zeroizing<Vec<u8>>, String>,
    public: Option<PublicKey>,
}

impl fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyFile")
            .field("name", &self.name)
            .field("public", &self.public)
            .finish_non_exhaustive()
    }
}

impl KeyFile {
    pub(super) fn new(name: String, answer: Answer) -> Self {
        let bytes = match answer {
            Answer::File(Ok(bytes)) => Ok(Zeroizing::new(bytes)),
            Answer::File(Err(why)) => Err(why),
            _ => Err("it was not read".to_owned()),
        };
        let public = bytes.as_ref().ok().and_then(|bytes| {
            // A public key may stand for the private one that the agent has.
            PrivateKey::public_of(bytes).ok().or_else(|| public_line(bytes))
        });
        KeyFile { name, bytes, public }
    }
}

/// The first key of a `.pub` file.
fn public_line(bytes: &[u8]) -> Option<PublicKey> {
    PublicKey::from_openssh_line(bytes.trim_ascii()).ok().map(|(key, _)| key)
}

impl Connection {
    fn lose(&mut self, why: String) -> String {
        self.lost.get_or_insert(why).clone()
    }

    /// What to ask the application, to send what the client has for the agent.
    fn question(&mut self) -> Question {
        Question::Agent { send: self.client.take_tx().to_vec() }
    }

    /// The agent's answer, or why there is none; `None` when it has not come whole.
    fn reply(&mut self, answer: Answer) -> Option<Result<Reply, String>> {
        let said = match answer {
            Answer::Agent(Ok(bytes)) if bytes.is_empty() => {
                Err("the agent has closed the connection".to_owned())
            }
            Answer::Agent(said) => said,
            _ => Err("there is no agent".to_owned()),
        };
        Some(match said.map(|bytes| self.client.receive(&bytes)) {
            Ok(Ok(reply)) => Ok(reply?),
            Ok(Err(error @ crate::agent::AgentError::Algorithm { .. })) => Err(error.to_string()),
            Ok(Err(error)) => Err(self.lose(error.to_string())),
            Err(why) => Err(self.lose(why)),
        })
    }

    /// Asks for a signature; or says why it cannot be asked for.
    pub(super) fn sign(
        &mut self,
        blob: &[u8],
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Question, String> {
        self.client.sign(blob, algorithm, message).map_err(|error| error.to_string())?;
        Ok(self.question())
    }

    /// The signature, or why there is none; `None` when it has not come whole.
    pub(super) fn signature(&mut self, answer: Answer) -> Option<Result<Vec<u8>, String>> {
        Some(match self.reply(answer)? {
            Ok(Reply::Signature(signature)) => Ok(signature),
            Ok(_) => Err("the agent refused to sign".to_owned()),
            Err(why) => Err(why),
        })
    }
}

impl Login {
    /// Binds the agent to the session, so that it knows where its keys are used, and asks for them.
    pub(super) fn begin_agent(&mut self, conn: &ClientConnection, way: usize) {
        let talk = match conn.session_binding() {
            Some(to) => {
                let host_key = to.host_key.to_blob();
                let client = &mut self.agent.client;
                let asked = client.bind_session(&host_key, to.session_id, to.signature, Purpose::Login);
                asked.map(|()| Talk::Bind)
            }
            None => self.agent.client.list().map(|()| Talk::List),
        };
        // Nothing waits for an answer yet, and nothing is too long.
        let Ok(talk) = talk else { return };
        self.ask_agent(way, talk);
    }

    fn ask_agent(&mut self, way: usize, talk: Talk) {
        let question = self.agent.question();
        self.ask(way, question);
        self.doing = Doing::Agent(way, talk);
    }

    pub(super) fn on_agent(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        talk: Talk,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let why = match (talk, self.agent.reply(answer)) {
            (_, None) => {
                self.ask_agent(way, talk);
                return Ok(());
            }
            // Agents that know nothing of it, which are most, refuse.
            (Talk::Bind, Some(Ok(_))) => match self.agent.client.list() {
                Ok(()) => {
                    self.ask_agent(way, Talk::List);
                    return Ok(());
                }
                Err(error) => error.to_string(),
            },
            (Talk::List, Some(Ok(Reply::Identities(list)))) => return self.on_keys(conn, way, list),
            (Talk::List, Some(Ok(_))) => "the agent does not say which keys it has".to_owned(),
            (_, Some(Err(why))) => why,
        };
        let key = (None, Some(self.name_of(way)), None);
        self.record(Method::PublicKey, Some(key), Outcome::Skipped(why));
        self.choose(conn)
    }

    fn on_keys(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        list: Vec<Identity>,
    ) -> Result<(), UsageError> {
        let agent = self.name_of(way);
        let mut keys = Vec::new();
        for Identity { blob, comment, key } in list {
            let origin = format!("{agent}: {}", SshStr::new(&comment).excerpt(100));
            match key {
                Some(key) => keys.push(AgentKey { key, blob, origin, named: None }),
                None => {
                    let kind = crate::wire::Reader::new(&blob).string().unwrap_or_default();
                    let why = format!("keys of type {} are not known here", SshStr::new(kind).excerpt(64));
                    self.record(Method::PublicKey, Some((None, Some(origin), None)), Outcome::Skipped(why));
                }
            }
        }
        if keys.is_empty() {
            return self.choose(conn);
        }
        self.identify(conn, way, Identifying { keys, file: None })
    }

    /// Reads the next key file that nobody has read; after the last one the order is known.
    fn identify(
        &mut self,
        conn: &mut ClientConnection,
        agent: usize,
        identifying: Identifying,
    ) -> Result<(), UsageError> {
        let unread = |c: &Candidate| !c.done && matches!(c.way, Way::Given(LoginMethod::File { .. }));
        if let Some(way) = self.candidates.iter().position(unread) {
            self.ask(way, Question::KeyFile);
            self.doing = Doing::Identify(way, identifying);
            return Ok(());
        }
        self.order(agent, identifying.keys);
        self.choose(conn)
    }

    pub(super) fn on_identified(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        mut identifying: Identifying,
        answer: Answer,
    ) -> Result<(), UsageError> {
        let file = match identifying.file.take() {
            // It was the public key beside it.
            Some(mut file) => {
                if let Answer::File(Ok(bytes)) = answer {
                    file.public = public_line(&bytes);
                }
                file
            }
            None => {
                let file = KeyFile::new(self.name_of(way), answer);
                if file.public.is_none() {
                    self.ask(way, Question::PublicKeyFile);
                    identifying.file = Some(file);
                    self.doing = Doing::Identify(way, identifying);
                    return Ok(());
                }
                file
            }
        };
        if let Some(candidate) = self.candidates.get_mut(way) {
            candidate.way = Way::Read(file);
        }
        let is_agent = |c: &Candidate| c.done && matches!(c.way, Way::Given(LoginMethod::Agent { .. }));
        let agent = self.candidates.iter().rposition(is_agent).unwrap_or(0);
        self.identify(conn, agent, identifying)
    }

    /// Puts the agent's keys behind the agent: those that key files name first, in place of the files.
    fn order(&mut self, agent: usize, mut keys: Vec<AgentKey>) {
        for key in &mut keys {
            let names = |c: &&mut Candidate| {
                !c.done && matches!(&c.way, Way::Read(file) if file.public.as_ref() == Some(&key.key))
            };
            if let Some(candidate) = self.candidates.iter_mut().find(names) {
                if let Way::Read(file) = &candidate.way {
                    key.origin = format!("{} ({})", file.name, key.origin);
                    key.named = Some(FileName { place: candidate.place, name: file.name.clone() });
                }
                candidate.done = true;
            }
        }
        keys.retain(|key| key.named.is_some() || !self.identities_only);
        keys.sort_by_key(|key| key.named.is_none());
        let place = self.candidates.get(agent).map_or(agent, |candidate| candidate.place);
        let at = agent.saturating_add(1).min(self.candidates.len());
        let new =
            keys.into_iter().map(|key| Candidate { place, way: Way::AgentKey(key), used: 0, done: false });
        self.candidates.splice(at..at, new);
    }

    /// What is tried next: the first that is left, unless it would cost the tries that others need.
    pub(super) fn next(&self) -> Option<usize> {
        let left = |c: &Candidate| !c.done && self.allowed(&c.way);
        let first = self.candidates.iter().position(left)?;
        let unnamed = |c: &Candidate| matches!(&c.way, Way::AgentKey(key) if key.named.is_none());
        let Some(limit) = self.attempt_limit.filter(|_| self.candidates.get(first).is_some_and(unnamed))
        else {
            return Some(first);
        };
        let others = |c: &&Candidate| left(c) && !unnamed(c);
        let person = |c: &Candidate| matches!(&c.way, Way::Given(way) if way.takes_a_person());
        let keys = self.candidates.iter().filter(others).filter(|c| !person(c)).count();
        let person = self.candidates.iter().filter(others).any(person);
        let wanted = u32::try_from(keys).unwrap_or(u32::MAX).saturating_add(u32::from(person));
        if wanted == 0 || self.failures().saturating_add(wanted) < limit {
            return Some(first);
        }
        self.candidates.iter().position(|c| left(c) && !unnamed(c))
    }

    /// Failures that the server has counted: every no but the first to `none` (OpenSSH auth2.c).
    fn failures(&self) -> u32 {
        let counted = |a: &&super::Attempt| a.outcome == Outcome::Rejected && a.method != Method::None;
        u32::try_from(self.attempts.iter().filter(counted).count()).unwrap_or(u32::MAX)
    }

    pub(super) fn try_agent_key(
        &mut self,
        conn: &mut ClientConnection,
        way: usize,
        AgentKey { key, blob, origin, named }: AgentKey,
    ) -> Result<(), UsageError> {
        if let Some(why) = self.agent.lost.clone() {
            let key = (Some(&key), Some(origin), None);
            self.record(Method::PublicKey, Some(key), Outcome::Skipped(why));
            return Ok(());
        }
        let Some(offered) = self.offered(conn, way, key, Some(origin)) else { return Ok(()) };
        // The certificate beside the file is the key's as well.
        let file = named.filter(|_| !offered.key.is_certificate());
        let offered = Offered { in_agent: Some(blob), file, ..offered };
        self.send(conn, AuthRequest::ProbeKey { key: &offered.key, algorithm: offered.algorithm })?;
        self.doing = Doing::Probing(offered);
        Ok(())
    }
}
