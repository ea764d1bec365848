//! The options of `-o`: names and meaning of sshd_config(5).

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use konko::core::admission::{Addresses, AdmissionLimits, Penalties};
use konko::core::auth::{Method, MethodLists, MethodSet};
use konko::core::config::Line;
use konko::core::crypto::Compression;
use konko::core::keys::{SignatureAlgorithm, TouchPolicy};
use konko::core::transport::limits::RekeyLimit;
use konko::core::transport::{Keepalive, Moduli};
use konko::server::ServerOptions;

use super::penalties;
use crate::algorithms::{Lists, authorities};
use crate::values::{self, expand_bytes, first, flag, number, optional, rekey, rsa_size, time};

/// All settings, each `None` until said; the first word counts, as in OpenSSH.
#[derive(Debug, Default)]
pub struct Settings {
    lists: Lists,
    rekey: Option<RekeyLimit>,
    auth_tries: Option<u32>,
    login_grace: Option<Duration>,
    pub methods: Option<MethodLists>,
    banner: Option<PathBuf>,
    pub moduli: Option<PathBuf>,
    compression: Option<bool>,
    alive_interval: Option<Option<Duration>>,
    alive_count: Option<u32>,
    startups: Option<(usize, u8, usize)>,
    per_source: Option<usize>,
    net_block: Option<[u8; 2]>,
    penalties: Option<Option<Penalties>>,
    exempt: Option<Option<Addresses>>,
    max_sessions: Option<usize>,
    pub rsa_size: Option<usize>,
    pub trusted_ca: Vec<PathBuf>,
    pub principals: Option<PathBuf>,
    pub host_certificates: Vec<PathBuf>,
    pub ca_algorithms: Option<Vec<SignatureAlgorithm>>,
    pub touch: Option<TouchPolicy>,
    pub revoked_keys: Option<PathBuf>,
    terrapin: Option<bool>,
    accept_env: Vec<String>,
    unused: Option<Option<Duration>>,
    publickey: Option<bool>,
    password: Option<bool>,
    interactive: Option<bool>,
    pub user_environment: Option<bool>,
}

/// The keywords that are obeyed.
const KEYWORDS: &[&str] = &[
    "acceptenv",
    "allowterrapin",
    "authenticationmethods",
    "authorizedprincipalsfile",
    "banner",
    "casignaturealgorithms",
    "challengeresponseauthentication",
    "ciphers",
    "clientalivecountmax",
    "clientaliveinterval",
    "compression",
    "hostcertificate",
    "hostkeyalgorithms",
    "kbdinteractiveauthentication",
    "kexalgorithms",
    "logingracetime",
    "macs",
    "maxauthtries",
    "maxsessions",
    "maxstartups",
    "modulifile",
    "passwordauthentication",
    "permituserenvironment",
    "persourcemaxstartups",
    "persourcenetblocksize",
    "persourcepenalties",
    "persourcepenaltyexemptlist",
    "pubkeyacceptedalgorithms",
    "pubkeyacceptedkeytypes",
    "pubkeyauthentication",
    "pubkeyauthoptions",
    "rekeylimit",
    "requiredrsasize",
    "trustedusercakeys",
    "unusedconnectiontimeout",
];

impl Settings {
    /// Takes one `-o`: `Key=Value` or `Key Value`.
    pub fn set(&mut self, option: &OsStr) -> Result<(), String> {
        let line = Line::parse(option.as_bytes()).map_err(|e| format!("-o {}: {e}", option.display()))?;
        let Some(line) = line else { return Ok(()) };
        self.take(&line).map_err(|why| format!("-o {}: {why}", line.keyword))
    }

    /// Whether a keyword, in lower case, is obeyed.
    pub fn has(keyword: &str) -> bool {
        KEYWORDS.contains(&keyword)
    }

    /// Takes a line.
    pub fn take(&mut self, line: &Line) -> Result<(), String> {
        match line.keyword.as_str() {
            "trustedusercakeys" => values::one(line).map(|path| {
                // One file, as in sshd: the first word counts.
                if self.trusted_ca.is_empty() && path != b"none" {
                    self.trusted_ca.push(expand_bytes(path));
                }
            }),
            "authorizedprincipalsfile" => values::one(line).map(|path| {
                if path != b"none" {
                    first(&mut self.principals, expand_bytes(path));
                }
            }),
            "revokedkeys" => values::one(line).map(|path| {
                if path != b"none" {
                    first(&mut self.revoked_keys, expand_bytes(path));
                }
            }),
            "hostcertificate" => {
                values::one(line).map(|path| self.host_certificates.push(expand_bytes(path)))
            }
            "banner" => values::one(line).map(|path| first(&mut self.banner, expand_bytes(path))),
            "modulifile" => values::one(line).map(|path| first(&mut self.moduli, expand_bytes(path))),
            keyword => values::text(line).and_then(|value| self.put(keyword, &value)),
        }
    }

