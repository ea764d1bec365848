//! Algorithm negotiation (RFC 4253 §7.1): a pure function of the two KEXINITs.

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use crate::crypto::Policy;
use crate::crypto::{Cipher, Compression, HashAlgorithm, Kex, Mac, Protection, Provider};
pub use crate::error::{AlgorithmCategory, Mismatch, NegotiationFailure};
use crate::error::{Failure, Fault};
use crate::keys::SignatureAlgorithm;
use crate::msg::KexInit;
use crate::wire::{NameList, NameListBuilder, SshStr};

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The side that connected.
    Client,
    /// The side that listened.
    Server,
}

impl Role {
    /// The other one.
    pub const fn peer(self) -> Role {
        match self {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        }
    }
}

impl Policy {
    /// The algorithms of the policy in order of preference. `fast_aes` says whether AES runs in
    /// hardware; elsewhere ChaCha20-Poly1305 goes first.
    pub fn algorithms(self, fast_aes: bool) -> Algorithms {
        let mut kex = alloc::vec![
            Kex::MlKem768X25519Sha256,
            Kex::Sntrup761X25519Sha512,
            Kex::Sntrup761X25519Sha512Openssh,
            Kex::MlKem768Nistp256Sha256,
            Kex::MlKem1024Nistp384Sha384,
            Kex::Curve25519Sha256,
            Kex::Curve25519Sha256Libssh,
            Kex::EcdhNistp256,
            Kex::EcdhNistp384,
            Kex::EcdhNistp521,
            Kex::GroupExchangeSha256,
            Kex::Group16Sha512,
            Kex::Group18Sha512,
            Kex::Group17Sha512,
            Kex::Group15Sha512,
            Kex::Group14Sha256,
        ];
        let host_key: Vec<SignatureAlgorithm> =
            SignatureAlgorithm::all().filter(|algorithm| algorithm.policy() <= self).collect();
        let gcm = [Cipher::Aes128Gcm, Cipher::Aes256Gcm];
        let mut cipher = Vec::new();
        if fast_aes {
            cipher.extend(gcm);
            cipher.push(Cipher::ChaCha20Poly1305);
        } else {
            cipher.push(Cipher::ChaCha20Poly1305);
            cipher.extend(gcm);
        }
        cipher.extend([Cipher::Aes128Ctr, Cipher::Aes192Ctr, Cipher::Aes256Ctr]);
        let mut mac = alloc::vec![Mac::HmacSha256Etm, Mac::HmacSha512Etm, Mac::HmacSha256, Mac::HmacSha512];
        let mut compression = alloc::vec![Compression::None, Compression::ZlibOpenssh];
        if self >= Policy::Compat {
            kex.push(Kex::Group14Sha1);
            cipher.extend([Cipher::Aes128Cbc, Cipher::Aes192Cbc, Cipher::Aes256Cbc]);
            mac.extend([Mac::HmacSha1Etm, Mac::HmacSha1]);
        }
        if self >= Policy::LegacyDevice {
            kex.extend([Kex::GroupExchangeSha1, Kex::Group1Sha1]);
            cipher.push(Cipher::TripleDesCbc);
            mac.extend([Mac::HmacSha1_96, Mac::HmacMd5]);
            compression.push(Compression::Zlib);
        }
        Algorithms {
            kex,
            user_key: host_key.clone(),
            host_key,
            cipher: [cipher.clone(), cipher],
            mac: [mac.clone(), mac],
            compression: [compression.clone(), compression],
        }
    }
}

/// What one side is willing to use, in order of preference.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Algorithms {
    /// Key exchange methods.
    pub kex: Vec<Kex>,
    /// Host key signature algorithms.
    pub host_key: Vec<SignatureAlgorithm>,
    /// User key signature algorithms; not negotiated, but announced by a server.
    pub user_key: Vec<SignatureAlgorithm>,
    /// Ciphers, client to server and server to client.
    pub cipher: [Vec<Cipher>; 2],
    /// MACs, likewise.
    pub mac: [Vec<Mac>; 2],
    /// Compression, likewise.
    pub compression: [Vec<Compression>; 2],
}

impl Algorithms {
    /// Uses these ciphers in both directions.
    pub fn set_ciphers(&mut self, ciphers: &[Cipher]) -> &mut Self {
        self.cipher = [ciphers.to_vec(), ciphers.to_vec()];
        self
    }

    /// Uses these MACs in both directions.
    pub fn set_macs(&mut self, macs: &[Mac]) -> &mut Self {
        self.mac = [macs.to_vec(), macs.to_vec()];
        self
    }

    /// Uses these compression methods in both directions.
    pub fn set_compression(&mut self, methods: &[Compression]) -> &mut Self {
        self.compression = [methods.to_vec(), methods.to_vec()];
        self
    }

