//! zlib compression (RFC 4253 §6.2), one stream a direction and key epoch.

use alloc::boxed::Box;
use alloc::vec::Vec;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};

use super::recv::MAX_PAYLOAD;
use super::tx::Draft;
use crate::crypto::grow;
use crate::error::Fault;

/// Compresses payloads; each ends on a byte boundary (partial flush), so the peer can inflate it.
pub(super) struct Deflate(Box<CompressorOxide>);

/// Room lent to the compressor at least; more than a flush of a short payload needs.
const MIN_ROOM: usize = 256;

impl Deflate {
    pub(super) fn new(level: u8) -> Self {
        Deflate(Box::new(CompressorOxide::new(flags(level))))
    }

    /// Appends the compressed form of `payload` to `draft`, all of it.
    pub(super) fn compress(&mut self, payload: &[u8], draft: &mut Draft<'_>) {
        // Data that cannot be compressed grows by little, so one turn does it.
        let room = payload.len().saturating_add(payload.len() / 64).saturating_add(MIN_ROOM);
        self.compress_by(room, payload, draft);
    }

    /// The same, with `room` bytes lent at a time.
    fn compress_by(&mut self, room: usize, mut payload: &[u8], draft: &mut Draft<'_>) {
        // What has no room in the output waits inside the compressor, and a call that finds some
        // waiting may only hand that out: it takes the input, but neither compresses the last of
        // it nor flushes. So the payload is whole only after a call that found nothing waiting,
        // and left room.
        let mut nothing_waits = true;
        loop {
            let out = draft.extend(room);
            let result = deflate(&mut self.0, payload, out, MZFlush::Partial);
            let unused = room.saturating_sub(result.bytes_written);
            draft.truncate(draft.len().saturating_sub(unused));
            payload = payload.get(result.bytes_consumed..).unwrap_or_default();
            let left_room = unused > 0;
            // The only error there can be is that there was no room.
            if result.status.is_err() || (left_room && nothing_waits && payload.is_empty()) {
                return;
            }
            nothing_waits = left_room;
        }
    }
}

impl Drop for Deflate {
    fn drop(&mut self) {
        // Its window holds what was sent.
        self.0.reset();
        core::hint::black_box(&self.0);
    }
}

/// A 15-bit window with a zlib header, as every peer does.
fn flags(level: u8) -> u32 {
    create_comp_flags_from_zip_params(i32::from(level.clamp(1, 9)), 15, 0)
}

/// Inflates payloads, never beyond a packet's worth.
pub(super) struct Inflate(Box<InflateState>);

impl Inflate {
    pub(super) fn new() -> Self {
        Inflate(InflateState::new_boxed(DataFormat::Zlib))
    }

    /// Replaces the content of `out` with the inflated form of `data`.
    pub(super) fn decompress(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        let mut len = 0usize;
        loop {
            if len == out.len() {
                let room = len.max(2048).min(MAX_PAYLOAD.saturating_add(1).saturating_sub(len));
                let need = len.saturating_add(room);
                // Exactly: the last step is one byte, and would double what is held.
                grow(out, need);
                out.resize(need, 0);
            }
            let result = inflate(&mut self.0, data, out.get_mut(len..).unwrap_or_default(), MZFlush::Sync);
            data = data.get(result.bytes_consumed..).unwrap_or_default();
            len = len.saturating_add(result.bytes_written);
            if len > MAX_PAYLOAD {
                return Err(Fault::Decompression);
            }
            match result.status {
                // A stream never ends in SSH; BufError only says that there is no more input.
                Ok(miniz_oxide::MZStatus::StreamEnd) => return Err(Fault::Decompression),
                Ok(_) | Err(miniz_oxide::MZError::Buf) => {}
                Err(_) => return Err(Fault::Decompression),
            }
            if result.bytes_written == 0 {
                // Only now is it sure that nothing is left: at the end of its window the inflater
                // stops with output still to come, even when all input is taken.
                if data.is_empty() {
                    out.truncate(len);
                    return Ok(());
                }
                if result.bytes_consumed == 0 {
                    return Err(Fault::Decompression);
                }
            }
        }
    }
}

impl Drop for Inflate {
    fn drop(&mut self) {
        *self.0 = InflateState::new(DataFormat::Zlib);
        core::hint::black_box(&self.0);
    }
}

#[cfg(test)]
mod tests;
