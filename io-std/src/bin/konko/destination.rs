//! Where to: the one reader of what people write for a host, with or without a user, a port and a path.
//!
//! Plain words are taken as OpenSSH takes them (`misc.c`, `colon`, `parse_user_host_path`); what looks
//! like `ssh://`, `sftp://` or `scp://` is read by RFC 3986: the user is percent-decoded, so `%40` is an
//! `@`, and so is the path. A `+` is a `+`.

use konko::core::wire::SshStr;

/// A destination. The host has no brackets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Destination {
    pub user: Option<Vec<u8>>,
    pub host: String,
    pub port: Option<u16>,
    /// `None` where none was written.
    pub path: Option<Vec<u8>>,
}

impl Destination {
    /// `[user@]host` or `ssh://[user@]host[:port]`.
    pub fn ssh(text: &[u8]) -> Result<Self, String> {
        let wrong = || format!("\"{}\" is not [user@]host or ssh://[user@]host[:port]", SshStr::new(text));
        match text.strip_prefix(b"ssh://") {
            Some(rest) => uri(rest).filter(|place| place.path.is_none()),
            None => plain(text),
        }
        .ok_or_else(wrong)
    }

    /// `[user@]host[:path]` or `sftp://[user@]host[:port][/path]`.
    pub fn sftp(text: &[u8]) -> Result<Self, String> {
        let form = "[user@]host[:path] or sftp://[user@]host[:port][/path]";
        let wrong = || format!("\"{}\" is not {form}", SshStr::new(text));
        match text.strip_prefix(b"sftp://") {
            Some(rest) => uri(rest),
            None => with_path(text).unwrap_or_else(|| plain(text)),
        }
        .ok_or_else(wrong)
    }

    /// `[user@]host:path` or `scp://[user@]host[:port][/path]`; `None` for the name of a file here.
    pub fn scp(text: &[u8]) -> Result<Option<Self>, String> {
        let form = "[user@]host:path or scp://[user@]host[:port][/path]; a file here is ./name";
        let wrong = || format!("\"{}\" is not {form}", SshStr::new(text));
        match text.strip_prefix(b"scp://") {
            Some(rest) => uri(rest).ok_or_else(wrong).map(Some),
            None => with_path(text).map(|place| place.ok_or_else(wrong)).transpose(),
        }
    }
}

/// `[user@]host`.
fn plain(text: &[u8]) -> Option<Destination> {
    let (user, host) = match text.iter().rposition(|b| *b == b'@') {
        Some(at) => (Some(text[..at].to_vec()), &text[at + 1..]),
        None => (None, text),
    };
    if user.as_deref().is_some_and(<[u8]>::is_empty) {
        return None;
    }
    Some(Destination { user, host: bare(host)?, ..Destination::default() })
}

/// `[user@]host:path`, where the colon is none of an address in brackets; `None` without one.
fn with_path(text: &[u8]) -> Option<Option<Destination>> {
    let colon = colon(text)?;
    let path = Some(text[colon + 1..].to_vec());
    Some(plain(&text[..colon]).map(|place| Destination { path, ..place }))
}

/// The colon that ends a host. One in front, or behind a slash, is part of a name.
fn colon(text: &[u8]) -> Option<usize> {
    if text.first() == Some(&b':') {
        return None;
    }
    let mut bracket = text.first() == Some(&b'[');
    for (at, pair) in text.iter().zip(text.iter().skip(1).chain(&[0])).enumerate() {
        match pair {
            (b'@', b'[') => bracket = true,
            (b']', b':') if bracket => return Some(at + 1),
            (b':', _) if !bracket => return Some(at),
            (b'/', _) => return None,
            _ => {}
        }
    }
    None
}

/// What stands behind `://`: `[user@]host[:port][/path]`.
fn uri(rest: &[u8]) -> Option<Destination> {
    let slash = rest.iter().position(|b| *b == b'/');
    let (place, path) = slash.map_or((rest, &b""[..]), |at| (&rest[..at], &rest[at + 1..]));
    let path = Some(decoded(path)?).filter(|path| !path.is_empty());
    let (user, place) = match place.iter().rposition(|b| *b == b'@') {
        Some(at) => {
            // Parameters of the connection stand behind a semicolon; there are none that we know.
            let user = place[..at].split(|b| *b == b';').next()?;
            let user = decoded(user)?;
            (Some(user).filter(|user| !user.is_empty()).map(Some)?, &place[at + 1..])
        }
        None => (None, place),
    };
    // Behind the brackets, if there are any.
    let end = place.iter().rposition(|b| *b == b']').map_or(0, |at| at + 1);
    let (host, port) = match place[end..].iter().position(|b| *b == b':') {
        Some(at) => (&place[..end + at], &place[end + at + 1..]),
        None => (place, &b""[..]),
    };
    if !port.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let port = match std::str::from_utf8(port).ok()? {
        "" => None,
        port => Some(port.parse().ok().filter(|port| *port > 0)?),
    };
    // A zone's own percent sign is written `%25` (RFC 6874).
    let host = bare(host)?;
    let host = match host.split_once("%25") {
        Some((address, zone)) if address.contains(':') && !zone.is_empty() => format!("{address}%{zone}"),
        _ => host,
    };
    Some(Destination { user, host, port, path })
}

/// A host without the brackets around it. One that looks like an option is none.
fn bare(host: &[u8]) -> Option<String> {
    let host = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let meant = !host.is_empty() && !host.starts_with(b"-") && !host.iter().any(|b| b"[]/@".contains(b));
    String::from_utf8(host.to_vec()).ok().filter(|_| meant)
}

