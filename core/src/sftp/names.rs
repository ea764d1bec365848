//! Names that come from the other side, as names of local files (S-18).

use core::fmt;

/// Whose rules a name is held to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameRules {
    /// One component of a path that goes nowhere else: any bytes but `/` and NUL, and not `.` or `..`.
    Unix,
    /// The same, and what Windows takes for something else than a name, or for another one: `\ : * ? " < > |`, control
    /// characters, a dot or space at the end, and devices (Win32 "Naming Files, Paths, and Namespaces").
    Windows,
}

impl NameRules {
    /// Those of the system that this runs on.
    pub const HERE: Self = if cfg!(windows) { Self::Windows } else { Self::Unix };

    /// Whether a file below a directory of one's choice can be given this name.
    ///
    /// # Errors
    /// Why it cannot. Then the file is not to be copied: another name, or no name, would be another place.
    pub fn check(self, name: &[u8]) -> Result<(), UnsafeName> {
        match name {
            b"" => return Err(UnsafeName::Empty),
            b"." | b".." => return Err(UnsafeName::Directory),
            _ => {}
        }
        if let Some(b) = name.iter().find(|b| matches!(b, b'/' | 0)) {
            return Err(UnsafeName::Character(*b));
        }
        if self == Self::Unix { Ok(()) } else { check_windows(name) }
    }
}

fn check_windows(name: &[u8]) -> Result<(), UnsafeName> {
    let bad = |b: &u8| matches!(b, b'\\' | b':' | b'*' | b'?' | b'"' | b'<' | b'>' | b'|' | ..0x20);
    if let Some(b) = name.iter().copied().find(bad) {
        return Err(UnsafeName::Character(b));
    }
    if matches!(name.last(), Some(b'.' | b' ')) {
        return Err(UnsafeName::End);
    }
    let stem = name.split(|b| *b == b'.').next().unwrap_or_default().trim_ascii_end();
    // A digit may be superscript: ¹ ² ³.
    let digit = |rest: &[u8]| matches!(rest, [b'0'..=b'9'] | [0xc2, 0xb9 | 0xb2 | 0xb3]);
    let port = |prefix: &[u8]| {
        stem.split_at_checked(3)
            .is_some_and(|(start, rest)| start.eq_ignore_ascii_case(prefix) && digit(rest))
    };
    let devices = [&b"con"[..], b"prn", b"aux", b"nul", b"conin$", b"conout$"];
    if devices.iter().any(|device| stem.eq_ignore_ascii_case(device)) || port(b"com") || port(b"lpt") {
        return Err(UnsafeName::Device);
    }
    Ok(())
}

/// Why a name cannot be that of a local file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UnsafeName {
    /// It is empty.
    Empty,
    /// It is `.` or `..`.
    Directory,
    /// It has a character that is never part of a name here.
    Character(u8),
    /// It ends in a dot or a space, which Windows leaves away.
    End,
    /// Windows has a device of that name.
    Device,
}

impl fmt::Display for UnsafeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the name is empty"),
            Self::Directory => f.write_str("the name is that of a directory it could be in"),
            Self::Character(b'/') => f.write_str("the name has a slash in it and could lead elsewhere"),
            Self::Character(b) => {
                let b = core::ascii::escape_default(*b);
                write!(f, "the name has '{b}' in it, which no name can have here")
            }
            Self::End => f.write_str("the name ends in a dot or a space, which no name can do here"),
            Self::Device => f.write_str("the name is that of a device here"),
        }
    }
}

impl core::error::Error for UnsafeName {}

/// Whether a name that a server sent can be used as the name of a local file below a directory of one's choice
/// (S-18), by the rules of the system that this runs on; [`NameRules::check`] says why not.
pub fn is_safe_name(name: &[u8]) -> bool {
    NameRules::HERE.check(name).is_ok()
}

/// The last component of a path of names and slashes, which names what is there: slashes at the end do not count.
/// `None` if it is empty, `.` or `..`, so that the path means what is in a directory (`dir/.`), as with cp(1).
pub fn last_name(path: &[u8]) -> Option<&[u8]> {
    let name = path.split(|b| *b == b'/').rfind(|name| !name.is_empty())?;
    (!matches!(name, b"." | b"..")).then_some(name)
}
