//! A host that tells which keys it has (OpenSSH PROTOCOL 2.5, `hostkeys-00@openssh.com`): new ones are learnt once the
//! host has proved that it has them, and those that it has no more are forgotten.
//!
//! The host is believed since one of its keys was known; what it says later is therefore from the same host. Where it is
//! not certain what a change would mean, nothing is changed: see [`Unchanged`].
//!
//! Who drives it: with `hostkeys-00@openssh.com` comes [`HostKeyCheck::update`]; answer its questions about files; then
//! [`HostKeysUpdate::decide`] says to ask the host for proofs (a global request, whose reply goes to
//! [`HostKeysUpdate::proved`]), or what to change. [`HostKeyChanges`] are made in each of the user's files.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use super::edit::KeyAt;
use super::{Accepted, Checking};
use super::{
    CannotRemember, Contents, HostKeyCheck, KnownHostsFile, LIMITS, Question, Settled, Trust, canonical,
};
pub use crate::channel::host_keys::{ANNOUNCEMENT, PROOF};
use crate::channel::host_keys::{is_plain, proof_data};
use crate::crypto::{HashAlgorithm, Provider};
use crate::keys::{PublicKey, SignatureAlgorithm, signature};
use crate::rng::Rng;
use crate::wire::{Reader, Sink};

/// Keys that a host may have (H-16).
const MAX_KEYS: usize = 64;

/// What is done when a host tells which keys it has (`UpdateHostKeys` of ssh_config(5)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UpdateHostKeys {
    /// Nothing.
    #[default]
    No,
    /// A person is asked whether the user's file is to be changed.
    Ask,
    /// The user's file is changed.
    Yes,
}

/// Why nothing is changed. `Display` completes "host keys are not updated:".
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unchanged {
    /// The host has the keys that are known.
    Nothing,
    /// The host was not believed for a key in a file of the user's.
    NotTrusted,
    /// What the host said makes no sense.
    Malformed(&'static str),
    /// A file cannot be read.
    Unreadable(String),
    /// A line for the host has a pattern, more than two names or a marker.
    Complex,
    /// One of the keys is known under another name too.
    OtherName,
    /// The host does not prove that it has the keys.
    Unproven(&'static str),
}

impl fmt::Display for Unchanged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unchanged::Nothing => "the host has the keys that are known",
            Unchanged::NotTrusted => "the host is not believed for a key in a file of the user's",
            Unchanged::Malformed(why) | Unchanged::Unproven(why) => why,
            Unchanged::Unreadable(why) => return write!(f, "a file of known hosts cannot be read: {why}"),
            Unchanged::Complex => "a line for the host has a pattern, a marker or many names",
            Unchanged::OtherName => "one of its keys is known under another name too",
        })
    }
}

/// An update of what is known about a host, until it is decided.
#[derive(Debug)]
pub struct HostKeysUpdate {
    changes: HostKeyChanges,
    /// The files to be read, and those that were.
    wanted: VecDeque<Vec<u8>>,
    read: Vec<KnownHostsFile>,
    failed: Option<Unchanged>,
    /// Those of the keys that are not known.
    new: Vec<PublicKey>,
}

/// What is to be done next.
#[derive(Debug)]
#[must_use]
pub enum NextOfUpdate {
    /// Send the global request [`PROOF`] with these fields, and give the reply to [`HostKeysUpdate::proved`].
    Prove(Vec<u8>),
    /// Make these changes.
    Change(HostKeyChanges),
    /// Nothing, and why.
    Nothing(Unchanged),
}

/// What is to be changed in the user's files.
#[derive(Clone, Debug)]
#[must_use]
pub struct HostKeyChanges {
    host: String,
    port: u16,
    checking: Checking,
    /// All that the host has, and that may be known.
    keys: Vec<PublicKey>,
    learned: Vec<PublicKey>,
    removed: Vec<PublicKey>,
}

