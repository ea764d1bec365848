//! How a user gets in: which proof is tried, in which order, and what is asked for it.
//!
//! A [`Login`] stands beside the connection. It takes the connection's events, sends the requests, and
//! asks what only the application knows: a password, a key file, an answer. Whoever drives the connection,
//! a thread or an event loop, only carries questions and answers:
//!
//! ```
//! # use konko_core::{ClientConnection, ClientEvent, UsageError};
//! # use konko_core::login::{Answer, Login, Question};
//! # use konko_core::client::Password;
//! fn on_event(conn: &mut ClientConnection, login: &mut Login, event: ClientEvent<'_>) -> Result<(), UsageError> {
//!     let Some(event) = login.event(conn, event) else {
//!         // It was the login's. Is there something to ask now?
//!         while let Some(asked) = login.question() {
//!             let answer = match asked.question {
//!                 Question::Password { .. } => Answer::Secret(Password::new("wonderland")),
//!                 _ => Answer::No,
//!             };
//!             login.answer(conn, answer)?;
//!         }
//!         return Ok(());
//!     };
//!     // Everything else that happens on the connection.
//! #   let _ = event;
//!     Ok(())
//! }
//! ```
//!
//! What the server does not take is skipped; a server that does not say what it takes is tried with all.
//! Nobody is asked for what the server would not take: before the first question to a person, the request
//! `none` learns the methods (RFC 4252 §5.2), and a key whose private half is locked or elsewhere is
//! offered first (§7). After a partial success the rest goes on, so a chain such as key and then password
//! is just both of them.
//!
//! An agent is asked by the login itself: whoever drives it carries the bytes ([`Question::Agent`]). Its keys come in
//! OpenSSH's order (sshconnect2.c `pubkey_prepare`): where the agent stands in the list, first those of its keys that
//! key files of the list name as well, then its others; a key file whose key the agent has is not used itself. What
//! an agent refuses is reported, and the next key is tried.

mod plan;
mod report;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

pub use plan::Login;
pub use report::{Attempt, AuthFailure, LoggedIn, Outcome};
use zeroize::Zeroizing;

use crate::auth::Method;
use crate::auth::client::Password;
use crate::crypto::Provider;
use crate::keys::{KeyError, KeyPair, PrivateKey, PublicKey, SignatureAlgorithm};

/// Passphrases that are asked for, a file: OpenSSH `NumberOfPasswordPrompts`.
const PASSPHRASES: u32 = 3;
/// Failures after which most servers end the connection: OpenSSH `MaxAuthTries`.
const ATTEMPT_LIMIT: u32 = 6;
/// New passwords that a server may refuse. A person gives up before; a program that always says the same
/// must not run into the limit of requests.
const NEW_PASSWORDS: u32 = 16;

/// One way to prove who the user is.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum LoginMethod {
    /// No proof at all. Some devices let everybody in and ask later.
    None,
    /// A key that is here.
    Key(Arc<KeyPair>),
    /// A private key that is read when its turn has come.
    File {
        /// What a person calls it; it stands in the report.
        name: String,
    },
    /// The same, offered under a certificate alone, which is asked for too (`CertificateFile` of ssh_config(5)).
    CertifiedFile {
        /// What a person calls it; it stands in the report.
        name: String,
    },
    /// A key that is elsewhere, in an agent or a token. The server is asked first whether it would take it.
    External {
        /// The public half.
        key: PublicKey,
        /// Where it is; it stands in the report.
        origin: String,
    },
    /// The keys in an agent ([`Question::Agent`]), certificates among them. Put it before the key files.
    Agent {
        /// Where it is; it stands in the report.
        name: String,
    },
    /// This host vouches for its user (`hostbased`, RFC 4252 §9), with its own key.
    HostBased {
        /// The host's key.
        key: Arc<KeyPair>,
        /// The host's name, as the server knows its key by.
        host: Vec<u8>,
        /// The user on this host.
        user: Vec<u8>,
    },
    /// A password, and a new one if it has expired. It also answers a keyboard-interactive server that
    /// asks one hidden question.
    Password {
        /// How often a person is asked.
        tries: u32,
    },
    /// Answers to whatever the server asks (RFC 4256).
    Interactive {
        /// How often it is begun.
        tries: u32,
    },
}

impl LoginMethod {
    /// The method that it is of, in the first place.
    pub const fn method(&self) -> Method {
        match self {
            LoginMethod::None => Method::None,
            LoginMethod::Key(_)
            | LoginMethod::File { .. }
            | LoginMethod::CertifiedFile { .. }
            | LoginMethod::External { .. }
            | LoginMethod::Agent { .. } => Method::PublicKey,
            LoginMethod::HostBased { .. } => Method::HostBased,
            LoginMethod::Password { .. } => Method::Password,
            LoginMethod::Interactive { .. } => Method::KeyboardInteractive,
        }
    }

    /// Somebody may have to type something for it.
    const fn takes_a_person(&self) -> bool {
        matches!(self, LoginMethod::Password { .. } | LoginMethod::Interactive { .. })
    }
}

