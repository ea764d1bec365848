//! Who signs the certificates that users log in with, and which keys are revoked.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use konko_core::authorized_keys::{AuthorizedKeys, AuthorizedPrincipals, Entry, LIMITS};
use konko_core::keys::{
    Certificate, CertificateCheck, CertificateProblem, Principals, PublicKey, SignatureAlgorithm,
};
use konko_core::krl::{self, RevokedKeys};
use konko_core::provider;
use konko_core::wire::SshStr;

use super::key_file::{KeyFile, open};
use crate::key_file::read_to_end;

/// Who signs the certificates that users log in with, for [`Users::certificates`](super::users::Users::certificates).
/// Nobody does unless it is said; lines marked `cert-authority` among a user's own keys count beside these.
///
/// ```
/// use konko::server::users::{Authorities, KeyFile, Users};
///
/// let mut users = Users::new();
/// let authorities = Authorities::new().key_file(KeyFile::new("/etc/ssh/user_ca.pub"));
/// users.certificates(authorities.principals_file("/etc/ssh/principals/%u"));
/// ```
#[derive(Default)]
pub struct Authorities {
    keys: Vec<AuthorizedKeys>,
    files: Vec<KeyFile>,
    principals: Option<PathBuf>,
    strict: Strict,
    algorithms: Option<Vec<SignatureAlgorithm>>,
    min_rsa_bits: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Strict {
    #[default]
    Yes,
    No,
}

impl Authorities {
    /// Nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whoever has one of these keys; lines with options do not count. Call it again for more.
    #[must_use]
    pub fn keys(mut self, keys: AuthorizedKeys) -> Self {
        self.keys.push(keys);
        self
    }

    /// Whoever has one of the keys in a file (OpenSSH `TrustedUserCAKeys`). Call it again for more.
    #[must_use]
    pub fn key_file(mut self, file: KeyFile) -> Self {
        self.files.push(file);
        self
    }

    /// A file of the principals that count in the place of the user's name, in which `%u` stands for that name and `%%` for
    /// a percent sign (OpenSSH `AuthorizedPrincipalsFile`). Of a user without such a file no certificate is taken.
    #[must_use]
    pub fn principals_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.principals = Some(path.into());
        self
    }

    /// Takes files of principals whoever owns them and can write them (`StrictModes no`).
    #[must_use]
    pub fn insecure_any_owner(mut self) -> Self {
        self.strict = Strict::No;
        self
    }

    /// With what authorities may sign (OpenSSH `CASignatureAlgorithms`):
    /// [`SignatureAlgorithm::of_authorities`] unless it is said.
    #[must_use]
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = SignatureAlgorithm>) -> Self {
        self.algorithms = Some(algorithms.into_iter().collect());
        self
    }

    /// The smallest RSA key that an authority may have, in bits: 2048 unless it is said.
    #[must_use]
    pub fn required_rsa_size(mut self, bits: usize) -> Self {
        self.min_rsa_bits = Some(bits);
        self
    }

    /// Whether nobody is trusted here.
    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.files.is_empty()
    }

    /// What a certificate is held against.
    pub(super) fn check<'a>(
        &'a self,
        user: &'a [u8],
        source: Option<IpAddr>,
        now: Option<u64>,
    ) -> CertificateCheck<'a> {
        let mut check = CertificateCheck::user(Principals::Name(user)).source(source).now(now);
        if let Some(algorithms) = &self.algorithms {
            check = check.algorithms(algorithms);
        }
        match self.min_rsa_bits {
            Some(bits) => check.min_rsa_bits(bits),
            None => check,
        }
    }

    /// What the user may do with a certificate by one of these.
    pub(super) fn find(
        &self,
        user: &[u8],
        certificate: &Certificate,
        check: &CertificateCheck<'_>,
        warn: &dyn Fn(&str),
    ) -> Result<Entry, CertificateProblem> {
        let files = self.files.iter().map(|file| file.keys(warn));
        let keys: Vec<Arc<AuthorizedKeys>> = self.keys.iter().cloned().map(Arc::new).chain(files).collect();
        let signed =
            |keys: &&Arc<AuthorizedKeys>| keys.entries().iter().any(|e| e.key() == certificate.authority());
        let Some(keys) = keys.iter().find(signed) else { return Err(CertificateProblem::Authority) };
        let principals = self.principals.as_ref().map(|path| self.principals_of(path, user, warn));
        keys.find_trusted(provider::best(), certificate, check, principals.as_ref())
    }

    /// The principals of a user; none, if the file cannot be trusted.
    fn principals_of(&self, path: &Path, user: &[u8], warn: &dyn Fn(&str)) -> AuthorizedPrincipals {
        let Some(path) = expanded(path, user) else { return AuthorizedPrincipals::default() };
        let read = || -> std::io::Result<AuthorizedPrincipals> {
            let (file, _) = open(&path, self.strict == Strict::Yes)?;
            let bytes = read_to_end(file, LIMITS.file)?;
            AuthorizedPrincipals::parse(path.as_os_str().as_bytes(), &bytes).map_err(std::io::Error::other)
        };
        match read() {
            Ok(principals) => {
                principals.warnings().iter().for_each(|warning| warn(&warning.to_string()));
                principals
            }
            // Most users have none.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => AuthorizedPrincipals::default(),
            Err(e) => {
                warn(&format!("{}: {e}; no principal in it counts", path.display()));
                AuthorizedPrincipals::default()
            }
        }
    }
}

