use std::fmt;
use std::io::{self, BufRead, IoSlice, Read, Seek, SeekFrom, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use konko_core::crypto::HashAlg;
use konko_core::sftp::transfer::{self, Local};
use konko_core::sftp::{Attrs, FileHash, FileType, Handle, OpenFlags, StatVfs, StatusCode, Times};

use super::client::{Sftp, attrs, done, statvfs, unexpected};
use super::client_dir::{Metadata, seconds};
use super::client_error::Error;
use super::client_machine::{Answer, Share, Side};
use super::client_session::{Call, Patience};
use super::path::RemotePath;

/// What is read ahead at first. It doubles while reading goes on in order.
const AHEAD: u64 = 64 * 1024;
/// What is read ahead at most, unless told otherwise.
const MOST_AHEAD: u64 = 16 << 20;
/// What a file keeps of written data that the server's window does not take yet.
const BEHIND: usize = 1 << 20;

/// How a remote file is opened; as [`std::fs::OpenOptions`].
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    read: bool,
    write: bool,
    append: bool,
    truncate: bool,
    create: bool,
    create_new: bool,
    mode: Option<u32>,
}

impl OpenOptions {
    /// With nothing set.
    pub fn new() -> Self {
        Self::default()
    }

    /// For reading.
    #[must_use]
    pub fn read(mut self, read: bool) -> Self {
        self.read = read;
        self
    }

    /// For writing.
    #[must_use]
    pub fn write(mut self, write: bool) -> Self {
        self.write = write;
        self
    }

    /// For writing at the end.
    #[must_use]
    pub fn append(mut self, append: bool) -> Self {
        self.append = append;
        self
    }

    /// Cut to nothing; with `write`.
    #[must_use]
    pub fn truncate(mut self, truncate: bool) -> Self {
        self.truncate = truncate;
        self
    }

    /// Made if it does not exist; with `write` or `append`.
    #[must_use]
    pub fn create(mut self, create: bool) -> Self {
        self.create = create;
        self
    }

    /// Made, and an error if it exists; with `write` or `append`.
    #[must_use]
    pub fn create_new(mut self, create_new: bool) -> Self {
        self.create_new = create_new;
        self
    }

    /// Permission bits of a file that is made, less those that the server masks.
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode & 0o7777);
        self
    }

    fn flags(&self) -> Result<OpenFlags, Error> {
        let writes = self.write || self.append;
        if !writes && (self.truncate || self.create || self.create_new) {
            return Err(Error::invalid("a file has to be opened for writing to be made or cut"));
        }
        if !writes && !self.read {
            return Err(Error::invalid("a file is opened for reading, writing or appending"));
        }
        let chosen = [
            (self.read, OpenFlags::READ),
            (writes, OpenFlags::WRITE),
            (self.append, OpenFlags::APPEND),
            (self.create || self.create_new, OpenFlags::CREATE),
            (self.truncate, OpenFlags::TRUNCATE),
            (self.create_new, OpenFlags::EXCLUSIVE),
        ];
        Ok(chosen.iter().filter(|(set, _)| *set).fold(OpenFlags(0), |flags, (_, flag)| flags | *flag))
    }
}

