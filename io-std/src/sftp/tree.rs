//! Directories: listing, walking, and whole trees.

use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use konko_core::sftp::{Attrs, FileType, Handle, StatusCode, is_safe_name};
use konko_core::wire::SshStr;

use super::client::{Sftp, done, unexpected};
use super::client_dir::{DirEntry, Metadata};
use super::client_error::{Error, ErrorKind};
use super::client_machine::Answer;
use super::client_session::Call;
use super::path::{RemotePath, join};
use super::transfers::{GetOptions, PutOptions, Queue, preserved};

/// READDIR requests that are outstanding at a time.
const READ_AHEAD: usize = 2;
/// Directories that are listed at a time.
const AT_ONCE: usize = 32;
/// Requests of other kinds that are outstanding at a time.
const REQUESTS: usize = 256;
/// Files of a tree that are on their way or wait for their turn.
const QUEUE: usize = 1024;
/// Depth of a tree; OpenSSH's figure. A server can invent directories without end (S-19).
const DEPTH: usize = 64;
/// Entries of one directory that is taken as a whole (S-19).
const ENTRIES: usize = 1 << 20;
/// Failures that are kept.
const FAILURES: usize = 1000;

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

fn too_deep(dir: &[u8]) -> Error {
    let why = format!("directories are nested more than {DEPTH} deep");
    Error::new(ErrorKind::Unsafe(why)).of("read_dir", &[dir])
}

/// Names that lead elsewhere are not followed on the server either.
fn one_component(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/')
}

/// What became of a tree.
#[derive(Debug, Default)]
#[must_use = "a part of the tree may have failed"]
pub struct TreeReport {
    /// Files that were moved.
    pub files: u64,
    /// Directories that were made or were there.
    pub dirs: u64,
    /// Bytes that were moved.
    pub bytes: u64,
    /// What failed or was passed over, and why; 1000 of them at most.
    pub failures: Vec<Error>,
    /// Failures that were not kept.
    pub more_failures: u64,
    /// What was moved without its permissions and times, as the server refused them; 1000 at most. No failure.
    pub warnings: Vec<Error>,
}

impl TreeReport {
    /// Whether everything was moved.
    pub fn is_complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// The report of a whole tree.
    ///
    /// # Errors
    /// The first failure, if there was any.
    pub fn complete(mut self) -> Result<Self, Error> {
        if self.failures.is_empty() { Ok(self) } else { Err(self.failures.swap_remove(0)) }
    }

