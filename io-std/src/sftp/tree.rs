//! Directories: listing, walking, and removing with all that is in them.

use std::collections::VecDeque;

use konko_core::sftp::{FileType, Handle, NameRules, StatusCode};

use super::client::{Sftp, done, unexpected};
use super::client_dir::DirEntry;
use super::client_error::{Error, ErrorKind};
use super::client_machine::Answer;
use super::client_session::Call;
use super::path::{RemotePath, join};

/// READDIR requests that are outstanding at a time.
const READ_AHEAD: usize = 2;
/// Directories that are listed at a time.
pub(super) const AT_ONCE: usize = 32;
/// Requests of other kinds that are outstanding at a time.
pub(super) const REQUESTS: usize = 256;
/// Depth of a tree; OpenSSH's figure. A server can invent directories without end (S-19).
pub(super) const DEPTH: usize = 64;
/// Entries of one directory that is taken as a whole (S-19).
const ENTRIES: usize = 1 << 20;

/// The entries of a directory, as the server sends them. `.` and `..` are left out. Dropped, it is closed.
pub struct ReadDir {
    sftp: Sftp,
    call: Call,
    handle: Handle,
    path: Vec<u8>,
    entries: VecDeque<DirEntry>,
    outstanding: usize,
    ended: bool,
}

impl ReadDir {
    fn ask(&mut self) {
        while !self.ended && self.outstanding < READ_AHEAD {
            let handle = self.handle.clone();
            self.call.request(move |client| client.readdir(&handle));
            self.outstanding += 1;
        }
    }

    /// Takes an answer.
    fn step(&mut self) -> Result<(), Error> {
        self.ask();
        match self.call.next(self.sftp.patience())? {
            Answer::Names(names) => {
                self.outstanding -= 1;
                // An empty answer would come again and again.
                self.ended |= names.is_empty();
                self.entries.extend(names.into_iter().filter(|entry| !entry.is_own()));
                Ok(())
            }
            Answer::Status(status) if status.code == StatusCode::EOF => {
                self.outstanding -= 1;
                self.ended = true;
                Ok(())
            }
            Answer::Touched => Ok(()),
            other => Err(unexpected(Ok(other))),
        }
    }

    /// All of them.
    fn all(mut self) -> Result<Vec<DirEntry>, Error> {
        // What was asked for before the end was known may still bring names.
        while !self.ended || self.outstanding > 0 {
            self.step().map_err(|e| e.of("read_dir", &[&self.path]))?;
            if self.entries.len() > ENTRIES {
                let why = format!("it has more than {ENTRIES} entries");
                return Err(Error::new(ErrorKind::Unsafe(why)).of("read_dir", &[&self.path]));
            }
        }
        Ok(std::mem::take(&mut self.entries).into())
    }
}

impl Iterator for ReadDir {
    type Item = Result<DirEntry, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(Ok(entry));
            }
            if self.ended && self.outstanding == 0 {
                return None;
            }
            if let Err(error) = self.step() {
                (self.ended, self.outstanding) = (true, 0);
                return Some(Err(error.of("read_dir", &[&self.path])));
            }
        }
    }
}

impl Drop for ReadDir {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        let close = move |client: &mut konko_core::sftp::Client| client.close(&handle);
        self.sftp.session().poke(move |machine| machine.detached(Box::new(close)));
    }
}

/// Everything below a directory, each directory before what is in it. Symbolic links are not followed. What
/// cannot be listed gives an error, and the walk goes on.
pub struct Walk {
    sftp: Sftp,
    open: Vec<(Vec<u8>, ReadDir)>,
    next: Option<Vec<u8>>,
}

impl Iterator for Walk {
    type Item = Result<(Vec<u8>, DirEntry), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(dir) = self.next.take() {
            if self.open.len() >= DEPTH {
                return Some(Err(too_deep(&dir)));
            }
            match self.sftp.read_dir(&dir) {
                Ok(list) => self.open.push((dir, list)),
                Err(error) => return Some(Err(error)),
            }
        }
        loop {
            let (dir, list) = self.open.last_mut()?;
            match list.next() {
                Some(Ok(entry)) => {
                    let path = join(dir, entry.file_name());
                    if entry.is_dir() && one_component(entry.file_name()) {
                        self.next = Some(path.clone());
                    }
                    return Some(Ok((path, entry)));
                }
                Some(Err(error)) => {
                    self.open.pop();
                    return Some(Err(error));
                }
                None => drop(self.open.pop()),
            }
        }
    }
}

pub(super) fn too_deep(dir: &[u8]) -> Error {
    let why = format!("directories are nested more than {DEPTH} deep");
    Error::new(ErrorKind::Unsafe(why)).of("read_dir", &[dir])
}

/// Names that lead elsewhere are not followed on the server either.
pub(super) fn one_component(name: &[u8]) -> bool {
    NameRules::Unix.check(name).is_ok()
}

impl Sftp {
    /// Lists a directory.
    pub fn read_dir(&self, path: impl RemotePath) -> Result<ReadDir, Error> {
        let path = self.path(&path);
        let call = self.begin_read_dir(&path);
        let mut list = self.go_on_read_dir(path, call)?;
        list.ask();
        Ok(list)
    }

    /// Whether a path is a directory, or a link to one: what its attributes say. Where the server tells no type, or
    /// refuses to tell anything, OPENDIR decides, as everywhere in this module.
    ///
    /// # Errors
    /// If there is nothing, or the session has ended.
    pub fn is_dir(&self, path: impl RemotePath) -> Result<bool, Error> {
        let path = self.path(&path);
        match self.metadata(&path) {
            Ok(meta) if meta.file_type().is_some() => Ok(meta.is_dir()),
            Err(e) if e.is_fatal() || e.is_not_found() => Err(e),
            _ => match self.read_dir(&path) {
                Err(e) if e.is_fatal() => Err(e),
                opened => Ok(opened.is_ok()),
            },
        }
    }