    /// What a server offers of a policy: no key exchange over a finite field, for which a stranger sends
    /// any number and has the server raise it to a long power (K-21, CVE-2002-20001; OpenSSH's sshd
    /// offers none since 10.0). A list that was made for old peers, with SHA-1, or that has nothing else,
    /// stays as it is.
    pub fn for_server(&mut self) -> &mut Self {
        let old = |kex: &Kex| kex.finite_field() && kex.hash() == HashAlgorithm::Sha1;
        if !self.kex.iter().any(old) && !self.kex.iter().all(|kex| kex.finite_field()) {
            self.kex.retain(|kex| !kex.finite_field());
        }
        self
    }

    /// Takes out what `provider` cannot compute: sntrup761, in a build without that feature. A connection does it
    /// with its own configuration when it begins.
    pub fn for_provider(&mut self, provider: &dyn Provider) -> &mut Self {
        self.kex.retain(|kex| computes(provider, *kex));
        self
    }

    /// Whether `provider` can compute all of it.
    pub(crate) fn fits_provider(&self, provider: &dyn Provider) -> bool {
        self.kex.iter().all(|kex| computes(provider, *kex))
    }

    /// Moves the signature algorithms of `known` to the front of the host key list without
    /// narrowing it, so that a server with a known key shows that one first.
    pub fn prefer_host_keys(&mut self, known: &[SignatureAlgorithm]) -> &mut Self {
        self.host_key.sort_by_key(|a| !known.contains(a));
        self
    }

    /// The payload of our KEXINIT; `prefix` as in [`Provider::prefix`](crate::crypto::Provider::prefix).
    pub(super) fn kexinit(&self, role: Role, prefix: &str, first: bool, cookie: [u8; 16]) -> Vec<u8> {
        let mut kex = join(prefix, self.kex.iter().map(|a| a.name()));
        if first {
            match role {
                Role::Client => kex.push("ext-info-c").push("kex-strict-c-v00@openssh.com"),
                Role::Server => kex.push("ext-info-s").push("kex-strict-s-v00@openssh.com"),
            };
        }
        let kex = kex.finish();
        let host_key = join(prefix, self.host_key.iter().map(|a| a.name())).finish();
        let cipher = self.cipher.each_ref().map(|l| join(prefix, l.iter().map(|a| a.name())).finish());
        let mac = self.mac.each_ref().map(|l| join(prefix, l.iter().map(|a| a.name())).finish());
        let compression = self.compression.each_ref().map(|l| join("", l.iter().map(|a| a.name())).finish());
        let mut out = Vec::new();
        let message = KexInit {
            cookie,
            kex: names(&kex),
            host_key: names(&host_key),
            cipher: cipher.each_ref().map(|l| names(l)),
            mac: mac.each_ref().map(|l| names(l)),
            compression: compression.each_ref().map(|l| names(l)),
            first_kex_packet_follows: false,
        };
        crate::msg::Message::put(&message, &mut out);
        out
    }
}

fn computes(provider: &dyn Provider, kex: Kex) -> bool {
    kex.kem().is_none_or(|kem| provider.kems().contains(&kem))
}

/// A list of our own names, which are short and printable: it always parses.
fn names(joined: &str) -> NameList<'_> {
    NameList::parse(joined.as_bytes()).unwrap_or(NameList::EMPTY)
}

fn join<'n>(prefix: &str, names: impl Iterator<Item = &'n str>) -> NameListBuilder {
    if prefix.is_empty() {
        return names.collect();
    }
    let mut list = NameListBuilder::new();
    for name in names {
        list.push(&[prefix, name].concat());
    }
    list
}

/// What the two sides agreed on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// Key exchange method.
    pub kex: Kex,
    /// Host key signature algorithm.
    pub host_key: SignatureAlgorithm,
    /// Cipher and MAC, client to server and server to client.
    pub protection: [Protection; 2],
    /// Compression, likewise.
    pub compression: [Compression; 2],
}

