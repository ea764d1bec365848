//! Whole files over a [`SftpClient`](super::SftpClient): get, put, copy and file objects, with many requests in flight.
//!
//! [`Transfers`] runs any number of jobs over one client. It is as pure as the rest: remote data is lent
//! as it arrives ([`Handled::Data`]), local data is asked for ([`Notice::Fill`]) and read straight into
//! the output. A job never ends well with bytes that are not the file's: every interval that was asked
//! for is accounted for, short reads are repaired, and an early end is an error. Of a file that grows
//! while it is read comes at least what it had; where a server tells no size, its word for the end is all
//! there is.
//!
//! ```text
//!        loop: bytes ──> client.poll ──> Event ──> transfers.on_event ──> Handled
//!              transfers.poll(&mut client, now) until None ──> Notice
//!              client.tx ──> bytes;  wait until input or transfers.deadline()
//! ```

mod check;
mod copy;
mod download;
mod engine;
mod intake;
mod job;
mod lane;
mod object;
mod outgoing;
mod ranges;
mod requests;
mod stall;
mod upload;
mod window;

use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use crate::crypto::{HashAlgorithm, Provider};
use crate::slab::Key;

use super::attrs::Attrs;
use super::client::{Event, OpenFlags};
use super::error::Error;
use super::operation::Operation;
use super::status::Status;
use crate::options::options;

pub use engine::Transfers;

options! {
    /// How transfers run. The defaults suit every server that is known.
    #[derive(Clone, Copy, Debug)]
    pub struct TransferConfig {
        /// Bytes in flight at most.
        max_bytes: usize = 32 << 20,
        /// READ and WRITE requests in flight at most.
        max_requests: usize = 1024,
        /// Requests in flight at first, a quarter of what OpenSSH's sftp sends of a put at once; it grows while replies
        /// come without delay.
        start_requests: usize = 16,
        /// Files open at a time; less if the server says so.
        max_files: usize = 256,
        /// Bytes of a READ or WRITE; `None`: what the server takes, 32 KiB if it does not say.
        request_len: Option<u32> = None,
        /// One request of a file at a time, for servers that cannot do more. Otherwise several are in
        /// flight, with offsets that only go up.
        sequential: bool = false,
        /// When no reply has come for so long, fewer requests are sent, and unanswered ones again.
        stall: Duration = Duration::from_secs(10),
        /// Stalls in a row after which a job fails.
        max_stalls: u32 = 6,
        /// Hashes for [`Verify::Hash`]; without one it is an error.
        provider: Option<&'static dyn Provider> = None,
    }
}

/// A job of a [`Transfers`]. Never used twice.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(Key);

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JobId({})", self.0)
    }
}

/// How the result is checked. The number of bytes always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// By size alone, where the server tells it.
    #[default]
    Size,
    /// By a hash that the server makes (check-file); if it cannot, by reading everything again.
    Hash(HashAlgorithm),
    /// By reading everything again and comparing hashes.
    Reread(HashAlgorithm),
}

options! {
    /// How a remote file is fetched.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct DownloadOptions {
        /// Where to start: what is before it is here already (resume).
        offset: u64 = 0,
        /// Where to stop; `None`: at the end of the file.
        end: Option<u64> = None,
        /// The size, if a listing told it: small files then take one round trip less. It may be out of date.
        size: Option<u64> = None,
        /// Lend the data in order. Otherwise it comes as the server sends it.
        ordered: bool = false,
        /// Ask for attributes even if the size is known, to preserve them.
        attrs: bool = false,
        /// Checks.
        verify: Verify = Verify::default(),
        /// Data beyond this offset is not asked for until [`Transfers::allow`] says so.
        limit: Option<u64> = None,
    }
}

options! {
    /// How a local file is sent.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct UploadOptions {
        /// How the remote file is opened: WRITE, CREATE and TRUNCATE, what every server takes, unless set.
        flags: OpenFlags = OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::TRUNCATE,
        /// Attributes for a file that is made.
        create: Attrs = Attrs::new(),
        /// Where the first byte goes (resume: with flags that do not cut the file).
        offset: u64 = 0,
        /// Go on where the remote file ends; asks for its size. Implies flags without TRUNCATE.
        resume: bool = false,
        /// Send to this path, and put it in the place of the real one when all is well; removed otherwise.
        /// Needs posix-rename@openssh.com to replace a file.
        temporary: Option<Vec<u8>> = None,
        /// fsync@openssh.com before the file is closed, if the server has it.
        fsync: bool = false,
        /// Set when everything is written: mode, times. A refusal is in the summary, and no error unless
        /// `require_attrs`.
        attrs: Option<Attrs> = None,
        /// A refusal of `attrs` is an error.
        require_attrs: bool = false,
        /// Checks.
        verify: Verify = Verify::Size,
        /// Local data can be asked for again, so that a stalled server can be helped.
        seekable: bool = true,
        /// Leave alone what is at the path until the local file is open: [`Notice::Source`] asks for it, and STAT tells
        /// what is there. If both may be the same file, it is written in place and not cut to nothing first.
        careful: bool = false,
        /// Nothing is at the path, since its directory was made a moment ago: no STAT is needed for `careful`.
        fresh: bool = false,
    }
}