impl Sftp {
    /// Opens a file for reading.
    pub fn open(&self, path: impl RemotePath) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().read(true))
    }

    /// Makes a file, or cuts it to nothing, and opens it for writing.
    pub fn create(&self, path: impl RemotePath) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().write(true).create(true).truncate(true))
    }

    /// Opens a file.
    pub fn open_with(&self, path: impl RemotePath, options: &OpenOptions) -> Result<File, Error> {
        let path = self.path(&path);
        let named = |e: Error| e.of("open", &[&path]);
        let flags = options.flags().map_err(named)?;
        let (own, with) = (path.clone(), Attrs { permissions: options.mode, ..Attrs::new() });
        let handle = match self.ask(move |client| client.open(&own, flags, &with)) {
            Ok(Answer::Handle(handle)) => handle,
            other => return Err(named(unexpected(other))),
        };
        let file = File {
            sftp: self.clone(),
            handle,
            path: path.clone(),
            inner: Mutex::new(Inner { most: MOST_AHEAD, behind: true, ..Inner::default() }),
            closed: false,
        };
        if options.append {
            // Some servers write at the offset that they are told, whatever the flag says.
            let end = file.metadata().ok().and_then(|meta| meta.size());
            file.lock().pos = end.unwrap_or(0);
        }
        Ok(file)
    }

    /// Reads a whole file.
    pub fn read(&self, path: impl RemotePath) -> Result<Vec<u8>, Error> {
        let mut file = self.open(&path)?;
        file.set_read_ahead(u64::MAX);
        let mut bytes = Vec::new();
        match file.read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(e) => Err(file.error(e)),
        }
    }

    /// Makes a file of these bytes, or replaces what is in it.
    pub fn write(&self, path: impl RemotePath, bytes: impl AsRef<[u8]>) -> Result<(), Error> {
        let mut file = self.create(&path)?;
        file.write_all(bytes.as_ref()).map_err(|e| file.error(e))?;
        file.close()
    }

    /// Writes a remote file into `to`; how many bytes.
    pub fn get_to(&self, path: impl RemotePath, to: &mut (impl Write + ?Sized)) -> Result<u64, Error> {
        let mut file = self.open(&path)?;
        file.set_read_ahead(MOST_AHEAD);
        let mut total = 0u64;
        loop {
            let error = |e: io::Error| Error::local("", e).of("get", &[path.as_remote()]);
            let chunk = match file.fill_buf() {
                Ok([]) => break,
                Ok(chunk) => chunk,
                Err(e) => return Err(file.error(e)),
            };
            to.write_all(chunk).map_err(error)?;
            let n = chunk.len();
            file.consume(n);
            total += n as u64;
        }
        file.close()?;
        Ok(total)
    }

    /// Makes a remote file of all that `from` gives, and checks its size; how many bytes.
    pub fn put_from(&self, from: &mut (impl Read + ?Sized), path: impl RemotePath) -> Result<u64, Error> {
        let mut buffer = vec![0; 256 * 1024];
        let mut read = || loop {
            match from.read(&mut buffer) {
                Ok(n) => break Ok(buffer[..n].to_vec()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => break Err(Error::local("", e).of("put", &[path.as_remote()])),
            }
        };
        // What cannot be read leaves the remote file as it is.
        let mut piece = read()?;
        let mut file = self.create(&path)?;
        let mut total = 0u64;
        while !piece.is_empty() {
            file.write_all(&piece).map_err(|e| file.error(e))?;
            total += piece.len() as u64;
            piece = read()?;
        }
        file.close()?;
        // Some servers write when the file is closed, and not before.
        let there = self.metadata(&path).ok().filter(|meta| !is_special(meta)).and_then(|meta| meta.size());
        if let Some(got) = there.filter(|got| *got != total) {
            let mismatch = transfer::TransferError::SizeMismatch { expected: total, got };
            let kind = super::client_error::ErrorKind::Transfer(mismatch);
            return Err(Error::new(kind).of("put", &[path.as_remote()]));
        }
        Ok(total)
    }
}

/// The size of a device says nothing of what was written to it.
fn is_special(meta: &Metadata) -> bool {
    meta.file_type().is_some_and(|kind| kind != FileType::File)
}

/// Data that was read ahead.
#[derive(Debug, Default)]
struct Ahead {
    bytes: Vec<u8>,
}

struct Reader {
    call: Call,
    ahead: Share<Ahead>,
    /// Up to here it may read.
    allowed: u64,
    window: u64,
    ended: bool,
}

#[derive(Debug, Default)]
struct Behind {
    bytes: Vec<u8>,
    head: usize,
    closing: bool,
}

impl Behind {
    fn len(&self) -> usize {
        self.bytes.len() - self.head
    }
}

struct Writer {
    call: Call,
    behind: Share<Behind>,
    /// Where the next data goes.
    next: u64,
}

#[derive(Default)]
struct Inner {
    pos: u64,
    /// Read ahead and handed over: what is left of it starts at `pos`.
    front: Vec<u8>,
    at: usize,
    reader: Option<Reader>,
    writer: Option<Writer>,
    /// Bytes to read ahead at most; 0: not at all.
    most: u64,
    /// Reading starts with all of that, without waiting to see whether it goes on in order.
    eager: bool,
    /// Writes need not be answered before the next.
    behind: bool,
}

fn locked<T>(share: &Mutex<T>) -> MutexGuard<'_, T> {
    share.lock().unwrap_or_else(PoisonError::into_inner)
}

struct ReadSide(Share<Ahead>);

impl Side for ReadSide {
    fn data(&mut self, _: u64, data: &[u8]) -> io::Result<()> {
        locked(&self.0).bytes.extend_from_slice(data);
        Ok(())
    }

