//! The configuration as `ssh -G` prints it (`readconf.c`, `dump_client_config`), byte for byte.

use alloc::vec::Vec;

use super::config::{Config, bracketed};

/// How a keyword is printed.
#[derive(Clone, Copy)]
enum Form {
    /// The words of its value behind it, if it has one.
    Line,
    /// A line for each value.
    Each,
    /// A line for each word.
    EachWord,
    /// The words in one line, or this word.
    Or(&'static str),
    /// As only this keyword is.
    Own,
}

use Form::{Each, EachWord, Line, Or, Own};

/// The keywords behind the host, the user, its name and the port.
const ORDER: &[(&str, Form)] = &[
    ("AddressFamily", Line),
    ("BatchMode", Line),
    ("CanonicalizeFallbackLocal", Line),
    ("CanonicalizeHostname", Line),
    ("CheckHostIP", Line),
    ("Compression", Line),
    ("ControlMaster", Line),
    ("EnableSSHKeysign", Line),
    ("ClearAllForwardings", Line),
    ("ExitOnForwardFailure", Line),
    ("FingerprintHash", Line),
    ("ForwardX11", Line),
    ("ForwardX11Trusted", Line),
    ("GatewayPorts", Line),
    ("GSSAPIAuthentication", Line),
    ("GSSAPIKeyExchange", Line),
    ("GSSAPIDelegateCredentials", Line),
    ("GSSAPITrustDns", Line),
    ("GSSAPIRenewalForcesRekey", Line),
    ("GSSAPIClientIdentity", Line),
    ("GSSAPIServerIdentity", Line),
    ("GSSAPIKexAlgorithms", Line),
    ("HashKnownHosts", Line),
    ("HostbasedAuthentication", Line),
    ("IdentitiesOnly", Line),
    ("KbdInteractiveAuthentication", Line),
    ("NoHostAuthenticationForLocalhost", Line),
    ("PasswordAuthentication", Line),
    ("PermitLocalCommand", Line),
    ("ProxyUseFdpass", Own),
    ("PubkeyAuthentication", Line),
    ("RequestTTY", Line),
    ("SessionType", Line),
    ("StdinNull", Line),
    ("ForkAfterAuthentication", Line),
    ("StreamLocalBindUnlink", Line),
    ("StrictHostKeyChecking", Line),
    ("TCPKeepAlive", Line),
    ("Tunnel", Line),
    ("VerifyHostKeyDNS", Line),
    ("VisualHostKey", Line),
    ("UpdateHostKeys", Line),
    ("EnableEscapeCommandline", Line),
    ("WarnWeakCrypto", Own),
    ("CanonicalizeMaxDots", Line),
    ("ConnectionAttempts", Line),
    ("ForwardX11Timeout", Line),
    ("NumberOfPasswordPrompts", Line),
    ("ServerAliveCountMax", Line),
    ("ServerAliveInterval", Line),
    ("RequiredRSASize", Line),
    ("ObscureKeystrokeTiming", Own),
    ("BindAddress", Line),
    ("BindInterface", Line),
    ("Ciphers", Line),
    ("ControlPath", Line),
    ("HostKeyAlgorithms", Line),
    ("HostKeyAlias", Line),
    ("HostbasedAcceptedAlgorithms", Line),
    ("IdentityAgent", Line),
    ("IgnoreUnknown", Line),
    ("KbdInteractiveDevices", Line),
    ("KexAlgorithms", Line),
    ("CASignatureAlgorithms", Line),
    ("LocalCommand", Line),
    ("RemoteCommand", Line),
    ("LogLevel", Line),
    ("MACs", Line),
    ("PKCS11Provider", Line),
    ("SecurityKeyProvider", Line),
    ("PreferredAuthentications", Line),
    ("PubkeyAcceptedAlgorithms", Line),
    ("RevokedHostKeys", Line),
    ("XAuthLocation", Line),
    ("KnownHostsCommand", Line),
    ("Tag", Line),
    ("VersionAddendum", Line),
    ("DynamicForward", Own),
    ("LocalForward", Own),
    ("RemoteForward", Each),
    ("IdentityFile", Each),
    ("CanonicalDomains", Or("none")),
    ("CertificateFile", Each),
    ("GlobalKnownHostsFile", Or("none")),
    ("UserKnownHostsFile", Or("none")),
    ("SendEnv", Each),
    ("SetEnv", EachWord),
    ("LogVerbose", Or("none")),
    ("ChannelTimeout", Or("none")),
    ("PermitRemoteOpen", Or("any")),
    ("AddKeysToAgent", Own),
    ("ForwardAgent", Own),
    ("ConnectTimeout", Or("none")),
    ("TunnelDevice", Own),
    ("CanonicalizePermittedCNAMEs", Own),
    ("ControlPersist", Own),
    ("EscapeChar", Line),
    ("IPQoS", Line),
    ("RekeyLimit", Own),
    ("StreamLocalBindMask", Line),
    ("SyslogFacility", Line),
    ("ProxyJump", Own),
];

impl Config {
    /// What `ssh -G` prints: a line for each keyword, in OpenSSH's order.
    ///
    /// Lists of algorithms that nothing changes are konko's own, and so is `requiredrsasize`; the rest is OpenSSH's.
    pub fn dump(&self) -> Vec<u8> {
        let mut out = Dump { config: self, text: Vec::new() };
        out.line("host", self.typed_host());
        out.line("user", self.user());
        out.line("hostname", self.host_name());
        out.line("port", alloc::format!("{}", self.port()).as_bytes());
        for (name, form) in ORDER {
            out.keyword(name, *form);
        }
        out.text
    }
}

struct Dump<'c> {
    config: &'c Config,
    text: Vec<u8>,
}

