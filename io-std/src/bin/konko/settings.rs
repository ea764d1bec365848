//! The options of `-o`: names and meaning of ssh_config(5).

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::time::Duration;

use konko::AddressFamily;
use konko::core::config::Line;
use konko::core::text::pattern;
use konko::core::transport::limits::RekeyLimit;

use crate::algorithms::Lists;
use crate::known::{self, Known};
use crate::values::{self, Tokens, expand_bytes, first, flag, number, optional, rekey, rsa_size};

/// `StrictHostKeyChecking`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strict {
    Yes,
    Ask,
    AcceptNew,
    Off,
}

/// `RequestTTY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tty {
    Auto,
    No,
    Yes,
    Force,
}

/// `SessionType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    Default,
    None,
    Subsystem,
}

/// All settings, each `None` until said; the first word counts, as in OpenSSH.
#[derive(Debug, Default)]
pub struct Settings {
    pub user: Option<Vec<u8>>,
    pub port: Option<u16>,
    pub lists: Lists,
    pub user_files: Option<Vec<PathBuf>>,
    pub global_files: Option<Vec<PathBuf>>,
    pub strict: Option<Strict>,
    pub identities_only: Option<bool>,
    pub identities: Vec<PathBuf>,
    /// A path, `$` and a variable, `SSH_AUTH_SOCK`, or `none`.
    pub identity_agent: Option<PathBuf>,
    pub methods: Option<Vec<String>>,
    pub compression: Option<bool>,
    pub rekey: Option<RekeyLimit>,
    pub connect_timeout: Option<Option<Duration>>,
    pub alive_interval: Option<Option<Duration>>,
    pub alive_count: Option<u32>,
    pub batch: Option<bool>,
    pub prompts: Option<u32>,
    pub log_level: Option<i8>,
    pub hash: Option<bool>,
    pub tty: Option<Tty>,
    pub send_env: Vec<Vec<u8>>,
    /// `None` until there was one; only the first counts, as in OpenSSH.
    pub set_env: Option<Vec<(Vec<u8>, Vec<u8>)>>,
    pub family: Option<AddressFamily>,
    pub attempts: Option<u32>,
    pub publickey: Option<bool>,
    pub password: Option<bool>,
    pub interactive: Option<bool>,
    /// `None` inside: `none`.
    pub remote_command: Option<Option<Vec<u8>>>,
    pub session_type: Option<SessionType>,
    pub null_input: Option<bool>,
    pub clear_forwardings: Option<bool>,
    pub forwardings: Vec<&'static str>,
    pub ignore_unknown: Vec<Vec<u8>>,
    /// Options that were accepted without being obeyed.
    pub accepted: BTreeSet<String>,
    pub alias: Option<String>,
    pub rsa_size: Option<usize>,
    pub terrapin: Option<bool>,
    pub hostname: Option<String>,
    pub escape: Option<Option<u8>>,
    /// The user is that of `-l` or of the destination, in which tokens mean nothing.
    pub literal_user: bool,
}

impl Settings {
    /// Takes one `-o`: `Key=Value` or `Key Value`.
    pub fn set(&mut self, option: &OsStr) -> Result<(), String> {
        let line = Line::parse(option.as_bytes()).map_err(|e| format!("-o {}: {e}", option.display()))?;
        let Some(line) = line else { return Ok(()) };
        self.take(&line).map_err(|why| format!("-o {}: {why}", line.keyword))
    }

    /// Says what is not supported about all that was taken.
    pub fn check(&self) -> Result<(), String> {
        match self.forwardings.first() {
            Some(name) if self.clear_forwardings != Some(true) => Err(format!("not supported yet: {name}")),
            _ => Ok(()),
        }
    }

