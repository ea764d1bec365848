//! The local files of transfers.

use std::fs;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use konko_core::sftp::Attrs;
use konko_core::sftp::transfer::{Local, Summary};

use super::client_error::Error;
use super::client_machine::Side;
use super::transfers::{GetOptions, OnProgress, Progress};

pub(super) const NOT_REGULAR: &str = "it is not a regular file";

/// What is known of a local file, as a server would tell it.
pub(super) fn attrs_here(meta: &fs::Metadata) -> Attrs {
    let attrs = Attrs::new().with_size(meta.len()).with_permissions(meta.permissions().mode());
    // What does not fit on the wire is told in different ways, and says nothing.
    match u32::try_from(meta.mtime()) {
        Ok(modified) => attrs.with_times(modified, modified),
        Err(_) => attrs,
    }
}

/// Bytes between two calls of the progress callback.
const STEP: u64 = 128 * 1024;

/// Tells how far it is.
pub(super) struct Teller {
    pub(super) progress: Option<OnProgress>,
    pub(super) local: PathBuf,
    pub(super) remote: Vec<u8>,
    pub(super) done: u64,
    pub(super) told: u64,
    pub(super) total: Option<u64>,
}

impl Teller {
    pub(super) fn tell(&mut self, finished: bool) {
        if let Some(progress) = &self.progress
            && (finished || self.done >= self.told + STEP)
        {
            self.told = self.done;
            let Teller { local, remote, done, total, .. } = self;
            progress(Progress { local, remote, done: *done, total: *total, finished });
        }
    }
}

/// The local file of a get. It is opened when there is something to put into it: a remote file that cannot be read
/// leaves it alone.
pub(super) struct GetFile {
    pub(super) teller: Teller,
    pub(super) file: Option<fs::File>,
    /// Mode, for a file that is made.
    pub(super) mode: Option<u32>,
    pub(super) attrs: Attrs,
    pub(super) options: GetOptions,
    /// Where it starts.
    pub(super) offset: u64,
    /// End of what was written or left out.
    pub(super) high: u64,
    /// What was there may be the very file that is fetched, and is not cut to nothing first.
    pub(super) in_place: bool,
}

impl Side for GetFile {
    fn opened(&mut self, offset: u64) -> io::Result<()> {
        if self.file.is_none() {
            (self.offset, self.high, self.teller.done) = (offset, offset, offset);
        }
        Ok(())
    }

    fn data(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.open()?;
        let Some(file) = &self.file else { return Err(io::ErrorKind::Other.into()) };
        // Zeros over what may be other data have to be written.
        if self.in_place || !(self.options.sparse && data.iter().all(|b| *b == 0)) {
            file.write_all_at(data, offset)?;
        }
        self.high = self.high.max(offset + data.len() as u64);
        self.teller.done += data.len() as u64;
        self.teller.tell(false);
        Ok(())
    }

    fn finished(&mut self, result: Result<Summary, Error>) -> Result<Summary, Error> {
        self.teller.tell(true);
        let summary = result?;
        let attrs = summary.attrs.as_ref().unwrap_or(&self.attrs).clone();
        let done = self.open().and_then(|()| self.complete(&attrs));
        done.map_err(|e| Error::local(&self.teller.local, e))?;
        Ok(summary)
    }

    fn local(&self, error: io::Error) -> Error {
        Error::local(&self.teller.local, error)
    }
}

impl GetFile {
    fn open(&mut self) -> io::Result<()> {
        if self.file.is_some() {
            return Ok(());
        }
        let mut open = fs::OpenOptions::new();
        open.write(true).create(true).truncate(false);
        // It is ours to write while it comes, whatever it will be then.
        open.mode(self.mode.unwrap_or(0o666) & 0o777 | 0o600);
        // A pipe that nobody reads is no reason to wait.
        let mut flags = rustix::fs::OFlags::NONBLOCK;
        flags.set(rustix::fs::OFlags::NOFOLLOW, self.options.no_follow);
        open.custom_flags(flags.bits().cast_signed());
        let file = open.open(&self.teller.local)?;
        let there = file.metadata()?;
        if self.offset == 0 && there.is_file() && there.len() > 0 {
            self.in_place = attrs_here(&there).may_be_same_file(&self.attrs);
            if !self.in_place {
                file.set_len(0)?;
            }
        }
        self.file = Some(file);
        Ok(())
    }

    fn complete(&self, attrs: &Attrs) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        if self.options.sparse || (self.in_place && file.metadata()?.len() > self.high) {
            file.set_len(self.high)?;
        }
        let preserve = self.options.preserve;
        if let Some(mode) = attrs.permissions.filter(|_| preserve) {
            // Not set-id: whose it is has changed.
            file.set_permissions(fs::Permissions::from_mode(mode & 0o777))?;
        }
        if self.options.sync {
            file.sync_all()?;
        }
        if let Some(times) = attrs.times.filter(|_| preserve) {
            let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
            let set = fs::FileTimes::new().set_accessed(at(times.accessed)).set_modified(at(times.modified));
            file.set_times(set)?;
        }
        Ok(())
    }
}

/// The local file of a put.
pub(super) struct PutFile {
    pub(super) teller: Teller,
    pub(super) file: Option<fs::File>,
    pub(super) resumes: bool,
}

impl Side for PutFile {
    fn source(&mut self) -> io::Result<Attrs> {
        // It was a file when it was looked at, and may have become a pipe since.
        let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(&self.teller.local)?;
        let meta = file.metadata()?;
        if !meta.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, NOT_REGULAR));
        }
        // Some files can be opened and not read.
        file.read_at(&mut [0], 0)?;
        self.file = Some(file);
        Ok(attrs_here(&meta))
    }

    fn opened(&mut self, offset: u64) -> io::Result<()> {
        if self.resumes && self.teller.total.is_some_and(|total| offset > total) {
            return Err(io::Error::other(
                "the remote file is longer than the local one; it cannot be resumed",
            ));
        }
        (self.teller.done, self.teller.told) = (offset, offset);
        Ok(())
    }

    fn fill(&mut self, offset: u64, room: &mut [u8]) -> io::Result<Local> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::Other.into()) };
        let mut n = 0;
        while n < room.len() {
            match file.read_at(&mut room[n..], offset + n as u64) {
                Ok(0) => break,
                Ok(more) => n += more,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if n < room.len() {
            is_end(file, offset + n as u64, self.teller.total)?;
        }
        Ok(Local::Data(n))
    }

    fn progress(&mut self, done: u64) {
        self.teller.done = self.teller.done.max(done);
        self.teller.tell(false);
    }

    fn finished(&mut self, result: Result<Summary, Error>) -> Result<Summary, Error> {
        if let Ok(summary) = &result {
            self.teller.done = summary.size;
        }
        self.teller.tell(true);
        result
    }

    fn local(&self, error: io::Error) -> Error {
        Error::local(&self.teller.local, error)
    }
}

/// Whether a file that was `total` bytes long may end at `end`: if it still says that it is as long, that is all
/// there is, as with files of /sys.
fn is_end(file: &fs::File, end: u64, total: Option<u64>) -> io::Result<()> {
    match total {
        Some(total) if end < total && file.metadata()?.len() != total => Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            format!("it became shorter while it was read: it ends at {end} of {total} bytes"),
        )),
        _ => Ok(()),
    }
}

/// A copy has no local side.
pub(super) struct NoFile;

impl Side for NoFile {}
