use alloc::vec::Vec;

use ::der::asn1::{AnyRef, BitStringRef, ContextSpecific, ObjectIdentifier, OctetStringRef};
use ::der::{Decode, Reader as _, TagMode, TagNumber};
use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use super::{Algorithm, FOREIGN, Halves, KeyError, KeyFormat, KeyType, SignatureAlgorithm};
use super::{der, ec_parameters, signature};
use crate::crypto::fields::{EcdsaPrivate, EcdsaPublic};
use crate::crypto::{BadSignature, Curve, Secret};
use crate::rng::Rng;
use crate::wire::{Reader, Sink, minimal};

/// RFC 5656.
struct Ecdsa(Curve);

impl KeyType {
    /// RFC 5656; for peers without Ed25519, and for FIPS.
    pub const ECDSA_NISTP256: Self = Self::new(&Ecdsa(Curve::P256));
    /// RFC 5656.
    pub const ECDSA_NISTP384: Self = Self::new(&Ecdsa(Curve::P384));
    /// RFC 5656.
    pub const ECDSA_NISTP521: Self = Self::new(&Ecdsa(Curve::P521));
}

const fn algorithm(curve: Curve, kind: KeyType) -> Algorithm {
    Algorithm::new(curve.key_type(), kind).hash(curve.hash())
}

impl SignatureAlgorithm {
    /// RFC 5656.
    pub const ECDSA_NISTP256: Self = Self::new(&const { algorithm(Curve::P256, KeyType::ECDSA_NISTP256) });
    /// RFC 5656.
    pub const ECDSA_NISTP384: Self = Self::new(&const { algorithm(Curve::P384, KeyType::ECDSA_NISTP384) });
    /// RFC 5656.
    pub const ECDSA_NISTP521: Self = Self::new(&const { algorithm(Curve::P521, KeyType::ECDSA_NISTP521) });
}

/// `id-ecPublicKey` (RFC 5480 §2.1.1).
pub(super) const EC: &str = "1.2.840.10045.2.1";

const SCALAR: KeyError = KeyError::Inconsistent("the private scalar is out of the curve's range");

impl Ecdsa {
    /// The name of the curve stands in front of the point once more.
    fn check_curve(&self, curve: &[u8]) -> Result<(), KeyError> {
        if curve == self.0.name().as_bytes() {
            Ok(())
        } else {
            Err(KeyError::Malformed("the curve is not the one its type names"))
        }
    }

    /// As wide as the curve is.
    fn padded(&self, d: &[u8]) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let d = minimal(d);
        let mut padded = Zeroizing::new(alloc::vec![0; self.0.width()]);
        let at = padded.len().checked_sub(d.len()).ok_or(SCALAR)?;
        padded.get_mut(at..).ok_or(SCALAR)?.copy_from_slice(d);
        Ok(padded)
    }

    fn curve_oid(&self) -> &'static str {
        match self.0 {
            Curve::P256 => "1.2.840.10045.3.1.7",
            Curve::P384 => "1.3.132.0.34",
            Curve::P521 => "1.3.132.0.35",
        }
    }

    /// The public point, uncompressed; the scalar must be in 1..n (F-10).
    fn point_of(&self, d: &[u8]) -> Result<Vec<u8>, KeyError> {
        let padded = self.padded(d)?;
        let point = match self.0 {
            Curve::P256 => p256::SecretKey::from_slice(&padded)
                .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
            Curve::P384 => p384::SecretKey::from_slice(&padded)
                .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
            Curve::P521 => p521::SecretKey::from_slice(&padded)
                .map(|d| d.public_key().to_sec1_point(false).as_bytes().to_vec()),
        };
        point.map_err(|_| SCALAR)
    }

    fn halves(&self, d: &[u8], point: &[u8]) -> Halves {
        let curve = self.0.name().as_bytes();
        Halves::written(
            |out| EcdsaPublic { curve, point }.put(out),
            |out| EcdsaPrivate { curve, point, d }.put(out),
        )
    }
}

