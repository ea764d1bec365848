//! `konko ssh -G` beside `ssh -G` of OpenSSH 10, on configurations that are made by seed and on those of
//! distributions: keywords, values, defaults and order, byte for byte, and what is an error here is one there.
//!
//! Two things differ, and are looked at for what they are: lists of algorithms where nothing says them, and
//! `requiredrsasize`, which OpenSSH has at 1024. Two are not made: a list of nothing but commas, which is an error here and
//! no list there; and a socket in `ForwardAgent` that does not exist, which only whoever forwards it needs.
//!
//! `KONKO_SEED` makes other configurations; the long run makes 10,000.

use konko::core::ssh_config::{Algorithms, Config, assemble, names};
use konko::ssh_config::{Answer, Lookup, Question, Request, answer};
use konko_conformance::matrix::at_once;
use konko_conformance::peers::full;
use konko_conformance::{OpenSsh, not_run};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// A generator of cases (SplitMix64).
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }
}

/// Keywords with values that are right; `|` separates them.
const VALUES: &[(&str, &str)] = &[
    ("AddKeysToAgent", "yes|no|ask|confirm|confirm 5m|1h30m|true"),
    ("AddressFamily", "any|inet|inet6|INET"),
    ("BatchMode", "yes|no|true|false|YES"),
    ("BindAddress", "127.0.0.1|::1|name"),
    ("BindInterface", "lo|eth0"),
    ("CanonicalDomains", "none|Example.org. corp|a.b"),
    ("CanonicalizeFallbackLocal", "yes|no"),
    ("CanonicalizeMaxDots", "0|1|3"),
    ("CanonicalizePermittedCNAMEs", "none"),
    ("CASignatureAlgorithms", "ssh-ed25519,rsa-sha2-512|-rsa*|ssh-ed25519"),
    ("CertificateFile", "~/.ssh/a-cert.pub|/c/%h|none"),
    ("ChannelTimeout", "none|session=5m|session:shell=1h *=10"),
    ("CheckHostIP", "yes|no"),
    ("Ciphers", "aes128-ctr|aes256-ctr,aes128-ctr|+3des-cbc|-aes*|^aes256-ctr|3des-cbc,aes128-cbc"),
    ("ClearAllForwardings", "yes|no"),
    ("Compression", "yes|no"),
    ("ConnectionAttempts", "1|2|10"),
    ("ConnectTimeout", "none|10|1m|0"),
    ("ControlMaster", "yes|no|auto|ask|autoask|true"),
    ("ControlPath", "none|~/.ssh/%C|/tmp/%r@%h:%p|/x/%L-%l-%u-%i-%n-%k|${HOME}/c"),
    ("ControlPersist", "yes|no|60|5m|0"),
    ("DynamicForward", "1080|127.0.0.1:1080|[::1]:1081|*:9"),
    ("EnableEscapeCommandline", "yes|no"),
    ("EnableSSHKeysign", "yes|no"),
    ("EscapeChar", "none|~|^A|@|^]|^[|+"),
    ("ExitOnForwardFailure", "yes|no"),
    ("FingerprintHash", "md5|sha256|SHA512"),
    ("ForwardAgent", "yes|no|/tmp|/"),
    ("ForwardX11", "yes|no"),
    ("ForwardX11Timeout", "0|20m|1d"),
    ("ForwardX11Trusted", "yes|no"),
    ("GatewayPorts", "yes|no"),
    ("GlobalKnownHostsFile", "/etc/k|/a /b|none|~/k"),
    ("GSSAPIAuthentication", "yes|no"),
    ("GSSAPIClientIdentity", "me"),
    ("GSSAPIDelegateCredentials", "yes|no"),
    ("GSSAPIKeyExchange", "yes|no"),
    ("GSSAPIRenewalForcesRekey", "yes|no"),
    ("GSSAPIServerIdentity", "host"),
    ("GSSAPITrustDns", "yes|no"),
    ("HashKnownHosts", "yes|no"),
    ("HostbasedAcceptedAlgorithms", "ssh-ed25519*|rsa-sha2-512|^ssh-rsa"),
    ("HostbasedAuthentication", "yes|no"),
    (
        "HostKeyAlgorithms",
        "ssh-ed25519|+ssh-rsa|rsa-sha2-*|-ecdsa*|ssh-ed25519-cert-v01@openssh.com,ssh-ed25519",
    ),
    ("HostKeyAlias", "Alias|other.example"),
    ("HostName", "real.example|%h.corp|127.0.0.1|a%%b|UPPER.example|::1|010.1.2.3"),
    ("IdentitiesOnly", "yes|no"),
    ("IdentityAgent", "none|SSH_AUTH_SOCK|~/agent|/run/%u/agent|${HOME}/agent|$HOME"),
    ("IdentityFile", "~/.ssh/id_x|/k/%h_%r|none|${HOME}/k|~/.ssh/id_x"),
    ("IPQoS", "af21 cs1|none|ef|lowdelay throughput|7|le 255|none none"),
    ("KbdInteractiveAuthentication", "yes|no"),
    ("ChallengeResponseAuthentication", "yes|no"),
    ("KbdInteractiveDevices", "pam,bsdauth"),
    ("KexAlgorithms", "curve25519-sha256|+diffie-hellman-group1-sha1|-diffie*|^ecdh-sha2-nistp256"),
    ("KnownHostsCommand", "none|/usr/bin/cmd %H %t|\"/a b\" c"),
    ("LocalCommand", "none|echo %h \"a  b\" # c"),
    ("LocalForward", "8080 host:80|127.0.0.1:8080 [::1]:80|/s/%h /t|8081 /sock|[::1]:7 h:8|8080 host:80"),
    ("LogLevel", "QUIET|ERROR|INFO|VERBOSE"),
    ("LogVerbose", "none|kex.c:*:1000|a b"),
    ("MACs", "hmac-sha2-256|umac-64@openssh.com,hmac-sha2-512|+hmac-md5|-umac*|^hmac-sha1"),
    ("NoHostAuthenticationForLocalhost", "yes|no"),
    ("NumberOfPasswordPrompts", "0|1|3"),
    ("ObscureKeystrokeTiming", "yes|no|interval:80|interval:20"),
    ("PasswordAuthentication", "yes|no"),
    ("PermitLocalCommand", "yes|no"),
    ("PermitRemoteOpen", "any|none|h:80 [::1]:*|a:1"),
    ("PKCS11Provider", "none|/usr/lib/p11.so"),
    ("Port", "22|2222|65535|ssh"),
    ("PreferredAuthentications", "publickey|publickey,password"),
    ("ProxyCommand", "none|nc %h %p|ssh -W %h:%p \"jump host\""),
    ("ProxyJump", "none|jump|u@jump:2222|a,b@c:22|ssh://u@j:1|[::1]:22|10.1.2.3"),
    ("ProxyUseFdpass", "yes|no"),
    ("PubkeyAcceptedAlgorithms", "+ssh-rsa|ssh-ed25519,rsa-sha2-256|-*nistp*"),
    ("PubkeyAcceptedKeyTypes", "+ssh-rsa|ssh-ed25519"),
    ("PubkeyAuthentication", "yes|no|unbound|host-bound"),
    ("RekeyLimit", "default|1G|512M 1h|default none|1K 30|0"),
    ("RemoteCommand", "none"),
    ("RemoteForward", "8080 host:80|9090|[::]:7 [a]:8|/r /l|*:7 h:8"),
    ("RequestTTY", "yes|no|auto|force|true"),
    ("RequiredRSASize", "1024|2048|4096|100"),
    ("RevokedHostKeys", "none|/r/%h|~/revoked"),
    ("SecurityKeyProvider", "none|internal|/usr/lib/sk.so"),
    ("SendEnv", "LANG LC_*|-LC_*|A|B?|-*"),
    ("ServerAliveCountMax", "0|3|10"),
    ("ServerAliveInterval", "0|60|5m|none"),
    ("ProtocolKeepAlives", "15"),
    ("SessionType", "default|none|subsystem"),
    ("SetEnv", "A=b|A=b C=\"d e\"|X=%h|A=1 A=2|Y=${HOME}"),
    ("StdinNull", "yes|no"),
    ("StreamLocalBindMask", "0177|0111|077|0"),
    ("StreamLocalBindUnlink", "yes|no"),
    ("StrictHostKeyChecking", "yes|no|ask|accept-new|off|true|false"),
    ("SyslogFacility", "USER|AUTH|local3|DAEMON"),
    ("Tag", "one|two"),
    ("TCPKeepAlive", "yes|no"),
    ("KeepAlive", "yes|no"),
    ("Tunnel", "yes|no|point-to-point|ethernet"),
    ("TunnelDevice", "any|0|1:2|any:5"),
    ("UpdateHostKeys", "yes|no|ask"),
    ("User", "bob|%u|%n-x|al ice|${USER_OF_TEST}"),
    ("UserKnownHostsFile", "~/.ssh/known_hosts|none|/a /b|~/k/%h|${HOME}/k"),
    ("VerifyHostKeyDNS", "yes|no|ask"),
    ("VersionAddendum", "none|hello there|v-%h"),
    ("VisualHostKey", "yes|no"),
    ("XAuthLocation", "/usr/bin/xauth|/x"),
    ("Protocol", "2"),
    ("UseRoaming", "no"),
    ("RSAAuthentication", "yes"),
];

