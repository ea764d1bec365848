//! Open files: at offsets, and with a cursor that reads ahead and writes behind.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use super::ask::{Ask, Got, Order, Patience, Start};
use super::entry::Metadata;
use super::error::{Error, ErrorKind};
use super::machine::Bulk;
use super::remote::{Remote, attrs, done, handle, hash, statvfs, unexpected};
use crate::crypto::HashAlgorithm;
use crate::sftp::transfer::{DownloadOptions, TransferError};
use crate::sftp::{
    Attrs, FileHash, FileType, Handle, OpenFlags, RequestId, SftpClient, StatVfs, StatusCode, UsageError,
};
use crate::wire::SshStr;

/// What is read ahead at first. It doubles while reading goes on in order.
const AHEAD: u64 = 64 * 1024;
/// What is read ahead at most, unless told otherwise.
pub const MAX_AHEAD: u64 = 16 << 20;
/// What a file keeps of written data that the server's window does not take yet.
pub const MAX_BEHIND: usize = 1 << 20;

/// How a remote file is opened; as `std::fs::OpenOptions`.
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

impl Remote {
    /// Opens a file for reading.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn open(&self, path: &[u8]) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().read(true)).await
    }

    /// Makes a file, or cuts it to nothing, and opens it for writing.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn create(&self, path: &[u8]) -> Result<File, Error> {
        self.open_with(path, &OpenOptions::new().write(true).create(true).truncate(true)).await
    }

    /// Opens a file.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata), and for options that make no sense.
    pub async fn open_with(&self, path: &[u8], options: &OpenOptions) -> Result<File, Error> {
        let path = self.path(path);
        let named = |e: Error| e.of("open", &[&path]);
        let flags = options.flags().map_err(named)?;
        let (own, with) = (path.clone(), Attrs { permissions: options.mode, ..Attrs::new() });
        let opened = self.ask(self.patience(), move |client| client.open(&own, flags, &with)).await;
        let handle = opened.and_then(handle).map_err(named)?;
        let mut file = File {
            remote: self.clone(),
            handle,
            path: path.clone(),
            start: 0,
            closed: AtomicBool::new(false),
        };
        if options.append {
            // Some servers write at the offset that they are told, whatever the flag says.
            let end = file.metadata().await.ok().and_then(|meta| meta.size());
            file.start = end.unwrap_or(0);
        }
        Ok(file)
    }

    /// What a remote file that was written is to be: some servers write when the file is closed, and not before.
    ///
    /// # Errors
    /// If the server tells another size than `size`. Whether it tells one.
    pub async fn check_size(&self, path: &[u8], size: u64) -> Result<bool, Error> {
        // The size of a device says nothing of what was written to it.
        let regular = |meta: &Metadata| meta.file_type().is_none_or(|kind| kind == FileType::File);
        let there = self.metadata(path).await.ok().filter(regular).and_then(|meta| meta.size());
        match there {
            Some(got) if got != size => {
                Err(Error::new(ErrorKind::Transfer(TransferError::SizeMismatch { expected: size, got })))
            }
            told => Ok(told.is_some()),
        }
    }
}

/// An open remote file. Dropped, it is closed, and nobody learns how.
pub struct File {
    remote: Remote,
    handle: Handle,
    path: Vec<u8>,
    /// Where a cursor starts.
    start: u64,
    closed: AtomicBool,
}

impl File {
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

    fn progress(&self) -> Patience {
        Patience::Progress(self.remote.timeout())
    }

    /// Asks about the file; `long` takes as long as it takes.
    async fn ask<T>(
        &self,
        op: &'static str,
        long: bool,
        send: impl FnMut(&mut SftpClient) -> Result<RequestId, UsageError> + Send + 'static,
        take: fn(Got) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let patience = if long { Patience::Progress(None) } else { self.remote.patience() };
        self.remote.ask(patience, send).await.and_then(take).map_err(self.named(op))
    }

    fn bulk(&self, number: usize, ask: &mut Ask, bulk: Bulk) {
        let start = Box::new(Start::Bulk(self.handle.clone(), bulk));
        ask.order(|slot| Order::Start(slot, number, start));
    }

