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
    Local(Vec<u8>),
    Words(Vec<Word>),
    /// No words: why.
    Invalid(String),
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
    pub fn parse(line: &[u8]) -> Line {
        let mut parsed = Line::default();
        // Not at its end: white space may be quoted there.
        let mut rest = line.trim_ascii_start();
        while let [prefix @ (b'-' | b'@'), after @ ..] = rest {
            match prefix {
                b'-' => parsed.ignore_errors = true,
                _ => parsed.quiet = true,
            }
            rest = after;
        }
        let rest = rest.trim_ascii_start();
        parsed.command = match rest {
            [] | [b'#', ..] => Command::Nothing,
            [b'!', command @ ..] => Command::Local(command.trim_ascii().to_vec()),
            _ => words(rest).map_or_else(Command::Invalid, Command::Words),
        };
        parsed
    }
}

/// A word that the line ends in.
#[derive(Debug, PartialEq, Eq)]
pub struct Open {
    /// Where it begins.
    pub start: usize,
    pub word: Word,
    /// The quote that is not closed.
    pub quote: Option<u8>,
}

/// Splits at white space; quotes and backslashes take the meaning from what follows them.
pub fn words(line: &[u8]) -> Result<Vec<Word>, String> {
    let (mut words, open, backslash) = scan(line);
    if backslash {
        return Err("Unterminated escaped argument".into());
    }
    if open.as_ref().is_some_and(|open| open.quote.is_some()) {
        return Err("Unterminated quoted argument".into());
    }
    words.extend(open.map(|open| open.word));
    Ok(words)
}

/// The words that are finished, and the one that the line ends in: none in a comment, and an empty one
/// behind white space.
pub fn unfinished(line: &[u8]) -> (Vec<Word>, Option<Open>) {
    let (words, open, _) = scan(line);
    let between = line.last().is_none_or(|b| is_space(*b));
    let new = || Open { start: line.len(), word: Word(Vec::new()), quote: None };
    (words, open.or_else(|| between.then(new)))
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

/// The words of a line, the last one if nothing ends it, and whether a backslash has nothing to stand
/// before.
fn scan(line: &[u8]) -> (Vec<Word>, Option<Open>, bool) {
    let mut words = Vec::new();
    let mut word: Option<(usize, Vec<u8>)> = None;
    let mut quote: Option<u8> = None;
    let mut bytes = line.iter().copied().enumerate().peekable();
    let mut backslash = false;
    while let Some((at, c)) = bytes.next() {
        match (quote, c) {
            (None, c) if is_space(c) => {
                words.extend(word.take().map(|(_, word)| Word(word)));
                continue;
            }
            (None, b'#') if word.is_none() => break,
            _ => {}
        }
        let (_, word) = word.get_or_insert_with(|| (at, Vec::new()));
        match (quote, c) {
            (None, b'\'' | b'"') => quote = Some(c),
            (Some(q), c) if c == q => quote = None,
            // In quotes only the quote itself and a backslash can be escaped.
            (Some(q), b'\\') => {
                let next = bytes.next_if(|(_, next)| *next == q || *next == b'\\');
                put(word, next.map_or(b'\\', |(_, next)| next));
            }
            (None, b'\\') => match bytes.next() {
                Some((_, next)) => put(word, next),
                None => backslash = true,
            },
            (Some(_), c) => put(word, c),
            (None, c) => word.push(c),
        }
    }
    let open = word.map(|(start, word)| Open { start, word: Word(word), quote });
    (words, open, backslash)
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
                        return Err(format!("Invalid flag -{letter} (this command knows -{known})"));
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
        assert_eq!(Line::parse(b" cd a\\ ").command, Command::Words(words(b"cd 'a '").unwrap()));
    }

    #[test]
    fn prefixes() {
        let line = Line::parse(b" -@rm x");
        assert!(line.ignore_errors && line.quiet);
        let line = Line::parse(b"-rm 'x");
        assert!(line.ignore_errors && matches!(line.command, Command::Invalid(_)));
        assert_eq!(Line::parse(b"!ls -l").command, Command::Local(b"ls -l".to_vec()));
        assert_eq!(Line::parse(b"  # nothing").command, Command::Nothing);
    }

    #[test]
    fn flags_end_where_names_begin() {
        let words = words(b"-rp -a -- -x").unwrap();
        let (set, rest) = flags(&words, "rpa").unwrap();
        assert_eq!((set, rest.len()), (vec!['r', 'p', 'a'], 1));
        assert!(flags(&words, "rp").is_err());
    }
}
