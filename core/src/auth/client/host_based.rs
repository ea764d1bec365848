//! Hostbased (RFC 4252 §9): the client's host vouches for its user.

use alloc::vec::Vec;

use super::{SignTicket, Userauth, Waiting, fit};
use crate::auth::{CONNECTION_SERVICE, Method};
use crate::error::UsageError;
use crate::keys::{PublicKey, SignatureAlgorithm};
use crate::msg::{Message, UserauthRequest};
use crate::transport::Transport;
use crate::wire::Sink;

/// Who vouches for whom in a hostbased request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostClaim<'a> {
    /// The client's host, by the name that the server knows its key by: fully qualified (RFC 4252 §9). OpenSSH's client
    /// ends it with a dot, which its server takes away.
    pub host: &'a [u8],
    /// The user on that host.
    pub user: &'a [u8],
}

impl Userauth {
    /// The fields of a request before the signature, and what is to be signed.
    pub(super) fn vouched(
        &self,
        transport: &Transport,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        claim: &HostClaim<'_>,
    ) -> Result<(Vec<u8>, Vec<u8>), UsageError> {
        fit(transport, key, algorithm)?;
        if [claim.host, claim.user].iter().any(|name| name.contains(&0) || name.len() > 1024) {
            return Err(UsageError::InvalidText);
        }
        let mut fields = Vec::new();
        fields.put_string(algorithm.name().as_bytes());
        fields.put_string(&key.to_blob());
        fields.put_string(claim.host);
        fields.put_string(claim.user);
        let mut message = Vec::new();
        message.put_string(transport.handshake().session_id().map_or(&[], |id| id.as_bytes()));
        message.put_u8(UserauthRequest::NUMBER);
        message.put_string(&self.user);
        message.put_string(CONNECTION_SERVICE.as_bytes());
        message.put_string(Method::HostBased.name().as_bytes());
        message.put(&fields);
        Ok((fields, message))
    }

    /// The same for a key that is elsewhere; the request goes out with the signature.
    pub(super) fn vouch_elsewhere(
        &mut self,
        transport: &Transport,
        key: &PublicKey,
        algorithm: SignatureAlgorithm,
        claim: &HostClaim<'_>,
    ) -> Result<SignTicket, UsageError> {
        let (fields, message) = self.vouched(transport, key, algorithm, claim)?;
        self.number = self.number.wrapping_add(1);
        let number = self.number;
        self.waiting = Waiting::Vouching { key: key.clone(), algorithm, fields, message, number };
        Ok(SignTicket { number })
    }
}