/// Lines that are wrong.
const WRONG: &[&str] = &[
    "Nonsense yes",
    "Port 0",
    "Port 70000",
    "Port x",
    "BatchMode maybe",
    "BatchMode yes no",
    "Compression true",
    "ConnectTimeout 5x",
    "RekeyLimit 5",
    "RekeyLimit 1Q",
    "EscapeChar ab",
    "Ciphers rot13",
    "HostKeyAlgorithms nothing*",
    "LocalForward 80",
    "LocalForward 0 h:1",
    "LocalForward x:y:z",
    "DynamicForward a:b:c",
    "SendEnv A=b",
    "SetEnv A",
    "User \"",
    "IPQoS nothing",
    "ProxyJump @",
    "ProxyJump a:0",
    "TunnelDevice x",
    "CanonicalDomains -a",
    "CanonicalDomains none a",
    "CanonicalizePermittedCNAMEs a",
    "Match nonsense x",
    "Match user",
    "Match",
    "Match all host a",
    "Match user a all host",
    "Match localnetwork x",
    "Host \"\"",
    "UserKnownHostsFile none a",
    "PermitRemoteOpen a",
    "IdentityAgent ${NO_SUCH_VARIABLE}",
    "IdentityAgent $a-b",
    "ControlPath /%z",
    "ControlPath /%",
    "SetEnv A=${NO_SUCH_VARIABLE}",
    "ConnectionAttempts 0",
    "RefuseConnection",
    "ChannelTimeout x",
    "ObscureKeystrokeTiming interval:0",
    "StreamLocalBindMask 9",
    "LogLevel loud",
    "SyslogFacility none",
    "FingerprintHash crc",
    "AddKeysToAgent perhaps",
    "AddKeysToAgent yes 5m",
    "ControlPersist x",
    "RequiredRSASize -1",
    "Port",
];

