use std::fmt;
use std::future::Future;
use std::io::{self, BufRead, IoSlice, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use konko_core::crypto::HashAlgorithm;
use konko_core::sftp::session::{
    self, Cursor, Error, MAX_AHEAD, MAX_BEHIND, Metadata, OpenOptions, RemotePath,
};
use konko_core::sftp::{Attrs, FileHash, Handle, StatVfs};

use super::client::{Leave, Sftp, times};
use super::observe::io_error;

/// Bytes that are read from something local at a time.
const PIECE: usize = 256 * 1024;
/// Bytes of a request where nothing is read ahead.
const CHUNK: usize = 32 * 1024;

impl Sftp {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn open(&self, path: impl RemotePath) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().read(true))
    }

    /// Makes a file, or cuts it to nothing, and opens it for writing.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn create(&self, path: impl RemotePath) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`open`](Self::open), and for options that make no sense.
    pub fn open_with(&self, path: impl RemotePath, options: &OpenOptions) -> Result<File, Error> {
        let file = Arc::new(self.run(self.remote().open_with(path.as_remote(), options))?);
        let cursor = Mutex::new(Cursor::new(Arc::clone(&file)));
        Ok(File { file, cursor, sftp: self.clone(), _leave: Leave::new(self) })
    }

    /// Reads a whole file.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        let file = self.open(&path)?;
        file.set_read_ahead(u64::MAX);
        let mut bytes = Vec::new();
        let mut keep = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        while !file.next_piece(&mut keep)? {}
        Ok(bytes)
    }

    /// Makes a file of these bytes, or replaces what is in it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn write(&self, path: impl RemotePath, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        let file = self.create(&path)?;
        file.with(async |cursor| cursor.write_all(bytes.as_ref()).await)?;
        file.close()
    }

    /// Writes a remote file into `to`; how many bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open), and what `to` says.
    pub fn get_to(&self, path: impl RemotePath, to: &mut (impl Write + ?Sized)) -> Result<u64, Error> {
        let file = self.open(&path)?;
        file.set_read_ahead(MAX_AHEAD);
        let local = |e: io::Error| Error::local(b"", e).of("get", &[path.as_remote()]);
        while !file.next_piece(|piece| to.write_all(piece).map_err(local))? {}
        let total = file.lock().position();
        file.close()?;
        Ok(total)
    }

    /// Makes a remote file of all that `from` gives, and checks its size; how many bytes.
    ///
    /// # Errors
    /// As [`open`](Self::open), what `from` says, and another size than what was sent.
    pub fn put_from(&self, from: &mut (impl Read + ?Sized), path: impl RemotePath) -> Result<u64, Error> {
        let mut buffer = vec![0; PIECE];
        let mut read = |buffer: &mut [u8]| loop {
            match from.read(buffer) {
                Ok(n) => break Ok(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(Error::local(b"", e).of("put", &[path.as_remote()])),
            }
        };
        // What cannot be read leaves the remote file as it is.
        let mut n = read(&mut buffer)?;
        let file = self.create(&path)?;
        let mut total = 0u64;
        while n > 0 {
            file.with(async |cursor| cursor.write_all(&buffer[..n]).await)?;
            total += n as u64;
            n = read(&mut buffer)?;
        }
        file.close()?;
        let checked = self.run(self.remote().check_size(path.as_remote(), total));
        checked.map(|_| total).map_err(|e| e.of("put", &[path.as_remote()]))
    }
}

/// An open remote file.
///
/// Reading in order reads ahead, and writing does not wait for answers: the first error of a write shows in a
/// later one, in [`flush`](Write::flush) or in [`close`](Self::close). A file that is dropped waits until the
/// server has what was written, as `BufWriter` does, and nobody learns what went wrong with that; one that was
/// only read is closed without waiting.
pub struct File {
    file: Arc<session::File>,
    cursor: Mutex<Cursor>,
    sftp: Sftp,
    _leave: Leave,
}

impl File {
    fn lock(&self) -> MutexGuard<'_, Cursor> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at the cursor.
    fn with<T>(&self, procedure: impl AsyncFnOnce(&mut Cursor) -> T) -> T {
        self.sftp.run(procedure(&mut self.lock()))
    }

    /// Does something after all that was written.
    fn after<T>(
        &self,
        op: &'static str,
        procedure: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let settled = self.with(async |cursor| cursor.settle().await);
        settled.map_err(|e| e.of(op, &[self.path()]))?;
        self.sftp.run(procedure)
    }

