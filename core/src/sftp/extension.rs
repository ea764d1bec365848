//! What the replies of extensions hold (OpenSSH PROTOCOL §4; draft-ietf-secsh-filexfer-extensions-00 §3).

use alloc::vec::Vec;

use crate::crypto::{Digest, HashAlgorithm, Provider};
use crate::wire::{DecodeError, Reader, Sink, SshStr};

use super::message::MAX_DATA;
use super::status::{Status, StatusCode};

/// Digests of one check-file reply, in bytes.
const MAX_DIGESTS: usize = 128 * 1024;

/// limits@openssh.com: what a server can take. 0 stands for "not said".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a message.
    pub packet: u64,
    /// Bytes of one READ.
    pub read: u64,
    /// Bytes of one WRITE.
    pub write: u64,
    /// Open handles.
    pub handles: u64,
}

/// What every server takes (draft §3: 34000 bytes a packet; 32768 of data is what clients rely on).
const SAFE_DATA: u32 = 32 * 1024;
/// A server that claims less than this means something else (S-17).
const LEAST_DATA: u64 = 4 * 1024;

impl Limits {
    /// Bytes to ask for in one READ: what was said, between 4 KiB and 255 KiB; 32 KiB if nothing was.
    pub fn read_len(&self) -> u32 {
        clamp(self.read, self.packet)
    }

    /// Bytes to send in one WRITE, in the same way.
    pub fn write_len(&self) -> u32 {
        clamp(self.write, self.packet)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        // What may follow in a later version is not for us.
        Ok(Limits { packet: r.u64()?, read: r.u64()?, write: r.u64()?, handles: r.u64()? })
    }

    pub(crate) fn put(&self, out: &mut (impl Sink + ?Sized)) {
        [self.packet, self.read, self.write, self.handles].into_iter().for_each(|n| out.put_u64(n));
    }
}

fn clamp(said: u64, packet: u64) -> u32 {
    let room = if packet == 0 { u64::MAX } else { packet.saturating_sub(1024) };
    match said.min(room) {
        0 => SAFE_DATA,
        n => u32::try_from(n.clamp(LEAST_DATA, MAX_DATA as u64)).unwrap_or(SAFE_DATA),
    }
}

/// statvfs@openssh.com and fstatvfs@openssh.com: figures of a file system, as statvfs(3) has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatVfs {
    /// Block size.
    pub block_size: u64,
    /// Fundamental block size: the unit of the block counts.
    pub fragment_size: u64,
    /// Blocks.
    pub blocks: u64,
    /// Free blocks.
    pub blocks_free: u64,
    /// Free blocks for others than root.
    pub blocks_available: u64,
    /// Inodes.
    pub files: u64,
    /// Free inodes.
    pub files_free: u64,
    /// Free inodes for others than root.
    pub files_available: u64,
    /// Identifier of the file system.
    pub id: u64,
    /// [`StatVfs::READ_ONLY`] and [`StatVfs::NO_SETUID`].
    pub flags: u64,
    /// Longest name.
    pub name_max: u64,
}

impl StatVfs {
    /// The file system is read-only.
    pub const READ_ONLY: u64 = 1;
    /// It ignores setuid bits.
    pub const NO_SETUID: u64 = 2;

    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        Ok(StatVfs {
            block_size: r.u64()?,
            fragment_size: r.u64()?,
            blocks: r.u64()?,
            blocks_free: r.u64()?,
            blocks_available: r.u64()?,
            files: r.u64()?,
            files_free: r.u64()?,
            files_available: r.u64()?,
            id: r.u64()?,
            flags: r.u64()?,
            name_max: r.u64()?,
        })
    }

    pub(crate) fn put(&self, out: &mut (impl Sink + ?Sized)) {
        for n in [self.block_size, self.fragment_size, self.blocks, self.blocks_free, self.blocks_available] {
            out.put_u64(n);
        }
        for n in [self.files, self.files_free, self.files_available, self.id, self.flags, self.name_max] {
            out.put_u64(n);
        }
    }
}

/// users-groups-by-id@openssh.com: names in the order of the ids asked for; `None` where the server
/// knows none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsersGroups {
    /// Names of the users.
    pub users: Vec<Option<Vec<u8>>>,
    /// Names of the groups.
    pub groups: Vec<Option<Vec<u8>>>,
}

impl UsersGroups {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        Ok(UsersGroups { users: names(r.string()?)?, groups: names(r.string()?)? })
    }

    pub(crate) fn put(&self, out: &mut (impl Sink + ?Sized)) {
        for list in [&self.users, &self.groups] {
            let mut packed = Vec::new();
            list.iter().for_each(|n| packed.put_string(n.as_deref().unwrap_or_default()));
            out.put_string(&packed);
        }
    }
}

fn names(packed: &[u8]) -> Result<Vec<Option<Vec<u8>>>, DecodeError> {
    let mut r = Reader::new(packed);
    let mut list = Vec::new();
    while !r.is_empty() {
        let name = r.string()?;
        list.push(Some(name.to_vec()).filter(|n| !n.is_empty()));
    }
    Ok(list)
}

/// Identifiers of users or groups, packed as users-groups-by-id@openssh.com has them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ids<'b>(pub(crate) &'b [u8]);

impl<'b> Ids<'b> {
    /// The identifiers, in order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<'b> {
        self.0.chunks_exact(4).filter_map(|c| c.first_chunk().map(|c| u32::from_be_bytes(*c)))
    }
}