const HOSTS: &[&str] =
    &["web", "Web", "db.example", "a.b.corp", "127.0.0.1", "::1", "10.1", "x-1", "real.example"];
const PATTERNS: &[&str] =
    &["web", "*", "db.*", "!web", "*.corp", "?eb", "127.*", "!*.example", "w* d*", "Web", "none"];

fn quoted(word: &str, dice: &mut Dice) -> String {
    match dice.below(6) {
        0 if !word.contains(['"', '\\', '#', '\'']) => format!("\"{word}\""),
        1 if !word.contains(['"', '\\', '#', '\'']) => format!("'{word}'"),
        _ => word.to_owned(),
    }
}

/// A line with a keyword, in one of the ways to write it.
fn setting(dice: &mut Dice) -> String {
    let (keyword, values) = VALUES[dice.below(VALUES.len())];
    let values: Vec<&str> = values.split('|').collect();
    let value = values[dice.below(values.len())];
    let raw = [
        "ProxyCommand",
        "LocalCommand",
        "RemoteCommand",
        "KnownHostsCommand",
        "VersionAddendum",
        "ProxyJump",
    ];
    let single = !value.contains([' ', '"', '$']) && !raw.contains(&keyword);
    let value = if single { quoted(value, dice) } else { value.to_owned() };
    let keyword = match dice.below(4) {
        0 => keyword.to_ascii_lowercase(),
        1 => keyword.to_ascii_uppercase(),
        _ => keyword.to_owned(),
    };
    let between = dice.pick(&[" ", "=", " = ", "\t", "  "]);
    let comment = if single && dice.one_in(6) { " # why" } else { "" };
    let indent = dice.pick(&["", "  ", "\t"]);
    let end = if dice.one_in(10) { " \t" } else { "" };
    format!("{indent}{keyword}{between}{value}{comment}{end}\n")
}