impl HostKeyCheck {
    /// Whether the host may say which keys it has, when `settled` is how its key was accepted.
    pub fn may_update(&self, settled: &Settled) -> bool {
        let Trust::KnownHosts(checking) = &self.trust else { return false };
        let trusted = match settled {
            Settled::Accept { why: Accepted::Known(at), .. } => {
                checking.user_files.iter().any(|file| **file == *at.file)
            }
            // What is accepted because it is new was not confirmed by anybody.
            Settled::Accept { why: Accepted::Confirmed, remember } => remember.is_some(),
            _ => false,
        };
        trusted && checking.update_host_keys != UpdateHostKeys::No
    }

    /// What the host says about its keys, when its connection is authenticated and `settled` is how its key was
    /// accepted: `fields` are those of its global request [`ANNOUNCEMENT`]. Keys of other algorithms than the `allowed`
    /// ones (what the client offered) are passed over, and RSA keys below `min_rsa_bits`.
    ///
    /// # Errors
    /// [`Unchanged`]: `NotTrusted` unless the key stands in a file of the user's or a person has accepted it to be
    /// remembered; `Malformed`.
    pub fn update(
        &self,
        settled: &Settled,
        fields: &[u8],
        allowed: &[SignatureAlgorithm],
        min_rsa_bits: usize,
    ) -> Result<HostKeysUpdate, Unchanged> {
        let Trust::KnownHosts(checking) = &self.trust else { return Err(Unchanged::NotTrusted) };
        if !self.may_update(settled) {
            return Err(Unchanged::NotTrusted);
        }
        let usable = |key: &PublicKey| {
            let allowed = allowed.iter().any(|algorithm| key.fits(*algorithm));
            allowed && is_plain(key) && key.strength_ok(min_rsa_bits) && self.may_be_known(key)
        };
        let mut keys: Vec<PublicKey> = Vec::new();
        let mut r = Reader::new(fields);
        for count in 0.. {
            if r.is_empty() {
                break;
            }
            let blob = r.string().map_err(|_| Unchanged::Malformed("the host's list of keys is damaged"))?;
            if count >= MAX_KEYS {
                return Err(Unchanged::Malformed("the host has too many keys"));
            }
            // What we do not have cannot be checked, and a certificate is for an authority to say.
            let Some(key) = PublicKey::from_blob(blob).ok().filter(usable) else { continue };
            if keys.contains(&key) {
                return Err(Unchanged::Malformed("the host names a key twice"));
            }
            keys.push(key);
        }
        let (host, port, checking) = (self.host.clone(), self.port, checking.clone());
        let wanted = checking.user_files.iter().cloned().collect();
        let changes = HostKeyChanges { host, port, checking, keys, learned: Vec::new(), removed: Vec::new() };
        Ok(HostKeysUpdate { changes, wanted, read: Vec::new(), failed: None, new: Vec::new() })
    }
}

