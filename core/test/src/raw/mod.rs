//! A peer that may break every rule: real cryptography with a seeded generator, and nothing that
//! stops it from sending any bytes or messages in any state, skipping, repeating or reordering.
//!
//! It computes exchange hashes and keys by itself, so it also checks the core's.

pub mod rig;

use std::sync::Arc;

use konko_core::crypto::kex::{Ephemeral, PublicValue, respond};
use konko_core::crypto::{
    Cipher, Compression, Digest, DirectionKeys, HashAlgorithm, Kex, Mac, PacketOpener, PacketSealer,
    Protection, Provider, Secret, SharedSecret,
};
use konko_core::keys::{KeyPair, SignatureAlgorithm};
use konko_core::msg::{self, KexInit, Message};
use konko_core::provider;
use konko_core::transport::negotiate::Role;
use konko_core::wire::{NameList, Reader, Sink};
use konko_core::{Rng, Seed};
use zlib_rs::{Deflate, DeflateFlush, Inflate, InflateFlush};

pub use rig::{Machine, Rig};

/// The password that the rig's server takes.
pub const PASSWORD: &str = "wonderland";

/// A message as its payload.
pub fn payload<'m>(message: &impl Message<'m>) -> Vec<u8> {
    let mut out = Vec::new();
    message.put(&mut out);
    out
}

/// A payload from a number and strings.
pub fn strings(number: u8, strings: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![number];
    strings.iter().for_each(|s| out.put_string(s));
    out
}

/// A USERAUTH_REQUEST up to the fields of its method (RFC 4252 §5).
pub fn userauth(user: &str, service: &str, method: &str) -> Vec<u8> {
    strings(50, &[user.as_bytes(), service.as_bytes(), method.as_bytes()])
}

/// One of the method `publickey`, without a signature (RFC 4252 §7): a whole one when `signed` is false.
pub fn publickey(user: &str, signed: bool, algorithm: &str, blob: &[u8]) -> Vec<u8> {
    let mut out = userauth(user, "ssh-connection", "publickey");
    out.put_bool(signed);
    out.put_string(algorithm.as_bytes());
    out.put_string(blob);
    out
}

/// The lists of the peer's KEXINIT.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Key exchange methods, with the markers.
    pub kex: String,
    /// Host key algorithms.
    pub host_key: String,
    /// Ciphers, client to server and server to client.
    pub cipher: [String; 2],
    /// MACs, likewise.
    pub mac: [String; 2],
    /// Compression, likewise.
    pub compression: [String; 2],
    /// `first_kex_packet_follows`.
    pub guess: bool,
    /// The reserved number at the end.
    pub reserved: u32,
    /// Languages, the same both ways.
    pub languages: String,
}

impl Offer {
    /// One fast algorithm a category, with the markers of strict key exchange and ext-info.
    pub fn fast(role: Role) -> Self {
        let side = if role == Role::Client { 'c' } else { 's' };
        let both = |s: &str| [s.to_string(), s.to_string()];
        Offer {
            kex: format!("curve25519-sha256,ext-info-{side},kex-strict-{side}-v00@openssh.com"),
            host_key: "ssh-ed25519".into(),
            cipher: both("aes128-gcm@openssh.com"),
            mac: both("hmac-sha2-256"),
            compression: both("none"),
            guess: false,
            reserved: 0,
            languages: String::new(),
        }
    }

    /// With this method.
    pub fn kex(mut self, kex: Kex) -> Self {
        let (_, markers) = self.kex.split_once(',').unwrap_or((&self.kex, ""));
        self.kex = format!("{},{markers}", kex.name());
        self
    }

    /// With this cipher in both directions, and this MAC.
    pub fn cipher(mut self, cipher: Cipher, mac: Option<Mac>) -> Self {
        self.cipher = [cipher.name().into(), cipher.name().into()];
        if let Some(mac) = mac {
            self.mac = [mac.name().into(), mac.name().into()];
        }
        self
    }

    /// Without the markers.
    pub fn lax(mut self) -> Self {
        self.kex = self.kex.split(',').next().unwrap().to_string();
        self
    }

    /// The whole KEXINIT.
    pub fn payload(&self, cookie: [u8; 16]) -> Vec<u8> {
        let mut out = vec![20];
        out.put(&cookie);
        for list in [&self.kex, &self.host_key]
            .into_iter()
            .chain(&self.cipher)
            .chain(&self.mac)
            .chain(&self.compression)
            .chain([&self.languages, &self.languages])
        {
            out.put_string(list.as_bytes());
        }
        out.put_bool(self.guess);
        out.put_u32(self.reserved);
        out
    }
}

