//! The fields of authentication requests (RFC 4252 §7, §8, RFC 4256 §3.1).

use super::Credential;
use crate::wire::{DecodeError, Reader, SshStr};

/// The fields of a password request.
pub(super) struct PasswordFields<'a> {
    old: &'a [u8],
    new: Option<&'a [u8]>,
}

impl<'a> PasswordFields<'a> {
    pub(super) fn parse(fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let change = r.bool()?;
        let old = r.string()?;
        let new = if change { Some(r.string()?) } else { None };
        r.end()?;
        Ok(PasswordFields { old, new })
    }

    /// What the client offers by it.
    pub(super) fn attempt(&self) -> Credential<'a> {
        match self.new {
            None => Credential::Password(self.old),
            Some(new) => Credential::PasswordChange { old: self.old, new },
        }
    }

    pub(super) fn longest(&self) -> usize {
        self.old.len().max(self.new.map_or(0, <[u8]>::len))
    }
}

/// The fields of a publickey request.
pub(super) struct KeyFields<'a> {
    pub(super) algorithm: SshStr<'a>,
    pub(super) blob: &'a [u8],
    /// The host key that the request is bound to.
    pub(super) host_key: Option<&'a [u8]>,
    pub(super) signature: Option<&'a [u8]>,
}

impl<'a> KeyFields<'a> {
    pub(super) fn parse(fields: &'a [u8], hostbound: bool) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let signed = r.bool()?;
        let (algorithm, blob) = (r.text()?, r.string()?);
        let host_key = if hostbound { Some(r.string()?) } else { None };
        let signature = if signed { Some(r.string()?) } else { None };
        r.end()?;
        Ok(KeyFields { algorithm, blob, host_key, signature })
    }
}

/// The fields of a hostbased request (RFC 4252 §9).
pub(super) struct HostFields<'a> {
    pub(super) algorithm: SshStr<'a>,
    pub(super) blob: &'a [u8],
    pub(super) host: SshStr<'a>,
    pub(super) user: SshStr<'a>,
    pub(super) signature: &'a [u8],
}

impl<'a> HostFields<'a> {
    pub(super) fn parse(fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let (algorithm, blob) = (r.text()?, r.string()?);
        let (host, user, signature) = (r.text()?, r.text()?, r.string()?);
        r.end()?;
        Ok(HostFields { algorithm, blob, host, user, signature })
    }
}

/// The field of keyboard-interactive that says something (RFC 4256 §3.1).
pub(super) fn submethods(fields: &[u8]) -> Result<SshStr<'_>, DecodeError> {
    let mut r = Reader::new(fields);
    r.string()?;
    let submethods = r.text()?;
    r.end()?;
    Ok(submethods)
}