    fn put(&mut self, key: &str, value: &str) -> Result<(), String> {
        if self.lists.put(key, value) {
            return Ok(());
        }
        match key {
            "rekeylimit" => first(&mut self.rekey, rekey(value)?),
            "maxauthtries" => first(&mut self.auth_tries, number(value)?),
            "logingracetime" => first(&mut self.login_grace, grace(value)?),
            "authenticationmethods" => {
                first(&mut self.methods, value.parse().map_err(|e| format!("{e}"))?);
            }
            "compression" => {
                first(&mut self.compression, value.eq_ignore_ascii_case("delayed") || flag(value)?)
            }
            "clientaliveinterval" => first(&mut self.alive_interval, optional(value)?),
            "clientalivecountmax" => first(&mut self.alive_count, number(value)?),
            "maxstartups" => first(&mut self.startups, startups(value)?),
            "persourcemaxstartups" => {
                let none = value.eq_ignore_ascii_case("none");
                first(&mut self.per_source, if none { usize::MAX } else { number(value)? });
            }
            "requiredrsasize" => first(&mut self.rsa_size, rsa_size(value)?),
            "casignaturealgorithms" => first(&mut self.ca_algorithms, authorities(value)?),
            "pubkeyauthoptions" => first(&mut self.touch, touch(value)?),
            "allowterrapin" => first(&mut self.terrapin, flag(value)?),
            "persourcenetblocksize" => first(&mut self.net_block, penalties::net_block(value)?),
            "persourcepenalties" => first(&mut self.penalties, penalties::parse(value)?),
            "persourcepenaltyexemptlist" => first(&mut self.exempt, penalties::exempt(value)?),
            "maxsessions" => first(&mut self.max_sessions, number(value)?),
            "acceptenv" => self.accept_env.extend(value.split_whitespace().map(str::to_owned)),
            "unusedconnectiontimeout" => first(&mut self.unused, optional(value)?),
            "pubkeyauthentication" => first(&mut self.publickey, flag(value)?),
            "passwordauthentication" => first(&mut self.password, flag(value)?),
            "kbdinteractiveauthentication" | "challengeresponseauthentication" => {
                first(&mut self.interactive, flag(value)?);
            }
            "permituserenvironment" => first(&mut self.user_environment, flag(value)?),
            _ => return Err("this option is not known here".into()),
        }
        Ok(())
    }

    /// The library's options. `usable` are the methods that somebody can log in with.
    pub fn apply(&self, mut options: ServerOptions, usable: MethodSet) -> Result<ServerOptions, String> {
        let mut algorithms = self.lists.for_server(konko::core::provider::best().fast_aes())?;
        if self.compression == Some(false) {
            algorithms.set_compression(&[Compression::None]);
        }
        if algorithms.kex.iter().any(|kex| kex.group_exchange()) {
            options = self.groups(options)?;
        }
        options = options.algorithms(algorithms).methods(self.offered(usable)?);
        if let Some(limit) = self.rekey {
            options = options.rekey(limit);
        }
        if let Some(tries) = self.auth_tries {
            options = options.max_auth_tries(tries);
        }
        if let Some(time) = self.login_grace {
            options = options.login_grace(time);
        }
        if let Some(path) = &self.banner {
            let text = std::fs::read(path).map_err(|e| format!("Banner {}: {e}", path.display()))?;
            // RFC 4252 §5.4: it is UTF-8.
            let text = String::from_utf8(text);
            options =
                options.banner(text.map_err(|_| format!("Banner {}: it is not UTF-8", path.display()))?);
        }
        if self.alive_interval.is_some() || self.alive_count.is_some() {
            let default = Keepalive::default();
            let interval = self.alive_interval.unwrap_or(Some(default.interval));
            let count = self.alive_count.unwrap_or(default.count);
            options =
                options.keepalive(interval.map(|interval| Keepalive::new().interval(interval).count(count)));
        }
        options = options.admission(self.admission());
        if let Some(sessions) = self.max_sessions {
            options = options.max_sessions(sessions);
        }
        if let Some(bits) = self.rsa_size {
            options = options.required_rsa_size(bits);
        }
        if self.terrapin == Some(true) {
            options = options.insecure_allow_terrapin();
        }
        if !self.accept_env.is_empty() {
            options = options.accept_env(self.accept_env.iter().map(String::as_str));
        }
        if let Some(timeout) = self.unused {
            options = options.unused_timeout(timeout);
        }
        Ok(options)
    }

    /// The groups of a group exchange: of the file that was named, or of the system's, if there is one.
    fn groups(&self, options: ServerOptions) -> Result<ServerOptions, String> {
        let path = self.moduli.as_deref().unwrap_or(Path::new("/etc/ssh/moduli"));
        let wrong = |why: &dyn std::fmt::Display| format!("ModuliFile {}: {why}", path.display());
        let file = match std::fs::read(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound && self.moduli.is_none() => {
                return Ok(options);
            }
            Err(e) => return Err(wrong(&e)),
        };
        let (moduli, warnings) = Moduli::parse(path.as_os_str().as_bytes(), &file).map_err(|e| wrong(&e))?;
        if moduli.is_empty() {
            let first = warnings.first().map(|warning| format!(": {warning}")).unwrap_or_default();
            return Err(wrong(&format!("no group that can be used{first}")));
        }
        Ok(options.moduli(moduli))
    }

