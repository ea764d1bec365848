use super::{Message, messages};
use crate::wire::{DecodeError, NameList, Reader, Sink};

/// SSH_MSG_KEXINIT (RFC 4253 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KexInit<'a> {
    /// 16 random bytes.
    pub cookie: [u8; 16],
    /// Key exchange methods, and the markers of extensions.
    pub kex: NameList<'a>,
    /// Host key signature algorithms.
    pub host_key: NameList<'a>,
    /// Ciphers, client to server and server to client.
    pub cipher: [NameList<'a>; 2],
    /// MACs, likewise.
    pub mac: [NameList<'a>; 2],
    /// Compression, likewise.
    pub compression: [NameList<'a>; 2],
    /// A guessed key exchange packet follows.
    pub first_kex_packet_follows: bool,
}

impl<'a> Message<'a> for KexInit<'a> {
    const NUMBER: u8 = 20;

    fn read(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let message = KexInit {
            cookie: r.array()?,
            kex: r.name_list()?,
            host_key: r.name_list()?,
            cipher: [r.name_list()?, r.name_list()?],
            mac: [r.name_list()?, r.name_list()?],
            compression: [r.name_list()?, r.name_list()?],
            first_kex_packet_follows: {
                // Languages are not used, and no reason for a longer message.
                for _ in 0..2 {
                    if r.string()?.len() > NameList::MAX_BYTES {
                        return Err(DecodeError::Invalid);
                    }
                }
                r.bool()?
            },
        };
        // Reserved: 0 when sent, ignored when read.
        r.u32()?;
        Ok(message)
    }

    fn write(&self, out: &mut dyn Sink) {
        out.put(&self.cookie);
        for list in [self.kex, self.host_key]
            .into_iter()
            .chain(self.cipher)
            .chain(self.mac)
            .chain(self.compression)
            .chain([NameList::EMPTY, NameList::EMPTY])
        {
            out.put_string(list.as_str().as_bytes());
        }
        out.put_bool(self.first_kex_packet_follows);
        out.put_u32(0);
    }
}

messages! {
    /// SSH_MSG_KEX_ECDH_INIT (RFC 5656 §4, RFC 8731, the hybrids).
    EcdhInit = 30 {
        /// The client's public value.
        public: string,
    }

    /// SSH_MSG_KEX_ECDH_REPLY (RFC 5656 §4).
    EcdhReply = 31 {
        /// Host key blob.
        host_key: string,
        /// The server's public value.
        public: string,
        /// Signature of the exchange hash.
        signature: string,
    }

    /// SSH_MSG_KEXDH_INIT (RFC 4253 §8).
    DhInit = 30 {
        /// The client's public value.
        e: mpint,
    }

    /// SSH_MSG_KEXDH_REPLY (RFC 4253 §8).
    DhReply = 31 {
        /// Host key blob.
        host_key: string,
        /// The server's public value.
        f: mpint,
        /// Signature of the exchange hash.
        signature: string,
    }

    /// SSH_MSG_KEX_DH_GEX_REQUEST (RFC 4419 §5).
    GexRequest = 34 {
        /// Smallest modulus that will do, in bits.
        min: u32,
        /// The size wanted.
        n: u32,
        /// Largest modulus that will do.
        max: u32,
    }

    /// SSH_MSG_KEX_DH_GEX_GROUP (RFC 4419 §5).
    GexGroup = 31 {
        /// Safe prime.
        p: mpint,
        /// Generator.
        g: mpint,
    }

    /// SSH_MSG_KEX_DH_GEX_INIT (RFC 4419 §5).
    GexInit = 32 {
        /// The client's public value.
        e: mpint,
    }

    /// SSH_MSG_KEX_DH_GEX_REPLY (RFC 4419 §5).
    GexReply = 33 {
        /// Host key blob.
        host_key: string,
        /// The server's public value.
        f: mpint,
        /// Signature of the exchange hash.
        signature: string,
    }
}