    /// Replaces the tokens in what was said of a login at `typed` (ssh_config(5), TOKENS); the user's first, who may
    /// stand in the others.
    pub fn expand(&mut self, typed: &str, user: &[u8]) -> Result<(), String> {
        let wrong = |option: &'static str| move |why: String| format!("-o {option}: {why}");
        let named = self.hostname.as_ref().map(|name| host_name(name, typed)).transpose();
        self.hostname = named.map_err(wrong("HostName"))?;
        let (host, alias) = (self.hostname.clone(), self.alias.clone());
        let host = host.as_deref().unwrap_or(typed);
        let alias = alias.as_deref().unwrap_or(typed);
        let port = self.port.unwrap_or(22);
        let mut tokens = Tokens { host, typed, alias, port, user: None };
        if let Some(user) = self.user.as_mut().filter(|_| !self.literal_user) {
            *user = tokens.expand(user, true).map_err(wrong("User"))?;
        }
        let user = self.user.clone().unwrap_or_else(|| user.to_vec());
        tokens.user = Some(&user);
        let path = |path: &mut PathBuf| {
            let bytes = tokens.expand(path.as_os_str().as_bytes(), true)?;
            *path = OsString::from_vec(bytes).into();
            Ok(())
        };
        self.identities.iter_mut().try_for_each(path).map_err(wrong("IdentityFile"))?;
        self.identity_agent.iter_mut().try_for_each(path).map_err(wrong("IdentityAgent"))?;
        self.user_files.iter_mut().flatten().try_for_each(path).map_err(wrong("UserKnownHostsFile"))?;
        if let Some(Some(command)) = &mut self.remote_command {
            *command = tokens.expand(command, false).map_err(wrong("RemoteCommand"))?;
        }
        for (_, value) in self.set_env.iter_mut().flatten() {
            *value = tokens.expand(value, true).map_err(wrong("SetEnv"))?;
        }
        Ok(())
    }

    /// Whether `SendEnv` names the variable; the case of letters counts.
    pub fn sends(&self, name: &[u8]) -> bool {
        self.send_env.iter().any(|p| pattern::matches(p, name))
    }

    /// What is bytes or has several arguments; the rest is text.
    fn take(&mut self, line: &Line) -> Result<(), String> {
        match line.keyword.as_str() {
            "user" => first(&mut self.user, values::one(line)?.to_vec()),
            "userknownhostsfile" => first(&mut self.user_files, files(line)),
            "globalknownhostsfile" => first(&mut self.global_files, files(line)),
            "identityfile" => self.identities.push(expand_bytes(values::one(line)?)),
            "identityagent" => first(&mut self.identity_agent, expand_bytes(values::one(line)?)),
            "remotecommand" => {
                let none = line.rest.eq_ignore_ascii_case(b"none");
                first(&mut self.remote_command, Some(line.rest.clone()).filter(|_| !none));
            }
            "sendenv" => line.arguments.iter().for_each(|name| self.send(name)),
            "setenv" => {
                let pair = |pair: &Vec<u8>| {
                    let at = pair.iter().position(|b| *b == b'=')?;
                    Some((pair[..at].to_vec(), pair[at + 1..].to_vec()))
                };
                let pairs: Option<_> = line.arguments.iter().map(pair).collect();
                first(&mut self.set_env, pairs.ok_or("is NAME=VALUE")?);
            }
            "ignoreunknown" => {
                let patterns = values::one(line)?.split(|b| *b == b',');
                self.ignore_unknown.extend(patterns.map(<[u8]>::to_ascii_lowercase));
            }
            _ => return self.accept(line),
        }
        Ok(())
    }

    /// What is obeyed as text, and what is only known.
    fn accept(&mut self, line: &Line) -> Result<(), String> {
        match known::judge(&line.keyword, &line.arguments) {
            _ if self.accepted.contains(&line.keyword) => {}
            Known::Accepted => {
                self.accepted.insert(line.keyword.clone());
            }
            Known::Forwarding(name) => self.forwardings.push(name),
            Known::Unsupported(why) => return Err(why),
            Known::Unknown => {
                let keyword = line.keyword.as_bytes();
                if self.ignore_unknown.iter().any(|p| pattern::matches(p, keyword)) {
                    return Ok(());
                }
                return self.put(&line.keyword, &values::text(line)?);
            }
        }
        Ok(())
    }

