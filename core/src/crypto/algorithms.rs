//! Every algorithm by its SSH name. One enum a category, one table an enum.

use core::fmt;

macro_rules! algorithms {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them, in no particular preference.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The name on the wire.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $wire,)* }
            }

            /// The algorithm of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|a| a.name() == name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    };
}

algorithms! {
    /// Key exchange methods.
    Kex {
        /// ML-KEM-768 with X25519 (OpenSSH 9.9+).
        MlKem768X25519Sha256 = "mlkem768x25519-sha256",
        /// Streamlined NTRU Prime with X25519 (draft-ietf-sshm-ntruprime-ssh); only on a provider that has it.
        Sntrup761X25519Sha512 = "sntrup761x25519-sha512",
        /// The same under its first name (OpenSSH 8.5 to 9.8 know no other).
        Sntrup761X25519Sha512Openssh = "sntrup761x25519-sha512@openssh.com",
        /// ML-KEM-768 with NIST's P-256 (draft-ietf-sshm-mlkem-hybrid-kex).
        MlKem768Nistp256Sha256 = "mlkem768nistp256-sha256",
        /// ML-KEM-1024 with NIST's P-384 (draft-ietf-sshm-mlkem-hybrid-kex).
        MlKem1024Nistp384Sha384 = "mlkem1024nistp384-sha384",
        /// RFC 8731.
        Curve25519Sha256 = "curve25519-sha256",
        /// The same under its first name.
        Curve25519Sha256Libssh = "curve25519-sha256@libssh.org",
        /// RFC 5656.
        EcdhNistp256 = "ecdh-sha2-nistp256",
        /// RFC 5656.
        EcdhNistp384 = "ecdh-sha2-nistp384",
        /// RFC 5656.
        EcdhNistp521 = "ecdh-sha2-nistp521",
        /// RFC 8268.
        Group14Sha256 = "diffie-hellman-group14-sha256",
        /// RFC 8268.
        Group15Sha512 = "diffie-hellman-group15-sha512",
        /// RFC 8268.
        Group16Sha512 = "diffie-hellman-group16-sha512",
        /// RFC 8268.
        Group17Sha512 = "diffie-hellman-group17-sha512",
        /// RFC 8268.
        Group18Sha512 = "diffie-hellman-group18-sha512",
        /// RFC 4419.
        GroupExchangeSha256 = "diffie-hellman-group-exchange-sha256",
        /// RFC 4253 §8.2; policy `Compat`.
        Group14Sha1 = "diffie-hellman-group14-sha1",
        /// RFC 4253 §8.1; policy `LegacyDevice`.
        Group1Sha1 = "diffie-hellman-group1-sha1",
        /// RFC 4419; policy `LegacyDevice`.
        GroupExchangeSha1 = "diffie-hellman-group-exchange-sha1",
    }
}

algorithms! {
    /// Key encapsulation mechanisms, one half of the hybrid key exchange methods.
    Kem {
        /// FIPS 203.
        MlKem768 = "mlkem768",
        /// FIPS 203.
        MlKem1024 = "mlkem1024",
        /// Streamlined NTRU Prime; only with the feature `sntrup761`.
        Sntrup761 = "sntrup761",
    }
}

algorithms! {
    /// Packet ciphers.
    Cipher {
        /// OpenSSH PROTOCOL §1.6, RFC 5647.
        Aes128Gcm = "aes128-gcm@openssh.com",
        /// OpenSSH PROTOCOL §1.6, RFC 5647.
        Aes256Gcm = "aes256-gcm@openssh.com",
        /// OpenSSH PROTOCOL.chacha20poly1305.
        ChaCha20Poly1305 = "chacha20-poly1305@openssh.com",
        /// RFC 4344.
        Aes128Ctr = "aes128-ctr",
        /// RFC 4344.
        Aes192Ctr = "aes192-ctr",
        /// RFC 4344.
        Aes256Ctr = "aes256-ctr",
        /// RFC 4253; policy `Compat`.
        Aes128Cbc = "aes128-cbc",
        /// RFC 4253; policy `Compat`.
        Aes192Cbc = "aes192-cbc",
        /// RFC 4253; policy `Compat`.
        Aes256Cbc = "aes256-cbc",
        /// RFC 4253; policy `LegacyDevice`.
        TripleDesCbc = "3des-cbc",
    }
}

