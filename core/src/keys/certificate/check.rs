//! Whether to believe a certificate (OpenSSH `sshkey_cert_check_authority`, `cert_option_list`).

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;
use core::net::IpAddr;

use super::{Certificate, CertificateKind, CertificateOption, is_old, shown};
use crate::crypto::Provider;
use crate::keys::{DEFAULT_MIN_RSA_BITS, PublicKey, SignatureAlgorithm, signature};
use crate::text::{Sources, pattern};
use crate::wire::{Reader, SshStr};

/// Whom a certificate has to be for.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Principals<'a> {
    /// This name: that of the user who logs in, or of the host. In a host's certificate the principals may have `*` and
    /// `?`; in a user's they are names, to the byte.
    Name(&'a [u8]),
    /// One of these names (`principals` of authorized_keys, `AuthorizedPrincipalsFile`).
    OneOf(&'a [Box<[u8]>]),
}

/// What a certificate is held against. Unless something is said, nobody is an authority, there is no time, so that nothing
/// is valid, and no address.
///
/// Whether it is revoked is a value too: look the certificate, its key and its authority up first.
#[derive(Clone, Debug)]
pub struct CertificateCheck<'a> {
    kind: CertificateKind,
    principals: Principals<'a>,
    authorities: &'a [PublicKey],
    algorithms: Option<&'a [SignatureAlgorithm]>,
    min_rsa_bits: usize,
    now: Option<u64>,
    source: Option<IpAddr>,
    revoked: bool,
}

impl<'a> CertificateCheck<'a> {
    /// Of a certificate that a user logs in with.
    pub fn user(principals: Principals<'a>) -> Self {
        Self::new(CertificateKind::User, principals)
    }

    /// Of a certificate that the host of this name shows, in lower case and without a port.
    pub fn host(name: &'a [u8]) -> Self {
        Self::new(CertificateKind::Host, Principals::Name(name))
    }

    fn new(kind: CertificateKind, principals: Principals<'a>) -> Self {
        CertificateCheck {
            kind,
            principals,
            authorities: &[],
            algorithms: None,
            min_rsa_bits: DEFAULT_MIN_RSA_BITS,
            now: None,
            source: None,
            revoked: false,
        }
    }

    /// Whom it has to be for.
    #[must_use]
    pub fn principals(mut self, principals: Principals<'a>) -> Self {
        self.principals = principals;
        self
    }

    pub(crate) fn wanted(&self) -> Principals<'a> {
        self.principals
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.source
    }

    pub(crate) fn time(&self) -> Option<u64> {
        self.now
    }

    /// One of these has to have signed it.
    #[must_use]
    pub fn authorities(mut self, authorities: &'a [PublicKey]) -> Self {
        self.authorities = authorities;
        self
    }

    /// With one of these, `CASignatureAlgorithms`; [`SignatureAlgorithm::of_authorities`] unless it is said.
    #[must_use]
    pub fn algorithms(mut self, algorithms: &'a [SignatureAlgorithm]) -> Self {
        self.algorithms = Some(algorithms);
        self
    }

    /// The smallest RSA key that an authority may have, in bits: [`DEFAULT_MIN_RSA_BITS`] unless it is said.
    #[must_use]
    pub fn min_rsa_bits(mut self, bits: usize) -> Self {
        self.min_rsa_bits = bits;
        self
    }

    /// The time, in seconds since 1970 UTC.
    #[must_use]
    pub fn now(mut self, now: Option<u64>) -> Self {
        self.now = now;
        self
    }

    /// The address that the user comes from; a peer without one never matches a `source-address`.
    #[must_use]
    pub fn source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// The certificate, its key or its authority is revoked.
    #[must_use]
    pub fn revoked(mut self, revoked: bool) -> Self {
        self.revoked = revoked;
        self
    }
}

/// Why a certificate is not believed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CertificateProblem {
    /// The certificate, its key or its authority is revoked.
    Revoked,
    /// Who signed it is nobody who may.
    Authority,
    /// The authority's RSA key is too short; its bits.
    WeakAuthority(usize),
    /// The authority signed with an algorithm that is not allowed; its name, escaped.
    Algorithm(String),
    /// It is for the other kind of peer.
    Kind(CertificateKind),
    /// It is not valid yet.
    NotYetValid,
    /// It is not valid any more.
    Expired,
    /// The time is not known.
    NoTime,
    /// It names nobody, and is for nobody then.
    NoPrincipals,
    /// It is not for this user or host.
    Principal,
    /// It has a critical option that is not known, or that a host's cannot have; its name, escaped.
    CriticalOption(String),
    /// The data of an option makes no sense, or the option stands twice; its name, escaped.
    OptionData(String),
    /// It is not for use from this address.
    SourceAddress,
    /// The signature is not the authority's.
    Signature,
    /// What it permits, and what the key of its authority does, do not fit together: two different forced commands.
    Command,
}

