//! The keywords of ssh_config(5), a row each: its type, and which tokens its value may hold.

/// What a value is, and how it is written back (`readconf.c`, `process_config_line_depth`, `dump_client_config`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// `yes` or `no`, also `true` or `false`.
    Flag,
    /// One of these words, whose second form is the one that is written back.
    Choice(&'static [(&'static str, &'static str)]),
    /// A number from 0 to 2147483647.
    Number,
    /// A time such as `90` or `1h30m`, in seconds; `none` says nothing.
    Time,
    /// A port: a number from 1 to 65535, or the name of a service.
    Port,
    /// One argument.
    Text,
    /// All that stands behind the keyword, as it is: a command for a shell.
    Command,
    /// Paths; `none` alone is none at all.
    Paths,
    /// A list of algorithms: names or patterns, or `+`, `-` or `^` and what it does to the default.
    Algorithms(Algorithms),
    /// A character, `^` and a letter, or `none` (`EscapeChar`).
    Escape,
    /// One or two classes of service (`IPQoS`).
    Service,
    /// A number of bytes, and a time (`RekeyLimit`).
    Rekey,
    /// Two numbers or `any` (`TunnelDevice`).
    TunnelDevice,
    /// Who listens where, and where that leads (`LocalForward`, `RemoteForward`, `DynamicForward`).
    Forward,
    /// Hosts with ports (`PermitRemoteOpen`).
    Destinations,
    /// Names of variables, of which `-NAME` takes some back (`SendEnv`).
    Names,
    /// `NAME=VALUE` (`SetEnv`).
    Variables,
    /// Domains (`CanonicalDomains`).
    Domains,
    /// `source:target` (`CanonicalizePermittedCNAMEs`).
    Aliases,
    /// An octal mask (`StreamLocalBindMask`).
    Mask,
    /// `AddKeysToAgent`: a choice, a time, or `confirm` and a time.
    AddKeys,
    /// The path of a socket, or a variable that holds it (`IdentityAgent`).
    Socket,
    /// Yes, no, or the path of a socket (`ForwardAgent`).
    ForwardAgent,
    /// Yes, no, or `interval:` and milliseconds (`ObscureKeystrokeTiming`).
    Keystrokes,
    /// `type=time` (`ChannelTimeout`).
    Timeouts,
    /// The end of the line, without a comment (`VersionAddendum`).
    Addendum,
    /// Yes, no or a time (`ControlPersist`).
    Persist,
    /// Hosts to go through (`ProxyJump`).
    Jump,
    /// A file whose private key, or certificate, is used too (`IdentityFile`, `CertificateFile`).
    Identity,
    /// Nothing is connected to, for this reason (`RefuseConnection`).
    Refuse,
    /// Begins a block of lines for some hosts.
    Host,
    /// Begins a block of lines under conditions.
    Match,
    /// Reads other files.
    Include,
    /// OpenSSH knows the word and passes it over, as konko does: what it was about is gone.
    Gone,
}

/// Which algorithms a list is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithms {
    /// `Ciphers`
    Ciphers,
    /// `MACs`
    Macs,
    /// `KexAlgorithms`
    Kex,
    /// `HostKeyAlgorithms`
    HostKeys,
    /// `PubkeyAcceptedAlgorithms`
    UserKeys,
    /// `HostbasedAcceptedAlgorithms`
    Hostbased,
    /// `CASignatureAlgorithms`
    Authorities,
}

/// Which tokens a value may hold (ssh_config(5), TOKENS).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tokens {
    /// None: a percent sign is one.
    None,
    /// `%%` and `%h`.
    Host,
    /// Those that every value may have that has any: `%%`, `%C`, `%d`, `%h`, `%i`, `%j`, `%k`, `%L`, `%l`, `%n`,
    /// `%p`, `%r`, `%u`.
    Usual,
    /// The usual ones but for `%C` and `%r`: the user cannot stand in its own name.
    User,
    /// `%%`, `%h`, `%n`, `%p` and `%r`.
    Proxy,
    /// The usual ones, `%f`, `%H`, `%I`, `%K` and `%t`.
    KnownHosts,
    /// The usual ones and `%T`.
    Local,
}

