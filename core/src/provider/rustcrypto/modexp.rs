//! Modular exponentiation for finite-field Diffie-Hellman.

use crypto_bigint::modular::{BoxedMontyForm, BoxedMontyParams};
use crypto_bigint::{BoxedUint, Odd};
use zeroize::{Zeroize, Zeroizing};

use crate::crypto::{BadPublicValue, Secret};
use crate::wire::minimal;

/// Largest modulus: 8192 bits, the largest that RFC 4419 lets a client ask for.
const MAX_MODULUS: usize = 1024;

pub(super) fn modexp(p: &[u8], base: &[u8], exponent: &Secret) -> Result<Secret, BadPublicValue> {
    let (p, base, exponent) = (minimal(p), minimal(base), exponent.expose());
    let below_p = (base.len(), base) < (p.len(), p);
    if p.len() > MAX_MODULUS || p == [1] || !below_p || exponent.is_empty() || exponent.len() > MAX_MODULUS {
        return Err(BadPublicValue);
    }
    let modulus = BoxedUint::from_be_slice_vartime(p);
    let bits = modulus.bits_precision();
    let modulus: Odd<BoxedUint> = Option::from(modulus.into_odd()).ok_or(BadPublicValue)?;
    let base = BoxedUint::from_be_slice(base, bits).map_err(|_| BadPublicValue)?;
    // The exponent's precision is that of its encoding, so the time tells its length only.
    let exponent_bits = u32::try_from(exponent.len().saturating_mul(8)).map_err(|_| BadPublicValue)?;
    let exponent =
        Zeroizing::new(BoxedUint::from_be_slice(exponent, exponent_bits).map_err(|_| BadPublicValue)?);

    // p is public: the peer sees it too.
    let params = BoxedMontyParams::new_vartime(modulus);
    let mut power = BoxedMontyForm::new(base, &params).pow(&exponent);
    let result = Zeroizing::new(power.retrieve());
    power.zeroize();
    let bytes = Zeroizing::new(result.to_be_bytes());
    Ok(Secret::copy_of(minimal(&bytes)))
}
