use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::algorithms;
use super::defaults::{DEFAULTS, IDENTITIES, NONE_IS_NOTHING};
use super::error::Wrong;
use super::keyword::{Algorithms, Keyword, Kind, Tokens};
use super::lookup::{Answers, Stop};
use super::reader::{AGENT_PATH, FORWARDS, REKEY_TIME, Reader};
use super::request::{Given, Local, Request};
use super::tokens::Context;
use super::value::is_none;
use super::{Setting, Words};

/// What holds for one login: a value for every keyword that has one.
///
/// Values are bytes, as `ssh -G` writes them; tokens and variables are replaced where ssh(1) has done so by then.
/// Paths of keys keep their tokens, as there: [`path`](Self::path) replaces them.
#[derive(Clone, Debug)]
pub struct Config {
    values: BTreeMap<&'static str, Vec<Setting>>,
    local: Local,
    typed: Vec<u8>,
    host: Vec<u8>,
    user: Vec<u8>,
    port: u16,
    lists: BTreeMap<Algorithms, (Vec<&'static str>, bool)>,
}

impl Config {
    /// The host as it was typed.
    pub fn typed_host(&self) -> &[u8] {
        &self.typed
    }

    /// The host to connect to: its name, or an address (`HostName`, after canonicalisation).
    pub fn host_name(&self) -> &[u8] {
        &self.host
    }

    /// The user to log in as (`User`, else the local user).
    pub fn user(&self) -> &[u8] {
        &self.user
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// All values of a keyword, by its name in any case of letters: one, or several for those that accumulate. Empty
    /// for what has none, and for what is no keyword.
    pub fn settings(&self, keyword: &str) -> &[Setting] {
        let name = Keyword::find(keyword).map(Keyword::name);
        name.and_then(|name| self.values.get(name)).map_or(&[], Vec::as_slice)
    }

    /// Each value with its keyword, in the order of the keywords' names.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Setting)> {
        let known = |name: &str| Keyword::find(name).is_some();
        let all = self.values.iter().filter(move |(name, _)| known(name));
        all.flat_map(|(name, all)| all.iter().map(move |setting| (*name, setting)))
    }

    /// Whether a line says it, rather than a default.
    pub fn is_said(&self, keyword: &str) -> bool {
        self.settings(keyword).iter().any(|setting| setting.at.is_some())
    }

    /// The words of the first value of a keyword.
    pub fn words(&self, keyword: &str) -> &[Vec<u8>] {
        self.settings(keyword).first().map_or(&[], |setting| &setting.words)
    }

    /// The value of a keyword as one text; the words of several have a space between them.
    pub fn text(&self, keyword: &str) -> Option<Vec<u8>> {
        let all = self.settings(keyword);
        let words: Vec<&[u8]> = all.iter().flat_map(|s| s.words.iter().map(Vec::as_slice)).collect();
        (!all.is_empty()).then(|| words.join(&b' '))
    }

    /// Whether a value is `yes`, or `true`.
    pub fn flag(&self, keyword: &str) -> bool {
        matches!(self.words(keyword), [value, ..] if value == b"yes" || value == b"true")
    }

    /// A value that is a number; times are in seconds.
    pub fn number(&self, keyword: &str) -> Option<u64> {
        core::str::from_utf8(self.words(keyword).first()?).ok()?.parse().ok()
    }

    /// The seconds of `RekeyLimit`; `None` where there is no limit in time.
    pub fn rekey_time(&self) -> Option<u64> {
        let words = &self.values.get(REKEY_TIME)?.first()?.words;
        core::str::from_utf8(words.first()?).ok()?.parse().ok().filter(|seconds| *seconds > 0)
    }

    /// The path in `ForwardAgent`, if it names one.
    pub fn forwarded_agent(&self) -> Option<&[u8]> {
        self.values.get(AGENT_PATH)?.first()?.words.first().map(Vec::as_slice)
    }

    /// The character of `EscapeChar`; `None` where there is none.
    pub fn escape_char(&self) -> Option<u8> {
        match self.words("EscapeChar").first()?.as_slice() {
            b"none" => None,
            shown => super::value::escaped(shown),
        }
    }

    pub(super) fn forwards(&self) -> &[Setting] {
        self.values.get(FORWARDS).map_or(&[], Vec::as_slice)
    }

    /// The names that a list of algorithms comes to, in order. OpenSSH's names are among them whether konko has the
    /// algorithm or not.
    pub fn algorithms(&self, which: Algorithms) -> &[&'static str] {
        self.lists.get(&which).map_or(&[], |(names, _)| names)
    }

    /// Whether a line says a list of algorithms, rather than the default.
    pub fn says_algorithms(&self, which: Algorithms) -> bool {
        self.lists.get(&which).is_some_and(|(_, said)| *said)
    }