impl fmt::Display for CertificateProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Revoked => f.write_str("the certificate, its key or its authority is revoked"),
            Self::Authority => f.write_str("no trusted authority signed the certificate"),
            Self::WeakAuthority(bits) => {
                write!(f, "the certificate's authority has an RSA key of {bits} bits, which is too short")
            }
            Self::Algorithm(name) => write!(
                f,
                "the certificate is signed with {name}, which is not allowed (CASignatureAlgorithms)"
            ),
            Self::Kind(CertificateKind::User) => f.write_str("the certificate is not a user certificate"),
            Self::Kind(CertificateKind::Host) => f.write_str("the certificate is not a host certificate"),
            Self::NotYetValid => f.write_str("the certificate is not yet valid"),
            Self::Expired => f.write_str("the certificate has expired"),
            Self::NoTime => f.write_str("the time is not known, so that no certificate is valid"),
            Self::NoPrincipals => f.write_str("the certificate lacks a principal list"),
            Self::Principal => f.write_str("the certificate does not list the name as a principal"),
            Self::CriticalOption(name) => {
                write!(f, "the certificate has a critical option that is not supported, \"{name}\"")
            }
            Self::OptionData(name) => write!(f, "the certificate's option \"{name}\" is damaged"),
            Self::SourceAddress => f.write_str("the certificate may not be used from this address"),
            Self::Signature => f.write_str("the certificate's signature is not its authority's"),
            Self::Command => {
                f.write_str("the certificate and the key of its authority force different commands")
            }
        }
    }
}

impl core::error::Error for CertificateProblem {}

/// A certificate that was validated: only [`Certificate::validate`] makes one.
#[derive(Clone, Debug)]
pub struct Certified<'c> {
    certificate: &'c Certificate,
    permits: Permits,
}

impl<'c> Certified<'c> {
    /// The certificate.
    pub fn certificate(&self) -> &'c Certificate {
        self.certificate
    }

    /// What its options permit and ask for. A host's has none.
    pub fn permits(&self) -> &Permits {
        &self.permits
    }
}

/// What the options of a user's certificate permit and ask for (PROTOCOL.certkeys). What is not permitted is forbidden.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Permits {
    /// The command that runs whatever the client asks for (`force-command`).
    pub force_command: Option<Box<[u8]>>,
    /// A security key has to verify its user (`verify-required`).
    pub verify_required: bool,
    /// A security key need not be touched (`no-touch-required`).
    pub no_touch_required: bool,
    /// X11 forwarding (`permit-X11-forwarding`).
    pub x11_forwarding: bool,
    /// Agent forwarding (`permit-agent-forwarding`).
    pub agent_forwarding: bool,
    /// TCP and socket forwarding (`permit-port-forwarding`).
    pub port_forwarding: bool,
    /// A pseudo-terminal (`permit-pty`).
    pub pty: bool,
    /// Running `~/.ssh/rc` (`permit-user-rc`).
    pub user_rc: bool,
    source: Option<Sources>,
}

impl Permits {
    /// Whether the certificate may be used from there (`source-address`). A peer without an address never matches one.
    pub fn admits(&self, source: Option<IpAddr>) -> bool {
        self.source.as_ref().is_none_or(|list| source.is_some_and(|source| list.admit(source)))
    }

    pub(crate) fn source(&self) -> Option<&Sources> {
        self.source.as_ref()
    }

    /// What a user's certificate says. Unknown critical options, options that stand twice and data that makes no sense are
    /// errors; unknown extensions are nothing.
    fn of(certificate: &Certificate) -> Result<Self, CertificateProblem> {
        let mut permits = Permits::default();
        let mut seen = alloc::vec::Vec::new();
        for option in certificate.critical_options() {
            if seen.contains(&option.name) {
                return Err(damaged(option));
            }
            seen.push(option.name);
            permits.critical(option)?;
        }
        seen.clear();
        for option in certificate.extensions() {
            let Some(permission) = permits.extension(option.name) else { continue };
            if seen.contains(&option.name) || !option.data.is_empty() {
                return Err(damaged(option));
            }
            *permission = true;
            seen.push(option.name);
        }
        Ok(permits)
    }

