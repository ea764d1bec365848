//! Certificates that hosts show (OpenSSH sshconnect.c `check_host_key`, hostfile.c `check_key_not_revoked`).

use super::{Found, KnownHosts, Marker, Unreadable, canonical};
use crate::crypto::Provider;
use crate::keys::{Certificate, CertificateCheck, CertificateProblem, SignatureAlgorithm};
use crate::text::Location;

/// What authorities of hosts are held against, beside the lines of known hosts. The default has no time, so that no
/// certificate is believed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct HostAuthorities {
    /// Verifies their signatures.
    pub provider: &'static dyn Provider,
    /// The time, in seconds since 1970 UTC.
    pub now: Option<u64>,
    /// With what they may sign (`CASignatureAlgorithms`); [`SignatureAlgorithm::of_authorities`] if it is not said.
    pub algorithms: Option<alloc::vec::Vec<SignatureAlgorithm>>,
}

impl Default for HostAuthorities {
    fn default() -> Self {
        HostAuthorities { provider: crate::provider::best(), now: None, algorithms: None }
    }
}

/// What known_hosts says about the certificate that a host shows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum HostCertificateStatus {
    /// An authority of the host's says that the key is its.
    Match {
        /// The authority's line.
        at: Location,
    },
    /// The key, or its authority, is marked `@revoked` for this host. Never accept either.
    Revoked {
        /// The line that says so.
        at: Location,
    },
    /// Nobody can tell whether one of them is revoked. Never accept either.
    Unreadable {
        /// What cannot be read, and why.
        what: Unreadable,
    },
    /// The certificate says nothing; its key is to be looked up like any other.
    Rejected(CertificateProblem),
}

impl KnownHosts {
    /// What is known about a certificate for the host, by name and port as in [`lookup`](Self::lookup).
    ///
    /// An authority is the host's by a line marked `@cert-authority`; on a port other than 22, by one for the name alone too,
    /// as with OpenSSH. One of the certificate's principals has to be for the name, without its port. A key is revoked by a
    /// line with the key that the certificate is for, or with its authority's.
    pub fn lookup_certificate(
        &self,
        host: &str,
        port: u16,
        certificate: &Certificate,
        authorities: &HostAuthorities,
    ) -> HostCertificateStatus {
        use HostCertificateStatus as S;
        let name = canonical(host, port);
        let keys = [certificate.key(), certificate.authority()];
        let found = keys.map(|key| self.classify(&name, key, false));
        let listed = || self.revoked.iter().find(|(_, keys)| keys.check_key(certificate.public()).is_some());
        let line = found.iter().find_map(|found| found.revoked.clone());
        if let Some(at) = line.or_else(|| listed().map(|(at, _)| at.clone())) {
            return S::Revoked { at };
        }
        let unclear = |found: &Found| found.unclear.clone();
        if let Some(what) = self.unreadable.first().cloned().or_else(|| found.iter().find_map(unclear)) {
            return S::Unreadable { what };
        }
        let alone = canonical(host, 22);
        let Some(at) = self.authority_line(&name, &alone, certificate) else {
            return S::Rejected(CertificateProblem::Authority);
        };
        let trusted = core::slice::from_ref(certificate.authority());
        let mut check = CertificateCheck::host(alone.as_bytes()).authorities(trusted).now(authorities.now);
        if let Some(algorithms) = &authorities.algorithms {
            check = check.algorithms(algorithms);
        }
        match certificate.validate(authorities.provider, &check) {
            Ok(_) => S::Match { at },
            Err(problem) => S::Rejected(problem),
        }
    }

    /// The first line that makes the certificate's authority one of the host's.
    fn authority_line(&self, name: &str, alone: &str, certificate: &Certificate) -> Option<Location> {
        let of = |name: &str| {
            let mut lines = self.lines_for(name.as_bytes());
            let authority = certificate.authority();
            let found = lines.find(|(_, line)| {
                line.marker == Marker::Authority && line.public_key_like(authority).as_ref() == Ok(authority)
            });
            found.map(|(place, _)| self.location(place))
        };
        of(name).or_else(|| {
            if name == alone {
                return None;
            }
            // What is revoked there is no authority to go by here.
            let keys = [certificate.key(), certificate.authority()];
            let clear = |found: Found| found.revoked.is_none() && found.unclear.is_none();
            keys.iter().all(|key| clear(self.classify(alone, key, false))).then(|| of(alone)).flatten()
        })
    }

    /// Whether some authority is one of the host's, so that certificates are asked for first.
    pub(super) fn has_authority(&self, host: &str, port: u16) -> bool {
        let of = |name: &str| {
            self.lines_for(name.as_bytes())
                .any(|(_, line)| line.marker == Marker::Authority && line.public_key().is_ok())
        };
        of(&canonical(host, port)) || of(&canonical(host, 22))
    }
}