    fn is_watched(&self) -> bool {
        true
    }
}

struct WriteSide(Share<Behind>);

impl Side for WriteSide {
    fn fill(&mut self, _: u64, room: &mut [u8]) -> io::Result<Local> {
        let mut behind = locked(&self.0);
        let n = behind.len().min(room.len());
        let head = behind.head;
        room[..n].copy_from_slice(&behind.bytes[head..head + n]);
        behind.head += n;
        if behind.len() == 0 {
            behind.bytes.clear();
            behind.head = 0;
        }
        Ok(Local::Data(n))
    }

    fn has_data(&self) -> bool {
        locked(&self.0).len() > 0
    }

    fn is_closing(&self) -> bool {
        locked(&self.0).closing
    }

    fn is_watched(&self) -> bool {
        true
    }
}

/// An open remote file.
///
/// Reading in order reads ahead, and writing does not wait for answers: the first error of a write shows in a
/// later one, in [`flush`](Write::flush) or in [`close`](Self::close). A file that is dropped waits until the
/// server has what was written, as `BufWriter` does, and nobody learns what went wrong with that; one that was
/// only read is closed without waiting.
pub struct File {
    sftp: Sftp,
    handle: Handle,
    path: Vec<u8>,
    inner: Mutex<Inner>,
    closed: bool,
}

