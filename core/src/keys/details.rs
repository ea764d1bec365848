//! What a signature by a security key says beside being one.

use core::fmt;

/// What a security key says about a signature that it made: part of what was signed (OpenSSH PROTOCOL.u2f,
/// `sshkey_sig_details`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SignatureDetails {
    flags: u8,
    counter: u32,
}

/// Whether a security key's user has to be there, and how that is proved: `PubkeyAuthOptions` of sshd_config(5), and the
/// options `no-touch-required` and `verify-required` of keys and certificates. For keys of other types it says nothing.
///
/// The default is that the key has to be touched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TouchPolicy {
    /// Somebody has to touch the key.
    pub touch_required: bool,
    /// The key has to have verified its user, by a PIN or a finger.
    pub verify_required: bool,
}

impl Default for TouchPolicy {
    fn default() -> Self {
        TouchPolicy { touch_required: true, verify_required: false }
    }
}

impl TouchPolicy {
    /// With these requirements.
    pub const fn new(touch_required: bool, verify_required: bool) -> Self {
        TouchPolicy { touch_required, verify_required }
    }

    /// What both ask for.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        TouchPolicy {
            touch_required: self.touch_required || other.touch_required,
            verify_required: self.verify_required || other.verify_required,
        }
    }

    /// Whether a signature with these details is enough; without any, it is by a key of another type.
    pub const fn admits(self, details: Option<SignatureDetails>) -> bool {
        match details {
            None => true,
            Some(details) => {
                (!self.touch_required || details.user_present())
                    && (!self.verify_required || details.user_verified())
            }
        }
    }
}

impl SignatureDetails {
    /// FIDO's flag UP.
    const PRESENT: u8 = 0x01;
    /// FIDO's flag UV.
    const VERIFIED: u8 = 0x04;

    /// Of a signature with these flags and this counter.
    pub const fn new(flags: u8, counter: u32) -> Self {
        SignatureDetails { flags, counter }
    }

    /// All flags as they were signed.
    pub const fn flags(self) -> u8 {
        self.flags
    }

    /// How many signatures the device had made, as far as it counts.
    pub const fn counter(self) -> u32 {
        self.counter
    }

    /// Whether somebody touched the device.
    pub const fn user_present(self) -> bool {
        self.flags & Self::PRESENT != 0
    }

    /// Whether the device verified who its user is.
    pub const fn user_verified(self) -> bool {
        self.flags & Self::VERIFIED != 0
    }
}

impl fmt::Debug for SignatureDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignatureDetails(flags {:#04x}, counter {})", self.flags, self.counter)
    }
}
