//! `-f`: the lines of a sshd_config, and who of those that `Match` blocks are about may come in.

use std::ffi::OsStr;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko::SshStr;
use konko::core::admission::Addresses;
use konko::core::auth::Method;
use konko::core::ssh_config::Question;
use konko::core::sshd_config::{Connection as Whom, Entry, Reading, ServerConfig};
use konko::core::text::pattern;
use konko::server::{
    AuthAttempt, AuthOutcome, ChannelOpen, Connection, GlobalRequest, Handler, KeyProbe, Request, Service,
    Session,
};
use konko::{Error, Pty};

use super::settings::Settings;
use crate::values::{self, expand_bytes, number};

/// What decides who may come in, for each connection anew: these may stand in a `Match` block.
const GATE: &[&str] = &[
    "allowusers",
    "challengeresponseauthentication",
    "denyusers",
    "kbdinteractiveauthentication",
    "passwordauthentication",
    "permitrootlogin",
    "pubkeyauthentication",
    "refuseconnection",
];

/// What asks for nothing that konko does: it forwards nothing, has no PAM, no message of the day and no log of its own.
const IDLE: &[&str] = &[
    "addressfamily",
    "allowagentforwarding",
    "allowstreamlocalforwarding",
    "allowtcpforwarding",
    "debianbanner",
    "disableforwarding",
    "fingerprinthash",
    "gatewayports",
    "gssapicleanupcredentials",
    "gssapistrictacceptorcheck",
    "ignorerhosts",
    "ignoreuserknownhosts",
    "kerberosorlocalpasswd",
    "kerberosticketcleanup",
    "loglevel",
    "permitlisten",
    "permitopen",
    "permittunnel",
    "pidfile",
    "printlastlog",
    "printmotd",
    "protocol",
    "strictmodes",
    "subsystem",
    "syslogfacility",
    "tcpkeepalive",
    "usedns",
    "usepam",
    "x11displayoffset",
    "x11forwarding",
    "x11uselocalhost",
    "xauthlocation",
];

/// What there is not, so that nothing but "no" or "none" can be held to.
const ABSENT: &[&str] = &[
    "exposeauthinfo",
    "gssapiauthentication",
    "hostbasedauthentication",
    "kerberosauthentication",
    "permitemptypasswords",
    "chrootdirectory",
    "forcecommand",
    "revokedkeys",
    "authorizedkeyscommand",
    "authorizedprincipalscommand",
    "versionaddendum",
];

/// What is never known of a client here.
const UNKNOWN: &[&str] = &["group", "rdomain"];

/// What a file says besides settings.
#[derive(Debug, Default)]
pub struct FromFile {
    pub listen: Option<String>,
    pub host_keys: Vec<PathBuf>,
    pub authorized_keys: Vec<PathBuf>,
    /// What is not obeyed, and restricts nothing.
    pub notes: Vec<String>,
    pub config: Arc<ServerConfig>,
}

/// Reads a file; what was set before counts more.
pub fn read(path: &Path, settings: &mut Settings) -> Result<FromFile, String> {
    let mut reading = Reading::new(path.as_os_str().as_bytes());
    while let Some(question) = reading.question() {
        let question = match question {
            // What is included is as private as the file that names it.
            Question::File { path, .. } => Question::File { path, private: true },
            other => other,
        };
        reading.answer(konko::ssh_config::answer(&question));
    }
    let config = reading.finish().map_err(|e| e.to_string())?;
    let mut out = FromFile::default();
    let (mut port, mut address) = (None, None);
    for entry in config.global() {
        let at = |why: String| format!("{}: {}: {why}", entry.at(), entry.line().keyword);
        match entry.line().keyword.as_str() {
            "port" if port.is_none() => port = Some(number::<u16>(&text(entry)?).map_err(at)?),
            "listenaddress" if address.is_none() => address = Some(text(entry)?),
            "port" | "listenaddress" => {
                return Err(at("konko serve listens in one place; start another one".into()));
            }
            "hostkey" | "hostdsakey" => {
                out.host_keys.push(expand_bytes(values::one(entry.line()).map_err(at)?))
            }
            "authorizedkeysfile" => out.authorized_keys.extend(key_files(entry)?),
            _ => global(entry, settings, &mut out.notes)?,
        }
    }
    for entry in config.conditional() {
        if let Some(what) =
            UNKNOWN.iter().find(|what| entry.block().is_some_and(|block| block.asks_about(what)))
        {
            return Err(format!("{}: konko serve does not know what \"Match {what}\" asks", entry.at()));
        }
        if !GATE.contains(&entry.line().keyword.as_str()) && !IDLE.contains(&entry.line().keyword.as_str()) {
            let why = "konko serve cannot do this for some connections only";
            return Err(format!("{}: {}: {why}", entry.at(), entry.line().keyword));
        }
        if entry.line().keyword.ends_with("authentication") {
            flag(entry)?;
        }
    }
    out.listen = listen(port, address);
    out.config = Arc::new(config);
    Ok(out)
}