impl File {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        locked(&self.inner)
    }

    /// The path that it was opened by.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// The server's name for it.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    fn named(&self, op: &'static str) -> impl Fn(Error) -> Error + '_ {
        move |e| e.of(op, &[&self.path])
    }

    /// What an I/O error of this file holds.
    pub(crate) fn error(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(error) => error,
            Err(error) => Error::local("", error).of("file", &[&self.path]),
        }
    }

    /// Reads ahead so many bytes at once from now on, without waiting to see whether reading goes on in order;
    /// 0: reads nothing ahead, and each read is one request. 16 MiB at most, as far as reading goes on in
    /// order, unless set. What may be in flight of it is up to [`SftpOptions`](super::SftpOptions).
    pub fn set_read_ahead(&self, bytes: u64) {
        let mut inner = self.lock();
        (inner.most, inner.eager) = (bytes, true);
        if bytes == 0 {
            // What is here already stays.
            inner.reader = None;
        }
    }

    /// Whether writes return before the server has answered: yes, unless set.
    pub fn set_write_behind(&self, behind: bool) {
        self.lock().behind = behind;
    }

    // ---- reading ----

    fn start_reader(&self, inner: &mut Inner, want: usize) {
        let window = if inner.eager { inner.most } else { AHEAD.max(want as u64).min(inner.most) };
        let allowed = inner.pos.saturating_add(window);
        let (ahead, call) = (Share::<Ahead>::default(), self.sftp.call());
        let (handle, offset) = (self.handle.clone(), inner.pos);
        let options =
            transfer::GetOptions { offset, ordered: true, limit: Some(allowed), ..Default::default() };
        call.start(0, move |t| t.read(&handle, options), Box::new(ReadSide(Arc::clone(&ahead))));
        inner.reader = Some(Reader { call, ahead, allowed, window, ended: false });
    }

    /// Makes sure that `front` has data, unless the file has ended.
    fn fill(&self, inner: &mut Inner, want: usize) -> Result<(), Error> {
        self.settle(inner)?;
        if inner.at < inner.front.len() {
            return Ok(());
        }
        if inner.reader.is_none() {
            self.start_reader(inner, want);
        }
        let Inner { reader: Some(reader), front, at, pos, most, .. } = inner else { return Ok(()) };
        front.clear();
        *at = 0;
        loop {
            std::mem::swap(front, &mut locked(&reader.ahead).bytes);
            if !front.is_empty() {
                break;
            }
            if reader.ended {
                // A later read asks again: the file may grow.
                inner.reader = None;
                return Ok(());
            }
            let answer = match reader.call.next(self.progress()) {
                Ok(answer) => answer,
                Err(error) => {
                    inner.reader = None;
                    return Err(error);
                }
            };
            match answer {
                Answer::Job(_, Ok(_)) => reader.ended = true,
                Answer::Job(_, Err(error)) | Answer::Failed(error) => {
                    inner.reader = None;
                    return Err(error);
                }
                _ => {}
            }
        }
        // It goes on in order, so more of it at a time.
        reader.window = reader.window.saturating_mul(2).min(*most);
        let wanted = pos.saturating_add(front.len() as u64).saturating_add(reader.window);
        if !reader.ended && wanted > reader.allowed.saturating_add(reader.window / 4) {
            reader.allowed = wanted;
            let id = reader.call.id();
            self.sftp.session().poke(move |machine| machine.allow(id, wanted));
        }
        Ok(())
    }

    fn progress(&self) -> Patience {
        Patience::Progress(self.sftp.timeout())
    }

    fn read_some(&self, to: &mut [u8]) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        let mut inner = self.lock();
        if inner.most == 0 && inner.at == inner.front.len() {
            self.settle(&mut inner)?;
            let n = self.read_at(to, inner.pos)?;
            inner.pos += n as u64;
            return Ok(n);
        }
        self.fill(&mut inner, to.len()).map_err(self.named("read"))?;
        let rest = &inner.front[inner.at..];
        let n = rest.len().min(to.len());
        to[..n].copy_from_slice(&rest[..n]);
        inner.at += n;
        inner.pos += n as u64;
        Ok(n)
    }

    /// Reads at an offset, without a cursor. May give less than asked for, and 0 at the end.
    pub fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        if to.is_empty() {
            return Ok(0);
        }
        let (handle, len) = (self.handle.clone(), u32::try_from(to.len()).unwrap_or(u32::MAX));
        let answer = self.sftp.ask(move |client| {
            let len = len.min(client.limits().read_len());
            client.read(&handle, offset, len)
        });
        match answer {
            Ok(Answer::Data(data)) => {
                let n = data.len().min(to.len());
                to[..n].copy_from_slice(&data[..n]);
                Ok(n)
            }
            Ok(Answer::Status(status)) if status.code == StatusCode::EOF => Ok(0),
            other => Err(self.named("read")(unexpected(other)).into()),
        }
    }

    /// Reads several ranges, each an offset and a length, all at once. A range that reaches beyond the end gives
    /// what there is.
    pub fn read_ranges(&self, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, Error> {
        self.flush_writes().map_err(self.named("read"))?;
        let call = self.sftp.call();
        let mut parts: Vec<Share<Ahead>> = Vec::with_capacity(ranges.len());
        for (number, (offset, len)) in ranges.iter().enumerate() {
            let (handle, part) = (self.handle.clone(), Share::<Ahead>::default());
            let options = transfer::GetOptions {
                offset: *offset,
                end: Some(offset.saturating_add(*len)),
                ordered: true,
                ..Default::default()
            };
            call.start(number, move |t| t.read(&handle, options), Box::new(ReadSide(Arc::clone(&part))));
            parts.push(part);
        }
        let mut left = ranges.len();
        while left > 0 {
            match call.next(self.progress()).map_err(self.named("read"))? {
                Answer::Job(_, Ok(_)) => left -= 1,
                Answer::Job(_, Err(error)) | Answer::Failed(error) => return Err(self.named("read")(error)),
                _ => {}
            }
        }
        Ok(parts.iter().map(|part| std::mem::take(&mut locked(part).bytes)).collect())
    }

    // ---- writing ----

    fn start_writer(&self, offset: u64) -> Writer {
        let (behind, call, handle) = (Share::<Behind>::default(), self.sftp.call(), self.handle.clone());
        call.start(0, move |t| t.write(&handle, offset), Box::new(WriteSide(Arc::clone(&behind))));
        Writer { call, behind, next: offset }
    }

    fn write_some(&self, data: &[u8]) -> io::Result<usize> {
        if data.is_empty() {
            return Ok(0);
        }
        let mut inner = self.lock();
        let named = self.named("write");
        // What was read ahead may be out of date now.
        inner.reader = None;
        inner.front.clear();
        inner.at = 0;
        let pos = inner.pos;
        if inner.writer.as_ref().is_some_and(|writer| writer.next != pos) {
            self.settle(&mut inner).map_err(&named)?;
        }
        let writer = inner.writer.get_or_insert_with(|| self.start_writer(pos));
        let result = self.queue(writer, data);
        let n = match result {
            Ok(n) => n,
            Err(error) => {
                inner.writer = None;
                return Err(named(error).into());
            }
        };
        inner.pos = pos.saturating_add(n as u64);
        if !inner.behind {
            self.settle(&mut inner).map_err(&named)?;
        }
        Ok(n)
    }

    /// Puts data into the queue of a writer, waiting for room if there is none.
    fn queue(&self, writer: &mut Writer, data: &[u8]) -> Result<usize, Error> {
        let data = &data[..data.len().min(BEHIND)];
        {
            let mut behind = locked(&writer.behind);
            if behind.head > 0 && behind.bytes.len() + data.len() > behind.bytes.capacity() {
                let head = std::mem::take(&mut behind.head);
                behind.bytes.drain(..head);
            }
            behind.bytes.extend_from_slice(data);
        }
        writer.next = writer.next.saturating_add(data.len() as u64);
        let id = writer.call.id();
        self.sftp.session().poke(move |machine| machine.supply(id));
        let share = Arc::clone(&writer.behind);
        writer.call.wait_for(self.progress(), |answers, _| {
            while let Some(answer) = answers.pop_front() {
                if let Answer::Job(_, Err(error)) | Answer::Failed(error) = answer {
                    return Some(Err(error));
                }
            }
            (locked(&share).len() < BEHIND).then_some(Ok(()))
        })??;
        Ok(data.len())
    }

    /// Waits until everything that was written is acknowledged.
    fn settle(&self, inner: &mut Inner) -> Result<(), Error> {
        let Some(writer) = inner.writer.take() else { return Ok(()) };
        locked(&writer.behind).closing = true;
        let id = writer.call.id();
        writer.call.order(move |machine| machine.supply(id));
        loop {
            match writer.call.next(self.progress())? {
                Answer::Job(_, Ok(_)) => return Ok(()),
                Answer::Job(_, Err(error)) | Answer::Failed(error) => return Err(error),
                _ => {}
            }
        }
    }

    fn flush_writes(&self) -> Result<(), Error> {
        self.settle(&mut self.lock())
    }

    /// Writes all of `data` at an offset, without a cursor, and waits until the server has it.
    pub fn write_at(&self, data: &[u8], offset: u64) -> io::Result<usize> {
        let writer = self.start_writer(offset);
        locked(&writer.behind).bytes.extend_from_slice(data);
        let mut inner = Inner { writer: Some(writer), ..Inner::default() };
        self.settle(&mut inner).map_err(self.named("write"))?;
        Ok(data.len())
    }

    // ---- the file itself ----

    /// Attributes, after all that was written.
    pub fn metadata(&self) -> Result<Metadata, Error> {
        self.flush_writes().map_err(self.named("metadata"))?;
        let handle = self.handle.clone();
        let answer = self.sftp.ask(move |client| client.fstat(&handle));
        answer.and_then(attrs).map_err(self.named("metadata"))
    }

    /// Changes what is set in `set`.
    pub fn set_metadata(&self, set: &Attrs) -> Result<(), Error> {
        self.change("set_metadata", set.clone())
    }

    fn change(&self, op: &'static str, set: Attrs) -> Result<(), Error> {
        self.flush_writes().map_err(self.named(op))?;
        let handle = self.handle.clone();
        let answer = self.sftp.ask(move |client| client.fsetstat(&handle, &set));
        answer.and_then(done).map_err(self.named(op))
    }

    /// Changes the permission bits.
    pub fn set_permissions(&self, mode: u32) -> Result<(), Error> {
        self.change("set_permissions", Attrs::new().with_permissions(mode & 0o7777))
    }

    /// Changes user and group.
    pub fn chown(&self, uid: u32, gid: u32) -> Result<(), Error> {
        self.change("chown", Attrs::new().with_owner(uid, gid))
    }

    /// Sets the times of last access and modification; whole seconds.
    pub fn set_times(&self, accessed: SystemTime, modified: SystemTime) -> Result<(), Error> {
        let times = Times { accessed: seconds(accessed), modified: seconds(modified) };
        self.change("set_times", Attrs { times: Some(times), ..Attrs::default() })
    }

    /// Cuts the file, or lengthens it with zeros.
    pub fn set_len(&self, len: u64) -> Result<(), Error> {
        {
            let mut inner = self.lock();
            inner.reader = None;
            inner.front.clear();
            inner.at = 0;
        }
        self.change("set_len", Attrs::new().with_size(len))
    }

    /// Waits until all that was written is on the server's disk: fsync@openssh.com.
    pub fn sync_all(&self) -> Result<(), Error> {
        self.flush_writes().map_err(self.named("sync_all"))?;
        let (handle, call) = (self.handle.clone(), self.sftp.call());
        call.request(move |client| client.fsync(&handle));
        call.next(Patience::Progress(None)).and_then(done).map_err(self.named("sync_all"))
    }

    /// Figures of the file system that it is on: fstatvfs@openssh.com.
    pub fn statvfs(&self) -> Result<StatVfs, Error> {
        let handle = self.handle.clone();
        let answer = self.sftp.ask(move |client| client.fstatvfs(&handle));
        answer.and_then(statvfs).map_err(self.named("statvfs"))
    }

    /// Hashes that the server makes of it; see [`Sftp::check_file`].
    pub fn check(&self, algs: &[HashAlg], (offset, len): (u64, u64), block: u32) -> Result<FileHash, Error> {
        self.flush_writes().map_err(self.named("check"))?;
        let (handle, algs, call) = (self.handle.clone(), algs.to_vec(), self.sftp.call());
        call.request(move |client| client.check_file(&handle, &algs, offset, len, block));
        match call.next(Patience::Progress(None)) {
            Ok(Answer::FileHash(hash)) => Ok(hash),
            other => Err(self.named("check")(unexpected(other))),
        }
    }

    /// Copies `len` bytes, 0 for all to the end, to another file of the same server, without them coming here:
    /// copy-data.
    pub fn copy_data(&self, offset: u64, len: u64, to: &File, to_offset: u64) -> Result<(), Error> {
        self.flush_writes().and_then(|()| to.flush_writes()).map_err(self.named("copy_data"))?;
        let (from, to, call) = (self.handle.clone(), to.handle.clone(), self.sftp.call());
        call.request(move |client| client.copy_data((&from, offset), len, (&to, to_offset)));
        call.next(Patience::Progress(None)).and_then(done).map_err(self.named("copy_data"))
    }

    /// Closes it and says whether all that was written arrived.
    pub fn close(mut self) -> Result<(), Error> {
        let flushed = self.flush_writes();
        self.lock().reader = None;
        self.closed = true;
        let handle = self.handle.clone();
        let answer = self.sftp.ask(move |client| client.close(&handle));
        flushed.and(answer.and_then(done)).map_err(self.named("close"))
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let mut inner = std::mem::take(self.inner.get_mut().unwrap_or_else(PoisonError::into_inner));
        inner.reader = None;
        if self.closed {
            return;
        }
        // As with `BufWriter`: what was written is not lost, but its error is.
        let _ = self.settle(&mut inner);
        let handle = self.handle.clone();
        self.sftp.session().poke(move |machine| machine.detached(Box::new(move |c| c.close(&handle))));
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", konko_core::wire::SshStr::new(&self.path))
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
        {
            let mut inner = self.lock();
            if inner.at == inner.front.len() && inner.most == 0 {
                let mut chunk = vec![0; 32 * 1024];
                let n = self.read_at(&mut chunk, inner.pos)?;
                chunk.truncate(n);
                (inner.front, inner.at) = (chunk, 0);
            }
            if inner.most > 0 {
                self.fill(&mut inner, 0).map_err(self.named("read"))?;
            }
        }
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        Ok(&inner.front[inner.at..])
    }

    fn consume(&mut self, n: usize) {
        let inner = self.inner.get_mut().unwrap_or_else(PoisonError::into_inner);
        let n = n.min(inner.front.len() - inner.at);
        inner.at += n;
        inner.pos += n as u64;
    }
}

impl Write for &File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_some(data)
    }

    fn write_vectored(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        let all: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).take(BEHIND).collect();
        self.write_some(&all)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_writes().map_err(self.named("write"))?)
    }
}

impl Write for File {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.write_some(data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(self.flush_writes().map_err(self.named("write"))?)
    }
}

impl Seek for &File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let wrong = || io::Error::from(io::ErrorKind::InvalidInput);
        let target = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::Current(by) => self.lock().pos.checked_add_signed(by).ok_or_else(wrong)?,
            SeekFrom::End(by) => {
                let size =
                    self.metadata()?.size().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))?;
                size.checked_add_signed(by).ok_or_else(wrong)?
            }
        };
        let mut inner = self.lock();
        let ahead = target.checked_sub(inner.pos).and_then(|by| usize::try_from(by).ok());
        match ahead {
            Some(by) if by <= inner.front.len() - inner.at => inner.at += by,
            _ => {
                inner.reader = None;
                inner.front.clear();
                inner.at = 0;
            }
        }
        inner.pos = target;
        Ok(target)
    }
}

impl Seek for File {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        (&*self).seek(to)
    }
}