    fn begin_read_dir(&self, path: &[u8]) -> Call {
        let call = self.call();
        let own = if path.is_empty() { b".".to_vec() } else { path.to_vec() };
        call.request(move |client| client.opendir(&own));
        call
    }

    fn go_on_read_dir(&self, path: Vec<u8>, call: Call) -> Result<ReadDir, Error> {
        match call.next(self.patience()) {
            Ok(Answer::Handle(handle)) => Ok(ReadDir {
                sftp: self.clone(),
                call,
                handle,
                path,
                entries: VecDeque::new(),
                outstanding: 0,
                ended: false,
            }),
            other => Err(unexpected(other).of("read_dir", &[&path])),
        }
    }

    /// Lists directories, as many at a time as the server bears beside a file.
    pub(super) fn list(&self, dirs: &[Vec<u8>]) -> Vec<Result<Vec<DirEntry>, Error>> {
        let most = match usize::try_from(self.limits().handles) {
            Ok(0) => AT_ONCE,
            handles => (handles.unwrap_or(AT_ONCE) / 2).clamp(1, AT_ONCE),
        };
        dirs.chunks(most).flat_map(|some| self.list_at_once(some)).collect()
    }

    fn list_at_once(&self, dirs: &[Vec<u8>]) -> Vec<Result<Vec<DirEntry>, Error>> {
        let calls: Vec<Call> = dirs.iter().map(|dir| self.begin_read_dir(dir)).collect();
        let mut open: Vec<Result<ReadDir, Error>> =
            dirs.iter().zip(calls).map(|(dir, call)| self.go_on_read_dir(dir.clone(), call)).collect();
        open.iter_mut().flatten().for_each(ReadDir::ask);
        open.into_iter().map(|list| list.and_then(ReadDir::all)).collect()
    }

    /// Everything below a directory.
    pub fn walk(&self, path: impl RemotePath) -> Walk {
        Walk { sftp: self.clone(), open: Vec::new(), next: Some(self.path(&path)) }
    }

    /// Sends many requests of one kind, without waiting for each answer.
    fn many(
        &self,
        op: &'static str,
        paths: &[Vec<u8>],
        send: impl Fn(
            &mut konko_core::sftp::Client,
            &[u8],
        ) -> Result<konko_core::sftp::RequestId, konko_core::sftp::UsageError>
        + Copy
        + Send
        + 'static,
    ) -> Vec<Result<Answer, Error>> {
        let mut answers = Vec::with_capacity(paths.len());
        for some in paths.chunks(REQUESTS) {
            let begin = |path: &Vec<u8>| {
                let (call, own) = (self.call(), path.clone());
                call.request(move |client| send(client, &own));
                call
            };
            let calls: Vec<Call> = some.iter().map(begin).collect();
            for (path, call) in some.iter().zip(calls) {
                answers.push(call.next(self.patience()).map_err(|e| e.of(op, &[path])));
            }
        }
        answers
    }

    /// Removes a directory with all that is in it. Symbolic links are removed, and not followed.
    pub fn remove_dir_all(&self, path: impl RemotePath) -> Result<(), Error> {
        let top = self.path(&path);
        match self.symlink_metadata(&top) {
            Err(e) if !e.is_untold() => return Err(e),
            Ok(meta) if meta.is_symlink() => return self.remove_file(&top),
            Ok(meta) if meta.file_type().is_some() => {}
            // Where the server tells no type: what is removed so was no directory, but perhaps a link to one.
            _ => match self.remove_file(&top) {
                Err(e) if !e.is_fatal() => {}
                gone => return gone,
            },
        }
        let mut levels: Vec<Vec<Vec<u8>>> = vec![vec![top]];
        while let Some(level) = levels.last().filter(|level| !level.is_empty()) {
            if levels.len() > DEPTH {
                return Err(too_deep(&level[0]));
            }
            let mut below = Vec::new();
            for some in level.chunks(AT_ONCE) {
                let mut files = Vec::new();
                for (dir, list) in some.iter().zip(self.list(some)) {
                    for entry in list? {
                        let path = join(dir, entry.file_name());
                        if !one_component(entry.file_name()) {
                            return Err(Error::new(ErrorKind::Unsafe(
                                "the server sent a name that leads elsewhere".into(),
                            ))
                            .of("remove_dir_all", &[&path]));
                        }
                        let is_dir = match entry.metadata().file_type() {
                            Some(kind) => kind == FileType::Directory,
                            None => self.symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()),
                        };
                        if is_dir { below.push(path) } else { files.push(path) }
                    }
                }
                let answers = self.many("remove_file", &files, |client, path| client.remove(path));
                for (path, answer) in files.into_iter().zip(answers) {
                    match answer.and_then(done) {
                        Ok(()) => {}
                        Err(e) if e.is_fatal() => return Err(e),
                        // No link, which would be gone: where the server tells no type, a directory is found so.
                        Err(_) if self.read_dir(&path).is_ok() => below.push(path),
                        Err(e) => return Err(e.of("remove_file", &[&path])),
                    }
                }
            }
            levels.push(below);
        }
        for level in levels.iter().rev() {
            let answers = self.many("remove_dir", level, |client, path| client.rmdir(path));
            for (path, answer) in level.iter().zip(answers) {
                answer.and_then(done).map_err(|e| e.of("remove_dir", &[path]))?;
            }
        }
        Ok(())
    }
}
