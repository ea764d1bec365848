//! The options of ssh_config(5) that konko does not obey: whether a value can be accepted all the same, since it asks
//! for nothing that konko does otherwise. Names of OpenSSH 10, with those that Debian adds.

/// What to do with the value of an option that konko does nothing about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It only says how something is done that konko does not do, or is a wish that may go unheard.
    Any,
    /// These values ask for what konko does; all others are not supported.
    Only(&'static [&'static str]),
    /// A forwarding, which `ClearAllForwardings` takes back.
    Forwarding,
    /// Not supported, whatever the value.
    Never,
    /// OpenSSH ignores it too: what it was about is gone.
    Gone,
}

use Rule::{Any, Forwarding, Gone, Never, Only};

const NO: Rule = Only(&["no", "false"]);
const NONE: Rule = Only(&["none"]);

const RULES: &[(&str, Rule)] = &[
    ("AddKeysToAgent", NO),
    ("BindAddress", Never),
    ("BindInterface", Never),
    ("CanonicalDomains", Any),
    ("CanonicalizeFallbackLocal", Any),
    ("CanonicalizeHostname", Only(&["no", "false", "none"])),
    ("CanonicalizeMaxDots", Any),
    ("CanonicalizePermittedCNAMEs", Any),
    ("CASignatureAlgorithms", Never),
    ("CertificateFile", NONE),
    ("ChannelTimeout", NONE),
    ("CheckHostIP", NO),
    // A connection of one's own is what `auto` comes to where there is none to share.
    ("ControlMaster", Only(&["no", "false", "auto", "autoask"])),
    ("ControlPath", Any),
    ("ControlPersist", Any),
    ("DynamicForward", Forwarding),
    ("EnableEscapeCommandline", NO),
    ("EnableSSHKeysign", Any),
    ("ExitOnForwardFailure", Any),
    ("FingerprintHash", Only(&["sha256"])),
    ("ForkAfterAuthentication", NO),
    ("ForwardAgent", NO),
    ("ForwardX11", NO),
    ("ForwardX11Timeout", Any),
    ("ForwardX11Trusted", Any),
    ("GatewayPorts", Any),
    ("GSSAPIAuthentication", NO),
    ("GSSAPIClientIdentity", Any),
    ("GSSAPIDelegateCredentials", Any),
    ("GSSAPIKexAlgorithms", Any),
    ("GSSAPIKeyExchange", NO),
    ("GSSAPIRenewalForcesRekey", Any),
    ("GSSAPIServerIdentity", Any),
    ("GSSAPITrustDns", Any),
    ("Host", Never),
    ("HostbasedAcceptedAlgorithms", Any),
    ("HostbasedAuthentication", NO),
    ("HostbasedKeyTypes", Any),
    ("Include", Never),
    ("IPQoS", NONE),
    ("KbdInteractiveDevices", Never),
    ("KnownHostsCommand", NONE),
    ("LocalCommand", Any),
    ("LocalForward", Forwarding),
    ("LogVerbose", NONE),
    ("Match", Never),
    ("NoHostAuthenticationForLocalhost", NO),
    ("ObscureKeystrokeTiming", NO),
    ("PermitLocalCommand", NO),
    ("PermitRemoteOpen", Any),
    ("PKCS11Provider", NONE),
    ("ProxyCommand", NONE),
    ("ProxyJump", NONE),
    ("ProxyUseFdpass", NO),
    ("RemoteForward", Forwarding),
    ("RevokedHostKeys", NONE),
    ("SecurityKeyProvider", NONE),
    ("SmartcardDevice", NONE),
    ("StreamLocalBindMask", Any),
    ("StreamLocalBindUnlink", Any),
    ("SyslogFacility", Any),
    ("Tag", Any),
    ("TCPKeepAlive", Only(&["yes", "true"])),
    ("KeepAlive", Only(&["yes", "true"])),
    ("Tunnel", NO),
    ("TunnelDevice", Any),
    ("UpdateHostKeys", NO),
    ("VerifyHostKeyDNS", NO),
    ("VersionAddendum", NONE),
    ("VisualHostKey", NO),
    ("WarnWeakCrypto", NO),
    ("XAuthLocation", Any),
    // What OpenSSH calls deprecated or unsupported, and passes over.
    ("AFSTokenPassing", Gone),
    ("Cipher", Gone),
    ("CompressionLevel", Gone),
    ("FallBackToRsh", Gone),
    ("GlobalKnownHostsFile2", Gone),
    ("KerberosAuthentication", Gone),
    ("KerberosTgtPassing", Gone),
    ("Protocol", Gone),
    ("RhostsAuthentication", Gone),
    ("RhostsRSAAuthentication", Gone),
    ("RSAAuthentication", Gone),
    ("UsePrivilegedPort", Gone),
    ("UserKnownHostsFile2", Gone),
    ("UseRoaming", Gone),
    ("UseRsh", Gone),
];

/// What comes of an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Accepted; nothing is to be done.
    Accepted,
    /// A forwarding that is not supported, unless all forwardings are cleared.
    Forwarding(&'static str),
    /// Not supported: why.
    Unsupported(String),
    /// There is no such option.
    Unknown,
}