    fn critical(&mut self, option: CertificateOption<'_>) -> Result<(), CertificateProblem> {
        let text = || {
            let mut r = Reader::new(option.data);
            let text = r.string().ok().filter(|text| !text.contains(&0));
            text.filter(|_| r.is_empty()).ok_or_else(|| damaged(option))
        };
        match option.name {
            b"verify-required" if option.data.is_empty() => self.verify_required = true,
            b"force-command" => self.force_command = Some(text()?.into()),
            b"source-address" => {
                self.source = Some(Sources::networks(text()?).ok_or_else(|| damaged(option))?);
            }
            b"verify-required" => return Err(damaged(option)),
            name => return Err(CertificateProblem::CriticalOption(shown(name))),
        }
        Ok(())
    }

    fn extension(&mut self, name: &[u8]) -> Option<&mut bool> {
        Some(match name {
            b"no-touch-required" => &mut self.no_touch_required,
            b"permit-X11-forwarding" => &mut self.x11_forwarding,
            b"permit-agent-forwarding" => &mut self.agent_forwarding,
            b"permit-port-forwarding" => &mut self.port_forwarding,
            b"permit-pty" => &mut self.pty,
            b"permit-user-rc" => &mut self.user_rc,
            _ => return None,
        })
    }
}

fn damaged(option: CertificateOption<'_>) -> CertificateProblem {
    CertificateProblem::OptionData(shown(option.name))
}

impl Certificate {
    /// Whether to believe the certificate. The signature is looked at last, so that one by a stranger costs no arithmetic.
    ///
    /// # Errors
    /// The first [`CertificateProblem`].
    pub fn validate(
        &self,
        provider: &dyn Provider,
        check: &CertificateCheck<'_>,
    ) -> Result<Certified<'_>, CertificateProblem> {
        use CertificateProblem as P;
        let refuse_if = |refused: bool, why: P| if refused { Err(why) } else { Ok(()) };
        refuse_if(check.revoked, P::Revoked)?;
        refuse_if(!check.authorities.contains(&self.authority), P::Authority)?;
        let weak = !self.authority.strength_ok(check.min_rsa_bits);
        refuse_if(weak, P::WeakAuthority(self.authority.bits()))?;
        let algorithm = self.allowed_algorithm(check)?;
        refuse_if(self.kind != check.kind, P::Kind(check.kind))?;
        let now = check.now.ok_or(P::NoTime)?;
        refuse_if(now < self.valid_after, P::NotYetValid)?;
        refuse_if(now >= self.valid_before, P::Expired)?;
        refuse_if(self.principals.is_empty(), P::NoPrincipals)?;
        refuse_if(!self.is_for(check.principals), P::Principal)?;
        let permits = match check.kind {
            CertificateKind::User => Permits::of(self)?,
            // None is known.
            CertificateKind::Host => match self.critical_options().next() {
                Some(option) => return Err(P::CriticalOption(shown(option.name))),
                None => Permits::default(),
            },
        };
        refuse_if(!permits.admits(check.source), P::SourceAddress)?;
        signature::verify(provider, &self.authority, algorithm, &self.signed_message(), &self.signature)
            .map_err(|_| P::Signature)?;
        Ok(Certified { certificate: self, permits })
    }

    /// Whether the authority that the certificate names signed it, and nothing else: for showing one to a person.
    pub fn signature_is_right(&self, provider: &dyn Provider) -> bool {
        let named = self.named_algorithm(self.authority.signature_algorithms());
        named.is_some_and(|algorithm| {
            let message = self.signed_message();
            signature::verify(provider, &self.authority, algorithm, &message, &self.signature).is_ok()
        })
    }

    /// The algorithm that the signature names, if it is one of these.
    fn named_algorithm(&self, algorithms: &[SignatureAlgorithm]) -> Option<SignatureAlgorithm> {
        let named = self.signature_algorithm();
        algorithms.iter().copied().find(|algorithm| algorithm.name().as_bytes() == named.as_bytes())
    }

    fn allowed_algorithm(
        &self,
        check: &CertificateCheck<'_>,
    ) -> Result<SignatureAlgorithm, CertificateProblem> {
        let own = self.named_algorithm(self.authority.signature_algorithms());
        let allowed = |algorithm: &SignatureAlgorithm| match check.algorithms {
            Some(list) => list.contains(algorithm),
            None => !is_old(*algorithm),
        };
        own.filter(allowed).ok_or_else(|| {
            CertificateProblem::Algorithm(shown(SshStr::as_bytes(&self.signature_algorithm())))
        })
    }

    fn is_for(&self, wanted: Principals<'_>) -> bool {
        let named = |name: &[u8]| {
            self.principals().any(|principal| match self.kind {
                CertificateKind::User => principal == name,
                CertificateKind::Host => pattern::matches(principal, name),
            })
        };
        match wanted {
            Principals::Name(name) => named(name),
            Principals::OneOf(names) => names.iter().any(|name| named(name)),
        }
    }
}
