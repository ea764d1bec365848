//! A server that tells which keys it has, and proves that it has them (OpenSSH PROTOCOL 2.5).

use alloc::vec::Vec;

use crate::error::UsageError;
use crate::keys::{KeyPair, PublicKey};
use crate::msg::GlobalRequest;
use crate::rng::Rng;
use crate::transport::Transport;
use crate::wire::{Reader, Sink, SshStr};

/// The request with which a server tells which keys it has.
pub const ANNOUNCEMENT: &str = "hostkeys-00@openssh.com";
/// The request with which a client asks for proofs.
pub const PROOF: &str = "hostkeys-prove-00@openssh.com";

/// A server's host keys, once a client was told about them.
#[derive(Debug)]
pub(crate) struct HostKeys {
    rng: Rng,
    /// Those that were proved: each is, once (H-16).
    proved: Vec<bool>,
}

/// Clients that take the announcement for an error (OpenSSH compat.c, `SSH_BUG_HOSTKEYS`).
const CONFUSED: [&[u8]; 2] = [b"Cisco-1.", b"TTSSH/"];

impl HostKeys {
    pub(crate) fn new(rng: Rng) -> Self {
        HostKeys { rng, proved: Vec::new() }
    }

    /// Tells the client which keys there are.
    pub(crate) fn announce(transport: &mut Transport) -> Result<(), UsageError> {
        let ident = transport.handshake().peer_ident();
        let software = ident.splitn(3, |b| *b == b'-').nth(2).unwrap_or_default();
        let mut fields = Vec::new();
        for key in transport.handshake().host_keys().iter().filter(|key| is_plain(key.public())) {
            fields.put_string(&key.public().to_blob());
        }
        if fields.is_empty() || CONFUSED.iter().any(|name| software.starts_with(name)) {
            return Ok(());
        }
        transport.post(&GlobalRequest::new(SshStr::new(ANNOUNCEMENT.as_bytes()), false, &fields))
    }

    /// The proofs that a client asks for; `None` unless it asks for keys of ours that it did not ask for before.
    pub(super) fn prove(&mut self, transport: &Transport, fields: &[u8]) -> Option<Vec<u8>> {
        let handshake = transport.handshake();
        let session_id = handshake.session_id()?;
        let negotiated = handshake.negotiated()?.host_key;
        let keys = handshake.host_keys();
        self.proved.resize(keys.len(), false);
        let mut out = Vec::new();
        let mut r = Reader::new(fields);
        while !r.is_empty() {
            let blob = r.string().ok()?;
            let ours = |key: &&KeyPair| is_plain(key.public()) && key.public().to_blob() == blob;
            let at = keys.iter().position(|key| ours(&&**key))?;
            let (key, proved) = (keys.get(at)?, self.proved.get_mut(at)?);
            if core::mem::replace(proved, true) {
                return None;
            }
            let best = || key.public().signature_algorithms().first().copied();
            let algorithm =
                Some(negotiated).filter(|algorithm| key.public().fits(*algorithm)).or_else(best)?;
            let data = proof_data(session_id.as_bytes(), blob);
            out.put_string(&key.sign(algorithm, &data, &mut self.rng).ok()?);
        }
        (!out.is_empty()).then_some(out)
    }
}

/// What is signed to prove that a host has a key.
pub(crate) fn proof_data(session_id: &[u8], blob: &[u8]) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_string(PROOF.as_bytes());
    data.put_string(session_id);
    data.put_string(blob);
    data
}

/// Whether it is a key, and no certificate, for which an authority speaks.
pub(crate) fn is_plain(key: &PublicKey) -> bool {
    !key.key_type().name().ends_with("-cert-v01@openssh.com")
}
