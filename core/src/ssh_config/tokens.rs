//! Tokens, variables and home folders in values (ssh_config(5), TOKENS; `misc.c`, `vdollar_percent_expand`,
//! `tilde_expand`).

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use super::Local;
use super::error::Wrong;
use super::keyword::Tokens;
use super::lookup::{Answers, Question, Stop};
use crate::crypto::HashAlgorithm;

/// What tokens stand for in a login.
#[derive(Clone, Debug)]
pub(super) struct Context<'a> {
    pub(super) local: &'a Local,
    /// `%h`
    pub(super) host: &'a [u8],
    /// `%n`
    pub(super) typed: &'a [u8],
    /// `%k`
    pub(super) alias: &'a [u8],
    /// `%p`
    pub(super) port: u16,
    /// `%r`
    pub(super) user: &'a [u8],
    /// `%j`
    pub(super) jump: &'a [u8],
}

/// `%C`: the SHA-1 of `%l%h%p%r%j` in hexadecimal (`readconf.c`, `ssh_connection_hash`).
pub(super) fn connection_hash(context: &Context<'_>) -> String {
    let mut hash = crate::provider::best().hash(HashAlgorithm::Sha1);
    let port = context.port.to_string();
    for part in [&context.local.host_name, context.host, port.as_bytes(), context.user, context.jump] {
        hash.update(part);
    }
    let mut digest = [0; 64];
    hash.finish(&mut digest);
    let mut text = String::new();
    for byte in digest.iter().take(HashAlgorithm::Sha1.len()) {
        write!(text, "{byte:02x}").ok();
    }
    text
}

impl Context<'_> {
    fn token(&self, token: u8, out: &mut Vec<u8>) {
        let short = || self.local.host_name.split(|b| *b == b'.').next().unwrap_or_default();
        match token {
            b'%' => out.push(b'%'),
            b'C' => out.extend(connection_hash(self).bytes()),
            b'd' => out.extend(&self.local.home),
            b'h' => out.extend(self.host),
            b'i' => out.extend(self.local.uid.to_string().bytes()),
            b'j' => out.extend(self.jump),
            b'k' => out.extend(self.alias),
            b'L' => out.extend(short()),
            b'l' => out.extend(&self.local.host_name),
            b'n' => out.extend(self.typed),
            b'p' => out.extend(self.port.to_string().bytes()),
            b'r' => out.extend(self.user),
            b'u' => out.extend(&self.local.user),
            // No tunnel is open.
            b'T' => out.extend(b"NONE"),
            _ => {}
        }
    }

    /// A value with its tokens replaced, and `${NAME}` too if it may be.
    pub(super) fn expand(
        &self,
        value: &[u8],
        tokens: Tokens,
        variables: bool,
        answers: &Answers,
    ) -> Result<Vec<u8>, Stop> {
        let mut out = Vec::new();
        let mut rest = value;
        while let Some((byte, after)) = rest.split_first() {
            rest = after;
            match byte {
                b'$' if variables && rest.starts_with(b"{") => {
                    let end = rest.iter().position(|b| *b == b'}').filter(|end| *end > 1);
                    let end = end.ok_or_else(|| Wrong::OpenVariable(value.to_vec()))?;
                    let name = rest.get(1..end).unwrap_or_default();
                    out.extend(variable(name, answers)?);
                    rest = rest.get(end.saturating_add(1)..).unwrap_or_default();
                }
                b'%' if tokens != Tokens::None => {
                    let (token, after) =
                        rest.split_first().ok_or_else(|| Wrong::OpenToken(value.to_vec()))?;
                    if !tokens.letters().contains(token) {
                        return Err(Wrong::Token(value.to_vec(), *token).into());
                    }
                    // What only the key that is checked can say is for whoever runs the command.
                    if tokens == Tokens::KnownHosts && b"%fHIKt".contains(token) {
                        out.extend([b'%', *token]);
                    } else {
                        self.token(*token, &mut out);
                    }
                    rest = after;
                }
                byte => out.push(*byte),
            }
        }
        Ok(out)
    }

    /// A path, with the home folder that a `~` in front stands for, and then as [`expand`](Self::expand).
    pub(super) fn path(&self, path: &[u8], answers: &Answers) -> Result<Vec<u8>, Stop> {
        let path = tilde(path, self.local, answers)?;
        self.expand(&path, Tokens::Usual, true, answers)
    }
}

/// A value in which only `${NAME}` is replaced.
pub(super) fn variables(value: &[u8], answers: &Answers) -> Result<Vec<u8>, Stop> {
    let local = Local::default();
    let nothing = Context { local: &local, host: b"", typed: b"", alias: b"", port: 0, user: b"", jump: b"" };
    nothing.expand(value, Tokens::None, true, answers)
}

fn variable<'a>(name: &[u8], answers: &'a Answers) -> Result<&'a [u8], Stop> {
    match answers.bytes(Question::Variable(name.to_vec()))? {
        Some(value) => Ok(value),
        None => Err(Wrong::Variable(name.to_vec()).into()),
    }
}

/// `~/` is the user's home, and `~name/` another's.
pub(super) fn tilde(path: &[u8], local: &Local, answers: &Answers) -> Result<Vec<u8>, Stop> {
    let Some(rest) = path.strip_prefix(b"~") else { return Ok(path.to_vec()) };
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (user, rest) = rest.split_at_checked(end).unwrap_or((rest, b""));
    let home = if user.is_empty() {
        &local.home
    } else {
        let home = answers.bytes(Question::Home(user.to_vec()))?;
        home.ok_or_else(|| Wrong::User(user.to_vec()))?
    };
    let slashes = rest.iter().take_while(|b| **b == b'/').count();
    let rest = rest.get(slashes..).unwrap_or_default();
    let slash: &[u8] = if home.ends_with(b"/") { b"" } else { b"/" };
    Ok([home, slash, rest].concat())
}
