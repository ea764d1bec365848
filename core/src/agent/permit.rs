//! May a key be used here? What its destinations say to the sessions that a connection is bound to (OpenSSH
//! ssh-agent.c `identity_permitted`, PROTOCOL.agent §2).

use alloc::vec::Vec;

use super::destination::{Destination, Hop};
use super::read_key;
use crate::keys::PublicKey;
use crate::text::pattern::matches;
use crate::wire::{DecodeError, Reader};

/// A session that a connection is bound to.
pub(super) struct Binding {
    pub(super) host_key: PublicKey,
    pub(super) session_id: Vec<u8>,
    pub(super) forwarded: bool,
}

/// What a connection to the agent is bound to.
#[derive(Default)]
pub(super) struct Bindings {
    pub(super) list: Vec<Binding>,
    /// Somebody tried: whoever failed is not local.
    pub(super) attempted: bool,
}

impl Bindings {
    /// Whether a key of these destinations may be seen; with a user's name, whether it may sign for that user.
    pub(super) fn permit(&self, ways: &[Destination], user: Option<&[u8]>) -> bool {
        if ways.is_empty() {
            return true;
        }
        let Some((last, before)) = self.list.split_last() else { return !self.attempted };
        // Only the last hop is for a login, all before it are for forwarding.
        if before.iter().any(|hop| !hop.forwarded) || (last.forwarded && user.is_some()) {
            return false;
        }
        let mut from = None;
        for hop in before {
            if !allows(ways, from, Some(&hop.host_key), None) {
                return false;
            }
            from = Some(&hop.host_key);
        }
        if !allows(ways, from, Some(&last.host_key), user) {
            return false;
        }
        // A host that may be logged in to need not be one that may use the key on.
        !last.forwarded || allows(ways, Some(&last.host_key), None, None)
    }

    /// Whether a key of these destinations may sign this.
    pub(super) fn permit_signature(&self, ways: &[Destination], key: &PublicKey, message: &[u8]) -> bool {
        if ways.is_empty() {
            return true;
        }
        let (Some(last), Ok(login)) = (self.list.last(), Userauth::read(message)) else { return false };
        let bound = match login.host_key {
            Some(blob) => PublicKey::from_blob(blob).as_ref() == Ok(&last.host_key),
            // Only where no other host lies between; there the session alone says who it is.
            None => self.list.len() == 1,
        };
        bound
            && read_key(login.key).as_ref() == Ok(key)
            && key.signature_algorithms().iter().any(|a| a.name().as_bytes() == login.algorithm)
            && login.session_id == last.session_id
            && self.permit(ways, Some(login.user))
    }
}

fn allows(
    ways: &[Destination],
    from: Option<&PublicKey>,
    to: Option<&PublicKey>,
    user: Option<&[u8]>,
) -> bool {
    ways.iter().any(|way| {
        let begins = match from {
            None => way.from.host.is_empty() && way.from.keys.is_empty(),
            Some(key) => is_of(key, &way.from),
        };
        let pattern = &way.to.user;
        begins
            && to.is_none_or(|key| is_of(key, &way.to))
            && user.is_none_or(|user| pattern.is_empty() || matches(pattern, user))
    })
}

/// Whether a host key is one of a hop's.
fn is_of(key: &PublicKey, hop: &Hop) -> bool {
    hop.keys.iter().any(|known| !known.authority && known.key == *key)
}

/// What a client signs to log in with a key (RFC 4252 §7; OpenSSH PROTOCOL, `publickey-hostbound-v00@openssh.com`).
struct Userauth<'a> {
    session_id: &'a [u8],
    user: &'a [u8],
    algorithm: &'a [u8],
    key: &'a [u8],
    host_key: Option<&'a [u8]>,
}

impl<'a> Userauth<'a> {
    fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(message);
        let session_id = r.string()?;
        let request = r.u8()?;
        let (user, service, method) = (r.string()?, r.string()?, r.string()?);
        let signed = r.u8()?;
        let (algorithm, key) = (r.string()?, r.string()?);
        let host_key = match method {
            b"publickey" => None,
            b"publickey-hostbound-v00@openssh.com" => Some(r.string()?),
            _ => return Err(DecodeError::Invalid),
        };
        r.end()?;
        if request != 50 || signed != 1 || service != b"ssh-connection" || session_id.is_empty() {
            return Err(DecodeError::Invalid);
        }
        Ok(Userauth { session_id, user, algorithm, key, host_key })
    }
}
