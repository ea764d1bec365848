//! The options of `internal-sftp`, as sshd_config(5) `ForceCommand` and sftp-server(8) have them.

use konko_core::sftp::OperationSet;
use konko_core::wire::SshStr;

use super::root::Root;

/// What the options say. An option that is not understood is an error: it may have been a restriction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    read_only: bool,
    umask: Option<u32>,
    start: Option<Vec<u8>>,
    deny: Option<OperationSet>,
    allow: Option<OperationSet>,
}

pub(super) fn parse(text: &[u8], user: &str) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = text.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    while let Some(word) = words.next() {
        let (name, joined) = word.split_at_checked(2).unwrap_or((word, b""));
        let mut value = || match joined {
            b"" => words.next().ok_or_else(|| format!("{} needs a value", SshStr::new(name))),
            joined => Ok(joined),
        };
        match name {
            b"-R" if joined.is_empty() => arguments.read_only = true,
            // Where messages go is the server's own affair here.
            b"-e" if joined.is_empty() => {}
            b"-l" | b"-f" => drop(value()?),
            b"-u" => {
                let mask =
                    std::str::from_utf8(value()?).ok().and_then(|mask| u32::from_str_radix(mask, 8).ok());
                let mask = mask.filter(|mask| *mask <= 0o777);
                arguments.umask = Some(mask.ok_or("-u needs an octal number up to 777")?);
            }
            b"-d" => arguments.start = Some(expand(value()?, user)?),
            b"-P" => arguments.deny = Some(requests(value()?)?),
            b"-p" => arguments.allow = Some(requests(value()?)?),
            _ => return Err("an option of internal-sftp is not known".into()),
        }
    }
    Ok(arguments)
}

fn requests(list: &[u8]) -> Result<OperationSet, String> {
    let set = std::str::from_utf8(list).ok().and_then(|list| OperationSet::parse(list).ok());
    set.ok_or_else(|| "a request in a list of internal-sftp is not known".into())
}

/// `%u` is the user, `%d` their home, which in a jail is where they start anyway.
fn expand(text: &[u8], user: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    while let Some(&b) = bytes.next() {
        match b {
            b'%' => match bytes.next() {
                Some(b'%') => out.push(b'%'),
                // It comes from the client: one name, which leads nowhere else.
                Some(b'u') if super::is_safe_name(user.as_bytes()) => out.extend(user.as_bytes()),
                Some(b'u') => return Err("this user name cannot be a directory's".into()),
                _ => return Err("-d knows %u and %% only".into()),
            },
            b => out.push(b),
        }
    }
    Ok(out)
}

impl Arguments {
    /// What the server allows, less what the options take away.
    pub(super) fn apply(self, root: Root) -> Result<Root, String> {
        let root = root.configure(|config| {
            config.read_only |= self.read_only;
            config.umask |= self.umask.unwrap_or(0);
            if let Some(deny) = self.deny {
                config.deny = config.deny.union(deny);
            }
            if let Some(allow) = self.allow {
                config.allow = config.allow.intersection(allow);
            }
        });
        match self.start {
            Some(start) => root.start_in(start).map_err(|e| format!("the directory of -d: {e}")),
            None => Ok(root),
        }
    }
}

#[cfg(test)]
mod tests {
    use konko_core::sftp::Operation;

    use super::*;

    #[test]
    fn options_as_force_command_has_them() {
        let arguments = parse(b"-R -u 027 -d /in/%u -Premove,rmdir -l VERBOSE", "alice").unwrap();
        assert!(arguments.read_only);
        assert_eq!(arguments.umask, Some(0o27));
        assert_eq!(arguments.start.as_deref(), Some(&b"/in/alice"[..]));
        assert!(arguments.deny.is_some_and(|set| set.contains(Operation::Rmdir)));
        for wrong in ["-X", "R", "-Rx", "-u", "-u 9", "-u 7777", "-P nonsense", "-d %h"] {
            assert!(parse(wrong.as_bytes(), "alice").is_err(), "{wrong}");
        }
        assert!(parse(b"-d /in/%u", "../bob").is_err());
    }

    #[test]
    fn c10_a_directory_is_bytes() {
        assert_eq!(parse(b"-d /caf\xe9/%u", "alice").unwrap().start.as_deref(), Some(&b"/caf\xe9/alice"[..]));
        assert!(parse(b"-P remove\xff", "alice").is_err() && parse(b"-u 7\xff", "alice").is_err());
    }
}
