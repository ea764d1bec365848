//! Published test vectors, through the provider seam, for every provider of this build.

mod crypto_support;

use crypto_support::*;
use konko_core::crypto::{Cipher, Curve, Digest, HashAlgorithm, Mac, Protection, Provider};
use konko_core::keys::SignatureAlgorithm;

fn hash(provider: &dyn Provider, algorithm: HashAlgorithm, parts: &[&[u8]]) -> Vec<u8> {
    Digest::of(provider, algorithm, parts).as_bytes().to_vec()
}

/// HMAC (RFC 2104) from the provider's hash: an oracle for the MACs inside packets, which can
/// only be reached with a sequence number in front and a key of fixed length.
fn hmac(provider: &dyn Provider, algorithm: HashAlgorithm, key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let block = if algorithm.len() > 32 { 128 } else { 64 };
    let mut key = if key.len() > block { hash(provider, algorithm, &[key]) } else { key.to_vec() };
    key.resize(block, 0);
    let inner: Vec<u8> = key.iter().map(|b| b ^ 0x36).collect();
    let outer: Vec<u8> = key.iter().map(|b| b ^ 0x5c).collect();
    let mut all: Vec<&[u8]> = vec![&inner];
    all.extend_from_slice(parts);
    hash(provider, algorithm, &[&outer, &hash(provider, algorithm, &all)])
}

#[test]
fn hashes_of_abc() {
    for p in providers() {
        let of = |algorithm| hash(p, algorithm, &[b"a", b"", b"bc"]);
        assert_eq!(of(HashAlgorithm::Md5), hex("900150983cd24fb0d6963f7d28e17f72"));
        assert_eq!(of(HashAlgorithm::Sha1), hex("a9993e364706816aba3e25717850c26c9cd0d89d"));
        let sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(HashAlgorithm::Sha256), hex(sha256));
        let sha384 = "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed
            8086072ba1e7cc2358baeca134c825a7";
        assert_eq!(of(HashAlgorithm::Sha384), hex(sha384));
        let sha512 = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a
            2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";
        assert_eq!(of(HashAlgorithm::Sha512), hex(sha512));
    }
}

