use alloc::vec::Vec;

use p256::elliptic_curve::Generate;
use p256::elliptic_curve::sec1::ToSec1Point;
use sec1::EcPrivateKey;
use sec1::der::Decode;
use zeroize::Zeroizing;

use super::{Algorithm, FOREIGN, Halves, KeyError, KeyFormat, KeyType, SignatureAlgorithm, signature};
use crate::crypto::fields::{EcdsaPrivate, EcdsaPublic};
use crate::crypto::{BadSignature, Curve};
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

    /// The public point, uncompressed; the scalar must be in 1..n (F-10).
    fn point_of(&self, d: &[u8]) -> Result<Vec<u8>, KeyError> {
        let d = minimal(d);
        let mut padded = Zeroizing::new(alloc::vec![0; self.0.width()]);
        let at = padded.len().checked_sub(d.len()).ok_or(SCALAR)?;
        padded.get_mut(at..).ok_or(SCALAR)?.copy_from_slice(d);
        let point =
            match self.0 {
                Curve::P256 => p256::SecretKey::from_slice(&padded)
                    .map(|d| d.public_key().to_sec1_point(false).to_bytes()),
                Curve::P384 => p384::SecretKey::from_slice(&padded)
                    .map(|d| d.public_key().to_sec1_point(false).to_bytes()),
                Curve::P521 => p521::SecretKey::from_slice(&padded)
                    .map(|d| d.public_key().to_sec1_point(false).to_bytes()),
            };
        point.map(Into::into).map_err(|_| SCALAR)
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
        let curve = match self.0 {
            Curve::P256 => "1.2.840.10045.3.1.7",
            Curve::P384 => "1.3.132.0.34",
            Curve::P521 => "1.3.132.0.35",
        };
        Some((EC, Some(curve)))
    }

    /// SEC1 (RFC 5915). The curve stands around it, or inside, or both alike (§3).
    fn read_der(&self, private: &[u8], public: Option<&[u8]>) -> Result<Halves, KeyError> {
        let ec = EcPrivateKey::from_der(private).map_err(|_| KeyError::Malformed("SEC1"))?;
        let inner = ec.parameters.and_then(|p| p.named_curve());
        let (_, own) = self.object_identifiers().unzip();
        if inner.is_some_and(|inner| Some(inner) != own.flatten().and_then(|own| own.parse().ok())) {
            return Err(KeyError::Inconsistent("the EC key names two curves"));
        }
        let point = self.point_of(ec.private_key)?;
        let inside = ec.public_key.is_none_or(|public| public == point || public == compressed(&point));
        if inside && public.is_none_or(|public| public == point) {
            Ok(self.halves(ec.private_key, &point))
        } else {
            Err(FOREIGN)
        }
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

/// The compressed form of an uncompressed point (SEC1 §2.3.3), which some tools write.
fn compressed(point: &[u8]) -> Vec<u8> {
    let y_is_odd = point.last().is_some_and(|b| b & 1 == 1);
    let x = point.get(1..=point.len() / 2).unwrap_or_default();
    [&[2 | u8::from(y_is_odd)], x].concat()
}
