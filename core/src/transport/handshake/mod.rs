//! The handshake: identification, key exchange and its renewal, and how far the connection has come
//! (RFC 4253 §4.2, §7 to §9; RFC 8308).
//!
//! ```text
//!  Ident ----their line----> Init ----their KEXINIT----> Method ----both public values---> NewKeys
//!  (client: our KEXINIT      our KEXINIT is out           [Step]     signature, decision    our NEWKEYS
//!   is out)                    ^                            ^        or job                 is out
//!                              |                            |                                  |
//!                       we renew the keys            they renew the keys                their NEWKEYS
//!                              |                            |                                  |
//!                              +------------- Idle ---------+ <--------------------------------+
//!
//!  steps of a client: [Group -> [Screening]] -> Reply -> Decision     of a server: [GexRequest] -> Init -> Working
//!  any of them, on a fault or a refused key: -> Over
//!
//!  gate:   shut in Ident, Init, Method, Over; open in NewKeys and Idle
//!  stages: Service -> Auth -> Connected, by `enter`; a stage lives on while keys are renewed
//! ```
//!
//! Each state owns what only it needs. A [`Session`] exists from the first exchange hash on; a state that
//! has none is part of the first exchange.

mod begin;
pub(super) mod group;
mod ident;
mod job;
mod method;
pub mod negotiate;
mod new_keys;
mod storm;

pub use self::job::{DoneJob, Job};

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use self::begin::{Markers, Renewal};
use self::ident::IdentReader;
use self::method::{Exchange, Step};
use self::negotiate::{Negotiated, Role};
use self::storm::Storm;
use super::config::TransportConfig;
use super::legal;
use super::liveness::Liveness;
use super::packets::{Receiver, RxBuf, Sender};
use crate::crypto::{Digest, PacketOpener};
use crate::error::{Failure, Phase, Rejected};
use crate::keys::{KeyPair, PublicKey};
use crate::rng::Rng;
use crate::time::Time;

/// What became of a message.
pub(super) type Handled = Result<Option<Milestone>, Failure>;

/// What the layers above are told of the handshake.
pub(crate) enum Milestone {
    /// The peer's identification line is known.
    Identified,
    /// The algorithms are agreed on.
    Negotiated,
    /// Client: whose key is this?
    HostKey,
    /// Server: work that may be done elsewhere.
    Job(Box<Job>),
    /// The first key exchange is complete.
    Keyed,
    /// A later one is.
    Rekeyed,
}

/// What a step stands on: the rooms beside this one, and the time.
pub(super) struct Ground<'t> {
    pub(super) sender: &'t mut Sender,
    pub(super) receiver: &'t mut Receiver,
    pub(super) liveness: &'t mut Liveness,
    pub(super) config: &'t TransportConfig,
    pub(super) now: Time,
}

/// How far the connection has come. Keys may be renewed in any stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Keyed; the service request or its answer is next.
    Service,
    /// User authentication.
    Auth,
    /// Authenticated.
    Connected,
}

impl Stage {
    /// The one that may follow: there is one way, and every stage is on it.
    fn next(self) -> Option<Stage> {
        match self {
            Stage::Service => Some(Stage::Auth),
            Stage::Auth => Some(Stage::Connected),
            Stage::Connected => None,
        }
    }
}

/// What the first exchange founds.
struct Session {
    /// The first exchange hash, for good.
    id: Digest,
    /// The host key of the first exchange, for good.
    first_key: PublicKey,
    /// Client: the server's signature over the first exchange hash.
    proof: Vec<u8>,
    /// On a client the accepted one, on a server the one in use.
    host_key: PublicKey,
    stage: Stage,
}

/// Where the handshake is.
enum State {
    /// The peer's identification line is next. A client's KEXINIT is out already.
    Ident { reader: IdentReader, ours: Option<Vec<u8>> },
    /// Our KEXINIT is out; the peer's is next.
    Init { ours: Vec<u8>, session: Option<Box<Session>> },
    /// Both KEXINITs are known.
    Method { exchange: Exchange, session: Option<Box<Session>> },
    /// Our NEWKEYS is out; with the peer's, these keys come into force.
    NewKeys { opener: Box<dyn PacketOpener>, session: Box<Session> },
    /// No exchange is running.
    Idle { session: Box<Session> },
    /// An exchange failed; the connection ends.
    Over { session: Option<Box<Session>> },
}