impl Tokens {
    /// The letters that may stand behind a percent sign.
    pub const fn letters(self) -> &'static [u8] {
        match self {
            Tokens::None => b"",
            Tokens::Host => b"%h",
            Tokens::Usual => b"%CdhijkLlnpru",
            Tokens::User => b"%dhijkLlnpu",
            Tokens::Proxy => b"%hnpr",
            Tokens::KnownHosts => b"%CdhijkLlnprufHIKt",
            Tokens::Local => b"%CdhijkLlnpruT",
        }
    }
}

/// A keyword of ssh_config(5).
#[derive(Debug, PartialEq, Eq)]
pub struct Keyword {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) tokens: Tokens,
    pub(super) variables: bool,
}

impl Keyword {
    /// Its name as the manual writes it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What its value is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Which tokens its value may hold.
    pub fn tokens(&self) -> Tokens {
        self.tokens
    }

    /// Whether `${NAME}` in its value stands for a variable of the environment.
    pub fn has_variables(&self) -> bool {
        self.variables
    }

    /// All keywords, also those that OpenSSH no longer obeys.
    pub fn all() -> &'static [Keyword] {
        KEYWORDS
    }

    /// The keyword of this name, or of one of its older names, in any case of letters.
    pub fn find(name: &str) -> Option<&'static Keyword> {
        let alias = ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name));
        let name = alias.map_or(name, |(_, name)| name);
        KEYWORDS.iter().find(|row| row.name.eq_ignore_ascii_case(name))
    }
}

const fn row(name: &'static str, kind: Kind) -> Keyword {
    Keyword { name, kind, tokens: Tokens::None, variables: false }
}

const fn with(name: &'static str, kind: Kind, tokens: Tokens) -> Keyword {
    Keyword { name, kind, tokens, variables: false }
}

const fn full(name: &'static str, kind: Kind, tokens: Tokens) -> Keyword {
    Keyword { name, kind, tokens, variables: true }
}

use Kind::{
    AddKeys, Addendum, Aliases, Choice, Command, Destinations, Domains, Escape, Flag, Forward, Gone,
    Identity, Jump, Keystrokes, Mask, Names, Number, Paths, Persist, Port, Refuse, Rekey, Service, Socket,
    Text, Time, Timeouts, Variables,
};

const ASK: Kind =
    Choice(&[("true", "true"), ("yes", "true"), ("false", "false"), ("no", "false"), ("ask", "ask")]);
const STRICT: Kind = Choice(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("off", "false"),
    ("ask", "ask"),
    ("accept-new", "accept-new"),
]);
const CANONICALIZE: Kind =
    Choice(&[("true", "true"), ("yes", "true"), ("false", "false"), ("no", "false"), ("always", "always")]);
const MASTER: Kind = Choice(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("auto", "auto"),
    ("ask", "ask"),
    ("autoask", "autoask"),
]);
const TUNNEL: Kind = Choice(&[
    ("ethernet", "ethernet"),
    ("point-to-point", "point-to-point"),
    ("true", "point-to-point"),
    ("yes", "point-to-point"),
    ("false", "false"),
    ("no", "false"),
]);
const TTY: Kind = Choice(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("force", "force"),
    ("auto", "auto"),
]);
const PUBKEY: Kind = Choice(&[
    ("true", "true"),
    ("yes", "true"),
    ("false", "false"),
    ("no", "false"),
    ("unbound", "unbound"),
    ("host-bound", "host-bound"),
]);
const WARN: Kind =
    Choice(&[("true", "yes"), ("yes", "yes"), ("false", "no"), ("no", "no"), ("no-pq-kex", "no")]);
