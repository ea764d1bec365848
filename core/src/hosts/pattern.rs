//! Patterns with `*`, `?` and `!`, as in known_hosts and ssh_config (ssh_config(5), PATTERNS).
//!
//! The case of letters counts, as in variables and algorithms, but for names of hosts.

/// What a list of patterns says about a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListMatch {
    /// No pattern matches.
    No,
    /// A pattern matches and no negated one does.
    Yes,
    /// A negated pattern matches, which outweighs all others wherever it stands.
    Negated,
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

/// Matches a host against a list of patterns, of which those that begin with `!` are negated; as
/// [`matches_host`], whatever the case.
///
/// A list of nothing but negations never says [`ListMatch::Yes`], as in OpenSSH.
pub fn match_hosts<'p>(patterns: impl IntoIterator<Item = &'p [u8]>, host: &[u8]) -> ListMatch {
    let mut found = ListMatch::No;
    for pattern in patterns {
        match pattern.strip_prefix(b"!") {
            Some(negated) if matches_host(negated, host) => return ListMatch::Negated,
            None if matches_host(pattern, host) => found = ListMatch::Yes,
            _ => {}
        }
    }
    found
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
        let list =
            |list: &str, text: &str| match_hosts(list.as_bytes().split(|b| *b == b','), text.as_bytes());
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
