//! Certificates that users log in with: lines of authorities, and files of trusted authorities and of principals
//! (OpenSSH auth2-pubkeyfile.c, auth2-pubkey.c).

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::options::Parsed;
use super::{AuthorizedKeys, Entry, KeyOptions, LIMITS, Problem, Warning};
use crate::crypto::Provider;
use crate::keys::{Certificate, CertificateCheck, CertificateProblem, Certified, Principals};
use crate::text::{Location, MAX_WARNINGS, TooLarge, lines};

impl AuthorizedKeys {
    /// The first line marked `cert-authority` that lets `certificate` in, with what the line and the certificate allow
    /// together; the key of the entry is the certificate.
    ///
    /// `check` is [for a user](CertificateCheck::user) of the name that wants in, with time, address and what is known of
    /// revocation. Its authorities are those of the lines, and where a line has `principals`, one of those is wanted in the
    /// place of the name.
    ///
    /// As with [`find`](Self::find), the client has yet to prove that it has the key.
    ///
    /// # Errors
    /// What is wrong with the last line that is for its authority; [`CertificateProblem::Authority`] if there is none.
    pub fn find_certified(
        &self,
        provider: &dyn Provider,
        certificate: &Certificate,
        check: &CertificateCheck<'_>,
    ) -> Result<Entry, CertificateProblem> {
        let lines = self.entries.iter().filter(|e| e.authority && e.key == *certificate.authority());
        let mut problem = CertificateProblem::Authority;
        for line in lines.filter(|line| line.options.admits(check.address(), check.time())) {
            let wanted = line.principals.as_deref().map_or(check.wanted(), Principals::OneOf);
            match line.certified(provider, certificate, &check.clone().principals(wanted), &line.options) {
                Ok(entry) => return Ok(entry),
                Err(why) => problem = why,
            }
        }
        Err(problem)
    }

    /// Whether one of the keys signed `certificate`, and what it allows then: the keys are those of a file of trusted
    /// authorities (`TrustedUserCAKeys` of sshd_config(5)), whose lines have no options.
    ///
    /// With `principals` (`AuthorizedPrincipalsFile`), one of those is wanted in the place of the user's name, and what stands
    /// in front of it restricts the user too. Everything else is as with [`find_certified`](Self::find_certified).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn find_trusted(
        &self,
        provider: &dyn Provider,
        certificate: &Certificate,
        check: &CertificateCheck<'_>,
        principals: Option<&AuthorizedPrincipals>,
    ) -> Result<Entry, CertificateProblem> {
        let plain = |entry: &&Entry| !entry.authority && entry.options == KeyOptions::default();
        let mut lines = self.entries.iter().filter(plain);
        let line = lines.find(|e| e.key == *certificate.authority()).ok_or(CertificateProblem::Authority)?;
        match principals {
            None => line.certified(provider, certificate, check, &KeyOptions::unrestricted()),
            Some(principals) => {
                let found = principals.find(certificate).ok_or(CertificateProblem::Principal)?;
                // As in sshd, no later line is looked at.
                if !found.options.admits(check.address(), check.time()) {
                    return Err(CertificateProblem::Principal);
                }
                let wanted = Principals::OneOf(core::slice::from_ref(&found.name));
                line.certified(provider, certificate, &check.clone().principals(wanted), &found.options)
            }
        }
    }
}

impl Entry {
    /// What this authority's certificate allows, together with `options`.
    fn certified(
        &self,
        provider: &dyn Provider,
        certificate: &Certificate,
        check: &CertificateCheck<'_>,
        options: &KeyOptions,
    ) -> Result<Entry, CertificateProblem> {
        let check = check.clone().authorities(core::slice::from_ref(&self.key));
        let certified = certificate.validate(provider, &check)?;
        let options = options.clone().and(KeyOptions::of_certificate(&certified));
        Ok(Entry {
            options: options.map_err(|_| CertificateProblem::Command)?,
            at: self.at.clone(),
            key: certificate.public().clone(),
            comment: self.comment.clone(),
            authority: false,
            principals: None,
        })
    }
}

impl KeyOptions {
    /// What the options of a user's certificate allow: what it does not permit is forbidden.
    pub fn of_certificate(certified: &Certified<'_>) -> Self {
        let permits = certified.permits();
        let mut options = KeyOptions::restricted();
        options.command = permits.force_command.clone();
        options.pty = permits.pty;
        options.port_forwarding = permits.port_forwarding;
        options.agent_forwarding = permits.agent_forwarding;
        options.x11_forwarding = permits.x11_forwarding;
        options.user_rc = permits.user_rc;
        options.no_touch_required = permits.no_touch_required;
        options.verify_required = permits.verify_required;
        options.from.extend(permits.source().cloned());
        options
    }

    /// What restricts nothing, not even to keys that were touched.
    fn unrestricted() -> Self {
        let mut options = KeyOptions::default();
        options.no_touch_required = true;
        options
    }
}

/// The principals that a user's certificate may be for: lines `[options] principal` (`AuthorizedPrincipalsFile` of
/// sshd_config(5)). What follows a `#` says nothing.
#[derive(Clone, Default)]
pub struct AuthorizedPrincipals {
    lines: Vec<Line>,
    warnings: Vec<Warning>,
}

#[derive(Clone)]
struct Line {
    name: Box<[u8]>,
    options: KeyOptions,
}

impl AuthorizedPrincipals {
    /// Reads a file. `name` is for messages only.
    ///
    /// # Errors
    /// [`TooLarge`]; lines that are not understood in full are skipped, see [`warnings`](Self::warnings).
    pub fn parse(name: impl AsRef<[u8]>, bytes: &[u8]) -> Result<Self, TooLarge> {
        let file: Arc<[u8]> = name.as_ref().into();
        let mut principals = AuthorizedPrincipals::default();
        for text in lines(bytes, LIMITS)? {
            let line = text.read().map_err(Problem::Line).and_then(Line::parse);
            match line {
                Ok(line) => principals.lines.extend(line),
                Err(problem) if principals.warnings.len() < MAX_WARNINGS => {
                    let at = Location::new(file.clone(), text.number());
                    principals.warnings.push(Warning::new(at, problem));
                }
                Err(_) => {}
            }
        }
        Ok(principals)
    }

    /// The lines that were not used and why, in order; at most the first 1000.
    pub fn warnings(&self) -> &[Warning] {
        &self.warnings
    }

    /// The first line whose name the certificate has, to the byte.
    fn find(&self, certificate: &Certificate) -> Option<&Line> {
        let named = |line: &&Line| certificate.principals().any(|principal| *principal == *line.name);
        self.lines.iter().find(named)
    }
}

impl Line {
    fn parse(text: &[u8]) -> Result<Option<Self>, Problem> {
        let text = text.split(|b| *b == b'#').next().unwrap_or_default().trim_ascii();
        if text.is_empty() {
            return Ok(None);
        }
        let blank = text.iter().rposition(|b| matches!(b, b' ' | b'\t'));
        let (options, name) = match blank {
            Some(at) => text.split_at_checked(at).unwrap_or((text, b"")),
            None => (&b""[..], text),
        };
        let options = match options.trim_ascii() {
            b"" => KeyOptions::default(),
            options => {
                let parsed = Parsed::parse(options).map_err(Problem::Option)?;
                if parsed.authority {
                    return Err(Problem::Fields);
                }
                parsed.options
            }
        };
        Ok(Some(Line { name: name.trim_ascii().into(), options }))
    }
}

impl fmt::Debug for AuthorizedPrincipals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AuthorizedPrincipals({} names, {} warnings)", self.lines.len(), self.warnings.len())
    }
}
