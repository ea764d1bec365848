use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::keys::TouchPolicy;
use crate::text::{Sources, moment, pattern, unquote};
use crate::wire::SshStr;

/// What somebody may do who came in with a key. The default is everything.
///
/// Nothing here is enforced by itself: whoever runs the session asks. Several factors restrict
/// together, see [`and`](Self::and).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyOptions {
    /// The command that runs whatever the client asks for (`command`).
    pub command: Option<Box<[u8]>>,
    /// Variables for the program (`environment`). sshd ignores them unless `PermitUserEnvironment`
    /// is on, since some, such as `LD_PRELOAD`, defeat a forced command.
    pub environment: Vec<(String, Box<[u8]>)>,
    /// A pseudo-terminal.
    pub pty: bool,
    /// TCP and socket forwarding, within [`may_connect`](Self::may_connect) and
    /// [`may_listen`](Self::may_listen).
    pub port_forwarding: bool,
    /// Agent forwarding.
    pub agent_forwarding: bool,
    /// X11 forwarding.
    pub x11_forwarding: bool,
    /// Running `~/.ssh/rc`.
    pub user_rc: bool,
    /// A security key need not be touched (`no-touch-required`).
    pub no_touch_required: bool,
    /// A security key has to verify its user, by a PIN or a finger (`verify-required`).
    pub verify_required: bool,
    /// A list each: all of them have to permit it.
    open: Vec<Vec<Permit>>,
    listen: Vec<Vec<Permit>>,
    pub(super) from: Vec<Sources>,
    /// Seconds since 1970 UTC.
    expires: Option<u64>,
}

/// An end of a forwarding: `host:port`, each of which may be any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Permit {
    /// Without brackets.
    host: Box<[u8]>,
    /// `None` is any.
    port: Option<u16>,
}

impl Default for KeyOptions {
    fn default() -> Self {
        KeyOptions {
            command: None,
            environment: Vec::new(),
            pty: true,
            port_forwarding: true,
            agent_forwarding: true,
            x11_forwarding: true,
            user_rc: true,
            no_touch_required: false,
            verify_required: false,
            open: Vec::new(),
            listen: Vec::new(),
            from: Vec::new(),
            expires: None,
        }
    }
}

impl KeyOptions {
    /// Nothing but running programs without a terminal (`restrict`).
    pub fn restricted() -> Self {
        let mut options = Self::default();
        options.restrict();
        options
    }

    fn restrict(&mut self) {
        for permission in [
            &mut self.pty,
            &mut self.port_forwarding,
            &mut self.agent_forwarding,
            &mut self.x11_forwarding,
            &mut self.user_rc,
        ] {
            *permission = false;
        }
    }

    /// Whether the client may have connections made to this host and port (`direct-tcpip`, ssh -L):
    /// `permitopen`, whose hosts are compared as they are.
    pub fn may_connect(&self, host: &[u8], port: u16) -> bool {
        let same = |permit: &Permit| *permit.host == *b"*" || *permit.host == *host;
        self.port_forwarding && permitted(&self.open, port, same)
    }

    /// Whether the client may have the server listen here (`tcpip-forward`, ssh -R): `permitlisten`,
    /// whose hosts are patterns in any case. Port 0, any free one, needs a permission for any port.
    pub fn may_listen(&self, host: &[u8], port: u16) -> bool {
        let same = |permit: &Permit| pattern::matches_host(&permit.host, host);
        self.port_forwarding && permitted(&self.listen, port, same)
    }

    /// Whether `from` and `expiry-time` hold: see [`AuthorizedKeys::find`](super::AuthorizedKeys::find).
    pub fn admits(&self, source: Option<IpAddr>, now: Option<u64>) -> bool {
        self.from.iter().all(|from| source.is_some_and(|source| from.admit(source)))
            && self.expires.is_none_or(|expires| now.is_some_and(|now| now < expires))
    }

    /// What a signature by a security key has to say, for [`accept_probe`](crate::ServerConnection::accept_probe).
    pub fn touch(&self) -> TouchPolicy {
        TouchPolicy::new(!self.no_touch_required, self.verify_required)
    }

    /// When the key expires, in seconds since 1970 UTC.
    pub fn expires(&self) -> Option<u64> {
        self.expires
    }

