//! A table of users: their passwords and keys, and what they have to prove.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use konko_core::auth::{Method, MethodSet, Needs};
use konko_core::authorized_keys::Entry;
use konko_core::keys::{Certificate, CertificateProblem, PublicKey, TouchPolicy};
use konko_core::provider;
use konko_core::text::{Limits, Location, TooLarge, lines};
use konko_core::wire::SshStr;

pub use konko_core::auth::MethodLists;
pub use konko_core::authorized_keys::AuthorizedKeys;

pub use super::authorities::Authorities;

use super::authorities::{refusal, revokes};
pub use super::key_file::KeyFile;
use super::key_file::open;
pub use super::password::{BadHash, hash_password};
use super::password::{Checker, Password};
use crate::key_file::read_to_end;

/// How large a password file may be.
const LIMITS: Limits = Limits { file: 1024 * 1024, line: 1024 * 1024 };

/// Who may log in, and how. Filled first, then shared by the connections in an `Arc`.
///
/// ```
/// use konko::server::users::{User, Users};
///
/// let mut users = Users::new();
/// users.add("alice", User::new().password("wonderland"))?;
/// users.require("password".parse()?);
/// assert!(users.check_password("alice", b"wonderland"));
/// assert!(!users.check_password("mallory", b"wonderland"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A table does not count attempts and delays no answer; the connection does (`MaxAuthTries`).
pub struct Users {
    users: BTreeMap<Vec<u8>, Known>,
    passwords: Vec<Password>,
    /// Keys that count for every user name.
    keys: Vec<Keys>,
    certificates: Authorities,
    revoked: Vec<PathBuf>,
    touch: TouchPolicy,
    methods: MethodLists,
    checker: Checker,
    /// Says which known user's password an unknown one is compared with.
    shadow: RandomState,
    warn: Box<dyn Fn(&str) + Send + Sync>,
}

struct Known {
    /// Which of the passwords.
    password: Option<usize>,
    keys: Vec<Keys>,
    methods: Option<MethodLists>,
}

enum Keys {
    Text(AuthorizedKeys),
    File(KeyFile),
}

/// One user for [`Users::add`]. Without a password or keys nobody comes in under the name.
#[derive(Default)]
pub struct User {
    password: Option<Given>,
    keys: Vec<Keys>,
    methods: Option<MethodLists>,
}

enum Given {
    Plain(zeroize::Zeroizing<Vec<u8>>),
    Hash(String),
}

impl User {
    /// A user who cannot log in yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With this password. An empty one is an error in [`Users::add`].
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Self {
        self.password = Some(Given::Plain(zeroize::Zeroizing::new(password.into())));
        self
    }

    /// With the password of this argon2 hash, a PHC string such as
    /// `$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH`.
    #[must_use]
    pub fn password_hash(mut self, hash: impl Into<String>) -> Self {
        self.password = Some(Given::Hash(hash.into()));
        self
    }

    /// With these keys. Call it again for more.
    #[must_use]
    pub fn keys(mut self, keys: AuthorizedKeys) -> Self {
        self.keys.push(Keys::Text(keys));
        self
    }

    /// With the keys of a file. Call it again for more.
    #[must_use]
    pub fn key_file(mut self, file: KeyFile) -> Self {
        self.keys.push(Keys::File(file));
        self
    }

    /// With other methods than those that [`Users::require`] sets.
    #[must_use]
    pub fn require(mut self, methods: MethodLists) -> Self {
        self.methods = Some(methods);
        self
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User").field("methods", &self.methods).finish_non_exhaustive()
    }
}

/// Why a user cannot be in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadUser {
    /// The name is empty, or has blanks, controls or a colon.
    Name,
    /// There is a user of that name already.
    Twice,
    /// The password is empty: anybody could log in.
    EmptyPassword,
    /// The hash is not one that can be checked.
    Hash(BadHash),
}

