//! What `konko sftp` and `konko scp` say of errors: in the words of sftp(1) rather than by the names of the library's calls.

use std::io;

use konko::core::sftp::StatusCode;
use konko::core::wire::SshStr;
use konko::sftp::Error;

use crate::sftp::line::{Word, flags};
use crate::streams::say;

/// What an operation of the library is called there.
fn operation(name: &str) -> &str {
    match name {
        "metadata" => "remote stat",
        "symlink_metadata" => "remote lstat",
        "set_metadata" => "remote setstat",
        "set_symlink_metadata" => "remote lsetstat",
        "create_dir" | "create_dir_all" => "remote mkdir",
        "remove_dir" | "remove_dir_all" => "remote rmdir",
        "remove_file" => "remote delete",
        "rename" => "remote rename",
        "hard_link" => "remote link",
        "symlink" => "remote symlink",
        "read_link" => "remote readlink",
        "read_dir" | "glob" => "remote readdir",
        "canonicalize" => "remote realpath",
        "expand_path" | "home_dir" => "remote expand-path",
        "set_current_dir" => "Can't change directory",
        "statvfs" => "remote statvfs",
        "open" | "file" => "remote open",
        "copy" => "Couldn't copy file",
        "get" => "download",
        "put" => "upload",
        "chown" => "remote chown",
        other => other,
    }
}

/// What a status is called there.
fn status(code: StatusCode) -> &'static str {
    match code {
        StatusCode::NO_SUCH_FILE => "No such file or directory",
        StatusCode::PERMISSION_DENIED => "Permission denied",
        StatusCode::FAILURE => "Failure",
        StatusCode::BAD_MESSAGE => "Bad message",
        StatusCode::EOF => "End of file",
        StatusCode::NO_CONNECTION => "No connection",
        StatusCode::CONNECTION_LOST => "Connection lost",
        StatusCode::OP_UNSUPPORTED => "Operation unsupported",
        other => other.text(),
    }
}

/// An error of the library.
#[allow(clippy::needless_pass_by_value, reason = "what map_err takes")]
pub fn text(error: Error) -> String {
    describe(&error)
}

/// The same.
pub fn describe(error: &Error) -> String {
    let said = error.to_string();
    let rest = said.strip_prefix(error.operation()).unwrap_or(&said);
    let rest = match error.code() {
        // Behind the paths, which may hold anything.
        Some(code) => match rest.rsplit_once(&format!(": {}", code.text())) {
            Some((paths, words)) => format!("{paths}: {}{words}", status(code)),
            None => rest.to_owned(),
        },
        None => without_number(rest).to_owned(),
    };
    format!("{}{rest}", operation(error.operation()))
}

/// What the system says, without its number.
pub fn system(error: &io::Error) -> String {
    without_number(&error.to_string()).to_owned()
}

fn without_number(text: &str) -> &str {
    text.rsplit_once(" (os error ").filter(|(_, end)| end.ends_with(')')).map_or(text, |(words, _)| words)
}

pub fn not_found(path: &[u8]) -> String {
    format!("File \"{}\" not found.", SshStr::new(path))
}

/// Says that words are left over; sftp(1) passes over them in silence.
pub fn ignore(words: &[Word]) {
    for word in words {
        say(&format!("Ignored: \"{}\"", SshStr::new(&word.plain())));
    }
}

/// The one path of a command; what follows is ignored.
pub fn one_word<'w>(rest: &'w [Word], command: &str) -> Result<&'w Word, String> {
    let [word, others @ ..] = flags(rest, "")?.1 else {
        return Err(format!("You must specify a path after a {command} command."));
    };
    ignore(others);
    Ok(word)
}

pub fn one(rest: &[Word], command: &str) -> Result<Vec<u8>, String> {
    one_word(rest, command).map(Word::plain)
}

/// The two paths of a command; what follows is ignored.
pub fn two(rest: &[Word], command: &str) -> Result<(Vec<u8>, Vec<u8>), String> {
    let [a, b, others @ ..] = flags(rest, "")?.1 else {
        return Err(format!("You must specify two paths after a {command} command."));
    };
    ignore(others);
    Ok((a.plain(), b.plain()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21_the_system_is_quoted_without_its_number() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(system(&error), "No such file or directory");
        assert_eq!(without_number("a (os error 2) b"), "a (os error 2) b");
    }

    #[test]
    fn c21_too_few_words_are_an_error_and_too_many_are_not() {
        let words = |line: &str| crate::sftp::line::words(line.as_bytes()).unwrap();
        assert_eq!(one(&words("a b"), "rm"), Ok(b"a".to_vec()));
        assert_eq!(two(&words("-- -a b c"), "ln"), Ok((b"-a".to_vec(), b"b".to_vec())));
        assert_eq!(one(&[], "rm").unwrap_err(), "You must specify a path after a rm command.");
        assert_eq!(two(&words("a"), "ln").unwrap_err(), "You must specify two paths after a ln command.");
    }
}
