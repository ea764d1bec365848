//! Layers that need a clock or counters: an audit, allowances, and closures.

use alloc::format;
use alloc::string::String;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};

use super::layer::{Access, Done, Layer};
use crate::sftp::operation::Operation;
use crate::sftp::status::{Status, StatusCode};
use crate::time::Time;
use crate::wire::SshStr;

/// A closure that says whether something may be done.
#[derive(Clone, Copy)]
pub struct Judge<J>(pub J);

impl<J: Fn(&Access<'_>) -> bool + Send + Sync> Layer for Judge<J> {
    fn judge(&self, access: &Access<'_>) -> Result<(), Status> {
        if (self.0)(access) { Ok(()) } else { Err(StatusCode::PERMISSION_DENIED.into()) }
    }
}

/// A closure that hears of what was done, but not of each piece of data.
#[derive(Clone, Copy)]
pub struct Witness<W>(pub W);

impl<W: Fn(&Done<'_>) + Send + Sync> Layer for Witness<W> {
    fn judges(&self) -> bool {
        false
    }

    fn done(&self, done: &Done<'_>) {
        let piece = matches!(done.operation, Operation::Read | Operation::Write | Operation::Readdir);
        if !piece || done.status != StatusCode::OK {
            (self.0)(done);
        }
    }
}

/// An operation of a user, as [`Audit`] tells it. Shown, it is one line with the user, the operation, the paths, the
/// bytes, the outcome and how long it took; what comes from the client is escaped.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AuditLine<'a> {
    /// Who.
    pub user: &'a str,
    /// What.
    pub done: &'a Done<'a>,
}

impl fmt::Display for AuditLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |path: &[u8]| format!("\"{}\"", SshStr::new(path).excerpt(1024));
        let Done { operation, path, other, read, written, status, took, .. } = *self.done;
        write!(f, "{} {operation} {}", SshStr::new(self.user.as_bytes()), quoted(path))?;
        if let Some(other) = other {
            write!(f, " {}", quoted(other))?;
        }
        write!(f, " read {read} written {written}: {status}, {:.1} ms", took.as_secs_f64() * 1000.0)
    }
}

/// Tells of every operation of a user, with how long it took: a [`Layer`].
pub struct Audit<C, T> {
    user: String,
    clock: C,
    tell: T,
}

impl<C: Fn() -> Time + Send + Sync, T: Fn(&AuditLine<'_>) + Send + Sync> Audit<C, T> {
    /// `tell` is called on the thread that serves, which waits for it. `clock` says what time it is, from any
    /// beginning.
    pub fn new(user: impl Into<String>, clock: C, tell: T) -> Self {
        Audit { user: user.into(), clock, tell }
    }
}

impl<C: Fn() -> Time + Send + Sync, T: Fn(&AuditLine<'_>) + Send + Sync> Layer for Audit<C, T> {
    fn judges(&self) -> bool {
        false
    }

    fn done(&self, done: &Done<'_>) {
        (self.tell)(&AuditLine { user: &self.user, done });
    }

    fn now(&self) -> Option<Time> {
        Some((self.clock)())
    }
}

impl<C, T> fmt::Debug for Audit<C, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({:?})", self.user)
    }
}

/// What may be read and written, and what was: a [`Layer`] that several sessions can share, those of a user for
/// example.
#[derive(Debug)]
pub struct Quota {
    max_read: u64,
    max_written: u64,
    read: AtomicU64,
    written: AtomicU64,
    operations: AtomicU64,
}

impl Default for Quota {
    fn default() -> Self {
        let (max_read, max_written) = (u64::MAX, u64::MAX);
        let zero = AtomicU64::default;
        Quota { max_read, max_written, read: zero(), written: zero(), operations: zero() }
    }
}

impl Quota {
    /// Counts, and limits nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads fail when so many bytes were read; those under way at that moment come to their end.
    #[must_use]
    pub fn max_read(mut self, bytes: u64) -> Self {
        self.max_read = bytes;
        self
    }

    /// Writes that would make it more bytes than this fail.
    #[must_use]
    pub fn max_written(mut self, bytes: u64) -> Self {
        self.max_written = bytes;
        self
    }

    /// Bytes read.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes written, or about to be.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Operations that were done, successfully or not.
    pub fn operations(&self) -> u64 {
        self.operations.load(Ordering::Relaxed)
    }
}

impl Layer for Quota {
    fn judges(&self) -> bool {
        false
    }

    fn transfer(&self, operation: Operation, _: &[u8], bytes: u64) -> Result<(), Status> {
        let within = match operation {
            Operation::Write => {
                let more = |written: u64| written.checked_add(bytes).filter(|sum| *sum <= self.max_written);
                self.written.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
            }
            Operation::Read => self.read() < self.max_read,
            // How much a copy writes is known when it is done.
            _ => self.written() < self.max_written,
        };
        let no = || Status::with_message(StatusCode::FAILURE, "the quota is used up");
        if within { Ok(()) } else { Err(no()) }
    }

    fn done(&self, done: &Done<'_>) {
        self.operations.fetch_add(1, Ordering::Relaxed);
        match done.operation {
            Operation::Read => drop(self.read.fetch_add(done.read, Ordering::Relaxed)),
            Operation::CopyData => drop(self.written.fetch_add(done.written, Ordering::Relaxed)),
            _ => {}
        }
    }
}
