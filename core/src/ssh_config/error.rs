//! What can be wrong with a configuration, and where.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::value::shown;
use crate::config::LineError;
use crate::text::{Location, TooLarge};

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wrong {
    /// It is no line.
    Line(LineError),
    /// There is no such keyword, and `IgnoreUnknown` does not name it.
    Unknown,
    /// sshd_config(5) has no such keyword.
    UnknownOfServer,
    /// The keyword cannot stand in a `Match` block.
    NotInMatch,
    /// The value is empty.
    Empty,
    /// There are more arguments than the keyword has.
    TooMany,
    /// `none` stands beside others.
    NoneAlone,
    /// The value, and what it should be.
    Value(Vec<u8>, String),
    /// An algorithm of this name is not known.
    Algorithm(Vec<u8>),
    /// A `Host`, `Match` or `Include` where only a value can stand, as on a command line.
    Block,
    /// There is no such condition.
    Criterion(Vec<u8>),
    /// The condition has no argument.
    NoCriterion(Vec<u8>),
    /// `all` stands beside others.
    All,
    /// `Match` without conditions.
    NoCriteria,
    /// A list of networks that is none.
    Networks(Vec<u8>),
    /// A token that this keyword has not.
    Token(Vec<u8>, u8),
    /// A `%` at the end.
    OpenToken(Vec<u8>),
    /// A `${` without its `}`, or with nothing in it.
    OpenVariable(Vec<u8>),
    /// A variable that is not set.
    Variable(Vec<u8>),
    /// There is no such user.
    User(Vec<u8>),
    /// A path from the home folder in the system's configuration.
    IncludeHome(Vec<u8>),
    /// More files include each other than may.
    Depth,
    /// A file includes itself, by these files.
    Cycle(Vec<Vec<u8>>),
    /// A file cannot be read.
    Unreadable(Vec<u8>, String),
    /// A file is too large.
    TooLarge(Vec<u8>, TooLarge),
    /// Others than its owner can write the file, or it belongs to somebody else.
    Unsafe(Vec<u8>),
    /// The file that was asked for is not there.
    Missing(Vec<u8>),
    /// More was asked than one configuration needs.
    Questions,
    /// Nothing is connected to, for this reason.
    Refused(Vec<u8>),
    /// The host's name, or the user's, has characters that none has.
    Name(Vec<u8>),
    /// The host was found in none of its domains.
    Unresolved(Vec<u8>),
    /// The host leads through itself.
    JumpLoop(Vec<u8>),
    /// A command was given, and `RemoteCommand` is another.
    TwoCommands,
    /// A subsystem is wanted on the command line, and none is named.
    NoSubsystem,
    /// To go into the background, a command is needed.
    Background,
    /// `ConnectionAttempts` is 0.
    NoAttempts,
    /// Nothing is left of a list of algorithms.
    NothingLeft,
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Wrong::Line(problem) => problem.fmt(f),
            Wrong::Unknown => f.write_str("Bad configuration option (IgnoreUnknown can name it)"),
            Wrong::UnknownOfServer => f.write_str("Bad configuration option"),
            Wrong::NotInMatch => f.write_str("it is not allowed within a Match block"),
            Wrong::Empty => f.write_str("the value is empty"),
            Wrong::TooMany => f.write_str("there are more arguments than it has"),
            Wrong::NoneAlone => f.write_str("\"none\" must stand alone"),
            Wrong::Value(value, expected) => write!(f, "\"{}\" is not {expected}", shown(value)),
            Wrong::Algorithm(name) => write!(f, "\"{}\" is no algorithm that is known", shown(name)),
            Wrong::Block => f.write_str("it can stand in a file only"),
            Wrong::Criterion(name) => write!(f, "Unsupported Match attribute {}", shown(name)),
            Wrong::NoCriterion(name) => write!(f, "missing argument for Match \"{}\"", shown(name)),
            Wrong::All => f.write_str("\"all\" cannot be combined with other Match attributes"),
            Wrong::NoCriteria => f.write_str("Match needs a condition"),
            Wrong::Networks(list) => write!(f, "\"{}\" is no list of networks", shown(list)),
            Wrong::Token(value, token) => {
                write!(f, "\"{}\": unknown token %{}; %% stands for %", shown(value), shown(&[*token]))
            }
            Wrong::OpenToken(value) => write!(f, "\"{}\": a % at the end; %% stands for %", shown(value)),
            Wrong::OpenVariable(value) => write!(f, "\"{}\": ${{ without a name and }}", shown(value)),
            Wrong::Variable(name) => write!(f, "the variable {} is not set", shown(name)),
            Wrong::User(name) => write!(f, "there is no user {}", shown(name)),
            Wrong::IncludeHome(path) => {
                write!(f, "bad include path {}: the system's configuration has no home", shown(path))
            }
            Wrong::Depth => f.write_str("Too many recursive configuration includes (16)"),
            Wrong::Cycle(files) => {
                f.write_str("it includes itself: ")?;
                for (n, file) in files.iter().enumerate() {
                    write!(f, "{}{}", if n > 0 { " includes " } else { "" }, shown(file))?;
                }
                Ok(())
            }
            Wrong::Unreadable(path, why) => write!(f, "Can't open user config file {}: {why}", shown(path)),
            Wrong::TooLarge(path, problem) => write!(f, "{}: {problem}", shown(path)),
            Wrong::Unsafe(path) => write!(
                f,
                "Bad owner or permissions on {}: it must belong to you or to root, and others must not write it",
                shown(path)
            ),
            Wrong::Missing(path) => {
                write!(f, "Can't open user config file {}: No such file or directory", shown(path))
            }
            Wrong::Questions => f.write_str("it asks for more files, variables and commands than may be"),
            Wrong::Refused(why) => write!(f, "RefuseConnection: {}", shown(why)),
            Wrong::Name(name) => write!(f, "\"{}\" contains invalid characters", shown(name)),
            Wrong::Unresolved(host) => write!(f, "Could not resolve host \"{}\"", shown(host)),
            Wrong::JumpLoop(host) => write!(f, "jumphost loop via {}", shown(host)),
            Wrong::TwoCommands => f.write_str("Cannot execute command-line and remote command."),
            Wrong::NoSubsystem => f.write_str("You must specify a subsystem to invoke."),
            Wrong::Background => f.write_str("Cannot fork into background without a command to execute."),
            Wrong::NoAttempts => f.write_str("Invalid number of ConnectionAttempts"),
            Wrong::NothingLeft => f.write_str("nothing is left of the list of algorithms"),
        }
    }
}