fn block(dice: &mut Dice) -> String {
    if dice.one_in(2) {
        let n = 1 + dice.below(3);
        let all: Vec<&str> = (0..n).map(|_| dice.pick(PATTERNS)).collect();
        return format!("Host {}\n", all.join(" "));
    }
    let n = 1 + dice.below(2);
    let mut all = Vec::new();
    for _ in 0..n {
        let not = if dice.one_in(5) { "!" } else { "" };
        let list = dice.pick(&["web", "*", "web,db*", "!web,*", "*.example", "root", "bob", "real.*"]);
        let criterion = match dice.below(13) {
            0 => format!("host {list}"),
            1 => format!("originalhost {list}"),
            2 => format!("user {list}"),
            3 => format!("localuser {list}"),
            4 => "localnetwork 127.0.0.0/8".to_owned(),
            5 => "localnetwork 192.0.2.0/24,::2".to_owned(),
            6 => "version OpenSSH_10*".to_owned(),
            7 => format!("tagged {}", dice.pick(&["one", "t*", "\"\""])),
            8 => format!("sessiontype {}", dice.pick(&["shell", "exec", "none", "subsystem"])),
            9 => format!("command {}", dice.pick(&["ls*", "*", "\"\"", "\"ls -l\""])),
            10 => format!("exec \"{}\"", dice.pick(&["true", "false", "test %h = web", "test %n%p = web22"])),
            11 => format!("host={list}"),
            _ => dice.pick(&["final", "canonical"]).to_owned(),
        };
        all.push(format!("{not}{criterion}"));
    }
    if dice.one_in(6) {
        return format!("Match {}all\n", if dice.one_in(2) { "final " } else { "" });
    }
    format!("Match {}\n", all.join(" "))
}

/// A configuration and the command line that goes with it.
struct Case {
    seed: u64,
    config: PathBuf,
    options: Vec<String>,
    user: Option<&'static str>,
    host: &'static str,
    command: Option<&'static str>,
}

fn file(dice: &mut Dice, folder: &Path, depth: usize) -> String {
    let mut text = String::new();
    for _ in 0..1 + dice.below(14) {
        match dice.below(20) {
            0 => text += "# a comment\n",
            1 => text += "\n",
            2..=6 => text += &block(dice),
            7 if depth < 3 => {
                let name = format!("inc{}-{}.conf", depth, dice.below(1 << 30));
                let path = folder.join(&name);
                fs::write(&path, file(dice, folder, depth + 1)).expect("a file");
                let word = match dice.below(3) {
                    0 => path.display().to_string(),
                    1 => format!("{}*", &path.display().to_string()[..path.display().to_string().len() - 5]),
                    _ => format!("{} {}/missing*", path.display(), folder.display()),
                };
                text += &format!("Include {word}\n");
            }
            8 if dice.one_in(40) => text += &format!("{}\n", dice.pick(WRONG)),
            9 if dice.one_in(4) => text += "IgnoreUnknown Nonsense*,Use*\nUseKeychain yes\nNonsenseToo a b\n",
            _ => text += &setting(dice),
        }
    }
    text
}