/// Something that the application is asked, for one of its ways.
#[derive(Debug)]
#[must_use = "the login waits for the answer"]
pub struct Asked {
    /// Which of the ways, by its place in the list.
    pub way: usize,
    /// What.
    pub question: Question,
}

/// What the application is asked. [`Answer::No`] answers everything: that way is given up then.
#[derive(Debug)]
#[non_exhaustive]
pub enum Question {
    /// The bytes of a key file: [`Answer::File`].
    KeyFile,
    /// The bytes of the public key beside a key file, in the file of the same name with `.pub`: [`Answer::File`]. It is
    /// asked for when the key file does not tell its public half, to find the key in an agent.
    PublicKeyFile,
    /// Send these bytes to the agent, which may be none, then read what it says, some or all of it:
    /// [`Answer::Agent`]. All questions of a login are for the same connection to the agent, which is made with the
    /// first and ends with the login.
    Agent {
        /// What to send.
        send: Vec<u8>,
    },
    /// The bytes of the file of a certificate for the key of the last key file: [`Answer::File`], or [`Answer::No`] if there is
    /// none. Of [`LoginMethod::File`] it is asked when the server has not taken the key without one, as OpenSSH does it; the
    /// file is the key's with `-cert.pub` behind its name.
    CertificateFile,
    /// The passphrase of a key that the server would take. Unlock it, which takes as much time as the file's author
    /// chose, 100 to 200 ms as a rule, and give what comes of it: [`Answer::Unlocked`].
    Passphrase {
        /// The key file.
        key: LockedKey,
        /// From 1.
        attempt: u32,
    },
    /// A signature by a key that is elsewhere, or that [`Login::sign_elsewhere`] is for: [`Answer::Signature`].
    Sign {
        /// The key.
        key: PublicKey,
        /// Its private half, if it is here.
        pair: Option<Arc<KeyPair>>,
        /// How to sign. An agent is told by its flags; the signature that comes back is checked.
        algorithm: SignatureAlgorithm,
        /// What to sign, as it is: hashing belongs to the algorithm.
        message: Vec<u8>,
    },
    /// The user's password: [`Answer::Secret`].
    Password {
        /// From 1.
        attempt: u32,
    },
    /// The password was right but has expired; a new one: [`Answer::Secret`]. Asked again when the server
    /// does not like the new one.
    NewPassword {
        /// The server's text, escaped but for ends of lines and tabs: that the password has expired, or what is
        /// wrong with the last new one.
        text: String,
    },
    /// One round of the server's questions: [`Answer::Texts`], as many as there are.
    Prompts(Questions),
}

/// One round of questions (RFC 4256 §3.2). The texts are from the peer, as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Questions {
    /// Title; may be empty.
    pub name: String,
    /// What to do; may be empty.
    pub instruction: String,
    /// The questions; may be none.
    pub questions: Vec<Prompt>,
}

/// One question of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Prompt {
    /// The text; from the peer, as it is. Escape it before it reaches a terminal.
    pub prompt: String,
    /// Whether the answer may be shown while it is typed.
    pub echo: bool,
}

/// What the application answers.
#[non_exhaustive]
pub enum Answer {
    /// Nothing: that way is given up.
    No,
    /// A password.
    Secret(Password),
    /// A key file: its bytes, or why there are none, for the report.
    File(Result<Vec<u8>, String>),
    /// What the agent said, at least one byte; or why there is none, for the report.
    Agent(Result<Vec<u8>, String>),
    /// What came of [`LockedKey::unlock`].
    Unlocked(Result<Arc<KeyPair>, KeyError>),
    /// A signature as SSH encodes it (RFC 4253 §6.6).
    Signature(Vec<u8>),
    /// Answers to the server's questions, as bytes: they should be UTF-8 (RFC 4256 §3.4), and are sent as they are.
    Texts(Vec<Password>),
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Answer::No => "No",
            Answer::Secret(_) => "Secret(..)",
            Answer::File(_) => "File(..)",
            Answer::Agent(_) => "Agent(..)",
            Answer::Unlocked(_) => "Unlocked(..)",
            Answer::Signature(_) => "Signature(..)",
            Answer::Texts(_) => "Texts(..)",
        })
    }
}

/// A private key that wants a passphrase.
#[derive(Clone)]
pub struct LockedKey {
    bytes: Zeroizing<Vec<u8>>,
    public: PublicKey,
}

impl LockedKey {
    /// The public half, which needs no passphrase.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The key, ready to sign.
    ///
    /// # Errors
    ///
    /// [`KeyError::WrongPassphrase`], and what else may be wrong with a key file.
    pub fn unlock(&self, passphrase: &Password, provider: &dyn Provider) -> Result<Arc<KeyPair>, KeyError> {
        let key = PrivateKey::load(&self.bytes, Some(passphrase.expose()))?;
        Ok(Arc::new(key.key_pair(provider)?))
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LockedKey({})", self.public.key_type())
    }
}