fn text(entry: &Entry) -> Result<String, String> {
    let at = |why: String| format!("{}: {}: {why}", entry.at(), entry.line().keyword);
    let value = values::one(entry.line()).map_err(at)?;
    String::from_utf8(value.to_vec()).map_err(|_| at("the value is not text".into()))
}

fn flag(entry: &Entry) -> Result<bool, String> {
    values::flag(&text(entry)?).map_err(|why| format!("{}: {}: {why}", entry.at(), entry.line().keyword))
}

fn global(entry: &Entry, settings: &mut Settings, notes: &mut Vec<String>) -> Result<(), String> {
    let keyword = entry.line().keyword.as_str();
    let at = |why: String| format!("{}: {keyword}: {why}", entry.at());
    match keyword {
        _ if Settings::has(keyword) => settings.take(entry.line()).map_err(at),
        _ if GATE.contains(&keyword) => Ok(()),
        _ if IDLE.contains(&keyword) => {
            notes.push(at("nothing is done about it".into()));
            Ok(())
        }
        _ => {
            let value = entry.line().arguments.first().map_or(&b""[..], Vec::as_slice);
            let none = value.eq_ignore_ascii_case(b"no") || value.eq_ignore_ascii_case(b"none");
            if ABSENT.contains(&keyword) && none {
                Ok(())
            } else {
                Err(at("konko serve does not have this".into()))
            }
        }
    }
}

/// Absolute paths: the users of konko serve have no home folders of their own.
fn key_files(entry: &Entry) -> Result<Vec<PathBuf>, String> {
    let file = |word: &Vec<u8>| {
        if !word.starts_with(b"/") || word.contains(&b'%') {
            let word = SshStr::new(word);
            return Err(format!(
                "{}: authorizedkeysfile: {word} is no path that is one for all users",
                entry.at()
            ));
        }
        Ok(PathBuf::from(OsStr::from_bytes(word)))
    };
    entry.line().arguments.iter().filter(|word| !word.eq_ignore_ascii_case(b"none")).map(file).collect()
}

/// The place to listen, if the file says any: `ListenAddress` may have a port.
fn listen(port: Option<u16>, address: Option<String>) -> Option<String> {
    let bare = |address: &str| address.trim_start_matches('[').trim_end_matches(']').to_owned();
    let written = |host: &str, port: u16| {
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    };
    match address {
        None => port.map(|port| written("::", port)),
        Some(address) if address.contains("]:") || address.matches(':').count() == 1 => Some(address),
        Some(address) => Some(written(&bare(&address), port.unwrap_or(22))),
    }
}

/// A service behind what the file says of who may come in.
pub struct Gate {
    inner: Service,
    config: Arc<ServerConfig>,
}

impl Gate {
    pub fn new(inner: Service, config: Arc<ServerConfig>) -> Self {
        Gate { inner, config }
    }

    fn admits(&self, connection: &Connection, user: &str, method: Method) -> bool {
        let peer = connection.peer_addr().map(|peer| peer.ip().to_canonical());
        let host = peer.map(|peer| peer.to_string()).unwrap_or_default();
        let local = connection.local_addr();
        let mut whom = Whom::default();
        whom.user = Some(user.as_bytes());
        whom.invalid_user = !self.inner.users().knows(user);
        whom.host = Some(host.as_bytes());
        whom.address = peer;
        whom.local_address = local.map(|local| local.ip().to_canonical());
        whom.local_port = local.map(|local| local.port());
        let first = |keyword: &str| self.config.first(keyword, &whom);
        let off = |keyword: &str| first(keyword).is_some_and(|entry| flag(entry) != Ok(true));
        let switched_off = match method {
            Method::PublicKey => off("pubkeyauthentication"),
            Method::Password => off("passwordauthentication"),
            Method::KeyboardInteractive => {
                off("kbdinteractiveauthentication") || off("challengeresponseauthentication")
            }
            _ => false,
        };
        let root = first("permitrootlogin").filter(|_| user == "root").map(text);
        let no_root = match root.as_ref().map(|value| value.as_deref()) {
            None | Some(Ok("yes")) => false,
            Some(Ok("prohibit-password" | "without-password")) => method != Method::PublicKey,
            Some(_) => true,
        };
        let mut named = [None, None];
        for entry in self.config.of(&whom) {
            let at = match entry.line().keyword.as_str() {
                "allowusers" => 0,
                "denyusers" => 1,
                _ => continue,
            };
            let fits = entry.line().arguments.iter().any(|word| is_named(word, user, peer));
            named[at] = Some(named[at] == Some(true) || fits);
        }
        first("refuseconnection").is_none_or(|entry| flag(entry) == Ok(false))
            && !switched_off
            && !no_root
            && named[0] != Some(false)
            && named[1] != Some(true)
    }
}

