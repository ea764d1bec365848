//! What a session asks about local files, and what it does with the answers.

use alloc::borrow::Cow;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::ask::{Got, Slot};
use super::error::Error;
use crate::sftp::transfer::JobId;
use crate::sftp::{Attrs, Times};

/// Bytes between two reports of progress.
const STEP: u64 = 128 * 1024;

/// What whoever drives a session does for it.
#[non_exhaustive]
pub enum Event<'a, F> {
    /// A question about local directories and names.
    Asked(Asked),
    /// Open this local file for reading, put it into `file`, and say [`Session::source`](super::Session::source).
    Open {
        /// Whose.
        job: JobId,
        /// Which.
        source: &'a Source,
        /// Its place.
        file: &'a mut Option<F>,
    },
    /// Write this to a local file: open it if `file` is empty, say [`Target::opened`], and write unless
    /// [`Target::takes`] says no. What fails goes to [`Session::failed`](super::Session::failed).
    Data {
        /// Whose.
        job: JobId,
        /// Which.
        target: &'a mut Target,
        /// Its place.
        file: &'a mut Option<F>,
        /// Where the data belongs.
        offset: u64,
        /// The data.
        data: Cow<'a, [u8]>,
    },
    /// Local data is wanted: say [`Session::fill`](super::Session::fill).
    Fill {
        /// Whose.
        job: JobId,
        /// Where it is in the file.
        offset: u64,
    },
    /// All has come: open the file if `file` is empty, as for data, do what [`Target::finish`] says, and say
    /// [`Session::finished`](super::Session::finished).
    Finish {
        /// Whose.
        job: JobId,
        /// Which.
        target: &'a mut Target,
        /// Its place.
        file: &'a mut Option<F>,
    },
    /// Something happened that is not for the driver: go on.
    Went,
}

/// What [`Session::fill`](super::Session::fill) got.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Bytes that were put into the room; fewer than fit only where the file ends.
    pub len: usize,
    /// The size that the file says it has, if it ended.
    pub size: Option<u64>,
}

/// A question about local directories and names. Whoever drives the session answers it, now or later; dropped, it is
/// answered with the error [`Cancelled`](super::ErrorKind::Cancelled).
#[must_use = "a procedure waits for the answer"]
pub struct Asked {
    question: Question,
    slot: Option<Arc<Slot>>,
}

/// What is asked. Paths are bytes, as the system has them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Question {
    /// What is known of a file, of a symbolic link itself unless `follow`: [`Answer::Attrs`].
    Stat {
        /// Which.
        path: Vec<u8>,
        /// Follow links.
        follow: bool,
    },
    /// What is in a directory, but for `.` and `..`: [`Answer::Names`].
    List {
        /// Which.
        path: Vec<u8>,
    },
    /// Make a directory: [`Answer::Made`].
    MakeDir {
        /// Which.
        path: Vec<u8>,
        /// Permission bits, less those of the umask.
        mode: u32,
    },
    /// Give a directory these permissions and times: [`Answer::Done`].
    SetAttrs {
        /// Which.
        path: Vec<u8>,
        /// What is set of it.
        attrs: Attrs,
    },
    /// The real path, without links: [`Answer::Path`].
    RealPath {
        /// Which.
        path: Vec<u8>,
    },
    /// Random bytes for a name that nobody else uses: [`Answer::Random`].
    Random,
}

/// What a question is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Size, permissions with the type, times. Times that do not fit become the nearest that do.
    Attrs(Attrs),
    /// Names, in any order.
    Names(Vec<Vec<u8>>),
    /// Whether it was made; false: there is something of that name.
    Made(bool),
    /// A path.
    Path(Vec<u8>),
    /// Random bytes.
    Random([u8; 6]),
    /// It is done.
    Done,
}

impl Asked {
    pub(super) fn new(question: Question, slot: Arc<Slot>) -> Self {
        Asked { question, slot: Some(slot) }
    }

    /// What is asked.
    pub fn question(&self) -> &Question {
        &self.question
    }

    /// Answers it. The error is best made by [`Error::local`].
    pub fn answer(mut self, answer: Result<Answer, Error>) {
        if let Some(slot) = self.slot.take() {
            slot.answer(answer.map_or_else(Got::Failed, Got::Here));
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            slot.answer(Got::Failed(Error::new(super::ErrorKind::Cancelled)));
        }
    }
}

/// How far a file has come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// The local file; empty from server to server.
    pub local: Vec<u8>,
    /// The remote file.
    pub remote: Vec<u8>,
    /// Bytes of it that are where they belong, those of an earlier attempt included.
    pub done: u64,
    /// Bytes that it has, if that is known.
    pub total: Option<u64>,
    /// It has ended; `done` is final.
    pub finished: bool,
}