/// RFC 4231 §4.2, §4.3, §4.7.
#[rustfmt::skip]
const RFC_4231: &[(HashAlgorithm, &[u8], &[u8], &str)] = &[
    (HashAlgorithm::Sha256, &[0x0b; 20], b"Hi There", "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
    (HashAlgorithm::Sha384, &[0x0b; 20], b"Hi There", "afd03944d84895626b0825f4ab46907f15f9dadbe4101ec682aa034c7cebc59cfaea9ea9076ede7f4af152e8b2fa9cb6"),
    (HashAlgorithm::Sha512, &[0x0b; 20], b"Hi There", "87aa7cdea5ef619d4ff0b4241a1d6cb02379f4e2ce4ec2787ad0b30545e17cdedaa833b7d6b8a702038b274eaea3f4e4be9d914eeb61f1702e696c203a126854"),
    (HashAlgorithm::Sha256, b"Jefe", b"what do ya want for nothing?", "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
    (HashAlgorithm::Sha384, b"Jefe", b"what do ya want for nothing?", "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649"),
    (HashAlgorithm::Sha512, b"Jefe", b"what do ya want for nothing?", "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"),
    (HashAlgorithm::Sha256, &[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First", "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"),
    (HashAlgorithm::Sha384, &[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First", "4ece084485813e9088d2c63a041bc5b44f9ef1012a2b588f3cd11f05033ac4c60c2ef6ab4030fe8296248df163f44952"),
    (HashAlgorithm::Sha512, &[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First", "80b24263c7c1a3ebb71493c1dd7be8b49b46d1f41b4aeec1121b013783f8f3526b56d037e05f2598bd0fd2215d6a1e5295e64f73f63f0aec8b915a985d786598"),
];

#[test]
fn hmac_of_rfc_4231_and_rfc_2202() {
    for p in providers() {
        for &(algorithm, key, message, tag) in RFC_4231 {
            assert_eq!(hmac(p, algorithm, key, &[message]), hex(tag), "{algorithm:?}");
        }
        let sha1 = hmac(p, HashAlgorithm::Sha1, &[0x0b; 20], &[b"Hi There"]);
        assert_eq!(sha1, hex("b617318655057264e28bc0b6fb378c8ef146be00"));
        let md5 = hmac(p, HashAlgorithm::Md5, &[0x0b; 16], &[b"Hi There"]);
        assert_eq!(md5, hex("9294727a3638bb1c13f48ef8158bfc9d"));
    }
}

#[test]
fn macs_of_packets_are_hmac_over_sequence_number_and_packet() {
    for p in providers() {
        for protection in protections() {
            let Some(mac) = protection.mac else { continue };
            let keys = pattern_keys(protection);
            let mut sealer = p.sealer(protection, &keys).unwrap();
            let shape = sealer.shape();
            for seq in [0u32, 1, 0x0102_0304, u32::MAX] {
                let plain = packet(shape, 3);
                let mut sealed = plain.clone();
                sealer.seal(seq, &mut sealed);
                let (body, tag) = sealed.split_at(sealed.len() - shape.tag);
                let covered = if mac.etm() { body } else { &plain[..body.len()] };
                let full = hmac(p, mac.hash(), keys.mac.expose(), &[&seq.to_be_bytes(), covered]);
                assert_eq!(tag, &full[..shape.tag], "{protection:?}");
            }
        }
    }
}

/// `data/packets.txt`: packets sealed by OpenSSL.
#[test]
fn v18_v19_packets_of_every_protection_are_openssls() {
    let table: Vec<Vec<&str>> =
        include_str!("data/packets.txt").lines().map(|line| line.split(' ').collect()).collect();
    let all = protections();
    assert_eq!(table.len(), all.len());
    for p in providers() {
        for &protection in &all {
            let mac = protection.mac.map_or("-", |mac| mac.name());
            let row = table.iter().find(|row| row[0] == protection.cipher.name() && row[1] == mac).unwrap();
            let sealed = oracle_packets(p, protection);
            assert_eq!(
                hash(p, HashAlgorithm::Sha256, &[&sealed]),
                hex(row[2]),
                "{protection:?} on {}",
                p.name()
            );
        }
    }
}

fn oracle_packets(p: &dyn Provider, protection: Protection) -> Vec<u8> {
    let mut sealer = p.sealer(protection, &pattern_keys(protection)).unwrap();
    let mut all = Vec::new();
    for (i, blocks) in [1, 2, 3, 17, 2048].into_iter().enumerate() {
        let mut packet = packet(sealer.shape(), blocks);
        sealer.seal(0xffff_fffeu32.wrapping_add(i as u32), &mut packet);
        all.extend(packet);
    }
    all
}

const NIST_PLAIN: &str = "6bc1bee22e409f96e93d7e117393172a ae2d8a571e03ac9c9eb76fac45af8e51
    30c81c46a35ce411e5fbc1191a0a52ef f69f2445df4f9b17ad2b417be66c3710";
const NIST_KEYS: [&str; 3] = [
    "2b7e151628aed2a6abf7158809cf4f3c",
    "8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b",
    "603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4",
];

/// NIST SP 800-38A F.2 (CBC) and F.5 (CTR).
#[test]
fn aes_modes_of_sp_800_38a() {
    let rows = [
        (
            Cipher::Aes128Ctr,
            0,
            "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff
            5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee",
        ),
        (
            Cipher::Aes192Ctr,
            1,
            "1abc932417521ca24f2b0459fe7e6e0b090339ec0aa6faefd5ccc2c6f4ce8e94
            1e36b26bd1ebc670d1bd1d665620abf74f78a7f6d29809585a97daec58c6b050",
        ),
        (
            Cipher::Aes256Ctr,
            2,
            "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5
            2b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6",
        ),
        (
            Cipher::Aes128Cbc,
            0,
            "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b2
            73bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7",
        ),
        (
            Cipher::Aes192Cbc,
            1,
            "4f021db243bc633d7178183a9fa071e8b4d9ada9ad7dedf4e5e738763f69145a
            571b242012fb7ae07fa9baac3df102e008b0e27988598881d920a9e64f5615cd",
        ),
        (
            Cipher::Aes256Cbc,
            2,
            "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d
            39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b",
        ),
    ];
    for p in providers() {
        for (cipher, key, expected) in rows {
            let protection = Protection { cipher, mac: Some(Mac::HmacSha256) };
            let iv = if cipher.cbc() { (0..0x10u8).collect() } else { (0xf0..=0xffu8).collect() };
            let keys = keys(protection, hex(NIST_KEYS[key]), iv, vec![0; 32]);
            let mut sealer = p.sealer(protection, &keys).unwrap();
            // Two packets: the mode goes on where it stood.
            let mut out = Vec::new();
            for half in hex(NIST_PLAIN).chunks(32) {
                let mut packet = [half, &[0; 32]].concat();
                sealer.seal(0, &mut packet);
                out.extend_from_slice(&packet[..32]);
            }
            assert_eq!(out, hex(expected), "{cipher}");
        }
    }
}

/// The GCM specification's test case 3; the tag covers our length field, so it differs.
#[test]
fn aes_gcm_ciphertext_of_the_gcm_specification() {
    let key = hex("feffe9928665731c6d6a8f9467308308");
    let plain = hex("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72
        1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255");
    let cipher = hex("42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e
        21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985");
    let protection = Protection { cipher: Cipher::Aes128Gcm, mac: None };
    for p in providers() {
        let keys = keys(protection, key.clone(), hex("cafebabefacedbaddecaf888"), vec![]);
        let mut packet = [&[0; 4], &plain[..], &[0; 16]].concat();
        p.sealer(protection, &keys).unwrap().seal(0, &mut packet);
        assert_eq!(packet[4..68], cipher);
    }
}

/// RFC 8439 A.1: blocks 0 and 1 of the stream for an all-zero key and nonce.
#[test]
fn chacha20_stream_of_rfc_8439() {
    let protection = Protection { cipher: Cipher::ChaCha20Poly1305, mac: None };
    let block1 = hex("9f07e7be5551387a98ba977c732d080dcb0f29a048e3656912c6533e32ee7aed
        29b721769ce64e43d57133b074d839d531ed1f28510afb45ace10a1f4b794d6f");
    for p in providers() {
        let keys = keys(protection, vec![0; 64], vec![], vec![]);
        let mut packet = vec![0; 4 + 64 + 16];
        p.sealer(protection, &keys).unwrap().seal(0, &mut packet);
        assert_eq!(packet[..4], hex("76b8e0ad"));
        assert_eq!(packet[4..68], block1);
    }
}

/// The payload's stream and the order of the two keys, against the crate that has the IETF form.
#[test]
fn v19_the_first_half_of_the_key_encrypts_the_payload() {
    use chacha20poly1305::aead::{Aead, KeyInit};
    let protection = Protection { cipher: Cipher::ChaCha20Poly1305, mac: None };
    for p in providers() {
        let mut sealer = p.sealer(protection, &pattern_keys(protection)).unwrap();
        for seq in [0u32, 1, 7, 0xdead_beef] {
            let plain = packet(sealer.shape(), 40);
            let mut sealed = plain.clone();
            sealer.seal(seq, &mut sealed);
            let mut nonce = [0; 12];
            nonce[8..].copy_from_slice(&seq.to_be_bytes());
            let body = &plain[4..plain.len() - 16];
            let [payload, length] = [0, 32].map(|at| {
                let key: [u8; 32] = pattern(64, 1)[at..at + 32].try_into().unwrap();
                let aead = chacha20poly1305::ChaCha20Poly1305::new(&key.into());
                aead.encrypt(&nonce.into(), body).unwrap()
            });
            assert_eq!(sealed[4..4 + body.len()], payload[..body.len()]);
            assert_ne!(sealed[4..4 + body.len()], length[..body.len()]);
        }
    }
}

/// RFC 7748 §5.2 and §6.1.
#[test]
fn x25519_of_rfc_7748() {
    for p in providers() {
        let scalar = hex32("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4");
        let point = hex32("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c");
        let product = hex32("c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
        assert_eq!(p.x25519(&scalar, &point).unwrap().expose(), product);

        let secret = hex32("5dab087e624a8a4b79e17f8b83800ee66f3bb1292618b6fd1c2f8b27ff88e0eb");
        let public = hex32("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f");
        let alice = hex32("8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a");
        let shared = hex32("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742");
        assert_eq!(p.x25519_public(&secret), public);
        assert_eq!(p.x25519(&secret, &alice).unwrap().expose(), shared);

        let mut nine = [0; 32];
        nine[0] = 9;
        let (mut k, mut u) = (nine, nine);
        for _ in 0..1000 {
            let next: [u8; 32] = p.x25519(&k, &u).unwrap().expose().try_into().unwrap();
            (k, u) = (next, k);
        }
        assert_eq!(k, hex32("684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51"));
    }
}

/// RFC 8032 §7.1: secret key, public key, message, signature.
const RFC_8032: [[&str; 4]; 3] = [
    [
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155
         5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da
         085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
];

#[test]
fn ed25519_of_rfc_8032() {
    for p in providers() {
        for [secret, public, message, signature] in RFC_8032 {
            let (message, signature) = (hex(message), hex(signature));
            let signer = p.signer("ssh-ed25519", &ed25519_private(&hex32(secret)).fields).unwrap();
            assert_eq!(signer.sign(None, &message, &mut rng(0)).unwrap(), signature);
            let public = ed25519(&hex(public));
            assert!(verify(p, SignatureAlgorithm::ED25519, &public, &message, &signature).is_ok());
        }
    }
}

/// RFC 6979 A.2.5, A.2.6, A.2.7, message "sample", the curve's own hash: secret, r, s.
const RFC_6979: [(Curve, [&str; 3]); 3] = [
    (
        Curve::P256,
        [
            "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721",
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716",
            "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ],
    ),
    (
        Curve::P384,
        [
            "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA
             9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA7
             3D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46",
            "99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526
             203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
        ],
    ),
    (
        Curve::P521,
        [
            "00FAD06DAA62BA3B25D2FB40133DA757205DE67F5BB0018FEE8C86E1B68C7E75
             CAA896EB32F1F47C70855836A6D16FCC1466F6D8FBEC67DB89EC0C08B0E996B83538",
            "00C328FAFCBD79DD77850370C46325D987CB525569FB63C5D3BC53950E6D4C5F
             174E25A1EE9017B5D450606ADD152B534931D7D4E8455CC91F9B15BF05EC36E377FA",
            "00617CCE7CF5064806C467F678D3B4080D6F1CC50AF26CA209417308281B68AF
             282623EAA63E5B5C0723D8B8C37FF0777B1A20F8CCB1DCCC43997F1EE0E44DA4A67A",
        ],
    ),
];

#[test]
fn t03_ecdsa_of_rfc_6979() {
    for p in providers() {
        for (curve, [secret, r, s]) in RFC_6979 {
            let expected = [hex(r), hex(s)].concat();
            // Leading zeros come and go in mpints.
            for secret in [hex(secret), [&[0], &hex(secret)[..]].concat()] {
                let signer = p.signer(curve.key_type(), &ecdsa_private(curve, &secret).fields).unwrap();
                let signature = signer.sign(Some(curve.hash()), b"sample", &mut rng(0)).unwrap();
                assert_eq!(signature, expected, "{curve:?}");
            }
        }
        let short = ecdsa_private(Curve::P521, &hex(RFC_6979[2].1[0])[1..]);
        let signer = p.signer(short.kind, &short.fields).unwrap();
        assert!(signer.sign(Some(HashAlgorithm::Sha512), b"sample", &mut rng(0)).is_ok());
    }
}

/// `data/rsa.txt`: keys and signatures made by OpenSSL.
#[test]
fn rsa_signatures_are_openssls() {
    for p in providers() {
        for key in RsaFixture::all() {
            let signer = p.signer("ssh-rsa", &key.private().fields).unwrap();
            let signatures = [
                (SignatureAlgorithm::RSA_SHA512, &key.sha512),
                (SignatureAlgorithm::RSA_SHA256, &key.sha256),
                (SignatureAlgorithm::RSA_SHA1, &key.sha1),
            ];
            for (algorithm, expected) in signatures {
                let signature = signer.sign(algorithm.hash(), b"konko", &mut rng(7)).unwrap();
                assert_eq!(&signature, expected, "{} {algorithm}", key.name);
                assert!(verify(p, algorithm, &key.public(), b"konko", expected).is_ok());
                assert!(verify(p, algorithm, &key.public(), b"konkO", expected).is_err());
            }
            assert!(signer.sign(None, b"konko", &mut rng(7)).is_err(), "another kind of key");
        }
    }
}
