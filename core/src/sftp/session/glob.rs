//! Patterns of names on the server, as glob(7) has them.

use alloc::vec::Vec;

use super::dir::one_component;
use super::entry::Metadata;
use super::error::Error;
use super::path::join;
use super::remote::Remote;

/// Whether a pattern has anything to expand.
pub fn has_magic(pattern: &[u8]) -> bool {
    pattern.iter().any(|b| matches!(b, b'*' | b'?' | b'['))
}

/// A pattern without its backslashes, for one that has nothing to expand.
pub fn unescape(pattern: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut bytes = pattern.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'\\' => out.extend(bytes.next().or(Some(b))),
            b => out.push(*b),
        }
    }
    out
}

/// Whether `name` fits the pattern of one component: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before what is meant
/// as it is. A dot at the start has to be there in the pattern.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let hidden = name.first() == Some(&b'.');
    let shown = matches!(pattern, [b'.', ..] | [b'\\', b'.', ..]);
    (!hidden || shown) && fits(pattern, name)
}

fn fits(mut pattern: &[u8], mut name: &[u8]) -> bool {
    // The last star, and the name where it stopped: one is enough to go back to.
    let mut back: Option<(&[u8], &[u8])> = None;
    loop {
        let step = match (pattern, name) {
            ([], []) => return true,
            ([b'*', rest @ ..], _) => {
                back = Some((rest, name));
                pattern = rest;
                continue;
            }
            (_, []) => None,
            ([b'?', rest @ ..], [_, left @ ..]) => Some((rest, left)),
            ([b'[', rest @ ..], [c, left @ ..]) => match set(rest, *c) {
                Some((true, rest)) => Some((rest, left)),
                Some((false, _)) => None,
                None => (*c == b'[').then_some((rest, left)),
            },
            ([b'\\', p, rest @ ..] | [p, rest @ ..], [c, left @ ..]) => (p == c).then_some((rest, left)),
            ([], _) => None,
        };
        if let Some((rest, left)) = step {
            (pattern, name) = (rest, left);
            continue;
        }
        let Some((rest, at)) = back else { return false };
        let [_, left @ ..] = at else { return false };
        back = Some((rest, left));
        (pattern, name) = (rest, left);
    }
}

/// Whether `c` is in the set that starts behind `[`, and what follows the set. `None`: it has no end.
fn set(pattern: &[u8], c: u8) -> Option<(bool, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'!' | b'^', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut found, mut first) = (false, true);
    loop {
        let (low, after) = match rest {
            [b']', after @ ..] if !first => return Some((found != negated, after)),
            [b'\\', low, after @ ..] | [low, after @ ..] => (*low, after),
            [] => return None,
        };
        first = false;
        rest = after;
        let high = match rest {
            [b'-', high, after @ ..] if *high != b']' => {
                rest = after;
                *high
            }
            _ => low,
        };
        found |= (low..=high).contains(&c);
    }
}

/// Names that one expansion may give. Ours; a server can invent any number.
const MOST: usize = 1 << 20;

impl Remote {
    /// The paths that fit a pattern, sorted, with their attributes: of links themselves where the last component
    /// is a pattern. None is no error. Relative patterns give relative paths.
    ///
    /// # Errors
    /// If the session ends, or too many names fit.
    pub async fn glob(&self, pattern: &[u8]) -> Result<Vec<(Vec<u8>, Metadata)>, Error> {
        let start = if pattern.first() == Some(&b'/') { b"/".to_vec() } else { Vec::new() };
        let mut found: Vec<(Vec<u8>, Option<Metadata>)> = alloc::vec![(start, None)];
        let mut components = pattern.split(|b| *b == b'/').filter(|part| !part.is_empty()).peekable();
        while let Some(component) = components.next() {
            if !has_magic(component) {
                let name = unescape(component);
                found.iter_mut().for_each(|(path, meta)| (*path, *meta) = (join(path, &name), None));
                continue;
            }
            let last = components.peek().is_none();
            let mut next = Vec::new();
            for (dir, _) in found {
                self.expand(&dir, component, last, &mut next).await?;
            }
            found = next;
        }
        let mut whole = Vec::with_capacity(found.len());
        for (path, meta) in found {
            let path = if path.is_empty() { b".".to_vec() } else { path };
            match meta {
                Some(meta) => whole.push((path, meta)),
                None => {
                    let told = match self.metadata(&path).await {
                        Err(_) => self.symlink_metadata(&path).await,
                        told => told,
                    };
                    match told {
                        Ok(meta) => whole.push((path, meta)),
                        Err(e) if e.is_fatal() => return Err(e),
                        // Not every server tells: whoever opens it will see.
                        Err(e) if e.is_untold() => whole.push((path, Metadata::default())),
                        Err(_) => {}
                    }
                }
            }
        }
        whole.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(whole)
    }

    async fn expand(
        &self,
        dir: &[u8],
        component: &[u8],
        last: bool,
        found: &mut Vec<(Vec<u8>, Option<Metadata>)>,
    ) -> Result<(), Error> {
        let mut list = match self.read_dir(dir).await {
            Ok(list) => list,
            Err(e) if e.is_fatal() => return Err(e),
            // As in a shell: what cannot be listed has nothing that fits.
            Err(_) => return Ok(()),
        };
        while let Some(entry) = list.next().await {
            let entry = entry?;
            if !one_component(entry.file_name()) || !matches(component, entry.file_name()) {
                continue;
            }
            // Links may lead to directories.
            let leads = entry.is_dir() || !entry.metadata().is_file();
            if last || leads {
                let meta = last.then(|| entry.metadata().clone());
                found.push((join(dir, entry.file_name()), meta));
            }
            if found.len() > MOST {
                return Err(Error::invalid("the pattern fits too many names").of("glob", &[dir]));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, fit) in [
            ("*", "abc", true),
            ("*", ".abc", false),
            (".*", ".abc", true),
            ("a*c", "abbbc", true),
            ("a*c", "abbbd", false),
            ("*a*b*", "xxaxxbxx", true),
            ("?", "", false),
            ("?b", "ab", true),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[]]", "]", true),
            ("[abc", "[abc", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("", "", true),
            ("*.txt", "notes.txt", true),
            ("*.txt", "NOTES.TXT", false),
            ("Notes", "notes", false),
            ("[a-c]", "B", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }

    #[test]
    fn a_pattern_that_goes_back_often_ends_soon() {
        let (pattern, name) = ("a*".repeat(40) + "b", "a".repeat(20_000));
        assert!(!matches(pattern.as_bytes(), name.as_bytes()));
    }
}
