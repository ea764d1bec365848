//! The sink that a connection's input, calls and output are written to; [`replay`](crate::replay) reads it.

mod call;
mod entry;
mod field;
mod recorder;
mod transcript;

pub(crate) use call::Call;
pub(crate) use entry::Record;
pub(crate) use field::{AuthFields, KeyRef, KeyUse, Rest, Texts};
pub(crate) use recorder::Recorder;
pub(crate) use transcript::HEADER;
pub use transcript::{MAX_TRANSCRIPT, Outline, SecretTranscript, TranscriptError};
