use alloc::sync::Arc;
use core::fmt;

use crate::wire::SshStr;

/// Warnings that are kept, a file; one of nothing else should not cost more than itself.
pub const MAX_WARNINGS: usize = 1000;

/// A line of a file, or the file as a whole. `Display` is `file:line` or `file`, escaped.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Location {
    /// The file's name, as it was given.
    pub file: Arc<[u8]>,
    /// The line's number, from 1; 0 is the file as a whole.
    pub line: u32,
}

impl Location {
    /// A line of a file, by its number from 1; 0 is the file as a whole.
    pub fn new(file: impl Into<Arc<[u8]>>, line: u32) -> Self {
        Location { file: file.into(), line }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", SshStr::new(&self.file))?;
        if self.line > 0 { write!(f, ":{}", self.line) } else { Ok(()) }
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line that is not used, or not as it was meant, and why. `Display` is `file:line: problem`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Warning<P> {
    /// Where it stands.
    pub at: Location,
    /// What is wrong with it, and what comes of that.
    pub problem: P,
}

impl<P> Warning<P> {
    /// What is wrong with a line.
    pub fn new(at: Location, problem: P) -> Self {
        Warning { at, problem }
    }
}

impl<P: fmt::Display> fmt::Display for Warning<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.problem)
    }
}
