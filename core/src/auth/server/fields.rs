//! The fields of authentication requests (RFC 4252 §7, §8).

use super::{Answers, Attempt};
use crate::auth::Method;
use crate::msg::{Message, UserauthInfoResponse, UserauthRequest};
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

    pub(super) fn longest(&self) -> usize {
        self.old.len().max(self.new.map_or(0, <[u8]>::len))
    }
}

/// The fields of a publickey request.
pub(super) struct KeyFields<'a> {
    pub(super) algorithm: SshStr<'a>,
    pub(super) blob: &'a [u8],
    pub(super) signature: Option<&'a [u8]>,
}

impl<'a> KeyFields<'a> {
    pub(super) fn parse(fields: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(fields);
        let signed = r.bool()?;
        let (algorithm, blob) = (r.text()?, r.string()?);
        let signature = if signed { Some(r.string()?) } else { None };
        r.end()?;
        Ok(KeyFields { algorithm, blob, signature })
    }
}

/// Makes the application's view of a request that was checked before. Keys come by events of their
/// own.
pub(crate) fn present(payload: &[u8]) -> Option<(SshStr<'_>, Attempt<'_>)> {
    if let Ok(answers) = UserauthInfoResponse::parse(payload) {
        return Some((SshStr::new(b""), Attempt::Answers(Answers(answers))));
    }
    let m = UserauthRequest::parse(payload).ok()?;
    let attempt = match Method::from_name(m.method.to_str()?)? {
        Method::None => Attempt::None,
        Method::Password => {
            let fields = PasswordFields::parse(m.fields).ok()?;
            match fields.new {
                None => Attempt::Password(fields.old),
                Some(new) => Attempt::PasswordChange { old: fields.old, new },
            }
        }
        Method::PublicKey => return None,
        Method::KeyboardInteractive => {
            let mut r = Reader::new(m.fields);
            r.string().ok()?;
            Attempt::KeyboardInteractive { submethods: r.text().ok()? }
        }
    };
    Some((m.user, attempt))
}

/// The user of a request.
pub(crate) fn user_of(payload: &[u8]) -> SshStr<'_> {
    UserauthRequest::parse(payload).map_or(SshStr::new(b""), |m| m.user)
}
