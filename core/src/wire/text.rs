use alloc::string::String;
use core::fmt;

use super::Part;

/// Text that came from a peer: bytes, since SSH strings are not always UTF-8.
///
/// `Display` and `Debug` escape everything that could steer a terminal or a log: C0 and C1
/// controls, DEL, bidirectional overrides, and bytes that are not UTF-8.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SshStr<'a>(&'a [u8]);

impl<'a> SshStr<'a> {
    /// Wraps the bytes of a `string`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes as the peer sent them.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The same text in other bytes.
    pub(crate) fn over<'b>(self, part: &mut impl Part<'a, 'b>) -> Option<SshStr<'b>> {
        part(self.0).map(SshStr)
    }

    /// The text, if it is UTF-8.
    pub fn to_str(&self) -> Option<&'a str> {
        core::str::from_utf8(self.0).ok()
    }

    /// The text as it is, for who wants a `String`; a byte that is not UTF-8 becomes `\xNN`, so that nothing
    /// is taken for what it is not.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for chunk in self.0.utf8_chunks() {
            text.push_str(chunk.valid());
            chunk.invalid().iter().for_each(|b| text.push_str(&alloc::format!("\\x{b:02x}")));
        }
        text
    }

    /// A form that is safe to print; line feeds and tabs stay when `lines` is true.
    pub fn escaped(&self, lines: bool) -> Escaped<'a> {
        Escaped { bytes: self.0, lines }
    }

    /// At most `max` bytes of the escaped form, for error texts.
    pub fn excerpt(&self, max: usize) -> String {
        let cut = self.0.get(..max).unwrap_or(self.0);
        let mut text = alloc::format!("{}", SshStr(cut));
        if cut.len() < self.0.len() {
            text.push('…');
        }
        text
    }
}

impl<'a> From<&'a str> for SshStr<'a> {
    fn from(text: &'a str) -> Self {
        Self(text.as_bytes())
    }
}

impl fmt::Display for SshStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.escaped(false).fmt(f)
    }
}

impl fmt::Debug for SshStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// Displays bytes with everything unprintable escaped; see [`SshStr::escaped`].
#[derive(Clone, Copy)]
pub struct Escaped<'a> {
    bytes: &'a [u8],
    lines: bool,
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let keep = match c {
                    '\n' | '\r' | '\t' | '\\' => self.lines,
                    c => printable(c),
                };
                match c {
                    c if keep => fmt::Write::write_char(f, c)?,
                    '\n' | '\r' | '\t' | '\\' => write!(f, "{}", c.escape_default())?,
                    c if c.is_ascii() => write!(f, "\\x{:02x}", u32::from(c))?,
                    c => write!(f, "{}", c.escape_unicode())?,
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        Ok(())
    }
}

/// Characters that show as themselves: no controls, no invisible direction or format marks.
fn printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{061c}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn v06_peer_text_cannot_steer_a_terminal() {
        let nasty = b"\x1b]0;x\x07 \x9b31m \xe2\x80\xae \xc2\x9b ok \r\n";
        let shown = format!("{}", SshStr::new(nasty));
        assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b)), "{shown}");
        assert!(shown.contains("ok"));
        assert_eq!(format!("{}", SshStr::new("héllo".as_bytes())), "héllo");
        assert_eq!(format!("{}", SshStr::new(b"a\nb").escaped(true)), "a\nb");
    }

    #[test]
    fn c10_what_is_no_text_is_not_taken_for_another_one() {
        assert_eq!(SshStr::new("caf\u{e9}\r\n\u{7f}".as_bytes()).to_text(), "caf\u{e9}\r\n\u{7f}");
        assert_eq!(SshStr::new(b"caf\xe9 \xc3").to_text(), "caf\\xe9 \\xc3");
    }
}
