use alloc::vec::Vec;
use core::fmt;

use crate::wire::{DecodeError, Reader, Sink};

/// Flags of the attributes (draft-ietf-secsh-filexfer-02 §5).
const SIZE: u32 = 0x0000_0001;
const UIDGID: u32 = 0x0000_0002;
const PERMISSIONS: u32 = 0x0000_0004;
const ACMODTIME: u32 = 0x0000_0008;
const EXTENDED: u32 = 0x8000_0000;
const KNOWN: u32 = SIZE | UIDGID | PERMISSIONS | ACMODTIME | EXTENDED;

/// Extended pairs that attributes may have. Ours; real peers send none.
const MAX_EXTENDED: usize = 64;

/// Attributes of a file (draft-ietf-secsh-filexfer-02 §5). What is `None` was not sent, or is not to
/// be changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs {
    pub(crate) size: Option<u64>,
    pub(crate) owner: Option<Owner>,
    pub(crate) permissions: Option<u32>,
    pub(crate) times: Option<Times>,
    pub(crate) extended: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Numeric user and group of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Times of a file, in seconds since 1970 UTC, unsigned and 32 bits wide on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// Last access.
    pub accessed: u32,
    /// Last modification.
    pub modified: u32,
}

/// What kind of file a mode tells of (POSIX `S_IFMT`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileType {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A block device.
    BlockDevice,
    /// A character device.
    CharDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl FileType {
    /// The bits of a mode (`S_IFMT`).
    pub const MASK: u32 = 0o170_000;

    /// The type that a mode tells of; `None` when it tells of none.
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & Self::MASK {
            0o100_000 => Self::File,
            0o040_000 => Self::Directory,
            0o120_000 => Self::Symlink,
            0o060_000 => Self::BlockDevice,
            0o020_000 => Self::CharDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// Its bits in a mode.
    pub const fn bits(self) -> u32 {
        match self {
            Self::File => 0o100_000,
            Self::Directory => 0o040_000,
            Self::Symlink => 0o120_000,
            Self::BlockDevice => 0o060_000,
            Self::CharDevice => 0o020_000,
            Self::Fifo => 0o010_000,
            Self::Socket => 0o140_000,
        }
    }
}

impl Attrs {
    /// No attribute at all.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a size.
    #[must_use]
    pub fn with_size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// With a mode.
    #[must_use]
    pub fn with_permissions(mut self, mode: u32) -> Self {
        self.permissions = Some(mode);
        self
    }

    /// With a user and a group.
    #[must_use]
    pub fn with_owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some(Owner { uid, gid });
        self
    }

    /// With times, in seconds since 1970 UTC.
    #[must_use]
    pub fn with_times(mut self, accessed: u32, modified: u32) -> Self {
        self.times = Some(Times { accessed, modified });
        self
    }

    /// With one more vendor extension.
    #[must_use]
    pub fn with_extended(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        self.extended.push((name.into(), value.into()));
        self
    }

    /// Bytes.
    pub fn size(&self) -> Option<u64> {
        self.size
    }

    /// POSIX mode: file type and permission bits.
    pub fn permissions(&self) -> Option<u32> {
        self.permissions
    }

    /// Numeric user and group.
    pub fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Access and modification time.
    pub fn times(&self) -> Option<Times> {
        self.times
    }

    /// Vendor extensions: names and values.
    pub fn extended(&self) -> &[(Vec<u8>, Vec<u8>)] {
        &self.extended
    }

    /// True when nothing is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The kind of file, if the mode tells.
    pub fn file_type(&self) -> Option<FileType> {
        self.permissions.and_then(FileType::of_mode)
    }

    /// Whether the mode tells of a directory.
    pub fn is_dir(&self) -> bool {
        self.file_type() == Some(FileType::Directory)
    }

    /// Whether the mode tells of a regular file.
    pub fn is_file(&self) -> bool {
        self.file_type() == Some(FileType::File)
    }

    /// Whether two files, seen from here and from there, may be one and the same: nobody says so over SFTP, but then
    /// both are regular and have the same size, and the same time of the last change, as far as that is told.
    pub fn may_be_same_file(&self, other: &Self) -> bool {
        let file = |attrs: &Self| attrs.file_type().is_none_or(|kind| kind == FileType::File);
        let size = self.size.is_some() && self.size == other.size;
        let time = match (self.times, other.times) {
            (Some(a), Some(b)) => a.modified == b.modified,
            _ => true,
        };
        file(self) && file(other) && size && time
    }

    /// Whether the mode tells of a symbolic link.
    pub fn is_symlink(&self) -> bool {
        self.file_type() == Some(FileType::Symlink)
    }

    /// Appends the fields as they stand on the wire.
    pub(crate) fn put(&self, out: &mut (impl Sink + ?Sized)) {
        let flag = |set: bool, flag: u32| if set { flag } else { 0 };
        out.put_u32(
            flag(self.size.is_some(), SIZE)
                | flag(self.owner.is_some(), UIDGID)
                | flag(self.permissions.is_some(), PERMISSIONS)
                | flag(self.times.is_some(), ACMODTIME)
                | flag(!self.extended.is_empty(), EXTENDED),
        );
        if let Some(size) = self.size {
            out.put_u64(size);
        }
        if let Some(Owner { uid, gid }) = self.owner {
            out.put_u32(uid);
            out.put_u32(gid);
        }
        if let Some(mode) = self.permissions {
            out.put_u32(mode);
        }
        if let Some(Times { accessed, modified }) = self.times {
            out.put_u32(accessed);
            out.put_u32(modified);
        }
        if !self.extended.is_empty() {
            out.put_len(self.extended.len());
            for (name, value) in &self.extended {
                out.put_string(name);
                out.put_string(value);
            }
        }
    }

    /// Reads the fields. Bits that this version does not have are an error when `strict` (S-14), else
    /// they are passed over: some servers set them and send nothing for them.
    pub(crate) fn read(r: &mut Reader<'_>, strict: bool) -> Result<Self, DecodeError> {
        let flags = r.u32()?;
        if strict && flags & !KNOWN != 0 {
            return Err(DecodeError::Invalid);
        }
        let mut attrs = Attrs::default();
        if flags & SIZE != 0 {
            attrs.size = Some(r.u64()?);
        }
        if flags & UIDGID != 0 {
            attrs.owner = Some(Owner { uid: r.u32()?, gid: r.u32()? });
        }
        if flags & PERMISSIONS != 0 {
            attrs.permissions = Some(r.u32()?);
        }
        if flags & ACMODTIME != 0 {
            attrs.times = Some(Times { accessed: r.u32()?, modified: r.u32()? });
        }
        if flags & EXTENDED != 0 {
            let count = usize::try_from(r.u32()?).map_err(|_| DecodeError::Invalid)?;
            // Each pair takes 8 bytes at least: a count that cannot be true costs nothing.
            if count > MAX_EXTENDED || count > r.rest().len() / 8 {
                return Err(DecodeError::Invalid);
            }
            for _ in 0..count {
                attrs.extended.push((r.string()?.to_vec(), r.string()?.to_vec()));
            }
        }
        Ok(attrs)
    }
}

