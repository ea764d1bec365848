//! The text form: a header, base64, a footer (PROTOCOL.sshsig §1).

use alloc::string::String;
use alloc::vec::Vec;

use base64ct::{Base64, Encoding};

use super::{MAX_FILE, SshSig, SshSigError};

const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
const END: &str = "-----END SSH SIGNATURE-----";
/// Characters a line, as OpenSSH writes them.
const WIDTH: usize = 70;

impl SshSig {
    /// Reads a signature in its text form. It begins with the file; what stands behind the footer does not count.
    ///
    /// # Errors
    /// As [`from_blob`](Self::from_blob), [`SshSigError::NotASignature`] and [`SshSigError::Malformed`].
    pub fn from_armored(text: &[u8]) -> Result<Self, SshSigError> {
        if text.len() > MAX_FILE {
            return Err(SshSigError::TooLarge);
        }
        let mut lines = text.split(|b| *b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        if lines.next() != Some(BEGIN.as_bytes()) {
            return Err(SshSigError::NotASignature);
        }
        let mut base64: Vec<u8> = Vec::with_capacity(text.len());
        for line in lines {
            if line.starts_with(END.as_bytes()) {
                let base64 = core::str::from_utf8(&base64).map_err(|_| SshSigError::Malformed)?;
                let blob = Base64::decode_vec(base64).map_err(|_| SshSigError::Malformed)?;
                return Self::from_blob(&blob);
            }
            base64.extend(line.iter().filter(|b| !b.is_ascii_whitespace()));
        }
        Err(SshSigError::Malformed)
    }

    /// The signature in its text form, which ends with a line feed.
    pub fn to_armored(&self) -> String {
        let base64 = Base64::encode_string(&self.to_blob());
        let mut text = String::from(BEGIN);
        for (at, character) in base64.chars().enumerate() {
            if at % WIDTH == 0 {
                text.push('\n');
            }
            text.push(character);
        }
        text.push('\n');
        text.push_str(END);
        text.push('\n');
        text
    }
}
