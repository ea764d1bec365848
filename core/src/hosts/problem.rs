use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::{HostKeyStatus, Known};
use crate::keys::{CertificateProblem, Fingerprint};
use crate::text::Location;
use crate::wire::SshStr;

/// Why a host key was not accepted. `Display` says what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostKeyProblem {
    /// The name under which it was looked up.
    pub host: String,
    /// The key's type.
    pub key_type: &'static str,
    /// The key's fingerprint.
    pub fingerprint: Fingerprint,
    /// What known_hosts says; `None` for a key that is not the pinned one.
    pub status: Option<HostKeyStatus>,
    /// The host showed a certificate for the key, and this is why that did not do.
    pub certificate: Option<CertificateProblem>,
    /// Somebody was asked and said no.
    pub asked: bool,
    /// Where else this very key is known.
    pub elsewhere: Vec<Location>,
    /// The path of the file that a new host belongs into.
    pub file: Option<Vec<u8>>,
}

impl fmt::Display for HostKeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key_type, fingerprint) = (self.key_type, &self.fingerprint);
        let host = SshStr::new(self.host.as_bytes());
        match &self.status {
            None => {
                write!(f, "the host key is not the pinned one: the host shows {key_type} {fingerprint}")?;
            }
            Some(HostKeyStatus::Revoked { at }) => write!(
                f,
                "REVOKED HOST KEY: {at} says that nobody may use the key {key_type} {fingerprint} any more.\n\
                 Somebody else may have it and be listening. Ask the administrator of {host}; do not connect."
            )?,
            Some(HostKeyStatus::Unreadable { what }) => write!(
                f,
                "nobody can tell whether the host key is revoked. {what}.\n\
                 Mend or remove it, or name other files of known hosts: until then no host key is trusted. \
                 The host shows {key_type} {fingerprint}."
            )?,
            Some(HostKeyStatus::Changed { known }) => {
                write!(
                    f,
                    "THE HOST KEY HAS CHANGED. Somebody may be listening, or the host has new keys.\n  \
                     the host shows  {key_type} {fingerprint}"
                )?;
                write_known(f, known)?;
                write!(
                    f,
                    "\nAsk the administrator of {host} for the right fingerprint. \
                     If it is the one shown, remove the lines named above."
                )?;
            }
            Some(HostKeyStatus::OtherTypeKnown { known }) => {
                write!(
                    f,
                    "the host shows a key of a type that is not known for it: {key_type} {fingerprint}"
                )?;
                write_known(f, known)?;
                write!(f, "\nCompare it with what the administrator of {host} says, then add it.")?;
            }
            Some(_) if self.asked => {
                write!(f, "the host key {key_type} {fingerprint} was not confirmed")?;
            }
            Some(_) => {
                writeln!(
                    f,
                    "the host key is not known, and nobody can be asked: it is {key_type} {fingerprint}."
                )?;
                write!(f, "Compare that with what the administrator of {host} says")?;
                if let Some(file) = &self.file {
                    write!(f, ", then add the key to {}", SshStr::new(file))?;
                }
                f.write_str(" (ssh-keyscan prints the line)")?;
            }
        }
        match &self.certificate {
            // The usual case: nobody has said that there are certificates.
            None | Some(CertificateProblem::Authority) => {}
            Some(problem) => write!(f, "\n  The host shows a certificate for the key, but {problem}.")?,
        }
        for at in &self.elsewhere {
            write!(f, "\n  this key is known for another name at {at}")?;
        }
        Ok(())
    }
}

fn write_known(f: &mut fmt::Formatter<'_>, known: &[Known]) -> fmt::Result {
    for k in known {
        let kind = SshStr::new(k.key_type.as_bytes());
        match &k.fingerprint {
            Some(fingerprint) => write!(f, "\n  known is        {kind} {fingerprint} at {}", k.at)?,
            None => write!(f, "\n  known is        {kind} at {}", k.at)?,
        }
    }
    Ok(())
}
