//! Flags as getopt(3) reads them, and those of a connection, which `ssh`, `sftp` and `scp` have alike.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use konko::ssh_config::Request;

use crate::connect::Login;
use crate::values::{self, expand};

/// The flags of a connection.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Print this help
    #[arg(short, long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    said: Said,
    /// The configuration file, instead of the user's and the system's; `none` for none at all
    #[arg(short = 'F', value_name = "FILE")]
    config: Option<OsString>,
    /// Ciphers in order of preference
    #[arg(short, value_name = "CIPHERS")]
    ciphers: Vec<String>,
    /// Compress
    #[arg(short = 'C')]
    compress: bool,
    /// Say nothing about what goes wrong, and show no progress
    #[arg(short)]
    pub quiet: bool,
    /// IPv4 alone
    #[arg(short = '4', overrides_with = "ipv6")]
    ipv4: bool,
    /// IPv6 alone
    #[arg(short = '6', overrides_with = "ipv4")]
    ipv6: bool,
    /// Say on standard error what happens
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// What the command line says besides flags.
#[derive(Debug, Default)]
pub struct Target {
    pub user: Option<Vec<u8>>,
    pub host: String,
    pub port: Option<u16>,
    pub command: Vec<u8>,
    /// Options that count before all others.
    pub options: Vec<String>,
}

impl Flags {
    /// What is asked of the configuration. Of `-o` and of the flags that are options by another name the first word
    /// counts; the other flags count before all options, the last one of a kind (ssh.c). User and port of the
    /// target count where nothing on the command line says other ones.
    pub fn request(&self, target: Target) -> Result<Request, String> {
        let local = konko::ssh_config::local().map_err(|e| e.to_string())?;
        let mut request = Request::new(local, target.host)
            .algorithms(konko::ssh_config::defaults())
            .command(target.command);
        if let Some(file) = &self.config {
            request = request.file(file.as_bytes());
        }
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some("LogLevel=QUIET".to_owned()),
            (_, 0) => None,
            (_, n) => Some(format!("LogLevel=DEBUG{}", n.min(3))),
        };
        let ciphers = self.ciphers.last().map(|list| format!("Ciphers={list}"));
        let compress = self.compress.then(|| "Compression=yes".to_owned());
        let family = match (self.ipv4, self.ipv6) {
            (true, _) => Some("AddressFamily=inet".to_owned()),
            (_, true) => Some("AddressFamily=inet6".to_owned()),
            _ => None,
        };
        let first = level.into_iter().chain(ciphers).chain(compress).chain(family).chain(target.options);
        for option in first {
            request = request.option(option);
        }
        for (id, value) in &self.said.0 {
            request = match *id {
                "identity" => {
                    let path = expand(value);
                    request.option(option(b"IdentityFile", path.as_os_str().as_bytes()))
                }
                "port" => request.port(values::parsed(value.as_bytes()).ok_or("-p: no port")?),
                "login" => request.user(value.as_bytes()),
                _ => request.option(value.as_bytes()),
            };
        }
        if let Some(user) = target.user {
            request = request.user(user);
        }
        if let Some(port) = target.port {
            request = request.port(port);
        }
        Ok(request)
    }

    /// Whether `-v` is among them.
    pub fn is_verbose(&self) -> bool {
        self.verbose > 0
    }

    /// A login.
    pub fn login(&self, target: Target) -> Result<Login, String> {
        let config = konko::ssh_config::lookup(self.request(target)?).map_err(|e| e.to_string())?;
        Login::new(config)
    }
}

/// An option whose value is one argument, whatever is in it.
pub fn option(keyword: &[u8], value: &[u8]) -> Vec<u8> {
    let mut line = [keyword, b"=\""].concat();
    for byte in value {
        if matches!(byte, b'"' | b'\\') {
            line.push(b'\\');
        }
        line.push(*byte);
    }
    line.push(b'"');
    line
}