    fn warn(&mut self, error: Error) -> Result<(), Error> {
        if error.is_fatal() || matches!(error.kind(), ErrorKind::Cancelled) {
            return Err(error);
        }
        if self.warnings.len() < FAILURES {
            self.warnings.push(error);
        }
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Result<(), Error> {
        if error.is_fatal() || matches!(error.kind(), ErrorKind::Cancelled) {
            return Err(error);
        }
        if self.failures.len() < FAILURES {
            self.failures.push(error);
        } else {
            self.more_failures += 1;
        }
        Ok(())
    }
}

/// Names of what is on its way.
type Names = BTreeMap<usize, Vec<u8>>;

/// Takes results until no more than `most` are left.
fn settle(
    queue: &mut Queue<'_>,
    names: &mut Names,
    report: &mut TreeReport,
    op: &'static str,
    most: usize,
) -> Result<(), Error> {
    while queue.left() > most {
        let (number, result) = queue.next()?;
        let name = names.remove(&number).unwrap_or_default();
        match result {
            Ok(summary) => {
                report.files += 1;
                report.bytes += summary.bytes;
                if let Some(status) = summary.attrs_refused {
                    report.warn(Error::refused(status).of("fsetstat", &[&name]))?;
                }
            }
            Err(error) => report.fail(error.of(op, &[&name]))?,
        }
    }
    if queue.is_cancelled() {
        return Err(Error::new(ErrorKind::Cancelled).of(op, &[]));
    }
    Ok(())
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
    fn list(&self, dirs: &[Vec<u8>]) -> Vec<Result<Vec<DirEntry>, Error>> {
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
        if self.symlink_metadata(&top)?.is_symlink() {
            return self.remove_file(&top);
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
                            None => self.symlink_metadata(&path)?.is_dir(),
                        };
                        if is_dir { below.push(path) } else { files.push(path) }
                    }
                }
                let answers = self.many("remove_file", &files, |client, path| client.remove(path));
                for (path, answer) in files.iter().zip(answers) {
                    answer.and_then(done).map_err(|e| e.of("remove_file", &[path]))?;
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

    /// Fetches a directory with all that is in it, into the local directory `local`, which is made if it is not
    /// there. Many files are on their way at a time. Names that could lead out of `local` are passed over and
    /// reported (S-18), symbolic links are followed if `follow`, else reported.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn get_tree(
        &self,
        remote: impl RemotePath,
        local: impl AsRef<Path>,
        options: &GetOptions,
        follow: bool,
    ) -> Result<TreeReport, Error> {
        let options = GetOptions { no_follow: true, ..options.clone() };
        let mut get = TreeGet {
            queue: Queue::new(self, options.cancel.as_ref()),
            names: Names::new(),
            report: TreeReport::default(),
            options,
            follow,
            below: Vec::new(),
        };
        let mut level = vec![(self.path(&remote), local.as_ref().to_owned())];
        let mut dirs: Vec<(Vec<u8>, PathBuf, Metadata)> = Vec::new();
        make_local_dir(&level[0].1, true)?;
        if get.options.preserve {
            let meta = self.metadata(&level[0].0)?;
            dirs.push((level[0].0.clone(), level[0].1.clone(), meta));
        }
        get.report.dirs += 1;
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth >= DEPTH {
                get.report.fail(too_deep(&level[0].0))?;
                break;
            }
            for some in level.chunks(AT_ONCE) {
                let remote: Vec<Vec<u8>> = some.iter().map(|(remote, _)| remote.clone()).collect();
                for ((remote, local), list) in some.iter().zip(self.list(&remote)) {
                    match list {
                        Ok(entries) => get.dir(remote, local, entries)?,
                        Err(error) => get.report.fail(error)?,
                    }
                }
            }
            let below = std::mem::take(&mut get.below);
            level = below.iter().map(|(remote, local, _)| (remote.clone(), local.clone())).collect();
            dirs.extend(below);
        }
        settle(&mut get.queue, &mut get.names, &mut get.report, "get", 0)?;
        if get.options.preserve {
            // Last, and the innermost first: making what is in a directory changes its times.
            for (_, local, meta) in dirs.iter().rev() {
                preserve_local_dir(local, meta).or_else(|e| get.report.fail(Error::local(local, e)))?;
            }
        }
        Ok(get.report)
    }

    /// Sends a local directory with all that is in it, into the remote directory `remote`, which is made if it is
    /// not there. Many files are on their way at a time. Symbolic links are followed if `follow`, else reported.
    ///
    /// # Errors
    /// What ends everything. What concerns one file is in the report.
    pub fn put_tree(
        &self,
        local: impl AsRef<Path>,
        remote: impl RemotePath,
        options: &PutOptions,
        follow: bool,
    ) -> Result<TreeReport, Error> {
        let local = local.as_ref();
        let meta = fs::metadata(local).map_err(|e| Error::local(local, e))?;
        if !meta.is_dir() {
            return Err(Error::local(local, io::Error::from(io::ErrorKind::NotADirectory)));
        }
        let mut put = TreePut {
            queue: Queue::new(self, options.cancel.as_ref()),
            names: Names::new(),
            report: TreeReport::default(),
            options: options.clone(),
            follow,
            below: Vec::new(),
        };
        let mut level = vec![(local.to_owned(), self.path(&remote), meta)];
        let mut dirs: Vec<(Vec<u8>, Attrs)> = Vec::new();
        for depth in 0.. {
            if level.is_empty() {
                break;
            }
            if depth >= DEPTH {
                let why = format!("directories are nested more than {DEPTH} deep");
                put.report.fail(Error::local(&level[0].0, io::Error::other(why)))?;
                break;
            }
            let made = self.make_remote_dirs(&level, &mut put.report)?;
            for ((local, remote, meta), made) in level.iter().zip(made) {
                if made {
                    put.report.dirs += 1;
                    put.dir(local, remote)?;
                    dirs.push((remote.clone(), preserved(meta)));
                }
            }
            level = std::mem::take(&mut put.below);
        }
        settle(&mut put.queue, &mut put.names, &mut put.report, "put", 0)?;
        if options.preserve {
            for (path, set) in dirs.iter().rev() {
                self.set_metadata(path, set).or_else(|e| put.report.warn(e))?;
            }
        }
        Ok(put.report)
    }

    /// Makes directories on the server; which of them are there then.
    fn make_remote_dirs(
        &self,
        level: &[(PathBuf, Vec<u8>, fs::Metadata)],
        report: &mut TreeReport,
    ) -> Result<Vec<bool>, Error> {
        let paths: Vec<Vec<u8>> = level.iter().map(|(_, remote, _)| remote.clone()).collect();
        let mut made = Vec::with_capacity(paths.len());
        for some in level.chunks(REQUESTS) {
            let begin = |(_, remote, meta): &(PathBuf, Vec<u8>, fs::Metadata)| {
                let (call, own) = (self.call(), remote.clone());
                // We have to be able to write into it.
                let with = Attrs::new().with_permissions(meta.permissions().mode() & 0o777 | 0o700);
                call.request(move |client| client.mkdir(&own, &with));
                call
            };
            let calls: Vec<Call> = some.iter().map(begin).collect();
            for ((_, remote, _), call) in some.iter().zip(calls) {
                let answer = call.next(self.patience()).and_then(done);
                let there = match answer {
                    Ok(()) => Ok(()),
                    Err(e) if e.is_fatal() => Err(e),
                    Err(_) if self.metadata(remote).is_ok_and(|meta| meta.is_dir()) => Ok(()),
                    Err(e) => Err(e.of("create_dir", &[remote])),
                };
                made.push(there.is_ok());
                there.or_else(|e| report.fail(e))?;
            }
        }
        Ok(made)
    }
}