const LEVEL: Kind = Choice(&[
    ("SILENT", "SILENT"),
    ("QUIET", "SILENT"),
    ("FATAL", "FATAL"),
    ("ERROR", "ERROR"),
    ("INFO", "INFO"),
    ("VERBOSE", "VERBOSE"),
    ("DEBUG", "DEBUG"),
    ("DEBUG1", "DEBUG"),
    ("DEBUG2", "DEBUG2"),
    ("DEBUG3", "DEBUG3"),
]);
const FACILITY: Kind = Choice(&[
    ("DAEMON", "DAEMON"),
    ("USER", "USER"),
    ("AUTH", "AUTH"),
    ("AUTHPRIV", "AUTHPRIV"),
    ("LOCAL0", "LOCAL0"),
    ("LOCAL1", "LOCAL1"),
    ("LOCAL2", "LOCAL2"),
    ("LOCAL3", "LOCAL3"),
    ("LOCAL4", "LOCAL4"),
    ("LOCAL5", "LOCAL5"),
    ("LOCAL6", "LOCAL6"),
    ("LOCAL7", "LOCAL7"),
]);
const FAMILY: Kind = Choice(&[("any", "any"), ("inet", "inet"), ("inet6", "inet6")]);
const SESSION: Kind = Choice(&[("none", "none"), ("subsystem", "subsystem"), ("default", "default")]);
const COMPRESSION: Kind = Choice(&[("yes", "yes"), ("no", "no")]);
const HASH: Kind = Choice(&[
    ("MD5", "MD5"),
    ("SHA1", "SHA1"),
    ("SHA256", "SHA256"),
    ("SHA384", "SHA384"),
    ("SHA512", "SHA512"),
]);