/// `None` for a `%` without two digits, and for a NUL.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        if *b != b'%' {
            out.push(*b);
            continue;
        }
        let mut digit = || bytes.next().and_then(|d| char::from(*d).to_digit(16));
        out.push((digit()? * 16 + digit()?) as u8);
    }
    Some(out).filter(|out| !out.contains(&0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(user: &str, host: &str, port: u16, path: Option<&[u8]>) -> Destination {
        Destination {
            user: Some(user.as_bytes().to_vec()).filter(|user| !user.is_empty()),
            host: host.into(),
            port: Some(port).filter(|port| *port > 0),
            path: path.map(<[u8]>::to_vec),
        }
    }

    /// Every spelling of a host, by every reader that takes it.
    #[test]
    fn c12_hosts_users_and_ports_are_read_alike_by_all_programs() {
        let hosts = [
            ("h", "h"),
            ("[::1]", "::1"),
            ("[h]", "h"),
            ("127.0.0.1", "127.0.0.1"),
            ("[fe80::1%lo]", "fe80::1%lo"),
        ];
        for (written, host) in hosts {
            for (user, name) in [("", ""), ("root@", "root"), ("a@b@", "a@b"), ("a+b@", "a+b"), ("ü@", "ü")]
            {
                let text = format!("{user}{written}");
                let ssh = Destination::ssh(text.as_bytes());
                assert_eq!(ssh, Ok(place(name, host, 0, None)), "{text}");
                assert_eq!(Destination::sftp(text.as_bytes()), ssh, "{text}");
                let text = format!("{text}:x:y@z");
                let there = place(name, host, 0, Some(b"x:y@z"));
                assert_eq!(Destination::sftp(text.as_bytes()), Ok(there.clone()), "{text}");
                assert_eq!(Destination::scp(text.as_bytes()), Ok(Some(there)), "{text}");
            }
            let users = [
                ("", ""),
                ("root@", "root"),
                ("a%40b@", "a@b"),
                ("a%2Bb%3b+@", "a+b;+"),
                ("a;x=y@", "a"),
                ("a:b@", "a:b"),
            ];
            for (user, name) in users {
                for (port, number) in [("", 0), (":", 0), (":22", 22), (":65535", 65535)] {
                    for (slash, path) in [
                        ("", None),
                        ("/", None),
                        ("/x%20y@z:1", Some(&b"x y@z:1"[..])),
                        ("//x", Some(&b"/x"[..])),
                        ("/%ff", Some(&b"\xff"[..])),
                    ] {
                        let rest = format!("{user}{written}{port}{slash}");
                        let expected = place(name, host, number, path);
                        let (ssh, sftp, scp) =
                            (format!("ssh://{rest}"), format!("sftp://{rest}"), format!("scp://{rest}"));
                        let ssh = Destination::ssh(ssh.as_bytes());
                        assert_eq!(ssh.ok(), Some(expected.clone()).filter(|_| path.is_none()), "ssh {rest}");
                        assert_eq!(Destination::sftp(sftp.as_bytes()), Ok(expected.clone()), "sftp {rest}");
                        assert_eq!(Destination::scp(scp.as_bytes()), Ok(Some(expected)), "scp {rest}");
                    }
                }
            }
        }
        let zone = Destination::ssh(b"ssh://[fe80::1%25lo]:22");
        assert_eq!(zone, Ok(place("", "fe80::1%lo", 22, None)));
        assert_eq!(
            Destination::ssh(b"::1"),
            Ok(place("", "::1", 0, None)),
            "an address alone needs no brackets"
        );
    }

    #[test]
    fn c12_what_is_no_destination() {
        for text in [
            "",
            "@h",
            "u@",
            "-x",
            "u@-x",
            "[]",
            "u@[-x]",
            "h/x",
            "[::1",
            "ssh://",
            "ssh://@h",
            "ssh://u@",
            "ssh://%zz@h",
            "ssh://%4@h",
            "ssh://%00@h",
            "ssh://h:0",
            "ssh://h:65536",
            "ssh://h:+22",
            "ssh://h:x",
            "ssh://::1",
            "ssh://h:22:33",
            "ssh://[::1]x:22",
            "ssh://h/p",
            "ssh://-x",
            "ssh://u@-x",
        ] {
            assert!(Destination::ssh(text.as_bytes()).is_err(), "{text}");
            let sftp = text.replacen("ssh://", "sftp://", 1);
            assert!(text.ends_with("/p") || Destination::sftp(sftp.as_bytes()).is_err(), "{sftp}");
        }
        assert!(Destination::sftp(b"sftp://h/%zz").is_err() && Destination::sftp(b"sftp://h/%00").is_err());
        let latin = Destination::ssh(b"\xff@h").unwrap();
        assert_eq!(latin.user.as_deref(), Some(&b"\xff"[..]), "users are bytes");
        assert!(Destination::ssh(b"\xff").is_err(), "hosts are text");
        let error = Destination::ssh(b"\x1b[2J").unwrap_err();
        assert!(!error.contains('\x1b'), "{error}");
    }

    #[test]
    fn c12_names_of_files_here_and_there() {
        for here in ["x", "./a:b", "/a:b", "a/b:c", ":x", "[x", "[::1]", "u@h", "[a:b", "x/[y]:z"] {
            assert_eq!(Destination::scp(here.as_bytes()), Ok(None), "{here}");
        }
        assert_eq!(Destination::scp(b"h:"), Ok(Some(place("", "h", 0, Some(b"")))));
        assert_eq!(
            Destination::scp(b"h:\xff\xfe"),
            Ok(Some(place("", "h", 0, Some(b"\xff\xfe")))),
            "names are bytes"
        );
        assert!(Destination::scp(b"@h:x").is_err() && Destination::scp(b"-x:y").is_err());
    }
}
