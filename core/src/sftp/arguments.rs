//! The options of `internal-sftp`, as sshd_config(5) `ForceCommand` and sftp-server(8) have them.

use alloc::vec::Vec;
use core::fmt;

use super::names::is_safe_name;
use super::operation::OperationSet;
use super::server::ServerConfig;

/// What the options of `internal-sftp` say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Arguments {
    read_only: bool,
    umask: Option<u32>,
    start: Option<Vec<u8>>,
    deny: Option<OperationSet>,
    allow: Option<OperationSet>,
}

/// Why options cannot be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadArguments {
    /// It is none that `internal-sftp` has. It may have been a restriction, so nothing is served.
    Unknown,
    /// The value of an option is missing.
    NoValue,
    /// `-u` is no octal number up to 777.
    Umask,
    /// A request of `-p` or `-P` does not exist.
    Requests,
    /// The name of the user cannot be that of a directory.
    User,
    /// `-d` has a token other than `%u` and `%%`.
    Token,
}

impl fmt::Display for BadArguments {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => "an option of internal-sftp is not known",
            Self::NoValue => "an option of internal-sftp needs a value",
            Self::Umask => "-u of internal-sftp needs an octal number up to 777",
            Self::Requests => "a request in a list of internal-sftp is not known",
            Self::User => "this user name cannot be a directory's",
            Self::Token => "-d of internal-sftp knows %u and %% only",
        })
    }
}

impl core::error::Error for BadArguments {}

impl Arguments {
    /// Reads what stands behind `internal-sftp`; `%u` in the directory of `-d` becomes `user`.
    ///
    /// # Errors
    /// [`BadArguments`]: the first option that cannot be obeyed.
    pub fn parse(text: &[u8], user: &str) -> Result<Self, BadArguments> {
        let mut arguments = Arguments::default();
        let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let (name, joined) = word.split_at_checked(2).unwrap_or((word, b""));
            let mut value = || match joined {
                b"" => words.next().ok_or(BadArguments::NoValue),
                joined => Ok(joined),
            };
            match name {
                b"-R" if joined.is_empty() => arguments.read_only = true,
                // Where messages go is the server's own affair here.
                b"-e" if joined.is_empty() => {}
                b"-l" | b"-f" => drop(value()?),
                b"-u" => {
                    let mask = core::str::from_utf8(value()?)
                        .ok()
                        .and_then(|mask| u32::from_str_radix(mask, 8).ok());
                    let mask = mask.filter(|mask| *mask <= 0o777);
                    arguments.umask = Some(mask.ok_or(BadArguments::Umask)?);
                }
                b"-d" => arguments.start = Some(expand(value()?, user)?),
                b"-P" => arguments.deny = Some(requests(value()?)?),
                b"-p" => arguments.allow = Some(requests(value()?)?),
                _ => return Err(BadArguments::Unknown),
            }
        }
        Ok(arguments)
    }

    /// Takes away from what a server allows.
    pub fn restrict(&self, config: &mut ServerConfig) {
        config.read_only |= self.read_only;
        config.umask |= self.umask.unwrap_or(0);
        if let Some(deny) = self.deny {
            config.deny = config.deny.union(deny);
        }
        if let Some(allow) = self.allow {
            config.allow = config.allow.intersection(allow);
        }
    }

    /// The directory that relative paths start in (`-d`).
    pub fn start(&self) -> Option<&[u8]> {
        self.start.as_deref()
    }
}

fn requests(list: &[u8]) -> Result<OperationSet, BadArguments> {
    let set = core::str::from_utf8(list).ok().and_then(|list| OperationSet::parse(list).ok());
    set.ok_or(BadArguments::Requests)
}

/// `%u` is the user; their home, `%d`, is in a jail where they start anyway.
fn expand(text: &[u8], user: &str) -> Result<Vec<u8>, BadArguments> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'%' => match bytes.next() {
                Some(b'%') => out.push(b'%'),
                // It comes from the client: one name, which leads nowhere else.
                Some(b'u') if is_safe_name(user.as_bytes()) => out.extend(user.as_bytes()),
                Some(b'u') => return Err(BadArguments::User),
                _ => return Err(BadArguments::Token),
            },
            b => out.push(b),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use crate::sftp::Operation;

    use super::*;

    #[test]
    fn options_as_force_command_has_them() {
        let arguments = Arguments::parse(b"-R -u 027 -d /in/%u -Premove,rmdir -l VERBOSE", "alice").unwrap();
        assert!(arguments.read_only);
        assert_eq!(arguments.umask, Some(0o27));
        assert_eq!(arguments.start.as_deref(), Some(&b"/in/alice"[..]));
        assert!(arguments.deny.is_some_and(|set| set.contains(Operation::Rmdir)));
        for wrong in ["-X", "R", "-Rx", "-u", "-u 9", "-u 7777", "-P nonsense", "-d %h"] {
            assert!(Arguments::parse(wrong.as_bytes(), "alice").is_err(), "{wrong}");
        }
        assert!(Arguments::parse(b"-d /in/%u", "../bob").is_err());
    }

    #[test]
    fn c10_a_directory_is_bytes() {
        assert_eq!(
            Arguments::parse(b"-d /caf\xe9/%u", "alice").unwrap().start.as_deref(),
            Some(&b"/caf\xe9/alice"[..])
        );
        assert!(
            Arguments::parse(b"-P remove\xff", "alice").is_err()
                && Arguments::parse(b"-u 7\xff", "alice").is_err()
        );
    }
}