/// Whether a pattern of `AllowUsers` or `DenyUsers`, `user` or `user@host`, is for somebody.
fn is_named(word: &[u8], user: &str, peer: Option<IpAddr>) -> bool {
    let Some(at) = word.iter().rposition(|b| *b == b'@') else {
        return pattern::matches(word, user.as_bytes());
    };
    let from = Addresses::parse(&word[at + 1..]).zip(peer).is_some_and(|(list, peer)| list.contains(peer));
    from && pattern::matches(&word[..at], user.as_bytes())
}

impl Handler for Gate {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        let method = attempt.credential().method();
        if self.admits(attempt.connection(), attempt.user(), method) {
            self.inner.authenticate(attempt);
        } else {
            attempt.reject();
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        if self.admits(probe.connection(), probe.user(), Method::PublicKey) {
            self.inner.key_probe(probe);
        } else {
            probe.reject();
        }
    }

    fn attempted(&mut self, connection: &Connection, outcome: &AuthOutcome) {
        self.inner.attempted(connection, outcome);
    }

    fn authenticated(&mut self, connection: &Connection) {
        self.inner.authenticated(connection);
    }

    fn session(&mut self, session: Session) {
        self.inner.session(session);
    }

    fn pty(&mut self, pty: &Pty) -> bool {
        self.inner.pty(pty)
    }

    fn open(&mut self, open: ChannelOpen) {
        self.inner.open(open);
    }

    fn request(&mut self, request: Request) {
        self.inner.request(request);
    }

    fn global_request(&mut self, request: GlobalRequest) {
        self.inner.global_request(request);
    }

    fn ended(&mut self, why: &Error) {
        self.inner.ended(why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Result<FromFile, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sshd_config");
        std::fs::write(&path, text).unwrap();
        read(&path, &mut Settings::default())
    }

    #[test]
    fn what_restricts_and_cannot_be_held_to_is_an_error() {
        for (text, wrong) in [
            ("Port 2222\nHostKey /k\nMaxAuthTries 3\nUsePAM yes\nSubsystem sftp internal-sftp\n", ""),
            ("Match User bob\nPasswordAuthentication no\nX11Forwarding no\n", ""),
            ("ForceCommand none\nChrootDirectory none\nGSSAPIAuthentication no\n", ""),
            ("ForceCommand /bin/false\n", "sshd_config:1: forcecommand: konko serve does not have this"),
            ("AllowGroups staff\n", "allowgroups"),
            ("\nMatch User bob\n  ForceCommand x\n", "sshd_config:3: forcecommand"),
            ("Match User bob\nPasswordAuthentication perhaps\n", "perhaps"),
            (
                "Match !Group staff\nDenyUsers bob\n",
                "sshd_config:2: konko serve does not know what \"Match group\" asks",
            ),
            ("Match RDomain x User bob\nRefuseConnection yes\n", "\"Match rdomain\""),
            ("Nonsense 1\n", "Bad configuration option"),
            ("MaxAuthTries x\n", "sshd_config:1: maxauthtries"),
            ("Port 1\nPort 2\n", "one place"),
            ("AuthorizedKeysFile .ssh/authorized_keys\n", "no path that is one for all users"),
        ] {
            match of(text) {
                Ok(_) => assert!(wrong.is_empty(), "{text}"),
                Err(e) => assert!(!wrong.is_empty() && e.contains(wrong), "{text}: {e}"),
            }
        }
        let listens = |text: &str| of(text).unwrap().listen;
        assert_eq!(listens("Port 2222\n").as_deref(), Some("[::]:2222"));
        assert_eq!(listens("ListenAddress 127.0.0.1\nPort 7\n").as_deref(), Some("127.0.0.1:7"));
        assert_eq!(listens("ListenAddress [::1]:7\n").as_deref(), Some("[::1]:7"));
        assert_eq!(listens("ListenAddress ::1\n").as_deref(), Some("[::1]:22"));
        assert_eq!(listens("UsePAM no\n"), None);
    }

    #[test]
    fn users_are_named_with_and_without_their_hosts() {
        let peer = "192.0.2.7".parse().ok();
        for (word, fits) in
            [("al*", true), ("bob", false), ("alice@192.0.2.0/24", true), ("alice@198.51.100.*", false)]
        {
            assert_eq!(is_named(word.as_bytes(), "alice", peer), fits, "{word}");
        }
    }
}