algorithms! {
    /// Message authentication codes.
    Mac {
        /// OpenSSH PROTOCOL §1.5 (encrypt-then-MAC), RFC 6668.
        HmacSha256Etm = "hmac-sha2-256-etm@openssh.com",
        /// OpenSSH PROTOCOL §1.5, RFC 6668.
        HmacSha512Etm = "hmac-sha2-512-etm@openssh.com",
        /// RFC 6668.
        HmacSha256 = "hmac-sha2-256",
        /// RFC 6668.
        HmacSha512 = "hmac-sha2-512",
        /// RFC 4253; policy `Compat`.
        HmacSha1Etm = "hmac-sha1-etm@openssh.com",
        /// RFC 4253; policy `Compat`.
        HmacSha1 = "hmac-sha1",
        /// RFC 4253; policy `LegacyDevice`.
        HmacSha1_96 = "hmac-sha1-96",
        /// RFC 4253; policy `LegacyDevice`.
        HmacMd5 = "hmac-md5",
    }
}

algorithms! {
    /// Compression methods.
    Compression {
        /// No compression.
        None = "none",
        /// Starts after authentication (OpenSSH PROTOCOL §1.1).
        ZlibOpenssh = "zlib@openssh.com",
        /// Starts at NEWKEYS (RFC 4253 §6.2); policy `LegacyDevice`.
        Zlib = "zlib",
    }
}

/// Hash functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HashAlgorithm {
    /// 16 bytes; fingerprints of old and the legacy MAC only.
    Md5,
    /// 20 bytes; legacy.
    Sha1,
    /// 32 bytes.
    Sha256,
    /// 48 bytes.
    Sha384,
    /// 64 bytes.
    Sha512,
}

impl HashAlgorithm {
    /// Digest length in bytes.
    pub const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// Never; digests have bytes.
    pub const fn is_empty(self) -> bool {
        false
    }
}

/// NIST curves (RFC 5656 §10.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Curve {
    /// secp256r1.
    P256,
    /// secp384r1.
    P384,
    /// secp521r1.
    P521,
}

impl Curve {
    /// The curve's identifier in SSH key blobs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::P256 => "nistp256",
            Self::P384 => "nistp384",
            Self::P521 => "nistp521",
        }
    }

    /// Bytes of a coordinate or scalar.
    pub const fn width(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    /// The curve of that identifier.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::P256, Self::P384, Self::P521].into_iter().find(|c| c.name() == name)
    }

    /// The name of the key type on this curve, which is that of its signature algorithm (RFC 5656 §3.1).
    pub const fn key_type(self) -> &'static str {
        match self {
            Self::P256 => "ecdsa-sha2-nistp256",
            Self::P384 => "ecdsa-sha2-nistp384",
            Self::P521 => "ecdsa-sha2-nistp521",
        }
    }

    /// The hash that is signed on this curve (RFC 5656 §6.2.1).
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::P256 => HashAlgorithm::Sha256,
            Self::P384 => HashAlgorithm::Sha384,
            Self::P521 => HashAlgorithm::Sha512,
        }
    }
}

