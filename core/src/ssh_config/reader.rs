//! Reading: line by line, first the command line's, then the files' (`readconf.c`, `process_config_line_depth`).

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::error::{ConfigError, Problem, Wrong};
use super::keyword::{Keyword, Kind, Tokens};
use super::lookup::{Answer, Answers, Found, Question, Stop};
use super::matching;
use super::request::{Files, Given, Request};
use super::tokens::{self, Context};
use super::{Block, LIMITS, Setting, Words, forward, value};
use crate::config::Line;
use crate::text::{Location, lines, pattern};

/// Files that include each other, at most (`READCONF_MAX_DEPTH`).
const MAX_DEPTH: usize = 16;
/// Files with keys, or with certificates, at most (`SSH_MAX_IDENTITY_FILES`).
const MAX_IDENTITIES: usize = 100;
/// Where the system's files are (`SSHDIR`).
const SYSTEM_FOLDER: &[u8] = b"/etc/ssh/";

/// The half of `RekeyLimit` and of `ForwardAgent` that is set by itself.
pub(super) const REKEY_TIME: &str = "RekeyLimit time";
pub(super) const AGENT_PATH: &str = "ForwardAgent path";
/// `LocalForward` and `DynamicForward` in the order in which they stand, as they are printed.
pub(super) const FORWARDS: &str = "LocalForward and DynamicForward";

/// Where a line stands, and what that means for it.
struct Place<'p> {
    at: Location,
    active: bool,
    /// Of the user's own file, or what that includes.
    user: bool,
    chain: &'p [Arc<Block>],
}

/// A file while it is read.
struct File<'f> {
    path: Vec<u8>,
    user: bool,
    /// Included where nothing counts: it is read for its mistakes alone.
    never: bool,
    /// Blocks and includes around it.
    chain: &'f [Arc<Block>],
}

/// What has been read.
pub(super) struct Reader<'r> {
    pub(super) request: &'r Request,
    pub(super) answers: &'r Answers,
    pub(super) values: BTreeMap<&'static str, Vec<Setting>>,
    /// The host that `Host` and `Match host` are about.
    pub(super) host: Vec<u8>,
    pub(super) final_pass: bool,
    pub(super) final_wanted: bool,
    problems: Vec<Problem>,
    open: Vec<Vec<u8>>,
}

impl<'r> Reader<'r> {
    pub(super) fn new(request: &'r Request, answers: &'r Answers) -> Self {
        Reader {
            request,
            answers,
            values: BTreeMap::new(),
            host: request.host.clone(),
            final_pass: false,
            final_wanted: false,
            problems: Vec::new(),
            open: Vec::new(),
        }
    }

    /// The first value of a keyword, if it has any.
    pub(super) fn first(&self, name: &str) -> Option<&[u8]> {
        let words = self.values.get(name)?.first()?.words.first()?;
        Some(words)
    }

    pub(super) fn wants_final_pass(&self) -> bool {
        self.final_wanted
    }

    pub(super) fn canonicalizes(&self) -> bool {
        self.first("CanonicalizeHostname").is_some_and(|value| value != b"false")
    }

    pub(super) fn second_pass(&mut self, host: &[u8]) {
        self.host = host.to_vec();
        self.final_pass = true;
        // They have been used, so the second reading does not change them (`fill_default_options_for_canonicalization`).
        for (name, value) in [
            ("CanonicalizeMaxDots", "1"),
            ("CanonicalizeFallbackLocal", "yes"),
            ("CanonicalizeHostname", "false"),
        ] {
            let setting = Setting { words: [value.into()].into(), at: None, blocks: Vec::new(), user: false };
            self.values.entry(name).or_insert_with(|| [setting].into());
        }
    }

    // ---- lines of no file ----

