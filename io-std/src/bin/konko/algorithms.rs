//! Algorithm lists as OpenSSH writes them (ssh_config(5)): `a,b` replaces the default, `+a` appends,
//! `-a` removes, `^a` puts in front. Names may hold `*` and `?`.

use konko::core::crypto::{Cipher, Compression, Kex, Mac};
use konko::core::keys::{KeyType, SignatureAlgorithm};
use konko::core::text::pattern;
use konko::core::transport::negotiate::{Algorithms, Policy};

/// Applies `list` to `default`. `all` is what konko has at all, which may be more than any policy.
fn assemble<A: Copy + PartialEq>(
    list: &str,
    default: &[A],
    all: &[A],
    name: fn(A) -> &'static str,
    what: &str,
) -> Result<Vec<A>, String> {
    let (sign, patterns) = match list.split_at_checked(1) {
        Some((sign @ ("+" | "-" | "^"), rest)) => (sign, rest),
        _ => ("", list),
    };
    let mut chosen = Vec::new();
    for p in patterns.split(',').map(str::trim) {
        let matching: Vec<A> =
            all.iter().copied().filter(|a| pattern::matches(p.as_bytes(), name(*a).as_bytes())).collect();
        // To remove what is not there does no harm.
        if p.is_empty() || (matching.is_empty() && sign != "-") {
            let names: Vec<&str> = all.iter().map(|a| name(*a)).collect();
            return Err(format!("{what}: \"{p}\" is none of {}", names.join(",")));
        }
        chosen.extend(matching);
    }
    let without =
        |from: &[A], drop: &[A]| -> Vec<A> { from.iter().copied().filter(|a| !drop.contains(a)).collect() };
    let mut result = match sign {
        "+" => [default, &without(&chosen, default)].concat(),
        "-" => without(default, &chosen),
        "^" => [&chosen[..], &without(default, &chosen)].concat(),
        _ => chosen,
    };
    let mut seen: Vec<A> = Vec::new();
    result.retain(|a| {
        !seen.contains(a) && {
            seen.push(*a);
            true
        }
    });
    if result.is_empty() {
        return Err(format!("{what}: nothing is left of the list"));
    }
    Ok(result)
}

/// `CASignatureAlgorithms`, as a list changes the default.
pub fn authorities(list: &str) -> Result<Vec<SignatureAlgorithm>, String> {
    let default: Vec<_> = SignatureAlgorithm::of_authorities().collect();
    let all: Vec<_> = SignatureAlgorithm::all().filter(|a| !a.key_type().is_certificate()).collect();
    assemble(list, &default, &all, SignatureAlgorithm::name, "CASignatureAlgorithms")
}

/// The lists of algorithms that options may change; the first word counts.
#[derive(Debug, Default)]
pub struct Lists {
    pub kex: Option<String>,
    pub ciphers: Option<String>,
    pub macs: Option<String>,
    pub host_keys: Option<String>,
    pub user_keys: Option<String>,
}

impl Lists {
    /// Takes an option, its name in lower case; whether it is one of these.
    pub fn put(&mut self, key: &str, value: &str) -> bool {
        let list = match key {
            "kexalgorithms" => &mut self.kex,
            "ciphers" => &mut self.ciphers,
            "macs" => &mut self.macs,
            "hostkeyalgorithms" => &mut self.host_keys,
            "pubkeyacceptedalgorithms" | "pubkeyacceptedkeytypes" => &mut self.user_keys,
            _ => return false,
        };
        list.get_or_insert_with(|| value.to_owned());
        true
    }

    /// What a server has of the policy `Modern`, changed as the options say.
    pub fn for_server(&self, fast_aes: bool) -> Result<Algorithms, String> {
        let mut default = Policy::Modern.algorithms(fast_aes);
        default.for_server();
        self.change(default)
    }

