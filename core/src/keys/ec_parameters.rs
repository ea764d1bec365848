//! Curves whose parameters are written out instead of named (SEC1 §C.2, RFC 3279 §2.3.5), as old tools and Java do.
//! Only those of the curves that have a name here are taken, whole: a curve with another generator would let
//! anybody forge a key that looks like somebody's (CVE-2020-0601).

use der::asn1::{AnyRef, BitStringRef, ObjectIdentifier, OctetStringRef, UintRef};
use der::{Reader, Tag, Tagged};

use super::{KeyError, pem};
use crate::wire::minimal;

/// In hex, without zeros in front; the generator uncompressed.
struct Parameters {
    oid: &'static str,
    prime: &'static str,
    a: &'static str,
    b: &'static str,
    generator: &'static str,
    order: &'static str,
}

/// SEC2 §2.4.2, §2.5.1, §2.6.1.
static CURVES: [Parameters; 3] = [
    Parameters {
        oid: "1.2.840.10045.3.1.7",
        prime: "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff",
        a: "ffffffff00000001000000000000000000000000fffffffffffffffffffffffc",
        b: "5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b",
        generator: "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c2964fe342e2fe1a7f9b8ee7eb\
             4a7c0f9e162bce33576b315ececbb6406837bf51f5",
        order: "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
    },
    Parameters {
        oid: "1.3.132.0.34",
        prime: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000\
             ffffffff",
        a: "fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000\
             fffffffc",
        b: "b3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8ed\
             d3ec2aef",
        generator: "04aa87ca22be8b05378eb1c71ef320ad746e1d3b628ba79b9859f741e082542a385502f25dbf55296c3a545e\
             3872760ab73617de4a96262c6f5d9e98bf9292dc29f8f41dbd289a147ce9da3113b5f0b8c00a60b1ce1d7e81\
             9d7a431d7c90ea0e5f",
        order: "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196a\
             ccc52973",
    },
    Parameters {
        oid: "1.3.132.0.35",
        prime: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
             ffffffffffffffffffffffffffffffffffffffffffff",
        a: "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff\
             fffffffffffffffffffffffffffffffffffffffffffc",
        b: "51953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b1652c0\
             bd3bb1bf073573df883d2c34f1ef451fd46b503f00",
        generator: "0400c6858e06b70404e9cd9e3ecb662395b4429c648139053fb521f828af606b4d3dbaa14b5e77efe75928fe\
             1dc127a2ffa8de3348b3c1856a429bf97e7e31c2e5bd66011839296a789a3bc0045c8a5fb42c7d1bd998f544\
             49579b446817afbd17273e662c97ee72995ef42640c550b9013fad0761353c7086a272c24088be94769fd166\
             50",
        order: "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc\
             0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
    },
];

/// The name of the curve: as it stands there, or of the one whose parameters they are.
pub(super) fn curve(parameters: AnyRef<'_>) -> Result<ObjectIdentifier, KeyError> {
    const MALFORMED: KeyError = KeyError::Malformed("EC parameters");
    if parameters.tag() == Tag::ObjectIdentifier {
        return parameters.decode_as().map_err(|_| MALFORMED);
    }
    let written = Written::parse(parameters).map_err(|_| MALFORMED)?;
    let found = CURVES.iter().find(|curve| written.is(curve));
    let found = found.ok_or_else(|| KeyError::unsupported_type(b"EC with a curve of its own"))?;
    ObjectIdentifier::new(found.oid).map_err(|_| MALFORMED)
}

/// `SpecifiedECDomain` over a prime field.
struct Written<'a> {
    prime: &'a [u8],
    a: &'a [u8],
    b: &'a [u8],
    generator: &'a [u8],
    order: &'a [u8],
    cofactor: Option<&'a [u8]>,
}

impl<'a> Written<'a> {
    fn parse(parameters: AnyRef<'a>) -> Result<Self, der::Error> {
        parameters.sequence(|r| {
            let _version: u8 = r.decode()?;
            let prime = r.sequence::<_, _, der::Error>(|field| {
                let _kind: ObjectIdentifier = field.decode()?;
                field.decode::<UintRef<'a>>()
            })?;
            let (a, b) = r.sequence::<_, _, der::Error>(|curve| {
                let coefficients: (&OctetStringRef, &OctetStringRef) = (curve.decode()?, curve.decode()?);
                let _seed: Option<BitStringRef<'a>> = curve.decode()?;
                Ok(coefficients)
            })?;
            let generator: &OctetStringRef = r.decode()?;
            let order: UintRef<'a> = r.decode()?;
            let cofactor: Option<UintRef<'a>> = r.decode()?;
            Ok(Written {
                prime: prime.as_bytes(),
                a: a.as_bytes(),
                b: b.as_bytes(),
                generator: generator.as_bytes(),
                order: order.as_bytes(),
                cofactor: cofactor.map(|cofactor| cofactor.as_bytes()),
            })
        })
    }

    fn is(&self, curve: &Parameters) -> bool {
        let same = |bytes: &[u8], hex: &str| {
            pem::hex(hex.as_bytes()).is_some_and(|known| minimal(&known) == minimal(bytes))
        };
        let point = pem::hex(curve.generator.as_bytes()).unwrap_or_default();
        same(self.prime, curve.prime)
            && same(self.a, curve.a)
            && same(self.b, curve.b)
            && same(self.order, curve.order)
            && (self.generator == point || self.generator == super::ecdsa::compressed(&point))
            && self.cofactor.is_none_or(|cofactor| minimal(cofactor) == [1])
    }
}
