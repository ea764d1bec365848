//! `PerSourcePenalties` and its neighbours, as in sshd_config(5).

use konko::core::admission::{Addresses, Overflow, Penalties};

use crate::values::{flag, number, time};

/// `PerSourcePenalties`: `no`, or `yes`, or `key:value` separated by blanks, which change the default.
pub fn parse(value: &str) -> Result<Option<Penalties>, String> {
    let mut penalties = Penalties::default();
    let words: Vec<&str> = value.split_whitespace().collect();
    if let [word] = words[..]
        && !word.contains(':')
    {
        return Ok(flag(word)?.then_some(penalties));
    }
    for word in words {
        let wrong = || format!("\"{word}\" is not a penalty such as authfail:5s");
        let (key, value) = word.split_once(':').ok_or_else(wrong)?;
        match key.to_ascii_lowercase().as_str() {
            "crash" => penalties.crash = time(value)?,
            "authfail" => penalties.auth_fail = time(value)?,
            "invaliduser" => penalties.invalid_user = time(value)?,
            "noauth" => penalties.no_auth = time(value)?,
            "grace-exceeded" => penalties.grace_exceeded = time(value)?,
            "refuseconnection" => penalties.refuse_connection = time(value)?,
            "min" => penalties.min = time(value)?,
            "max" => penalties.max = time(value)?,
            "max-sources4" => penalties.sources[0] = sources(value)?,
            "max-sources6" => penalties.sources[1] = sources(value)?,
            "overflow" => penalties.overflow = [overflow(value)?; 2],
            "overflow6" => penalties.overflow[1] = overflow(value)?,
            _ => return Err(wrong()),
        }
    }
    if penalties.min > penalties.max {
        return Err("the min of penalties is more than their max".into());
    }
    Ok(Some(penalties))
}

fn sources(value: &str) -> Result<usize, String> {
    number(value).and_then(|n: usize| if n > 0 { Ok(n) } else { Err("0 sources are none".into()) })
}

fn overflow(value: &str) -> Result<Overflow, String> {
    match value {
        "permissive" => Ok(Overflow::Permissive),
        "deny-all" => Ok(Overflow::DenyAll),
        _ => Err(format!("\"{value}\" is neither permissive nor deny-all")),
    }
}

/// `PerSourcePenaltyExemptList`: patterns of addresses, or `none`.
pub fn exempt(value: &str) -> Result<Option<Addresses>, String> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let list = Addresses::parse(value.as_bytes());
    list.map(Some).ok_or_else(|| format!("\"{value}\" is no list of addresses such as 192.0.2.0/24,::1"))
}

/// `PerSourceNetBlockSize`: bits of IPv4 addresses that are one source, and after a colon of IPv6.
pub fn net_block(value: &str) -> Result<[u8; 2], String> {
    let (v4, v6) = value.split_once(':').unwrap_or((value, "128"));
    let bits = |text: &str, most: u8| -> Result<u8, String> {
        if text == "none" {
            return Ok(most);
        }
        number(text).and_then(|n: u8| if n <= most { Ok(n) } else { Err(format!("more than {most} bits")) })
    };
    Ok([bits(v4, 32)?, bits(v6, 128)?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a6_penalties_mean_what_they_mean_in_sshd_config() {
        assert_eq!(parse("no"), Ok(None));
        assert_eq!(parse("yes"), Ok(Some(Penalties::default())));
        let penalties =
            parse("authfail:1m crash:0 min:5 max:2h overflow:deny-all overflow6:permissive").unwrap();
        let penalties = penalties.unwrap();
        assert_eq!(penalties.auth_fail, Duration::from_secs(60));
        assert_eq!((penalties.crash, penalties.min), (Duration::ZERO, Duration::from_secs(5)));
        assert_eq!(penalties.max, Duration::from_secs(7200));
        assert_eq!(penalties.overflow, [Overflow::DenyAll, Overflow::Permissive]);
        assert_eq!(penalties.no_auth, Penalties::default().no_auth);
        for wrong in [
            "maybe",
            "authfail",
            "authfail:x",
            "nonsense:5",
            "overflow:some",
            "min:10 max:5",
            "authfail:5 no",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(exempt("none"), Ok(None));
        let list = exempt("192.0.2.0/24,!192.0.2.7,::1").unwrap().unwrap();
        for (address, within) in
            [("192.0.2.1", true), ("192.0.2.7", false), ("::1", true), ("192.0.3.1", false)]
        {
            assert_eq!(list.contains(address.parse().unwrap()), within, "{address}");
        }
        assert!(exempt("192.0.2.0/33").is_err());
        assert_eq!(net_block("24:56"), Ok([24, 56]));
        assert_eq!(net_block("32"), Ok([32, 128]));
        assert!(net_block("33").is_err() && net_block("x").is_err());
    }
}