    pub(super) fn command_line(&mut self) -> Result<(), Stop> {
        let request = self.request;
        let place =
            Place { at: Location::new(&b"command-line"[..], 0), active: true, user: true, chain: &[] };
        for given in &request.options {
            match given {
                Given::Line(line) => {
                    if let Some(line) = self.parse(line, &place.at)? {
                        self.line(&line, &place)?;
                    }
                }
                Given::User(user) => self.put("User", [user.clone()].into(), &place),
                Given::Port(port) => self.put("Port", [alloc::format!("{port}").into_bytes()].into(), &place),
            }
            self.fail()?;
        }
        Ok(())
    }

    /// Ends if something is wrong.
    fn fail(&mut self) -> Result<(), Stop> {
        if self.problems.is_empty() {
            return Ok(());
        }
        Err(Stop::Failed(ConfigError { problems: core::mem::take(&mut self.problems) }))
    }

    // ---- files ----

    pub(super) fn files(&mut self) -> Result<(), Stop> {
        let request = self.request;
        match &request.files {
            Files::None => Ok(()),
            Files::One(path) => match self.answers.get(file(path, false))? {
                Answer::File(Found::Missing) | Answer::No => Err(Wrong::Missing(path.clone()).into()),
                Answer::File(found) => self.found(path, found, true, false, &[]),
                _ => Err(Wrong::Missing(path.clone()).into()),
            },
            Files::Usual => {
                let slash: &[u8] = if request.local.home.ends_with(b"/") { b"" } else { b"/" };
                let user = [&request.local.home, slash, b".ssh/config"].concat();
                if let Answer::File(found) = self.answers.get(file(&user, true))? {
                    self.found(&user, found, true, false, &[])?;
                }
                if let Answer::File(found) = self.answers.get(file(&request.system, false))? {
                    self.found(&request.system, found, false, false, &[])?;
                }
                Ok(())
            }
        }
    }

    fn found(
        &mut self,
        path: &[u8],
        found: &'r Found,
        user: bool,
        never: bool,
        chain: &[Arc<Block>],
    ) -> Result<(), Stop> {
        let bytes = match found {
            Found::Bytes(bytes) => bytes,
            Found::Missing => return Ok(()),
            Found::Unsafe => return Err(Wrong::Unsafe(path.to_vec()).into()),
            Found::Unreadable(why) => return Err(Wrong::Unreadable(path.to_vec(), why.clone()).into()),
        };
        self.open.push(path.to_vec());
        let read = self.file(&File { path: path.to_vec(), user, never, chain }, bytes);
        self.open.pop();
        read
    }

    fn file(&mut self, file: &File<'_>, bytes: &[u8]) -> Result<(), Stop> {
        let name: Arc<[u8]> = Arc::from(file.path.as_slice());
        let all = lines(bytes, LIMITS).map_err(|e| Wrong::TooLarge(file.path.clone(), e))?;
        let mut active = !file.never;
        let mut chain = file.chain.to_vec();
        for text in all {
            let at = Location::new(Arc::clone(&name), text.number());
            let Some(line) = self.parse(text.text(), &at)? else { continue };
            let row = Keyword::find(&line.keyword);
            let block = || Arc::new(Block { at: at.clone(), text: text.text().to_vec() });
            match row.map(|row| row.kind) {
                Some(Kind::Host | Kind::Match) => {
                    chain.truncate(file.chain.len());
                    match self.block(&line, &at) {
                        Ok(matches) => active = matches && !file.never,
                        Err(Stop::Wrong(wrong)) => self.note(&at, &line.keyword, wrong),
                        Err(stop) => return Err(stop),
                    }
                    chain.push(block());
                }
                Some(Kind::Include) => {
                    chain.push(block());
                    self.include(&line, file, &at, active, &chain)?;
                    chain.pop();
                }
                _ => {
                    let place = Place { at, active, user: file.user, chain: &chain };
                    self.line(&line, &place)?;
                }
            }
        }
        self.fail()
    }

    fn parse(&mut self, text: &[u8], at: &Location) -> Result<Option<Line>, Stop> {
        Line::parse(text).or_else(|e| {
            self.note(at, "", Wrong::Line(e));
            Ok(None)
        })
    }