impl Case {
    fn new(seed: u64, folder: &Path) -> Self {
        let mut dice = Dice(seed);
        let folder = folder.join(seed.to_string());
        fs::create_dir(&folder).expect("a folder");
        let config = folder.join("config");
        fs::write(&config, file(&mut dice, &folder, 0)).expect("a file");
        let options = (0..dice.below(3)).map(|_| setting(&mut dice).trim().to_owned()).collect();
        let user = [None, Some("bob"), Some("root")][dice.below(3)];
        let command = [None, None, Some("ls -l")][dice.below(3)];
        Case { seed, config, options, user, host: dice.pick(HOSTS), command }
    }

    fn of(config: PathBuf, host: &'static str) -> Self {
        Case { seed: 0, config, options: Vec::new(), user: None, host, command: None }
    }

    /// What a program prints; `None` if it fails.
    fn run(&self, program: &mut Command) -> (Option<String>, String) {
        program.arg("-G").arg("-F").arg(&self.config);
        for option in &self.options {
            program.arg("-o").arg(option);
        }
        if let Some(user) = self.user {
            program.args(["-l", user]);
        }
        program.arg(self.host).args(self.command);
        program.env("USER_OF_TEST", "carol").env_remove("SSH_AUTH_SOCK").env("SHELL", "/bin/sh");
        let out = program.output().expect("the program runs");
        let text = String::from_utf8_lossy(&out.stdout).into_owned();
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        (out.status.success().then_some(text), errors)
    }

    /// The same by the library.
    fn look_up(&self) -> Result<Config, String> {
        let local = konko::ssh_config::local().expect("an account");
        let mut request = Request::new(local, self.host).file(self.config.as_os_str().as_encoded_bytes());
        for option in &self.options {
            request = request.option(option.as_bytes());
        }
        if let Some(user) = self.user {
            request = request.user(user);
        }
        let mut lookup = Lookup::new(request.command(self.command.unwrap_or_default()));
        while let Some(question) = lookup.question() {
            lookup.answer(match &question {
                Question::Variable(name) if name == b"USER_OF_TEST" => Answer::Bytes(b"carol".to_vec()),
                Question::Variable(name) if name == b"SSH_AUTH_SOCK" => Answer::No,
                question => answer(question),
            });
        }
        lookup.finish().map_err(|e| e.to_string())
    }

    fn shown(&self) -> String {
        let mut text = format!(
            "seed {}: -o {:?} -l {:?} {} {:?}\n",
            self.seed, self.options, self.user, self.host, self.command
        );
        let folder = self.config.parent().expect("a folder");
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let contents = fs::read_to_string(entry.path()).unwrap_or_default();
            text += &format!("--- {}\n{contents}", entry.path().display());
        }
        text
    }
}

const LISTS: &[(&str, Algorithms)] = &[
    ("ciphers", Algorithms::Ciphers),
    ("macs", Algorithms::Macs),
    ("kexalgorithms", Algorithms::Kex),
    ("hostkeyalgorithms", Algorithms::HostKeys),
    ("pubkeyacceptedalgorithms", Algorithms::UserKeys),
    ("hostbasedacceptedalgorithms", Algorithms::Hostbased),
    ("casignaturealgorithms", Algorithms::Authorities),
];

/// A default list, by keyword.
type Defaults = BTreeMap<String, Vec<&'static str>>;

fn defaults(printed: &str) -> Defaults {
    let mut all = Defaults::new();
    for (keyword, which) in LISTS {
        let prefix = format!("{keyword} ");
        let line = printed.lines().find_map(|line| line.strip_prefix(&prefix)).expect("a list");
        let known = names(*which);
        let list =
            line.split(',').map(|name| *known.iter().find(|k| **k == name).expect("a known name")).collect();
        all.insert((*keyword).to_owned(), list);
    }
    all
}