    /// Reads at an offset. May give less than asked for, and nothing at the end.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn read_at(&self, len: usize, offset: u64) -> Result<Vec<u8>, Error> {
        if len == 0 {
            return Ok(Vec::new());
        }
        let (handle, len) = (self.handle.clone(), u32::try_from(len).unwrap_or(u32::MAX));
        let send = move |client: &mut SftpClient| {
            let len = len.min(client.limits().read_len());
            client.read(&handle, offset, len)
        };
        let take = |got| match got {
            Got::Data(data) => Ok(data),
            Got::Status(status) if status.code == StatusCode::EOF => Ok(Vec::new()),
            other => Err(unexpected(other)),
        };
        self.ask("read", false, send, take).await
    }

    /// Reads several ranges, each an offset and a length, all at once. A range that reaches beyond the end gives
    /// what there is.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn read_ranges(&self, ranges: &[(u64, u64)]) -> Result<Vec<Vec<u8>>, Error> {
        let begin = |(number, (offset, len)): (usize, &(u64, u64))| {
            let (offset, end) = (*offset, Some(offset.saturating_add(*len)));
            let mut ask = self.remote.begin();
            let options = DownloadOptions::new().offset(offset).end(end).ordered(true);
            self.bulk(number, &mut ask, Bulk::Read(options));
            ask
        };
        let asks: Vec<Ask> = ranges.iter().enumerate().map(begin).collect();
        let mut parts = Vec::with_capacity(ranges.len());
        for mut ask in asks {
            let mut part = Vec::new();
            while let Some(more) = ahead(&mut ask, self.progress()).await.map_err(self.named("read"))? {
                part.extend_from_slice(&more);
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// Writes all of `data` at an offset, and waits until the server has it.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn write_at(&self, data: &[u8], offset: u64) -> Result<(), Error> {
        let mut writer = Writer::new(self, offset);
        writer.supply(data);
        writer.settle(self).await.map_err(self.named("write"))
    }

    /// Attributes.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn metadata(&self) -> Result<Metadata, Error> {
        let handle = self.handle.clone();
        self.ask("metadata", false, move |client| client.fstat(&handle), attrs).await
    }

    /// Changes what is set in `set`; `op` is what an error calls it.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn set_metadata(&self, op: &'static str, set: &Attrs) -> Result<(), Error> {
        let (handle, set) = (self.handle.clone(), set.clone());
        self.ask(op, false, move |client| client.fsetstat(&handle, &set), done).await
    }

    /// Waits until all that was written is on the server's disk: fsync@openssh.com.
    ///
    /// # Errors
    /// As [`Remote::metadata`], and if the server does not have it.
    pub async fn sync_all(&self) -> Result<(), Error> {
        let handle = self.handle.clone();
        self.ask("sync_all", true, move |client| client.fsync(&handle), done).await
    }

    /// Figures of the file system that it is on: fstatvfs@openssh.com.
    ///
    /// # Errors
    /// As [`Remote::metadata`], and if the server does not have it.
    pub async fn statvfs(&self) -> Result<StatVfs, Error> {
        let handle = self.handle.clone();
        self.ask("statvfs", false, move |client| client.fstatvfs(&handle), statvfs).await
    }

    /// Hashes that the server makes of it; see [`Remote::check_file`].
    ///
    /// # Errors
    /// As [`Remote::metadata`], and if the server does not have it.
    pub async fn check(
        &self,
        algs: &[HashAlgorithm],
        (offset, len): (u64, u64),
        block: u32,
    ) -> Result<FileHash, Error> {
        let (handle, algs) = (self.handle.clone(), algs.to_vec());
        self.ask("check", true, move |client| client.check_file(&handle, &algs, offset, len, block), hash)
            .await
    }

    /// Copies `len` bytes, 0 for all to the end, to another file of the same server, without them coming here:
    /// copy-data.
    ///
    /// # Errors
    /// As [`Remote::metadata`], and if the server does not have it.
    pub async fn copy_data(&self, offset: u64, len: u64, to: &File, to_offset: u64) -> Result<(), Error> {
        let (from, to) = (self.handle.clone(), to.handle.clone());
        let send = move |client: &mut SftpClient| client.copy_data((&from, offset), len, (&to, to_offset));
        self.ask("copy_data", true, send, done).await
    }

    /// Closes it, for all who have it. Some servers write only now, so errors matter.
    ///
    /// # Errors
    /// As [`Remote::metadata`].
    pub async fn close(&self) -> Result<(), Error> {
        self.closed.store(true, Ordering::Relaxed);
        let handle = self.handle.clone();
        self.ask("close", false, move |client| client.close(&handle), done).await
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if !self.closed.load(Ordering::Relaxed) {
            let handle = self.handle.clone();
            self.remote.detached(move |client| client.close(&handle));
        }
    }
}

impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "File({})", SshStr::new(&self.path))
    }
}

/// What was read ahead; `None` when all of it has come.
async fn ahead(ask: &mut Ask, patience: Patience) -> Result<Option<Vec<u8>>, Error> {
    match ask.next(patience).await? {
        Got::Ahead(data) => Ok(Some(data)),
        Got::Job(_, result) => result.map(|_| None),
        other => Err(unexpected(other)),
    }
}

struct Reader {
    ask: Ask,
    /// Up to here it may read.
    allowed: u64,
    window: u64,
}

struct Writer {
    ask: Ask,
    /// Where the next data goes.
    next: u64,
    /// Bytes that are not on their way.
    behind: usize,
}

impl Writer {
    fn new(file: &File, offset: u64) -> Self {
        let mut ask = file.remote.begin();
        file.bulk(0, &mut ask, Bulk::Write(offset));
        Writer { ask, next: offset, behind: 0 }
    }

    fn supply(&mut self, data: &[u8]) {
        self.next = self.next.saturating_add(data.len() as u64);
        self.behind = self.behind.saturating_add(data.len());
        self.ask.tell(|slot| Order::Supply(slot, data.to_vec()));
    }

    /// Takes note of an answer. True: the writer has ended.
    fn took(&mut self, got: Got) -> Result<bool, Error> {
        match got {
            Got::Taken(n) => self.behind = self.behind.saturating_sub(n),
            Got::Job(_, result) => return result.map(|_| true),
            other => return Err(unexpected(other)),
        }
        Ok(false)
    }

    /// Waits until everything that was written is acknowledged.
    async fn settle(mut self, file: &File) -> Result<(), Error> {
        self.ask.tell(Order::Close);
        loop {
            let got = self.ask.next(file.progress()).await?;
            if self.took(got)? {
                return Ok(());
            }
        }
    }
}

/// Where a program is in an open file. Reading in order reads ahead, and writing does not wait for answers: the first
/// error of a write shows in a later one or when it is [settled](Self::settle).
pub struct Cursor {
    file: Arc<File>,
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

impl Cursor {
    /// At the start of a file, or at its end if it was opened to append.
    pub fn new(file: Arc<File>) -> Self {
        let (pos, front) = (file.start, Vec::new());
        Cursor {
            file,
            pos,
            front,
            at: 0,
            reader: None,
            writer: None,
            most: MAX_AHEAD,
            eager: false,
            behind: true,
        }
    }

    /// The file.
    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    /// Waits until everything that was written is acknowledged, and closes the file.
    ///
    /// # Errors
    /// The first error of a write, or what the server says of closing it.
    pub async fn close(&mut self) -> Result<(), Error> {
        let settled = self.settle().await.map_err(self.file.named("close"));
        self.reader = None;
        settled.and(self.file.close().await)
    }

    /// Where it is.
    pub fn position(&self) -> u64 {
        self.pos
    }

    /// Reads ahead so many bytes at once from now on, without waiting to see whether reading goes on in order;
    /// 0: reads nothing ahead, and each read is one request. 16 MiB at most, as far as reading goes on in
    /// order, unless set.
    pub fn set_read_ahead(&mut self, bytes: u64) {
        (self.most, self.eager) = (bytes, true);
        if bytes == 0 {
            // What is here already stays.
            self.reader = None;
        }
    }

    /// Whether writes return before the server has answered: yes, unless set.
    pub fn set_write_behind(&mut self, behind: bool) {
        self.behind = behind;
    }

    /// What is here of the data at the cursor.
    pub fn buffer(&self) -> &[u8] {
        self.front.get(self.at..).unwrap_or_default()
    }

    /// Goes on by so many bytes of the buffer.
    pub fn consume(&mut self, n: usize) {
        let n = n.min(self.buffer().len());
        self.at = self.at.saturating_add(n);
        self.pos = self.pos.saturating_add(n as u64);
    }

