//! The client: requests out, replies in, any number outstanding.

mod reply;
mod request;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::slab::{Key, Slab};
use crate::transport::TxBuf;
use crate::wire::Reader;

use super::error::{Error, Fault, quote};
use super::extension::Limits;
use super::message::{FrameKind, Framer, MAX_MESSAGE, MsgBuf, Plan, number, send};
use super::operation::{Extension, ExtensionSet, Operation};
use crate::options::options;

pub use reply::{Entry, Event, Names, Reply};
pub use request::OpenFlags;

/// Requests that a client may have outstanding at most.
const MAX_REQUESTS: usize = 4096;
/// Bits of a request's number that say its place in the table.
const PLACE_BITS: u32 = 12;
/// Bytes of VERSION up to the lowest byte of its number.
const START: usize = 8;
/// Number, request id and length of the data, before the data of DATA.
const DATA_HEAD: usize = 9;
/// What may wait in `tx` before further requests are refused. More than one message of any size.
const TX_FULL: usize = 1 << 20;
/// Extensions that VERSION may announce (S-15).
const MAX_ANNOUNCED: usize = 64;

options! {
    /// How a client behaves.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ClientConfig {
        /// Requests outstanding at a time; at most 4096.
        max_requests: usize = 2048,
        /// Extensions that the server has although it does not announce them.
        assume: ExtensionSet = ExtensionSet::EMPTY,
        /// Send SYMLINK as the draft has it (link, then target). Default: as OpenSSH and nearly every
        /// server (target, then link).
        draft_symlink: bool = false,
        /// Bytes of text to pass over before VERSION, for devices whose login prints something. 0: any is
        /// an error that shows the text. At most 8 KiB are sensible.
        skip_preamble: usize = 0,
        /// Files and directories that the server can have open at a time, where it does not say so itself; 0: nothing
        /// is known. [`SftpClient::limits`] tells the smaller one, and transfers keep to it.
        max_handles: u64 = 0,
        /// Take a VERSION above 3 for 3. Some servers announce more than they were asked for, and then
        /// speak 3; if they do not, messages will be misread.
        accept_newer_version: bool = false,
    }
}

impl ClientConfig {
    /// With the quirks of the server whose SSH identification line this is: some take the arguments of SYMLINK
    /// as the draft has them, except from clients that they know; Erlang's mixes up more than two open files.
    #[must_use]
    pub fn for_server(mut self, ident: &[u8]) -> Self {
        self.draft_symlink |= super::peers::server_takes_link_first(ident);
        if self.max_handles == 0 {
            self.max_handles = super::peers::most_handles(ident);
        }
        self
    }
}

/// A request of a client. Unique while it is outstanding.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(crate) u32);

impl RequestId {
    /// The place, and above it as much of the generation as there is room for.
    fn of(key: Key) -> Self {
        RequestId((key.generation().wrapping_sub(1) << PLACE_BITS) | key.index())
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({})", self.0)
    }
}

/// An open file or directory, in the server's own words (draft §4). Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Handle(pub(crate) Arc<[u8]>);

impl Handle {
    /// The bytes that the server chose, 256 at most.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handle(")?;
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str(")")
    }
}

/// What an outstanding request waits for.
#[derive(Clone, Copy, Debug)]
struct Pending {
    op: Operation,
    /// Bytes that a READ asked for.
    asked: u32,
    /// Bytes of data that have come of its reply.
    got: u32,
    /// Nobody wants the reply any more.
    cancelled: bool,
    /// Sent by the machine itself.
    own: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// INIT was sent.
    Starting,
    Ready,
    Ended(Error),
}

/// The client's end of an SFTP session, over bytes.
///
/// ```text
///  new ── INIT in tx ──> Starting ── VERSION ──> Event::Ready ──> requests, replies in any order
///                                                                │
///                                  eof() or a fault ─────────────┴──> Ended: the error is sticky
/// ```
///
/// 1. Send what is in [`tx`](Self::tx), always, and as soon as possible.
/// 2. Hand what comes to [`poll`](Self::poll) until it returns `None`: all input is used up then, and
///    nothing of it has to be kept. Credit for the channel's window can be given back at once.
/// 3. Requests are methods; they return a [`RequestId`], which the [`Event`] of the reply carries.
///    [`UsageError::Full`](super::UsageError::Full): send, take replies, try again.
/// 4. When the channel has ended, say [`eof`](Self::eof).
#[derive(Debug)]
pub struct SftpClient {
    config: ClientConfig,
    state: State,
    framer: Framer,
    tx: TxBuf,
    requests: Slab<Pending>,
    extensions: ExtensionSet,
    announced: Vec<(Vec<u8>, Vec<u8>)>,
    limits: Option<Limits>,
    /// Bytes before VERSION that were passed over.
    skipped: usize,
    /// The READ whose data is coming.
    reading: Option<RequestId>,
    /// What is being opened, and what is open.
    opening: BTreeMap<RequestId, Vec<u8>>,
    open: BTreeMap<Handle, Vec<u8>>,
}

