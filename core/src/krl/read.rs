//! From bytes (PROTOCOL.krl). What is not known is an error, but for extensions that say they may be passed over.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Krl, KrlError, MAX_FILE};
use crate::keys::PublicKey;
use crate::wire::Reader;

pub(super) const MAGIC: &[u8] = b"SSHKRL\n\0";
pub(super) const FORMAT: u32 = 1;

/// Types of sections.
pub(super) mod section {
    pub(in super::super) const CERTIFICATES: u8 = 1;
    pub(in super::super) const KEYS: u8 = 2;
    pub(in super::super) const SHA1: u8 = 3;
    pub(in super::super) const SIGNATURE: u8 = 4;
    pub(in super::super) const SHA256: u8 = 5;
    pub(in super::super) const EXTENSION: u8 = 255;
    pub(in super::super) const SERIAL_LIST: u8 = 0x20;
    pub(in super::super) const SERIAL_RANGE: u8 = 0x21;
    pub(in super::super) const SERIAL_BITMAP: u8 = 0x22;
    pub(in super::super) const KEY_ID: u8 = 0x23;
    pub(in super::super) const CERTIFICATE_EXTENSION: u8 = 0x39;
}

impl Krl {
    /// Reads a list.
    ///
    /// # Errors
    /// [`KrlError`]; refuse every key then.
    pub fn parse(bytes: &[u8]) -> Result<Self, KrlError> {
        if bytes.len() > MAX_FILE {
            return Err(KrlError::TooLarge);
        }
        let mut r = Reader::new(bytes.strip_prefix(MAGIC).ok_or(KrlError::NotAKrl)?);
        match r.u32()? {
            FORMAT => {}
            other => return Err(KrlError::Version(other)),
        }
        let mut krl = Krl { version: r.u64()?, generated: r.u64()?, flags: r.u64()?, ..Krl::new() };
        r.string()?; // reserved
        krl.comment = r.string()?.into();
        while !r.is_empty() {
            let kind = r.u8()?;
            let data = Reader::new(r.string()?);
            match kind {
                section::CERTIFICATES => krl.read_certificates(data)?,
                section::KEYS => strings(data)?.iter().for_each(|blob| krl.revoke_key(&canonical(blob))),
                section::SHA1 => {
                    for hash in strings(data)? {
                        krl.revoke_sha1(array(hash)?);
                    }
                }
                section::SHA256 => {
                    for hash in strings(data)? {
                        krl.revoke_sha256(array(hash)?);
                    }
                }
                section::EXTENSION => extension(data)?,
                section::SIGNATURE => return Err(KrlError::Signed),
                other => return Err(KrlError::Section(other)),
            }
        }
        Ok(krl)
    }

    fn read_certificates(&mut self, mut r: Reader<'_>) -> Result<(), KrlError> {
        let authority = r.string()?;
        let authority = (!authority.is_empty()).then(|| canonical(authority));
        let authority = authority.as_deref();
        r.string()?; // reserved
        while !r.is_empty() {
            let kind = r.u8()?;
            let mut data = Reader::new(r.string()?);
            match kind {
                section::SERIAL_LIST => {
                    while !data.is_empty() {
                        let serial = data.u64()?;
                        self.revoke_serials(authority, serial, serial)?;
                    }
                }
                section::SERIAL_RANGE => {
                    let (first, last) = (data.u64()?, data.u64()?);
                    data.end()?;
                    self.revoke_serials(authority, first, last)?;
                }
                section::SERIAL_BITMAP => {
                    let (offset, bitmap) = (data.u64()?, data.mpint()?);
                    data.end()?;
                    self.read_bitmap(authority, offset, bitmap)?;
                }
                section::KEY_ID => strings(data)?.iter().for_each(|id| self.revoke_key_id(authority, id)),
                section::CERTIFICATE_EXTENSION => extension(data)?,
                other => return Err(KrlError::Section(other)),
            }
        }
        // An authority of which nothing is revoked is one of the list's too.
        self.of(authority);
        Ok(())
    }

    /// Bit N of the number, from the least, stands for the serial number `offset + N`.
    fn read_bitmap(&mut self, authority: Option<&[u8]>, offset: u64, bitmap: &[u8]) -> Result<(), KrlError> {
        let mut run: Option<(u64, u64)> = None;
        let mut at = Some(offset);
        for byte in bitmap.iter().rev() {
            for bit in 0..8 {
                if byte >> bit & 1 == 1 {
                    // Past the last number there is.
                    let serial = at.ok_or(KrlError::Malformed)?;
                    match &mut run {
                        Some((_, last)) if last.checked_add(1) == Some(serial) => *last = serial,
                        _ => {
                            if let Some((first, last)) = run.replace((serial, serial)) {
                                self.revoke_serials(authority, first, last)?;
                            }
                        }
                    }
                }
                at = at.and_then(|at| at.checked_add(1));
            }
        }
        run.map_or(Ok(()), |(first, last)| self.revoke_serials(authority, first, last))
    }
}

fn strings(mut r: Reader<'_>) -> Result<Vec<&[u8]>, KrlError> {
    let mut all = Vec::new();
    while !r.is_empty() {
        all.push(r.string()?);
    }
    Ok(all)
}

fn array<const N: usize>(bytes: &[u8]) -> Result<[u8; N], KrlError> {
    bytes.try_into().map_err(|_| KrlError::Malformed)
}

/// A key's blob as we write it, if its type is one that we have: another spelling of the key must not escape.
fn canonical(blob: &[u8]) -> Box<[u8]> {
    PublicKey::from_blob(blob).map_or_else(|_| blob.into(), |key| key.to_blob().into())
}

/// None is known, so one that must be is an error.
fn extension(mut r: Reader<'_>) -> Result<(), KrlError> {
    let (name, critical, _) = (r.string()?, r.bool()?, r.string()?);
    r.end()?;
    if critical { Err(KrlError::Extension(String::from_utf8_lossy(name).into_owned())) } else { Ok(()) }
}
