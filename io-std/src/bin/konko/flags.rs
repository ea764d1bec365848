//! Flags as getopt(3) reads them, and those of a connection, which `ssh`, `sftp` and `scp` have alike.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use konko::AddressFamily;

use crate::algorithms::Lists;
use crate::connect::Login;
use crate::settings::Settings;
use crate::values::{self, expand, first};

/// The flags of a connection.
#[derive(clap::Args, Debug)]
pub struct Flags {
    /// Print this help
    #[arg(short, long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    #[command(flatten)]
    said: Said,
    /// A configuration file; there is none but `none`
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

impl Flags {
    /// What they and the options say. Of `-o` and of the flags that are options by another name the first word
    /// counts; the other flags count before all options, the last one of a kind (ssh.c). `user` and `port` are
    /// what the destination says, which counts where nothing else does.
    pub fn settings(&self, user: Option<Vec<u8>>, port: Option<u16>) -> Result<Settings, String> {
        if let Some(file) = self.config.as_deref().filter(|file| *file != "none" && *file != "/dev/null") {
            let file = file.display();
            return Err(format!("-F {file}: configuration files are not read yet; give options with -o"));
        }
        let mut settings = Settings {
            lists: Lists { ciphers: self.ciphers.last().cloned(), ..Lists::default() },
            compression: self.compress.then_some(true),
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(AddressFamily::Inet),
                (_, true) => Some(AddressFamily::Inet6),
                _ => None,
            },
            ..Settings::default()
        };
        for (id, value) in &self.said.0 {
            match *id {
                "identity" => settings.identities.push(expand(value)),
                "port" => first(&mut settings.port, values::parsed(value.as_bytes()).ok_or("-p: no port")?),
                "login" if settings.user.is_none() => {
                    (settings.user, settings.literal_user) = (Some(value.as_bytes().to_vec()), true);
                }
                "login" => {}
                _ => settings.set(value)?,
            }
        }
        settings.literal_user |= settings.user.is_none();
        settings.user = settings.user.or(user);
        settings.port = settings.port.or(port);
        settings.check()?;
        Ok(settings)
    }

    /// A login at `host`.
    pub fn login(&self, settings: Settings, host: String) -> Result<Login, String> {
        Login::new(settings, host, self.quiet, self.verbose)
    }
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
        (b'b', "BindAddress"),
        (b'f', "ForkAfterAuthentication"),
        (b'A', "ForwardAgent"),
        (b'B', "BindInterface"),
        (b'D', "DynamicForward"),
        (b'E', "a log file"),
        (b'I', "PKCS11Provider"),
        (b'J', "ProxyJump"),
        (b'K', "GSSAPIAuthentication"),
        (b'L', "LocalForward"),
        (b'M', "ControlMaster"),
        (b'O', "ControlMaster"),
        (b'Q', "queries"),
        (b'R', "RemoteForward"),
        (b'w', "Tunnel"),
        (b'W', "forwarding of standard streams"),
        (b'X', "ForwardX11"),
        (b'Y', "ForwardX11Trusted"),
        (b'y', "the system log"),
    ],
    ignored: b"2agkPSx",
    command: true,
};

/// sftp(1).
pub const SFTP: Grammar = Grammar {
    letters: "1246AafhNpqrvCVc:D:i:l:o:s:S:b:B:F:J:P:R:X:",
    unsupported: &[
        (b'1', "protocol version 1"),
        (b'A', "ForwardAgent"),
        (b'J', "ProxyJump"),
        (b'S', "another program that connects"),
        (b'X', "options of the protocol"),
    ],
    ignored: b"2",
    command: false,
};

/// scp(1).
pub const SCP: Grammar = Grammar {
    letters: "12346ABCTVdfhOpqRrstvD:F:J:M:P:S:c:i:l:o:X:",
    unsupported: &[
        (b'1', "protocol version 1"),
        (b'A', "ForwardAgent"),
        (b'J', "ProxyJump"),
        (b'M', "modes"),
        (b'O', "the protocol of the old scp"),
        (b'R', "copies that the first machine makes by itself"),
        (b'S', "another program that connects"),
        (b'X', "options of the protocol"),
        (b'd', "the protocol of the old scp"),
        (b'f', "the protocol of the old scp"),
        (b't', "the protocol of the old scp"),
    ],
    ignored: b"2",
    command: false,
};

