//! Directories: listing, walking, and removing with all that is in them.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::ask::{Ask, Got};
use super::entry::DirEntry;
use super::error::{Error, ErrorKind};
use super::path::join;
use super::remote::{Remote, done, handle, unexpected};
use crate::sftp::{FileType, Handle, NameRules, RequestId, SftpClient, StatusCode, UsageError};

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
    remote: Remote,
    ask: Ask,
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
            self.ask.request(move |client| client.readdir(&handle));
            self.outstanding = self.outstanding.saturating_add(1);
        }
    }

    /// Takes an answer.
    async fn step(&mut self) -> Result<(), Error> {
        self.ask();
        let got = self.ask.next(self.remote.patience()).await?;
        self.outstanding = self.outstanding.saturating_sub(1);
        match got {
            Got::Names(names) => {
                // An empty answer would come again and again.
                self.ended |= names.is_empty();
                self.entries.extend(names.into_iter().filter(|entry| !entry.is_own()));
            }
            Got::Status(status) if status.code == StatusCode::EOF => self.ended = true,
            other => return Err(unexpected(other)),
        }
        Ok(())
    }

    /// The next entry.
    pub async fn next(&mut self) -> Option<Result<DirEntry, Error>> {
        loop {
            if let Some(entry) = self.entries.pop_front() {
                return Some(Ok(entry));
            }
            // What was asked for before the end was known may still bring names.
            if self.ended && self.outstanding == 0 {
                return None;
            }
            if let Err(error) = self.step().await {
                (self.ended, self.outstanding) = (true, 0);
                return Some(Err(error.of("read_dir", &[&self.path])));
            }
        }
    }

    /// All of them.
    async fn all(mut self) -> Result<Vec<DirEntry>, Error> {
        let mut all = Vec::new();
        while let Some(entry) = self.next().await {
            all.push(entry?);
            if all.len() > ENTRIES {
                let why = alloc::format!("it has more than {ENTRIES} entries");
                return Err(Error::new(ErrorKind::Unsafe(why)).of("read_dir", &[&self.path]));
            }
        }
        Ok(all)
    }
}

impl Drop for ReadDir {
    fn drop(&mut self) {
        let handle = self.handle.clone();
        self.remote.detached(move |client| client.close(&handle));
    }
}

/// Everything below a directory, each directory before what is in it. Symbolic links are not followed. What
/// cannot be listed gives an error, and the walk goes on.
pub struct Walk {
    remote: Remote,
    open: Vec<(Vec<u8>, ReadDir)>,
    next: Option<Vec<u8>>,
}