/// What came out of negotiation: the first of the client's names that the server has too.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// The method.
    pub kex: Kex,
    /// The host key's algorithm.
    pub host_key: SignatureAlgorithm,
    /// Cipher and MAC, client to server and server to client.
    pub protection: [Protection; 2],
    /// Compression, likewise.
    pub compression: [Compression; 2],
}

fn choose(client: &KexInit<'_>, server: &KexInit<'_>) -> Chosen {
    let pick = |c: NameList<'_>, s: NameList<'_>| {
        c.iter().find(|n| s.contains(n)).map(str::to_string).unwrap_or_default()
    };
    let way = |i: usize| {
        let cipher = Cipher::from_name(&pick(client.cipher[i], server.cipher[i])).unwrap();
        let mac = (!cipher.aead()).then(|| Mac::from_name(&pick(client.mac[i], server.mac[i])).unwrap());
        Protection { cipher, mac }
    };
    let zip = |i: usize| Compression::from_name(&pick(client.compression[i], server.compression[i])).unwrap();
    Chosen {
        kex: Kex::from_name(&pick(client.kex, server.kex)).unwrap(),
        host_key: SignatureAlgorithm::from_name(&pick(client.host_key, server.host_key)).unwrap(),
        protection: [way(0), way(1)],
        compression: [zip(0), zip(1)],
    }
}

/// One end of a connection, without any rules.
pub struct RawPeer {
    /// Its own role.
    pub role: Role,
    /// All its chance.
    pub rng: Rng,
    /// Bytes for the machine.
    pub tx: Vec<u8>,
    /// Bytes from the machine that were not read yet.
    pub rx: Vec<u8>,
    /// The line with which it says who it is, without the end.
    pub ident: Vec<u8>,
    /// The machine's.
    pub their_ident: Vec<u8>,
    /// What its next KEXINIT says.
    pub offer: Offer,
    /// Its last KEXINIT.
    pub my_init: Vec<u8>,
    /// The machine's.
    pub their_init: Vec<u8>,
    /// What protects what it sends; `None`: nothing does.
    pub sealer: Option<Box<dyn PacketSealer>>,
    /// What opens what comes.
    pub opener: Option<Box<dyn PacketOpener>>,
    /// The sequence number of its next packet.
    pub out_seq: u32,
    /// That of the machine's.
    pub in_seq: u32,
    /// The first exchange hash; empty before it.
    pub session_id: Vec<u8>,
    /// A server's host key.
    pub host_key: Arc<KeyPair>,
    /// The host key's blob, if another than its own encoding is shown.
    pub host_blob: Option<Vec<u8>>,
    /// Zeros before r and s of the host's ECDSA signature.
    pub host_zeros: [usize; 2],
    /// What was agreed on.
    pub chosen: Option<Chosen>,
    /// Whether key exchange is strict (OpenSSH PROTOCOL §1.9).
    pub strict: bool,
    /// Padding of each of the machine's packets, opened, if it is kept.
    pub paddings: Option<Vec<Vec<u8>>>,
    /// The machine's EXT_INFO and other fillers are skipped by `next`.
    pub authenticated: bool,
    deflate: Option<Deflate>,
    inflate: Option<Inflate>,
    /// In force after the machine's NEWKEYS.
    pub next_opener: Option<Box<dyn PacketOpener>>,
    /// In force after its own.
    pub next_sealer: Option<Box<dyn PacketSealer>>,
    /// The client's secret of the exchange that runs.
    pub ephemeral: Option<(Ephemeral, PublicValue)>,
    gex: Option<GexGroup>,
    /// The sizes a client asks for: least, best, most (RFC 4419).
    pub gex_request: [u32; 3],
    /// The group a server shows: `None` is group 14.
    pub gex_group: Option<(Vec<u8>, Vec<u8>)>,
}

type GexGroup = ([u32; 3], Vec<u8>, Vec<u8>);

/// Where its cryptography comes from.
pub fn provider() -> &'static dyn Provider {
    provider::rustcrypto()
}