    /// `-NAME` takes names back.
    fn send(&mut self, name: &[u8]) {
        match name.strip_prefix(b"-") {
            Some(pattern) => self.send_env.retain(|name| !pattern::matches(pattern, name)),
            None => self.send_env.push(name.to_vec()),
        }
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        if self.lists.put(key, value) {
            return Ok(());
        }
        match key {
            "port" => first(&mut self.port, number(value)?),
            "hostname" => first(&mut self.hostname, value.to_owned()),
            "hostkeyalias" => first(&mut self.alias, value.to_owned()),
            "requiredrsasize" => first(&mut self.rsa_size, rsa_size(value)?),
            // Not in OpenSSH, which leaves such a peer be.
            "allowterrapin" => first(&mut self.terrapin, flag(value)?),
            "stricthostkeychecking" => first(&mut self.strict, strict(value)?),
            "identitiesonly" => first(&mut self.identities_only, flag(value)?),
            "preferredauthentications" => {
                first(&mut self.methods, value.split(',').map(|m| m.trim().to_owned()).collect());
            }
            "compression" => first(&mut self.compression, flag(value)?),
            "rekeylimit" => first(&mut self.rekey, rekey(value)?),
            "connecttimeout" => first(&mut self.connect_timeout, optional(value)?),
            "serveraliveinterval" => first(&mut self.alive_interval, optional(value)?),
            "serveralivecountmax" => first(&mut self.alive_count, number(value)?),
            "batchmode" => first(&mut self.batch, flag(value)?),
            "numberofpasswordprompts" => first(&mut self.prompts, number(value)?),
            "loglevel" => first(&mut self.log_level, level(value)?),
            "hashknownhosts" => first(&mut self.hash, flag(value)?),
            "requesttty" => first(&mut self.tty, tty(value)?),
            "escapechar" => first(&mut self.escape, escape(value)?),
            "addressfamily" => first(&mut self.family, family(value)?),
            "connectionattempts" => first(&mut self.attempts, number(value)?),
            "pubkeyauthentication" | "dsaauthentication" => {
                let bound = matches!(value, "unbound" | "host-bound");
                first(&mut self.publickey, bound || flag(value)?);
            }
            "passwordauthentication" => first(&mut self.password, flag(value)?),
            "kbdinteractiveauthentication"
            | "challengeresponseauthentication"
            | "skeyauthentication"
            | "tisauthentication" => first(&mut self.interactive, flag(value)?),
            "sessiontype" => first(&mut self.session_type, session_type(value)?),
            "stdinnull" => first(&mut self.null_input, flag(value)?),
            "clearallforwardings" => first(&mut self.clear_forwardings, flag(value)?),
            "refuseconnection" => return Err(value.to_owned()),
            _ => return Err(format!("Bad configuration option: {key}")),
        }
        Ok(())
    }
}

/// `HostName` has `%h` and `%%` only.
fn host_name(name: &str, typed: &str) -> Result<String, String> {
    let mut parts = name.split('%');
    let mut out = parts.next().unwrap_or_default().to_owned();
    while let Some(part) = parts.next() {
        if let Some(rest) = part.strip_prefix('h') {
            out.extend([typed, rest]);
        } else if let Some(rest) = parts.next().filter(|_| part.is_empty()) {
            out.extend(["%", rest]);
        } else {
            return Err(format!("\"{name}\" has another token than %h and %%"));
        }
    }
    Ok(out)
}

fn strict(value: &str) -> Result<Strict, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(Strict::Yes),
        "ask" => Ok(Strict::Ask),
        "accept-new" => Ok(Strict::AcceptNew),
        "no" | "off" | "false" => Ok(Strict::Off),
        _ => Err(format!("\"{value}\" is not yes, no, off, ask or accept-new")),
    }
}