impl KeyFormat for Ecdsa {
    fn name(&self) -> &'static str {
        self.0.key_type()
    }

    fn algorithms(&self) -> &'static [SignatureAlgorithm] {
        match self.0 {
            Curve::P256 => &[SignatureAlgorithm::ECDSA_NISTP256],
            Curve::P384 => &[SignatureAlgorithm::ECDSA_NISTP384],
            Curve::P521 => &[SignatureAlgorithm::ECDSA_NISTP521],
        }
    }

    fn read(&self, r: &mut Reader<'_>, out: &mut dyn Sink) -> Result<(), KeyError> {
        let fields = EcdsaPublic::read(r)?;
        self.check_curve(fields.curve)?;
        let length = self.0.width().saturating_mul(2).saturating_add(1);
        if fields.point.len() != length || fields.point.first() != Some(&4) {
            return Err(KeyError::Malformed("the point is not an uncompressed one of its curve"));
        }
        fields.put(out);
        Ok(())
    }

    fn bits(&self, _key: &[u8]) -> usize {
        match self.0 {
            Curve::P256 => 256,
            Curve::P384 => 384,
            Curve::P521 => 521,
        }
    }

    fn read_private(&self, r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let fields = EcdsaPrivate::read(r)?;
        self.check_curve(fields.curve)?;
        let own = self.point_of(fields.d)?;
        if fields.point == own { Ok(self.halves(fields.d, &own)) } else { Err(FOREIGN) }
    }

    fn generate(&self, _bits: Option<usize>, rng: &mut Rng) -> Result<Halves, KeyError> {
        let d = match self.0 {
            Curve::P256 => Zeroizing::new(p256::SecretKey::generate_from_rng(rng).to_bytes())[..].into(),
            Curve::P384 => Zeroizing::new(p384::SecretKey::generate_from_rng(rng).to_bytes())[..].into(),
            Curve::P521 => Zeroizing::new(p521::SecretKey::generate_from_rng(rng).to_bytes())[..].into(),
        };
        let d: Zeroizing<Vec<u8>> = Zeroizing::new(d);
        Ok(self.halves(&d, &self.point_of(&d)?))
    }

    fn object_identifiers(&self) -> Option<(&'static str, Option<&'static str>)> {
        Some((EC, Some(self.curve_oid())))
    }

    /// SEC1 (RFC 5915). The curve stands around it, or inside, or both alike (§3).
    fn read_der(&self, private: &[u8], public: Option<&[u8]>) -> Result<Halves, KeyError> {
        let ec = Sec1::parse(private)?;
        if ec.curve.is_some_and(|inner| ObjectIdentifier::new(self.curve_oid()) != Ok(inner)) {
            return Err(KeyError::Inconsistent("the EC key names two curves"));
        }
        let point = self.point_of(ec.d)?;
        let inside = ec.public.is_none_or(|public| public == point || public == compressed(&point));
        if inside && public.is_none_or(|public| public == point) {
            Ok(self.halves(ec.d, &point))
        } else {
            Err(FOREIGN)
        }
    }

    fn write_der(&self, key: &[u8], alone: bool) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let fields = EcdsaPrivate::parse(key).ok_or(SCALAR)?;
        let d = self.padded(fields.d)?;
        let curve = if alone {
            der::value(0xa0, &[&der::identifier(self.curve_oid())])
        } else {
            Zeroizing::default()
        };
        let point = der::value(0xa1, &[&der::value(der::BIT_STRING, &[&[0], fields.point])]);
        let parts: [&[u8]; 4] = [&der::integer(&[1]), &der::value(der::OCTET_STRING, &[&d]), &curve, &point];
        Ok(der::value(der::SEQUENCE, &parts))
    }

    /// RFC 5480 §2.2: the point.
    fn read_public_der(&self, key: &[u8], out: &mut dyn Sink) -> Result<(), KeyError> {
        EcdsaPublic { curve: self.0.name().as_bytes(), point: key }.put(out);
        Ok(())
    }

    fn write_public_der(&self, key: &[u8]) -> Result<Vec<u8>, KeyError> {
        Ok(EcdsaPublic::parse(key).ok_or(SCALAR)?.point.to_vec())
    }

    fn read_putty(&self, _public: &[u8], r: &mut Reader<'_>) -> Result<Halves, KeyError> {
        let d = r.mpint()?;
        Ok(self.halves(d, &self.point_of(d)?))
    }

    fn write_putty(&self, key: &[u8]) -> Result<Secret, KeyError> {
        let d = EcdsaPrivate::parse(key).ok_or(SCALAR)?.d;
        Ok(Secret::written(|out| out.put_mpint(d)))
    }

    /// RFC 5656 §3.1.2: two mpints; raw, both are as long as a coordinate.
    fn read_signature(&self, r: &mut Reader<'_>) -> Result<Vec<u8>, BadSignature> {
        let mut fields = Reader::new(r.string().map_err(signature::bad)?);
        let mut raw = Vec::with_capacity(self.0.width().saturating_mul(2));
        for _ in 0..2 {
            // Zeros in front that it need not have are dropped, as in OpenSSH: Huawei's devices and hardware
            // that pads to the curve's width send them. The numbers decide, so nothing else changes.
            let number = fields.mpint().ok().filter(|number| !number.is_empty()).ok_or(BadSignature)?;
            let zeros = self.0.width().checked_sub(number.len()).ok_or(BadSignature)?;
            raw.resize(raw.len().saturating_add(zeros), 0);
            raw.extend_from_slice(number);
        }
        fields.end().map_err(signature::bad)?;
        Ok(raw)
    }

    fn write_signature(&self, raw: &[u8], out: &mut dyn Sink) {
        let (r, s) = raw.split_at_checked(raw.len() / 2).unwrap_or((raw, &[]));
        let mut inner = Vec::with_capacity(raw.len().saturating_add(10));
        inner.put_mpint(r);
        inner.put_mpint(s);
        out.put_string(&inner);
    }
}