/// Tells how far it is.
pub(super) struct Teller {
    pub(super) progress: Progress,
    pub(super) told: u64,
}

impl Teller {
    pub(super) fn new(local: &[u8], remote: &[u8], total: Option<u64>) -> Self {
        let (local, remote) = (local.to_vec(), remote.to_vec());
        Teller { progress: Progress { local, remote, done: 0, total, finished: false }, told: 0 }
    }

    /// It starts there.
    pub(super) fn start(&mut self, offset: u64) {
        (self.progress.done, self.told) = (offset, offset);
    }

    /// What is to be told of so much done.
    pub(super) fn at(&mut self, done: u64) -> Option<Progress> {
        self.progress.done = self.progress.done.max(done);
        (self.progress.done >= self.told.saturating_add(STEP)).then(|| {
            self.told = self.progress.done;
            self.progress.clone()
        })
    }

    /// What is to be told in the end.
    pub(super) fn end(&mut self) -> Progress {
        self.progress.finished = true;
        self.progress.clone()
    }
}

/// The local end of a transfer.
pub(super) enum Place {
    Target(Target, Teller),
    Source(Source, Teller),
}

/// The local file of a get. It is opened when there is something to put into it: a remote file that cannot be read
/// leaves it alone.
#[derive(Debug)]
pub struct Target {
    pub(super) path: Vec<u8>,
    pub(super) mode: Option<u32>,
    /// What is known of the remote file.
    pub(super) attrs: Attrs,
    pub(super) preserve: bool,
    pub(super) sparse: bool,
    pub(super) sync: bool,
    pub(super) no_follow: bool,
    /// Where it starts.
    pub(super) offset: u64,
    /// End of what was written or left out.
    pub(super) high: u64,
    /// What was there may be the very file that is fetched, and is not cut to nothing first.
    pub(super) in_place: bool,
}

/// What is left to be done with the local file of a get, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finish {
    /// Cut it to this length, or lengthen it.
    pub len: Option<u64>,
    /// Permission bits to set.
    pub permissions: Option<u32>,
    /// Wait until it is on the disk.
    pub sync: bool,
    /// Times to set.
    pub times: Option<Times>,
}

impl Target {
    /// Its path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Permission bits for a file that is made. It is ours to write while it comes, whatever it will be then.
    pub fn mode(&self) -> u32 {
        self.mode.unwrap_or(0o666) & 0o777 | 0o600
    }

    /// Whether no symbolic link is followed at its name.
    pub fn no_follow(&self) -> bool {
        self.no_follow
    }

    /// It is open, made or not, and this is what is known of it. True: cut it to nothing now.
    pub fn opened(&mut self, there: &Attrs) -> bool {
        let full = self.offset == 0 && there.is_file() && there.size.is_some_and(|size| size > 0);
        self.in_place = full && here(there).may_be_same_file(&self.attrs);
        full && !self.in_place
    }

    /// Whether this data is to be written, and not left out as a hole.
    pub fn takes(&mut self, offset: u64, data: &[u8]) -> bool {
        self.high = self.high.max(offset.saturating_add(data.len() as u64));
        // Zeros over what may be other data have to be written.
        self.in_place || !(self.sparse && data.iter().all(|b| *b == 0))
    }

    /// What is left to be done when all has come and the file is `len` bytes long.
    pub fn finish(&self, len: u64) -> Finish {
        let preserve = self.preserve;
        Finish {
            len: (self.sparse || self.in_place && len > self.high).then_some(self.high),
            // Not set-id: whose it is has changed.
            permissions: self.attrs.permissions.filter(|_| preserve).map(|mode| mode & 0o777),
            sync: self.sync,
            times: self.attrs.times.filter(|_| preserve),
        }
    }
}

/// The local file of a put.
#[derive(Debug)]
pub struct Source {
    pub(super) path: Vec<u8>,
    pub(super) resumes: bool,
    pub(super) total: u64,
}

impl Source {
    /// Its path.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// A file may end early if it still says that it is as long: that is all there is, as with files of /sys.
    pub(super) fn check_end(&self, offset: u64, room: usize, filled: &Filled) -> Result<(), Error> {
        let (end, total) = (offset.saturating_add(filled.len as u64), self.total);
        if filled.len >= room || end >= total || filled.size == Some(total) {
            return Ok(());
        }
        let why = alloc::format!("it became shorter while it was read: it ends at {end} of {total} bytes");
        Err(Error::unsuitable(&self.path, why))
    }
}

/// What is known of a local file, as a server would tell it: times that do not fit on the wire say nothing.
pub(super) fn here(attrs: &Attrs) -> Attrs {
    let times = attrs.times.filter(|times| !matches!(times.modified, 0 | u32::MAX));
    Attrs { times, ..attrs.clone() }
}