impl HostKeysUpdate {
    /// The file to be read now; `None` when there is no more.
    pub fn question(&self) -> Option<Question<'_>> {
        Some(Question::Read { path: self.wanted.front()?, max: LIMITS.file })
    }

    /// What the file holds.
    pub fn answer(&mut self, contents: Contents) {
        if self.wanted.pop_front().is_none() {
            return;
        }
        match contents {
            Contents::Missing => {}
            Contents::Bytes(bytes) => match KnownHostsFile::parse(&bytes) {
                Ok(file) => self.read.push(file),
                Err(e) => self.failed = Some(Unchanged::Unreadable(alloc::format!("{e}"))),
            },
            Contents::Unreadable(why) => self.failed = Some(Unchanged::Unreadable(why)),
        }
    }

    /// What is to be done, now that the files are read.
    pub fn decide(&mut self) -> NextOfUpdate {
        if let Some(why) = self.failed.take() {
            return NextOfUpdate::Nothing(why);
        }
        let HostKeyChanges { host, port, keys, .. } = &self.changes;
        if keys.is_empty() || !self.wanted.is_empty() {
            return NextOfUpdate::Nothing(Unchanged::Malformed("the host has no key that could be known"));
        }
        let name = canonical(host, *port);
        let lines = || self.read.iter().flat_map(|file| file.keys_for(name.as_bytes()));
        let (mut known, mut removed): (Vec<PublicKey>, Vec<PublicKey>) = (Vec::new(), Vec::new());
        for line in lines() {
            match line {
                KeyAt::Complex => return NextOfUpdate::Nothing(Unchanged::Complex),
                KeyAt::Host(key) if keys.contains(&key) => known.push(key),
                KeyAt::Host(key) => removed.push(key),
                KeyAt::Other(_) => {}
            }
        }
        let elsewhere =
            |line: KeyAt| matches!(line, KeyAt::Other(key) if keys.contains(&key) || removed.contains(&key));
        let new: Vec<PublicKey> = keys.iter().filter(|key| !known.contains(key)).cloned().collect();
        if new.is_empty() && removed.is_empty() {
            return NextOfUpdate::Nothing(Unchanged::Nothing);
        }
        if lines().any(elsewhere) {
            return NextOfUpdate::Nothing(Unchanged::OtherName);
        }
        self.changes.removed = removed;
        if new.is_empty() {
            return NextOfUpdate::Change(self.changes.clone());
        }
        let mut fields = Vec::new();
        new.iter().for_each(|key| fields.put_string(&key.to_blob()));
        self.new = new;
        NextOfUpdate::Prove(fields)
    }

    /// What comes of the reply to [`PROOF`]: whether it was granted, and its fields. `negotiated` is the algorithm of
    /// the host key that the connection was made with.
    ///
    /// # Errors
    /// [`Unchanged::Unproven`]: a key that is not proved is not learnt, and neither are the others (H-16).
    pub fn proved(
        self,
        provider: &dyn Provider,
        session_id: &[u8],
        negotiated: SignatureAlgorithm,
        granted: bool,
        fields: &[u8],
    ) -> Result<HostKeyChanges, Unchanged> {
        if !granted {
            return Err(Unchanged::Unproven("the host does not prove that it has its new keys"));
        }
        let mut r = Reader::new(fields);
        for key in &self.new {
            let blob = r.string().map_err(|_| Unchanged::Unproven("a proof of the host's is missing"))?;
            let data = proof_data(session_id, &key.to_blob());
            let algorithm = algorithm_of(key, blob, negotiated)
                .ok_or(Unchanged::Unproven("the host proves a key with an algorithm that is not allowed"))?;
            signature::verify(provider, key, algorithm, &data, blob)
                .map_err(|_| Unchanged::Unproven("the host does not have a key that it says it has"))?;
        }
        r.end().map_err(|_| Unchanged::Unproven("the host proves more than it was asked for"))?;
        let mut changes = self.changes;
        changes.learned = self.new;
        Ok(changes)
    }
}

/// The algorithm of a proof. An RSA key proves itself with SHA-2, or as the host key that was agreed on.
fn algorithm_of(key: &PublicKey, blob: &[u8], negotiated: SignatureAlgorithm) -> Option<SignatureAlgorithm> {
    let name = Reader::new(blob).string().ok()?;
    let found = key.signature_algorithms().iter().copied().find(|a| a.signature_name().as_bytes() == name)?;
    let sound = found.hash() != Some(HashAlgorithm::Sha1) || found == negotiated;
    sound.then_some(found)
}

impl HostKeyChanges {
    /// Whether a person has to agree first.
    pub fn must_ask(&self) -> bool {
        self.checking.update_host_keys == UpdateHostKeys::Ask
    }

    /// Keys that the host has proved to have, and that become known.
    pub fn learned(&self) -> &[PublicKey] {
        &self.learned
    }

    /// Keys that the host has no more, and that are forgotten.
    pub fn removed(&self) -> &[PublicKey] {
        &self.removed
    }

    /// The paths of the files to change: the user's.
    pub fn files(&self) -> &[Vec<u8>] {
        &self.checking.user_files
    }

    /// Makes the changes in the file at this place among [`files`](Self::files): what is learnt goes into the first.
    ///
    /// # Errors
    /// [`CannotRemember`]: the file would be too large.
    pub fn apply(
        &self,
        index: usize,
        file: &mut KnownHostsFile,
        rng: &mut Rng,
    ) -> Result<(), CannotRemember> {
        for key in &self.removed {
            file.remove_key(&self.host, self.port, key);
        }
        if index == 0 {
            for key in &self.learned {
                let salt = self.checking.hash_names.then(|| rng.array());
                file.add(&self.host, self.port, key, salt)?;
            }
        }
        Ok(())
    }
}
