//! The server: requests in, checked; replies out, in any order.

mod handles;
mod parse;
mod reply;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use core::task::Waker;

use crate::rng::Seed;
use crate::slab::{Key, Slab};
use crate::transport::TxBuf;

use super::attrs::Attrs;
use super::client::OpenFlags;
use super::error::{Error, Fault};
use super::extension::{CheckFile, Ids, Limits};
use super::message::{FrameKind, Framer, MAX_DATA, MAX_MESSAGE, MsgBuf};
use super::operation::{Extension, ExtensionSet, Operation, OperationSet};
use super::status::{Status, StatusCode};
use crate::options::options;

pub use handles::HandleId;
use handles::Handles;
pub use reply::{Answer, NameList};

options! {
    /// How a server behaves. What it may do for a client is decided here, before its file system is asked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ServerConfig {
        /// Refuse everything that changes anything (`sftp-server -R`), opening for writing included.
        read_only: bool = false,
        /// The requests that are allowed (`sftp-server -p`). Default: all.
        allow: OperationSet = OperationSet::ALL,
        /// Requests that are refused although they are allowed (`sftp-server -P`). Default: none.
        deny: OperationSet = OperationSet::EMPTY,
        /// The extensions that the file system has. They are announced, unless their requests are refused.
        extensions: ExtensionSet = ExtensionSet::all(),
        /// Handles open at a time; limits@openssh.com tells the client. Ours: 100 (S-08).
        max_handles: usize = 100,
        /// Requests that wait for their reply.
        max_requests: usize = 1024,
        /// Bytes of replies that wait to be sent, those that were asked for but not given among them. When
        /// not even one of the largest replies would fit any more, nothing is parsed (S-26). At least 512
        /// KiB.
        max_backlog: usize = 1 << 20,
        /// The bits of a mode that a client may set. Default 0777: no setuid, setgid, sticky (S-13). New files
        /// and directories never have others, as with a umask; changing a mode to one with others is refused
        /// with PERMISSION_DENIED.
        mode_mask: u32 = 0o777,
        /// Bits of a mode that new files and directories never have (`sftp-server -u`).
        umask: u32 = 0,
        /// Whether clients may change owner and group. Default: no (S-32).
        allow_chown: bool = false,
        /// Longest path, in bytes. POSIX systems have 4096.
        max_path: usize = 4096,
        /// SYMLINK names the link first, as the draft has it, and not as OpenSSH and nearly all others do; see
        /// [`suit`](Self::suit).
        link_first: bool = false,
    }
}

impl ServerConfig {
    /// Fits a quirk of a client that can only be told by its identification line (RFC 4253 §4.2): the order
    /// of SYMLINK.
    pub fn suit(&mut self, ident: &[u8]) {
        self.link_first = super::peers::client_names_link_first(ident);
    }

    /// Whether a request of this kind would be refused whatever it says: the one table of permissions.
    pub fn denies(&self, op: Operation) -> bool {
        !self.allow.contains(op) || self.deny.contains(op) || (self.read_only && op.writes())
    }

    /// The same for an OPEN with these flags: in read-only mode, reading is all it may ask for (S-12).
    fn denies_open(&self, flags: OpenFlags) -> bool {
        self.denies(Operation::Open) || (self.read_only && flags != OpenFlags::READ)
    }

    /// What is announced.
    pub fn announced(&self) -> impl Iterator<Item = Extension> {
        let wanted = |e: &Extension| self.extensions.contains(*e) || *e == Extension::Limits;
        Extension::all().filter(wanted).filter(|e| e.operations().iter().any(|op| !self.denies(*op)))
    }

    /// What limits@openssh.com says.
    pub fn limits(&self) -> Limits {
        Limits {
            packet: MAX_MESSAGE as u64,
            read: MAX_DATA as u64,
            write: MAX_DATA as u64,
            handles: self.max_handles as u64,
        }
    }
}

/// A request that waits for its reply, which consumes it. It can be answered from any thread, at any time. One
/// that is dropped says no: the session is [woken](SftpServer::wake_with), and the client is told FAILURE at the next
/// [`SftpServer::poll`].
#[must_use = "the client is told FAILURE"]
pub struct Ticket {
    request: Key,
    op: Operation,
    /// Where it is noted that it was dropped; nowhere once it is answered.
    loss: Option<Arc<Loss>>,
}

