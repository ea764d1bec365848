//! The local files of a session, for whoever drives a [`Session`] of the core without [`Sftp`](super::Sftp): an event
//! loop, an async runtime. All is done on the calling thread.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use konko_core::Time;
use konko_core::sftp::session::{Answer, Event, Filled, Question, Session, Source, Target};
use konko_core::sftp::transfer::JobId;
use konko_core::sftp::{Attrs, Times};

use super::Error;

/// Gives what came to a session, and does what it asks for.
pub fn receive(session: &mut Session<fs::File>, mut input: &[u8], now: Time) {
    while let Some(event) = session.receive(&mut input, now) {
        answer(event).give(session, now);
    }
}

/// Does what a session asks for, until it wants nothing more; see [`Session::poll`]. Whether there was anything: a
/// procedure that waits for the session may go on then.
pub fn settle(session: &mut Session<fs::File>, now: Time) -> bool {
    let mut any = false;
    while let Some(event) = session.poll(now) {
        answer(event).give(session, now);
        any = true;
    }
    any
}

/// What a session is to be told.
enum Reply {
    Nothing,
    Source(JobId, Result<Attrs, Error>),
    Fill(JobId, u64),
    Failed(JobId, Error),
    Finished(JobId, Result<(), Error>),
}

fn answer(event: Event<'_, fs::File>) -> Reply {
    match event {
        Event::Asked(asked) => {
            let path = path_of(asked.question());
            let answer = look(asked.question()).map_err(|e| Error::local(path.as_os_str().as_bytes(), e));
            asked.answer(answer);
            Reply::Nothing
        }
        Event::Open { job, source, file } => {
            Reply::Source(job, open(source, file).map_err(|e| Error::local(source.path(), e)))
        }
        Event::Data { job, target, file, offset, data } => match write(target, file, offset, &data) {
            Ok(()) => Reply::Nothing,
            Err(e) => Reply::Failed(job, Error::local(target.path(), e)),
        },
        Event::Fill { job, offset } => Reply::Fill(job, offset),
        Event::Finish { job, target, file } => {
            Reply::Finished(job, finish(target, file).map_err(|e| Error::local(target.path(), e)))
        }
        _ => Reply::Nothing,
    }
}

impl Reply {
    fn give(self, session: &mut Session<fs::File>, now: Time) {
        match self {
            Reply::Nothing => {}
            Reply::Source(job, result) => session.source(job, result),
            Reply::Fill(job, offset) => {
                session.fill(job, offset, now, |file, room| read(file, offset, room));
            }
            Reply::Failed(job, error) => session.failed(job, error),
            Reply::Finished(job, result) => session.finished(job, result),
        }
    }
}

// ---- directories and names ----

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn path_of(question: &Question) -> &Path {
    match question {
        Question::Stat { path: of, .. }
        | Question::List { path: of }
        | Question::MakeDir { path: of, .. }
        | Question::SetAttrs { path: of, .. }
        | Question::RealPath { path: of } => path(of),
        _ => Path::new(""),
    }
}

fn look(question: &Question) -> io::Result<Answer> {
    Ok(match question {
        Question::Stat { path: of, follow: true } => Answer::Attrs(attrs(&fs::metadata(path(of))?)),
        Question::Stat { path: of, follow: false } => Answer::Attrs(attrs(&fs::symlink_metadata(path(of))?)),
        Question::List { path: of } => {
            let name = |entry: io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name().into_vec());
            Answer::Names(fs::read_dir(path(of))?.map(name).collect::<io::Result<_>>()?)
        }
        Question::MakeDir { path: of, mode } => match fs::DirBuilder::new().mode(*mode).create(path(of)) {
            Ok(()) => Answer::Made(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Answer::Made(false),
            Err(e) => return Err(e),
        },
        Question::SetAttrs { path: of, attrs } => {
            if let Some(mode) = attrs.permissions() {
                fs::set_permissions(path(of), fs::Permissions::from_mode(mode))?;
            }
            if let Some(times) = attrs.times() {
                set_times(&fs::File::open(path(of))?, times)?;
            }
            Answer::Done
        }
        Question::RealPath { path: of } => {
            Answer::Path(fs::canonicalize(path(of))?.into_os_string().into_vec())
        }
        Question::Random => {
            let mut random = [0; 6];
            getrandom::fill(&mut random).map_err(|e| io::Error::other(format!("no random numbers: {e}")))?;
            Answer::Random(random)
        }
        _ => return Err(io::ErrorKind::Unsupported.into()),
    })
}

fn attrs(meta: &fs::Metadata) -> Attrs {
    let time = |seconds: i64| u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
    Attrs::new()
        .with_size(meta.len())
        .with_permissions(meta.mode())
        .with_times(time(meta.atime()), time(meta.mtime()))
}

fn set_times(file: &fs::File, times: Times) -> io::Result<()> {
    let at = |seconds: u32| UNIX_EPOCH + Duration::from_secs(seconds.into());
    file.set_times(fs::FileTimes::new().set_accessed(at(times.accessed)).set_modified(at(times.modified)))
}

// ---- files ----

/// Opens the file of a get, unless it is open.
fn create<'f>(target: &mut Target, file: &'f mut Option<fs::File>) -> io::Result<&'f fs::File> {
    if file.is_none() {
        let mut open = fs::OpenOptions::new();
        open.write(true).create(true).truncate(false).mode(target.mode());
        // A pipe that nobody reads is no reason to wait.
        let mut flags = rustix::fs::OFlags::NONBLOCK;
        flags.set(rustix::fs::OFlags::NOFOLLOW, target.no_follow());
        open.custom_flags(flags.bits().cast_signed());
        let opened = open.open(path(target.path()))?;
        if target.opened(&attrs(&opened.metadata()?)) {
            opened.set_len(0)?;
        }
        *file = Some(opened);
    }
    file.as_ref().ok_or_else(|| io::ErrorKind::Other.into())
}

fn write(target: &mut Target, file: &mut Option<fs::File>, offset: u64, data: &[u8]) -> io::Result<()> {
    let file = create(target, file)?;
    if target.takes(offset, data) { file.write_all_at(data, offset) } else { Ok(()) }
}

fn finish(target: &mut Target, file: &mut Option<fs::File>) -> io::Result<()> {
    let file = create(target, file)?;
    let finish = target.finish(file.metadata()?.len());
    if let Some(len) = finish.len {
        file.set_len(len)?;
    }
    if let Some(mode) = finish.permissions {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    if finish.sync {
        file.sync_all()?;
    }
    finish.times.map_or(Ok(()), |times| set_times(file, times))
}

/// Opens the file of a put.
fn open(source: &Source, place: &mut Option<fs::File>) -> io::Result<Attrs> {
    // It was a file when it was looked at, and may have become a pipe since.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path(source.path()))?;
    let meta = file.metadata()?;
    if meta.is_file() {
        // Some files can be opened and not read.
        file.read_at(&mut [0], 0)?;
        *place = Some(file);
    }
    Ok(attrs(&meta))
}

fn read(file: &fs::File, offset: u64, room: &mut [u8]) -> io::Result<Filled> {
    let mut len = 0;
    while len < room.len() {
        match file.read_at(&mut room[len..], offset + len as u64) {
            Ok(0) => return Ok(Filled { len, size: Some(file.metadata()?.len()) }),
            Ok(more) => len += more,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(Filled { len, size: None })
}