/// The keywords of OpenSSH 10.5, and those that Debian and Fedora add for GSSAPI.
const KEYWORDS: &[Keyword] = &[
    row("Host", Kind::Host),
    with("Match", Kind::Match, Tokens::Usual),
    full("Include", Kind::Include, Tokens::Usual),
    row("AddKeysToAgent", AddKeys),
    row("AddressFamily", FAMILY),
    row("BatchMode", Flag),
    row("BindAddress", Text),
    row("BindInterface", Text),
    row("CanonicalDomains", Domains),
    row("CanonicalizeFallbackLocal", Flag),
    row("CanonicalizeHostname", CANONICALIZE),
    row("CanonicalizeMaxDots", Number),
    row("CanonicalizePermittedCNAMEs", Aliases),
    row("CASignatureAlgorithms", Kind::Algorithms(Algorithms::Authorities)),
    full("CertificateFile", Identity, Tokens::Usual),
    row("ChannelTimeout", Timeouts),
    row("CheckHostIP", Flag),
    row("Ciphers", Kind::Algorithms(Algorithms::Ciphers)),
    row("ClearAllForwardings", Flag),
    row("Compression", COMPRESSION),
    row("ConnectionAttempts", Number),
    row("ConnectTimeout", Time),
    row("ControlMaster", MASTER),
    full("ControlPath", Text, Tokens::Usual),
    row("ControlPersist", Persist),
    row("DynamicForward", Forward),
    row("EnableEscapeCommandline", Flag),
    row("EnableSSHKeysign", Flag),
    row("EscapeChar", Escape),
    row("ExitOnForwardFailure", Flag),
    row("FingerprintHash", HASH),
    row("ForkAfterAuthentication", Flag),
    full("ForwardAgent", Kind::ForwardAgent, Tokens::Usual),
    row("ForwardX11", Flag),
    row("ForwardX11Timeout", Time),
    row("ForwardX11Trusted", Flag),
    row("GatewayPorts", Flag),
    row("GlobalKnownHostsFile", Paths),
    row("GSSAPIAuthentication", Flag),
    row("GSSAPIClientIdentity", Text),
    row("GSSAPIDelegateCredentials", Flag),
    row("GSSAPIKexAlgorithms", Text),
    row("GSSAPIKeyExchange", Flag),
    row("GSSAPIRenewalForcesRekey", Flag),
    row("GSSAPIServerIdentity", Text),
    row("GSSAPITrustDns", Flag),
    row("HashKnownHosts", Flag),
    row("HostbasedAcceptedAlgorithms", Kind::Algorithms(Algorithms::Hostbased)),
    row("HostbasedAuthentication", Flag),
    row("HostKeyAlgorithms", Kind::Algorithms(Algorithms::HostKeys)),
    row("HostKeyAlias", Text),
    with("HostName", Text, Tokens::Host),
    row("IdentitiesOnly", Flag),
    full("IdentityAgent", Socket, Tokens::Usual),
    full("IdentityFile", Identity, Tokens::Usual),
    row("IgnoreUnknown", Text),
    row("IPQoS", Service),
    row("KbdInteractiveAuthentication", Flag),
    row("KbdInteractiveDevices", Text),
    row("KexAlgorithms", Kind::Algorithms(Algorithms::Kex)),
    full("KnownHostsCommand", Command, Tokens::KnownHosts),
    with("LocalCommand", Command, Tokens::Local),
    full("LocalForward", Forward, Tokens::Usual),
    row("LogLevel", LEVEL),
    row("LogVerbose", Paths),
    row("MACs", Kind::Algorithms(Algorithms::Macs)),
    row("NoHostAuthenticationForLocalhost", Flag),
    row("NumberOfPasswordPrompts", Number),
    row("ObscureKeystrokeTiming", Keystrokes),
    row("PasswordAuthentication", Flag),
    row("PermitLocalCommand", Flag),
    row("PermitRemoteOpen", Destinations),
    row("PKCS11Provider", Text),
    row("Port", Port),
    row("PreferredAuthentications", Text),
    with("ProxyCommand", Command, Tokens::Proxy),
    with("ProxyJump", Jump, Tokens::Proxy),
    row("ProxyUseFdpass", Flag),
    row("PubkeyAcceptedAlgorithms", Kind::Algorithms(Algorithms::UserKeys)),
    row("PubkeyAuthentication", PUBKEY),
    row("RefuseConnection", Refuse),
    row("RekeyLimit", Rekey),
    with("RemoteCommand", Command, Tokens::Usual),
    full("RemoteForward", Forward, Tokens::Usual),
    row("RequestTTY", TTY),
    row("RequiredRSASize", Number),
    full("RevokedHostKeys", Paths, Tokens::Usual),
    row("SecurityKeyProvider", Text),
    row("SendEnv", Names),
    row("ServerAliveCountMax", Number),
    row("ServerAliveInterval", Time),
    row("SessionType", SESSION),
    full("SetEnv", Variables, Tokens::Usual),
    row("StdinNull", Flag),
    row("StreamLocalBindMask", Mask),
    row("StreamLocalBindUnlink", Flag),
    row("StrictHostKeyChecking", STRICT),
    row("SyslogFacility", FACILITY),
    row("Tag", Text),
    row("TCPKeepAlive", Flag),
    row("Tunnel", TUNNEL),
    row("TunnelDevice", Kind::TunnelDevice),
    row("UpdateHostKeys", ASK),
    full("User", Text, Tokens::User),
    full("UserKnownHostsFile", Paths, Tokens::Usual),
    row("VerifyHostKeyDNS", ASK),
    full("VersionAddendum", Addendum, Tokens::Usual),
    row("VisualHostKey", Flag),
    row("WarnWeakCrypto", WARN),
    row("XAuthLocation", Text),
    // konko's own: OpenSSH goes on with a server that the Terrapin attack works on, konko only if this is said.
    row("AllowTerrapin", Flag),
    // What OpenSSH calls deprecated, unsupported or to be ignored.
    row("AFSTokenPassing", Gone),
    row("Cipher", Gone),
    row("CompressionLevel", Gone),
    row("FallBackToRsh", Gone),
    row("GlobalKnownHostsFile2", Gone),
    row("KerberosAuthentication", Gone),
    row("KerberosTgtPassing", Gone),
    row("Protocol", Gone),
    row("RhostsAuthentication", Gone),
    row("RhostsRSAAuthentication", Gone),
    row("RSAAuthentication", Gone),
    row("UsePrivilegedPort", Gone),
    row("UserKnownHostsFile2", Gone),
    row("UseRoaming", Gone),
    row("UseRsh", Gone),
];

/// Older names, and Debian's.
const ALIASES: &[(&str, &str)] = &[
    ("ChallengeResponseAuthentication", "KbdInteractiveAuthentication"),
    ("DSAAuthentication", "PubkeyAuthentication"),
    ("HostbasedKeyTypes", "HostbasedAcceptedAlgorithms"),
    ("IdentityFile2", "IdentityFile"),
    ("KeepAlive", "TCPKeepAlive"),
    ("ProtocolKeepAlives", "ServerAliveInterval"),
    ("PubkeyAcceptedKeyTypes", "PubkeyAcceptedAlgorithms"),
    ("SetupTimeOut", "ServerAliveInterval"),
    ("SkeyAuthentication", "KbdInteractiveAuthentication"),
    ("SmartcardDevice", "PKCS11Provider"),
    ("TISAuthentication", "KbdInteractiveAuthentication"),
];