impl Dump<'_> {
    fn line(&mut self, name: &str, value: &[u8]) {
        self.text.extend(name.to_ascii_lowercase().bytes());
        self.text.push(b' ');
        self.text.extend(value);
        self.text.push(b'\n');
    }

    fn keyword(&mut self, name: &'static str, form: Form) {
        let config = self.config;
        match form {
            Line => {
                if !config.settings(name).is_empty() {
                    self.line(name, &config.words(name).join(&b' '));
                }
            }
            Each => {
                for setting in config.settings(name) {
                    self.line(name, &setting.words().join(&b' '));
                }
            }
            EachWord => config.words(name).iter().for_each(|word| self.line(name, word)),
            Or(nothing) => match config.words(name) {
                [] => self.line(name, nothing.as_bytes()),
                words => self.line(name, &words.join(&b' ')),
            },
            Own => self.own(name),
        }
    }

    fn own(&mut self, name: &'static str) {
        let config = self.config;
        let words = config.words(name);
        match (name, words) {
            ("ProxyUseFdpass", _) => {
                // Never to a jump host.
                let value: &[u8] = if config.words("ProxyJump").is_empty() { &words.concat() } else { b"no" };
                self.line(name, value);
            }
            // Not in the OpenSSH whose output this is.
            ("WarnWeakCrypto", _) if config.is_said(name) => self.line(name, &words.concat()),
            ("ObscureKeystrokeTiming", [ms]) => {
                let word: &[u8] = match ms.as_slice() {
                    b"0" => b"no",
                    b"20" => b"yes",
                    ms => ms,
                };
                self.line(name, word);
            }
            ("DynamicForward" | "LocalForward", _) => self.forwards(name),
            ("AddKeysToAgent", [choice, seconds]) => match (choice.as_slice(), seconds.as_slice()) {
                (choice, b"0") => self.line(name, choice),
                (b"confirm", seconds) => self.line(name, &[b"confirm ", seconds].concat()),
                (_, seconds) => self.line(name, seconds),
            },
            ("ForwardAgent", _) => match config.forwarded_agent() {
                Some(path) => self.line(name, path),
                None => self.line(name, &words.concat()),
            },
            ("TunnelDevice", _) => self.line(name, &words.join(&b':')),
            ("CanonicalizePermittedCNAMEs", words) => {
                let value = if words.is_empty() { b"none".to_vec() } else { words.join(&b' ') };
                self.text.extend(b"canonicalizePermittedcnames ");
                self.text.extend(value);
                self.text.push(b'\n');
            }
            ("ControlPersist", [choice, seconds]) => {
                let seconds = Some(seconds).filter(|s| *s != b"0" && choice == b"yes");
                self.line(name, seconds.unwrap_or(choice));
            }
            ("RekeyLimit", [bytes]) => {
                let time = config.rekey_time().unwrap_or(0);
                self.line(name, &[bytes, alloc::format!(" {time}").as_bytes()].concat());
            }
            ("ProxyJump", [extra, user, host, port]) => {
                let mut value = extra.clone();
                value.extend(if extra.is_empty() { &b""[..] } else { b"," });
                value.extend(user);
                value.extend(if user.is_empty() { &b""[..] } else { b"@" });
                value.extend(bracketed(host));
                value.extend(if port.is_empty() { &b""[..] } else { b":" });
                value.extend(port);
                self.line(name, &value);
            }
            ("ProxyJump", _) => self.keyword("ProxyCommand", Line),
            _ => {}
        }
    }

    /// Those of both keywords are one list; from a socket to a socket is printed with either.
    fn forwards(&mut self, name: &'static str) {
        let config = self.config;
        let dynamic = name == "DynamicForward";
        for setting in config.forwards() {
            let [listen, target] = setting.words() else { continue };
            let (proxy, socket) = (target == b"[socks]:0", target.contains(&b'/'));
            if dynamic && (proxy || socket) {
                self.line(name, listen);
            } else if !dynamic && !proxy {
                self.line(name, &[listen, &b" "[..], target].concat());
            }
        }
    }
}
