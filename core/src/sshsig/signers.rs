use alloc::vec::Vec;
use core::fmt;

use super::allowed::{Allowed, SignerProblem};
use crate::keys::PublicKey;
use crate::text::{Limits, Location, MAX_WARNINGS, TooLarge, Warning, lines};
use crate::wire::SshStr;

const LIMITS: Limits = Limits { file: 16 * 1024 * 1024, line: 64 * 1024 };

/// Who may sign what, when: a file of allowed signers.
///
/// A line that is not understood whole allows nothing (F-33). Times without a zone are taken as strictly as any zone
/// could mean them: a key may be a day late to begin, and half a day early to end.
#[derive(Clone, Debug, Default)]
pub struct AllowedSigners {
    lines: Vec<(Location, Allowed)>,
    warnings: Vec<Warning<SignerProblem>>,
}

/// Why nobody allowed a signature. `Display` says what stands against it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAllowed {
    /// No line has the key for the principal.
    NoLine,
    /// The line has the key, for other namespaces.
    Namespace(Location),
    /// The line's key may not have signed yet.
    NotYet(Location),
    /// The line's key may not have signed any more.
    Expired(Location),
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAllowed::NoLine => {
                f.write_str("no line of the allowed signers has this key for this principal")
            }
            NotAllowed::Namespace(at) => {
                write!(f, "{at}: key is not permitted for use in signature namespace")
            }
            NotAllowed::NotYet(at) => write!(f, "{at}: key is not yet valid"),
            NotAllowed::Expired(at) => write!(f, "{at}: key has expired"),
        }
    }
}

impl core::error::Error for NotAllowed {}

impl AllowedSigners {
    /// Reads a file. `name` is for messages only.
    ///
    /// # Errors
    /// [`TooLarge`]; lines that make no sense allow nothing, see [`warnings`](Self::warnings).
    pub fn parse(name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<Self, TooLarge> {
        let mut signers = AllowedSigners::default();
        let name: alloc::sync::Arc<[u8]> = name.as_ref().into();
        for line in lines(bytes, LIMITS)? {
            let at = Location::new(name.clone(), line.number());
            match line.read().map_err(SignerProblem::Line).and_then(Allowed::read) {
                Ok(allowed) => signers.lines.push((at, allowed)),
                Err(problem) if signers.warnings.len() < MAX_WARNINGS => {
                    signers.warnings.push(Warning::new(at, problem));
                }
                Err(_) => {}
            }
        }
        Ok(signers)
    }

    /// The lines that allow nothing, and why; at most the first 1000.
    pub fn warnings(&self) -> &[Warning<SignerProblem>] {
        &self.warnings
    }

    /// Whether the key may sign as the principal in the namespace at this time, in seconds since 1970 UTC, and which
    /// line says so. Ask about a key only that has [signed](super::SshSig::verify).
    ///
    /// # Errors
    /// [`NotAllowed`], with the last line that came close.
    pub fn check(
        &self,
        key: &PublicKey,
        principal: &[u8],
        namespace: &[u8],
        time: u64,
    ) -> Result<&Location, NotAllowed> {
        let mut why = NotAllowed::NoLine;
        for (at, line) in self.lines.iter().filter(|(_, line)| line.is_for(principal)) {
            if line.authority || line.key != *key {
                continue;
            }
            match line.permits(Some(namespace), time, at) {
                Ok(()) => return Ok(at),
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// The principals that the key may sign as at this time: those of the first line that has it.
    pub fn principals_of(&self, key: &PublicKey, time: u64) -> Option<Vec<&[u8]>> {
        let (_, line) = self
            .lines
            .iter()
            .find(|(at, line)| !line.authority && line.key == *key && line.permits(None, time, at).is_ok())?;
        Some(line.principals.split(|b| *b == b',').filter(|name| !name.is_empty()).collect())
    }

    /// The lists of principals that a name matches, line by line, as they stand there.
    pub fn matching<'s>(&'s self, principal: &'s [u8]) -> impl Iterator<Item = SshStr<'s>> {
        let found = self.lines.iter().filter(|(_, line)| line.is_for(principal));
        found.map(|(_, line)| SshStr::new(&line.principals))
    }
}

impl Allowed {
    fn permits(&self, namespace: Option<&[u8]>, time: u64, at: &Location) -> Result<(), NotAllowed> {
        if namespace.is_some_and(|namespace| !self.has_namespace(namespace)) {
            return Err(NotAllowed::Namespace(at.clone()));
        }
        if self.times.after.is_some_and(|after| time < after) {
            return Err(NotAllowed::NotYet(at.clone()));
        }
        if self.times.before.is_some_and(|before| time > before) {
            return Err(NotAllowed::Expired(at.clone()));
        }
        Ok(())
    }
}