    pub(super) fn note(&mut self, at: &Location, keyword: &str, wrong: Wrong) {
        // One of nothing else should not cost more than itself.
        if self.problems.len() < crate::text::MAX_WARNINGS {
            self.problems.push(Problem::new(Some(at.clone()), keyword, wrong));
        }
    }

    // ---- blocks ----

    /// Whether the lines that follow count.
    fn block(&mut self, line: &Line, at: &Location) -> Result<bool, Stop> {
        if Keyword::find(&line.keyword).is_some_and(|row| row.kind == Kind::Match) {
            return matching::matches(self, line, at);
        }
        let mut active = false;
        for word in &line.arguments {
            if word.is_empty() {
                return Err(Wrong::Empty.into());
            }
            let (sign, pattern) = pattern::Sign::split(word);
            if pattern::matches(pattern, &self.host) {
                if sign == pattern::Sign::Negated {
                    return Ok(false);
                }
                active = true;
            }
        }
        Ok(active)
    }

    fn include(
        &mut self,
        line: &Line,
        file: &File<'_>,
        at: &Location,
        active: bool,
        chain: &[Arc<Block>],
    ) -> Result<(), Stop> {
        for word in &line.arguments {
            let path = match self.included(word, file.user) {
                Ok(path) => path,
                Err(Stop::Wrong(wrong)) => {
                    self.note(at, &line.keyword, wrong);
                    continue;
                }
                Err(stop) => return Err(stop),
            };
            let Answer::Files(found) = self.answers.get(Question::Files(path))? else { continue };
            for (path, found) in found {
                if self.open.len() > MAX_DEPTH {
                    self.note(at, &line.keyword, Wrong::Depth);
                    return self.fail();
                }
                if let Some(from) = self.open.iter().position(|open| open == path) {
                    let mut cycle: Vec<Vec<u8>> = self.open.get(from..).unwrap_or_default().to_vec();
                    cycle.push(path.clone());
                    self.note(at, &line.keyword, Wrong::Cycle(cycle));
                    return self.fail();
                }
                match self.found(path, found, file.user, !active, chain) {
                    Err(Stop::Wrong(wrong)) => self.note(at, &line.keyword, wrong),
                    other => other?,
                }
            }
        }
        Ok(())
    }

    /// The pattern of paths that an argument of `Include` means.
    fn included(&self, word: &[u8], user: bool) -> Result<Vec<u8>, Stop> {
        if word.is_empty() {
            return Err(Wrong::Empty.into());
        }
        let path = self.expanded(word, true)?;
        if path.starts_with(b"~") && !user {
            return Err(Wrong::IncludeHome(path).into());
        }
        let local = &self.request.local;
        if path.starts_with(b"~") {
            return tokens::tilde(&path, local, self.answers);
        }
        if path.starts_with(b"/") {
            return Ok(path);
        }
        let folder =
            if user { tokens::tilde(b"~/.ssh/", local, self.answers)? } else { SYSTEM_FOLDER.to_vec() };
        Ok([folder, path].concat())
    }

    /// The host as it is known by now (`match_cfg_line`).
    pub(super) fn current_host(&self) -> Result<Vec<u8>, Stop> {
        match self.first("HostName").filter(|_| !self.final_pass) {
            Some(name) => {
                let local = &self.request.local;
                let host = &self.host;
                let context =
                    Context { local, host, typed: host, alias: host, port: 22, user: b"", jump: b"" };
                context.expand(name, Tokens::Host, false, self.answers)
            }
            None => Ok(self.host.clone()),
        }
    }

    /// A command of `Match exec` or a path of `Include`, with its tokens replaced.
    pub(super) fn expanded(&self, value: &[u8], variables: bool) -> Result<Vec<u8>, Stop> {
        let host = self.current_host()?;
        let port = self.first("Port").and_then(|port| core::str::from_utf8(port).ok()?.parse().ok());
        let jump = self.values.get("ProxyJump").and_then(|all| all.first()?.words.get(2));
        let context = Context {
            local: &self.request.local,
            host: &host,
            typed: &self.request.host,
            alias: self.first("HostKeyAlias").unwrap_or(&host),
            port: port.unwrap_or(22),
            user: self.first("User").unwrap_or(&self.request.local.user),
            jump: jump.map(Vec::as_slice).filter(|jump| !value::is_none(jump)).unwrap_or_default(),
        };
        context.expand(value, Tokens::Usual, variables, self.answers)
    }