/// The handshake of one connection, one for both roles.
pub(crate) struct Handshake {
    role: Role,
    host_keys: Vec<Arc<KeyPair>>,
    offload: bool,
    rng: Rng,
    our_ident: Vec<u8>,
    /// Empty until known.
    peer_ident: Vec<u8>,
    /// What the peer announced in its first KEXINIT.
    markers: Markers,
    ext_infos: u32,
    /// What the last two KEXINITs agree on.
    negotiated: Option<Negotiated>,
    /// Jobs handed out.
    jobs: u32,
    /// Exchanges completed.
    completed: u64,
    /// When the keys that came of the last one are old.
    renewal: Renewal,
    /// The application wants new keys.
    wanted: bool,
    storm: Storm,
    state: State,
}

impl Handshake {
    /// Sends the identification line, and as a client KEXINIT with it.
    pub(super) fn new(
        role: Role,
        host_keys: Vec<Arc<KeyPair>>,
        offload: bool,
        rng: Rng,
        ground: &mut Ground<'_>,
    ) -> Self {
        let our_ident = ground.config.ident_line();
        ground.sender.line(&our_ident);
        ground.sender.line(b"\r\n");
        let mut handshake = Handshake {
            role,
            host_keys,
            offload,
            rng,
            our_ident,
            peer_ident: Vec::new(),
            markers: Markers::default(),
            ext_infos: 0,
            negotiated: None,
            jobs: 0,
            completed: 0,
            renewal: Renewal::default(),
            wanted: false,
            storm: Storm::new(ground.now),
            state: State::Ident { reader: IdentReader::default(), ours: None },
        };
        // Some clients hang when KEXINIT comes before their identification line is out, so a
        // server waits for it; no round trip is lost, clients speak first.
        if role == Role::Client {
            let ours = Some(handshake.send_kexinit(ground, true));
            handshake.state = State::Ident { reader: IdentReader::default(), ours };
        }
        handshake
    }

    // ---- identification ----

    /// Whether the peer's identification line is known.
    pub(super) fn identified(&self) -> bool {
        !matches!(self.state, State::Ident { .. })
    }

    /// Takes the peer's identification line, if it has arrived whole. True when it is known.
    pub(super) fn identify(&mut self, ground: &mut Ground<'_>, rx: &mut RxBuf) -> Result<bool, Failure> {
        let State::Ident { reader, ours } = &mut self.state else { return Ok(true) };
        let Some(line) = reader.next(self.role, rx)? else { return Ok(false) };
        let ours = ours.take();
        self.peer_ident = line;
        ground.liveness.identified(ground.now);
        let ours = ours.unwrap_or_else(|| self.send_kexinit(ground, true));
        self.state = State::Init { ours, session: None };
        Ok(true)
    }

    /// What the peer said instead of an identification line before it went away or fell silent.
    pub(crate) fn ident_failure(&self, rx: &RxBuf) -> Option<Failure> {
        match &self.state {
            State::Ident { reader, .. } => reader.ended(rx.unread()),
            _ => None,
        }
    }

    /// The peer's identification line; empty until known.
    pub(crate) fn peer_ident(&self) -> &[u8] {
        &self.peer_ident
    }

    /// Whether the peer knows `eow@openssh.com`, which nobody announces: by its identification, as
    /// OpenSSH compat.c does.
    pub(crate) fn peer_takes_eow(&self) -> bool {
        let software = self.peer_ident.splitn(3, |b| *b == b'-').nth(2).unwrap_or_default();
        software.starts_with(b"OpenSSH") || software.starts_with(b"konko")
    }

    /// Whether the peer knows an algorithm of certificates by nothing but the name of their type, so that one of RSA signs
    /// with SHA-1: OpenSSH up to 7.7, by its identification (compat.c `SSH_BUG_SIGTYPE`).
    pub(crate) fn peer_signs_certificates_by_type(&self) -> bool {
        let software = self.peer_ident.splitn(3, |b| *b == b'-').nth(2).unwrap_or_default();
        match software.strip_prefix(b"OpenSSH_") {
            Some([b'2'..=b'6', b'.', ..]) => true,
            Some([b'7', b'.', b'0'..=b'7', rest @ ..]) => !rest.first().is_some_and(u8::is_ascii_digit),
            _ => false,
        }
    }

    // ---- where it is ----

    /// Whether messages of the layers above may be sent: not between our KEXINIT and our NEWKEYS.
    pub(super) fn gate_open(&self) -> bool {
        matches!(self.state, State::NewKeys { .. } | State::Idle { .. })
    }

    /// An answer of the application is waited for: a host key, or a job.
    pub(crate) fn awaits_decision(&self) -> bool {
        let State::Method { exchange, .. } = &self.state else { return false };
        matches!(exchange.step, Step::Decision { .. } | Step::Working { .. } | Step::Screening { .. })
    }

