//! ML-KEM (FIPS 203), and sntrup761 where it was built in. Deterministic: all randomness is an argument.

use alloc::vec::Vec;

use ml_kem::{Decapsulate, KeyExport};
use zeroize::Zeroize;

use crate::crypto::{BadPublicValue, Kem, Secret};

pub(super) const ALL: &[Kem] = &[
    Kem::MlKem768,
    Kem::MlKem1024,
    #[cfg(feature = "sntrup761")]
    Kem::Sntrup761,
];

macro_rules! ml_kem {
    ($name:ident) => {
        mod $name {
            use super::*;

            pub(super) fn public(seed: &[u8; 64]) -> Vec<u8> {
                ml_kem::$name::DecapsulationKey::from_seed((*seed).into())
                    .encapsulation_key()
                    .to_bytes()
                    .to_vec()
            }

            pub(super) fn encapsulate(
                public: &[u8],
                m: &[u8; 32],
            ) -> Result<(Vec<u8>, Secret), BadPublicValue> {
                let public = public.try_into().map_err(|_| BadPublicValue)?;
                // Refuses coefficients that are not below q (FIPS 203 §7.2, "modulus check").
                let key = ml_kem::$name::EncapsulationKey::new(&public).map_err(|_| BadPublicValue)?;
                let (ciphertext, mut shared) = key.encapsulate_deterministic(&(*m).into());
                let secret = Secret::copy_of(&shared);
                shared.zeroize();
                Ok((ciphertext.to_vec(), secret))
            }

            pub(super) fn decapsulate(seed: &[u8; 64], ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
                let ciphertext =
                    ml_kem::$name::Ciphertext::try_from(ciphertext).map_err(|_| BadPublicValue)?;
                let key = ml_kem::$name::DecapsulationKey::from_seed((*seed).into());
                let mut shared = key.decapsulate(&ciphertext);
                let secret = Secret::copy_of(&shared);
                shared.zeroize();
                Ok(secret)
            }
        }
    };
}

ml_kem!(ml_kem_768);
ml_kem!(ml_kem_1024);

#[cfg(feature = "sntrup761")]
mod sntrup {
    use ::sntrup761::{Ciphertext, DecapsulationKey, EncapsulationKey, generate_key_from_seed};

    use super::*;

    pub(super) fn generate(seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
        let first = zeroize::Zeroizing::new(*seed.first_chunk::<32>().ok_or(BadPublicValue)?);
        let (public, private) = generate_key_from_seed(*first);
        Ok((Secret::copy_of(private.as_ref()), public.as_ref().to_vec()))
    }

    pub(super) fn encapsulate(public: &[u8], m: &[u8; 32]) -> Result<(Vec<u8>, Secret), BadPublicValue> {
        let key = EncapsulationKey::try_from(public).map_err(|_| BadPublicValue)?;
        let (ciphertext, shared) = key.encapsulate_deterministic(*m);
        Ok((ciphertext.as_ref().to_vec(), Secret::copy_of(shared.as_ref())))
    }

    pub(super) fn decapsulate(private: &Secret, ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
        let key = DecapsulationKey::try_from(private.expose()).map_err(|_| BadPublicValue)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| BadPublicValue)?;
        Ok(Secret::copy_of(key.decapsulate(&ciphertext).as_ref()))
    }
}

pub(super) fn generate(kem: Kem, seed: &[u8; 64]) -> Result<(Secret, Vec<u8>), BadPublicValue> {
    let public = match kem {
        Kem::MlKem768 => ml_kem_768::public(seed),
        Kem::MlKem1024 => ml_kem_1024::public(seed),
        #[cfg(feature = "sntrup761")]
        Kem::Sntrup761 => return sntrup::generate(seed),
        #[cfg(not(feature = "sntrup761"))]
        Kem::Sntrup761 => return Err(BadPublicValue),
    };
    Ok((Secret::copy_of(seed), public))
}

pub(super) fn encapsulate(
    kem: Kem,
    public: &[u8],
    m: &[u8; 32],
) -> Result<(Vec<u8>, Secret), BadPublicValue> {
    match kem {
        Kem::MlKem768 => ml_kem_768::encapsulate(public, m),
        Kem::MlKem1024 => ml_kem_1024::encapsulate(public, m),
        #[cfg(feature = "sntrup761")]
        Kem::Sntrup761 => sntrup::encapsulate(public, m),
        #[cfg(not(feature = "sntrup761"))]
        Kem::Sntrup761 => Err(BadPublicValue),
    }
}

pub(super) fn decapsulate(kem: Kem, private: &Secret, ciphertext: &[u8]) -> Result<Secret, BadPublicValue> {
    let seed = || private.expose().try_into().map_err(|_| BadPublicValue);
    match kem {
        Kem::MlKem768 => ml_kem_768::decapsulate(seed()?, ciphertext),
        Kem::MlKem1024 => ml_kem_1024::decapsulate(seed()?, ciphertext),
        #[cfg(feature = "sntrup761")]
        Kem::Sntrup761 => sntrup::decapsulate(private, ciphertext),
        #[cfg(not(feature = "sntrup761"))]
        Kem::Sntrup761 => Err(BadPublicValue),
    }
}