impl Ticket {
    /// What was asked for.
    pub fn operation(&self) -> Operation {
        self.op
    }

    /// Wakes whoever drives the session; `None`: nobody waits there (see [`SftpServer::wake_with`]).
    pub fn waker(&self) -> Option<&Waker> {
        self.loss.as_ref()?.waker.as_ref()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(loss) = self.loss.take() {
            loss.tickets.fetch_add(1, Ordering::Release);
            loss.any.store(true, Ordering::Release);
            loss.waker.iter().for_each(Waker::wake_by_ref);
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ticket({})", self.op)
    }
}

/// Tickets of one place in the table that were dropped, on whatever thread.
#[derive(Debug, Default)]
struct Loss {
    tickets: AtomicU32,
    /// Any of the session.
    any: Arc<AtomicBool>,
    waker: Option<Waker>,
}

/// What a client wants, with the ticket that its reply takes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request<'b> {
    /// To be answered, now or later, from any thread.
    pub ticket: Ticket,
    /// What is asked for. Handles are open and of the right kind; paths have no NUL.
    pub op: Op<'b>,
}

/// What is asked for. How each is answered stands with it; [`SftpServer::reply_status`] with an error
/// answers all of them.
#[derive(Debug)]
#[non_exhaustive]
pub enum Op<'b> {
    /// Open a file under the name `handle`. [`SftpServer::reply_opened`].
    Open {
        /// How later requests will call it, if this one succeeds.
        handle: HandleId,
        /// The path.
        path: &'b [u8],
        /// READ or WRITE at least; EXCLUSIVE only with CREATE, TRUNCATE only with WRITE.
        flags: OpenFlags,
        /// For a file that is made; the mode without what the configuration masks.
        attrs: Attrs,
    },
    /// Close. No request for this handle is unanswered, and none will come. `reply_status`; the handle is
    /// gone whatever it says.
    Close {
        /// The handle.
        handle: HandleId,
    },
    /// Read. [`SftpServer::reply_data`].
    Read {
        /// A file opened for reading.
        handle: HandleId,
        /// Where.
        offset: u64,
        /// How much at most, 1 to 255 KiB. Less is fine; but some clients take that for the end.
        len: u32,
    },
    /// Write all of it. `reply_status`. A large WRITE comes as several of these, each with a ticket of its
    /// own: the client gets one reply when all of them are answered, the first error if there is one.
    Write {
        /// A file opened for writing.
        handle: HandleId,
        /// Where.
        offset: u64,
        /// What; straight from the input.
        data: &'b [u8],
    },
    /// Attributes of a path, not following a link. [`Answer::Attrs`].
    Lstat {
        /// The path.
        path: &'b [u8],
    },
    /// Attributes of a path. [`Answer::Attrs`].
    Stat {
        /// The path.
        path: &'b [u8],
    },
    /// Attributes of an open file. [`Answer::Attrs`].
    Fstat {
        /// The file.
        handle: HandleId,
    },
    /// Change attributes. `reply_status`.
    Setstat {
        /// The path.
        path: &'b [u8],
        /// What is set is to be changed.
        attrs: Attrs,
    },
    /// Change attributes of an open file. `reply_status`.
    Fsetstat {
        /// The file.
        handle: HandleId,
        /// What is set is to be changed. A size needs a file opened for writing.
        attrs: Attrs,
    },
    /// Open a directory under the name `handle`. [`SftpServer::reply_opened`].
    Opendir {
        /// How later requests will call it.
        handle: HandleId,
        /// The path.
        path: &'b [u8],
    },
    /// More entries of a directory. [`SftpServer::reply_names`].
    Readdir {
        /// The directory.
        handle: HandleId,
    },
    /// Remove a file, not a directory. `reply_status`.
    Remove {
        /// The path.
        path: &'b [u8],
    },
    /// Make a directory. `reply_status`.
    Mkdir {
        /// The path.
        path: &'b [u8],
        /// Its attributes; the mode without what the configuration masks.
        attrs: Attrs,
    },
    /// Remove an empty directory. `reply_status`.
    Rmdir {
        /// The path.
        path: &'b [u8],
    },
    /// The absolute form of a path. [`Answer::Path`].
    Realpath {
        /// The path; never empty.
        path: &'b [u8],
    },
    /// Rename, not over something that exists (S-30). `reply_status`.
    Rename {
        /// The old name.
        from: &'b [u8],
        /// The new one.
        to: &'b [u8],
    },
    /// Where a link points. [`Answer::Path`].
    Readlink {
        /// The link.
        path: &'b [u8],
    },
    /// Make a symbolic link. `reply_status`.
    Symlink {
        /// What it says.
        target: &'b [u8],
        /// Where it stands.
        link: &'b [u8],
    },
    /// Rename, replacing the target. `reply_status`.
    PosixRename {
        /// The old name.
        from: &'b [u8],
        /// The new one.
        to: &'b [u8],
    },
    /// Figures of the file system of a path. [`Answer::StatVfs`].
    Statvfs {
        /// The path.
        path: &'b [u8],
    },
    /// The same of an open file. [`Answer::StatVfs`].
    Fstatvfs {
        /// The file.
        handle: HandleId,
    },
    /// Another name for a file. `reply_status`.
    Hardlink {
        /// The file.
        existing: &'b [u8],
        /// The new name.
        link: &'b [u8],
    },
    /// Put what was written on the disk. `reply_status`.
    Fsync {
        /// The file.
        handle: HandleId,
    },
    /// Change attributes of a link itself. `reply_status`.
    Lsetstat {
        /// The path.
        path: &'b [u8],
        /// What is set is to be changed.
        attrs: Attrs,
    },
    /// The absolute form of a path that may start with `~` or `~user`. [`Answer::Path`].
    ExpandPath {
        /// The path; never empty.
        path: &'b [u8],
    },
    /// Copy between two open files. `reply_status`. Where both are one file under two handles, ranges must
    /// not overlap (S-16): only the file system can tell.
    CopyData {
        /// Opened for reading.
        from: HandleId,
        /// Where to read.
        from_offset: u64,
        /// How much; 0 is everything to the end.
        len: u64,
        /// Opened for writing.
        to: HandleId,
        /// Where to write.
        to_offset: u64,
    },
    /// The home directory of a user. [`Answer::Path`].
    HomeDirectory {
        /// The name; empty for the one who is logged in.
        user: &'b [u8],
    },
    /// Names of users and groups. [`Answer::UsersGroups`].
    UsersGroupsById {
        /// Users.
        uids: Ids<'b>,
        /// Groups.
        gids: Ids<'b>,
    },
    /// Hashes of an open file. [`Answer::FileHash`].
    CheckFileHandle {
        /// Opened for reading.
        handle: HandleId,
        /// What to hash.
        check: CheckFile<'b>,
    },
    /// Hashes of a file. [`Answer::FileHash`].
    CheckFileName {
        /// The path.
        path: &'b [u8],
        /// What to hash.
        check: CheckFile<'b>,
    },
    /// An extension that konko does not know. [`Answer::Extended`], or OP_UNSUPPORTED.
    Extended {
        /// Its name.
        name: &'b [u8],
        /// Its fields.
        fields: &'b [u8],
    },
}

