//! What a configuration asks for that konko does not do: said, and refused where to go on would be something else than
//! what is asked for.

use konko::SshStr;
use konko::ssh_config::{Config, Setting, left_out};

/// What becomes of a value that is not one of those that ask for nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rule {
    /// It is said with `-v`.
    Note(&'static [&'static str]),
    /// It is said.
    Warn(&'static [&'static str]),
    /// Nothing is connected to.
    Refuse(&'static [&'static str]),
    /// It is said; from the command line, nothing is connected to.
    Typed(&'static [&'static str]),
}

use Rule::{Note, Refuse, Typed, Warn};

const NO: &[&str] = &["no", "false"];

/// The keywords that are not obeyed, with the values that ask for what is done anyway.
const RULES: &[(&str, Rule)] = &[
    ("AddKeysToAgent", Note(&["false 0"])),
    ("BindInterface", Refuse(&[])),
    ("ChannelTimeout", Warn(&["none"])),
    ("ControlMaster", Note(NO)),
    ("ControlPersist", Note(&["no 0"])),
    ("ControlPath", Note(&[])),
    ("DynamicForward", Typed(&[])),
    ("EnableEscapeCommandline", Note(NO)),
    ("FingerprintHash", Note(&["SHA256"])),
    ("ForkAfterAuthentication", Refuse(NO)),
    ("ForwardAgent", Typed(NO)),
    ("ForwardX11", Typed(NO)),
    ("GSSAPIAuthentication", Note(NO)),
    ("GSSAPIKeyExchange", Note(NO)),
    ("HostbasedAuthentication", Note(NO)),
    ("IPQoS", Note(&["none none"])),
    ("KbdInteractiveDevices", Note(&[])),
    ("LocalForward", Typed(&[])),
    ("LogVerbose", Note(&["none"])),
    ("NoHostAuthenticationForLocalhost", Note(NO)),
    ("ObscureKeystrokeTiming", Note(&["0"])),
    ("PermitLocalCommand", Warn(NO)),
    ("PKCS11Provider", Warn(&["none"])),
    ("ProxyJump", Refuse(&[])),
    ("ProxyUseFdpass", Refuse(NO)),
    ("RemoteForward", Typed(&[])),
    ("SecurityKeyProvider", Note(&["none", "internal"])),
    ("Tunnel", Typed(NO)),
    ("UpdateHostKeys", Note(&["no", "false", "yes", "true"])),
    ("VerifyHostKeyDNS", Note(NO)),
    ("VersionAddendum", Note(&[""])),
    ("VisualHostKey", Note(NO)),
    ("WarnWeakCrypto", Note(NO)),
];

/// What is to be said, and whether it ends everything.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Said {
    pub refused: Vec<String>,
    pub warnings: Vec<String>,
    pub notes: Vec<String>,
}

/// Looks at all that lines say; what holds by default is nobody's wish.
pub fn judge(config: &Config) -> Said {
    let mut said = Said::default();
    for (keyword, rule) in RULES {
        for setting in config.settings(keyword).iter().filter(|setting| setting.at().is_some()) {
            let words: Vec<&[u8]> =
                setting.words().iter().map(Vec::as_slice).filter(|w| !w.is_empty()).collect();
            let value = words.join(&b' ');
            let (Note(fine) | Warn(fine) | Refuse(fine) | Typed(fine)) = *rule;
            let path = *keyword == "ForwardAgent" && config.forwarded_agent().is_some();
            if !path && fine.iter().any(|f| f.as_bytes().eq_ignore_ascii_case(&value)) {
                continue;
            }
            let text = described(keyword, &value, setting);
            match rule {
                Note(_) => said.notes.push(text),
                Warn(_) => said.warnings.push(text),
                Refuse(_) => said.refused.push(text),
                Typed(_) if is_typed(setting) || config.flag("ExitOnForwardFailure") => {
                    said.refused.push(text)
                }
                // Nothing is opened that should not be; whoever misses it can ask.
                Typed(_) if matches!(*keyword, "ForwardAgent" | "ForwardX11") => said.notes.push(text),
                Typed(_) => said.warnings.push(text),
            }
        }
    }
    let missing = left_out(config).into_iter();
    said.notes
        .extend(missing.map(|(keyword, name)| format!("{keyword}: {name} is left out, konko has none")));
    said
}

/// Whether it is of the command line.
fn is_typed(setting: &Setting) -> bool {
    setting.at().is_some_and(|at| at.line == 0)
}

fn described(keyword: &str, value: &[u8], setting: &Setting) -> String {
    let value = SshStr::new(value);
    match setting.at().filter(|_| !is_typed(setting)) {
        Some(at) => format!("not supported yet: {keyword} {value} ({at})"),
        None => format!("not supported yet: {keyword} {value}"),
    }
}

