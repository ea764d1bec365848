//! Patterns with `*`, `?` and `!`, as in known_hosts and ssh_config (ssh_config(5), PATTERNS).
//!
//! The case of letters counts, as in variables and algorithms, but for names of hosts.

/// What a list of patterns says about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMatch {
    /// No pattern matches. A list of nothing but negations never says anything else, as in OpenSSH.
    No,
    /// A pattern matches and no negated one does.
    Yes,
    /// A negated pattern matches, which outweighs all others wherever it stands.
    Negated,
}

impl ListMatch {
    /// What a list says, whose patterns are each negated or not, and match or do not.
    pub fn of(patterns: impl IntoIterator<Item = (Sign, bool)>) -> Self {
        let mut found = ListMatch::No;
        for (sign, matches) in patterns {
            match sign {
                Sign::Negated if matches => return ListMatch::Negated,
                Sign::Plain if matches => found = ListMatch::Yes,
                _ => {}
            }
        }
        found
    }
}

/// Whether a `!` stands before a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It does not.
    Plain,
    /// It does.
    Negated,
}

impl Sign {
    /// Takes the `!` off.
    pub fn split(pattern: &[u8]) -> (Self, &[u8]) {
        pattern.strip_prefix(b"!").map_or((Sign::Plain, pattern), |pattern| (Sign::Negated, pattern))
    }
}

/// Whether a pattern has wildcards, so that it may be for more than one text.
pub fn is_wild(pattern: &[u8]) -> bool {
    pattern.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether `pattern` matches all of `text`: `*` stands for any bytes, `?` for one, every other byte for
/// itself (OpenSSH `match_pattern`).
///
/// Takes time in proportion to the product of both lengths, at most (F-26): when a byte does not
/// fit, only the last `*` can usefully take one more, so nothing is ever tried twice.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    matches_by(pattern, text, |p, t| p == t)
}

/// The same for the name or the address of a host, where letters of US-ASCII stand for both of their
/// cases (OpenSSH `match_hostname`).
pub fn matches_host(pattern: &[u8], host: &[u8]) -> bool {
    matches_by(pattern, host, |p, h| p.eq_ignore_ascii_case(&h))
}

fn matches_by(pattern: &[u8], text: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What to go back to: the pattern after the last star, and the text that star has not taken.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        match (pattern.split_first(), text.split_first()) {
            (Some((b'*', after)), _) => {
                retry = Some((after, text));
                pattern = after;
            }
            (None, None) => return true,
            (Some((p, after)), Some((t, rest))) if *p == b'?' || same(*p, *t) => {
                pattern = after;
                text = rest;
            }
            _ => {
                let Some((after, [_, rest @ ..])) = retry else { return false };
                retry = Some((after, rest));
                (pattern, text) = (after, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    /// The definition, as slow as it likes.
    fn naive(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|at| naive(rest, &text[at..])),
            Some((p, rest)) => {
                text.split_first().is_some_and(|(t, after)| (*p == b'?' || p == t) && naive(rest, after))
            }
        }
    }

    fn words(alphabet: &[u8], longest: usize) -> Vec<Vec<u8>> {
        let mut all: Vec<Vec<u8>> = alloc::vec![Vec::new()];
        let mut from = 0;
        for _ in 0..longest {
            let to = all.len();
            for i in from..to {
                for letter in alphabet {
                    all.push([&all[i][..], &[*letter]].concat());
                }
            }
            from = to;
        }
        all
    }

    #[test]
    fn f26_agrees_with_a_naive_matcher_on_all_short_inputs() {
        let texts = words(b"ab", 6);
        for pattern in words(b"ab*?", 5) {
            for text in &texts {
                assert_eq!(matches(&pattern, text), naive(&pattern, text), "{pattern:?} {text:?}");
            }
        }
    }

    #[test]
    fn a13_the_case_of_letters_counts_but_for_hosts() {
        // Pattern, text, as it is, as a host.
        let table = [
            ("HTTP_PROXY", "HTTP_PROXY", true, true),
            ("HTTP_PROXY", "http_proxy", false, true),
            ("http_proxy", "HTTP_PROXY", false, true),
            ("LC_*", "LC_ALL", true, true),
            ("LC_*", "lc_all", false, true),
            ("lc_*", "LC_ALL", false, true),
            ("LC_?", "lc_x", false, true),
            ("*X", "x", false, true),
            ("*", "xX", true, true),
            ("[A]", "[a]", false, true),
            // Only letters of US-ASCII have two cases; these differ in the same bit.
            ("@", "`", false, false),
            ("[", "{", false, false),
            ("\u{e4}", "\u{c4}", false, false),
        ];
        for (pattern, text, exact, host) in table {
            let (p, t) = (pattern.as_bytes(), text.as_bytes());
            assert_eq!((matches(p, t), matches_host(p, t)), (exact, host), "{pattern} {text}");
        }
    }

    #[test]
    fn h14_negation_outweighs_wherever_it_stands() {
        let list = |list: &str, text: &str| {
            let patterns = list.as_bytes().split(|b| *b == b',').map(Sign::split);
            ListMatch::of(patterns.map(|(sign, pattern)| (sign, matches_host(pattern, text.as_bytes()))))
        };
        for patterns in ["!a.ex,*.ex", "*.ex,!a.ex"] {
            assert_eq!(list(patterns, "a.ex"), ListMatch::Negated);
            assert_eq!(list(patterns, "A.EX"), ListMatch::Negated);
            assert_eq!(list(patterns, "b.ex"), ListMatch::Yes);
            assert_eq!(list(patterns, "b.example"), ListMatch::No);
        }
        assert_eq!(list("!a", "b"), ListMatch::No);
        assert_eq!(list("", ""), ListMatch::Yes);
    }
}
