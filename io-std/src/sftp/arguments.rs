//! The options of `internal-sftp`, as sshd_config(5) `ForceCommand` and sftp-server(8) have them.

use konko_core::sftp::OperationSet;

use super::root::Root;

/// What the options say. An option that is not understood is an error: it may have been a restriction.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Arguments {
    read_only: bool,
    umask: Option<u32>,
    start: Option<String>,
    deny: Option<OperationSet>,
    allow: Option<OperationSet>,
}

pub(super) fn parse(text: &str, user: &str) -> Result<Arguments, String> {
    let mut arguments = Arguments::default();
    let mut words = text.split_whitespace();
    while let Some(word) = words.next() {
        let (name, joined) = word.split_at_checked(2).unwrap_or((word, ""));
        let mut value = || match joined {
            "" => words.next().ok_or_else(|| format!("{name} needs a value")),
            joined => Ok(joined),
        };
        match name {
            "-R" if joined.is_empty() => arguments.read_only = true,
            // Where messages go is the server's own affair here.
            "-e" if joined.is_empty() => {}
            "-l" | "-f" => drop(value()?),
            "-u" => {
                let mask = u32::from_str_radix(value()?, 8).ok().filter(|mask| *mask <= 0o777);
                arguments.umask = Some(mask.ok_or("-u needs an octal number up to 777")?);
            }
            "-d" => arguments.start = Some(expand(value()?, user)?),
            "-P" => arguments.deny = Some(requests(value()?)?),
            "-p" => arguments.allow = Some(requests(value()?)?),
            _ => return Err("an option of internal-sftp is not known".into()),
        }
    }
    Ok(arguments)
}

fn requests(list: &str) -> Result<OperationSet, String> {
    OperationSet::parse(list).map_err(|_| "a request in a list of internal-sftp is not known".into())
}

/// `%u` is the user, `%d` their home, which in a jail is where they start anyway.
fn expand(text: &str, user: &str) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '%' => match chars.next() {
                Some('%') => out.push('%'),
                // It comes from the client: one name, which leads nowhere else.
                Some('u') if super::is_safe_name(user.as_bytes()) => out.push_str(user),
                Some('u') => return Err("this user name cannot be a directory's".into()),
                _ => return Err("-d knows %u and %% only".into()),
            },
            c => out.push(c),
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
        let arguments = parse("-R -u 027 -d /in/%u -Premove,rmdir -l VERBOSE", "alice").unwrap();
        assert!(arguments.read_only);
        assert_eq!(arguments.umask, Some(0o27));
        assert_eq!(arguments.start.as_deref(), Some("/in/alice"));
        assert!(arguments.deny.is_some_and(|set| set.contains(Operation::Rmdir)));
        for wrong in ["-X", "R", "-Rx", "-u", "-u 9", "-u 7777", "-P nonsense", "-d %h"] {
            assert!(parse(wrong, "alice").is_err(), "{wrong}");
        }
        assert!(parse("-d /in/%u", "../bob").is_err());
    }
}