impl core::fmt::Debug for Ids<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// check-file: the hash that the server took, and one digest for each block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileHash {
    /// The hash.
    pub algorithm: HashAlgorithm,
    /// Digests one after the other, each [`HashAlgorithm::len`] bytes.
    pub digests: Vec<u8>,
}

impl FileHash {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut r = Reader::new(bytes);
        let mut name = r.string()?;
        // filexfer-09 repeats the name of the extension, the later draft does not: both are met.
        if name == b"check-file" {
            name = r.string()?;
        }
        let algorithm = hash_from_name(name).ok_or(DecodeError::Invalid)?;
        let digests = r.rest();
        if digests.is_empty() || !digests.len().is_multiple_of(algorithm.len()) {
            return Err(DecodeError::Invalid);
        }
        Ok(FileHash { algorithm, digests: digests.to_vec() })
    }

    pub(crate) fn put(&self, out: &mut (impl Sink + ?Sized)) {
        out.put_string(b"check-file");
        out.put_string(hash_name(self.algorithm).as_bytes());
        out.put(&self.digests);
    }
}

/// What check-file is to hash (draft-ietf-secsh-filexfer-extensions-00 §3).
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckFile<'b> {
    /// The hashes that the client would take, the best first.
    pub algs: HashList<'b>,
    /// From where.
    pub offset: u64,
    /// How much; 0 is everything to the end.
    pub len: u64,
    /// One digest for each so many bytes; 0 is one for all. Otherwise 256 at least.
    pub block: u32,
}

impl CheckFile<'_> {
    /// Hashes a file of about `size` bytes, up to where reading ends. `read` reads from an offset; 0 is the end.
    ///
    /// # Errors
    /// What `read` says; FAILURE if there are too many blocks for one reply.
    pub fn hash(
        &self,
        provider: &dyn Provider,
        size: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Result<usize, Status>,
    ) -> Result<FileHash, Status> {
        let algorithm = self.algs.iter().next().unwrap_or(HashAlgorithm::Sha256);
        let len = if self.len == 0 { u64::MAX } else { self.len };
        let block = if self.block == 0 { u64::MAX } else { self.block.into() };
        let too_many = || Status::with_message(StatusCode::FAILURE, "too many blocks");
        // Before anything is read of what is too much anyhow.
        let told = size.saturating_sub(self.offset).min(len).div_ceil(block);
        if told.saturating_mul(algorithm.len() as u64) > MAX_DIGESTS as u64 {
            return Err(too_many());
        }
        let (mut digests, mut buffer) = (Vec::new(), Vec::new());
        buffer.resize(MAX_DATA, 0);
        let (mut at, mut ended) = (0u64, false);
        // What is empty has the hash of nothing.
        while digests.is_empty() || (at < len && !ended) {
            let mut hash = provider.hash(algorithm);
            let (start, end) = (at, len.min(at.saturating_add(block)));
            while at < end && !ended {
                let most = usize::try_from(end.saturating_sub(at)).unwrap_or(MAX_DATA);
                let room = buffer.get_mut(..most.min(MAX_DATA)).unwrap_or_default();
                let n = read(self.offset.saturating_add(at), room)?;
                ended = n == 0;
                hash.update(room.get(..n).unwrap_or_default());
                at = at.saturating_add(n as u64);
            }
            // Nothing stands behind a block that ends where the file does.
            if at > start || digests.is_empty() {
                digests.extend_from_slice(Digest::finish(algorithm, hash).as_bytes());
            }
            if digests.len() > MAX_DIGESTS {
                return Err(too_many());
            }
        }
        Ok(FileHash { algorithm, digests })
    }
}

/// Hashes by the names that check-file has for them, the strongest first.
const HASHES: [(HashAlgorithm, &str); 5] = [
    (HashAlgorithm::Sha512, "sha512"),
    (HashAlgorithm::Sha384, "sha384"),
    (HashAlgorithm::Sha256, "sha256"),
    (HashAlgorithm::Sha1, "sha1"),
    (HashAlgorithm::Md5, "md5"),
];

/// The name of a hash in check-file.
pub fn hash_name(algorithm: HashAlgorithm) -> &'static str {
    HASHES.iter().find(|(a, _)| *a == algorithm).map_or("", |(_, n)| n)
}

/// The hash of that name in check-file.
pub fn hash_from_name(name: &[u8]) -> Option<HashAlgorithm> {
    HASHES.iter().find(|(_, n)| n.as_bytes() == name).map(|(a, _)| *a)
}

/// All names, for an announcement.
pub(crate) const HASH_NAMES: &str = "sha512,sha384,sha256,sha1,md5";

/// A list of names of hashes, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashList<'b>(pub(crate) SshStr<'b>);

impl<'b> HashList<'b> {
    /// Those that konko has, in the client's order.
    pub fn iter(&self) -> impl Iterator<Item = HashAlgorithm> + use<'b> {
        self.0.as_bytes().split(|b| *b == b',').filter_map(hash_from_name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s_17_limits_that_cannot_be_are_clamped() {
        let read = |read, packet| Limits { read, packet, ..Limits::default() }.read_len();
        assert_eq!(read(0, 0), 32768);
        assert_eq!(read(1, 0), 4096);
        assert_eq!(read(261_120, 262_144), 261_120);
        assert_eq!(read(u64::MAX, u64::MAX), 261_120);
        assert_eq!(read(u64::MAX, 34_000), 32_976);
        assert_eq!(read(1 << 63, 1), 32768);
    }
}