    // ---- values ----

    fn line(&mut self, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        match self.take(line, place) {
            Err(Stop::Wrong(wrong)) => {
                self.note(&place.at, &line.keyword, wrong);
                Ok(())
            }
            other => other,
        }
    }

    fn take(&mut self, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        let Some(row) = Keyword::find(&line.keyword) else {
            let ignored = self.first("IgnoreUnknown");
            let ignored = ignored.is_some_and(|list| value::is_in_list(list, line.keyword.as_bytes()));
            return if ignored { Ok(()) } else { Err(Wrong::Unknown.into()) };
        };
        match row.kind {
            Kind::Gone => Ok(()),
            Kind::Host | Kind::Match | Kind::Include => Err(Wrong::Block.into()),
            Kind::Refuse => {
                let why = value::one(line)?.to_vec();
                if place.active { Err(Wrong::Refused(why).into()) } else { Ok(()) }
            }
            Kind::Port => self.port(row, line, place),
            Kind::Rekey => self.rekey(row, line, place),
            Kind::Socket => {
                let path = self.socket(line)?;
                self.put(row.name, [path].into(), place);
                Ok(())
            }
            Kind::ForwardAgent => self.forward_agent(row, line, place),
            Kind::Forward => self.forward(row, line, place),
            Kind::Jump => self.jump(row, line, place),
            Kind::Mask => {
                // It counts wherever it stands, and the last one, as in OpenSSH.
                let words = value::read(row, line)?.unwrap_or_default();
                self.values.remove(row.name);
                self.put(row.name, words, &Place { at: place.at.clone(), active: true, ..*place });
                Ok(())
            }
            _ => {
                let Some(words) = value::read(row, line)? else { return Ok(()) };
                self.store(row, words, place)
            }
        }
    }

    fn store(&mut self, row: &'static Keyword, words: Words, place: &Place<'_>) -> Result<(), Stop> {
        match row.kind {
            Kind::Identity => {
                let all = self.values.get(row.name).map_or(0, Vec::len);
                if place.active && all >= MAX_IDENTITIES {
                    return Err(Wrong::TooMany.into());
                }
                self.add(row.name, words, place);
            }
            Kind::Names if place.active => {
                for name in words {
                    match name.strip_prefix(b"-") {
                        Some(pattern) => {
                            let all = self.values.entry(row.name).or_default();
                            all.retain(|s| !s.words.iter().any(|name| pattern::matches(pattern, name)));
                        }
                        None => self.push(row.name, [name].into(), place),
                    }
                }
            }
            Kind::Names => {}
            // There it counts in blocks that do not match too, as in OpenSSH.
            _ if row.name == "SyslogFacility" => {
                self.put(row.name, words, &Place { at: place.at.clone(), active: true, ..*place });
            }
            // Nothing is connected through two proxies: the first line of either counts.
            _ if row.name == "ProxyCommand" && self.values.contains_key("ProxyJump") => {}
            _ => self.put(row.name, words, place),
        }
        Ok(())
    }

    /// The first one counts.
    fn put(&mut self, name: &'static str, words: Words, place: &Place<'_>) {
        if place.active && !self.values.contains_key(name) {
            self.push(name, words, place);
        }
    }

    /// Each counts, but not twice.
    fn add(&mut self, name: &'static str, words: Words, place: &Place<'_>) {
        let same = |s: &Setting| s.words == words && s.user == place.user;
        let twice = self.values.get(name).is_some_and(|all| all.iter().any(same));
        if place.active && !twice {
            self.push(name, words, place);
        }
    }