impl fmt::Display for BadUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str("a user name is not empty and has no blanks, controls or colons"),
            Self::Twice => f.write_str("the user is in the table already"),
            Self::EmptyPassword => f.write_str("the password is empty, so that anybody could log in"),
            Self::Hash(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for BadUser {}

/// Why a password file was not read. Nothing of it is used. `Display` is `file:line: problem`.
#[derive(Debug)]
#[non_exhaustive]
pub struct PasswordFileError {
    /// The line, or the file as a whole.
    pub at: Location,
    /// What is wrong.
    pub problem: PasswordFileProblem,
}

/// What is wrong with a password file.
#[derive(Debug)]
#[non_exhaustive]
pub enum PasswordFileProblem {
    /// It cannot be read, or cannot be trusted.
    Io(std::io::Error),
    /// It is larger than 1 MiB.
    TooLarge(TooLarge),
    /// A line that is neither `user:argon2-hash` nor `user:plain:PASSWORD`.
    Line,
    /// The user of a line.
    User(BadUser),
}

impl fmt::Display for PasswordFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.at)?;
        match &self.problem {
            PasswordFileProblem::Io(e) => e.fmt(f),
            PasswordFileProblem::TooLarge(e) => e.fmt(f),
            PasswordFileProblem::Line => {
                f.write_str("the line is neither `user:argon2-hash` nor `user:plain:PASSWORD`")
            }
            PasswordFileProblem::User(problem) => problem.fmt(f),
        }
    }
}

impl std::error::Error for PasswordFileError {}

impl Users {
    /// Nobody may log in.
    pub fn new() -> Self {
        Users {
            users: BTreeMap::new(),
            passwords: Vec::new(),
            keys: Vec::new(),
            certificates: Authorities::new(),
            revoked: Vec::new(),
            touch: TouchPolicy::new(false, false),
            methods: MethodLists::ANY,
            checker: Checker::new(),
            shadow: RandomState::new(),
            warn: Box::new(|_| {}),
        }
    }

    /// Calls `warn` with a line for the log: lines of key files that are not used, files that cannot
    /// be trusted, passwords that stand in a file as they are. Call it before users are added.
    pub fn on_warning(&mut self, warn: impl Fn(&str) + Send + Sync + 'static) {
        self.warn = Box::new(warn);
    }

    /// Adds a user.
    ///
    /// # Errors
    /// [`BadUser`]; the table is as before then.
    pub fn add(&mut self, name: &str, user: User) -> Result<(), BadUser> {
        let meant = |c: char| c != ':' && !c.is_control() && !c.is_whitespace();
        if name.is_empty() || !name.chars().all(meant) {
            return Err(BadUser::Name);
        }
        if self.users.contains_key(name.as_bytes()) {
            return Err(BadUser::Twice);
        }
        let password = match user.password {
            None => None,
            Some(Given::Plain(password)) if password.is_empty() => return Err(BadUser::EmptyPassword),
            Some(Given::Plain(password)) => Some(self.checker.plain(&password)),
            Some(Given::Hash(hash)) => Some(Password::argon2(&hash).map_err(BadUser::Hash)?),
        };
        for keys in &user.keys {
            self.complain(keys);
        }
        let place = password.is_some().then_some(self.passwords.len());
        self.passwords.extend(password);
        let known = Known { password: place, keys: user.keys, methods: user.methods };
        self.users.insert(name.into(), known);
        Ok(())
    }

    /// Adds the users of a password file: lines `user:argon2-hash`, or `user:plain:PASSWORD` with a
    /// warning; empty lines and those that begin with `#` are passed over (see
    /// [`core::text`](crate::core::text)).
    ///
    /// # Errors
    /// A file that others can write, and the first line that makes no sense; nothing of the file is
    /// added then.
    pub fn add_password_file(&mut self, path: impl AsRef<Path>) -> Result<(), PasswordFileError> {
        let path = path.as_ref();
        let failed = |line, problem| {
            let at = Location::new(path.as_os_str().as_bytes(), line);
            PasswordFileError { at, problem }
        };
        let io = |e| failed(0, PasswordFileProblem::Io(e));
        let (file, meta) = open(path, true).map_err(io)?;
        let bytes = read_to_end(file, LIMITS.file).map_err(io)?;
        let lines = lines(&bytes, LIMITS).map_err(|e| failed(0, PasswordFileProblem::TooLarge(e)))?;
        let mut added: Vec<&str> = Vec::new();
        let before = self.passwords.len();
        let mut plain = 0;
        for line in lines {
            // A password may end with blanks.
            let result = password_line(line.whole()).and_then(|(name, user)| {
                plain += usize::from(matches!(user.password, Some(Given::Plain(_))));
                self.add(name, user).map_err(PasswordFileProblem::User)?;
                added.push(name);
                Ok(())
            });
            if let Err(problem) = result {
                added.iter().for_each(|name| drop(self.users.remove(name.as_bytes())));
                self.passwords.truncate(before);
                return Err(failed(line.number(), problem));
            }
        }
        if plain > 0 {
            use std::os::unix::fs::MetadataExt;
            let read = if meta.mode() & 0o044 != 0 { ", and others can read it" } else { "" };
            (self.warn)(&format!(
                "{}: {plain} passwords stand in the file as they are{read}; write argon2 hashes instead",
                path.display()
            ));
        }
        Ok(())
    }

