//! The options of `-o`: names and meaning of ssh_config(5).

use std::path::PathBuf;
use std::time::Duration;

use konko::core::hosts::pattern;
use konko::core::transport::limits::RekeyLimit;

use crate::algorithms::Lists;
use crate::values::{self, expand, first, flag, number, optional, rekey, rsa_size};

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
    pub lists: Lists,
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
    pub rsa_size: Option<usize>,
    pub terrapin: Option<bool>,
    pub hostname: Option<String>,
    pub escape: Option<Option<u8>>,
}

impl Settings {
    /// Takes one `-o`: `Key=Value` or `Key Value`.
    pub fn set(&mut self, option: &str) -> Result<(), String> {
        let (key, value) = values::split(option)?;
        self.put(&key, value).map_err(|why| format!("-o {key}: {why}"))
    }

    /// Whether `SendEnv` names the variable; the case of letters counts.
    pub fn sends(&self, name: &[u8]) -> bool {
        self.send_env.iter().any(|p| pattern::matches(p.as_bytes(), name))
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        if self.lists.put(key, value) {
            return Ok(());
        }
        match key {
            "user" => first(&mut self.user, value.to_owned()),
            "port" => first(&mut self.port, number(value)?),
            "hostname" => first(&mut self.hostname, value.to_owned()),
            "hostkeyalias" => first(&mut self.alias, value.to_owned()),
            "requiredrsasize" => first(&mut self.rsa_size, rsa_size(value)?),
            // Not in OpenSSH, which leaves such a peer be.
            "allowterrapin" => first(&mut self.terrapin, flag(value)?),
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
    fn a13_the_case_of_a_variable_counts() {
        let mut s = Settings::default();
        s.set("SendEnv=HTTP_PROXY lc_* ?Q").unwrap();
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
        s.set("RequiredRSASize=1024").unwrap();
        s.set("AllowTerrapin yes").unwrap();
        assert_eq!((s.rsa_size, s.terrapin), (Some(1024), Some(true)));
        for (value, bits) in
            [("0", Some(1024)), ("512", Some(1024)), ("4096", Some(4096)), ("16385", None), ("-1", None)]
        {
            assert_eq!(rsa_size(value).ok(), bits, "{value}");
        }
    }

    #[test]
    fn escapes() {
        assert_eq!(escape("^]"), Ok(Some(0x1d)));
        assert_eq!(escape("none"), Ok(None));
    }
}