fn family(value: &str) -> Result<AddressFamily, String> {
    match value.to_ascii_lowercase().as_str() {
        "any" => Ok(AddressFamily::Any),
        "inet" => Ok(AddressFamily::Inet),
        "inet6" => Ok(AddressFamily::Inet6),
        _ => Err(format!("\"{value}\" is not any, inet or inet6")),
    }
}

fn session_type(value: &str) -> Result<SessionType, String> {
    match value.to_ascii_lowercase().as_str() {
        "default" => Ok(SessionType::Default),
        "none" => Ok(SessionType::None),
        "subsystem" => Ok(SessionType::Subsystem),
        _ => Err(format!("\"{value}\" is not none, subsystem or default")),
    }
}

fn tty(value: &str) -> Result<Tty, String> {
    match value.to_ascii_lowercase().as_str() {
        "auto" => Ok(Tty::Auto),
        "no" | "false" => Ok(Tty::No),
        "yes" | "true" => Ok(Tty::Yes),
        "force" => Ok(Tty::Force),
        _ => Err(format!("\"{value}\" is not auto, no, yes or force")),
    }
}

/// The escape character; `none` turns escapes off.
pub fn escape(value: &str) -> Result<Option<u8>, String> {
    match value.as_bytes() {
        b"none" => Ok(None),
        [c] => Ok(Some(*c)),
        [b'^', c @ b'@'..=b'_' | c @ b'a'..=b'z'] => Ok(Some(c & 0x1f)),
        _ => Err(format!("\"{value}\" is not a character, ^ and a letter, or none")),
    }
}

/// Verbosity: 0 is INFO, each DEBUG one more, what is quieter is below.
fn level(value: &str) -> Result<i8, String> {
    match value.to_ascii_uppercase().as_str() {
        "QUIET" => Ok(-3),
        "FATAL" => Ok(-2),
        "ERROR" => Ok(-1),
        "INFO" => Ok(0),
        "VERBOSE" | "DEBUG" | "DEBUG1" => Ok(1),
        "DEBUG2" => Ok(2),
        "DEBUG3" => Ok(3),
        _ => Err(format!("\"{value}\" is not a log level (QUIET, FATAL, ERROR, INFO, VERBOSE, DEBUG1-3)")),
    }
}