/// Judges an option, its name in lower case.
pub fn judge(keyword: &str, arguments: &[Vec<u8>]) -> Known {
    let Some((name, rule)) = RULES.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword)) else {
        return Known::Unknown;
    };
    match rule {
        Any | Gone => Known::Accepted,
        Forwarding => Known::Forwarding(name),
        Only(values)
            if arguments.iter().all(|a| values.iter().any(|v| v.as_bytes().eq_ignore_ascii_case(a))) =>
        {
            Known::Accepted
        }
        Only(values) => Known::Unsupported(format!("not supported yet: {name}, but for {}", values[0])),
        Never => Known::Unsupported(format!("not supported yet: {name}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::settings::Settings;

    /// Every option of ssh_config(5) of OpenSSH 10, with a value that some program or person gives.
    const MANUAL: &str = "AddKeysToAgent=no AddressFamily=inet BatchMode=yes BindAddress=::1 BindInterface=lo \
        CanonicalDomains=x CanonicalizeFallbackLocal=yes CanonicalizeHostname=no CanonicalizeMaxDots=1 \
        CanonicalizePermittedCNAMEs=none CASignatureAlgorithms=x CertificateFile=x ChannelTimeout=none CheckHostIP=no \
        Ciphers=+aes128-ctr ClearAllForwardings=yes Compression=yes ConnectionAttempts=2 ConnectTimeout=10 \
        ControlMaster=auto ControlPath=/x ControlPersist=60s DynamicForward=1 EnableEscapeCommandline=no \
        EnableSSHKeysign=no EscapeChar=none ExitOnForwardFailure=yes FingerprintHash=sha256 \
        ForkAfterAuthentication=no ForwardAgent=no ForwardX11=no ForwardX11Timeout=1 ForwardX11Trusted=no \
        GatewayPorts=no GlobalKnownHostsFile=x GSSAPIAuthentication=no GSSAPIDelegateCredentials=no HashKnownHosts=yes \
        HostbasedAcceptedAlgorithms=x HostbasedAuthentication=no HostKeyAlgorithms=ssh-ed25519 HostKeyAlias=x \
        Hostname=x IdentitiesOnly=yes IdentityAgent=none IdentityFile=x IgnoreUnknown=x IPQoS=none \
        KbdInteractiveAuthentication=no KexAlgorithms=curve25519-sha256 KnownHostsCommand=none \
        LocalCommand=x LocalForward=1 LogLevel=ERROR LogVerbose=none MACs=hmac-sha2-256 \
        NoHostAuthenticationForLocalhost=no NumberOfPasswordPrompts=1 ObscureKeystrokeTiming=no \
        PasswordAuthentication=no PermitLocalCommand=no PermitRemoteOpen=any PKCS11Provider=none Port=22 \
        PreferredAuthentications=publickey ProxyCommand=none ProxyJump=none ProxyUseFdpass=no \
        PubkeyAcceptedAlgorithms=ssh-ed25519 PubkeyAuthentication=yes RekeyLimit=1G RemoteCommand=none \
        RemoteForward=1 RequestTTY=no RevokedHostKeys=none SecurityKeyProvider=none SendEnv=LANG \
        ServerAliveCountMax=3 ServerAliveInterval=60 SessionType=default SetEnv=A=b StdinNull=no \
        StreamLocalBindMask=0177 StreamLocalBindUnlink=no StrictHostKeyChecking=no SyslogFacility=USER Tag=x \
        TCPKeepAlive=yes Tunnel=no TunnelDevice=any UpdateHostKeys=no User=x UserKnownHostsFile=x \
        VerifyHostKeyDNS=no VisualHostKey=no XAuthLocation=x";

    #[test]
    fn c17_every_option_of_the_manual_is_known() {
        let mut unsupported = Vec::new();
        for option in MANUAL.split_whitespace() {
            let mut s = Settings::default();
            if let Err(text) = s.set(option.as_ref()).and_then(|()| s.check()) {
                let name = option.split('=').next().unwrap();
                assert!(text.contains(&format!("not supported yet: {name}")), "{option}: {text}");
                unsupported.push(name);
            }
        }
        let expected = [
            "BindAddress",
            "BindInterface",
            "CASignatureAlgorithms",
            "CertificateFile",
            "DynamicForward",
            "LocalForward",
            "RemoteForward",
        ];
        assert_eq!(unsupported, expected);
    }

    #[test]
    fn c17_what_asks_for_more_than_there_is_says_so() {
        for option in [
            "ForwardX11=yes",
            "ForwardAgent yes",
            "ProxyJump=h",
            "ProxyCommand=nc h 22",
            "PermitLocalCommand=yes",
            "ControlMaster=yes",
            "GSSAPIAuthentication=yes",
            "Tunnel=point-to-point",
            "RevokedHostKeys=/f",
            "VerifyHostKeyDNS=ask",
        ] {
            let mut s = Settings::default();
            let text = s.set(option.as_ref()).unwrap_err();
            let name = option.split(['=', ' ']).next().unwrap();
            assert!(text.contains(&format!("not supported yet: {name}")), "{option}: {text}");
        }
    }

    #[test]
    fn c17_the_first_value_counts_and_forwardings_can_be_cleared() {
        let mut s = Settings::default();
        for option in ["ForwardAgent=no", "ForwardAgent=yes", "LocalForward=1 h:2", "ClearAllForwardings=yes"]
        {
            s.set(option.as_ref()).unwrap();
        }
        s.check().unwrap();
    }

    #[test]
    fn c17_unknown_options_are_errors_unless_they_are_to_be_ignored() {
        let mut s = Settings::default();
        let text = s.set("UseKeychain=yes".as_ref()).unwrap_err();
        assert!(text.contains("Bad configuration option: usekeychain"), "{text}");
        s.set("IgnoreUnknown=UseKey*,Other".as_ref()).unwrap();
        s.set("UseKeychain=yes".as_ref()).unwrap();
        s.set("other x y".as_ref()).unwrap();
        assert!(s.set("Another=1".as_ref()).is_err());
    }
}