/// Picks the algorithms: the first of the client's that the server has too, category by category.
/// The MAC lists do not matter where the cipher is an AEAD.
pub(super) fn negotiate(
    role: Role,
    prefix: &str,
    ours: &Algorithms,
    theirs: &KexInit<'_>,
) -> Result<Negotiated, Failure> {
    let mut choice = Choice { role, prefix, failed: Vec::new() };
    use AlgorithmCategory as C;
    let kex = choice.pick(C::Kex, &ours.kex, theirs.kex, Kex::name);
    let host_key = choice.pick(C::HostKey, &ours.host_key, theirs.host_key, SignatureAlgorithm::name);
    let [cipher_cs, cipher_sc] = &ours.cipher;
    let [mac_cs, mac_sc] = &ours.mac;
    let [comp_cs, comp_sc] = &ours.compression;
    let [their_cipher_cs, their_cipher_sc] = theirs.cipher;
    let [their_mac_cs, their_mac_sc] = theirs.mac;
    let [their_comp_cs, their_comp_sc] = theirs.compression;
    let cs = choice.protection(
        (C::CipherClientToServer, cipher_cs, their_cipher_cs),
        (C::MacClientToServer, mac_cs, their_mac_cs),
    );
    let sc = choice.protection(
        (C::CipherServerToClient, cipher_sc, their_cipher_sc),
        (C::MacServerToClient, mac_sc, their_mac_sc),
    );
    // Compression is no cryptography: its names are everybody's.
    choice.prefix = "";
    let comp_cs = choice.pick(C::CompressionClientToServer, comp_cs, their_comp_cs, Compression::name);
    let comp_sc = choice.pick(C::CompressionServerToClient, comp_sc, their_comp_sc, Compression::name);
    match (kex, host_key, cs, sc, comp_cs, comp_sc) {
        (Some(kex), Some(host_key), Some(cs), Some(sc), Some(comp_cs), Some(comp_sc)) => {
            Ok(Negotiated { kex, host_key, protection: [cs, sc], compression: [comp_cs, comp_sc] })
        }
        _ => Err(Failure {
            fault: Fault::NoCommonAlgorithm,
            text: None,
            negotiation: Some(Box::new(NegotiationFailure { mismatches: choice.failed })),
        }),
    }
}

struct Choice<'p> {
    role: Role,
    prefix: &'p str,
    failed: Vec<Mismatch>,
}

impl Choice<'_> {
    fn protection(
        &mut self,
        cipher: (AlgorithmCategory, &[Cipher], NameList<'_>),
        mac: (AlgorithmCategory, &[Mac], NameList<'_>),
    ) -> Option<Protection> {
        let chosen = self.pick(cipher.0, cipher.1, cipher.2, Cipher::name);
        // Without a cipher, MACs matter if any of the peer's ciphers needs one: whoever mends the list
        // of ciphers should not run into that of MACs next.
        let needs_mac = match chosen {
            Some(cipher) => !cipher.aead(),
            None => cipher.2.iter().any(|n| !Cipher::from_name(n).is_some_and(Cipher::aead)),
        };
        if !needs_mac {
            return chosen.map(|cipher| Protection { cipher, mac: None });
        }
        let mac = self.pick(mac.0, mac.1, mac.2, Mac::name);
        Some(Protection { cipher: chosen?, mac: Some(mac?) })
    }

    fn pick<A: Copy + PartialEq>(
        &mut self,
        category: AlgorithmCategory,
        ours: &[A],
        theirs: NameList<'_>,
        name: fn(A) -> &'static str,
    ) -> Option<A> {
        let same = |a: &A, n: &str| n.strip_prefix(self.prefix) == Some(name(*a));
        let mine = || ours.iter().copied();
        let chosen = match self.role {
            Role::Client => mine().find(|a| theirs.iter().any(|n| same(a, n))),
            Role::Server => theirs.iter().find_map(|n| mine().find(|a| same(a, n))),
        };
        if chosen.is_none() {
            self.failed.push(Mismatch {
                category,
                ours: join(self.prefix, mine().map(name)).finish(),
                theirs: SshStr::new(theirs.as_str().as_bytes()).excerpt(2000),
                policy_that_would_match: Policy::ALL
                    .into_iter()
                    .find(|p| policy_names(*p, category).iter().any(|n| theirs.contains(n))),
            });
        }
        chosen
    }
}

fn policy_names(policy: Policy, category: AlgorithmCategory) -> Vec<&'static str> {
    let [ciphers, _] = &policy.algorithms(true).cipher;
    let all = policy.algorithms(true);
    use AlgorithmCategory as C;
    match category {
        C::Kex => all.kex.iter().map(|a| a.name()).collect(),
        C::HostKey => all.host_key.iter().map(|a| a.name()).collect(),
        C::CipherClientToServer | C::CipherServerToClient => ciphers.iter().map(|a| a.name()).collect(),
        C::MacClientToServer | C::MacServerToClient => {
            let [macs, _] = &all.mac;
            macs.iter().map(|a| a.name()).collect()
        }
        C::CompressionClientToServer | C::CompressionServerToClient => {
            let [methods, _] = &all.compression;
            methods.iter().map(|a| a.name()).collect()
        }
    }
}

/// Whether the peer's guess (`first_kex_packet_follows`) was right: both first choices agree.
pub(super) fn guess_was_right(ours: &KexInit<'_>, theirs: &KexInit<'_>) -> bool {
    ours.kex.iter().next() == theirs.kex.iter().next()
        && ours.host_key.iter().next() == theirs.host_key.iter().next()
}