impl RawPeer {
    /// One that has said nothing yet.
    pub fn new(role: Role) -> Self {
        RawPeer {
            role,
            rng: Rng::from_seed(&Seed::new([77; 32])),
            tx: Vec::new(),
            rx: Vec::new(),
            ident: b"SSH-2.0-raw".to_vec(),
            their_ident: Vec::new(),
            offer: Offer::fast(role),
            my_init: Vec::new(),
            their_init: Vec::new(),
            sealer: None,
            opener: None,
            out_seq: 0,
            in_seq: 0,
            session_id: Vec::new(),
            host_key: crate::host_key(),
            host_blob: None,
            host_zeros: [0, 0],
            chosen: None,
            strict: false,
            paddings: None,
            authenticated: false,
            deflate: None,
            inflate: None,
            next_opener: None,
            next_sealer: None,
            ephemeral: None,
            gex: None,
            gex_request: [2048, 2048, 8192],
            gex_group: None,
        }
    }

    // ---- packets ----

    /// Block, tag, and whether the length counts as part of the first block.
    pub fn block(&self) -> (usize, usize, bool) {
        self.sealer.as_ref().map_or((8, 0, true), |s| {
            let shape = s.shape();
            (shape.block, shape.tag, shape.length_in_block)
        })
    }

    /// A well-formed packet with `payload`, as bytes.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let mut body = payload.to_vec();
        if let Some(deflate) = &mut self.deflate {
            body = deflated(deflate, payload);
        }
        let (block, _, whole) = self.block();
        let counted = body.len() + if whole { 5 } else { 1 };
        let mut pad = block - counted % block;
        if pad < 4 {
            pad += block;
        }
        let length = (body.len() + pad + 1) as u32;
        self.shaped(length, pad as u8, &body, pad)
    }

    /// A packet with any header: `length` and `pad` are said, `padding` bytes follow the payload.
    pub fn shaped(&mut self, length: u32, pad: u8, payload: &[u8], padding: usize) -> Vec<u8> {
        let (_, tag, _) = self.block();
        let mut packet = length.to_be_bytes().to_vec();
        packet.push(pad);
        packet.extend_from_slice(payload);
        packet.resize(packet.len() + padding, 0xaa);
        packet.resize(packet.len() + tag, 0);
        if let Some(sealer) = &mut self.sealer {
            sealer.seal(self.out_seq, &mut packet);
        }
        self.out_seq = self.out_seq.wrapping_add(1);
        packet
    }

    /// Queues one message.
    pub fn send(&mut self, payload: &[u8]) {
        let packet = self.packet(payload);
        self.tx.extend_from_slice(&packet);
    }

    /// The same for a message of the core.
    pub fn put<'m>(&mut self, message: &impl Message<'m>) {
        self.send(&payload(message));
    }

    /// Queues NEWKEYS and puts the sending keys in force.
    pub fn send_newkeys(&mut self) {
        self.send(&[21]);
        self.take_sealer();
    }

    /// Puts the sending keys in force, said or not.
    pub fn take_sealer(&mut self) {
        self.sealer = Some(self.next_sealer.take().expect("keys were derived"));
        if self.strict {
            self.out_seq = 0;
        }
        let way = usize::from(self.role == Role::Server);
        self.deflate = self.zips(way).then(new_deflate);
    }

    fn zips(&self, way: usize) -> bool {
        match self.chosen.as_ref().map(|c| c.compression[way]) {
            Some(Compression::Zlib) => true,
            Some(Compression::ZlibOpenssh) => self.authenticated,
            _ => false,
        }
    }

    /// Delayed compression, if it was agreed on.
    pub fn login_done(&mut self) {
        self.authenticated = true;
        let (out, into) = if self.role == Role::Client { (0, 1) } else { (1, 0) };
        let delayed =
            |way: usize, p: &Self| p.chosen.as_ref().unwrap().compression[way] == Compression::ZlibOpenssh;
        if delayed(out, self) {
            self.deflate = Some(new_deflate());
        }
        if delayed(into, self) {
            self.inflate = Some(new_inflate());
        }
    }

    /// The number of the machine's next message. What answers a KEXINIT or a reply made up by hand is
    /// only looked at, where it stands in clear.
    pub fn next_unless_newkeys(&mut self, sent: u8) -> Option<u8> {
        if self.opener.is_none() && sent != 21 {
            return (self.rx.len() > 5).then(|| self.rx[5]);
        }
        self.next().map(|m| m[0])
    }

    // ---- key exchange ----

    /// Queues its identification line.
    pub fn send_ident(&mut self) {
        self.tx.extend_from_slice(&self.ident);
        self.tx.extend_from_slice(b"\r\n");
    }

    /// Queues our KEXINIT.
    pub fn send_kexinit(&mut self) {
        let cookie = self.rng.array();
        self.my_init = self.offer.payload(cookie);
        let init = self.my_init.clone();
        self.send(&init);
    }

    /// Both KEXINITs are known: what was agreed on.
    pub fn agree(&mut self) -> Chosen {
        let (mine, theirs) = (self.my_init.clone(), self.their_init.clone());
        let (mine, theirs) = (KexInit::parse(&mine).unwrap(), KexInit::parse(&theirs).unwrap());
        let chosen = match self.role {
            Role::Client => choose(&mine, &theirs),
            Role::Server => choose(&theirs, &mine),
        };
        if self.session_id.is_empty() {
            self.strict =
                mine.kex.as_str().contains("kex-strict-") && theirs.kex.as_str().contains("kex-strict-");
        }
        self.chosen = Some(chosen.clone());
        chosen
    }

    fn hash_prefix(&self, blob: &[u8]) -> Vec<u8> {
        let (c, s) = match self.role {
            Role::Client => ((&self.ident, &self.my_init), (&self.their_ident, &self.their_init)),
            Role::Server => ((&self.their_ident, &self.their_init), (&self.ident, &self.my_init)),
        };
        let mut out = Vec::new();
        for part in [c.0, s.0, c.1, s.1] {
            out.put_string(part);
        }
        out.put_string(blob);
        if let Some(([min, n, max], p, g)) = &self.gex {
            out.put_u32(*min);
            out.put_u32(*n);
            out.put_u32(*max);
            out.put_mpint(p);
            out.put_mpint(g);
        }
        out
    }

    /// Client: queues the first message of the method.
    pub fn send_kex_init(&mut self) {
        let kex = self.chosen.as_ref().unwrap().kex;
        if kex.group_exchange() {
            let [min, n, max] = self.gex_request;
            return self.put(&msg::GexRequest::new(min, n, max));
        }
        let (ephemeral, public) = Ephemeral::client(kex, &mut self.rng, provider()).unwrap();
        match &public {
            PublicValue::String(q) => self.put(&msg::EcdhInit::new(q)),
            PublicValue::Mpint(e) => self.put(&msg::DhInit::new(e)),
        }
        self.ephemeral = Some((ephemeral, public));
    }

    /// Client: takes GEX_GROUP and queues GEX_INIT.
    pub fn on_gex_group(&mut self, message: &[u8]) {
        let m = msg::GexGroup::parse(message).unwrap();
        let (ephemeral, public) = Ephemeral::dh(m.p, m.g, &mut self.rng, provider()).unwrap();
        if let PublicValue::Mpint(e) = &public {
            self.put(&msg::GexInit::new(e));
        }
        self.gex = Some((self.gex_request, m.p.to_vec(), m.g.to_vec()));
        self.ephemeral = Some((ephemeral, public));
    }

    /// Client: takes the reply, checks the signature over a hash of its own, and derives the keys.
    pub fn on_kex_reply(&mut self, message: &[u8]) {
        let chosen = self.chosen.clone().unwrap();
        let (ephemeral, public) = self.ephemeral.take().unwrap();
        let mut r = Reader::new(&message[1..]);
        let blob = r.string().unwrap();
        let server = match &public {
            PublicValue::String(_) => PublicValue::String(r.string().unwrap().to_vec()),
            PublicValue::Mpint(_) => PublicValue::Mpint(r.mpint().unwrap().to_vec()),
        };
        let signature = r.string().unwrap();
        let shared = ephemeral.finish(&server, provider()).unwrap();
        let mut hashed = self.hash_prefix(blob);
        public.put(&mut hashed);
        server.put(&mut hashed);
        hashed.put(shared.encoded());
        let hash = Digest::of(provider(), chosen.kex.hash(), &[&hashed]);
        let key = konko_core::keys::PublicKey::from_blob(blob).unwrap();
        konko_core::keys::signature::verify(provider(), &key, chosen.host_key, hash.as_bytes(), signature)
            .expect("the server signed the hash that we compute");
        self.derive(&shared, hash.as_bytes());
    }

    /// Server: answers the client's first message of the method: GEX_GROUP, or the reply.
    pub fn on_kex_init(&mut self, message: &[u8]) -> Vec<u8> {
        let chosen = self.chosen.clone().unwrap();
        if message[0] == 34 {
            let m = msg::GexRequest::parse(message).unwrap();
            let group = &konko_core::crypto::groups::GROUP14;
            let (p, g) = self.gex_group.clone().unwrap_or((group.p.to_vec(), group.g.to_vec()));
            self.gex = Some(([m.min, m.n, m.max], p.clone(), g.clone()));
            return payload(&msg::GexGroup::new(&p, &g));
        }
        let mut r = Reader::new(&message[1..]);
        let dh = self.gex.is_some() || konko_core::crypto::groups::fixed(chosen.kex).is_some();
        let client = if dh {
            PublicValue::Mpint(r.mpint().unwrap().to_vec())
        } else {
            PublicValue::String(r.string().unwrap().to_vec())
        };
        let (public, shared) = match &self.gex {
            Some((_, p, g)) => {
                let (own, public) = Ephemeral::dh(p, g, &mut self.rng, provider()).unwrap();
                (public, own.finish(&client, provider()).unwrap())
            }
            None => respond(chosen.kex, &client, &mut self.rng, provider()).unwrap(),
        };
        self.reply_with(&client, &public, &shared)
    }

    /// Server: the reply for these values, signed, with the keys derived.
    pub fn reply_with(
        &mut self,
        client: &PublicValue,
        public: &PublicValue,
        shared: &SharedSecret,
    ) -> Vec<u8> {
        let chosen = self.chosen.clone().unwrap();
        let blob = self.host_blob.clone().unwrap_or_else(|| self.host_key.public().to_blob());
        let mut hashed = self.hash_prefix(&blob);
        client.put(&mut hashed);
        public.put(&mut hashed);
        hashed.put(shared.encoded());
        let hash = Digest::of(provider(), chosen.kex.hash(), &[&hashed]);
        let algorithm = *self
            .host_key
            .public()
            .signature_algorithms()
            .iter()
            .find(|a| **a == chosen.host_key)
            .unwrap_or(&self.host_key.public().signature_algorithms()[0]);
        let mut signature = self.host_key.clone().sign(algorithm, hash.as_bytes(), &mut self.rng).unwrap();
        if self.host_zeros != [0, 0] {
            signature = padded(&signature, self.host_zeros);
        }
        let mut out = vec![if self.gex.is_some() { 33 } else { 31 }];
        out.put_string(&blob);
        public.put(&mut out);
        out.put_string(&signature);
        self.derive(shared, hash.as_bytes());
        out
    }

    /// Keys of both directions (RFC 4253 §7.2), written down a second time.
    pub fn derive(&mut self, shared: &SharedSecret, hash: &[u8]) {
        if self.session_id.is_empty() {
            self.session_id = hash.to_vec();
        }
        self.gex = None;
        let chosen = self.chosen.clone().unwrap();
        let algorithm = chosen.kex.hash();
        let material = |letter: u8, len: usize| {
            let mut out = Vec::new();
            while out.len() < len {
                let tail: Vec<u8> =
                    if out.is_empty() { [&[letter][..], &self.session_id].concat() } else { out.clone() };
                out.extend_from_slice(digest(algorithm, &[shared.encoded(), hash, &tail]).as_bytes());
            }
            Secret::copy_of(&out[..len])
        };
        let keys = |way: usize, [iv, key, mac]: [u8; 3]| {
            let p = chosen.protection[way];
            let keys = DirectionKeys {
                iv: material(iv, p.cipher.iv_len()),
                key: material(key, p.cipher.key_len()),
                mac: material(mac, p.mac.map_or(0, |m| m.key_len())),
            };
            (p, keys)
        };
        let (cs, sc) = (keys(0, *b"ACE"), keys(1, *b"BDF"));
        let (out, into) = if self.role == Role::Client { (cs, sc) } else { (sc, cs) };
        self.next_sealer = Some(provider().sealer(out.0, &out.1).unwrap());
        self.next_opener = Some(provider().opener(into.0, &into.1).unwrap());
    }

    /// A publickey request with its signature.
    pub fn key_request(
        &mut self,
        user: &str,
        key: &KeyPair,
        algorithm: SignatureAlgorithm,
        id: &[u8],
    ) -> Vec<u8> {
        self.key_request_as(user, key, &key.public().to_blob(), algorithm, id)
    }

    /// The same with any blob for the key.
    pub fn key_request_as(
        &mut self,
        user: &str,
        key: &KeyPair,
        blob: &[u8],
        algorithm: SignatureAlgorithm,
        id: &[u8],
    ) -> Vec<u8> {
        let mut request = publickey(user, true, algorithm.name(), blob);
        let mut signed = Vec::new();
        signed.put_string(id);
        signed.put(&request);
        let signature = key.sign(algorithm, &signed, &mut self.rng).unwrap();
        request.put_string(&signature);
        request
    }
}

