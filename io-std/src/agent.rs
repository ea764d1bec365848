use std::ffi::OsStr;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use konko_core::agent::{AgentError, Client, Constraints, Identity, Place, Purpose, Reply, places};
use konko_core::client::SessionBinding;
use konko_core::keys::{Certificate, PrivateKey, SignatureAlgorithm};

/// Read at once from an agent.
const READ: usize = 4096;

/// Where an agent is: a socket of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentSocket(PathBuf);

impl AgentSocket {
    /// The socket at this path.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        AgentSocket(path.into())
    }

    /// What `SSH_AUTH_SOCK` names; `None` when it names nothing.
    pub fn from_env() -> Option<Self> {
        Self::named(None)
    }

    /// What the option `IdentityAgent` says (ssh_config(5)): a path, `$` and the name of a variable, `SSH_AUTH_SOCK`, or
    /// `none`. `None` when there is no agent by that. Tokens and `~` are expanded already.
    pub fn named(identity_agent: Option<&OsStr>) -> Option<Self> {
        let env = |name: &[u8]| std::env::var_os(OsStr::from_bytes(name)).map(|v| v.as_bytes().to_vec());
        places(identity_agent.map(OsStr::as_bytes), env, false).into_iter().find_map(|place| match place {
            Place::Socket(path) => Some(AgentSocket(OsStr::from_bytes(&path).into())),
            _ => None,
        })
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl<P: Into<PathBuf>> From<P> for AgentSocket {
    fn from(path: P) -> Self {
        Self::at(path)
    }
}

/// A connection to an agent. Each call asks, and waits for the answer, which may take as long as a person does whom
/// the agent asks.
#[derive(Debug)]
pub struct Agent {
    stream: UnixStream,
    client: Client,
}

/// Why an agent did not do what it was asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum AgentFailure {
    /// The connection to it.
    Io(io::Error),
    /// What came over it.
    Agent(AgentError),
    /// It refused. It does not say why.
    Refused,
}

impl fmt::Display for AgentFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection to the agent: {error}"),
            Self::Agent(error) => error.fmt(f),
            Self::Refused => f.write_str("agent refused operation"),
        }
    }
}

impl std::error::Error for AgentFailure {}

impl From<io::Error> for AgentFailure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<AgentError> for AgentFailure {
    fn from(error: AgentError) -> Self {
        Self::Agent(error)
    }
}

impl Agent {
    /// Connects.
    ///
    /// # Errors
    /// The system's: nobody listens there, or the path is longer than those of sockets are.
    pub fn connect(socket: &AgentSocket) -> io::Result<Self> {
        Ok(Agent { stream: UnixStream::connect(&socket.0)?, client: Client::new() })
    }

    /// Sends these bytes, and reads what comes: some of an answer, or all of it; nothing when the agent has closed the
    /// connection. For whoever drives a [`Login`](konko_core::login::Login).
    ///
    /// # Errors
    /// The system's.
    pub fn exchange(&mut self, send: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(send)?;
        let mut bytes = vec![0; READ];
        loop {
            match self.stream.read(&mut bytes) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => {
                    bytes.truncate(read?);
                    return Ok(bytes);
                }
            }
        }
    }

    fn ask(&mut self) -> Result<Reply, AgentFailure> {
        let mut send = self.client.take_tx();
        loop {
            let said = self.exchange(&send)?;
            if said.is_empty() {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            send.clear();
            match self.client.receive(&said)? {
                None => {}
                Some(Reply::Refused) => return Err(AgentFailure::Refused),
                Some(reply) => return Ok(reply),
            }
        }
    }

    fn done(&mut self, asked: Result<(), AgentError>) -> Result<(), AgentFailure> {
        asked?;
        self.ask().map(drop)
    }

    /// The keys that it has.
    ///
    /// # Errors
    /// What is wrong with the connection or the answer; as for all that follow.
    pub fn identities(&mut self) -> Result<Vec<Identity>, AgentFailure> {
        self.client.list()?;
        match self.ask()? {
            Reply::Identities(list) => Ok(list),
            _ => Ok(Vec::new()),
        }
    }

    /// A signature over `message` by the key of that blob, as an SSH signature blob.
    ///
    /// # Errors
    /// `Refused`; [`AgentError::Algorithm`] when it signed in another way.
    pub fn sign(
        &mut self,
        blob: &[u8],
        algorithm: SignatureAlgorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, AgentFailure> {
        self.client.sign(blob, algorithm, message)?;
        match self.ask()? {
            Reply::Signature(signature) => Ok(signature),
            _ => Err(AgentFailure::Refused),
        }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// `Refused`; what cannot be sent.
    pub fn add(
        &mut self,
        key: &PrivateKey,
        comment: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentFailure> {
        let asked = self.client.add(key, comment, constraints);
        self.done(asked)
    }

    /// Adds a key under a certificate, beside the plain key if that is there.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub fn add_certified(
        &mut self,
        key: &PrivateKey,
        certificate: &Certificate,
        comment: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentFailure> {
        let asked = self.client.add_certified(key, certificate, comment, constraints);
        self.done(asked)
    }

    /// Removes the key of that blob.
    ///
    /// # Errors
    /// `Refused` when it has no such key.
    pub fn remove(&mut self, blob: &[u8]) -> Result<(), AgentFailure> {
        let asked = self.client.remove(blob);
        self.done(asked)
    }

    /// Removes all keys.
    ///
    /// # Errors
    /// `Refused`.
    pub fn remove_all(&mut self) -> Result<(), AgentFailure> {
        let asked = self.client.remove_all();
        self.done(asked)
    }

    /// Locks it with these words.
    ///
    /// # Errors
    /// `Refused` when it is locked.
    pub fn lock(&mut self, passphrase: &[u8]) -> Result<(), AgentFailure> {
        let asked = self.client.lock(passphrase);
        self.done(asked)
    }

    /// Unlocks it.
    ///
    /// # Errors
    /// `Refused` for other words than it was locked with.
    pub fn unlock(&mut self, passphrase: &[u8]) -> Result<(), AgentFailure> {
        let asked = self.client.unlock(passphrase);
        self.done(asked)
    }

    /// Adds the keys of a token (PKCS#11), by the module that reads it.
    ///
    /// # Errors
    /// `Refused`; what cannot be sent.
    pub fn add_token(
        &mut self,
        module: &[u8],
        pin: &[u8],
        constraints: &Constraints,
    ) -> Result<(), AgentFailure> {
        let asked = self.client.add_token(module, pin, constraints);
        self.done(asked)
    }

    /// Removes the keys of a token.
    ///
    /// # Errors
    /// `Refused`.
    pub fn remove_token(&mut self, module: &[u8]) -> Result<(), AgentFailure> {
        let asked = self.client.remove_token(module);
        self.done(asked)
    }

    /// The names of its extensions.
    ///
    /// # Errors
    /// `Refused` by agents that cannot say.
    pub fn extensions(&mut self) -> Result<Vec<Vec<u8>>, AgentFailure> {
        self.client.query()?;
        match self.ask()? {
            Reply::Extensions(names) => Ok(names),
            _ => Ok(Vec::new()),
        }
    }

    /// Binds this connection to a session; see [`Client::bind_session`].
    ///
    /// # Errors
    /// `Refused` by agents that know nothing of it.
    pub fn bind_session(&mut self, to: &SessionBinding<'_>, purpose: Purpose) -> Result<(), AgentFailure> {
        let host_key = to.host_key.to_blob();
        let asked = self.client.bind_session(&host_key, to.session_id, to.signature, purpose);
        self.done(asked)
    }
}
