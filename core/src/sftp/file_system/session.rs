//! The handles and directories of one client.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Deref;
use core::time::Duration;

use crate::sftp::error::UsageError;
use crate::sftp::longname::LongName;
use crate::sftp::operation::Operation;
use crate::sftp::server::{Backend, HandleId, Request, SftpServer, Ticket};
use crate::sftp::status::StatusCode;

use super::layer::{Done, Layer};
use super::order::Queue;
use super::task::{Finished, Layers, Listing, OpenFile, Outcome, Parts, Task};
use super::{DirItem, FileSystem, Result};

enum Opened<F: FileSystem> {
    File {
        file: Arc<OpenFile<F::File>>,
        read: u64,
        written: u64,
    },
    /// Away while a READDIR is carried out.
    Dir(Option<Box<Listing<F::Dir>>>),
}

/// What a client has open on a file system, and what stands before that. A [`Session`] is this with its file system.
pub struct OpenFiles<F: FileSystem> {
    table: Vec<Option<(HandleId, Opened<F>)>>,
    layers: Layers,
}

impl<F: FileSystem> Default for OpenFiles<F> {
    fn default() -> Self {
        OpenFiles { table: Vec::new(), layers: Arc::new([]) }
    }
}

impl<F: FileSystem> OpenFiles<F> {
    /// Nothing is open, nothing stands before the file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a layer before the file system, outside of those that are there: it is asked and told first.
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.layers = [layer].into_iter().chain(self.layers.iter().cloned()).collect();
        self
    }

    /// Carries a request out at once, and answers it.
    pub fn request(&mut self, fs: &F, server: &mut SftpServer, request: Request<'_>) {
        let mut call = self.call(request);
        // A ticket that was handed out a moment ago is not stale, and the replies fit.
        let answered = if call.operation() == Operation::Read {
            self.read(fs, server, call)
        } else {
            let result = call.perform(fs);
            self.answer(fs, server, call, result)
        };
        debug_assert_eq!(answered, Ok(()));
    }

    /// Takes a request apart, to be [run](Task::run) when `queue` says so.
    pub fn enqueue(&mut self, fs: &F, queue: &mut Queue<Task<'static, F>>, request: Request<'_>) {
        let call = self.call(request).into_owned();
        queue.enqueue(call.concern(fs), call);
    }

    /// Answers a call that was run.
    pub fn conclude(&mut self, fs: &F, server: &mut SftpServer, finished: Finished<F>) {
        let Finished { call, result } = finished;
        // The session may have ended.
        let _ = self.answer(fs, server, call, result);
    }

    /// Lets go of what the session left open.
    pub fn abandoned(&mut self, fs: &F, handle: HandleId) {
        if let Some(Opened::File { file, read, written }) = self.remove(handle)
            && let Some(OpenFile { file, path, .. }) = Arc::into_inner(file)
        {
            // Nobody is left to hear what it says.
            let status = fs.close(file).err().map_or(StatusCode::OK, |status| status.code);
            let done = Done {
                operation: Operation::Close,
                path: &path,
                other: None,
                flags: None,
                status,
                read,
                written,
                took: Duration::ZERO,
            };
            self.layers.iter().for_each(|layer| layer.done(&done));
        }
    }

    // ---- the table ----

    fn at(&mut self, handle: HandleId) -> Option<&mut Opened<F>> {
        let entry = self.table.get_mut(handle.index())?.as_mut();
        entry.filter(|(id, _)| *id == handle).map(|(_, opened)| opened)
    }

    fn insert(&mut self, handle: HandleId, opened: Opened<F>) {
        if self.table.len() <= handle.index() {
            self.table.resize_with(handle.index().saturating_add(1), || None);
        }
        if let Some(place) = self.table.get_mut(handle.index()) {
            *place = Some((handle, opened));
        }
    }

    fn remove(&mut self, handle: HandleId) -> Option<Opened<F>> {
        self.at(handle)?;
        self.table.get_mut(handle.index())?.take().map(|(_, opened)| opened)
    }

    fn file(&mut self, handle: Option<HandleId>) -> Option<Arc<OpenFile<F::File>>> {
        match self.at(handle?) {
            Some(Opened::File { file, .. }) => Some(Arc::clone(file)),
            _ => None,
        }
    }

    fn call<'b>(&mut self, request: Request<'b>) -> Task<'b, F> {
        let Request { ticket, op } = request;
        let operation = ticket.operation();
        let parts = Parts::new(op);
        let (layers, begun) = (Arc::clone(&self.layers), self.layers.iter().find_map(|layer| layer.now()));
        let ticket = Some(ticket);
        let (file, second, dir, moved) = (None, None, None, (0, 0));
        let mut call = Task { operation, ticket, parts, file, second, dir, layers, begun, moved };
        let handle = call.parts.handle;
        match operation {
            Operation::Open | Operation::Opendir => {}
            Operation::Close => match handle.and_then(|handle| self.remove(handle)) {
                Some(Opened::File { file, read, written }) => {
                    (call.file, call.moved) = (Some(file), (read, written));
                }
                Some(Opened::Dir(dir)) => call.dir = dir,
                None => {}
            },
            Operation::Readdir => {
                if let Some(Opened::Dir(dir)) = handle.and_then(|handle| self.at(handle)) {
                    call.dir = dir.take();
                }
            }
            _ => (call.file, call.second) = (self.file(handle), self.file(call.parts.second)),
        }
        call
    }

    // ---- answers ----

    /// Reads straight into the reply.
    fn read(&mut self, fs: &F, server: &mut SftpServer, mut call: Task<'_, F>) -> Answered {
        let Some(ticket) = call.ticket.take() else { return Ok(()) };
        let mut status = StatusCode::OK;
        let answered = server.reply_data(ticket, |room| {
            let read = call.transfer().and_then(|()| fs.read(call.opened()?, call.parts.offset, room));
            match &read {
                Ok(n) => call.moved.0 = *n as u64,
                Err(no) => status = no.code,
            }
            read
        });
        self.finish(&mut call, status);
        answered
    }

    fn answer(
        &mut self,
        fs: &F,
        server: &mut SftpServer,
        mut call: Task<'_, F>,
        result: Result<Outcome<F>>,
    ) -> Answered {
        let status = result.as_ref().err().map_or(StatusCode::OK, |status| status.code);
        self.finish(&mut call, status);
        let Task { ticket: Some(ticket), parts, dir, .. } = call else { return Ok(()) };
        let handle = parts.handle;
        match result {
            Ok(Outcome::File(file)) => {
                self.opened(fs, server, ticket, handle, Opened::File { file, read: 0, written: 0 })
            }
            Ok(Outcome::Dir(dir)) => self.opened(fs, server, ticket, handle, Opened::Dir(Some(dir))),
            Ok(Outcome::Names) => self.names(fs, server, ticket, handle, dir),
            Ok(Outcome::Answer(answer)) => server.reply(ticket, answer),
            Err(status) => {
                self.put_back(handle, dir);
                server.reply_status(ticket, status)
            }
        }
    }

    fn opened(
        &mut self,
        fs: &F,
        server: &mut SftpServer,
        ticket: Ticket,
        handle: Option<HandleId>,
        opened: Opened<F>,
    ) -> Answered {
        let Some(handle) = handle else { return server.reply_status(ticket, StatusCode::FAILURE) };
        self.insert(handle, opened);
        let answered = server.reply_opened(ticket);
        if answered.is_err() {
            // It came too late: the session has ended.
            self.abandoned(fs, handle);
        }
        answered
    }

    fn names(
        &mut self,
        fs: &F,
        server: &mut SftpServer,
        ticket: Ticket,
        handle: Option<HandleId>,
        dir: Option<Box<Listing<F::Dir>>>,
    ) -> Answered {
        let Some(mut dir) = dir else { return server.reply_status(ticket, StatusCode::FAILURE) };
        let now = fs.now();
        let answered = server.reply_names(ticket, |out| {
            while let Some(entry) = dir.ready.front() {
                if !out.push(&entry.name, &line(entry, now), &entry.attrs) {
                    break;
                }
                dir.ready.pop_front();
            }
            Ok(())
        });
        self.put_back(handle, Some(dir));
        answered
    }

    fn put_back(&mut self, handle: Option<HandleId>, dir: Option<Box<Listing<F::Dir>>>) {
        if let Some(Opened::Dir(place)) = handle.and_then(|handle| self.at(handle)) {
            *place = dir;
        }
    }

    /// Counts what was moved, and tells the layers.
    fn finish(&mut self, call: &mut Task<'_, F>, status: StatusCode) {
        let (read, written) = call.moved;
        let operation = call.operation();
        let target = if operation == Operation::CopyData { call.parts.second } else { call.parts.handle };
        if operation != Operation::Close && (read, written) != (0, 0) {
            for (handle, source) in [(call.parts.handle, true), (target, false)] {
                if let Some(Opened::File { read: all_read, written: all_written, .. }) =
                    handle.and_then(|h| self.at(h))
                {
                    let (all, more) = if source { (all_read, read) } else { (all_written, written) };
                    *all = all.saturating_add(more);
                }
            }
        }
        let took = match (call.begun, call.layers.iter().find_map(|layer| layer.now())) {
            (Some(begun), Some(now)) => now.since(begun),
            _ => Duration::ZERO,
        };
        let (path, other, flags) = (call.path(), call.other(), call.parts.flags);
        let done = Done { operation, path, other, flags, status, read, written, took };
        call.layers.iter().for_each(|layer| layer.done(&done));
    }
}