    /// Lets in whoever has one of these keys, under any user name, in the table or not.
    pub fn add_keys(&mut self, keys: AuthorizedKeys) {
        let keys = Keys::Text(keys);
        self.complain(&keys);
        self.keys.push(keys);
    }

    /// Lets in whoever has one of the keys in a file, under any user name, in the table or not.
    pub fn add_key_file(&mut self, file: KeyFile) {
        let keys = Keys::File(file);
        self.complain(&keys);
        self.keys.push(keys);
    }

    /// Lets in whoever has a certificate by one of these authorities, under the names that it is for, in the table or not.
    pub fn certificates(&mut self, authorities: Authorities) {
        self.certificates = authorities;
    }

    /// Lets nobody in by a key or a certificate that stands in this file, or by an authority that does (OpenSSH `RevokedKeys`):
    /// a key revocation list, or public keys, one a line. Nobody comes in by any key while it cannot be read.
    pub fn revoked_keys(&mut self, file: impl Into<PathBuf>) {
        self.revoked.push(file.into());
    }

    /// What every security key has to say about its user, beside what its line and its certificate ask for (OpenSSH
    /// `PubkeyAuthOptions`). Unless it is said, a line or a certificate may do without a touch, and none needs a PIN.
    pub fn security_keys(&mut self, policy: TouchPolicy) {
        self.touch = policy;
    }

    /// What a signature by a security key has to say, where this line let it in.
    pub(super) fn touch(&self, entry: &Entry) -> TouchPolicy {
        entry.options.touch().and(self.touch)
    }

    /// What users have to prove, unless they have lists of their own; any method alone is enough
    /// otherwise.
    pub fn require(&mut self, methods: MethodLists) {
        self.methods = methods;
    }

