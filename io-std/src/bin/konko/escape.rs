//! The escape character of an interactive session: `~.` after a line break disconnects.

/// What is to be done after some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the bytes, nothing else.
    Send,
    /// `~.`: disconnect.
    Disconnect,
    /// `~^Z`: stop this program.
    Suspend,
    /// `~R`: renew the keys.
    Rekey,
    /// `~B`: send a BREAK (RFC 4335).
    Break,
    /// An escape of OpenSSH that does nothing here.
    Missing(u8),
    /// `~?`: show what there is.
    Help,
}

/// Looks for escapes in what is typed.
#[derive(Debug)]
pub struct Escapes {
    character: u8,
    line_start: bool,
    pending: bool,
}

impl Escapes {
    pub fn new(character: u8) -> Self {
        Escapes { character, line_start: true, pending: false }
    }

    /// Moves bytes to be sent from `input` to `out`, up to and including the first escape. Returns
    /// how many bytes of `input` that were, and what to do now.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Action) {
        for (i, &byte) in input.iter().enumerate() {
            if std::mem::take(&mut self.pending) {
                let action = match byte {
                    b'.' => Action::Disconnect,
                    0x1a => Action::Suspend,
                    b'R' => Action::Rekey,
                    b'B' => Action::Break,
                    b'C' | b'#' | b'&' | b'v' | b'V' => Action::Missing(byte),
                    b'?' => Action::Help,
                    _ => Action::Send,
                };
                if action != Action::Send {
                    self.line_start = true;
                    return (i + 1, action);
                }
                out.push(self.character);
                if byte == self.character {
                    self.line_start = false;
                    continue;
                }
            } else if self.line_start && byte == self.character {
                self.pending = true;
                continue;
            }
            self.line_start = matches!(byte, b'\r' | b'\n');
            out.push(byte);
        }
        (input.len(), Action::Send)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn feed(chunks: &[&str]) -> (String, Action) {
        let mut escapes = Escapes::new(b'~');
        let mut out = Vec::new();
        let mut action = Action::Send;
        for chunk in chunks {
            action = escapes.feed(chunk.as_bytes(), &mut out).1;
            if action != Action::Send {
                break;
            }
        }
        (String::from_utf8(out).unwrap(), action)
    }

    #[test]
    fn only_after_a_line_break() {
        assert_eq!(feed(&["~."]), (String::new(), Action::Disconnect));
        assert_eq!(feed(&["a~."]), ("a~.".into(), Action::Send));
        assert_eq!(feed(&["a\r~", "."]), ("a\r".into(), Action::Disconnect));
        assert_eq!(feed(&["~~."]), ("~.".into(), Action::Send));
        assert_eq!(feed(&["ls\r~B"]), ("ls\r".into(), Action::Break), "c22");
        assert_eq!(feed(&["~", "C"]), (String::new(), Action::Missing(b'C')), "c22");
        assert_eq!(feed(&["~x\r~."]), ("~x\r".into(), Action::Disconnect));
    }
}
