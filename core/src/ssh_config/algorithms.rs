//! Lists of algorithms: which names are known, and what a list comes to (`kex-names.c`, `kex_assemble_names`).

use alloc::vec::Vec;

use super::error::Wrong;
use super::keyword::Algorithms as Which;
use crate::crypto::{Cipher, Kex, Mac};
use crate::keys::SignatureAlgorithm;
use crate::text::pattern;

/// Names that OpenSSH has, whether konko has them or not: a list that works there is no mistake here.
const CIPHERS: &[&str] = &[
    "3des-cbc",
    "aes128-cbc",
    "aes192-cbc",
    "aes256-cbc",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
];
const MACS: &[&str] = &[
    "hmac-sha1",
    "hmac-sha1-96",
    "hmac-sha2-256",
    "hmac-sha2-512",
    "hmac-md5",
    "hmac-md5-96",
    "umac-64@openssh.com",
    "umac-128@openssh.com",
    "hmac-sha1-etm@openssh.com",
    "hmac-sha1-96-etm@openssh.com",
    "hmac-sha2-256-etm@openssh.com",
    "hmac-sha2-512-etm@openssh.com",
    "hmac-md5-etm@openssh.com",
    "hmac-md5-96-etm@openssh.com",
    "umac-64-etm@openssh.com",
    "umac-128-etm@openssh.com",
];
const KEX: &[&str] = &[
    "diffie-hellman-group1-sha1",
    "diffie-hellman-group14-sha1",
    "diffie-hellman-group14-sha256",
    "diffie-hellman-group16-sha512",
    "diffie-hellman-group18-sha512",
    "diffie-hellman-group-exchange-sha1",
    "diffie-hellman-group-exchange-sha256",
    "ecdh-sha2-nistp256",
    "ecdh-sha2-nistp384",
    "ecdh-sha2-nistp521",
    "curve25519-sha256",
    "curve25519-sha256@libssh.org",
    "sntrup761x25519-sha512",
    "sntrup761x25519-sha512@openssh.com",
    "mlkem768x25519-sha256",
];
const SIGNATURES: &[&str] = &[
    "ssh-ed25519",
    "ssh-ed25519-cert-v01@openssh.com",
    "sk-ssh-ed25519@openssh.com",
    "sk-ssh-ed25519-cert-v01@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp384-cert-v01@openssh.com",
    "ecdsa-sha2-nistp521",
    "ecdsa-sha2-nistp521-cert-v01@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    "webauthn-sk-ecdsa-sha2-nistp256@openssh.com",
    "ssh-rsa",
    "ssh-rsa-cert-v01@openssh.com",
    "rsa-sha2-256",
    "rsa-sha2-256-cert-v01@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-512-cert-v01@openssh.com",
];

/// All names of a kind, OpenSSH's in its order, then those that only konko has.
pub fn names(which: Which) -> Vec<&'static str> {
    let (theirs, ours): (_, Vec<&'static str>) = match which {
        Which::Ciphers => (CIPHERS, Cipher::ALL.iter().map(|a| a.name()).collect()),
        Which::Macs => (MACS, Mac::ALL.iter().map(|a| a.name()).collect()),
        Which::Kex => (KEX, Kex::ALL.iter().map(|a| a.name()).collect()),
        _ => (SIGNATURES, SignatureAlgorithm::all().map(|a| a.name()).collect()),
    };
    let mut all = theirs.to_vec();
    all.extend(ours.into_iter().filter(|name| !theirs.contains(name)));
    if which == Which::Authorities {
        all.retain(|name| !name.contains("-cert-v0"));
    }
    all
}

/// Whether each name of a list is known; patterns are for signatures alone, and what is taken away may be anything.
pub(super) fn check(which: Which, list: &[u8]) -> Result<(), Wrong> {
    let list = match list {
        [b'-', ..] => return Ok(()),
        [b'+' | b'^', rest @ ..] => rest,
        list => list,
    };
    let known = names(which);
    let wild = !matches!(which, Which::Ciphers | Which::Macs | Which::Kex);
    for name in list.split(|b| *b == b',') {
        if name.is_empty() && !wild {
            // OpenSSH looks no further; such a list comes to less when it is used.
            return Ok(());
        }
        let found = if wild {
            known.iter().any(|known| pattern::matches(name, known.as_bytes()))
        } else {
            known.iter().any(|known| known.as_bytes() == name)
        };
        if !found {
            return Err(Wrong::Algorithm(name.to_vec()));
        }
    }
    Ok(())
}

/// What a list comes to, given the default.
pub fn assemble(which: Which, list: &[u8], default: &[&'static str]) -> Vec<&'static str> {
    let known = names(which);
    let (sign, rest) = match list {
        [sign @ (b'+' | b'-' | b'^'), rest @ ..] => (Some(*sign), rest),
        list => (None, list),
    };
    let patterns: Vec<&[u8]> = rest.split(|b| *b == b',').collect();
    let fits = |name: &str| patterns.iter().any(|p| pattern::matches(p, name.as_bytes()));
    let mut chosen = Vec::new();
    for p in &patterns {
        chosen.extend(known.iter().copied().filter(|name| pattern::matches(p, name.as_bytes())));
    }
    let all = match sign {
        Some(b'+') => [default, &chosen].concat(),
        Some(b'^') => [&chosen, default].concat(),
        Some(_) => default.iter().copied().filter(|name| !fits(name)).collect(),
        None => chosen,
    };
    let mut unique = Vec::new();
    for name in all {
        if !unique.contains(&name) {
            unique.push(name);
        }
    }
    unique
}