/// Whether two different lists are the same changes to two defaults.
fn same_change(keyword: &str, ours: &str, theirs: &str, defaults: &[Defaults; 2]) -> bool {
    let Some((_, which)) = LISTS.iter().find(|(name, _)| *name == keyword) else { return false };
    let made =
        |list: &str, default: &Defaults| assemble(*which, list.as_bytes(), &default[keyword]).join(",");
    let changes = VALUES.iter().filter(|(name, _)| {
        konko::ssh_config::Keyword::find(name).is_some_and(|row| row.name().eq_ignore_ascii_case(keyword))
    });
    let mut changes = changes.flat_map(|(_, values)| values.split('|')).chain(["+"]);
    let default = |one: &str, default: &Defaults| one == default[keyword].join(",");
    (default(ours, &defaults[0]) && default(theirs, &defaults[1]))
        || changes.any(|list| made(list, &defaults[0]) == ours && made(list, &defaults[1]) == theirs)
}

/// What differs between two outputs, but for what may.
fn difference(ours: &str, theirs: &str, defaults: &[Defaults; 2]) -> Option<String> {
    let (mut a, mut b) = (ours.lines(), theirs.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return None,
            (Some(a), Some(b)) if a == b => {}
            (Some("requiredrsasize 2048"), Some("requiredrsasize 1024")) => {}
            (Some(a), Some(b)) => {
                let words = a.split_once(' ').zip(b.split_once(' '));
                let same = words
                    .is_some_and(|((k, ours), (l, theirs))| k == l && same_change(k, ours, theirs, defaults));
                if !same {
                    return Some(format!("konko: {a}\nssh:   {b}"));
                }
            }
            (a, b) => return Some(format!("konko: {a:?}\nssh:   {b:?}")),
        }
    }
}

fn compare(case: &Case, ssh: &Path, defaults: &[Defaults; 2], konko: Option<&Path>) -> Result<(), String> {
    let (theirs, errors) = case.run(&mut Command::new(ssh));
    let looked_up = case.look_up().map(|config| String::from_utf8_lossy(&config.dump()).into_owned());
    let differs = match (&looked_up, &theirs) {
        (Ok(ours), Some(theirs)) => difference(ours, theirs, defaults),
        (Err(_), None) => None,
        (Ok(_), None) => Some(format!("ssh: {errors}")),
        (Err(e), Some(_)) => Some(format!("konko: {e}")),
    };
    if let Some(text) = differs {
        return Err(format!("{text}\n{}", case.shown()));
    }
    if let Some(konko) = konko {
        let (ours, errors) = case.run(Command::new(konko).arg("ssh"));
        if ours.as_ref() != looked_up.as_ref().ok() {
            return Err(format!("the program and the library differ: {errors}\n{}", case.shown()));
        }
    }
    Ok(())
}