    /// A path of a key (`IdentityFile`, `CertificateFile`) with its home folder and tokens replaced. `variable` is
    /// asked for what is in the environment, and `home` for the folders of other users.
    ///
    /// # Errors
    /// What cannot be replaced.
    pub fn path(
        &self,
        path: &[u8],
        variable: impl Fn(&[u8]) -> Option<Vec<u8>>,
        home: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Wrong> {
        self.ask(|context, answers| context.path(path, answers), variable, home)
    }

    /// A command or another value in which the tokens of its keyword are replaced, such as `ProxyCommand`.
    ///
    /// # Errors
    /// What cannot be replaced.
    pub fn command(&self, keyword: &str) -> Result<Option<Vec<u8>>, Wrong> {
        let (Some(row), [command]) = (Keyword::find(keyword), self.words(keyword)) else { return Ok(None) };
        let expand = |context: &Context<'_>, answers: &Answers| {
            context.expand(command, row.tokens(), row.has_variables(), answers)
        };
        self.ask(expand, |_| None, |_| None).map(Some)
    }

    /// The program of `KnownHostsCommand` and its arguments. `%H`, `%I`, `%t`, `%f`, `%K` and `%%` stay, for whoever
    /// knows which key it is about.
    ///
    /// # Errors
    /// What cannot be replaced.
    pub fn known_hosts_command(
        &self,
        variable: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Option<Words>, Wrong> {
        let [command] = self.words("KnownHostsCommand") else { return Ok(None) };
        let words = crate::text::arguments(command);
        let words = words.map_err(|e| Wrong::Line(crate::config::LineError::Quote(e)))?;
        let expand = |word: &Vec<u8>| {
            let expand = |context: &Context<'_>, answers: &Answers| {
                context.expand(word, Tokens::KnownHosts, true, answers)
            };
            self.ask(expand, &variable, |_| None)
        };
        words.iter().map(expand).collect::<Result<Words, Wrong>>().map(Some)
    }