    /// What two factors allow together: what both of them do (AS-14).
    ///
    /// # Errors
    /// [`CommandConflict`] if each forces another command: nobody can run both, so refuse.
    pub fn and(mut self, other: Self) -> Result<Self, CommandConflict> {
        self.command = match (self.command, other.command) {
            (Some(one), Some(two)) if one != two => return Err(CommandConflict),
            (one, two) => one.or(two),
        };
        for (name, value) in other.environment {
            self.set_environment(name, value);
        }
        self.pty &= other.pty;
        self.port_forwarding &= other.port_forwarding;
        self.agent_forwarding &= other.agent_forwarding;
        self.x11_forwarding &= other.x11_forwarding;
        self.user_rc &= other.user_rc;
        self.no_touch_required &= other.no_touch_required;
        self.verify_required |= other.verify_required;
        self.open.extend(other.open);
        self.listen.extend(other.listen);
        self.from.extend(other.from);
        self.expires = self.expires.into_iter().chain(other.expires).min();
        Ok(self)
    }

    /// The first value of a variable stays.
    fn set_environment(&mut self, name: String, value: Box<[u8]>) {
        if !self.environment.iter().any(|(known, _)| *known == name) {
            self.environment.push((name, value));
        }
    }
}

fn permitted(lists: &[Vec<Permit>], port: u16, same: impl Fn(&Permit) -> bool) -> bool {
    let fits = |permit: &Permit| permit.port.is_none_or(|permitted| permitted == port) && same(permit);
    lists.iter().all(|list| list.iter().any(fits))
}

/// Two factors force different commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandConflict;

impl fmt::Display for CommandConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the keys that were used force different commands")
    }
}

impl core::error::Error for CommandConflict {}

/// What is wrong with the options of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OptionProblem {
    /// There is no such option; what stands there, escaped.
    Unknown(String),
    /// The option stands twice and only one can be meant.
    Twice(&'static str),
    /// The value is not in quotes, or the quotes do not end where they should.
    Quoting(&'static str),
    /// The value is not one that the option can have.
    Value(&'static str),
    /// The option is about certificates, and the key does not sign any (`cert-authority`).
    NoAuthority(&'static str),
}

impl fmt::Display for OptionProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(text) => write!(f, "the option \"{text}\" is not known"),
            Self::Twice(name) => write!(f, "the option {name} stands twice"),
            Self::Quoting(name) => write!(f, "the option is not {name}=\"value\""),
            Self::Value("from") => f.write_str(
                "the option from is not a list of addresses, networks (192.0.2.0/24) and patterns; hosts are \
                 not looked up",
            ),
            Self::Value("expiry-time") => f.write_str("the option expiry-time is not YYYYMMDD[HHMM[SS]][Z]"),
            Self::Value(name) => write!(f, "the value of the option {name} makes no sense"),
            Self::NoAuthority(name) => {
                write!(f, "the option {name} is for keys that sign certificates (cert-authority)")
            }
        }
    }
}

/// The options of a line.
pub(super) struct Parsed {
    pub(super) options: KeyOptions,
    /// The key signs certificates.
    pub(super) authority: bool,
    /// Whom its certificates may be for.
    pub(super) principals: Option<Vec<Box<[u8]>>>,
}

type Permission = fn(&mut KeyOptions) -> &mut bool;

/// Options without a value; a `no-` in front of one takes it back.
const PERMISSIONS: [(&str, Permission); 5] = [
    ("pty", |o| &mut o.pty),
    ("port-forwarding", |o| &mut o.port_forwarding),
    ("agent-forwarding", |o| &mut o.agent_forwarding),
    ("x11-forwarding", |o| &mut o.x11_forwarding),
    ("user-rc", |o| &mut o.user_rc),
];

/// Options with a value.
const VALUED: [&str; 8] =
    ["command", "environment", "from", "permitopen", "permitlisten", "expiry-time", "principals", "tunnel"];

