//! The sink inside a connection.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use sha2::{Digest as _, Sha256};
use zeroize::{Zeroize, Zeroizing};

use super::call::Call;
use super::entry::{CALL, CONSUMED, END, FOUND, Mark, POLL, SENT, put_found};
use super::transcript::{MAX_TRANSCRIPT, SecretTranscript, put_header};
use crate::error::TimerKind;
use crate::rng::Seed;
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{RxBuf, TxBuf};
use crate::wire::Sink;

/// Bytes that are wiped: also those that growing leaves behind.
#[derive(Default)]
struct Wiped(Zeroizing<Vec<u8>>);

impl Sink for Wiped {
    fn put(&mut self, bytes: &[u8]) {
        let need = self.0.len().saturating_add(bytes.len());
        if need > self.0.capacity() {
            let mut grown = Zeroizing::new(Vec::with_capacity(need.next_power_of_two().max(4096)));
            grown.extend_from_slice(&self.0);
            self.0 = grown;
        }
        self.0.extend_from_slice(bytes);
    }
}

/// Writes down what happens to one connection.
pub(crate) struct Recorder {
    out: Wiped,
    /// The body of the record being written.
    body: Wiped,
    /// Time of the last poll.
    last: Time,
    /// Output seen so far: made, taken.
    made: u64,
    taken: u64,
    /// The limit was reached; what follows is not recorded.
    full: bool,
}

impl Recorder {
    /// Starts with a connection that is new: its first output is in `tx`.
    pub(crate) fn new(role: Role, seed: &Seed, now: Time, tx: &TxBuf) -> Self {
        let mut recorder = Recorder {
            out: Wiped::default(),
            body: Wiped::default(),
            last: now,
            made: 0,
            taken: 0,
            full: false,
        };
        put_header(&mut recorder.out, role, seed, now);
        recorder.sync(tx);
        recorder
    }

    /// Notes what became of the output since the last look at it. Called before the application
    /// can take any, so all that is new is still there.
    pub(crate) fn sync(&mut self, tx: &TxBuf) {
        let taken = tx.consumed().saturating_sub(self.taken);
        if taken > 0 {
            self.taken = tx.consumed();
            self.write(CONSUMED, |body| body.put_u64(taken));
        }
        let pending = tx.pending();
        let made = tx.consumed().saturating_add(pending.len() as u64);
        let len = made.saturating_sub(self.made);
        if len > 0 {
            self.made = made;
            let new = usize::try_from(len).unwrap_or(usize::MAX);
            let mark = mark(&[pending.get(pending.len().saturating_sub(new)..).unwrap_or_default()]);
            self.write(SENT, |body| {
                body.put_u64(len);
                body.put(&mark);
            });
        }
    }

    /// A method is being called.
    pub(crate) fn call(&mut self, tx: &TxBuf, call: &Call<'_>) {
        self.sync(tx);
        self.write(CALL, |body| call.put(body));
    }

    /// A slot that was lent is committed; nothing can have happened in between.
    pub(crate) fn commit(&mut self, call: &Call<'_>) {
        self.write(CALL, |body| call.put(body));
    }

    /// `poll` is being called.
    pub(crate) fn poll(&mut self, tx: &TxBuf, now: Time, rx: &mut RxBuf) {
        self.sync(tx);
        let delta = now.as_micros().wrapping_sub(self.last.as_micros());
        self.last = now;
        let eof = rx.at_eof();
        let input = rx.take_fresh();
        self.write(POLL, |body| {
            body.put_u64(delta);
            body.put_bool(eof);
            body.put(input);
        });
    }

    /// What it returned. `what` says its kind and nothing secret.
    pub(crate) fn found(
        &mut self,
        what: fmt::Arguments<'_>,
        details: &[&[u8]],
        deadline: Option<(Time, TimerKind)>,
    ) {
        let mut text = String::new();
        let _ = text.write_fmt(what);
        let mark = mark(details);
        let deadline = deadline.map(|(at, kind)| (at.as_micros(), kind as u8));
        self.write(FOUND, |body| put_found(body, &text, &mark, deadline));
    }

    /// Ends the recording.
    pub(crate) fn finish(mut self, tx: &TxBuf) -> SecretTranscript {
        self.sync(tx);
        self.write(END, |_| {});
        SecretTranscript::from_recorder(core::mem::take(&mut self.out.0))
    }

    /// The records so far, header aside the first time; they are forgotten here.
    pub(crate) fn drain(&mut self) -> Zeroizing<Vec<u8>> {
        core::mem::take(&mut self.out.0)
    }

    fn write(&mut self, kind: u8, fill: impl FnOnce(&mut Wiped)) {
        if self.full {
            return;
        }
        self.body.0.zeroize();
        fill(&mut self.body);
        let len = self.body.0.len().saturating_add(5);
        if self.out.0.len().saturating_add(len) > MAX_TRANSCRIPT {
            self.full = true;
            return;
        }
        self.out.put_u8(kind);
        let Recorder { out, body, .. } = self;
        out.put_string(&body.0);
    }
}

/// Marks a value by its parts.
fn mark(parts: &[&[u8]]) -> Mark {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let mut mark = Mark::default();
    for (to, from) in mark.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    mark
}