/// A request that was not answered yet.
#[derive(Debug)]
struct Open {
    /// The client's number for it.
    id: u32,
    op: Operation,
    /// Handles that it keeps from being closed, or that it opens or closes.
    handles: [Option<HandleId>; 2],
    /// Parts that were handed out and not answered.
    parts: u32,
    /// No further parts will come.
    complete: bool,
    /// The first part that failed.
    failed: Option<Status>,
    /// Bytes asked for by a READ.
    len: u32,
    /// Bytes of the backlog that are kept free for the reply.
    promised: usize,
}

/// The WRITE whose data is coming.
#[derive(Debug)]
struct Writing {
    request: Key,
    handle: Option<HandleId>,
    offset: u64,
    /// Data that is still to come. What stands behind it in the message is passed over.
    len: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// INIT has not come.
    Starting,
    Ready,
    Ended(Error),
}

/// The server's end of an SFTP session, over bytes.
///
/// 1. Hand what comes to [`poll`](Self::poll) until it returns `None`. What is left of the input then has
///    to be kept, and the channel's window with it: the backlog is full, and polling goes on when
///    something of [`tx`](Self::tx) was sent or a request answered.
/// 2. Answer each [`Request`] with the reply method that its [`Op`] names, now or later, in any order.
/// 3. Send what is in `tx`.
/// 4. When the channel has ended, say [`finish`](Self::finish): it returns the handles to let go of.
#[derive(Debug)]
pub struct SftpServer {
    config: ServerConfig,
    state: State,
    framer: Framer,
    tx: TxBuf,
    requests: Slab<Open>,
    /// One for each place in the table.
    losses: Vec<Arc<Loss>>,
    promised: usize,
    handles: Handles,
    writing: Option<Writing>,
    /// CLOSE requests whose handle has become free.
    closable: VecDeque<Key>,
    /// A ticket was dropped.
    lost: Arc<AtomicBool>,
    waker: Option<Waker>,
}