/// The messages of the machine, opened; its identification line and its NEWKEYS take effect on the way.
impl Iterator for RawPeer {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        if self.their_ident.is_empty() {
            let end = self.rx.windows(2).position(|w| w == b"\r\n")?;
            self.their_ident = self.rx[..end].to_vec();
            self.rx.drain(..end + 2);
        }
        let shape = self.opener.as_ref().map_or(konko_core::crypto::Shape::PLAIN, |o| o.shape());
        if self.rx.len() < shape.head.max(4) {
            return None;
        }
        let mut head = self.rx[..shape.head].to_vec();
        // Asking for the length changes the state of some ciphers, so look at the whole input first.
        let length = match &mut self.opener {
            Some(opener) => opener.length(self.in_seq, &mut head),
            None => u32::from_be_bytes(head[..4].try_into().unwrap()),
        } as usize;
        let total = 4 + length + shape.tag;
        assert!(self.rx.len() >= total, "the machine sends whole packets");
        self.rx[..shape.head].copy_from_slice(&head);
        let mut packet: Vec<u8> = self.rx.drain(..total).collect();
        if let Some(opener) = &mut self.opener {
            opener.open(self.in_seq, &mut packet).expect("the machine's packets are genuine");
        }
        self.in_seq = self.in_seq.wrapping_add(1);
        let pad = packet[4] as usize;
        let mut body = packet[5..4 + length - pad].to_vec();
        if let Some(paddings) = &mut self.paddings {
            paddings.push(packet[4 + length - pad..4 + length].to_vec());
        }
        if let Some(inflate) = &mut self.inflate {
            body = inflated(inflate, &body);
        }
        match body[0] {
            20 => self.their_init = body.clone(),
            21 => {
                self.opener = Some(self.next_opener.take().expect("NEWKEYS after the keys were derived"));
                if self.strict {
                    self.in_seq = 0;
                }
                let way = usize::from(self.role == Role::Client);
                self.inflate = self.zips(way).then(new_inflate);
            }
            52 if self.role == Role::Client => self.login_done(),
            _ => {}
        }
        Some(body)
    }
}