struct TreeGet<'a> {
    queue: Queue<'a>,
    names: Names,
    report: TreeReport,
    options: GetOptions,
    follow: bool,
    /// The directories of the next level.
    below: Vec<(Vec<u8>, PathBuf, Metadata)>,
}

impl TreeGet<'_> {
    fn dir(&mut self, remote: &[u8], local: &Path, entries: Vec<DirEntry>) -> Result<(), Error> {
        for entry in entries {
            let name = entry.file_name();
            let path = join(remote, name);
            if !is_safe_name(name) {
                let why =
                    format!("the name \"{}\" could lead elsewhere; it is passed over", SshStr::new(name));
                self.report.fail(Error::new(ErrorKind::Unsafe(why)).of("get", &[remote]))?;
                continue;
            }
            let local = local.join(std::ffi::OsStr::from_bytes(name));
            let mut meta = entry.metadata().clone();
            if meta.file_type().is_none() || (meta.is_symlink() && self.follow) {
                match self.queue.sftp().metadata(&path) {
                    Ok(target) => meta = target,
                    Err(error) => {
                        self.report.fail(error)?;
                        continue;
                    }
                }
            }
            if meta.is_dir() {
                match make_local_dir(&local, false) {
                    Ok(()) => {
                        self.report.dirs += 1;
                        self.below.push((path, local, meta));
                    }
                    Err(error) => self.report.fail(error)?,
                }
            } else if meta.is_file() || meta.file_type().is_none() {
                match self.queue.get(path.clone(), local, &meta, &self.options) {
                    Ok(number) => drop(self.names.insert(number, path)),
                    Err(error) => self.report.fail(error.of("get", &[&path]))?,
                }
                settle(&mut self.queue, &mut self.names, &mut self.report, "get", QUEUE)?;
            } else {
                self.report.fail(Error::invalid("it is not a regular file").of("get", &[&path]))?;
            }
        }
        Ok(())
    }
}

struct TreePut<'a> {
    queue: Queue<'a>,
    names: Names,
    report: TreeReport,
    options: PutOptions,
    follow: bool,
    below: Vec<(PathBuf, Vec<u8>, fs::Metadata)>,
}

impl TreePut<'_> {
    fn dir(&mut self, local: &Path, remote: &[u8]) -> Result<(), Error> {
        let list = match fs::read_dir(local) {
            Ok(list) => list,
            Err(error) => return self.report.fail(Error::local(local, error)),
        };
        for entry in list {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    self.report.fail(Error::local(local, error))?;
                    continue;
                }
            };
            let (from, path) = (entry.path(), join(remote, entry.file_name().as_bytes()));
            let meta = if self.follow { fs::metadata(&from) } else { entry.metadata() };
            let meta = match meta {
                Ok(meta) => meta,
                Err(error) => {
                    self.report.fail(Error::local(&from, error))?;
                    continue;
                }
            };
            if meta.is_dir() {
                self.below.push((from, path, meta));
                continue;
            }
            match self.queue.put(from, &meta, path.clone(), &self.options) {
                Ok(number) => drop(self.names.insert(number, path)),
                Err(error) => self.report.fail(error)?,
            }
            settle(&mut self.queue, &mut self.names, &mut self.report, "put", QUEUE)?;
        }
        Ok(())
    }
}

/// Makes a local directory unless it is there. Below the top it must be one, and no link to one.
fn make_local_dir(path: &Path, top: bool) -> Result<(), Error> {
    match fs::DirBuilder::new().mode(0o777).create(path) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let meta = if top { fs::metadata(path) } else { fs::symlink_metadata(path) };
            match meta {
                Ok(meta) if meta.is_dir() => Ok(()),
                Ok(_) => Err(Error::local(path, io::Error::from(io::ErrorKind::NotADirectory))),
                Err(e) => Err(Error::local(path, e)),
            }
        }
        Err(e) => Err(Error::local(path, e)),
    }
}

fn preserve_local_dir(path: &Path, meta: &Metadata) -> io::Result<()> {
    if let Some(mode) = meta.permissions() {
        fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o777))?;
    }
    if let Some(times) = meta.0.times {
        let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
        let set = fs::FileTimes::new().set_accessed(at(times.accessed)).set_modified(at(times.modified));
        fs::File::open(path)?.set_times(set)?;
    }
    Ok(())
}