    /// Whether nobody can log in at all.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty() && self.keys.is_empty() && self.certificates.is_empty()
    }

    /// Whether it is the user's password.
    ///
    /// For a user who is not in the table, or who has none, the password of another is checked in
    /// vain, so that the time does not tell who is (AS-20). If hashes of several kinds are in the
    /// table, each such name always takes as long as one and the same of them. At most as many
    /// argon2 hashes as there are processors are computed at a time; further calls wait.
    pub fn check_password(&self, user: impl AsRef<[u8]>, password: &[u8]) -> bool {
        let Some((known, of_user)) = self.password_of(user.as_ref()) else { return false };
        self.checker.check(known, password) & of_user
    }

    /// The password to check, and whether it is the user's own.
    fn password_of(&self, user: &[u8]) -> Option<(&Password, bool)> {
        let own = self.users.get(user).and_then(|known| known.password);
        let other = self.shadow.hash_one(user).checked_rem(self.passwords.len() as u64)? as usize;
        Some((self.passwords.get(own.unwrap_or(other))?, own.is_some()))
    }

    /// The line that lets the user in with this key from there: see
    /// [`AuthorizedKeys::find`]. Its options are for the session.
    ///
    /// For a certificate it is a line marked `cert-authority`, or one of an [authority](Self::certificates); the options are
    /// what the line and the certificate allow together.
    ///
    /// Ask it for a probe as well as for a verified signature; only the latter proves anything.
    pub fn key(&self, user: impl AsRef<[u8]>, key: &PublicKey, source: Option<IpAddr>) -> Option<Entry> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok().map(|now| now.as_secs());
        let user = user.as_ref();
        if self.revoked.iter().any(|file| revokes(file, key, &*self.warn)) {
            return None;
        }
        let Some(certificate) = Certificate::of(key) else {
            return self.among_keys(user, |keys| keys.find(key, source, now).cloned());
        };
        let check = self.certificates.check(user, source, now);
        let mut problem = None;
        let mut found = |result: Result<Entry, CertificateProblem>| match result {
            Ok(entry) => Some(entry),
            Err(CertificateProblem::Authority) => None,
            Err(why) => {
                problem = Some(why);
                None
            }
        };
        // As in sshd, the user's own lines come first.
        let entry = self
            .among_keys(user, |keys| found(keys.find_certified(provider::best(), &certificate, &check)))
            .or_else(|| found(self.certificates.find(user, &certificate, &check, &*self.warn)));
        if let (None, Some(problem)) = (&entry, problem) {
            (self.warn)(&refusal(&certificate, user, &problem));
        }
        entry
    }

    /// The first thing that is found among the keys that count for the user.
    fn among_keys<T>(&self, user: &[u8], mut find: impl FnMut(&AuthorizedKeys) -> Option<T>) -> Option<T> {
        let own = self.users.get(user).map(|known| &known.keys[..]).unwrap_or_default();
        own.iter().chain(&self.keys).find_map(|keys| match keys {
            Keys::Text(keys) => find(keys),
            Keys::File(file) => find(&file.keys(&self.warn)),
        })
    }

    /// Whether somebody of that name may be able to log in: who is in the table, and everybody where keys
    /// are for any name.
    pub fn knows(&self, user: impl AsRef<[u8]>) -> bool {
        !self.keys.is_empty() || !self.certificates.is_empty() || self.users.contains_key(user.as_ref())
    }

    /// What the user still has to prove after the methods that have succeeded, in this order.
    pub fn needs(&self, user: impl AsRef<[u8]>, succeeded: &[Method]) -> Needs {
        let own = self.users.get(user.as_ref()).and_then(|known| known.methods.as_ref());
        own.unwrap_or(&self.methods).needs(succeeded)
    }

    /// The methods that somebody may have to use: those that a server has to take.
    pub fn methods(&self) -> MethodSet {
        let own = self.users.values().filter_map(|known| known.methods.as_ref());
        own.chain([&self.methods]).flat_map(|lists| lists.methods().iter().collect::<Vec<_>>()).collect()
    }

    /// Says now what is wrong with keys, rather than when somebody needs them.
    fn complain(&self, keys: &Keys) {
        match keys {
            Keys::Text(keys) => keys.warnings().iter().for_each(|warning| (self.warn)(&warning.to_string())),
            Keys::File(file) => drop::<Arc<_>>(file.keys(&self.warn)),
        }
    }
}

impl Default for Users {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<SshStr<'_>> = self.users.keys().map(|name| SshStr::new(name)).collect();
        f.debug_struct("Users").field("names", &names).field("methods", &self.methods).finish_non_exhaustive()
    }
}

