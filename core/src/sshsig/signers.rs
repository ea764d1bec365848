use alloc::vec::Vec;
use core::fmt;

use super::allowed::{Allowed, SignerProblem};
use crate::crypto::Provider;
use crate::keys::{Certificate, CertificateCheck, CertificateProblem, Principals, PublicKey};
use crate::text::pattern::matches;
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
    /// The line's authority signed the certificate, and the certificate is not to be believed.
    Certificate(Location, CertificateProblem),
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
            NotAllowed::Certificate(at, why) => write!(f, "{at}: certificate not authorized: {why}"),
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
        provider: &dyn Provider,
        key: &PublicKey,
        principal: &[u8],
        namespace: &[u8],
        time: u64,
    ) -> Result<&Location, NotAllowed> {
        let mut why = NotAllowed::NoLine;
        let certificate = Certificate::of(key);
        for (at, line) in self.lines.iter().filter(|(_, line)| line.is_for(principal)) {
            if line.authority {
                let by = certificate.as_ref().filter(|certificate| *certificate.authority() == line.key);
                let Some(certificate) = by else { continue };
                if let Err(problem) = line.believe(provider, certificate, principal, time) {
                    why = NotAllowed::Certificate(at.clone(), problem);
                    continue;
                }
            } else if line.key != *key {
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
    /// Of a certificate, its own principals that the line of its authority has.
    pub fn principals_of(&self, provider: &dyn Provider, key: &PublicKey, time: u64) -> Option<Vec<Vec<u8>>> {
        let certificate = Certificate::of(key);
        let names = |line: &Allowed| -> Vec<Vec<u8>> {
            let patterns = line.principals.split(|b| *b == b',').filter(|name| !name.is_empty());
            match &certificate {
                _ if !line.authority && line.key == *key => patterns.map(<[u8]>::to_vec).collect(),
                Some(certificate) if line.authority && line.key == *certificate.authority() => {
                    let own = |pattern: &[u8], name: &[u8]| {
                        matches(pattern, name) && line.believe(provider, certificate, name, time).is_ok()
                    };
                    let of = |pattern| certificate.principals().filter(move |name| own(pattern, name));
                    patterns.flat_map(of).map(<[u8]>::to_vec).collect()
                }
                _ => Vec::new(),
            }
        };
        self.lines.iter().find_map(|(at, line)| {
            let names = names(line);
            (!names.is_empty() && line.permits(None, time, at).is_ok()).then_some(names)
        })
    }

    /// The lists of principals that a name matches, line by line, as they stand there.
    pub fn matching<'s>(&'s self, principal: &'s [u8]) -> impl Iterator<Item = SshStr<'s>> {
        let found = self.lines.iter().filter(|(_, line)| line.is_for(principal));
        found.map(|(_, line)| SshStr::new(&line.principals))
    }
}

impl Allowed {
    /// Whether a certificate by the line's authority is for the principal, at this time.
    fn believe(
        &self,
        provider: &dyn Provider,
        certificate: &Certificate,
        principal: &[u8],
        time: u64,
    ) -> Result<(), CertificateProblem> {
        let trusted = core::slice::from_ref(&self.key);
        let check = CertificateCheck::user(Principals::Name(principal)).authorities(trusted).now(Some(time));
        certificate.validate(provider, &check).map(|_| ())
    }

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