type Answered = core::result::Result<(), UsageError>;

/// The line of a listing.
fn line(entry: &DirItem, now: u64) -> Vec<u8> {
    let DirItem { name, attrs, links, owner, group } = entry;
    let text = |name: &[u8]| alloc::string::String::from_utf8_lossy(name).into_owned();
    let (owner, group) = (text(owner), text(group));
    LongName { name, attrs, links: *links, owner: &owner, group: &group, now }.to_bytes()
}

impl<F: FileSystem> fmt::Debug for OpenFiles<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OpenFiles({})", self.table.iter().flatten().count())
    }
}

/// A client's session on a file system: a [`Backend`] that answers each request at once, on the thread that serves.
///
/// `P` leads to the file system: a reference, an `Rc`, an `Arc` or a `Box`.
pub struct Session<P: Deref<Target: FileSystem + Sized>> {
    fs: P,
    open: OpenFiles<P::Target>,
}

impl<P: Deref<Target: FileSystem + Sized>> Session<P> {
    /// A session with nothing open.
    pub fn new(fs: P) -> Self {
        Session { fs, open: OpenFiles::new() }
    }

    /// Puts a layer before the file system; see [`OpenFiles::layer`].
    #[must_use]
    pub fn layer(mut self, layer: Arc<dyn Layer>) -> Self {
        self.open = self.open.layer(layer);
        self
    }

    /// The file system.
    pub fn file_system(&self) -> &P {
        &self.fs
    }
}

impl<P: Deref<Target: FileSystem + Sized>> Backend for Session<P> {
    fn request(&mut self, server: &mut SftpServer, request: Request<'_>) {
        self.open.request(&self.fs, server, request);
    }

    fn abandoned(&mut self, handle: HandleId) {
        self.open.abandoned(&self.fs, handle);
    }
}

impl<P: Deref<Target: FileSystem + Sized>> fmt::Debug for Session<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?})", self.open)
    }
}
