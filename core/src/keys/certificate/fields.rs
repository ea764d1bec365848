//! The fields of a certificate (OpenSSH PROTOCOL.certkeys), read within limits.

use alloc::vec::Vec;

use super::{CertificateKind, CertificateOption};
use crate::keys::{KeyError, KeyType, PublicKey};
use crate::wire::Reader;

/// The most principals that a certificate may name (sshkey.h `SSHKEY_CERT_MAX_PRINCIPALS`).
pub(super) const MAX_PRINCIPALS: usize = 256;
/// The most critical options, and the most extensions. Ours; OpenSSH writes at most a handful of each.
const MAX_OPTIONS: usize = 256;

/// What stands in a certificate, as it stands there.
pub(super) struct Fields<'a> {
    /// The canonical fields of the plain key.
    pub(super) key: Vec<u8>,
    pub(super) serial: u64,
    pub(super) kind: CertificateKind,
    pub(super) key_id: &'a [u8],
    pub(super) principals: Vec<&'a [u8]>,
    pub(super) valid_after: u64,
    pub(super) valid_before: u64,
    pub(super) critical: Vec<CertificateOption<'a>>,
    pub(super) extensions: Vec<CertificateOption<'a>>,
    pub(super) authority: PublicKey,
    /// How many bytes, from the nonce on, the authority signed.
    pub(super) signed: usize,
    pub(super) signature: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Reads the fields behind the type's name, up to and including the signature, which is not looked at.
    pub(super) fn read(plain: KeyType, r: &mut Reader<'a>) -> Result<Self, KeyError> {
        let start = r.rest().len();
        r.string()?;
        let mut key = Vec::new();
        plain.format().read(r, &mut key)?;
        let serial = r.u64()?;
        let kind = CertificateKind::from_number(r.u32()?)
            .ok_or(KeyError::Malformed("the certificate is neither a user's nor a host's"))?;
        let key_id = text(r)?;
        let principals = principals(r.string()?)?;
        let (valid_after, valid_before) = (r.u64()?, r.u64()?);
        let (critical, extensions) = (options(r.string()?)?, options(r.string()?)?);
        // Reserved.
        r.string()?;
        // F-01: certificates are no authorities, and that is told by the name, before anything is read.
        let authority = PublicKey::from_blob(r.string()?).map_err(|error| match error {
            KeyError::CertificateGiven => KeyError::Malformed("its authority is a certificate itself"),
            error => error,
        })?;
        let signed = start.saturating_sub(r.rest().len());
        let signature = r.string()?;
        Ok(Fields {
            key,
            serial,
            kind,
            key_id,
            principals,
            valid_after,
            valid_before,
            critical,
            extensions,
            authority,
            signed,
            signature,
        })
    }
}

/// Text as OpenSSH has it: any bytes but NUL.
fn text<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], KeyError> {
    let text = r.string()?;
    if text.contains(&0) { Err(KeyError::Malformed("a NUL in a name of the certificate")) } else { Ok(text) }
}

fn principals(list: &[u8]) -> Result<Vec<&[u8]>, KeyError> {
    let mut r = Reader::new(list);
    let mut principals = Vec::new();
    while !r.is_empty() {
        if principals.len() == MAX_PRINCIPALS {
            return Err(KeyError::Malformed("more than 256 principals"));
        }
        principals.push(text(&mut r)?);
    }
    Ok(principals)
}

fn options(list: &[u8]) -> Result<Vec<CertificateOption<'_>>, KeyError> {
    let mut r = Reader::new(list);
    let mut options = Vec::new();
    while !r.is_empty() {
        if options.len() == MAX_OPTIONS {
            return Err(KeyError::Malformed("more than 256 options"));
        }
        options.push(CertificateOption { name: r.string()?, data: r.string()? });
    }
    Ok(options)
}
