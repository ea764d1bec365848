//! The lines of `konko sftp`: prefixes, words, quotes; OpenSSH's grammar.

/// A line, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// `-`: an error does not end a batch.
    pub ignore_errors: bool,
    /// `@`: it is not shown before it runs.
    pub quiet: bool,
    pub command: Command,
}

/// What is to be done.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Command {
    #[default]
    Nothing,
    /// `!command`; empty: a shell.
    Local(String),
    Words(Vec<Word>),
}

/// A word: a pattern, in which `\` stands before what was quoted and would mean something in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word(pub Vec<u8>);

impl Word {
    /// As it is meant, without patterns.
    pub fn plain(&self) -> Vec<u8> {
        konko::sftp::glob::unescape(&self.0)
    }
}

impl Line {
    /// Takes a line apart.
    pub fn parse(line: &[u8]) -> Result<Line, String> {
        let mut parsed = Line::default();
        let mut rest = line.trim_ascii();
        loop {
            match rest {
                [b'-', after @ ..] => {
                    parsed.ignore_errors = {
                        rest = after;
                        true
                    }
                }
                [b'@', after @ ..] => {
                    parsed.quiet = {
                        rest = after;
                        true
                    }
                }
                _ => break,
            }
        }
        let rest = rest.trim_ascii_start();
        parsed.command = match rest {
            [] | [b'#', ..] => Command::Nothing,
            [b'!', command @ ..] => {
                Command::Local(String::from_utf8_lossy(command.trim_ascii()).into_owned())
            }
            _ => Command::Words(words(rest)?),
        };
        Ok(parsed)
    }
}

/// Splits at white space; quotes and backslashes take the meaning from what follows them.
pub fn words(line: &[u8]) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = line.iter().copied().peekable();
    while let Some(c) = bytes.next() {
        match (quote, c) {
            (None, b' ' | b'\t' | b'\r' | b'\n') => words.extend(word.take().map(Word)),
            (None, b'#') if word.is_none() => break,
            (None, b'\'' | b'"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (Some(q), c) if c == q => quote = None,
            (Some(q), b'\\') => {
                // In quotes only the quote itself and a backslash can be escaped.
                match bytes.next_if(|next| *next == q || *next == b'\\') {
                    Some(next) => put(word.get_or_insert_default(), next),
                    None => put(word.get_or_insert_default(), b'\\'),
                }
            }
            (None, b'\\') => {
                let next = bytes.next().ok_or("the line ends with a backslash")?;
                put(word.get_or_insert_default(), next);
            }
            (Some(_), c) => put(word.get_or_insert_default(), c),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word.map(Word));
    Ok(words)
}

/// A character that means itself.
fn put(word: &mut Vec<u8>, c: u8) {
    if matches!(c, b'*' | b'?' | b'[' | b']' | b'\\') {
        word.push(b'\\');
    }
    word.push(c);
}

/// Flags of a command, each a letter, and what follows them.
pub fn flags<'w>(words: &'w [Word], known: &str) -> Result<(Vec<char>, &'w [Word]), String> {
    let mut set = Vec::new();
    let mut rest = words;
    while let [Word(word), after @ ..] = rest {
        match word.as_slice() {
            b"--" => {
                rest = after;
                break;
            }
            [b'-', letters @ ..] if !letters.is_empty() => {
                for letter in letters.iter().map(|b| char::from(*b)) {
                    if !known.contains(letter) {
                        return Err(format!("-{letter} is not a flag of this command (-{known})"));
                    }
                    set.push(letter);
                }
            }
            _ => break,
        }
        rest = after;
    }
    Ok((set, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Vec<String> {
        let words = words(line.as_bytes()).unwrap();
        words.iter().map(|w| String::from_utf8(w.plain()).unwrap()).collect()
    }

    #[test]
    fn quotes_and_backslashes() {
        assert_eq!(plain(r#"get "a b" 'c"d' e\ f"#), ["get", "a b", "c\"d", "e f"]);
        assert_eq!(plain(r#"a"b"c '' x # comment"#), ["abc", "", "x"]);
        assert_eq!(plain(r#""a\"b" 'a\b'"#), ["a\"b", "a\\b"]);
        assert_eq!(words(b"'a*' a*").unwrap(), [Word(b"a\\*".to_vec()), Word(b"a*".to_vec())]);
        assert!(words(b"'open").is_err() && words(b"a\\").is_err());
    }

    #[test]
    fn prefixes() {
        let line = Line::parse(b" -@rm x").unwrap();
        assert!(line.ignore_errors && line.quiet);
        assert_eq!(Line::parse(b"!ls -l").unwrap().command, Command::Local("ls -l".into()));
        assert_eq!(Line::parse(b"  # nothing").unwrap().command, Command::Nothing);
    }

    #[test]
    fn flags_end_where_names_begin() {
        let words = words(b"-rp -a -- -x").unwrap();
        let (set, rest) = flags(&words, "rpa").unwrap();
        assert_eq!((set, rest.len()), (vec!['r', 'p', 'a'], 1));
        assert!(flags(&words, "rp").is_err());
    }
}
