//! The grammar of ssh_config(5), as OpenSSH 9.2 reads it: the table was checked against `ssh -G -o LINE host`.

mod property;

use konko_core::config::{Line, LineError};
use konko_core::text::{BadLine, OpenQuote, arguments};
use proptest::prelude::*;

fn words(line: &[u8]) -> (String, Vec<String>) {
    let line = Line::parse(line).unwrap().unwrap();
    let text = |word: &Vec<u8>| String::from_utf8_lossy(word).into_owned();
    (line.keyword.clone(), line.arguments.iter().map(text).collect())
}

#[test]
fn c11_keywords_and_arguments_as_openssh_reads_them() {
    for (line, keyword, expected) in [
        ("User=bob", "user", &["bob"][..]),
        ("USER bob", "user", &["bob"]),
        ("  user  =  bob  ", "user", &["bob"]),
        ("\"user\" bob", "user", &["bob"]),
        ("user\t\"r o\"", "user", &["r o"]),
        ("identityfile \"a b\"", "identityfile", &["a b"]),
        ("SetEnv=FOO=\"x y\" BAR=z", "setenv", &["FOO=x y", "BAR=z"]),
        ("SetEnv FOO='x y' B=a\"b c\"d", "setenv", &["FOO=x y", "B=ab cd"]),
        ("SetEnv=A=x#y #B=z", "setenv", &["A=x#y"]),
        ("UserKnownHostsFile=/none \"a b/kh\" c\\ d", "userknownhostsfile", &["/none", "a b/kh", "c d"]),
        ("user 'a\"b'", "user", &["a\"b"]),
        ("user a\\\"b\\'c\\\\d\\e", "user", &["a\"b'c\\d\\e"]),
        ("user \"a\\ b\"", "user", &["a\\ b"]),
        ("user ''", "user", &[""]),
        ("user ==x", "user", &["=x"]),
    ] {
        let expected = expected.iter().map(|word| (*word).to_owned()).collect();
        assert_eq!(words(line.as_bytes()), (keyword.to_owned(), expected), "{line}");
    }
    assert_eq!(Line::parse(b"User \xff").unwrap().unwrap().arguments, [b"\xff"]);
    let command = Line::parse(b"RemoteCommand = a 'b  c' # d").unwrap().unwrap();
    assert_eq!(command.rest, b"a 'b  c' # d", "a command is not taken apart");
}

#[test]
fn c11_lines_that_are_none() {
    for empty in ["", "  \t", "# user bob", "  #"] {
        assert_eq!(Line::parse(empty.as_bytes()), Ok(None), "{empty}");
    }
    for open in ["user \"r", "user 'r", "user r\"", "\"user bob"] {
        assert_eq!(Line::parse(open.as_bytes()), Err(LineError::Quote(OpenQuote)), "{open}");
    }
    for nothing in ["user", "user=", "user = ", "User # bob"] {
        assert_eq!(Line::parse(nothing.as_bytes()), Err(LineError::NoArgument("user".into())), "{nothing}");
    }
    assert_eq!(Line::parse(b"user a\0b"), Err(LineError::Line(BadLine::Nul)));
    let long = [b"user ", &b"x".repeat(128 * 1024)[..]].concat();
    assert_eq!(Line::parse(&long), Err(LineError::Line(BadLine::TooLong(128 * 1024))));
    for wrong in [&b"=x"[..], b"\xff x", b"us-er x", b"\"\" x", b"user\"r o\""] {
        assert_eq!(Line::parse(wrong), Err(LineError::Keyword));
    }
}

proptest! {
    #![proptest_config(property::config(512))]
    /// What is quoted comes back, and nothing panics.
    #[test]
    fn c11_any_bytes_can_be_quoted(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..5)) {
        let mut line = Vec::new();
        for word in &words {
            line.extend(b" \"");
            for b in word {
                line.extend(matches!(b, b'"' | b'\'' | b'\\').then_some(b'\\'));
                line.push(*b);
            }
            line.push(b'"');
        }
        prop_assert_eq!(arguments(&line).unwrap(), words);
        let _ = Line::parse(&line[2..]);
    }
}