/// ssh-keygen(1).
pub const KEYGEN: Grammar = Grammar {
    letters: "ABHLQUXceghiklopquvyC:D:E:F:I:K:M:N:O:P:R:V:Y:Z:a:b:f:j:m:n:r:s:t:w:z:",
    unsupported: &[
        (b'A', "host keys of every type"),
        (b'B', "the bubble babble of a key"),
        (b'D', "keys of a PKCS#11 token"),
        (b'K', "resident keys of a token"),
        (b'L', "certificates"),
        (b'M', "moduli"),
        (b'P', "the old passphrase"),
        (b'V', "certificates"),
        (b'X', "protocol version 1"),
        (b'Z', "the cipher of a key file"),
        (b'a', "the rounds of a key file"),
        (b'c', "new comments"),
        (b'e', "other formats"),
        (b'g', "names in DNS"),
        (b'h', "certificates"),
        (b'i', "other formats"),
        (b'j', "moduli"),
        (b'm', "other formats"),
        (b'p', "new passphrases"),
        (b'w', "keys of a token"),
    ],
    ignored: b"o",
    command: false,
};

/// ssh-keyscan(1).
pub const KEYSCAN: Grammar = Grammar {
    letters: "46cDHqvO:f:p:T:t:",
    unsupported: &[(b'D', "names in DNS"), (b'O', "hashes of names in DNS")],
    ignored: b"",
    command: false,
};