/// What becomes of an event of the client.
#[derive(Debug)]
pub enum Handled<'b> {
    /// It belongs to no job: it answers a request of the application's own.
    Other(Event<'b>),
    /// It was for a job.
    Done,
    /// Data of a file, straight from the input: write it at `offset` now.
    Data {
        /// Whose.
        job: JobId,
        /// Where it belongs.
        offset: u64,
        /// The data.
        data: &'b [u8],
    },
}

/// What a job has to say.
#[derive(Debug)]
#[non_exhaustive]
pub enum Notice {
    /// Before the remote file of a [`careful`](UploadOptions::careful) put is opened: open the local one and call
    /// [`Transfers::source`], or [`Transfers::local_failure`].
    Source {
        /// Whose.
        job: JobId,
    },
    /// The remote file is open: what is local can be opened as well.
    Opened {
        /// Whose.
        job: JobId,
        /// Where the transfer starts; where the remote file ended, for a resumed put.
        offset: u64,
    },
    /// Local data is wanted: call [`Transfers::fill`].
    Fill {
        /// Whose.
        job: JobId,
        /// From where.
        offset: u64,
        /// How much at most.
        len: usize,
    },
    /// Data of an ordered job that had come too early, in its turn.
    Data {
        /// Whose.
        job: JobId,
        /// Where it belongs.
        offset: u64,
        /// The data.
        data: Vec<u8>,
    },
    /// The server has taken so much, of all that will be sent.
    Progress {
        /// Whose.
        job: JobId,
        /// Bytes.
        done: u64,
    },
    /// The job has ended, well or not.
    Finished {
        /// Which.
        job: JobId,
        /// How.
        result: Result<Summary, TransferError>,
    },
}

/// Local data, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Local {
    /// So many bytes were put into the room; 0 is the end.
    Data(usize),
    /// None now: [`Transfers::resume`] says when there is some.
    Later,
    /// Reading failed: the job ends.
    Failed,
}

/// What a job that ended well did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Summary {
    /// Bytes that were moved.
    pub bytes: u64,
    /// The size of the file, as far as it is known now.
    pub size: u64,
    /// The server told the size, and it is right.
    pub size_verified: bool,
    /// A hash was compared.
    pub hash_verified: bool,
    /// fsync was done.
    pub synced: bool,
    /// The attributes were set.
    pub attrs_set: bool,
    /// Why they were not, if the server refused.
    pub attrs_refused: Option<Status>,
    /// What the server said of the file when it was opened.
    pub attrs: Option<Attrs>,
}

/// Why a job failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransferError {
    /// The server refused a request.
    Remote {
        /// Which.
        op: Operation,
        /// Why.
        status: Status,
    },
    /// The file ended early, or was cut while it was read.
    Truncated {
        /// Its size, as the server had said.
        expected: u64,
        /// What came.
        got: u64,
    },
    /// The file changed while it was read, in a way that leaves no right copy.
    Changed,
    /// What arrived has another size than what was sent.
    SizeMismatch {
        /// Bytes that the file should have.
        expected: u64,
        /// Bytes it has.
        got: u64,
    },
    /// What arrived is not what was sent.
    HashMismatch,
    /// What is to be fetched or copied is a directory, a device, a named pipe or a socket.
    NotRegular,
    /// The server stopped answering.
    Stalled,
    /// [`Transfers::cancel`] was called.
    Cancelled,
    /// The local side failed.
    Local,
    /// The session ended. Everything before `done` is safe: go on there, and with fewer requests in
    /// flight than `in_flight` if the server hangs up at that.
    Lost {
        /// Contiguous bytes that arrived.
        done: u64,
        /// Requests that were in flight at most.
        in_flight: usize,
        /// Why.
        error: Error,
    },
    /// A hash was wanted and [`TransferConfig::provider`] is not set.
    NoProvider,
}

impl fmt::Display for TransferError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remote { op, status } => write!(f, "{op}: {status}"),
            Self::Truncated { expected, got } => {
                write!(f, "the remote file ended at {got} of {expected} bytes")
            }
            Self::Changed => f.write_str("the remote file changed while it was read"),
            Self::SizeMismatch { expected, got } => {
                write!(f, "the remote file has {got} bytes where it should have {expected}")
            }
            Self::NotRegular => f.write_str("it is not a regular file"),
            Self::HashMismatch => f.write_str("the hashes of the two files differ"),
            Self::Stalled => f.write_str("the server stopped answering"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Local => f.write_str("the local file could not be read or written"),
            Self::Lost { done, error, .. } => write!(f, "after {done} bytes: {error}"),
            Self::NoProvider => f.write_str("no provider for hashes is configured"),
        }
    }
}

impl core::error::Error for TransferError {}
