//! The options of `-o`: names and meaning of ssh_config(5).

use std::path::PathBuf;
use std::time::Duration;

use konko::core::crypto::Compression;
use konko::core::transport::limits::RekeyLimit;
use konko::core::transport::negotiate::{Algorithms, Policy};

use crate::algorithms;

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

/// All settings, each `None` until said; the first word counts, as in OpenSSH.
#[derive(Debug, Default)]
pub struct Settings {
    pub user: Option<String>,
    pub port: Option<u16>,
    pub kex: Option<String>,
    pub ciphers: Option<String>,
    pub macs: Option<String>,
    pub host_key_algorithms: Option<String>,
    pub user_key_algorithms: Option<String>,
    pub user_files: Option<Vec<PathBuf>>,
    pub global_files: Option<Vec<PathBuf>>,
    pub strict: Option<Strict>,
    pub identities_only: Option<bool>,
    pub identities: Vec<PathBuf>,
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
    pub send_env: Vec<String>,
    pub set_env: Vec<(String, String)>,
    pub alias: Option<String>,
    pub hostname: Option<String>,
    pub escape: Option<Option<u8>>,
}

impl Settings {
    /// Takes one `-o`: `Key=Value` or `Key Value`.
    pub fn set(&mut self, option: &str) -> Result<(), String> {
        let option = option.trim();
        let end = option.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(option.len());
        let (key, rest) = option.split_at(end);
        let rest = rest.trim_start();
        let value = rest.strip_prefix('=').unwrap_or(rest).trim();
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        if value.is_empty() {
            return Err(format!("-o {key}: no value is given (Key=Value)"));
        }
        self.put(&key.to_ascii_lowercase(), value).map_err(|why| format!("-o {key}: {why}"))
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        let text = || Some(value.to_owned());
        match key {
            "user" => first(&mut self.user, value.to_owned()),
            "port" => first(&mut self.port, number(value)?),
            "hostname" => first(&mut self.hostname, value.to_owned()),
            "hostkeyalias" => first(&mut self.alias, value.to_owned()),
            "kexalgorithms" => self.kex = self.kex.take().or_else(text),
            "ciphers" => self.ciphers = self.ciphers.take().or_else(text),
            "macs" => self.macs = self.macs.take().or_else(text),
            "hostkeyalgorithms" => {
                self.host_key_algorithms = self.host_key_algorithms.take().or_else(text);
            }
            "pubkeyacceptedalgorithms" | "pubkeyacceptedkeytypes" => {
                self.user_key_algorithms = self.user_key_algorithms.take().or_else(text);
            }
            "userknownhostsfile" => first(&mut self.user_files, files(value)),
            "globalknownhostsfile" => first(&mut self.global_files, files(value)),
            "stricthostkeychecking" => first(&mut self.strict, strict(value)?),
            "identityfile" => self.identities.push(expand(value)),
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
            "sendenv" => self.send_env.extend(value.split_whitespace().map(str::to_owned)),
            "setenv" => {
                for pair in value.split_whitespace() {
                    let (name, value) = pair.split_once('=').ok_or("is NAME=VALUE")?;
                    self.set_env.push((name.to_owned(), value.trim_matches('"').to_owned()));
                }
            }
            _ => return Err("this option is not known here".into()),
        }
        Ok(())
    }

    /// The algorithms: the policy `Modern`, changed as the options say.
    pub fn algorithms(&self, fast_aes: bool) -> Result<Algorithms, String> {
        let mut algorithms = Policy::Modern.algorithms(fast_aes);
        type Apply = fn(&mut Algorithms, &str) -> Result<(), String>;
        let lists: [(&Option<String>, Apply); 5] = [
            (&self.kex, algorithms::kex),
            (&self.ciphers, algorithms::ciphers),
            (&self.macs, algorithms::macs),
            (&self.host_key_algorithms, algorithms::host_keys),
            (&self.user_key_algorithms, algorithms::user_keys),
        ];
        for (list, apply) in lists {
            if let Some(list) = list {
                apply(&mut algorithms, list)?;
            }
        }
        if self.compression == Some(true) {
            algorithms.set_compression(&[Compression::ZlibOpenssh, Compression::None]);
        }
        Ok(algorithms)
    }
}

fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("\"{value}\" is not such a number"))
}

fn flag(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("\"{value}\" is not yes or no")),
    }
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

fn files(value: &str) -> Vec<PathBuf> {
    if value.eq_ignore_ascii_case("none") {
        return Vec::new();
    }
    value.split_whitespace().map(expand).collect()
}

/// `~/` is the user's home.
pub fn expand(path: &str) -> PathBuf {
    match (path.strip_prefix("~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.into(),
    }
}

/// A time as in sshd_config(5), TIME FORMATS: `90`, `5m`, `1h30m`.
fn time(value: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{value}\" is not a time such as 30, 5m or 1h30m");
    let (mut total, mut digits) = (0u64, String::new());
    for c in value.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let n: u64 = digits.parse().map_err(|_| wrong())?;
        total = n.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        digits.clear();
    }
    if !digits.is_empty() {
        total = digits.parse().ok().and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
    }
    Ok(Duration::from_secs(total))
}

/// A time of which 0 and `none` mean never.
fn optional(value: &str) -> Result<Option<Duration>, String> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    time(value).map(|t| Some(t).filter(|t| !t.is_zero()))
}

/// `RekeyLimit`: bytes with K, M or G, and a time; each `default` or `none`.
fn rekey(value: &str) -> Result<RekeyLimit, String> {
    let mut limit = RekeyLimit::default();
    let mut words = value.split_whitespace();
    match words.next() {
        None | Some("default" | "none") => {}
        Some(bytes) => {
            let wrong = || format!("\"{bytes}\" is not a size such as 256K or 1G");
            let (digits, unit) = match bytes.char_indices().next_back() {
                Some((i, 'k' | 'K')) => (&bytes[..i], 1u64 << 10),
                Some((i, 'm' | 'M')) => (&bytes[..i], 1 << 20),
                Some((i, 'g' | 'G')) => (&bytes[..i], 1 << 30),
                _ => (bytes, 1),
            };
            let n: u64 = digits.parse().map_err(|_| wrong())?;
            limit.bytes = n.checked_mul(unit).filter(|n| *n >= 16).ok_or_else(wrong)?;
        }
    }
    match words.next() {
        None | Some("default" | "none") => {}
        Some(text) => limit.time = time(text)?,
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_in_both_spellings_and_the_first_counts() {
        let mut s = Settings::default();
        for option in ["Port=2200", "PORT 22", "user = bob", "RekeyLimit=256K 1h", "connecttimeout 5"] {
            s.set(option).unwrap();
        }
        assert_eq!((s.port, s.user.as_deref()), (Some(2200), Some("bob")));
        let rekey = s.rekey.unwrap();
        assert_eq!((rekey.bytes, rekey.time), (256 << 10, Duration::from_secs(3600)));
        assert_eq!(s.connect_timeout, Some(Some(Duration::from_secs(5))));
        for wrong in ["Nonsense=1", "Port=x", "Port=", "BatchMode=maybe", "RekeyLimit=1Q"] {
            assert!(s.set(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn times_and_escapes() {
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(optional("0"), Ok(None));
        assert!(time("5x").is_err());
        assert_eq!(escape("^]"), Ok(Some(0x1d)));
        assert_eq!(escape("none"), Ok(None));
    }
}
