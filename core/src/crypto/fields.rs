//! The fields of keys behind the name of their type, as SSH lays them out. The rows of key types check
//! and write what a provider reads and computes with.

use crate::wire::{DecodeError, Reader, Sink};

macro_rules! fields {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $get:ident / $put:ident,)* }) => {
        $(#[$doc])*
        pub(crate) struct $name<'a> { $(pub(crate) $field: &'a [u8],)* }

        impl<'a> $name<'a> {
            /// The next fields. Their values are not looked at.
            pub(crate) fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok($name { $($field: r.$get()?,)* })
            }

            /// Fields with nothing behind them.
            pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
                let mut r = Reader::new(bytes);
                let fields = Self::read(&mut r).ok()?;
                r.end().ok().map(|()| fields)
            }

            pub(crate) fn put(&self, out: &mut dyn Sink) {
                $(out.$put(self.$field);)*
            }
        }
    };
}

fields! {
    /// RFC 8709 §4.
    Ed25519Public { key: string / put_string, }
}

fields! {
    /// `secret` is RFC 8032's "secret key" of old implementations: the seed, and the public key again.
    Ed25519Private { key: string / put_string, secret: string / put_string, }
}

fields! {
    /// RFC 5656 §3.1.
    EcdsaPublic { curve: string / put_string, point: string / put_string, }
}

fields! {
    /// The public fields and the scalar.
    EcdsaPrivate { curve: string / put_string, point: string / put_string, d: mpint / put_mpint, }
}

fields! {
    /// RFC 4253 §6.6.
    RsaPublic { e: mpint / put_mpint, n: mpint / put_mpint, }
}

fields! {
    /// `iqmp` is `q^-1 mod p`.
    RsaPrivate {
        n: mpint / put_mpint,
        e: mpint / put_mpint,
        d: mpint / put_mpint,
        iqmp: mpint / put_mpint,
        p: mpint / put_mpint,
        q: mpint / put_mpint,
    }
}
