//! The lookup of one host's configuration, as questions.

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::canonical;
use super::config::Config;
use super::error::{ConfigError, Problem, Wrong};
use super::reader::Reader;
use super::request::Request;

/// Questions that one configuration may ask.
const MAX_QUESTIONS: usize = 4096;

/// What an adapter is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Question {
    /// What this file holds: [`Answer::File`].
    File {
        /// Its path.
        path: Vec<u8>,
        /// It must belong to the user or to root, and nobody else may write it; else it is [`Found::Unsafe`].
        private: bool,
    },
    /// The files that this pattern of paths fits (glob(7)), in order: [`Answer::Files`]. Each is as private as above.
    Files(Vec<u8>),
    /// Whether this command succeeds, run by the user's shell, with nothing to read and nothing written to standard
    /// output: [`Answer::Succeeded`].
    Run(Vec<u8>),
    /// The addresses of this machine's interfaces that are up: [`Answer::Addresses`].
    Interfaces,
    /// Whether the system's resolver finds this name, and the name that it stands for then: [`Answer::Resolved`].
    Resolve {
        /// The name.
        name: Vec<u8>,
        /// IPv4 or IPv6 alone (`AddressFamily`).
        family: Option<Family>,
    },
    /// The value of this variable of the environment: [`Answer::Bytes`].
    Variable(Vec<u8>),
    /// The home folder of this user: [`Answer::Bytes`].
    Home(Vec<u8>),
    /// The TCP port of this service (services(5)), as digits: [`Answer::Bytes`].
    Service(Vec<u8>),
}

/// A family of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4
    Inet,
    /// IPv6
    Inet6,
}

/// What an adapter answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing: no such file, variable, user, service, name or interface; the command failed. What fits no question
    /// counts as this.
    No,
    /// What was found in the place of a file.
    File(Found),
    /// The files that fit, each with its path.
    Files(Vec<(Vec<u8>, Found)>),
    /// Whether the command ended with status 0.
    Succeeded(bool),
    /// Addresses of interfaces.
    Addresses(Vec<IpAddr>),
    /// The name was found, and stands for this one.
    Resolved {
        /// The canonical name (`AI_CANONNAME`); empty if the resolver does not say.
        canonical: Vec<u8>,
    },
    /// The value.
    Bytes(Vec<u8>),
}

/// What is found in the place of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Found {
    /// Nothing.
    Missing,
    /// All its bytes.
    Bytes(Vec<u8>),
    /// Something that others can write, or that belongs to somebody else.
    Unsafe,
    /// Something that cannot be read, and why.
    Unreadable(String),
}

/// Why reading does not go on now.
#[derive(Debug)]
pub(super) enum Stop {
    Ask(Question),
    Wrong(Wrong),
    Failed(ConfigError),
}

impl From<Wrong> for Stop {
    fn from(wrong: Wrong) -> Self {
        Stop::Wrong(wrong)
    }
}

/// What has been answered.
#[derive(Debug, Default)]
pub(super) struct Answers(BTreeMap<Question, Answer>);

impl Answers {
    pub(super) fn insert(&mut self, question: Question, answer: Answer) {
        self.0.insert(question, answer);
    }

    pub(super) fn get(&self, question: Question) -> Result<&Answer, Stop> {
        self.0.get(&question).ok_or(Stop::Ask(question))
    }

    pub(super) fn bytes(&self, question: Question) -> Result<Option<&[u8]>, Stop> {
        Ok(match self.get(question)? {
            Answer::Bytes(bytes) => Some(bytes),
            _ => None,
        })
    }
}

/// The configuration of one login while it is looked up. As long as there is a [`question`](Self::question),
/// answer.
///
/// Each question comes once; what was answered stays so, also where the configuration is read a second time
/// (`CanonicalizeHostname`, `Match final`).
///
/// ```
/// use konko_core::ssh_config::{Answer, Found, Local, Lookup, Question, Request};
///
/// let local = Local::new("alice", "/home/alice", 1000, "desk.example.org");
/// let mut lookup = Lookup::new(Request::new(local, "build"));
/// while let Some(question) = lookup.question() {
///     let answer = match question {
///         Question::File { path, .. } if path == b"/home/alice/.ssh/config" => {
///             Answer::File(Found::Bytes(b"Host build\n HostName build7.example.org\n Port 2222\n".to_vec()))
///         }
///         _ => Answer::No,
///     };
///     lookup.answer(answer);
/// }
/// let config = lookup.finish()?;
/// assert_eq!((config.host_name(), config.port()), (&b"build7.example.org"[..], 2222));
/// assert_eq!(config.settings("Port")[0].at().unwrap().to_string(), "/home/alice/.ssh/config:3");
/// # Ok::<(), konko_core::ssh_config::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Lookup {
    request: Request,
    answers: Answers,
    asked: Option<Question>,
    done: Option<Result<Box<Config>, ConfigError>>,
}

impl Lookup {
    /// Nothing is read yet.
    pub fn new(request: Request) -> Self {
        let mut lookup = Lookup { request, answers: Answers::default(), asked: None, done: None };
        lookup.advance();
        lookup
    }

    /// What is to be found out now; `None` when nothing is left.
    pub fn question(&self) -> Option<Question> {
        self.asked.clone()
    }

    /// The answer. Without a question, it changes nothing.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(question) = self.asked.take() {
            self.answers.insert(question, answer);
            self.advance();
        }
    }

    /// What the configuration is.
    ///
    /// # Errors
    /// What is wrong with it. A question that was not answered counts as [`Answer::No`].
    pub fn finish(mut self) -> Result<Config, ConfigError> {
        while self.asked.is_some() {
            self.answer(Answer::No);
        }
        match self.done {
            Some(done) => done.map(|config| *config),
            None => Err(whole(Wrong::Questions)),
        }
    }

    /// Reads from the beginning with what is answered. Questions are few, and nothing has to be kept in between.
    fn advance(&mut self) {
        self.done = match run(&self.request, &self.answers) {
            Ok(config) => Some(Ok(Box::new(config))),
            Err(Stop::Ask(_)) if self.answers.0.len() >= MAX_QUESTIONS => Some(Err(whole(Wrong::Questions))),
            Err(Stop::Ask(question)) => {
                self.asked = Some(question);
                None
            }
            Err(Stop::Wrong(wrong)) => Some(Err(whole(wrong))),
            Err(Stop::Failed(error)) => Some(Err(error)),
        };
    }
}

fn whole(wrong: Wrong) -> ConfigError {
    ConfigError { problems: alloc::vec![Problem::new(None, "", wrong)] }
}

/// As `ssh.c`, `main`, from the command line to the defaults.
fn run(request: &Request, answers: &Answers) -> Result<Config, Stop> {
    let mut reader = Reader::new(request, answers);
    reader.command_line()?;
    reader.files()?;
    let host = canonical::host(&reader)?;
    let again = reader.wants_final_pass() || reader.canonicalizes();
    if again {
        reader.second_pass(&host);
        reader.files()?;
    }
    Config::finish(reader, host)
}