/// Where each value comes from, a line each: the keyword, the value, and the line with the blocks around it.
pub fn origins(config: &Config) -> Vec<String> {
    let said = config.all().filter_map(|(keyword, setting)| {
        let at = setting.at()?;
        let value = setting.words().join(&b' ');
        let mut text = format!("{keyword} {} ({at}", SshStr::new(&value));
        for block in setting.blocks() {
            text += &format!(", in {} \"{}\"", block.at(), SshStr::new(block.text()));
        }
        Some(text + ")")
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use konko::ssh_config::{Local, Request, lookup};

    fn config(options: &[&str]) -> Config {
        let request = Request::new(Local::new("u", "/h", 1, "m"), "host").file("none");
        lookup(options.iter().fold(request, |request, option| request.option(*option))).unwrap()
    }

    /// Every option of ssh_config(5) of OpenSSH 10, with a value that some program or person gives.
    const MANUAL: &str = "AddKeysToAgent=no AddressFamily=inet BatchMode=yes BindAddress=::1 BindInterface=lo \
        CanonicalDomains=x CanonicalizeFallbackLocal=yes CanonicalizeHostname=no CanonicalizeMaxDots=1 \
        CanonicalizePermittedCNAMEs=none CASignatureAlgorithms=ssh-rsa CertificateFile=x ChannelTimeout=none \
        CheckHostIP=no Ciphers=+aes128-ctr ClearAllForwardings=no Compression=yes ConnectionAttempts=2 \
        ConnectTimeout=10 ControlMaster=auto ControlPath=/x ControlPersist=60s DynamicForward=1 \
        EnableEscapeCommandline=no EnableSSHKeysign=no EscapeChar=none ExitOnForwardFailure=no FingerprintHash=sha256 \
        ForkAfterAuthentication=no ForwardAgent=no ForwardX11=no ForwardX11Timeout=1 ForwardX11Trusted=no \
        GatewayPorts=no GlobalKnownHostsFile=x GSSAPIAuthentication=no GSSAPIDelegateCredentials=no HashKnownHosts=yes \
        HostbasedAcceptedAlgorithms=ssh-rsa HostbasedAuthentication=no HostKeyAlgorithms=ssh-ed25519 HostKeyAlias=x \
        Hostname=x IdentitiesOnly=yes IdentityAgent=none IdentityFile=x IgnoreUnknown=x IPQoS=none \
        KbdInteractiveAuthentication=no KexAlgorithms=curve25519-sha256 KnownHostsCommand=none \
        LocalCommand=x LogLevel=ERROR LogVerbose=none MACs=hmac-sha2-256 \
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
        let mut refused = Vec::new();
        for option in MANUAL.split_whitespace() {
            if !judge(&config(&[option])).refused.is_empty() {
                refused.push(option.split('=').next().unwrap());
            }
        }
        assert_eq!(refused, ["BindInterface", "DynamicForward", "RemoteForward"]);
    }

    #[test]
    fn c17_what_asks_for_more_than_there_is_says_so() {
        for (option, refused) in [
            ("ForwardX11=yes", true),
            ("ForwardAgent yes", true),
            ("ForwardAgent /tmp/agent", true),
            ("ProxyJump=h", true),
            ("UpdateHostKeys=ask", false),
            ("Tunnel=point-to-point", true),
            ("PermitLocalCommand=yes", false),
            ("ControlMaster=yes", false),
            ("GSSAPIAuthentication=yes", false),
            ("VerifyHostKeyDNS=ask", false),
            ("MACs=umac-64@openssh.com,hmac-sha2-256", false),
        ] {
            let said = judge(&config(&[option]));
            assert_eq!(!said.refused.is_empty(), refused, "{option}: {said:?}");
            let all = [said.refused, said.warnings, said.notes].concat();
            let name = option.split(['=', ' ']).next().unwrap();
            assert!(all.len() == 1 && all[0].contains(name), "{option}: {all:?}");
        }
        assert_eq!(judge(&config(&["ProxyCommand=nc h 22", "HostKeyAlias=x"])), Said::default());
    }

    #[test]
    fn c17_the_first_value_counts_and_forwardings_can_be_cleared() {
        let all = ["ForwardAgent=no", "ForwardAgent=yes", "LocalForward=1 h:2", "ClearAllForwardings=yes"];
        assert_eq!(judge(&config(&all)), Said::default());
        assert_eq!(judge(&config(&all[2..3])).refused, ["not supported yet: LocalForward 1 [h]:2"]);
    }
}