impl Parsed {
    /// Reads the options, from left to right; a later permission outweighs an earlier one.
    pub(super) fn parse(text: &[u8]) -> Result<Self, OptionProblem> {
        let mut parsed = Parsed { options: KeyOptions::default(), authority: false, principals: None };
        let mut seen = Vec::new();
        let mut rest = text;
        loop {
            let end = rest.iter().position(|b| matches!(b, b',' | b'=')).unwrap_or(rest.len());
            let (word, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            let name = word.to_ascii_lowercase();
            rest = match after.strip_prefix(b"=") {
                Some(after) => {
                    let name = VALUED.iter().find(|known| known.as_bytes() == name);
                    let name = *name.ok_or_else(|| unknown(word))?;
                    let (value, after) = unquote(after).ok_or(OptionProblem::Quoting(name))?;
                    if matches!(name, "command" | "from" | "principals" | "tunnel") && seen.contains(&name) {
                        return Err(OptionProblem::Twice(name));
                    }
                    seen.push(name);
                    parsed.set(name, value)?;
                    after
                }
                None => {
                    parsed.flag(word, &name)?;
                    after
                }
            };
            match rest.split_first() {
                // OpenSSH `auth_authorise_keyopts`: a key that is for certain principals is for nobody else.
                None if seen.contains(&"principals") && !parsed.authority => {
                    return Err(OptionProblem::NoAuthority("principals"));
                }
                None => return Ok(parsed),
                Some((b',', after)) => rest = after,
                Some(_) => return Err(unknown(rest)),
            }
        }
    }

    fn flag(&mut self, word: &[u8], name: &[u8]) -> Result<(), OptionProblem> {
        match name {
            b"restrict" => self.options.restrict(),
            b"cert-authority" => self.authority = true,
            b"touch-required" => self.options.no_touch_required = false,
            b"no-touch-required" => self.options.no_touch_required = true,
            b"verify-required" => self.options.verify_required = true,
            b"no-verify-required" => self.options.verify_required = false,
            _ => {
                if let Some(name) = VALUED.iter().find(|known| known.as_bytes() == name) {
                    return Err(OptionProblem::Quoting(name));
                }
                let (name, value) = match name.strip_prefix(b"no-") {
                    Some(name) => (name, false),
                    None => (name, true),
                };
                let known = PERMISSIONS.iter().find(|(known, _)| known.as_bytes() == name);
                let (_, permission) = known.ok_or_else(|| unknown(word))?;
                *permission(&mut self.options) = value;
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &'static str, value: Vec<u8>) -> Result<(), OptionProblem> {
        let wrong = OptionProblem::Value(name);
        let options = &mut self.options;
        match name {
            "command" => options.command = Some(value.into()),
            "environment" => {
                let at = value.iter().position(|b| *b == b'=').ok_or(wrong.clone())?;
                let (variable, value) = value.split_at_checked(at).ok_or(wrong.clone())?;
                let value = value.get(1..).unwrap_or_default();
                let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
                if variable.is_empty() || !variable.iter().all(word) {
                    return Err(wrong);
                }
                let variable = String::from_utf8_lossy(variable).into_owned();
                options.set_environment(variable, value.into());
            }
            "from" => options.from.push(Sources::parse(&value).ok_or(wrong)?),
            "permitopen" => permit(&mut options.open, Permit::parse(&value, false).ok_or(wrong)?),
            "permitlisten" => permit(&mut options.listen, Permit::parse(&value, true).ok_or(wrong)?),
            "expiry-time" => {
                let expires = moment::parse(&value).ok_or(wrong)?;
                options.expires = Some(options.expires.map_or(expires, |known| known.min(expires)));
            }
            // Nobody is given a tunnel.
            "tunnel" if !is_tunnel(&value) => return Err(wrong),
            "principals" if value.is_empty() => return Err(wrong),
            // As OpenSSH, which stops at an empty name.
            "principals" => {
                let names = value.split(|b| *b == b',').take_while(|name| !name.is_empty());
                self.principals = Some(names.map(Box::from).collect());
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether it is a tunnel's number, or any (OpenSSH `a2tun`).
fn is_tunnel(value: &[u8]) -> bool {
    let number = core::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    let highest = 0x7fff_fffd;
    value.eq_ignore_ascii_case(b"any") || number.is_some_and(|n| n.parse().is_ok_and(|n: u32| n <= highest))
}

/// Adds to the list of the line, which is the first.
fn permit(lists: &mut Vec<Vec<Permit>>, permit: Permit) {
    match lists.first_mut() {
        Some(list) => list.push(permit),
        None => lists.push(alloc::vec![permit]),
    }
}

impl Permit {
    /// `host:port` or `[host]:port`; with `bare`, a port alone is for any host.
    fn parse(text: &[u8], bare: bool) -> Option<Self> {
        let text = core::str::from_utf8(text).ok()?;
        let (host, port) = match text.strip_prefix('[') {
            Some(text) => text.split_once("]:")?,
            None => match text.split_once(':') {
                Some(parts) => parts,
                None if bare => ("*", text),
                None => return None,
            },
        };
        let port = match port {
            "*" => None,
            port if port.bytes().all(|b| b.is_ascii_digit()) => Some(port.parse().ok().filter(|p| *p != 0)?),
            _ => return None,
        };
        let meant = |b: u8| b.is_ascii_graphic() && !b"[],".contains(&b);
        let host = Some(host.as_bytes()).filter(|h| !h.is_empty() && h.iter().all(|b| meant(*b)))?;
        Some(Permit { host: host.into(), port })
    }
}

fn unknown(text: &[u8]) -> OptionProblem {
    OptionProblem::Unknown(SshStr::new(text).excerpt(40))
}