    fn push(&mut self, name: &'static str, words: Words, place: &Place<'_>) {
        let setting =
            Setting { words, at: Some(place.at.clone()), blocks: place.chain.to_vec(), user: place.user };
        self.values.entry(name).or_default().push(setting);
    }

    fn port(&mut self, row: &'static Keyword, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        let text = value::one(line)?;
        let wrong = || Wrong::Value(text.to_vec(), "a port from 1 to 65535, or the name of a service".into());
        let port = match value::number(text) {
            Ok(port) => port,
            Err(_) => {
                let port = self.answers.bytes(Question::Service(text.to_vec()))?;
                port.and_then(|port| value::number(port).ok()).ok_or_else(wrong)?
            }
        };
        if !(1..65536).contains(&port) {
            return Err(wrong().into());
        }
        self.put(row.name, [alloc::format!("{port}").into_bytes()].into(), place);
        Ok(())
    }

    fn rekey(&mut self, row: &'static Keyword, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        let (bytes, time) = match line.arguments.as_slice() {
            [bytes] => (bytes, None),
            [bytes, time] => (bytes, value::time_or_none(time)?),
            _ => return Err(Wrong::TooMany.into()),
        };
        let bytes = if bytes == b"default" { 0 } else { value::scaled(bytes)? };
        self.put(row.name, [alloc::format!("{bytes}").into_bytes()].into(), place);
        if let Some(time) = time {
            self.put(REKEY_TIME, [alloc::format!("{time}").into_bytes()].into(), place);
        }
        Ok(())
    }

    /// The path of a socket: a variable in it must be set, and one that stands for all of it be named well.
    fn socket(&self, line: &Line) -> Result<Vec<u8>, Stop> {
        let path = value::one(line)?;
        tokens::variables(path, self.answers)?;
        if let Some(name) = path.strip_prefix(b"$").filter(|name| !name.starts_with(b"{")) {
            let good = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
            if name.is_empty() || !name.iter().all(good) {
                return Err(
                    Wrong::Value(path.to_vec(), "a path, or $ and the name of a variable".into()).into()
                );
            }
        }
        Ok(path.to_vec())
    }

    fn forward_agent(&mut self, row: &'static Keyword, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        match value::one(line)?.to_ascii_lowercase().as_slice() {
            b"yes" | b"true" => self.put(row.name, [b"yes".to_vec()].into(), place),
            b"no" | b"false" => self.put(row.name, [b"no".to_vec()].into(), place),
            _ => {
                let path = self.socket(line)?;
                self.put(row.name, [b"yes".to_vec()].into(), place);
                self.put(AGENT_PATH, [path].into(), place);
            }
        }
        Ok(())
    }

    fn forward(&mut self, row: &'static Keyword, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        let remote = row.name == "RemoteForward";
        let (text, dynamic) = match line.arguments.as_slice() {
            [listen] => (listen.clone(), true),
            [listen, target] if row.name != "DynamicForward" && target.is_empty() => (listen.clone(), true),
            [listen, target] if row.name != "DynamicForward" => ([listen, &b":"[..], target].concat(), false),
            _ => return Err(Wrong::TooMany.into()),
        };
        let text = tokens::variables(&text, self.answers)?;
        let words =
            forward::forward(&text, dynamic, remote).filter(|_| !dynamic || row.name != "LocalForward");
        let wrong = || Wrong::Value(text.clone(), "a forwarding such as 8080 host:80".into());
        let words = words.ok_or_else(wrong)?;
        if !remote {
            self.add(FORWARDS, words.clone(), place);
        }
        self.add(row.name, words, place);
        Ok(())
    }

    fn jump(&mut self, row: &'static Keyword, line: &Line, place: &Place<'_>) -> Result<(), Stop> {
        let words = forward::jump(&value::command(line))?;
        if !self.values.contains_key("ProxyCommand") {
            self.put(row.name, words, place);
        }
        Ok(())
    }
}

fn file(path: &[u8], private: bool) -> Question {
    Question::File { path: path.to_vec(), private }
}
