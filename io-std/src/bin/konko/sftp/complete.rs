//! Completion of words: what is offered, and how a name stands in a line so that the grammar gives back
//! that name and nothing else.

use konko::core::wire::SshStr;
use konko::sftp::glob;

use crate::sftp::commands::{NAMES, unquoted};
use crate::sftp::line::{Open, Word, unfinished};

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Local,
    Remote,
}

/// What a word can become.
#[derive(Debug, PartialEq, Eq)]
pub struct Candidate {
    /// For the list; escaped.
    pub shown: String,
    /// For the line, from the beginning of the word.
    pub text: String,
}

/// A name, and whether it is that of a directory.
pub type Entry = (Vec<u8>, bool);

/// Names that are offered at most.
const MOST: usize = 500;

/// What the end of `line` can become, and from where on. `list` has the entries of a directory, whose path
/// is empty for the current one.
pub fn complete(line: &str, list: impl FnOnce(Place, &[u8]) -> Vec<Entry>) -> (usize, Vec<Candidate>) {
    let (bytes, offsets) = typed(line);
    let begin = bytes.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'-' | b'@')).count();
    let none = (line.len(), Vec::new());
    // A local shell has words of its own.
    if bytes.get(begin) == Some(&b'!') {
        return none;
    }
    let (before, Some(open)) = unfinished(&bytes[begin..]) else { return none };
    let start = offsets[begin + open.start];
    let [command, arguments @ ..] = &before[..] else {
        let fit = NAMES.iter().filter(|name| name.as_bytes().starts_with(&open.word.0));
        let fit = fit.map(|name| Candidate { shown: (*name).into(), text: format!("{name} ") });
        return (start, fit.collect());
    };
    let Some(place) = place(&command.plain(), arguments) else { return none };
    // What a pattern fits is not known before it is used.
    if glob::has_magic(&unquoted(&open.word.0)) {
        return none;
    }
    (start, names(&open, |dir| list(place, dir)))
}

/// Whose names belong at the end of such a line, if any do.
fn place(command: &[u8], arguments: &[Word]) -> Option<Place> {
    let flags = arguments.iter().take_while(|word| word.0.first() == Some(&b'-')).count();
    match (command.to_ascii_lowercase().as_slice(), arguments.len() - flags) {
        (b"lcd" | b"lmkdir", 0) | (b"lls", _) | (b"put" | b"mput" | b"reput", 0) => Some(Place::Local),
        (b"get" | b"mget" | b"reget", 1) => Some(Place::Local),
        (b"get" | b"mget" | b"reget", 0) | (b"put" | b"mput" | b"reput", 1) => Some(Place::Remote),
        (b"cd" | b"chdir" | b"ls" | b"dir" | b"df" | b"mkdir" | b"rmdir" | b"rm" | b"delete", 0) => {
            Some(Place::Remote)
        }
        (b"rename" | b"mv" | b"cp" | b"copy" | b"ln" | b"symlink", 0 | 1) => Some(Place::Remote),
        // Behind the number.
        (b"chmod" | b"chown" | b"chgrp", 1) => Some(Place::Remote),
        _ => None,
    }
}

fn names(open: &Open, list: impl FnOnce(&[u8]) -> Vec<Entry>) -> Vec<Candidate> {
    let plain = open.word.plain();
    let (dir, name) = plain.split_at(plain.iter().rposition(|b| *b == b'/').map_or(0, |at| at + 1));
    let mut fit: Vec<Entry> = list(dir).into_iter().filter(|(n, _)| n.starts_with(name)).collect();
    fit.sort();
    fit.truncate(MOST);
    let whole = |(name, is_dir): Entry| {
        let mut path = dir.to_vec();
        // It would be a flag, or somebody's home.
        if dir.is_empty() && matches!(name.first(), Some(b'-' | b'~')) {
            path.extend(b"./");
        }
        path.extend(&name);
        path.extend(is_dir.then_some(b'/'));
        let end = if is_dir { None } else { Some(b' ') };
        Candidate { shown: SshStr::new(&name).to_string(), text: shown(&quoted(&path, open.quote, end)) }
    };
    fit.into_iter().map(whole).collect()
}

/// A path as the grammar has it; with an `end` the word is finished.
fn quoted(path: &[u8], quote: Option<u8>, end: Option<u8>) -> Vec<u8> {
    let mut out = Vec::from_iter(quote);
    for b in path {
        let means = match quote {
            Some(quote) => *b == quote || *b == b'\\',
            None => b" \t\r\n'\"\\*?[]#".contains(b),
        };
        out.extend(means.then_some(b'\\'));
        out.push(*b);
    }
    if end.is_some() {
        out.extend(quote);
    }
    out.extend(end);
    out
}

/// In the editor, whose lines are text, this private character and the 255 after it stand for bytes that
/// are no text, or that a terminal would obey.
const BYTES: u32 = 0xef00;

fn byte(c: char) -> Option<u8> {
    u32::from(c).checked_sub(BYTES).and_then(|n| u8::try_from(n).ok())
}

/// Bytes as a line of the editor.
fn shown(bytes: &[u8]) -> String {
    let private = |b: u8| char::from_u32(BYTES + u32::from(b)).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() || byte(c).is_some() {
                out.extend(c.encode_utf8(&mut [0; 4]).bytes().map(private));
            } else {
                out.push(c);
            }
        }
        out.extend(chunk.invalid().iter().copied().map(private));
    }
    out
}

/// The bytes of a line of the editor.
pub fn bytes(line: &str) -> Vec<u8> {
    typed(line).0
}