impl Grammar {
    /// Puts words in an order in which nothing about them is in doubt: flags, one a word, `--`, and the rest.
    pub fn arrange(&self, words: impl Iterator<Item = OsString>) -> Result<Vec<OsString>, String> {
        let mut words = words.peekable();
        let (mut flags, mut rest) = (Vec::new(), Vec::new());
        let mut ended = false;
        while let Some(word) = words.next() {
            match word.as_bytes() {
                b"--" => ended = true,
                [b'-', b'-', ..] => flags.push(word),
                [b'-', letters @ ..] if !letters.is_empty() => {
                    self.cluster(letters, &mut words, &mut flags)?;
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
        flags.push("--".into());
        flags.extend(rest);
        flags.extend(words);
        Ok(flags)
    }

    /// Flags in one word.
    fn cluster(
        &self,
        letters: &[u8],
        words: &mut impl Iterator<Item = OsString>,
        flags: &mut Vec<OsString>,
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
            let none = value.as_deref().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"none"));
            match self.unsupported.iter().find(|(l, _)| *l == letter) {
                Some((b'J' | b'I', _)) if none => {}
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

/// The words of this call, those of programs that OpenSSH has too arranged.
pub fn words() -> Result<Vec<OsString>, (OsString, String)> {
    let mut words = std::env::args_os();
    let mut all: Vec<OsString> = words.by_ref().take(2).collect();
    let grammar = match all.get(1).map(OsString::as_os_str).map(OsStr::as_bytes) {
        Some(b"ssh") => &SSH,
        Some(b"sftp") => &SFTP,
        Some(b"scp") => &SCP,
        Some(b"keygen") => &KEYGEN,
        Some(b"keyscan") => &KEYSCAN,
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
    use crate::settings::Tty;

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
            ("-x -a -oClearAllForwardings=yes -2 host -s sftp", "-o=ClearAllForwardings=yes -s -- host sftp"),
            ("-xs -- host sftp", "-s -- host sftp"),
            ("-- host -s x", "-- host -s x"),
            ("host -l root ls -v", "-l=root -- host ls -v"),
            ("-o -x host", "-o=-x -- host"),
            ("-J none host", "-- host"),
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
        let settings = |words: &str| {
            let words = SSH.arrange(words.split_whitespace().map(OsString::from)).unwrap();
            let words = ["konko", "ssh"].map(OsString::from).into_iter().chain(words);
            let crate::Command::Ssh(args) = crate::Cli::try_parse_from(words).unwrap().command else {
                panic!()
            };
            args.settings().unwrap()
        };
        for (words, user, port) in [
            ("-o Port=1 -p 2 h", None, Some(1)),
            ("-p 2 -o Port=1 h", None, Some(2)),
            ("-p 2 -p 3 h", None, Some(2)),
            ("-l a -o User=b h", Some("a"), None),
            ("-o User=b -l a h", Some("b"), None),
            ("-l a -l b u@h", Some("a"), None),
            ("-o User=y u@h", Some("y"), None),
            ("-p 2 ssh://u@h:7", Some("u"), Some(2)),
            ("-o Port=5 ssh://u@h:7", Some("u"), Some(5)),
            ("ssh://u@h:7", Some("u"), Some(7)),
        ] {
            let s = settings(words);
            assert_eq!((s.user.as_deref(), s.port), (user.map(str::as_bytes), port), "{words}");
        }
        let files = |words| settings(words).identities;
        assert_eq!(
            files("-i /b -o IdentityFile=/a -i /c h"),
            ["/b", "/a", "/c"].map(std::path::PathBuf::from)
        );
        // These count before all options, and the last one of a kind.
        for (words, expected) in [
            ("-o Ciphers=aes128-ctr -c aes256-ctr h", "aes256-ctr"),
            ("-c aes256-ctr -c aes128-ctr -o Ciphers=aes256-ctr h", "aes128-ctr"),
        ] {
            assert_eq!(settings(words).lists.ciphers.as_deref(), Some(expected), "{words}");
        }
        assert_eq!(settings("-o Compression=no -C h").compression, Some(true));
        for (words, family) in [
            ("-6 -4 h", AddressFamily::Inet),
            ("-4 -6 h", AddressFamily::Inet6),
            ("-o AddressFamily=inet -6 h", AddressFamily::Inet6),
        ] {
            assert_eq!(settings(words).family, Some(family), "{words}");
        }
        for (words, tty) in [
            ("-t -T h", Tty::No),
            ("-T -t -t h", Tty::Force),
            ("-T -t h", Tty::Yes),
            ("-o RequestTTY=no -t h", Tty::Yes),
        ] {
            assert_eq!(settings(words).tty, Some(tty), "{words}");
        }
        assert_eq!(settings("-e none -e b h").escape, Some(Some(b'b')));
        assert_eq!(settings("-o MACs=hmac-sha2-512 -m x -m y h").lists.macs.as_deref(), Some("y"));
    }

    #[test]
    fn c17_what_there_is_not_is_named() {
        assert_eq!(ssh("-J h host"), Err("not supported yet: -J (ProxyJump)".into()));
        assert_eq!(ssh("-vL1:h:2 host"), Err("not supported yet: -L (LocalForward)".into()));
        assert_eq!(ssh("-z host"), Err("unknown option -- z (-h lists all)".into()));
        assert_eq!(ssh("host -p"), Err("option requires an argument -- p".into()));
    }

    /// Each letter of OpenSSH's programs is known here, to clap or as what is not supported.
    #[test]
    fn c21_every_letter_is_taken_by_somebody() {
        use clap::CommandFactory;
        for (name, grammar) in [("ssh", SSH), ("sftp", SFTP), ("scp", SCP), ("keygen", KEYGEN)] {
            let mut program = crate::Cli::command();
            program.build();
            let program = program.find_subcommand(name).unwrap();
            for letter in grammar.letters.bytes().filter(|l| *l != b':') {
                let taken = program.get_arguments().any(|a| a.get_short() == Some(char::from(letter)));
                let known = grammar.ignored.contains(&letter)
                    || grammar.unsupported.iter().any(|(l, _)| *l == letter);
                assert!(taken != known, "{name} -{}", char::from(letter));
            }
        }
    }
}