impl SftpClient {
    /// Starts a session: INIT is in `tx` at once.
    pub fn new(config: ClientConfig) -> Self {
        let mut tx = TxBuf::new();
        send(&mut tx, |out| {
            out.put_u8(number::INIT);
            out.put_u32(super::VERSION);
        });
        SftpClient {
            extensions: config.assume,
            config,
            state: State::Starting,
            framer: Framer::default(),
            tx,
            requests: Slab::new(),
            announced: Vec::new(),
            limits: None,
            skipped: 0,
            reading: None,
            opening: BTreeMap::new(),
            open: BTreeMap::new(),
        }
    }

    /// Takes bytes from the front of `input` and says what they mean; call again until `None`, when
    /// all of it is used up. Events borrow from `input` and from `rx`, which is always the same one.
    ///
    /// # Errors
    /// The server broke the protocol: the session is over, and this is what it ended with from now on.
    pub fn poll<'b, 'i: 'b>(
        &mut self,
        rx: &'b mut MsgBuf,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'b>>, Error> {
        match self.step(rx, input) {
            Ok(event) => Ok(event),
            Err(error) => Err(self.end(error)),
        }
    }

    fn step<'b, 'i: 'b>(
        &mut self,
        rx: &'b mut MsgBuf,
        input: &mut &'i [u8],
    ) -> Result<Option<Event<'b>>, Error> {
        if let State::Ended(error) = &self.state {
            return Err(error.clone());
        }
        if self.state == State::Starting && !self.starts_well(rx, input)? {
            return Ok(None);
        }
        loop {
            let Some(frame) = self.framer.next(rx, input, plan)? else { return Ok(None) };
            match frame.kind {
                FrameKind::Bulk(data) => self.on_data_head(frame.bytes(rx), data)?,
                FrameKind::Data(left) => {
                    if let Some(event) = self.on_data(frame.data(), left) {
                        return Ok(Some(event));
                    }
                }
                FrameKind::Message if self.is_for_machine(frame.bytes(rx)) => {
                    if let Some(event) = self.on_own(frame.bytes(rx))? {
                        return Ok(Some(event));
                    }
                }
                FrameKind::Message => return self.on_reply(frame.bytes(rx)).map(Some),
            }
        }
    }

    /// Sends nothing more, takes nothing more. Says so when the channel has ended: every outstanding
    /// request has failed.
    pub fn eof(&mut self, rx: &MsgBuf) -> Error {
        let detail = match &self.state {
            State::Ended(error) => return error.clone(),
            State::Starting => "before VERSION; is the sftp subsystem there?".into(),
            State::Ready if self.framer.is_within(rx) => "in the middle of a message".into(),
            State::Ready => alloc::format!("{} requests were outstanding", self.requests.len()),
        };
        self.end(Error::new(Fault::Closed, detail))
    }

    fn end(&mut self, error: Error) -> Error {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(error.clone());
            self.requests = Slab::new();
            self.opening.clear();
            self.open.clear();
        }
        error
    }

    /// What is to be sent.
    pub fn tx(&mut self) -> &mut TxBuf {
        &mut self.tx
    }

    /// Whether VERSION has come and the session goes on.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// Requests that have no reply yet, cancelled ones among them.
    pub fn outstanding(&self) -> usize {
        self.requests.len()
    }

    /// Whether another request of any kind would be taken now.
    pub fn has_room(&self) -> bool {
        self.is_ready() && self.requests.len() < self.most() && self.tx.len() < TX_FULL
    }

    /// Bytes that may still be put into `tx` before requests are refused.
    pub fn tx_room(&self) -> usize {
        TX_FULL.saturating_sub(self.tx.len())
    }

    fn most(&self) -> usize {
        self.config.max_requests.clamp(1, MAX_REQUESTS)
    }

    /// The extensions that the server announced, and those that were assumed.
    pub fn extensions(&self) -> ExtensionSet {
        self.extensions
    }

    /// Whether a request for this extension would be sent.
    pub fn supports(&self, extension: Extension) -> bool {
        self.extensions.contains(extension)
    }

    /// Names and data of everything that VERSION announced.
    pub fn announced(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.announced.iter().map(|(n, d)| (n.as_slice(), d.as_slice()))
    }

    /// What the server can take. Zeros, so safe values, until the reply to limits@openssh.com is here,
    /// for which the machine asks by itself.
    pub fn limits(&self) -> Limits {
        let mut limits = self.limits.unwrap_or_default();
        let most = self.config.max_handles;
        if most > 0 && (limits.handles == 0 || limits.handles > most) {
            limits.handles = most;
        }
        limits
    }

    /// Nobody wants the reply any more: it makes no event when it comes, and a handle in it is closed.
    pub fn cancel(&mut self, id: RequestId) {
        if let Some(pending) = self.pending_mut(id) {
            pending.cancelled = true;
        }
    }

    fn pending(&self, id: RequestId) -> Option<&Pending> {
        self.requests.get(self.key(id)?)
    }

    fn pending_mut(&mut self, id: RequestId) -> Option<&mut Pending> {
        self.requests.get_mut(self.key(id)?)
    }

    /// Takes a request out of the table.
    fn settle(&mut self, id: RequestId) {
        if let Some(key) = self.key(id) {
            self.requests.remove(key);
        }
    }

    /// A number for a new request, and its place in the table.
    fn enter(&mut self, pending: Pending) -> RequestId {
        RequestId::of(self.requests.insert(pending))
    }

    /// What has the place that a number names, if the number is its own.
    fn key(&self, id: RequestId) -> Option<Key> {
        self.requests.at(id.0 & ((1 << PLACE_BITS) - 1)).filter(|key| RequestId::of(*key) == id)
    }

    // ---- the start ----

    /// False: the start of VERSION is not here yet. An error if it is something else.
    fn starts_well(&mut self, rx: &mut MsgBuf, input: &mut &[u8]) -> Result<bool, Error> {
        loop {
            let start = rx.start(input, START);
            if start.is_empty() || plausible(&start) {
                return Ok(!start.is_empty());
            }
            if self.skipped >= self.config.skip_preamble {
                return Err(self.not_sftp(&rx.start(input, 256)));
            }
            self.skipped = self.skipped.saturating_add(1);
            rx.skip_first(input);
        }
    }

    fn not_sftp(&self, input: &[u8]) -> Error {
        let hint = "a login script or a ForceCommand that prints to standard output does this, and a \
                    server without the sftp subsystem";
        Error::new(Fault::NotSftp, alloc::format!("it sent {} ({hint})", quote(input)))
    }

    fn on_version(&mut self, fields: &[u8]) -> Result<(), Error> {
        let malformed = |e| Error::malformed("VERSION", e);
        let mut r = Reader::new(fields);
        let version = r.u32().map_err(malformed)?;
        if version < super::VERSION || (version > super::VERSION && !self.config.accept_newer_version) {
            let what = alloc::format!("it answered {} with {version}", super::VERSION);
            return Err(Error::new(Fault::Version, what));
        }
        while !r.is_empty() {
            let (name, data) = (r.string().map_err(malformed)?, r.string().map_err(malformed)?);
            if self.announced.len() >= MAX_ANNOUNCED {
                let what = alloc::format!("VERSION: more than {MAX_ANNOUNCED} extensions");
                return Err(Error::new(Fault::Malformed, what));
            }
            self.extensions.announced(name, data);
            self.announced.push((name.to_vec(), data.to_vec()));
        }
        self.state = State::Ready;
        if self.supports(Extension::Limits) {
            let pending = Pending { own: true, ..Pending::of(Operation::Limits) };
            let _ = self.request(pending, |_| ());
        }
        Ok(())
    }
}

/// File data comes piece by piece, everything else as a whole.
fn plan(body: &[u8]) -> Plan {
    match body {
        [number::DATA, ..] if body.len() >= DATA_HEAD => Plan::Bulk(DATA_HEAD),
        [] => Plan::Need(1),
        [number::DATA, ..] => Plan::Need(DATA_HEAD),
        _ => Plan::Whole,
    }
}

/// Whether `start` can be the start of VERSION: a sane length, the number, version below 256.
fn plausible(start: &[u8]) -> bool {
    if let Some((len, _)) = start.split_first_chunk::<4>()
        && !(5..=MAX_MESSAGE).contains(&(u32::from_be_bytes(*len) as usize))
    {
        return false;
    }
    let expected = [0u8, 0, 0, 0, number::VERSION, 0, 0, 0];
    start.iter().zip(expected).enumerate().all(|(i, (byte, expected))| match i {
        1 => *byte <= 4,
        2 | 3 => true,
        _ => *byte == expected,
    })
}
