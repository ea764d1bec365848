//! Values of options, as OpenSSH writes them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::Duration;

use konko::core::config::Line;
use konko::core::transport::limits::RekeyLimit;

/// The one argument of a line.
pub fn one(line: &Line) -> Result<&[u8], String> {
    match line.arguments.as_slice() {
        [value] if !value.is_empty() => Ok(value),
        [_] => Err("no value is given".into()),
        _ => Err("there are more arguments than it has".into()),
    }
}

/// The arguments of a line as text: one, but where there are several by their nature.
pub fn text(line: &Line) -> Result<String, String> {
    let many = matches!(line.keyword.as_str(), "rekeylimit" | "acceptenv" | "authenticationmethods");
    let bytes = if many { line.arguments.join(&b' ') } else { one(line)?.to_vec() };
    String::from_utf8(bytes).map_err(|_| "the value is not text".into())
}

/// Sets what has not been set: the first word counts, as in OpenSSH.
pub fn first<T>(slot: &mut Option<T>, value: T) {
    slot.get_or_insert(value);
}

/// What bytes say, if they are text that says it.
pub fn parsed<T: std::str::FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A number.
pub fn number<T: std::str::FromStr>(value: &str) -> Result<T, String> {
    value.parse().map_err(|_| format!("\"{value}\" is not such a number"))
}

/// A size of RSA keys in bits; none is smaller than 1024, as in OpenSSH.
pub fn rsa_size(value: &str) -> Result<usize, String> {
    match number(value)? {
        bits @ 0..=16_384 => Ok(bits.max(1024)),
        _ => Err(format!("\"{value}\" is more than the 16384 bits that any key may have")),
    }
}

/// Yes or no.
pub fn flag(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err(format!("\"{value}\" is not yes or no")),
    }
}

/// `~/` is the user's home.
pub fn expand(path: impl AsRef<OsStr>) -> PathBuf {
    expand_bytes(path.as_ref().as_bytes())
}

/// `~/` is the user's home.
pub fn expand_bytes(path: &[u8]) -> PathBuf {
    let name = OsStr::from_bytes;
    match (path.strip_prefix(b"~/"), std::env::home_dir()) {
        (Some(rest), Some(home)) => home.join(name(rest)),
        _ => name(path).into(),
    }
}

/// A time as in sshd_config(5), TIME FORMATS: `90`, `5m`, `1h30m`.
pub fn time(value: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{value}\" is not a time such as 30, 5m or 1h30m");
    let (mut total, mut digits) = (0u64, String::new());
    for c in value.chars() {
        let unit = match c.to_ascii_lowercase() {
            '0'..='9' => {
                digits.push(c);
                continue;
            }
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(wrong()),
        };
        let n: u64 = digits.parse().map_err(|_| wrong())?;
        total = n.checked_mul(unit).and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
        digits.clear();
    }
    if !digits.is_empty() {
        total = digits.parse().ok().and_then(|n| total.checked_add(n)).ok_or_else(wrong)?;
    }
    Ok(Duration::from_secs(total))
}

/// A time of which 0 and `none` mean never.
pub fn optional(value: &str) -> Result<Option<Duration>, String> {
    if value.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    time(value).map(|t| Some(t).filter(|t| !t.is_zero()))
}

/// `RekeyLimit`: bytes with K, M or G, and a time; each `default` or `none`.
pub fn rekey(value: &str) -> Result<RekeyLimit, String> {
    let mut limit = RekeyLimit::default();
    let mut words = value.split_whitespace();
    match words.next() {
        None | Some("default" | "none") => {}
        Some(bytes) => {
            let wrong = || format!("\"{bytes}\" is not a size such as 256K or 1G");
            let (digits, unit) = match bytes.char_indices().next_back() {
                Some((i, 'k' | 'K')) => (&bytes[..i], 1u64 << 10),
                Some((i, 'm' | 'M')) => (&bytes[..i], 1 << 20),
                Some((i, 'g' | 'G')) => (&bytes[..i], 1 << 30),
                _ => (bytes, 1),
            };
            let n: u64 = digits.parse().map_err(|_| wrong())?;
            limit.bytes = n.checked_mul(unit).filter(|n| *n >= 16).ok_or_else(wrong)?;
        }
    }
    match words.next() {
        None | Some("default" | "none") => {}
        Some(text) => limit.time = time(text)?,
    }
    Ok(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes() {
        assert_eq!(time("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(optional("0"), Ok(None));
        assert!(time("5x").is_err());
        assert_eq!(rekey("64M none").unwrap().bytes, 64 << 20);
        assert!(rekey("1Q").is_err());
    }
}
