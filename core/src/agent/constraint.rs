//! What is said about the use of a key when it is added (RFC 9987).

use alloc::vec::Vec;

use super::destination::Destination;
use super::{AgentError, MAX_CERTIFICATES, MAX_DESTINATIONS};
use crate::wire::{Reader, Sink};

const LIFETIME: u8 = 1;
const CONFIRM: u8 = 2;
const EXTENSION: u8 = 255;
const DESTINATIONS: &[u8] = b"restrict-destination-v00@openssh.com";
const CERTIFICATES: &[u8] = b"associated-certs-v00@openssh.com";

/// What limits the use of a key in an agent. The default is nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constraints {
    pub(super) lifetime: Option<u32>,
    pub(super) confirm: bool,
    pub(super) destinations: Vec<Destination>,
    pub(super) certificates: Option<AssociatedCertificates>,
}

/// Certificates for the keys of a token (OpenSSH PROTOCOL.agent §3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AssociatedCertificates {
    pub(super) only: bool,
    pub(super) blobs: Vec<Vec<u8>>,
}

impl AssociatedCertificates {
    /// These certificates, as blobs; `only` leaves the bare keys of the token out.
    pub fn new(blobs: impl IntoIterator<Item = Vec<u8>>, only: bool) -> Self {
        AssociatedCertificates { only, blobs: blobs.into_iter().collect() }
    }

    /// The certificates, as blobs.
    pub fn blobs(&self) -> &[Vec<u8>] {
        &self.blobs
    }

    /// Whether the bare keys of the token are left out.
    pub fn only(&self) -> bool {
        self.only
    }
}

impl Constraints {
    /// No limits.
    pub fn new() -> Self {
        Self::default()
    }

    /// The agent forgets the key after so many seconds (`ssh-add -t`).
    #[must_use]
    pub fn lifetime(mut self, seconds: u32) -> Self {
        self.lifetime = Some(seconds);
        self
    }

    /// The agent asks its user before each use (`ssh-add -c`).
    #[must_use]
    pub fn confirm(mut self) -> Self {
        self.confirm = true;
        self
    }

    /// The key is for these ways only (`ssh-add -h`). None is no limit.
    #[must_use]
    pub fn destinations(mut self, destinations: impl IntoIterator<Item = Destination>) -> Self {
        self.destinations = destinations.into_iter().collect();
        self
    }

    /// Certificates for the keys of a token; only for [`add_token`](super::Client::add_token).
    #[must_use]
    pub fn certificates(mut self, certificates: AssociatedCertificates) -> Self {
        self.certificates = Some(certificates);
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn check(&self, token: bool) -> Result<(), AgentError> {
        if self.destinations.len() > MAX_DESTINATIONS {
            return Err(AgentError::Constraint("a key has more than 1024 destinations"));
        }
        match &self.certificates {
            Some(_) if !token => Err(AgentError::Constraint("certificates go with the keys of tokens only")),
            Some(certificates) if certificates.blobs.len() > MAX_CERTIFICATES => {
                Err(AgentError::Constraint("a token has more than 1024 certificates"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn put(&self, out: &mut dyn Sink) {
        if let Some(seconds) = self.lifetime {
            out.put_u8(LIFETIME);
            out.put_u32(seconds);
        }
        if self.confirm {
            out.put_u8(CONFIRM);
        }
        if !self.destinations.is_empty() {
            out.put_u8(EXTENSION);
            out.put_string(DESTINATIONS);
            out.put_string(&strings(&self.destinations, |way, out| way.put(out)));
        }
        if let Some(certificates) = &self.certificates {
            out.put_u8(EXTENSION);
            out.put_string(CERTIFICATES);
            out.put_bool(certificates.only);
            out.put_string(&strings(&certificates.blobs, |blob, out| out.put(blob)));
        }
    }

    /// Reads what stands behind a key, to the end. What is not known, or said twice, refuses the key (F-19).
    pub(super) fn read(r: &mut Reader<'_>, token: bool) -> Result<Self, AgentError> {
        let mut all = Self::default();
        let mut restricted = false;
        while !r.is_empty() {
            match r.u8()? {
                LIFETIME if all.lifetime.is_none() => all.lifetime = Some(r.u32()?),
                CONFIRM if !all.confirm => all.confirm = true,
                EXTENSION => match r.string()? {
                    name if name == DESTINATIONS && !restricted => {
                        restricted = true;
                        let mut ways = Reader::new(r.string()?);
                        while !ways.is_empty() && all.destinations.len() <= MAX_DESTINATIONS {
                            all.destinations.push(Destination::read(ways.string()?)?);
                        }
                        // A list of no ways would be none to the key.
                        if all.destinations.is_empty() {
                            return Err(AgentError::Constraint("a key is for no destination"));
                        }
                    }
                    name if name == CERTIFICATES && token && all.certificates.is_none() => {
                        let only = r.bool()?;
                        let (mut list, mut blobs) = (Reader::new(r.string()?), Vec::new());
                        while !list.is_empty() && blobs.len() <= MAX_CERTIFICATES {
                            blobs.push(list.string()?.to_vec());
                        }
                        all.certificates = Some(AssociatedCertificates { only, blobs });
                    }
                    _ => return Err(AgentError::Constraint("a limit on the use of a key is not known here")),
                },
                _ => return Err(AgentError::Constraint("a limit on the use of a key is not known here")),
            }
        }
        all.check(token)?;
        Ok(all)
    }
}

/// Items, each as a string, one after the other.
fn strings<T>(items: &[T], put: impl Fn(&T, &mut Vec<u8>)) -> Vec<u8> {
    let mut all = Vec::new();
    for item in items {
        let mut bytes = Vec::new();
        put(item, &mut bytes);
        all.put_string(&bytes);
    }
    all
}