/// `-o`, and the flags that are options by another name, as the command line has them one after the other.
#[derive(Debug)]
struct Said(Vec<(&'static str, OsString)>);

impl Said {
    /// Those of all programs, and those that only ssh(1) has like that.
    const IDS: [&str; 4] = ["option", "identity", "port", "login"];
}

impl clap::Args for Said {
    fn augment_args(command: clap::Command) -> clap::Command {
        let several = |id| {
            clap::Arg::new(id).action(clap::ArgAction::Append).value_parser(clap::value_parser!(OsString))
        };
        let identity = several("identity").short('i').value_name("KEY");
        let option = several("option").short('o').value_name("KEY=VALUE");
        command
            .arg(identity.help("Private key file; any number of times"))
            .arg(option.help("An option as in ssh_config; any number of times"))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Said {
    fn from_arg_matches(matches: &clap::ArgMatches) -> Result<Self, clap::Error> {
        let mut said = Vec::new();
        for id in Self::IDS {
            let Ok(Some(values)) = matches.try_get_raw(id) else { continue };
            let places = matches.indices_of(id).into_iter().flatten();
            said.extend(places.zip(values).map(|(place, value)| (place, id, value.to_owned())));
        }
        said.sort_by_key(|(place, ..)| *place);
        Ok(Said(said.into_iter().map(|(_, id, value)| (id, value)).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &clap::ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

/// The flags of a program of OpenSSH.
pub struct Grammar {
    /// As in getopt(3): a colon behind those that have a value.
    pub letters: &'static str,
    /// Those that ask for something that there is not, and the names of the options that do so too.
    unsupported: &'static [(u8, &'static str)],
    /// Those that are options by another name: `{}` is their value. They count before all options, and the last one.
    options: &'static [(u8, &'static [&'static str])],
    /// Those that ask for nothing that is done otherwise.
    ignored: &'static [u8],
    /// What follows the first word that is no flag is flags again, and the next such word ends them.
    command: bool,
}

/// ssh(1).
pub const SSH: Grammar = Grammar {
    letters: "1246ab:c:e:fghi:kl:m:no:p:qstvxAB:CD:E:F:GI:J:KL:MNO:P:Q:R:S:TVw:W:XYy",
    unsupported: &[
        (b'1', "protocol version 1"),
        (b'D', "DynamicForward"),
        (b'E', "a log file"),
        (b'L', "LocalForward"),
        (b'O', "ControlMaster"),
        (b'R', "RemoteForward"),
        (b'W', "forwarding of standard streams"),
        (b'y', "the system log"),
    ],
    options: &[
        (b'a', &["ForwardAgent=no"]),
        (b'b', &["BindAddress={}"]),
        (b'f', &["ForkAfterAuthentication=yes", "StdinNull=yes"]),
        (b'g', &["GatewayPorts=yes"]),
        (b'k', &["GSSAPIDelegateCredentials=no"]),
        (b'x', &["ForwardX11=no"]),
        (b'A', &["ForwardAgent=yes"]),
        (b'B', &["BindInterface={}"]),
        (b'I', &["PKCS11Provider={}"]),
        (b'J', &["ProxyJump={}"]),
        (b'K', &["GSSAPIAuthentication=yes", "GSSAPIDelegateCredentials=yes"]),
        (b'M', &["ControlMaster=yes"]),
        (b'P', &["Tag={}"]),
        (b'S', &["ControlPath={}"]),
        (b'w', &["Tunnel=point-to-point", "TunnelDevice={}"]),
        (b'X', &["ForwardX11=yes"]),
        (b'Y', &["ForwardX11=yes", "ForwardX11Trusted=yes"]),
    ],
    ignored: b"2",
    command: true,
};

/// sftp(1).
pub const SFTP: Grammar = Grammar {
    letters: "1246AafhNpqrvCVc:D:i:l:o:s:S:b:B:F:J:P:R:X:",
    unsupported: &[
        (b'1', "protocol version 1"),
        (b'S', "another program that connects"),
        (b'X', "options of the protocol"),
    ],
    options: &[(b'A', &["ForwardAgent=yes"]), (b'J', &["ProxyJump={}"])],
    ignored: b"2",
    command: false,
};

/// scp(1).
pub const SCP: Grammar = Grammar {
    letters: "12346ABCTVdfhOpqRrstvD:F:J:M:P:S:c:i:l:o:X:",
    unsupported: &[
        (b'1', "protocol version 1"),
        (b'M', "modes"),
        (b'O', "the protocol of the old scp"),
        (b'R', "copies that the first machine makes by itself"),
        (b'S', "another program that connects"),
        (b'X', "options of the protocol"),
        (b'd', "the protocol of the old scp"),
        (b'f', "the protocol of the old scp"),
        (b't', "the protocol of the old scp"),
    ],
    options: &[(b'A', &["ForwardAgent=yes"]), (b'J', &["ProxyJump={}"])],
    ignored: b"2",
    command: false,
};

/// ssh-agent(1).
pub const AGENT: Grammar = Grammar {
    letters: "cDdksTuUVE:a:O:P:t:",
    unsupported: &[(b'P', "modules of tokens"), (b'V', "the version of OpenSSH")],
    // The socket is in a folder of its own, and nothing of it is left behind; websites have no say here.
    ignored: b"TuUO",
    options: &[],
    command: false,
};

/// ssh-add(1).
pub const ADD: Grammar = Grammar {
    letters: "vkKlLNCcdDTxXE:e:h:H:M:m:Qqs:S:t:",
    unsupported: &[(b'K', "keys of security keys"), (b'S', "a module for security keys")],
    ignored: b"Mm",
    options: &[],
    command: false,
};

/// ssh-keygen(1).
pub const KEYGEN: Grammar = Grammar {
    letters: "ABHLQUXceghiklopquvyC:D:E:F:I:K:M:N:O:P:R:V:Y:Z:a:b:f:j:m:n:r:s:t:w:z:",
    unsupported: &[
        (b'A', "host keys of every type"),
        (b'B', "the bubble babble of a key"),
        (b'K', "resident keys of a token"),
        (b'M', "moduli"),
        (b'X', "protocol version 1"),
        (b'g', "names in DNS"),
        (b'j', "moduli"),
        (b'w', "keys of a token"),
    ],
    options: &[],
    ignored: b"o",
    command: false,
};

/// ssh-keyscan(1).
pub const KEYSCAN: Grammar = Grammar {
    letters: "46cDHqvO:f:p:T:t:",
    unsupported: &[(b'D', "names in DNS"), (b'O', "hashes of names in DNS")],
    options: &[],
    ignored: b"",
    command: false,
};

impl Grammar {
    /// Puts words in an order in which nothing about them is in doubt: flags, one a word, `--`, and the rest.
    pub fn arrange(&self, words: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
        let mut words = words.peekable();
        let (mut flags, mut front, mut rest) = (Vec::new(), Vec::new(), Vec::new());
        let mut ended = false;
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => ended = true,
                [b'-', b'-', ..] => flags.push(word),
                [b'-', letters @ ..] if !letters.is_empty() => {
                    self.cluster(letters, &mut words, &mut flags, &mut front)?;
                    continue;
                }
                _ => {
                    // `--` in front of the destination ends all flags.
                    rest.push(word);
                    let once_more = self.command && rest.len() == 1 && !ended;
                    if !once_more {
                        break;
                    }
                    continue;
                }
            }
            if ended {
                if self.command && rest.is_empty() {
                    rest.extend(words.next());
                }
                break;
            }
        }
        // The first option counts, and the last flag.
        front.reverse();
        front.extend(flags);
        front.push("--".into());
        front.extend(rest);
        front.extend(words);
        Ok(front)
    }

    /// Flags in one word.
    fn cluster(
        &self,
        letters: &[u8],
        words: &mut impl Iterator<Item = OsString>,
        flags: &mut Vec<OsString>,
        front: &mut Vec<OsString>,
    ) -> Result<(), String> {
        for (i, &letter) in letters.iter().enumerate() {
            let shown = char::from(letter);
            let known = self.letters.bytes().position(|b| b == letter && b != b':');
            let Some(at) = known else {
                return Err(format!("unknown option -- {} (-h lists all)", shown.escape_default()));
            };
            let takes_value = self.letters.as_bytes().get(at + 1) == Some(&b':');
            let value = match &letters[i + 1..] {
                _ if !takes_value => None,
                [] => Some(words.next().ok_or_else(|| format!("option requires an argument -- {shown}"))?),
                attached => Some(OsString::from_vec(attached.to_vec())),
            };
            if let Some((_, options)) = self.options.iter().find(|(l, _)| *l == letter) {
                front.extend(options.iter().map(|template| named(template, value.as_deref())));
                if takes_value {
                    break;
                }
                continue;
            }
            match self.unsupported.iter().find(|(l, _)| *l == letter) {
                Some((_, name)) => return Err(format!("not supported yet: -{shown} ({name})")),
                None if self.ignored.contains(&letter) => {}
                None => {
                    let mut word = OsString::from(format!("-{shown}"));
                    if let Some(value) = &value {
                        // Attached, so that it is no flag itself; with `=`, so that one at its start stays.
                        word.push("=");
                        word.push(value);
                    }
                    flags.push(word);
                }
            }
            if takes_value {
                break;
            }
        }
        Ok(())
    }
}

/// A flag as the option that it is.
fn named(template: &str, value: Option<&OsStr>) -> OsString {
    let line = match (template.strip_suffix("={}"), value) {
        // It is a command line of its own, in which quotes mean nothing.
        (Some(keyword @ "ProxyJump"), Some(value)) => [keyword.as_bytes(), b"=", value.as_bytes()].concat(),
        (Some(keyword), Some(value)) => option(keyword.as_bytes(), value.as_bytes()),
        _ => template.as_bytes().to_vec(),
    };
    let mut word = OsString::from("-o=");
    word.push(OsStr::from_bytes(&line));
    word
}

/// The command that this program is when it is called like a program of OpenSSH.
fn called(name: &OsStr) -> Option<&'static str> {
    match std::path::Path::new(name).file_name()?.as_bytes() {
        b"ssh" => Some("ssh"),
        b"sftp" => Some("sftp"),
        b"scp" => Some("scp"),
        b"ssh-keygen" => Some("keygen"),
        _ => None,
    }
}

/// The words of this call, those of programs that OpenSSH has too arranged.
pub fn words() -> Result<Vec<OsString>, (OsString, String)> {
    let mut words = std::env::args_os();
    let mut all: Vec<OsString> = words.by_ref().take(1).collect();
    // By a name of its own, it is that program: others call `ssh` without a word in between.
    match all.first().and_then(|name| called(name)) {
        Some(program) => all.push(program.into()),
        None => all.extend(words.next()),
    }
    let grammar = match all.get(1).map(OsString::as_os_str).map(OsStr::as_bytes) {
        Some(b"ssh") => &SSH,
        Some(b"sftp") => &SFTP,
        Some(b"scp") => &SCP,
        Some(b"keygen") => &KEYGEN,
        Some(b"keyscan") => &KEYSCAN,
        Some(b"agent") => &AGENT,
        Some(b"add") => &ADD,
        _ => {
            all.extend(words);
            return Ok(all);
        }
    };
    match grammar.arrange(words) {
        Ok(arranged) => all.extend(arranged),
        Err(why) => return Err((all.remove(1), why)),
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssh(words: &str) -> Result<String, String> {
        let arranged = SSH.arrange(words.split_whitespace().map(OsString::from))?;
        Ok(arranged.join(OsStr::new(" ")).into_string().unwrap())
    }

    #[test]
    fn c17_flags_are_read_as_getopt_reads_them() {
        for (words, expected) in [
            ("-p22 -vvC host ls -l", "-p=22 -v -v -C -- host ls -l"),
            ("-p 22 host -- -x", "-p=22 -- host -x"),
            ("host -s sftp", "-s -- host sftp"),
            (
                "-x -a -oClearAllForwardings=yes -2 host -s sftp",
                "-o=ForwardAgent=no -o=ForwardX11=no -o=ClearAllForwardings=yes -s -- host sftp",
            ),
            ("-xs -- host sftp", "-o=ForwardX11=no -s -- host sftp"),
            ("-- host -s x", "-- host -s x"),
            ("host -l root ls -v", "-l=root -- host ls -v"),
            ("-o -x host", "-o=-x -- host"),
            ("-J none host", "-o=ProxyJump=none -- host"),
            ("--help", "--help --"),
            ("-T -- host", "-T -- host"),
        ] {
            assert_eq!(ssh(words).as_deref(), Ok(expected), "{words}");
        }
        let scp = SCP.arrange(["-rp", "-P", "22", "a", "-x"].map(OsString::from).into_iter()).unwrap();
        assert_eq!(scp, ["-r", "-p", "-P=22", "--", "a", "-x"]);
    }

    /// What OpenSSH 9.2 makes of the same (`ssh -G`).
    #[test]
    fn c17_the_first_word_counts_whether_it_is_a_flag_or_an_option() {
        use clap::Parser;
        let config = |words: &str| {
            let words = SSH.arrange(words.split_whitespace().map(OsString::from)).unwrap();
            let words = ["konko", "ssh", "-F=none"].map(OsString::from).into_iter().chain(words);
            let crate::Command::Ssh(args) = crate::Cli::try_parse_from(words).unwrap().command else {
                panic!()
            };
            konko::ssh_config::lookup(args.request().unwrap()).unwrap()
        };
        for (words, user, port) in [
            ("-o Port=1 -p 2 h", None, 1),
            ("-p 2 -o Port=1 h", None, 2),
            ("-p 2 -p 3 h", None, 2),
            ("-l a -o User=b h", Some("a"), 22),
            ("-o User=b -l a h", Some("b"), 22),
            ("-l a -l b u@h", Some("a"), 22),
            ("-o User=y u@h", Some("y"), 22),
            ("-p 2 ssh://u@h:7", Some("u"), 2),
            ("-o Port=5 ssh://u@h:7", Some("u"), 5),
            ("ssh://u@h:7", Some("u"), 7),
        ] {
            let c = config(words);
            let said = c.is_said("User").then(|| c.user());
            assert_eq!((said, c.port()), (user.map(str::as_bytes), port), "{words}");
        }
        // Flag, keyword, value: of flags the last counts, before all options.
        for (words, keyword, value) in [
            ("-i /b -o IdentityFile=/a -i /c h", "IdentityFile", "/b /a /c"),
            ("-o Ciphers=aes128-ctr -c aes256-ctr h", "Ciphers", "aes256-ctr"),
            ("-c aes256-ctr -c aes128-ctr -o Ciphers=aes256-ctr h", "Ciphers", "aes128-ctr"),
            ("-o Compression=no -C h", "Compression", "yes"),
            ("-6 -4 h", "AddressFamily", "inet"),
            ("-4 -6 h", "AddressFamily", "inet6"),
            ("-o AddressFamily=inet -6 h", "AddressFamily", "inet6"),
            ("-t -T h", "RequestTTY", "false"),
            ("-T -t -t h", "RequestTTY", "force"),
            ("-T -t h", "RequestTTY", "true"),
            ("-o RequestTTY=no -t h", "RequestTTY", "true"),
            ("-e none -e b h", "EscapeChar", "b"),
            ("-o MACs=hmac-sha2-512 -m hmac-sha1 -m hmac-sha2-256 h", "MACs", "hmac-sha2-256"),
            ("-A -a h", "ForwardAgent", "no"),
            ("-a -A -o ForwardAgent=no h", "ForwardAgent", "yes"),
            ("-o ForwardX11=yes -x h", "ForwardX11", "no"),
            ("-S /a -S /b h", "ControlPath", "/b"),
            ("-J a@b h", "ProxyJump", " a b "),
            ("-P tag h", "Tag", "tag"),
            ("-n h", "StdinNull", "yes"),
            ("-N h", "SessionType", "none"),
            ("-s h x", "SessionType", "subsystem"),
            ("-b ::1 -k -g h", "BindAddress", "::1"),
            ("-q -v h", "LogLevel", "SILENT"),
            ("-vv -o LogLevel=ERROR h", "LogLevel", "DEBUG2"),
        ] {
            let text = config(words).text(keyword).unwrap();
            assert_eq!(String::from_utf8(text).unwrap(), value, "{words}");
        }
    }

    #[test]
    fn a_value_is_one_argument_whatever_is_in_it() {
        for value in ["a b", "a\"b", "a\\", "'", "#x", "", "a\\\"b c"] {
            let line = konko::core::config::Line::parse(&option(b"ControlPath", value.as_bytes()));
            assert_eq!(line.unwrap().unwrap().arguments, [value.as_bytes()], "{value}");
        }
    }

    #[test]
    fn c17_what_there_is_not_is_named() {
        assert_eq!(ssh("-E f host"), Err("not supported yet: -E (a log file)".into()));
        assert_eq!(ssh("-vL1:h:2 host"), Err("not supported yet: -L (LocalForward)".into()));
        assert_eq!(ssh("-z host"), Err("unknown option -- z (-h lists all)".into()));
        assert_eq!(ssh("host -p"), Err("option requires an argument -- p".into()));
    }

    /// Each letter of OpenSSH's programs is known here, to clap or as what is not supported.
    #[test]
    fn c21_every_letter_is_taken_by_somebody() {
        use clap::CommandFactory;
        for (name, grammar) in
            [("ssh", SSH), ("sftp", SFTP), ("scp", SCP), ("keygen", KEYGEN), ("agent", AGENT), ("add", ADD)]
        {
            let mut program = crate::Cli::command();
            program.build();
            let program = program.find_subcommand(name).unwrap();
            for letter in grammar.letters.bytes().filter(|l| *l != b':') {
                let taken = program.get_arguments().any(|a| a.get_short() == Some(char::from(letter)));
                let known = grammar.ignored.contains(&letter)
                    || grammar.options.iter().any(|(l, _)| *l == letter)
                    || grammar.unsupported.iter().any(|(l, _)| *l == letter);
                assert!(taken != known, "{name} -{}", char::from(letter));
            }
        }
    }
}
