//! The implementations behind [`crate::crypto::Provider`].
//!
//! [`rustcrypto`] is pure Rust, compiles for every target and is always there. `aws_lc` (feature
//! `aws-lc`) is the native one. Both give the same bytes for the same inputs, so a session that
//! was recorded on one replays on the other.

#[cfg(feature = "aws-lc")]
mod aws_lc;
mod framing;
mod rustcrypto;
mod signer;

#[cfg(feature = "aws-lc")]
pub use aws_lc::{AWS_LC, AwsLc, aws_lc};
pub use rustcrypto::{RUSTCRYPTO, RustCrypto, rustcrypto};

use crate::crypto::Provider;

/// The fastest provider that this build has: AWS-LC with the feature `aws-lc`, else RustCrypto.
pub fn best() -> &'static dyn Provider {
    #[cfg(feature = "aws-lc")]
    return aws_lc();
    #[cfg(not(feature = "aws-lc"))]
    rustcrypto()
}

/// Whether this processor has AES and carry-less multiplication instructions.
///
/// Runtime detection needs std (the `cpufeatures` crate would do without, but its macro expands to
/// `unsafe` in our own crate); without std it is what the compiler was told about the target.
fn hardware_aes() -> bool {
    #[cfg(all(feature = "std", any(target_arch = "x86", target_arch = "x86_64")))]
    return std::is_x86_feature_detected!("aes") && std::is_x86_feature_detected!("pclmulqdq");
    #[cfg(all(feature = "std", target_arch = "aarch64"))]
    return std::arch::is_aarch64_feature_detected!("aes")
        && std::arch::is_aarch64_feature_detected!("pmull");
    #[cfg(not(all(
        feature = "std",
        any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64")
    )))]
    {
        cfg!(target_feature = "aes") && cfg!(any(target_feature = "pclmulqdq", target_arch = "aarch64"))
    }
}
