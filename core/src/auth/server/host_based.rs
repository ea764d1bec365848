//! Hostbased (RFC 4252 §9): a host vouches for its user.

use alloc::boxed::Box;

use super::fields::HostFields;
use super::{AuthRejection, Failure, Kind, MAX_NAME, ProbeTicket, ServerAuth, Userauth, malformed};
use crate::keys::{PublicKey, SignatureAlgorithm};
use crate::msg::UserauthRequest;
use crate::transport::Open;
use crate::wire::DecodeError;

impl Userauth {
    /// Asks about a host and its user; the signature waits for a yes, as that of a user's key does.
    pub(super) fn on_host_based<'p>(
        &mut self,
        open: &mut Open<'_>,
        payload: &[u8],
        request: &UserauthRequest<'p>,
    ) -> Result<Option<ServerAuth<'p>>, Failure> {
        let m = HostFields::parse(request.fields).map_err(malformed)?;
        if [m.algorithm.as_bytes(), m.host.as_bytes(), m.user.as_bytes()].iter().any(|n| n.len() > MAX_NAME) {
            return Err(malformed(DecodeError::Invalid));
        }
        self.offer.algorithm = m.algorithm.as_bytes().to_vec();
        let named = |algorithm: &&SignatureAlgorithm| algorithm.name().as_bytes() == m.algorithm.as_bytes();
        let algorithm = open.config().algorithms.user_key.iter().find(named).copied();
        let Some(algorithm) = algorithm else { return self.refuse(open, AuthRejection::Algorithm) };
        let key = PublicKey::from_blob_with(algorithm.key_type(), m.blob).ok();
        self.offer.key = key.clone().map(|key| (key, algorithm));
        let key = key.filter(|k| k.fits(algorithm) && open.config().limits.allow(k));
        let sane = [m.host, m.user].iter().all(|name| name.to_str().is_some_and(|name| !name.contains('\0')));
        let Some(key) = key.filter(|_| sane) else { return self.refuse(open, AuthRejection::Key) };
        self.offer.vouched = Some((m.host.as_bytes().to_vec(), m.user.as_bytes().to_vec()));
        let signed = super::signed(open, payload, m.signature, (Kind::HostBased, true));
        self.number = self.number.wrapping_add(1);
        let ticket = ProbeTicket { number: self.number };
        self.waiting = super::Waiting::Probe(Some(signed), self.number);
        let (user, host, host_user) = (request.user, m.host, m.user);
        Ok(Some(ServerAuth::HostProbe { ticket, user, key: Box::new(key), algorithm, host, host_user }))
    }
}
