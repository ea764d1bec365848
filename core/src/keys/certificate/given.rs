//! Private keys under a certificate, as an agent is given them (OpenSSH sshkey.c `sshkey_private_serialize_opt`): what
//! the certificate says already is left out.

use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::{Certificate, TABLE};
use crate::keys::{KeyError, KeyType, PrivateKey, PublicKey};
use crate::wire::{Reader, Sink};

/// The public fields that stand in front of the secret ones in a plain private key, and not under a certificate.
fn left_out(key: &PublicKey) -> Result<Vec<u8>, KeyError> {
    let mut fields = Reader::new(key.fields());
    let mut out = Vec::new();
    if key.key_type() == KeyType::RSA {
        // The one type whose halves have their numbers in another order.
        let (e, n) = (fields.string()?, fields.string()?);
        out.put_string(n);
        out.put_string(e);
    } else if key.key_type() != KeyType::ED25519 {
        out.put(key.fields());
    }
    Ok(out)
}

impl PrivateKey {
    /// The next key of what an agent is given, and what it is to be shown as: its public half, or its certificate.
    pub(crate) fn read_given(r: &mut Reader<'_>) -> Result<(Self, PublicKey), KeyError> {
        let mut behind = Reader::new(r.rest());
        let name = behind.string()?;
        let Some(kind) = TABLE.iter().copied().find(|kind| kind.name().as_bytes() == name) else {
            let key = Self::read_typed(r)?;
            let public = key.public().clone();
            return Ok((key, public));
        };
        let certificate = Certificate::from_blob(behind.string()?)?;
        let plain = certificate.key();
        if certificate.public().key_type() != kind || plain.key_type().is_security_key() {
            return Err(KeyError::unsupported_type(name));
        }
        let front = left_out(plain)?;
        let mut whole = Zeroizing::new(Vec::with_capacity(front.len().saturating_add(behind.rest().len())));
        whole.put(&front);
        whole.put(behind.rest());
        let mut fields = Reader::new(&whole);
        let key = Self::read(plain.key_type(), &mut fields)?;
        if key.public() != plain {
            return Err(KeyError::OtherKey);
        }
        let read = r.rest().len().saturating_sub(fields.rest().len());
        r.bytes(read)?;
        Ok((key, certificate.public().clone()))
    }

    /// Writes what an agent is given to hold this key under a certificate that is for it.
    pub(crate) fn put_given(&self, certificate: &Certificate, out: &mut dyn Sink) {
        let front = left_out(self.public()).map_or(0, |front| front.len());
        out.put_string(certificate.public().key_type().name().as_bytes());
        out.put_string(&certificate.public().to_blob());
        out.put(self.expose_fields().get(front..).unwrap_or_default());
    }
}