    fn change(&self, mut a: Algorithms) -> Result<Algorithms, String> {
        if let Some(list) = &self.kex {
            a.kex = assemble(list, &a.kex, Kex::ALL, Kex::name, "KexAlgorithms")?;
        }
        if let Some(list) = &self.ciphers {
            a.set_ciphers(&assemble(list, &a.cipher[0], Cipher::ALL, Cipher::name, "Ciphers")?);
        }
        if let Some(list) = &self.macs {
            a.set_macs(&assemble(list, &a.mac[0], Mac::ALL, Mac::name, "MACs")?);
        }
        let all: Vec<SignatureAlgorithm> = SignatureAlgorithm::all().collect();
        if let Some(list) = &self.host_keys {
            a.host_key = assemble(list, &a.host_key, &all, SignatureAlgorithm::name, "HostKeyAlgorithms")?;
        }
        if let Some(list) = &self.user_keys {
            a.user_key =
                assemble(list, &a.user_key, &all, SignatureAlgorithm::name, "PubkeyAcceptedAlgorithms")?;
        }
        Ok(a)
    }
}

/// What `ssh -Q` can be asked for, with the names of options that mean the same.
const QUERIES: &[(&str, &[&str])] = &[
    ("cipher", &["ciphers"]),
    ("cipher-auth", &[]),
    ("compression", &[]),
    ("kex", &["kexalgorithms"]),
    ("key", &[]),
    ("key-cert", &[]),
    ("key-plain", &[]),
    (
        "key-sig",
        &[
            "hostkeyalgorithms",
            "hostbasedacceptedalgorithms",
            "pubkeyacceptedalgorithms",
            "pubkeyacceptedkeytypes",
        ],
    ),
    ("mac", &["macs"]),
    ("protocol-version", &[]),
    ("sig", &["casignaturealgorithms"]),
];

/// The names of what konko has of a kind; `None` if there is no such kind.
pub fn query(what: &str) -> Option<Vec<&'static str>> {
    let what = what.to_ascii_lowercase();
    if what == "help" {
        return Some(QUERIES.iter().map(|(name, _)| *name).collect());
    }
    let (name, _) = QUERIES.iter().find(|(name, others)| *name == what || others.contains(&what.as_str()))?;
    let signatures = || SignatureAlgorithm::all().map(SignatureAlgorithm::name);
    let types = || KeyType::all().map(|kind| kind.name());
    let is_cert = |name: &&str| name.contains("-cert-v0");
    Some(match *name {
        "cipher" => Cipher::ALL.iter().map(|a| a.name()).collect(),
        "cipher-auth" => {
            let auth = |name: &&str| name.contains("gcm@") || name.starts_with("chacha20-poly1305");
            Cipher::ALL.iter().map(|a| a.name()).filter(auth).collect()
        }
        "compression" => Compression::ALL.iter().map(|a| a.name()).collect(),
        "kex" => Kex::ALL.iter().map(|a| a.name()).collect(),
        "key" => types().collect(),
        "key-cert" => types().filter(is_cert).collect(),
        "key-plain" => types().filter(|name| !is_cert(name)).collect(),
        "mac" => Mac::ALL.iter().map(|a| a.name()).collect(),
        "protocol-version" => vec!["2"],
        "sig" => signatures().filter(|name| !is_cert(name)).collect(),
        _ => signatures().collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_follow_openssh() {
        let default = [Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305, Cipher::Aes128Ctr];
        let list = |list: &str| assemble(list, &default, Cipher::ALL, Cipher::name, "Ciphers");
        assert_eq!(list("3des-cbc"), Ok(vec![Cipher::TripleDesCbc]));
        assert_eq!(list("+3des-cbc,aes128-ctr").unwrap(), [&default[..], &[Cipher::TripleDesCbc]].concat());
        assert_eq!(list("-aes*").unwrap(), [Cipher::ChaCha20Poly1305]);
        assert_eq!(
            list("^aes128-ctr").unwrap(),
            [Cipher::Aes128Ctr, Cipher::Aes128Gcm, Cipher::ChaCha20Poly1305]
        );
        // The case counts (A13; OpenSSH `match_pattern_list` without `dolower`).
        for other in ["3DES-CBC", "+AES128-ctr", "^AES*"] {
            assert!(list(other).is_err(), "{other}");
        }
        assert_eq!(list("-AES*,AES128-CTR").unwrap(), default);
        assert!(list("rot13").unwrap_err().contains("rot13"));
        assert!(list("-*").is_err());
        assert_eq!(list("-rot13").unwrap(), default);
    }
}