    /// What was read ahead may be out of date now.
    pub fn forget(&mut self) {
        self.reader = None;
        self.front.clear();
        self.at = 0;
    }

    /// Makes sure that the [buffer](Self::buffer) has data, unless the file has ended; `want` is how much is wanted.
    ///
    /// # Errors
    /// As [`Remote::metadata`]; of an earlier write, too.
    pub async fn fill(&mut self, want: usize) -> Result<(), Error> {
        self.settle().await.map_err(self.file.named("read"))?;
        if !self.buffer().is_empty() {
            return Ok(());
        }
        if self.most == 0 {
            self.front = self.file.read_at(want, self.pos).await?;
            self.at = 0;
            return Ok(());
        }
        let mut reader = match self.reader.take() {
            Some(reader) => reader,
            None => self.start_reader(want),
        };
        let patience = self.file.progress();
        let front = ahead(&mut reader.ask, patience).await.map_err(self.file.named("read"))?;
        // After the end, a later read asks again: the file may grow.
        let Some(front) = front else { return Ok(()) };
        (self.front, self.at) = (front, 0);
        // It goes on in order, so more of it at a time.
        reader.window = reader.window.saturating_mul(2).min(self.most);
        let wanted = self.pos.saturating_add(self.front.len() as u64).saturating_add(reader.window);
        if wanted > reader.allowed.saturating_add(reader.window / 4) {
            reader.allowed = wanted;
            reader.ask.tell(|slot| Order::Allow(slot, wanted));
        }
        self.reader = Some(reader);
        Ok(())
    }

    fn start_reader(&self, want: usize) -> Reader {
        let window = if self.eager { self.most } else { AHEAD.max(want as u64).min(self.most) };
        let allowed = self.pos.saturating_add(window);
        let options = DownloadOptions::new().offset(self.pos).ordered(true).limit(Some(allowed));
        let mut ask = self.file.remote.begin();
        self.file.bulk(0, &mut ask, Bulk::Read(options));
        Reader { ask, allowed, window }
    }

    /// Writes at the cursor, 1 MiB at most, and waits for room if there is none; how much was taken.
    ///
    /// # Errors
    /// As [`Remote::metadata`], of this or of an earlier write.
    pub async fn write(&mut self, data: &[u8]) -> Result<usize, Error> {
        let result = self.write_some(data).await;
        result.map_err(self.file.named("write"))
    }

    async fn write_some(&mut self, data: &[u8]) -> Result<usize, Error> {
        let data = data.get(..MAX_BEHIND).unwrap_or(data);
        if data.is_empty() {
            return Ok(0);
        }
        self.forget();
        if self.writer.as_ref().is_some_and(|writer| writer.next != self.pos) {
            self.settle().await?;
        }
        let mut writer = self.writer.take().unwrap_or_else(|| Writer::new(&self.file, self.pos));
        writer.supply(data);
        loop {
            let got = match writer.ask.ready() {
                Some(got) => got,
                None if writer.behind < MAX_BEHIND => break,
                None => writer.ask.next(self.file.progress()).await?,
            };
            writer.took(got)?;
        }
        self.writer = Some(writer);
        self.pos = self.pos.saturating_add(data.len() as u64);
        if !self.behind {
            self.settle().await?;
        }
        Ok(data.len())
    }

    /// Writes all of it at the cursor.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    pub async fn write_all(&mut self, mut data: &[u8]) -> Result<(), Error> {
        while !data.is_empty() {
            let n = self.write(data).await?;
            data = data.get(n..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits until everything that was written is acknowledged.
    ///
    /// # Errors
    /// The first error of a write.
    pub async fn settle(&mut self) -> Result<(), Error> {
        match self.writer.take() {
            Some(writer) => writer.settle(&self.file).await,
            None => Ok(()),
        }
    }

    /// Goes to an offset.
    pub fn seek(&mut self, target: u64) {
        let ahead = target.checked_sub(self.pos).and_then(|by| usize::try_from(by).ok());
        match ahead.filter(|by| *by <= self.buffer().len()) {
            Some(by) => self.at = self.at.saturating_add(by),
            None => self.forget(),
        }
        self.pos = target;
    }
}