impl SftpServer {
    /// Starts a session. The seed makes handles that cannot be guessed.
    pub fn new(config: ServerConfig, seed: &Seed) -> Self {
        SftpServer {
            handles: Handles::new(config.max_handles, seed),
            config,
            state: State::Starting,
            framer: Framer::default(),
            tx: TxBuf::new(),
            requests: Slab::new(),
            losses: Vec::new(),
            promised: 0,
            writing: None,
            closable: VecDeque::new(),
            lost: Arc::default(),
            waker: None,
        }
    }

    /// Says how the session is woken when there is something to do that no byte of the client brings: tickets carry
    /// it, so that whoever answers from another thread can. To be said before the first [`poll`](Self::poll).
    pub fn wake_with(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    /// Takes bytes from the front of `input` and returns the next request; call again until `None`.
    /// Requests borrow from `input` and from `rx`, which is always the same one. What is denied,
    /// malformed or about the protocol itself is answered by the machine and does not show here.
    ///
    /// # Errors
    /// The client broke the protocol: the session is over.
    pub fn poll<'b, 'i: 'b>(
        &mut self,
        rx: &'b mut MsgBuf,
        input: &mut &'i [u8],
    ) -> Result<Option<Request<'b>>, Error> {
        if let State::Ended(error) = &self.state {
            return Err(error.clone());
        }
        self.step(rx, input).inspect_err(|error| self.state = State::Ended(error.clone()))
    }

    fn step<'b, 'i: 'b>(
        &mut self,
        rx: &'b mut MsgBuf,
        input: &mut &'i [u8],
    ) -> Result<Option<Request<'b>>, Error> {
        self.refuse_lost();
        loop {
            if let Some(request) = self.next_close() {
                return Ok(Some(request));
            }
            if self.is_full() {
                return Ok(None);
            }
            let Some(frame) = self.framer.next(rx, input, parse::plan)? else { return Ok(None) };
            match frame.kind {
                FrameKind::Bulk(data) => {
                    if self.on_write_head(frame.bytes(rx), data)?
                        && let Some(request) = self.on_write_data(&[], 0)
                    {
                        return Ok(Some(request));
                    }
                }
                FrameKind::Data(left) => {
                    if let Some(request) = self.on_write_data(frame.data(), left) {
                        return Ok(Some(request));
                    }
                }
                FrameKind::Message => {
                    if self.is_request(frame.bytes(rx))? && !self.answers(frame.bytes(rx)) {
                        return Ok(self.on_request(frame.bytes(rx)));
                    }
                }
            }
        }
    }

    /// What is to be sent.
    pub fn tx(&mut self) -> &mut TxBuf {
        &mut self.tx
    }

    /// Whether no input is taken until something of `tx` was sent or a request answered.
    pub fn is_full(&self) -> bool {
        let most = self.config.max_backlog.max(2 * MAX_MESSAGE);
        let held = self.tx.len().saturating_add(self.promised);
        held.saturating_add(MAX_MESSAGE) > most || self.requests.len() >= self.config.max_requests.max(1)
    }

    /// Requests that wait for a reply.
    pub fn unanswered(&self) -> usize {
        self.requests.len()
    }

    /// Whether tickets are out: replies may come that no input brings.
    pub fn is_awaited(&self) -> bool {
        self.requests.iter().any(|(_, open)| open.parts > 0)
    }

    /// Handles that are open.
    pub fn open_handles(&self) -> usize {
        self.handles.len()
    }

    /// Ends the session, as when the channel has ended. Returns the handles that are still open, for the
    /// file system to let go of. Tickets are stale from now on.
    pub fn finish(&mut self) -> Vec<HandleId> {
        if !matches!(self.state, State::Ended(_)) {
            self.state = State::Ended(Error::new(Fault::Closed, ""));
        }
        (self.requests, self.losses, self.promised) = (Slab::new(), Vec::new(), 0);
        self.writing = None;
        self.closable.clear();
        self.handles.drain()
    }

    /// Hands in what was answered meanwhile, takes everything that can be taken from `input`, and hands it to
    /// `backend`, which answers now or later.
    ///
    /// # Errors
    /// The client broke the protocol: the session is over.
    pub fn run(
        &mut self,
        backend: &mut (impl Backend + ?Sized),
        rx: &mut MsgBuf,
        input: &mut &[u8],
    ) -> Result<(), Error> {
        backend.settle(self);
        while let Some(request) = self.poll(rx, input)? {
            backend.request(self, request);
        }
        Ok(())
    }

    fn next_close<'b>(&mut self) -> Option<Request<'b>> {
        let request = self.closable.pop_front()?;
        let handle = self.requests.get(request)?.handles[0]?;
        Some(Request { ticket: self.ticket(request), op: Op::Close { handle } })
    }

    /// Answers what nobody will answer any more.
    fn refuse_lost(&mut self) {
        if !self.lost.swap(false, Ordering::Acquire) {
            return;
        }
        for place in 0..self.losses.len() {
            let tickets = self.losses.get(place).map(|loss| loss.tickets.swap(0, Ordering::Acquire));
            let Some(request) = self.requests.at(place as u32) else { continue };
            for _ in 0..tickets.unwrap_or(0) {
                self.conclude(request, &Status::with_message(StatusCode::FAILURE, "it was not answered"));
            }
        }
    }

    fn ticket(&mut self, request: Key) -> Ticket {
        let loss = self.losses.get(request.index() as usize).map(Arc::clone);
        let op = self.requests.get_mut(request).map_or(Operation::Extended, |o| {
            o.parts = o.parts.saturating_add(1);
            o.op
        });
        Ticket { request, op, loss }
    }

    /// Notes a request; its handles cannot be closed before it is answered.
    fn enter(&mut self, open: Open) -> Key {
        for handle in open.handles.iter().flatten() {
            self.handles.hold(*handle);
        }
        self.promised = self.promised.saturating_add(open.promised);
        let request = self.requests.insert(open);
        if request.index() as usize >= self.losses.len() {
            let (any, waker) = (Arc::clone(&self.lost), self.waker.clone());
            self.losses.push(Arc::new(Loss { tickets: AtomicU32::new(0), any, waker }));
        }
        request
    }

    /// Takes an answered request out; a CLOSE that waited for it becomes ready.
    fn leave(&mut self, request: Key) -> Option<Open> {
        let open = self.requests.remove(request)?;
        self.promised = self.promised.saturating_sub(open.promised);
        for handle in open.handles.iter().flatten() {
            if let Some(close) = self.handles.release(*handle) {
                self.closable.push_back(close);
            }
        }
        Some(open)
    }
}

/// What is behind a [`SftpServer`]. Requests come in the client's order; they may be answered at once, or later and in
/// any order, with the ticket. [`FileSystem`](super::FileSystem) is the comfortable way to be one.
pub trait Backend {
    /// One request. Answer it with the method of `server` that its [`Op`] names, or keep the ticket.
    fn request(&mut self, server: &mut SftpServer, request: Request<'_>);

    /// Answers what was kept, as far as the answers are there. Called before input is taken, and whenever the
    /// session is [woken](Ticket::waker). Nothing by default: all is answered at once.
    fn settle(&mut self, server: &mut SftpServer) {
        let _ = server;
    }

    /// The session has ended and left this handle open.
    fn abandoned(&mut self, handle: HandleId);
}