/// `ECPrivateKey` (RFC 5915 §3), whose curve may be written out.
pub(super) struct Sec1<'a> {
    d: &'a [u8],
    pub(super) curve: Option<ObjectIdentifier>,
    public: Option<&'a [u8]>,
}

impl<'a> Sec1<'a> {
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Self, KeyError> {
        const MALFORMED: KeyError = KeyError::Malformed("SEC1");
        let parsed = AnyRef::from_der(bytes).and_then(|ec| {
            ec.sequence(|r| {
                let version: u8 = r.decode()?;
                let d = r.decode::<&OctetStringRef>()?.as_bytes();
                let parameters = ContextSpecific::<AnyRef<'a>>::decode_explicit(r, TagNumber(0))?
                    .map(|tagged| tagged.value);
                let public: Option<BitStringRef<'a>> = r.context_specific(TagNumber(1), TagMode::Explicit)?;
                Ok::<_, ::der::Error>((version, d, parameters, public))
            })
        });
        let (version, d, parameters, public) = parsed.map_err(|_| MALFORMED)?;
        if version != 1 {
            return Err(MALFORMED);
        }
        let curve = parameters.map(ec_parameters::curve).transpose()?;
        let public = public.map(|public| public.as_bytes().ok_or(MALFORMED)).transpose()?;
        Ok(Sec1 { d, curve, public })
    }
}

/// The compressed form of an uncompressed point (SEC1 §2.3.3), which some tools write.
pub(super) fn compressed(point: &[u8]) -> Vec<u8> {
    let y_is_odd = point.last().is_some_and(|b| b & 1 == 1);
    let x = point.get(1..=point.len() / 2).unwrap_or_default();
    [&[2 | u8::from(y_is_odd)], x].concat()
}