impl core::error::Error for Wrong {}

/// Something that is wrong: where, in which keyword, and what. `Display` is `file:line: keyword: problem`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub(super) at: Option<Location>,
    pub(super) keyword: String,
    pub(super) wrong: Wrong,
}

impl Problem {
    pub(crate) fn new(at: Option<Location>, keyword: impl Into<String>, wrong: Wrong) -> Self {
        Problem { at, keyword: keyword.into(), wrong }
    }

    /// Where it stands; `None` for what the values of several lines come to.
    pub fn at(&self) -> Option<&Location> {
        self.at.as_ref()
    }

    /// The keyword, as it was written; empty where it is not about one.
    pub fn keyword(&self) -> &str {
        &self.keyword
    }

    /// What is wrong.
    pub fn wrong(&self) -> &Wrong {
        &self.wrong
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(at) = &self.at {
            write!(f, "{at}: ")?;
        }
        if !self.keyword.is_empty() {
            write!(f, "{}: ", shown(self.keyword.as_bytes()))?;
        }
        self.wrong.fmt(f)
    }
}

/// Why there is no configuration: all problems of the file in which reading ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub(super) problems: Vec<Problem>,
}

impl ConfigError {
    pub(crate) fn of(problems: Vec<Problem>) -> Self {
        ConfigError { problems }
    }

    /// What is wrong, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if n > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigError {}
