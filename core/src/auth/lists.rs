use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{Method, MethodSet};
use crate::wire::SshStr;

/// Which methods have to succeed, and in which order: `AuthenticationMethods` of sshd_config(5).
///
/// Lists are separated by blanks, and one of them has to be completed; the methods of a list are
/// separated by commas.
///
/// ```
/// # use konko_core::auth::{Method, MethodLists, MethodSet, Needs};
/// let lists: MethodLists = "publickey,password publickey,keyboard-interactive".parse().unwrap();
/// let set = |methods: &[Method]| methods.iter().copied().collect::<MethodSet>();
/// assert_eq!(lists.needs(&[]), Needs::OneOf(set(&[Method::PublicKey])));
/// let needed = set(&[Method::Password, Method::KeyboardInteractive]);
/// assert_eq!(lists.needs(&[Method::PublicKey]), Needs::OneOf(needed));
/// assert_eq!(lists.needs(&[Method::PublicKey, Method::Password]), Needs::Nothing);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MethodLists(Vec<Vec<Method>>);

/// What is still missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: the user is in.
    Nothing,
    /// One of these; no other method may be tried.
    OneOf(MethodSet),
}

/// Lists longer or more than these make no sense, and each has to be remembered a connection.
const MAX_LISTS: usize = 32;
const MAX_METHODS: usize = 8;

impl MethodLists {
    /// Any single method but `none` is enough (`any`, the default).
    pub const ANY: MethodLists = MethodLists(Vec::new());

    /// What is missing after the methods that have succeeded, in this order.
    ///
    /// As in sshd, a method counts for every list that has it next.
    pub fn needs(&self, succeeded: &[Method]) -> Needs {
        if self.0.is_empty() {
            return match succeeded {
                [] => Needs::OneOf(Method::ALL.into_iter().filter(|m| *m != Method::None).collect()),
                _ => Needs::Nothing,
            };
        }
        let mut next = MethodSet::EMPTY;
        for list in &self.0 {
            let mut left = list.iter().peekable();
            for method in succeeded {
                left.next_if_eq(&method);
            }
            match left.next() {
                Some(method) => next = next.with(*method),
                None => return Needs::Nothing,
            }
        }
        Needs::OneOf(next)
    }

    /// The methods that some list asks for. For [`ANY`](Self::ANY), `hostbased` is none of them: it wants to be named.
    pub fn methods(&self) -> MethodSet {
        match self.needs(&[]) {
            Needs::OneOf(any) if self.0.is_empty() => any.without(Method::HostBased),
            _ => self.0.iter().flatten().copied().collect(),
        }
    }
}

/// Why a text is not lists of methods.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadMethodLists {
    /// There is nothing in it.
    Empty,
    /// Not a method, or one that we do not have; what stands there, escaped.
    Unknown(String),
    /// More than 32 lists, or more than 8 methods in one.
    TooMany,
}

impl fmt::Display for BadMethodLists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no authentication method is named; write `any` for any of them"),
            Self::Unknown(name) => {
                write!(f, "\"{name}\" is no authentication method; there are ")?;
                let mut names = Method::ALL.into_iter().map(Method::name).filter(|n| *n != "none");
                names.try_for_each(|name| write!(f, "{name}, "))?;
                f.write_str("and `any` alone")
            }
            Self::TooMany => f.write_str("more than 32 lists of methods, or more than 8 methods in a list"),
        }
    }
}

impl core::error::Error for BadMethodLists {}

impl core::str::FromStr for MethodLists {
    type Err = BadMethodLists;

    fn from_str(text: &str) -> Result<Self, BadMethodLists> {
        let mut lists = Vec::new();
        for words in text.split([' ', '\t']).filter(|words| !words.is_empty()) {
            let mut list = Vec::new();
            for word in words.split(',') {
                // `none` would let in whoever asks.
                let method = Method::from_name(word).filter(|m| *m != Method::None);
                let unknown = || BadMethodLists::Unknown(SshStr::new(word.as_bytes()).excerpt(40));
                match method {
                    Some(method) => list.push(method),
                    None if text.trim() == "any" => return Ok(Self::ANY),
                    None => return Err(unknown()),
                }
            }
            if list.len() > MAX_METHODS || lists.len() == MAX_LISTS {
                return Err(BadMethodLists::TooMany);
            }
            lists.push(list);
        }
        if lists.is_empty() { Err(BadMethodLists::Empty) } else { Ok(MethodLists(lists)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Method = Method::PublicKey;
    const PASSWORD: Method = Method::Password;
    const ASKED: Method = Method::KeyboardInteractive;
    const HOST: Method = Method::HostBased;

    fn needs(lists: &str, succeeded: &[Method]) -> Needs {
        lists.parse::<MethodLists>().unwrap().needs(succeeded)
    }

    fn one_of(methods: &[Method]) -> Needs {
        Needs::OneOf(methods.iter().copied().collect())
    }

    #[test]
    fn lists_are_completed_in_order() {
        assert_eq!(needs("publickey,password", &[]), one_of(&[KEY]));
        assert_eq!(needs("publickey,password", &[KEY]), one_of(&[PASSWORD]));
        assert_eq!(needs("publickey,password", &[PASSWORD]), one_of(&[KEY]), "out of order counts nothing");
        assert_eq!(needs("publickey,password", &[KEY, PASSWORD]), Needs::Nothing);
        assert_eq!(needs("publickey,publickey", &[KEY]), one_of(&[KEY]));
        let two = "publickey,password  password,keyboard-interactive";
        assert_eq!(needs(two, &[]), one_of(&[KEY, PASSWORD]));
        assert_eq!(needs(two, &[PASSWORD]), one_of(&[KEY, ASKED]));
        assert_eq!(needs(two, &[PASSWORD, KEY]), one_of(&[PASSWORD, ASKED]));
        assert_eq!(needs(two, &[PASSWORD, KEY, PASSWORD]), Needs::Nothing);
        assert_eq!(needs("any", &[]), one_of(&[KEY, PASSWORD, ASKED, HOST]));
        assert_eq!(needs(" any ", &[PASSWORD]), Needs::Nothing);
        assert_eq!(MethodLists::default(), MethodLists::ANY);
        let methods: MethodSet = [PASSWORD, KEY].into_iter().collect();
        assert_eq!("publickey,password".parse::<MethodLists>().unwrap().methods(), methods);
    }

    #[test]
    fn f30_what_is_no_list_is_an_error() {
        let unknown = |name: &str| BadMethodLists::Unknown(name.into());
        let table = [
            ("", BadMethodLists::Empty),
            ("  ", BadMethodLists::Empty),
            ("none", unknown("none")),
            ("publickey,", unknown("")),
            ("publickey,any", unknown("any")),
            ("any publickey", unknown("any")),
            ("publickey password,gssapi-with-mic", unknown("gssapi-with-mic")),
            ("keyboard-interactive:pam", unknown("keyboard-interactive:pam")),
            ("\u{1b}[2J", unknown("\\x1b[2J")),
            (&"publickey ".repeat(33), BadMethodLists::TooMany),
            (&["publickey"; 9].join(","), BadMethodLists::TooMany),
        ];
        for (text, error) in table {
            assert_eq!(text.parse::<MethodLists>(), Err(error), "{text}");
        }
    }
}