    fn admission(&self) -> AdmissionLimits {
        let mut admission = AdmissionLimits::default();
        if let Some((begin, rate, full)) = self.startups {
            admission.startups_begin = begin;
            admission.startups_rate = rate;
            admission.startups_full = full;
        }
        // Where nothing is said, one source cannot make others be dropped.
        let fewer = admission.startups_begin.saturating_sub(1).max(1);
        admission.per_source = self.per_source.unwrap_or(admission.per_source.min(fewer));
        if let Some([v4, v6]) = self.net_block {
            (admission.ipv4_bits, admission.ipv6_bits) = (v4, v6);
        }
        admission.penalties = self.penalties.unwrap_or(admission.penalties);
        admission.exempt = self.exempt.clone().flatten();
        admission
    }

    /// The methods that a client may begin with.
    fn offered(&self, usable: MethodSet) -> Result<MethodSet, String> {
        let on = |method| match method {
            Method::PublicKey => self.publickey != Some(false),
            Method::Password => self.password != Some(false),
            Method::KeyboardInteractive => self.interactive != Some(false),
            _ => false,
        };
        let offered: MethodSet = usable.iter().filter(|method| on(*method)).collect();
        if offered.is_empty() {
            return Err("the options leave no way to log in".into());
        }
        Ok(offered)
    }
}

/// `PubkeyAuthOptions`: `none`, or words separated by commas.
fn touch(value: &str) -> Result<TouchPolicy, String> {
    let mut policy = TouchPolicy::new(false, false);
    for word in value.split(',') {
        match word.trim() {
            "none" => {}
            "touch-required" => policy.touch_required = true,
            "verify-required" => policy.verify_required = true,
            word => return Err(format!("\"{word}\" is none of none, touch-required, verify-required")),
        }
    }
    Ok(policy)
}

/// `LoginGraceTime`, of which 0 means no limit.
fn grace(value: &str) -> Result<Duration, String> {
    let time = time(value)?;
    Ok(if time.is_zero() { Duration::from_secs(u64::from(u32::MAX)) } else { time })
}

/// `MaxStartups`: `full`, or `begin:rate:full`.
fn startups(value: &str) -> Result<(usize, u8, usize), String> {
    let parts: Vec<&str> = value.split(':').collect();
    let wrong = || format!("\"{value}\" is not a number, nor begin:rate:full such as 10:30:100");
    match parts[..] {
        [full] => {
            let full = full.parse().map_err(|_| wrong())?;
            Ok((full, 100, full))
        }
        [begin, rate, full] => {
            let begin = begin.parse().map_err(|_| wrong())?;
            let rate = rate.parse().ok().filter(|rate| (1..=100).contains(rate)).ok_or_else(wrong)?;
            let full = full.parse().ok().filter(|full| *full >= begin).ok_or_else(wrong)?;
            Ok((begin, rate, full))
        }
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_mean_what_they_mean_in_sshd_config() {
        let mut s = Settings::default();
        for option in [
            "MaxAuthTries=3",
            "maxauthtries 9",
            "AuthenticationMethods publickey,password",
            "Compression=delayed",
        ] {
            s.set(option.as_ref()).unwrap();
        }
        assert_eq!(s.auth_tries, Some(3));
        assert_eq!(startups("10:30:60"), Ok((10, 30, 60)));
        assert_eq!(startups("25"), Ok((25, 100, 25)));
        for wrong in ["Nonsense=1", "MaxStartups=1:2", "MaxStartups=9:30:1", "MaxStartups=1:0:2", "Port=22"] {
            assert!(s.set(wrong.as_ref()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_of_moduli_that_was_named_must_be_one() {
        let groups = |path: &str| {
            let mut s = Settings::default();
            s.set(format!("ModuliFile={path}").as_ref()).unwrap();
            s.groups(ServerOptions::with_new_key().unwrap()).map(drop)
        };
        for wrong in ["/dev/null", "/nonexistent", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")] {
            assert!(groups(wrong).unwrap_err().starts_with(&format!("ModuliFile {wrong}: ")), "{wrong}");
        }
        assert_eq!(groups(concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/moduli")), Ok(()));
    }

    #[test]
    fn at_least_one_way_to_log_in_is_left() {
        let mut s = Settings::default();
        s.set("PasswordAuthentication=no".as_ref()).unwrap();
        let both = MethodSet::EMPTY.with(Method::PublicKey).with(Method::Password);
        assert_eq!(s.offered(both), Ok(MethodSet::EMPTY.with(Method::PublicKey)));
        assert!(s.offered(MethodSet::EMPTY.with(Method::Password)).is_err());
    }
}