impl Kex {
    /// The hash that the method runs over the exchange.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::MlKem768X25519Sha256
            | Self::MlKem768Nistp256Sha256
            | Self::Curve25519Sha256
            | Self::Curve25519Sha256Libssh
            | Self::EcdhNistp256
            | Self::Group14Sha256
            | Self::GroupExchangeSha256 => HashAlgorithm::Sha256,
            Self::EcdhNistp384 | Self::MlKem1024Nistp384Sha384 => HashAlgorithm::Sha384,
            Self::Sntrup761X25519Sha512
            | Self::Sntrup761X25519Sha512Openssh
            | Self::EcdhNistp521
            | Self::Group15Sha512
            | Self::Group16Sha512
            | Self::Group17Sha512
            | Self::Group18Sha512 => HashAlgorithm::Sha512,
            Self::Group14Sha1 | Self::Group1Sha1 | Self::GroupExchangeSha1 => HashAlgorithm::Sha1,
        }
    }

    /// Whether a future quantum computer cannot read today's recorded session.
    pub const fn post_quantum(self) -> bool {
        self.kem().is_some()
    }

    /// The key encapsulation mechanism of a hybrid method.
    pub const fn kem(self) -> Option<Kem> {
        match self {
            Self::MlKem768X25519Sha256 | Self::MlKem768Nistp256Sha256 => Some(Kem::MlKem768),
            Self::MlKem1024Nistp384Sha384 => Some(Kem::MlKem1024),
            Self::Sntrup761X25519Sha512 | Self::Sntrup761X25519Sha512Openssh => Some(Kem::Sntrup761),
            _ => None,
        }
    }

    /// The NIST curve of the method, alone or as one half of a hybrid. `None`: Curve25519, or none at all.
    pub const fn curve(self) -> Option<Curve> {
        match self {
            Self::EcdhNistp256 | Self::MlKem768Nistp256Sha256 => Some(Curve::P256),
            Self::EcdhNistp384 | Self::MlKem1024Nistp384Sha384 => Some(Curve::P384),
            Self::EcdhNistp521 => Some(Curve::P521),
            _ => None,
        }
    }

    /// Whether it is Diffie-Hellman over a finite field (RFC 4253 §8, RFC 4419), in a group of either
    /// side's choice.
    pub const fn finite_field(self) -> bool {
        self.group_exchange()
            || matches!(
                self,
                Kex::Group14Sha256
                    | Kex::Group15Sha512
                    | Kex::Group16Sha512
                    | Kex::Group17Sha512
                    | Kex::Group18Sha512
                    | Kex::Group14Sha1
                    | Kex::Group1Sha1
            )
    }

    /// Whether the client first asks for a group (RFC 4419).
    pub const fn group_exchange(self) -> bool {
        matches!(self, Self::GroupExchangeSha256 | Self::GroupExchangeSha1)
    }
}

impl Kem {
    /// Bytes of an encapsulation key, the client's public value.
    pub const fn public_len(self) -> usize {
        match self {
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
            Self::Sntrup761 => 1158,
        }
    }

    /// Bytes of a ciphertext, the server's answer.
    pub const fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
            Self::Sntrup761 => 1039,
        }
    }
}

impl Cipher {
    /// Bytes of encryption key. The OpenSSH ChaCha20-Poly1305 takes two keys of 32.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes128Ctr | Self::Aes128Cbc => 16,
            Self::Aes192Ctr | Self::Aes192Cbc | Self::TripleDesCbc => 24,
            Self::Aes256Gcm | Self::Aes256Ctr | Self::Aes256Cbc => 32,
            Self::ChaCha20Poly1305 => 64,
        }
    }

    /// Bytes of initial IV.
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::Aes256Gcm => 12,
            Self::ChaCha20Poly1305 => 0,
            Self::TripleDesCbc => 8,
            _ => 16,
        }
    }

    /// Bytes of a cipher block; 8 for the stream cipher (padding alignment, rekey limits).
    pub const fn block(self) -> usize {
        match self {
            Self::ChaCha20Poly1305 | Self::TripleDesCbc => 8,
            _ => 16,
        }
    }

    /// Whether the cipher authenticates by itself, so that the MAC lists do not matter.
    pub const fn aead(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305)
    }

    /// Whether the cipher runs in CBC mode.
    pub const fn cbc(self) -> bool {
        matches!(self, Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc | Self::TripleDesCbc)
    }
}

impl Mac {
    /// Bytes of integrity key.
    pub const fn key_len(self) -> usize {
        self.hash().len()
    }

    /// Bytes of MAC on the wire.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::HmacSha1_96 => 12,
            other => other.hash().len(),
        }
    }

    /// The hash inside.
    pub const fn hash(self) -> HashAlgorithm {
        match self {
            Self::HmacSha256Etm | Self::HmacSha256 => HashAlgorithm::Sha256,
            Self::HmacSha512Etm | Self::HmacSha512 => HashAlgorithm::Sha512,
            Self::HmacSha1Etm | Self::HmacSha1 | Self::HmacSha1_96 => HashAlgorithm::Sha1,
            Self::HmacMd5 => HashAlgorithm::Md5,
        }
    }

    /// Encrypt-then-MAC: the length goes in clear and the MAC covers the ciphertext.
    pub const fn etm(self) -> bool {
        matches!(self, Self::HmacSha256Etm | Self::HmacSha512Etm | Self::HmacSha1Etm)
    }
}