/// The same, and where each of them stands in the line; one more offset for its end.
fn typed(line: &str) -> (Vec<u8>, Vec<usize>) {
    let (mut bytes, mut offsets) = (Vec::new(), Vec::new());
    for (at, c) in line.char_indices() {
        match byte(c) {
            Some(b) => bytes.push(b),
            None => bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        offsets.resize(bytes.len(), at);
    }
    offsets.push(line.len());
    (bytes, offsets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sftp::line::{Command, Line};
    use konko::core::{Rng, Seed};

    /// The words that a completed line means, and whether any of them is a pattern.
    fn parsed(line: &str) -> (Vec<Vec<u8>>, bool) {
        let Command::Words(words) = Line::parse(&bytes(line)).command else { panic!("{line}") };
        let magic = words.iter().any(|word| glob::has_magic(&unquoted(&word.0)));
        (words.iter().map(Word::plain).collect(), magic)
    }

    fn completed(line: &str, entries: &[Entry]) -> Vec<String> {
        let (start, found) = complete(line, |_, _| entries.to_vec());
        found.iter().map(|candidate| format!("{}{}", &line[..start], candidate.text)).collect()
    }

    /// The name itself, or the same one said otherwise.
    fn is(found: &[u8], name: &[u8]) -> bool {
        found.strip_prefix(b"./").unwrap_or(found) == name
    }

    fn odd_names() -> Vec<Vec<u8>> {
        let special = b" \t\n\r'\"\\*?[]#-~!@$&|<>.\x1b\x7f\x80\xff\xee\xbca";
        let mut names: Vec<Vec<u8>> = (1..=255).filter(|b| *b != b'/').map(|b| vec![b]).collect();
        for a in special {
            for b in special {
                names.extend([vec![*a, *b], vec![*a, *b, *a], vec![b'x', *a, *b]]);
            }
        }
        names.extend(
            ["\u{ef2a}", "\u{ef00}\u{efff}", "na\u{ef}ve \u{9b}m", "\u{1f41a} *"]
                .map(|n| n.as_bytes().to_vec()),
        );
        let mut rng = Rng::from_seed(&Seed::new([7; 32]));
        for _ in 0..3000 {
            let mut len = [0];
            rng.fill(&mut len);
            let mut name = vec![0; usize::from(len[0] % 12) + 1];
            rng.fill(&mut name);
            names.push(name);
        }
        names
            .retain(|name| !matches!(&name[..], b"." | b"..") && !name.iter().any(|b| matches!(b, 0 | b'/')));
        names
    }

    #[test]
    fn b2_completed_and_parsed_gives_the_name() {
        for name in odd_names() {
            for (typed, words) in
                [("rm ", 2), ("put -r ", 3), ("rm '", 2), ("rm \"", 2), ("get x ", 3), ("-rm ", 2)]
            {
                let lines = completed(typed, &[(name.clone(), false)]);
                assert_eq!(lines.len(), 1, "{typed}{name:?}");
                let (found, magic) = parsed(&lines[0]);
                assert!(!magic, "{}", lines[0]);
                assert_eq!(found.len(), words, "{}", lines[0]);
                assert!(is(found.last().unwrap(), &name), "{} is not {name:?}", lines[0]);
                assert!(!lines[0].chars().any(char::is_control), "{:?}", lines[0]);
                // A directory goes on, also in the middle of a quoted word.
                let dir = completed(typed, &[(name.clone(), true)]);
                let inner = completed(&dir[0], &[(b"b c".to_vec(), false)]);
                let whole = [&name[..], b"/b c"].concat();
                let (found, _) = parsed(&inner[0]);
                assert!(found.len() == words && is(found.last().unwrap(), &whole), "{}", inner[0]);
            }
        }
    }

    #[test]
    fn b2_what_was_typed_of_a_name_may_be_quoted_in_any_way() {
        let entries = [(b"z*".to_vec(), false), (b"z1".to_vec(), false), (b"a 'b\" c".to_vec(), false)];
        assert_eq!(completed("rm z", &entries), ["rm z\\* ", "rm z1 "]);
        assert_eq!(completed("rm z\\*", &entries), ["rm z\\* "]);
        assert_eq!(completed("rm z\\", &entries), ["rm z\\* ", "rm z1 "]);
        assert_eq!(completed("rm 'z*", &entries), ["rm 'z*' "]);
        for typed in ["rm a\\ ", "rm 'a ", "rm \"a ", "rm a' '", "rm a\" \"\\'b", "rm \"a 'b\\\""] {
            let lines = completed(typed, &entries);
            assert_eq!(parsed(&lines[0]).0[1], b"a 'b\" c", "{typed}: {lines:?}");
        }
        // A pattern stays one, and what is no name is left alone.
        for typed in ["rm z*", "rm [z", "!rm z", "# rm z", "rm # z", "chmod ", "pwd ", "rm x "] {
            assert_eq!(completed(typed, &entries), [""; 0], "{typed}");
        }
    }

    #[test]
    fn b2_local_names_where_a_local_name_belongs() {
        for (line, expected) in [
            ("put ", Some(Place::Local)),
            ("put -r ", Some(Place::Local)),
            ("PUT x ", Some(Place::Remote)),
            ("@get ", Some(Place::Remote)),
            ("get x ", Some(Place::Local)),
            ("get 'a b' ", Some(Place::Local)),
            ("lcd ", Some(Place::Local)),
            ("cd ", Some(Place::Remote)),
            ("chmod 644 ", Some(Place::Remote)),
            ("chmod ", None),
            ("get x y ", None),
        ] {
            let mut asked = None;
            complete(line, |place, _| {
                asked = Some(place);
                Vec::new()
            });
            assert_eq!(asked, expected, "{line}");
        }
        assert_eq!(completed("lmk", &[]), ["lmkdir "]);
    }
}
