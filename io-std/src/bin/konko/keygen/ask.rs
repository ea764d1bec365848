//! What the person is asked: files, passphrases, whether to overwrite.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use konko::core::client::Password;
use konko::core::keys::{KeyError, MAX_FILE, PrivateKey};
use konko::key_file;
use zeroize::Zeroizing;

use super::{Args, Failure};
use crate::{streams, terminal};

/// The longest line that is taken from standard input, in bytes.
const MAX_LINE: usize = 64 * 1024;

/// The next line of standard input, without its end; `None` at the end of the input. It is read byte by byte, so that
/// what follows is there for whoever asks next, into memory that does not move.
pub fn line() -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut stdin = streams::stdin()?;
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_LINE));
    let mut byte = [0];
    loop {
        match stdin.read(&mut byte)? {
            0 if line.is_empty() => return Ok(None),
            0 => return Ok(Some(line)),
            _ if byte[0] == b'\n' => return Ok(Some(line)),
            _ if line.len() < MAX_LINE => line.push(byte[0]),
            _ => return Err(io::Error::other("the line is too long")),
        }
    }
}

/// Asks on standard output, and reads the answer from standard input.
pub fn ask(question: &str) -> Result<Option<Zeroizing<Vec<u8>>>, Failure> {
    streams::stdout()?.write_all(question.as_bytes())?;
    Ok(line()?)
}

impl Args {
    /// `-f`, or what the person says, or the usual name of the user's key of that type.
    pub fn file(&self, question: &str, kind: &str) -> Result<PathBuf, Failure> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let home = std::env::home_dir().ok_or("No user exists for this user number, or it has no home")?;
        let usual = home.join(".ssh").join(format!("id_{kind}"));
        let answer = ask(&format!("{question} ({}): ", usual.display()))?.ok_or_else(|| Failure::one(""))?;
        Ok(if answer.is_empty() { usual } else { OsStr::from_bytes(&answer).into() })
    }

    /// Whether the file, if there is one, may be replaced: the person is asked.
    pub fn may_overwrite(&self, path: &Path) -> Result<bool, Failure> {
        if std::fs::symlink_metadata(path).is_err() {
            return Ok(true);
        }
        streams::line(format_args!("{} already exists.", path.display()));
        let answer = ask("Overwrite (y/n)? ")?;
        Ok(answer.is_some_and(|answer| matches!(answer.first(), Some(b'y' | b'Y'))))
    }

    /// `-N`, or what the person says twice. Empty is none.
    pub fn new_passphrase(&self, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
        if let Some(given) = &self.new_passphrase {
            return Ok(Zeroizing::new(given.as_bytes().to_vec()));
        }
        loop {
            let question = format!("Enter passphrase for \"{}\" (empty for no passphrase): ", path.display());
            let (first, second) = (secret(&question)?, secret("Enter same passphrase again: ")?);
            if *first == *second {
                return Ok(first);
            }
            streams::line(format_args!("Passphrases do not match.  Try again."));
        }
    }

    /// `-C`, or the user at this machine.
    pub fn comment(&self) -> Vec<u8> {
        if let Some(comment) = &self.comment {
            return comment.as_bytes().to_vec();
        }
        user_at_host()
    }
}

/// The user at this machine, by name.
pub fn user_at_host() -> Vec<u8> {
    let user = nix::unistd::User::from_uid(nix::unistd::getuid()).ok().flatten();
    let user = user.map_or_else(String::new, |user| user.name);
    [user.as_bytes(), b"@", rustix::system::uname().nodename().to_bytes()].concat()
}

/// A secret, from the terminal without echo, or from standard input where there is nobody to ask.
pub fn secret(question: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if terminal::can_ask() {
        let answer = terminal::ask(question, false);
        return Ok(Zeroizing::new(answer.as_ref().map(Password::expose).unwrap_or_default().to_vec()));
    }
    Ok(line()?.unwrap_or_default())
}

/// The bytes of a file; `-` is standard input.
pub fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if path == Path::new("-") {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE + 1));
        streams::stdin()?.take(MAX_FILE as u64 + 1).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    key_file::read(path).map_err(|e| Failure::from(format!("{}: {}", path.display(), reason(&e))))
}

/// What the system says, without the number.
pub fn reason(e: &io::Error) -> String {
    let text = e.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// The private key in a file whose passphrase is `given`, or is asked for.
pub fn private_key(path: &Path, given: Option<&OsString>) -> Result<PrivateKey, Failure> {
    let question = format!("Enter passphrase for \"{}\": ", path.display());
    unlock(path, given, &question).map(|(key, _)| key)
}

/// The private key in a file, and the passphrase that opened it: the one that is given, none, or the answer.
pub fn unlock(
    path: &Path,
    given: Option<&OsString>,
    question: &str,
) -> Result<(PrivateKey, Zeroizing<Vec<u8>>), Failure> {
    let bytes = read(path)?;
    let failed = |e: KeyError| Failure::from(format!("Load key \"{}\": {e}", path.display()));
    let first = Zeroizing::new(given.map(|given| given.as_bytes().to_vec()).unwrap_or_default());
    match PrivateKey::load(&bytes, Some(&first)) {
        Ok(key) => return Ok((key, first)),
        Err(KeyError::Encrypted) if given.is_none() => {}
        Err(e) => return Err(failed(e)),
    }
    let passphrase = secret(question)?;
    let key = PrivateKey::load(&bytes, Some(&passphrase)).map_err(failed)?;
    Ok((key, passphrase))
}