    /// What the receiver is waiting for.
    pub(super) fn awaits(&self) -> legal::State {
        match &self.state {
            State::Ident { .. } | State::Init { session: None, .. } | State::Over { .. } => {
                legal::State::FirstInit
            }
            State::Method { session: None, .. } => legal::State::FirstMethod,
            State::Method { session: Some(_), .. } => legal::State::RekeyMethod,
            State::NewKeys { .. } if self.completed == 0 => legal::State::FirstNewKeys,
            State::NewKeys { .. } => legal::State::RekeyNewKeys,
            State::Init { session: Some(session), .. } | State::Idle { session } => match session.stage {
                Stage::Service => legal::State::Service,
                Stage::Auth => legal::State::Auth,
                Stage::Connected => legal::State::Connected,
            },
        }
    }

    /// Where the connection is, in a person's words.
    pub(crate) fn phase(&self) -> Phase {
        match self.session() {
            _ if !self.identified() => Phase::Ident,
            Some(session) if self.completed > 0 => match session.stage {
                Stage::Service | Stage::Auth => Phase::Authentication,
                Stage::Connected => Phase::Connected,
            },
            _ => Phase::KeyExchange,
        }
    }

    /// How far the connection has come, once it is keyed.
    pub(crate) fn stage(&self) -> Option<Stage> {
        self.session().filter(|_| self.completed > 0).map(|session| session.stage)
    }

    /// Goes on to the next stage. False: it is not the next one, and nothing changed.
    pub(super) fn enter(&mut self, stage: Stage) -> bool {
        match self.session_mut() {
            Some(session) if session.stage.next() == Some(stage) => {
                session.stage = stage;
                true
            }
            _ => false,
        }
    }

    fn session(&self) -> Option<&Session> {
        match &self.state {
            State::Ident { .. } => None,
            State::Init { session, .. } | State::Method { session, .. } | State::Over { session } => {
                session.as_deref()
            }
            State::NewKeys { session, .. } | State::Idle { session } => Some(session),
        }
    }

    fn session_mut(&mut self) -> Option<&mut Session> {
        match &mut self.state {
            State::Ident { .. } => None,
            State::Init { session, .. } | State::Method { session, .. } | State::Over { session } => {
                session.as_deref_mut()
            }
            State::NewKeys { session, .. } | State::Idle { session } => Some(session),
        }
    }

    /// Takes the state by value; whoever takes it puts the next one there.
    fn take(&mut self) -> State {
        core::mem::replace(&mut self.state, State::Over { session: None })
    }

    // ---- what came of it ----

    /// A server's host keys.
    pub(crate) fn host_keys(&self) -> &[Arc<KeyPair>] {
        &self.host_keys
    }

    /// The session identifier, once the first exchange hash is known.
    pub(crate) fn session_id(&self) -> Option<&Digest> {
        self.session().map(|session| &session.id)
    }

    /// The server's key: on a client the accepted one, on a server the one in use.
    pub(crate) fn host_key(&self) -> Option<&PublicKey> {
        self.session().map(|session| &session.host_key)
    }

    /// The host key of the first exchange, which requests and agents are bound to.
    pub(crate) fn first_host_key(&self) -> Option<&PublicKey> {
        self.session().map(|session| &session.first_key)
    }

    /// Client: what the server signed the first exchange hash with.
    pub(crate) fn proof(&self) -> Option<&[u8]> {
        self.session().map(|session| session.proof.as_slice())
    }

    /// The algorithms in use, once negotiated.
    pub(crate) fn negotiated(&self) -> Option<&Negotiated> {
        self.negotiated.as_ref()
    }

    /// Strict key exchange is in force.
    pub(crate) fn strict(&self) -> bool {
        self.markers.strict
    }

    /// Key exchanges completed.
    pub(crate) fn completed(&self) -> u64 {
        self.completed
    }

    // ---- the host key ----

    /// Client: the key that waits for a decision.
    pub(crate) fn offered_key(&self) -> Option<&PublicKey> {
        let State::Method { exchange, .. } = &self.state else { return None };
        match &exchange.step {
            Step::Decision { key, .. } => Some(key),
            _ => None,
        }
    }

    /// Client: the key is not the right one.
    pub(super) fn reject_host_key(&mut self) -> Rejected {
        if let State::Method { session, .. } = self.take() {
            self.state = State::Over { session };
        }
        Rejected::HostKey
    }
}