/// Shows a mode as `ls -l` does: `-rw-r--r--`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeText(pub u32);

impl fmt::Display for ModeText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.0;
        let kind = match FileType::of_mode(mode) {
            Some(FileType::File) => "-",
            Some(FileType::Directory) => "d",
            Some(FileType::Symlink) => "l",
            Some(FileType::BlockDevice) => "b",
            Some(FileType::CharDevice) => "c",
            Some(FileType::Fifo) => "p",
            Some(FileType::Socket) => "s",
            None => "?",
        };
        f.write_str(kind)?;
        for (shift, special, set, unset) in
            [(6u32, 0o4000u32, "s", "S"), (3, 0o2000, "s", "S"), (0, 0o1000, "t", "T")]
        {
            let bits = mode >> shift;
            f.write_str(if bits & 4 != 0 { "r" } else { "-" })?;
            f.write_str(if bits & 2 != 0 { "w" } else { "-" })?;
            f.write_str(match (bits & 1 != 0, mode & special != 0) {
                (true, true) => set,
                (false, true) => unset,
                (true, false) => "x",
                (false, false) => "-",
            })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    fn full() -> Attrs {
        let mut attrs =
            Attrs::new().with_size(1 << 40).with_owner(1, 2).with_permissions(0o100_644).with_times(3, 4);
        attrs.extended.push((b"x@y".to_vec(), b"z".to_vec()));
        attrs
    }

    #[test]
    fn s_14_attributes_cut_anywhere_are_an_error_and_whole_ones_come_out_again() {
        for bits in 0..32u32 {
            let mut attrs = full();
            if bits & 1 == 0 {
                attrs.size = None;
            }
            if bits & 2 == 0 {
                attrs.owner = None;
            }
            if bits & 4 == 0 {
                attrs.permissions = None;
            }
            if bits & 8 == 0 {
                attrs.times = None;
            }
            if bits & 16 == 0 {
                attrs.extended.clear();
            }
            let mut wire = Vec::new();
            attrs.put(&mut wire);
            let mut r = Reader::new(&wire);
            assert_eq!(Attrs::read(&mut r, true), Ok(attrs));
            assert!(r.is_empty());
            for cut in 0..wire.len() {
                assert!(Attrs::read(&mut Reader::new(&wire[..cut]), true).is_err(), "{bits} cut at {cut}");
            }
        }
    }

    #[test]
    fn s_14_counts_and_unknown_bits() {
        let with = |flags: u32, rest: &[u8]| {
            let mut wire = flags.to_be_bytes().to_vec();
            wire.extend_from_slice(rest);
            wire
        };
        let count = with(EXTENDED, &[0xff; 4]);
        assert_eq!(Attrs::read(&mut Reader::new(&count), true), Err(DecodeError::Invalid));
        for bit in (4..31).map(|b| 1u32 << b) {
            let wire = with(bit | SIZE, &[0, 0, 0, 0, 0, 0, 0, 9]);
            assert_eq!(Attrs::read(&mut Reader::new(&wire), true), Err(DecodeError::Invalid));
            let lenient = Attrs::read(&mut Reader::new(&wire), false);
            assert_eq!(lenient, Ok(Attrs::new().with_size(9)));
        }
    }

    #[test]
    fn modes_show_as_ls_shows_them() {
        for (mode, text) in [
            (0o100_644, "-rw-r--r--"),
            (0o040_755, "drwxr-xr-x"),
            (0o120_777, "lrwxrwxrwx"),
            (0o104_755, "-rwsr-xr-x"),
            (0o102_644, "-rw-r-Sr--"),
            (0o041_777, "drwxrwxrwt"),
            (0o041_770, "drwxrwx--T"),
            (0o644, "?rw-r--r--"),
        ] {
            assert_eq!(ModeText(mode).to_string(), text);
        }
    }
}