    fn ask(
        &self,
        work: impl Fn(&Context<'_>, &Answers) -> Result<Vec<u8>, Stop>,
        variable: impl Fn(&[u8]) -> Option<Vec<u8>>,
        home: impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, Wrong> {
        let mut answers = Answers::default();
        loop {
            match work(&self.context(), &answers) {
                Ok(value) => return Ok(value),
                Err(Stop::Ask(question)) => answers.settle(question, &variable, &home),
                Err(Stop::Wrong(wrong)) => return Err(wrong),
                Err(Stop::Failed(_)) => return Err(Wrong::Questions),
            }
        }
    }

    fn context(&self) -> Context<'_> {
        let alias = self.words("HostKeyAlias").first().map_or(&self.typed, |alias| alias);
        let jump = self.words("ProxyJump").get(2).map(Vec::as_slice).unwrap_or_default();
        Context {
            local: &self.local,
            host: &self.host,
            typed: &self.typed,
            alias,
            port: self.port,
            user: &self.user,
            jump,
        }
    }

    // ---- how it comes about ----

    /// Defaults, checks and tokens (`ssh.c`, `main`, behind the second reading).
    pub(super) fn finish(reader: Reader<'_>, host: Vec<u8>) -> Result<Self, Stop> {
        let (request, answers) = (reader.request, reader.answers);
        let mut config = Config {
            values: reader.values,
            local: request.local.clone(),
            typed: request.host.clone(),
            host,
            user: Vec::new(),
            port: 22,
            lists: BTreeMap::new(),
        };
        valid_host(&config.typed)?;
        config.settle_lists(request)?;
        config.settle_defaults();
        config.port = config.number("Port").and_then(|port| port.try_into().ok()).unwrap_or(22);
        config.settle_jump()?;
        config.settle_user(request, answers)?;
        config.check(request)?;
        config.settle_update_host_keys(request);
        config.expand(answers)?;
        Ok(config)
    }

    fn put(&mut self, name: &'static str, words: Words) {
        let setting = Setting { words, at: None, blocks: Vec::new(), user: false };
        self.values.entry(name).or_insert_with(|| vec![setting]);
    }

    fn settle_lists(&mut self, request: &Request) -> Result<(), Stop> {
        for row in Keyword::all() {
            let Kind::Algorithms(which) = row.kind() else { continue };
            let default = request.default_of(which);
            let said = self.words(row.name()).first().cloned();
            let names = match &said {
                Some(list) => algorithms::assemble(which, list, &default),
                None => default,
            };
            // Only what is taken away may leave nothing, as in OpenSSH.
            if names.is_empty() && said.as_ref().is_some_and(|list| !list.starts_with(b"-")) {
                return Err(Wrong::NothingLeft.into());
            }
            let joined = names.join(",").into_bytes();
            match self.values.get_mut(row.name()).and_then(|all| all.first_mut()) {
                Some(setting) => setting.words = vec![joined],
                None => self.put(row.name(), vec![joined]),
            }
            self.lists.insert(which, (names, said.is_some()));
        }
        Ok(())
    }

    fn settle_defaults(&mut self) {
        if self.flag("ClearAllForwardings") {
            for name in ["LocalForward", "RemoteForward", "DynamicForward", FORWARDS, "Tunnel"] {
                self.values.remove(name);
            }
        }
        if !self.values.contains_key("UpdateHostKeys") {
            // Only in the usual file: another one may not be the user's to change.
            let own = match self.words("UserKnownHostsFile") {
                [] => true,
                [file] => file == b"~/.ssh/known_hosts",
                _ => false,
            };
            let dns = self.words("VerifyHostKeyDNS").first().is_some_and(|value| value != b"false");
            let value: &str = if own && !dns { "true" } else { "false" };
            self.put("UpdateHostKeys", vec![value.into()]);
        }
        if !self.values.contains_key("ServerAliveInterval") {
            // Debian's: who is not there does not see that nothing comes any more.
            let seconds = if self.flag("BatchMode") { "300" } else { "0" };
            self.put("ServerAliveInterval", vec![seconds.into()]);
        }
        for (name, words) in DEFAULTS {
            self.put(name, words.iter().map(|word| word.as_bytes().to_vec()).collect());
        }
        if !self.values.contains_key("IdentityFile") {
            let setting = |path: &&str| {
                let words = vec![path.as_bytes().to_vec()];
                Setting { words, at: None, blocks: Vec::new(), user: false }
            };
            self.values.insert("IdentityFile", IDENTITIES.iter().map(setting).collect());
        }
        for name in NONE_IS_NOTHING {
            let none = matches!(self.words(name), [only] if is_none(only));
            match self.values.get_mut(name).and_then(|all| all.first_mut()).filter(|_| none) {
                // That nothing is wanted is not the default here, so it stays as an empty list.
                Some(setting) if name.ends_with("HostsFile") => setting.words.clear(),
                Some(_) => drop(self.values.remove(name)),
                None => {}
            }
        }
        let alias = self.values.get_mut("HostKeyAlias").into_iter().flatten();
        alias.for_each(|s| s.words.iter_mut().for_each(|word| word.make_ascii_lowercase()));
    }

    fn settle_jump(&mut self) -> Result<(), Stop> {
        let [_, user, host, port] = self.words("ProxyJump") else { return Ok(()) };
        if host == b"none" && user.is_empty() {
            self.values.remove("ProxyJump");
            return Ok(());
        }
        let own = self.words("User").first().map_or(&self.local.user, |user| user);
        let same_user = user.is_empty() || user == own;
        let port: &[u8] = if port.is_empty() { b"22" } else { port };
        if *host == self.host && same_user && port == self.port.to_string().as_bytes() {
            return Err(Wrong::JumpLoop(host.clone()).into());
        }
        Ok(())
    }

    fn settle_user(&mut self, request: &Request, answers: &Answers) -> Result<(), Stop> {
        let said = self.words("User").first().cloned();
        let is_typed = |given: &Given| matches!(given, Given::User(user) if said.as_ref() == Some(user));
        let typed = request.options.iter().any(is_typed);
        self.user = match said {
            Some(user) if !typed => self.context().expand(&user, Tokens::User, true, answers)?,
            Some(user) => user,
            None => request.local.user.clone(),
        };
        if !valid_user(&self.user) {
            return Err(Wrong::Name(self.user.clone()).into());
        }
        let user = vec![self.user.clone()];
        match self.values.get_mut("User").and_then(|all| all.first_mut()) {
            Some(setting) => setting.words = user,
            None => self.put("User", user),
        }
        Ok(())
    }

    fn check(&self, request: &Request) -> Result<(), Stop> {
        if self.number("ConnectionAttempts") == Some(0) {
            return Err(Wrong::NoAttempts.into());
        }
        let command = !request.command.is_empty();
        let remote = !self.words("RemoteCommand").is_empty();
        if command && remote {
            return Err(Wrong::TwoCommands.into());
        }
        let typed = |s: &Setting| s.at.as_ref().is_some_and(|at| at.line == 0) && s.words == [b"subsystem"];
        if !command && self.settings("SessionType").iter().any(typed) {
            return Err(Wrong::NoSubsystem.into());
        }
        let session = self.words("SessionType").first().is_none_or(|kind| kind != b"none");
        if self.flag("ForkAfterAuthentication") && !command && !remote && session {
            return Err(Wrong::Background.into());
        }
        Ok(())
    }

    /// Nobody is asked where nobody can answer.
    fn settle_update_host_keys(&mut self, request: &Request) {
        if self.words("UpdateHostKeys").first().is_none_or(|value| value != b"ask") {
            return;
        }
        let is = |name: &str, value: &[u8]| self.words(name).first().is_some_and(|v| v == value);
        let quiet = ["SILENT", "FATAL", "ERROR"].iter().any(|level| is("LogLevel", level.as_bytes()));
        let shared = is("ControlPersist", b"yes") && !self.words("ControlPath").is_empty();
        let command = !request.command.is_empty() || !self.words("RemoteCommand").is_empty();
        if quiet || shared || command || is("RequestTTY", b"false") {
            let setting = self.values.get_mut("UpdateHostKeys").and_then(|all| all.first_mut());
            setting.into_iter().for_each(|s| s.words = vec![b"false".to_vec()]);
        }
    }

    /// Replaces tokens where ssh(1) has by the time that `-G` prints.
    fn expand(&mut self, answers: &Answers) -> Result<(), Stop> {
        let mut changed = Vec::new();
        let context = self.context();
        let wrong = |name: &'static str| move |stop| named(stop, name);
        for name in ["RemoteCommand", "VersionAddendum"] {
            let Some(value) = self.words(name).first() else { continue };
            let variables = name == "VersionAddendum";
            let value = context.expand(value, Tokens::Usual, variables, answers).map_err(wrong(name))?;
            changed.push((name, 0, vec![value]));
        }
        for name in ["ControlPath", "IdentityAgent", "RevokedHostKeys", "UserKnownHostsFile", AGENT_PATH] {
            let all = self.values.get(name).and_then(|all| all.first()).map_or(&[][..], |s| &s.words);
            let words: Result<Words, Stop> = all.iter().map(|path| context.path(path, answers)).collect();
            changed.push((name, 0, words.map_err(wrong(name))?));
        }
        let pairs = self.words("SetEnv").iter().map(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            let (name, value) = pair.split_at_checked(at.saturating_add(1)).unwrap_or((pair, b""));
            Ok([name, &context.expand(value, Tokens::Usual, true, answers)?].concat())
        });
        let pairs: Result<Words, Stop> = pairs.collect();
        changed.push(("SetEnv", 0, pairs.map_err(wrong("SetEnv"))?));
        for name in ["LocalForward", "RemoteForward", "DynamicForward", FORWARDS] {
            for (n, setting) in self.values.get(name).into_iter().flatten().enumerate() {
                let path = |word: &Vec<u8>| match word.contains(&b'/') {
                    true => context.expand(word, Tokens::Usual, false, answers),
                    false => Ok(word.clone()),
                };
                let words: Result<Words, Stop> = setting.words.iter().map(path).collect();
                changed.push((name, n, words.map_err(wrong(name))?));
            }
        }
        for (name, n, words) in changed {
            let setting = self.values.get_mut(name).and_then(|all| all.get_mut(n));
            setting.into_iter().for_each(|s| s.words.clone_from(&words));
        }
        Ok(())
    }
}

/// Says in which keyword something could not be replaced.
fn named(stop: Stop, name: &str) -> Stop {
    match stop {
        Stop::Wrong(wrong) => {
            let problem = super::error::Problem::new(None, String::from(name), wrong);
            Stop::Failed(super::error::ConfigError { problems: vec![problem] })
        }
        other => other,
    }
}

/// Names that a shell could take for something else are none (`readconf.c`, `ssh_valid_hostname`, `ssh_valid_ruser`).
fn valid_host(host: &[u8]) -> Result<(), Wrong> {
    let bad = |b: &u8| b"'`\"$\\;&<>|(){},".contains(b) || b.is_ascii_whitespace() || b.is_ascii_control();
    if host.is_empty() || host.starts_with(b"-") || host.iter().any(bad) {
        return Err(Wrong::Name(host.to_vec()));
    }
    Ok(())
}

fn valid_user(user: &[u8]) -> bool {
    let bad = |b: &u8| b"'`\";&<>|(){}".contains(b) || b.is_ascii_control();
    let option = user.windows(2).any(|pair| matches!(pair, [blank, b'-'] if blank.is_ascii_whitespace()));
    !user.starts_with(b"-") && !user.iter().any(bad) && !option && !user.ends_with(b"\\")
}

impl Answers {
    fn settle(
        &mut self,
        question: super::Question,
        variable: &impl Fn(&[u8]) -> Option<Vec<u8>>,
        home: &impl Fn(&[u8]) -> Option<Vec<u8>>,
    ) {
        let value = match &question {
            super::Question::Variable(name) => variable(name),
            super::Question::Home(user) => home(user),
            _ => None,
        };
        self.insert(question, value.map_or(super::Answer::No, super::Answer::Bytes));
    }
}

/// A host as it may stand in a list: in brackets if it could be taken for something else.
pub(super) fn bracketed(host: &[u8]) -> Vec<u8> {
    let numeric = host.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if numeric || host.contains(&b':') { [b"[", host, b"]"].concat() } else { host.to_vec() }
}