/// Whether a file of revoked keys (OpenSSH `RevokedKeys`) has the key, or the certificate, its key or its authority. While it
/// cannot be read, or somebody else can write it, every key is revoked.
pub(super) fn revokes(file: &Path, key: &PublicKey, warn: &dyn Fn(&str)) -> bool {
    let read = || -> std::io::Result<RevokedKeys> {
        let (file, _) = open(file, true)?;
        RevokedKeys::parse(&read_to_end(file, krl::MAX_FILE)?).map_err(std::io::Error::other)
    };
    match read() {
        Ok(revoked) => revoked.check_key(key).is_some(),
        Err(e) => {
            warn(&format!("{}: {e}; no key lets anybody in until it can be read", file.display()));
            true
        }
    }
}

/// The path for a user; `None` for a name that would lead elsewhere, and for what is no path.
fn expanded(path: &Path, user: &[u8]) -> Option<PathBuf> {
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;
    if user.is_empty() || user == b"." || user == b".." || user.iter().any(|b| matches!(b, b'/' | 0)) {
        return None;
    }
    let mut out = Vec::new();
    let mut bytes = path.as_os_str().as_bytes().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => match bytes.next()? {
                b'u' => out.extend_from_slice(user),
                b'%' => out.push(b'%'),
                _ => return None,
            },
            other => out.push(*other),
        }
    }
    Some(OsString::from_vec(out).into())
}

/// A line for a log about a certificate that was refused.
pub(super) fn refusal(certificate: &Certificate, user: &[u8], problem: &CertificateProblem) -> String {
    format!(
        "refusing certificate \"{}\" (serial {}) for user \"{}\": {problem}",
        certificate.key_id(),
        certificate.serial(),
        SshStr::new(user)
    )
}

impl fmt::Debug for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorities")
            .field("keys", &self.keys)
            .field("files", &self.files)
            .field("principals", &self.principals)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_name_does_not_lead_elsewhere() {
        let of = |path: &str, user: &[u8]| expanded(Path::new(path), user);
        assert_eq!(of("/p/%u", b"alice"), Some("/p/alice".into()));
        assert_eq!(of("/p/%%%u.x", b"%u"), Some("/p/%%u.x".into()));
        for user in [&b""[..], b".", b"..", b"../etc/passwd", b"a/b", b"a\0"] {
            assert_eq!(of("/p/%u", user), None, "{user:?}");
        }
        for path in ["/p/%x", "/p/%"] {
            assert_eq!(of(path, b"alice"), None, "{path}");
        }
    }
}