fn ten() -> Option<(PathBuf, [Defaults; 2], tempfile::TempDir)> {
    let Some(ssh) = OpenSsh::ten().map(|openssh| openssh.ssh()) else {
        not_run("ssh -G", "OpenSSH 10 is not unpacked");
        return None;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let nothing = folder.path().join("nothing");
    fs::create_dir(&nothing).expect("a folder");
    fs::write(nothing.join("config"), "").expect("a file");
    let case = Case::of(nothing.join("config"), "web");
    let theirs = case.run(&mut Command::new(&ssh)).0.expect("an empty configuration");
    let ours = String::from_utf8_lossy(&case.look_up().expect("an empty configuration").dump()).into_owned();
    let defaults = [defaults(&ours), defaults(&theirs)];
    Some((ssh, defaults, folder))
}

/// Must show 3, second half.
#[test]
fn ssh_g_is_the_same_on_configurations_made_by_seed() {
    let Some((ssh, defaults, folder)) = ten() else { return };
    let seed = std::env::var("KONKO_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1_u64);
    let n = if full() { 10_000 } else { 400 };
    let konko = konko_conformance::peers::konko();
    let start = Instant::now();
    let cases: Vec<Case> =
        (0..n).map(|i| Case::new(seed.wrapping_mul(1_000_003).wrapping_add(i), folder.path())).collect();
    let results = at_once(&cases, |case| {
        // The program is the library with a command line around it: some are enough.
        let konko = konko.as_deref().filter(|_| case.seed % 10 == 0);
        compare(case, &ssh, &defaults, konko)
    });
    let failed: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    let right = cases.iter().filter(|case| case.look_up().is_ok()).count();
    println!("{n} configurations, {right} of them right, {} differ, in {:?}", failed.len(), start.elapsed());
    for (keyword, list) in &defaults[0] {
        println!("konko's own default: {keyword} {}", list.join(","));
    }
    for text in &failed {
        println!("differs: {}", text.lines().next().unwrap_or_default());
    }
    assert!(right * 2 > cases.len(), "most configurations are right: {right}");
    assert!(
        failed.is_empty(),
        "{} of {n} differ; the first:\n{}",
        failed.len(),
        failed[..failed.len().min(3)].join("\n")
    );
}

/// What distributions put into /etc/ssh/ssh_config and beside it, line for line in their words, arranged anew.
const STOCK: &[(&str, &str)] = &[
    (
        "debian",
        "# defaults of the system\nInclude DIR/missing.d/*.conf\nHost *\n    SendEnv LANG LC_* COLORTERM NO_COLOR\n    \
         HashKnownHosts yes\n    GSSAPIAuthentication yes\n",
    ),
    ("fedora", "Include DIR/redhat\n"),
    (
        "redhat",
        "Match final all\n\tInclude DIR/policy\n\tForwardX11Trusted yes\n\tSendEnv LANG LC_CTYPE LC_NUMERIC LC_TIME \
         LC_COLLATE LC_MONETARY LC_MESSAGES\n\tSendEnv LC_PAPER LC_NAME LC_ADDRESS LC_TELEPHONE LC_MEASUREMENT\n\t\
         SendEnv LC_IDENTIFICATION LC_ALL LANGUAGE\n\tSendEnv XMODIFIERS\n\tGSSAPIAuthentication yes\n",
    ),
    (
        "policy",
        "Ciphers aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,aes256-ctr,aes128-gcm@openssh.com,aes128-ctr\n\
         MACs hmac-sha2-256-etm@openssh.com,hmac-sha1-etm@openssh.com,umac-128-etm@openssh.com,\
         hmac-sha2-512-etm@openssh.com,hmac-sha2-256,hmac-sha1,umac-128@openssh.com,hmac-sha2-512\n\
         GSSAPIKeyExchange no\nKexAlgorithms mlkem768x25519-sha256,curve25519-sha256,curve25519-sha256@libssh.org,\
         ecdh-sha2-nistp256,ecdh-sha2-nistp384,ecdh-sha2-nistp521,diffie-hellman-group14-sha256\n\
         PubkeyAcceptedAlgorithms ecdsa-sha2-nistp256,ecdsa-sha2-nistp256-cert-v01@openssh.com,ssh-ed25519,\
         rsa-sha2-256,rsa-sha2-512\nCASignatureAlgorithms ecdsa-sha2-nistp256,ssh-ed25519,rsa-sha2-256,rsa-sha2-512\n\
         RequiredRSASize 2048\n",
    ),
    (
        "arch",
        "Include DIR/systemd\nInclude DIR/missing.d/*.conf\n# Host *\n#   ForwardAgent no\n#   Port 22\n",
    ),
    (
        "systemd",
        "Host unix/* vsock/*\n    ProxyCommand /usr/lib/systemd/systemd-ssh-proxy %h %p\n    ProxyUseFdpass yes\n    \
         CheckHostIP no\n    ControlMaster no\nHost .host machine/.host\n    ProxyCommand \
         /usr/lib/systemd/systemd-ssh-proxy unix/run/ssh-unix-local/socket %p\n    ProxyUseFdpass yes\n    \
         CheckHostIP no\n",
    ),
];

#[test]
fn ssh_g_is_the_same_on_the_files_of_distributions() {
    let Some((ssh, defaults, folder)) = ten() else { return };
    let folder = folder.path().join("stock");
    fs::create_dir(&folder).expect("a folder");
    for (name, text) in STOCK {
        let text = text.replace("DIR", &folder.display().to_string());
        fs::write(folder.join(name), text).expect("a file");
    }
    for (name, _) in STOCK {
        for host in ["web", "db.example", "::1", ".host", "unix/run/x"] {
            let case = Case::of(folder.join(name), host);
            compare(&case, &ssh, &defaults, None).unwrap_or_else(|e| panic!("{name} {host}: {e}"));
        }
    }
}