impl Walk {
    /// The path of the next file or directory, and what is known of it.
    pub async fn next(&mut self) -> Option<Result<(Vec<u8>, DirEntry), Error>> {
        if let Some(dir) = self.next.take() {
            if self.open.len() >= DEPTH {
                return Some(Err(too_deep(&dir)));
            }
            match self.remote.read_dir(&dir).await {
                Ok(list) => self.open.push((dir, list)),
                Err(error) => return Some(Err(error)),
            }
        }
        loop {
            let (dir, list) = self.open.last_mut()?;
            match list.next().await {
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
    Error::new(ErrorKind::Unsafe(nested())).of("read_dir", &[dir])
}

pub(super) fn nested() -> alloc::string::String {
    alloc::format!("directories are nested more than {DEPTH} deep")
}

/// Names that lead elsewhere are not followed on the server either.
pub(super) fn one_component(name: &[u8]) -> bool {
    NameRules::Unix.check(name).is_ok()
}

impl Remote {
    /// Lists a directory.
    ///
    /// # Errors
    /// As [`metadata`](Self::metadata).
    pub async fn read_dir(&self, path: &[u8]) -> Result<ReadDir, Error> {
        let path = self.path(path);
        let ask = self.begin_read_dir(&path);
        self.go_on_read_dir(path, ask).await
    }

    /// Whether a path is a directory, or a link to one: what its attributes say. Where the server tells no type, or
    /// refuses to tell anything, OPENDIR decides, as everywhere in this module.
    ///
    /// # Errors
    /// If there is nothing, or the session has ended.
    pub async fn is_dir(&self, path: &[u8]) -> Result<bool, Error> {
        match self.metadata(path).await {
            Ok(meta) if meta.file_type().is_some() => Ok(meta.is_dir()),
            Err(e) if e.is_fatal() || e.is_not_found() => Err(e),
            _ => match self.read_dir(path).await {
                Err(e) if e.is_fatal() => Err(e),
                opened => Ok(opened.is_ok()),
            },
        }
    }

    fn begin_read_dir(&self, path: &[u8]) -> Ask {
        let (mut ask, own) = (self.begin(), if path.is_empty() { b".".to_vec() } else { path.to_vec() });
        ask.request(move |client| client.opendir(&own));
        ask
    }

    async fn go_on_read_dir(&self, path: Vec<u8>, mut ask: Ask) -> Result<ReadDir, Error> {
        let opened = ask.next(self.patience()).await.and_then(handle).map_err(|e| e.of("read_dir", &[&path]));
        let (remote, handle, entries) = (self.clone(), opened?, VecDeque::new());
        let mut list = ReadDir { remote, ask, handle, path, entries, outstanding: 0, ended: false };
        list.ask();
        Ok(list)
    }

    /// Lists directories, as many at a time as the server bears beside a file.
    pub(super) async fn list(&self, dirs: &[Vec<u8>]) -> Vec<Result<Vec<DirEntry>, Error>> {
        let most = match usize::try_from(self.limits().await.handles) {
            Ok(0) => AT_ONCE,
            handles => (handles.unwrap_or(AT_ONCE) / 2).clamp(1, AT_ONCE),
        };
        let mut lists = Vec::with_capacity(dirs.len());
        for some in dirs.chunks(most) {
            let asks: Vec<Ask> = some.iter().map(|dir| self.begin_read_dir(dir)).collect();
            let mut open = Vec::with_capacity(some.len());
            for (dir, ask) in some.iter().zip(asks) {
                open.push(self.go_on_read_dir(dir.clone(), ask).await);
            }
            for list in open {
                lists.push(match list {
                    Ok(list) => list.all().await,
                    Err(error) => Err(error),
                });
            }
        }
        lists
    }

    /// Lists one directory as a whole.
    pub(super) async fn list_one(&self, dir: &[u8]) -> Result<Vec<DirEntry>, Error> {
        self.read_dir(dir).await?.all().await
    }

    /// Everything below a directory.
    pub fn walk(&self, path: &[u8]) -> Walk {
        Walk { remote: self.clone(), open: Vec::new(), next: Some(self.path(path)) }
    }

    /// Sends many requests of one kind, without waiting for each answer.
    async fn many(
        &self,
        op: &'static str,
        paths: &[Vec<u8>],
        send: fn(&mut SftpClient, &[u8]) -> Result<RequestId, UsageError>,
    ) -> Vec<Result<(), Error>> {
        let mut answers = Vec::with_capacity(paths.len());
        for some in paths.chunks(REQUESTS) {
            let begin = |path: &Vec<u8>| {
                let (mut ask, own) = (self.begin(), path.clone());
                ask.request(move |client| send(client, &own));
                ask
            };
            let asks: Vec<Ask> = some.iter().map(begin).collect();
            for (path, mut ask) in some.iter().zip(asks) {
                let answer = ask.next(self.patience()).await.and_then(done);
                answers.push(answer.map_err(|e| e.of(op, &[path])));
            }
        }
        answers
    }

    /// Removes a directory with all that is in it. Symbolic links are removed, and not followed.
    ///
    /// # Errors
    /// What first could not be removed, or listed.
    pub async fn remove_dir_all(&self, path: &[u8]) -> Result<(), Error> {
        let top = self.path(path);
        match self.symlink_metadata(&top).await {
            Err(e) if !e.is_untold() => return Err(e),
            Ok(meta) if meta.is_symlink() => return self.remove_file(&top).await,
            Ok(meta) if meta.file_type().is_some() => {}
            // Where the server tells no type: what is removed so was no directory, but perhaps a link to one.
            _ => match self.remove_file(&top).await {
                Err(e) if !e.is_fatal() => {}
                gone => return gone,
            },
        }
        let mut levels: Vec<Vec<Vec<u8>>> = alloc::vec![alloc::vec![top]];
        while let Some(level) = levels.last()
            && let Some(first) = level.first()
        {
            if levels.len() > DEPTH {
                return Err(too_deep(first));
            }
            let mut below = Vec::new();
            for some in level.chunks(AT_ONCE) {
                self.empty(some, &mut below).await?;
            }
            levels.push(below);
        }
        for level in levels.iter().rev() {
            self.many("remove_dir", level, SftpClient::rmdir)
                .await
                .into_iter()
                .collect::<Result<(), Error>>()?;
        }
        Ok(())
    }

    /// Removes what is in directories, but for those `below` them.
    async fn empty(&self, dirs: &[Vec<u8>], below: &mut Vec<Vec<u8>>) -> Result<(), Error> {
        let mut files = Vec::new();
        for (dir, list) in dirs.iter().zip(self.list(dirs).await) {
            for entry in list? {
                let path = join(dir, entry.file_name());
                if !one_component(entry.file_name()) {
                    let why = "the server sent a name that leads elsewhere".into();
                    return Err(Error::new(ErrorKind::Unsafe(why)).of("remove_dir_all", &[&path]));
                }
                let is_dir = match entry.metadata().file_type() {
                    Some(kind) => kind == FileType::Directory,
                    None => self.symlink_metadata(&path).await.is_ok_and(|meta| meta.is_dir()),
                };
                if is_dir { below.push(path) } else { files.push(path) }
            }
        }
        let answers = self.many("remove_file", &files, SftpClient::remove).await;
        for (path, answer) in files.into_iter().zip(answers) {
            match answer {
                Ok(()) => {}
                Err(e) if e.is_fatal() => return Err(e),
                // No link, which would be gone: where the server tells no type, a directory is found so.
                Err(_) if self.read_dir(&path).await.is_ok() => below.push(path),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}