    /// Lends what follows, and goes on behind it. True: there is no more.
    fn next_piece(&self, take: impl FnOnce(&[u8]) -> Result<(), Error>) -> Result<bool, Error> {
        let mut cursor = self.lock();
        self.sftp.run(cursor.fill(0))?;
        let n = cursor.buffer().len();
        take(cursor.buffer())?;
        cursor.consume(n);
        Ok(n == 0)
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &[u8] {
        self.file.path()
    }

    /// The server's name for it.
    pub fn handle(&self) -> &Handle {
        self.file.handle()
    }

    /// Reads ahead so many bytes at once from now on, without waiting to see whether reading goes on in order;
    /// 0: reads nothing ahead, and each read is one request. 16 MiB at most, as far as reading goes on in
    /// order, unless set. What may be in flight of it is up to [`SftpOptions`](super::SftpOptions).
    pub fn set_read_ahead(&self, bytes: u64) {
        self.lock().set_read_ahead(bytes);
    }

    /// Whether writes return before the server has answered: yes, unless set.
    pub fn set_write_behind(&self, behind: bool) {
        self.lock().set_write_behind(behind);
    }

    fn read_some(&self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        let mut cursor = self.lock();
        if cursor.buffer().is_empty() {
            self.sftp.run(cursor.fill(to.len())).map_err(io_error)?;
        }
        let n = cursor.buffer().len().min(to.len());
        to[..n].copy_from_slice(&cursor.buffer()[..n]);
        cursor.consume(n);
        Ok(n)
    }

    /// Reads at an offset, without a cursor. May give less than asked for, and 0 at the end.
    ///
    /// # Errors
    /// What the server says, no answer in time, or the end of the session.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let data = self.sftp.run(self.file.read_at(to.len(), offset)).map_err(io_error)?;
        let n = data.len().min(to.len());
        to[..n].copy_from_slice(&data[..n]);
        Ok(n)
    }

    /// Reads several ranges, each an offset and a length, all at once. A range that reaches beyond the end gives
    /// what there is.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn read_ranges(&self, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, Error> {
        self.after("read", self.file.read_ranges(ranges))
    }

    /// Writes all of `data` at an offset, without a cursor, and waits until the server has it.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at).
    pub fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        self.sftp.run(self.file.write_at(data, offset)).map_err(io_error)?;
        Ok(data.len())
    }

    /// Attributes, after all that was written.
    ///
    /// # Errors
    /// As [`read_at`](Self::read_at); of an earlier write, too.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        self.after("metadata", self.file.metadata())
    }

    fn change(&self, op: &'static str, set: &Attrs) -> Result<(), Error> {
        self.after(op, self.file.set_metadata(op, set))
    }

    /// Changes what is set in `set`.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn set_metadata(&self, set: &Attrs) -> Result<(), Error> {
        self.change("set_metadata", set)
    }

    /// Changes the permission bits.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn set_permissions(&self, mode: u32) -> Result<(), Error> {
        self.change("set_permissions", &Attrs::new().with_permissions(mode & 0o7777))
    }

    /// Changes user and group.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn chown(&self, uid: u32, gid: u32) -> Result<(), Error> {
        self.change("chown", &Attrs::new().with_owner(uid, gid))
    }

    /// Sets the times of last access and modification; whole seconds.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn set_times(&self, accessed: SystemTime, modified: SystemTime) -> Result<(), Error> {
        let times = times(accessed, modified);
        self.change("set_times", &Attrs::new().with_times(times.accessed, times.modified))
    }

    /// Cuts the file, or lengthens it with zeros.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        self.lock().forget();
        self.change("set_len", &Attrs::new().with_size(len))
    }

    /// Waits until all that was written is on the server's disk: fsync@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.after("sync_all", self.file.sync_all())
    }

    /// Figures of the file system that it is on: fstatvfs@openssh.com.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub fn statvfs(&self) -> Result<StatVfs, Error> {
        self.sftp.run(self.file.statvfs())
    }

    /// Hashes that the server makes of it; see [`Sftp::check_file`].
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub fn check(&self, algs: &[HashAlgorithm], range: (u64, u64), block: u32) -> Result<FileHash, Error> {
        self.after("check", self.file.check(algs, range, block))
    }

    /// Copies `len` bytes, 0 for all to the end, to another file of the same server, without them coming here:
    /// copy-data.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and if the server does not have it.
    pub fn copy_data(&self, offset: u64, len: u64, to: &File, to_offset: u64) -> Result<(), Error> {
        to.after("copy_data", async { Ok(()) })?;
        self.after("copy_data", self.file.copy_data(offset, len, &to.file, to_offset))
    }

    /// Closes it and says whether all that was written arrived.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub fn close(self) -> Result<(), Error> {
        self.with(async |cursor| cursor.close().await)
    }
}

impl Drop for File {
    fn drop(&mut self) {
        // As with `BufWriter`: what was written is not lost, but its error is.
        let _ = self.with(async |cursor| cursor.settle().await);
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

impl Read for &File {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_some(to)
    }
}

impl Read for File {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        self.read_some(to)
    }
}

impl BufRead for File {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let File { cursor, sftp, .. } = self;
        let cursor = cursor.get_mut().unwrap_or_else(PoisonError::into_inner);
        if cursor.buffer().is_empty() {
            sftp.run(cursor.fill(CHUNK)).map_err(io_error)?;
        }
        Ok(cursor.buffer())
    }

    fn consume(&mut self, n: usize) {
        self.lock().consume(n);
    }
}

impl Write for &File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.with(async |cursor| cursor.write(data).await).map_err(io_error)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(MAX_BEHIND).collect();
        self.write(&all)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.after("write", async { Ok(()) }).map_err(io_error)
    }
}

impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        (&*self).write(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let target = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.lock().position().checked_add_signed(by).ok_or_else(wrong)?,
            SeekFrom::End(by) => {
                let size = self.metadata().map_err(io_error)?.size();
                let size = size.ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
                size.checked_add_signed(by).ok_or_else(wrong)?
            }
        };
        self.lock().seek(target);
        Ok(target)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}
