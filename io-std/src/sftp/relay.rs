//! Files from one server to another.

use std::io::{BufRead, Read, Write};

use konko_core::sftp::transfer::TransferError;
use konko_core::sftp::{Attrs, Extension, FileType};

use super::client::Sftp;
use super::client_dir::Metadata;
use super::client_error::{Error, ErrorKind};
use super::file::{File, OpenOptions};
use super::path::RemotePath;
use super::sides::Teller;
use super::transfers::{Cancel, PutOptions, Summary, is_regular};

/// Bytes that are read ahead: what a link of 100 ms and 1 Gbit/s holds.
const READ_AHEAD: u64 = 16 << 20;
const PIECE: usize = 256 * 1024;

impl Sftp {
    /// Copies a file of this server to another server, through this machine, and checks its size. Of the options
    /// `preserve`, `mode`, `sync`, the progress (with an empty local path) and the cancelling count. A file that is
    /// made gets the permission bits of the source less those that the server masks; what is at `to` is not touched
    /// before the source is open, and if both are the same file it stays as it is.
    pub fn copy_to(
        &self,
        from: impl RemotePath,
        other: &Sftp,
        to: impl RemotePath,
        options: &PutOptions,
    ) -> Result<Summary, Error> {
        let (from, to) = (self.path(&from), other.path(&to));
        let meta = self.source(&from).map_err(|e| e.again("copy"))?;
        self.relay((&from, &meta), (other, &to), options, false)
    }

    /// The same for a file of which `meta` is known; `fresh`: to where nothing is.
    pub(super) fn relay(
        &self,
        (from, meta): (&[u8], &Metadata),
        (other, to): (&Sftp, &[u8]),
        options: &PutOptions,
        fresh: bool,
    ) -> Result<Summary, Error> {
        let named = |e: Error| e.of("copy", &[from, to]);
        is_regular(meta).map_err(named)?;
        let mut source = self.open(from)?;
        source.set_read_ahead(READ_AHEAD);
        source.fill_buf().map(drop).map_err(|e| source.error(e))?;
        let there = if fresh { None } else { other.metadata(to).ok() };
        let same = there.is_some_and(|there| there.0.may_be_same_file(&meta.0));
        let mut open = OpenOptions::new().write(true).create(true).truncate(!same);
        if let Some(mode) = options.mode.or(meta.permissions().map(|mode| mode & 0o777)) {
            open = open.mode(mode);
        }
        let mut target = other.open_with(to, &open)?;
        let size = pour(source, &mut target, meta.size(), options)?;
        let synced = options.sync && other.supports(Extension::Fsync);
        if synced {
            target.sync_all()?;
        }
        target.close()?;
        let mut attrs_refused = None;
        if options.preserve {
            let permissions = meta.permissions().map(|mode| mode & 0o777);
            let set = Attrs { permissions, times: meta.0.times, ..Attrs::new() };
            // No error, as in a put.
            if let Err(error) = other.set_metadata(to, &set) {
                attrs_refused = Some(error.status().cloned().ok_or(error)?);
            }
        }
        let attrs_set = options.preserve && attrs_refused.is_none();
        // The size of a device says nothing.
        let now = other.metadata(to).ok().filter(|meta| meta.file_type().is_none_or(|k| k == FileType::File));
        let told = now.and_then(|meta| meta.size());
        if let Some(got) = told.filter(|got| *got != size) {
            let mismatch = TransferError::SizeMismatch { expected: size, got };
            return Err(named(Error::new(ErrorKind::Transfer(mismatch))));
        }
        let size_verified = told.is_some();
        Ok(Summary {
            bytes: size,
            size,
            size_verified,
            synced,
            attrs_set,
            attrs_refused,
            attrs: Some(meta.0.clone()),
            ..Summary::default()
        })
    }
}

/// All of one file into another; how many bytes.
fn pour(mut from: File, to: &mut File, total: Option<u64>, options: &PutOptions) -> Result<u64, Error> {
    let remote = to.path().to_vec();
    let mut teller = Teller {
        progress: options.progress.clone(),
        local: Default::default(),
        remote,
        done: 0,
        told: 0,
        total,
    };
    let mut piece = vec![0; PIECE];
    loop {
        if options.cancel.as_ref().is_some_and(Cancel::is_cancelled) {
            return Err(Error::new(ErrorKind::Cancelled).of("copy", &[from.path(), to.path()]));
        }
        let n = from.read(&mut piece).map_err(|e| from.error(e))?;
        if n == 0 {
            break;
        }
        to.write_all(&piece[..n]).map_err(|e| to.error(e))?;
        teller.done += n as u64;
        teller.tell(false);
    }
    to.flush().map_err(|e| to.error(e))?;
    from.close()?;
    teller.tell(true);
    Ok(teller.done)
}