fn password_line(line: &[u8]) -> Result<(&str, User), PasswordFileProblem> {
    let at = line.iter().position(|b| *b == b':').ok_or(PasswordFileProblem::Line)?;
    let (name, secret) = (&line[..at], &line[at + 1..]);
    let name = std::str::from_utf8(name).map_err(|_| PasswordFileProblem::User(BadUser::Name))?;
    if let Some(password) = secret.strip_prefix(b"plain:") {
        return Ok((name, User::new().password(password)));
    }
    if !secret.starts_with(b"$") {
        return Err(PasswordFileProblem::Line);
    }
    let hash = str::from_utf8(secret).map_err(|_| PasswordFileProblem::User(BadUser::Hash(BadHash::Form)))?;
    Ok((name, User::new().password_hash(hash)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a hash of few passes and little memory begins.
    const SMALL: &str = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$";

    fn hash(params: &str, password: &str) -> String {
        use argon2::PasswordHasher;
        let params: argon2::Params = params.parse().unwrap();
        argon2::Argon2::from(params)
            .hash_password_with_salt(password.as_bytes(), b"somesalt")
            .unwrap()
            .to_string()
    }

    fn table() -> Users {
        let mut users = Users::new();
        users.add("plain", User::new().password("secret")).unwrap();
        users.add("small", User::new().password_hash(hash("m=64,t=1,p=1", "secret"))).unwrap();
        users.add("large", User::new().password_hash(hash("m=256,t=2,p=1", "secret"))).unwrap();
        users.add("keys", User::new()).unwrap();
        users
    }

    #[test]
    fn passwords_plain_and_hashed() {
        let users = table();
        for name in ["plain", "small", "large"] {
            assert!(users.check_password(name, b"secret"), "{name}");
            for wrong in [&b""[..], b"secre", b"secret ", b"Secret", &[b's'; 4096], b"secret\0"] {
                assert!(!users.check_password(name, wrong), "{name}");
            }
        }
        for name in [&b"keys"[..], b"", b"nobody", b"\xff", b"Plain", b"plain "] {
            assert!(!users.check_password(name, b"secret"));
        }
        assert!(!Users::new().check_password("anybody", b""));
        assert!(!format!("{users:?}").contains("secret"));
    }

    #[test]
    fn a_hash_that_is_made_here_lets_its_password_in() {
        let mut users = Users::new();
        let hash = hash_password(b"secret").unwrap();
        assert_ne!(hash, hash_password(b"secret").unwrap(), "each has a salt of its own");
        users.add("alice", User::new().password_hash(hash)).unwrap();
        assert!(users.check_password("alice", b"secret"));
        assert!(!users.check_password("alice", b"Secret"));
    }

    #[test]
    fn as20_an_unknown_user_costs_what_a_known_one_does() {
        let users = table();
        let cost = |name: &str| {
            let (password, of_user) = users.password_of(name.as_bytes()).unwrap();
            (password.cost(), of_user)
        };
        let known: Vec<String> = ["plain", "small", "large"].iter().map(|name| cost(name).0).collect();
        assert_eq!(known[1..], ["argon2id m=64,t=1,p=1", "argon2id m=256,t=2,p=1"]);
        let mut seen = [0; 3];
        for i in 0..300 {
            let name = format!("user{i}");
            let (price, of_user) = cost(&name);
            assert!(!of_user, "nobody comes in by another's password");
            assert_eq!(price, cost(&name).0, "the same name always takes the same time");
            seen[known.iter().position(|k| *k == price).unwrap()] += 1;
        }
        assert!(seen.iter().all(|n| *n > 30), "{seen:?}: names that are not there look like those that are");
        assert!(!cost("keys").1, "nor is it told who has only keys");
    }

    #[test]
    fn what_cannot_be_meant_is_an_error_at_once() {
        let good = hash("m=64,t=1,p=1", "x");
        assert!(good.starts_with(SMALL));
        let hashes = [
            ("", BadHash::Form),
            ("secret", BadHash::Form),
            ("$2y$10$abcdefghijklmnopqrstuv", BadHash::Form),
            (&good[..good.len() - 1], BadHash::Form),
            (&good.replace("argon2id", "argon2x"), BadHash::Form),
            (&good.replace("v=19", "v=20"), BadHash::Form),
            (&good.replace("t=1", "t=0"), BadHash::Form),
            (&good.replace("m=64", "m=1"), BadHash::Form),
            (SMALL, BadHash::Form),
            ("$argon2id$v=19$m=64,t=1,p=1", BadHash::Form),
            (&good.replace("m=64", "m=1048577"), BadHash::Cost),
            (&good.replace("t=1", "t=101"), BadHash::Cost),
        ];
        let mut users = Users::new();
        for (hash, problem) in hashes {
            let result = users.add("a", User::new().password_hash(hash));
            assert_eq!(result, Err(BadUser::Hash(problem)), "{hash}");
        }
        assert_eq!(users.add("a", User::new().password("")), Err(BadUser::EmptyPassword));
        for name in ["", "a b", "a:b", "a\n", "\u{1b}"] {
            assert_eq!(users.add(name, User::new()), Err(BadUser::Name), "{name:?}");
        }
        assert!(users.is_empty());
        users.add("a", User::new()).unwrap();
        assert_eq!(users.add("a", User::new()), Err(BadUser::Twice));
    }

    #[test]
    fn lists_of_methods_a_user() {
        let mut users = table();
        users.require("publickey".parse().unwrap());
        let own = User::new().password("x").require("publickey,password".parse().unwrap());
        users.add("two", own).unwrap();
        let set = |method| [method].into_iter().collect::<MethodSet>();
        assert_eq!(users.needs("nobody", &[]), Needs::OneOf(set(Method::PublicKey)));
        assert_eq!(users.needs("two", &[Method::PublicKey]), Needs::OneOf(set(Method::Password)));
        assert_eq!(users.needs("plain", &[Method::PublicKey]), Needs::Nothing);
        assert_eq!(users.methods(), set(Method::PublicKey).with(Method::Password));
    }
}
