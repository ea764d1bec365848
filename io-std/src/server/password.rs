use std::fmt;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use argon2::{Algorithm, Argon2, Params, PasswordHash, PasswordVerifier};
use konko_core::crypto::HashAlgorithm;
use konko_core::provider;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// The most that a hash may ask for (F-13): 1 GiB and 100 passes. The usual is 19 MiB and 2 passes.
const MAX_MEMORY: u32 = 1024 * 1024;
const MAX_PASSES: u32 = 100;

/// A password, in the form that it is kept in.
#[derive(Clone)]
pub(super) enum Password {
    /// A digest under the table's key, so that the text is not kept and its length is not seen in the
    /// time that a comparison takes.
    Plain(Zeroizing<[u8; 32]>),
    Argon2(Box<PasswordHash>),
}

/// Why a text is no password hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadHash {
    /// It is not an argon2 hash as a PHC string.
    Form,
    /// It asks for more than 1 GiB of memory or 100 passes.
    Cost,
}

impl fmt::Display for BadHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => {
                "not an argon2 hash such as $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH (`konko passwd` \
                 makes one)"
            }
            Self::Cost => "the argon2 hash asks for more than 1 GiB of memory or 100 passes",
        })
    }
}

impl std::error::Error for BadHash {}

/// The argon2id hash of a password with a salt of its own, as a PHC string: what
/// [`User::password_hash`](super::users::User::password_hash) and the lines of a password file take. Checking it takes
/// 19 MiB and two passes (OWASP's advice), some tens of milliseconds.
///
/// # Errors
/// The system has no random numbers, or the password is longer than argon2 takes.
pub fn hash_password(password: &[u8]) -> std::io::Result<String> {
    use argon2::PasswordHasher;
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).map_err(|e| std::io::Error::other(format!("no random numbers: {e}")))?;
    let hash = Argon2::default().hash_password_with_salt(password, &salt);
    hash.map(|hash| hash.to_string()).map_err(|e| std::io::Error::other(e.to_string()))
}

/// Checks passwords: the key of the plain ones, and how many argon2 hashes run at a time.
pub(super) struct Checker {
    key: Zeroizing<[u8; 32]>,
    /// Places that are free, one a processor: a hash takes megabytes, and attempts cost a peer nothing.
    places: Mutex<usize>,
    freed: Condvar,
}

impl Checker {
    pub(super) fn new() -> Self {
        let mut key = Zeroizing::new([0; 32]);
        // Without the system's random numbers no connection can be made either.
        getrandom::fill(&mut *key).expect("random numbers from the operating system");
        let places = thread::available_parallelism().map_or(1, usize::from);
        Checker { key, places: Mutex::new(places), freed: Condvar::new() }
    }

    pub(super) fn plain(&self, password: &[u8]) -> Password {
        Password::Plain(self.digest(password))
    }

    fn digest(&self, password: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut hash = provider::best().hash(HashAlgorithm::Sha256);
        hash.update(&*self.key);
        hash.update(password);
        let mut out = Zeroizing::new([0; 64]);
        hash.finish(&mut out);
        let mut digest = Zeroizing::new([0; 32]);
        digest.copy_from_slice(&out[..32]);
        digest
    }

    /// Whether the password is this one, in a time that depends only on `known` and on the length of
    /// `password`.
    pub(super) fn check(&self, known: &Password, password: &[u8]) -> bool {
        match known {
            Password::Plain(known) => self.digest(password).ct_eq(&**known).into(),
            Password::Argon2(known) => {
                let _place = self.place();
                Argon2::default().verify_password(password, &**known).is_ok()
            }
        }
    }

    fn place(&self) -> Place<'_> {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        while *places == 0 {
            places = self.freed.wait(places).unwrap_or_else(PoisonError::into_inner);
        }
        *places -= 1;
        Place(self)
    }
}

struct Place<'c>(&'c Checker);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.places.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}

impl Password {
    /// Reads a PHC string. All that a check could fail by later is an error now.
    pub(super) fn argon2(text: &str) -> Result<Self, BadHash> {
        let hash = PasswordHash::new(text).map_err(|_| BadHash::Form)?;
        let known = Algorithm::new(hash.algorithm.as_str()).is_ok();
        let version = hash.version.is_none_or(|version| argon2::Version::try_from(version).is_ok());
        if !known || !version || hash.salt.is_none() || hash.hash.is_none() {
            return Err(BadHash::Form);
        }
        let params = Params::try_from(&hash).map_err(|_| BadHash::Form)?;
        if params.m_cost() > MAX_MEMORY || params.t_cost() > MAX_PASSES {
            return Err(BadHash::Cost);
        }
        Ok(Password::Argon2(Box::new(hash)))
    }

    /// What a check costs: the algorithm and its parameters.
    #[cfg(test)]
    pub(super) fn cost(&self) -> String {
        match self {
            Password::Plain(_) => "plain".into(),
            Password::Argon2(hash) => format!("{} {}", hash.algorithm, hash.params),
        }
    }
}