fn files(line: &Line) -> Vec<PathBuf> {
    let none = |file: &&Vec<u8>| !file.eq_ignore_ascii_case(b"none");
    line.arguments.iter().filter(none).map(|file| expand_bytes(file)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_both_spellings_and_the_first_counts() {
        let mut s = Settings::default();
        for option in ["Port=2200", "PORT 22", "user = bob", "RekeyLimit=256K 1h", "connecttimeout 5"] {
            s.set(option.as_ref()).unwrap();
        }
        assert_eq!((s.port, s.user.as_deref()), (Some(2200), Some(&b"bob"[..])));
        let rekey = s.rekey.unwrap();
        assert_eq!((rekey.bytes, rekey.time), (256 << 10, Duration::from_secs(3600)));
        assert_eq!(s.connect_timeout, Some(Some(Duration::from_secs(5))));
        for wrong in ["Nonsense=1", "Port=x", "Port=", "BatchMode=maybe", "RekeyLimit=1Q"] {
            assert!(s.set(wrong.as_ref()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a13_the_case_of_a_variable_counts() {
        let mut s = Settings::default();
        s.set("SendEnv=HTTP_PROXY lc_* ?Q".as_ref()).unwrap();
        for (name, sent) in [
            ("HTTP_PROXY", true),
            ("http_proxy", false),
            ("Http_Proxy", false),
            ("lc_all", true),
            ("LC_ALL", false),
            ("xQ", true),
            ("xq", false),
        ] {
            assert_eq!(s.sends(name.as_bytes()), sent, "{name}");
        }
    }

    #[test]
    fn c18_what_old_devices_need_has_options() {
        let mut s = Settings::default();
        assert_eq!((s.rsa_size, s.terrapin), (None, None), "off unless asked for");
        s.set("RequiredRSASize=1024".as_ref()).unwrap();
        s.set("AllowTerrapin yes".as_ref()).unwrap();
        assert_eq!((s.rsa_size, s.terrapin), (Some(1024), Some(true)));
        for (value, bits) in
            [("0", Some(1024)), ("512", Some(1024)), ("4096", Some(4096)), ("16385", None), ("-1", None)]
        {
            assert_eq!(rsa_size(value).ok(), bits, "{value}");
        }
    }

    #[test]
    fn c11_arguments_in_quotes_are_one() {
        let mut s = Settings::default();
        for option in ["SetEnv=FOO=\"x y\" BAR=z", "UserKnownHostsFile=/nonexistent \"a b/kh\"", "SetEnv=C=d"]
        {
            s.set(option.as_ref()).unwrap();
        }
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(s.set_env, Some(vec![pair("FOO", "x y"), pair("BAR", "z")]), "the first SetEnv counts");
        assert_eq!(s.user_files, Some(vec!["/nonexistent".into(), "a b/kh".into()]));
        assert!(s.set("User=a b".as_ref()).is_err(), "one argument too many");
        assert!(s.set("User=\"a".as_ref()).is_err());
    }

    #[test]
    fn c10_values_are_bytes() {
        let mut s = Settings::default();
        for option in [&b"User=caf\xe9"[..], b"IdentityFile=/k\xff", b"SetEnv=A=\xff", b"SendEnv=B\xff"] {
            s.set(OsStr::from_bytes(option)).unwrap();
        }
        assert_eq!(s.user.as_deref(), Some(&b"caf\xe9"[..]));
        assert_eq!(s.identities, [PathBuf::from(OsStr::from_bytes(b"/k\xff"))]);
        assert_eq!(s.set_env, Some(vec![(b"A".to_vec(), b"\xff".to_vec())]));
        assert!(s.sends(b"B\xff"));
    }

    #[test]
    fn c17_tokens_never_stand_for_themselves() {
        let said = |options: &[&str]| {
            let mut s = Settings::default();
            options.iter().for_each(|option| s.set(option.as_ref()).unwrap());
            s.expand("h", b"me").map(|()| s)
        };
        let s = said(&[
            "HostName=%h.example%%",
            "User=u-%n",
            "Port=7",
            "IdentityFile=/k/%h-%p-%r",
            "UserKnownHostsFile=/a/%n /b/%r",
            "RemoteCommand=echo %r ${HOME}",
            "SetEnv=A=%p",
        ])
        .unwrap();
        assert_eq!(s.hostname.as_deref(), Some("h.example%"));
        assert_eq!(s.user.as_deref(), Some(&b"u-h"[..]));
        assert_eq!(s.identities, [PathBuf::from("/k/h.example%-7-u-h")]);
        assert_eq!(s.user_files, Some(["/a/h", "/b/u-h"].map(PathBuf::from).into()));
        assert_eq!(s.remote_command, Some(Some(b"echo u-h ${HOME}".to_vec())));
        assert_eq!(s.set_env, Some(vec![(b"A".to_vec(), b"7".to_vec())]));
        assert_eq!(said(&["IdentityFile=/k/%r"]).unwrap().identities, [PathBuf::from("/k/me")]);
        for wrong in [
            "HostName=%p",
            "HostName=a%",
            "User=%r",
            "IdentityFile=%z",
            "UserKnownHostsFile=/x/%K",
            "SetEnv=A=%",
        ] {
            let error = said(&[wrong]).err().unwrap_or_else(|| panic!("{wrong}"));
            assert!(error.starts_with(&format!("-o {}: ", wrong.split_once('=').unwrap().0)), "{error}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("^]"), Ok(Some(0x1d)));
        assert_eq!(escape("none"), Ok(None));
    }
}
