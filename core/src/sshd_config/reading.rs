use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Entry, MatchBlock, ServerConfig, check, is_known, may_match};
use crate::config::Line;
use crate::ssh_config::matching::criteria;
use crate::ssh_config::{Answer, ConfigError, Found, LIMITS, Problem, Question, Wrong};
use crate::text::{Location, MAX_WARNINGS, lines};

/// Files that include each other, at most (`SERVCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;
/// Files, at most.
const MAX_QUESTIONS: usize = 256;
/// Where files stand whose path says nothing else (`SSHDIR`).
const FOLDER: &[u8] = b"/etc/ssh/";

const WITH_EQUALS: &[&str] =
    &["user", "group", "host", "address", "localaddress", "localport", "rdomain", "version"];

/// The files of a server's configuration while they are read. As long as there is a [`question`](Self::question),
/// answer: it is for a file, or for the files that a pattern of `Include` fits.
#[derive(Debug)]
pub struct Reading {
    path: Vec<u8>,
    answers: BTreeMap<Question, Answer>,
    asked: Option<Question>,
    done: Option<Result<ServerConfig, ConfigError>>,
}

/// A question, or what is wrong.
enum Stop {
    Ask(Question),
    Failed(ConfigError),
}

impl Reading {
    /// Of this file, which must be there.
    pub fn new(path: impl Into<Vec<u8>>) -> Self {
        let mut reading = Reading { path: path.into(), answers: BTreeMap::new(), asked: None, done: None };
        reading.advance();
        reading
    }

    /// What is to be read now; `None` when nothing is left.
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

    /// The configuration.
    ///
    /// # Errors
    /// All that is wrong, with files and lines. A question that was not answered counts as [`Answer::No`].
    pub fn finish(mut self) -> Result<ServerConfig, ConfigError> {
        while self.asked.is_some() {
            self.answer(Answer::No);
        }
        self.done.unwrap_or_else(|| Err(whole(Wrong::Questions)))
    }

    fn advance(&mut self) {
        let mut walk =
            Walk { answers: &self.answers, entries: Vec::new(), problems: Vec::new(), open: Vec::new() };
        self.done = match walk.run(&self.path) {
            Ok(()) => Some(Ok(ServerConfig { entries: walk.entries })),
            Err(Stop::Failed(error)) => Some(Err(error)),
            Err(Stop::Ask(_)) if self.answers.len() >= MAX_QUESTIONS => Some(Err(whole(Wrong::Questions))),
            Err(Stop::Ask(question)) => {
                self.asked = Some(question);
                None
            }
        };
    }
}

fn whole(wrong: Wrong) -> ConfigError {
    ConfigError::of(alloc::vec![Problem::new(None, "", wrong)])
}

struct Walk<'a> {
    answers: &'a BTreeMap<Question, Answer>,
    entries: Vec<Entry>,
    problems: Vec<Problem>,
    open: Vec<Vec<u8>>,
}

impl Walk<'_> {
    fn run(&mut self, path: &[u8]) -> Result<(), Stop> {
        let question = Question::File { path: path.to_vec(), private: false };
        let found = match self.answers.get(&question) {
            Some(Answer::File(found)) => found,
            Some(_) => &Found::Missing,
            None => return Err(Stop::Ask(question)),
        };
        if *found == Found::Missing {
            return Err(Stop::Failed(whole(Wrong::Missing(path.to_vec()))));
        }
        self.found(path, found, None)?;
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Stop::Failed(ConfigError::of(core::mem::take(&mut self.problems))))
    }

    fn note(&mut self, at: &Location, keyword: &str, wrong: Wrong) {
        if self.problems.len() < MAX_WARNINGS {
            self.problems.push(Problem::new(Some(at.clone()), keyword, wrong));
        }
    }

    fn found(&mut self, path: &[u8], found: &Found, block: Option<&Arc<MatchBlock>>) -> Result<(), Stop> {
        let bytes = match found {
            Found::Bytes(bytes) => bytes,
            Found::Missing => return Ok(()),
            Found::Unsafe => return Err(Stop::Failed(whole(Wrong::Unsafe(path.to_vec())))),
            Found::Unreadable(why) => {
                return Err(Stop::Failed(whole(Wrong::Unreadable(path.to_vec(), why.clone()))));
            }
        };
        self.open.push(path.to_vec());
        let read = self.file(path, bytes, block);
        self.open.pop();
        read
    }

    fn file(&mut self, path: &[u8], bytes: &[u8], outer: Option<&Arc<MatchBlock>>) -> Result<(), Stop> {
        let name: Arc<[u8]> = Arc::from(path);
        let all = lines(bytes, LIMITS).map_err(|e| Stop::Failed(whole(Wrong::TooLarge(path.to_vec(), e))))?;
        let mut block = outer.cloned();
        for text in all {
            let at = Location::new(Arc::clone(&name), text.number());
            let line = match Line::parse(text.text()) {
                Ok(Some(line)) => line,
                Ok(None) => continue,
                Err(e) => {
                    self.note(&at, "", Wrong::Line(e));
                    continue;
                }
            };
            match line.keyword.as_str() {
                "match" => match conditions(&line, &at, outer) {
                    Ok(next) => block = Some(Arc::new(next)),
                    Err(wrong) => self.note(&at, "match", wrong),
                },
                "include" => self.include(&line, &at, block.as_ref())?,
                keyword if !is_known(keyword) => self.note(&at, keyword, Wrong::UnknownOfServer),
                keyword if block.is_some() && !may_match(keyword) => {
                    self.note(&at, keyword, Wrong::NotInMatch)
                }
                _ => self.entries.push(Entry { line, at, block: block.clone() }),
            }
        }
        Ok(())
    }

    fn include(&mut self, line: &Line, at: &Location, block: Option<&Arc<MatchBlock>>) -> Result<(), Stop> {
        for word in &line.arguments {
            let pattern = if word.starts_with(b"/") { word.clone() } else { [FOLDER, word].concat() };
            let question = Question::Files(pattern);
            let found = match self.answers.get(&question) {
                Some(Answer::Files(found)) => found,
                Some(_) => continue,
                None => return Err(Stop::Ask(question)),
            };
            for (path, found) in found {
                if self.open.contains(path) || self.open.len() > MAX_DEPTH {
                    self.note(at, "include", Wrong::Depth);
                    return Ok(());
                }
                self.found(path, found, block)?;
            }
        }
        Ok(())
    }
}

fn conditions(line: &Line, at: &Location, outer: Option<&Arc<MatchBlock>>) -> Result<MatchBlock, Wrong> {
    let criteria = criteria(&line.arguments, WITH_EQUALS, &["invalid-user"], &[])?;
    criteria.iter().try_for_each(check)?;
    Ok(MatchBlock { at: at.clone(), criteria, outer: outer.cloned() })
}