/// An ECDSA signature blob with zeros in front of its numbers.
pub fn padded(blob: &[u8], zeros: [usize; 2]) -> Vec<u8> {
    let mut outer = Reader::new(blob);
    let name = outer.string().unwrap();
    let mut numbers = Reader::new(outer.string().unwrap());
    let mut inner = Vec::new();
    for n in zeros {
        inner.put_string(&[&vec![0; n][..], numbers.string().unwrap()].concat());
    }
    strings(0, &[name, &inner])[1..].to_vec()
}

fn digest(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Digest {
    Digest::of(provider(), algorithm, parts)
}

fn new_deflate() -> Deflate {
    Deflate::new(6, true, 15)
}

fn new_inflate() -> Inflate {
    Inflate::new(true, 15)
}

/// What goes out when this is compressed.
pub fn deflated(deflate: &mut Deflate, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0; payload.len() * 2 + 1024];
    let (taken, given) = (deflate.total_in(), deflate.total_out());
    deflate.compress(payload, &mut out, DeflateFlush::PartialFlush).unwrap();
    assert_eq!(deflate.total_in() - taken, payload.len() as u64);
    out.truncate((deflate.total_out() - given) as usize);
    out
}

fn inflated(inflate: &mut Inflate, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 1 << 20];
    let (taken, given) = (inflate.total_in(), inflate.total_out());
    inflate.decompress(data, &mut out, InflateFlush::SyncFlush).unwrap();
    assert_eq!(inflate.total_in() - taken, data.len() as u64);
    out.truncate((inflate.total_out() - given) as usize);
    out
}
