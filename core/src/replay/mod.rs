//! Recording a session, and replaying it.
//!
//! A connection is a function of its configuration, its seed, and what is done to it. A recorded
//! connection ([`ClientConnection::recorded`], [`ServerConnection::recorded`]) writes all of that
//! down, with marks of its output and events: a [`SecretTranscript`]. [`replay`] does the same
//! again to a new connection and tells the first place where something else comes out. A bug
//! report, a golden test and the crash of a fuzzer are the same file.
//!
//! ```text
//! file:   "konkoTR\n"  uint32 version  byte role  byte[32] seed  uint64 start (µs)  record*
//! record: byte kind  string body
//!   1 poll      uint64 time since the last poll (µs)  boolean end of input  byte* new input
//!   2 found     byte[16] mark  boolean  [uint64 deadline  byte timer]  string kind of the result
//!   3 call      byte number  argument*
//!   4 output    uint64 length  byte[16] mark
//!   5 taken     uint64 length
//!   6 end
//! ```
//!
//! What stands outside a connection is not in its transcript: the configuration and private keys
//! are given to [`replay`] again. Signatures made elsewhere and answers to prompts are inputs and
//! stand in it; jobs that ran elsewhere are run again. Signers that are not deterministic (ECDSA on
//! some tokens) cannot be replayed when they sign inside the connection.

mod player;

pub use player::{Divergence, Report, Setup, replay};

pub use crate::record::{MAX_TRANSCRIPT, Outline, SecretTranscript, TranscriptError};
#[allow(unused_imports, reason = "for the links in the documentation")]
use crate::{ClientConnection, ServerConnection};
