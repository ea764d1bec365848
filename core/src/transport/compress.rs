//! zlib compression (RFC 4253 §6.2), one stream a direction and key epoch.

use alloc::boxed::Box;
use alloc::vec::Vec;

use miniz_oxide::deflate::core::{CompressorOxide, create_comp_flags_from_zip_params};
use miniz_oxide::deflate::stream::deflate;
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};

use super::recv::MAX_PAYLOAD;
use crate::error::Fault;

/// Compresses payloads; each ends on a byte boundary (partial flush), so the peer can inflate it.
pub(crate) struct Deflate(Box<CompressorOxide>);

impl Deflate {
    pub(crate) fn new() -> Self {
        // Level 6 and a 15-bit window with a zlib header, as every peer does.
        Deflate(Box::new(CompressorOxide::new(create_comp_flags_from_zip_params(6, 15, 0))))
    }

    /// Appends the compressed form of `payload` through `put`.
    pub(crate) fn compress(&mut self, mut payload: &[u8], mut put: impl FnMut(&[u8])) {
        let mut chunk = [0u8; 4096];
        loop {
            let result = deflate(&mut self.0, payload, &mut chunk, MZFlush::Partial);
            payload = payload.get(result.bytes_consumed..).unwrap_or_default();
            put(chunk.get(..result.bytes_written).unwrap_or_default());
            // A chunk that was not filled means that everything is out.
            if result.bytes_written < chunk.len() && payload.is_empty() {
                return;
            }
            if result.bytes_written == 0 && result.bytes_consumed == 0 {
                return;
            }
        }
    }
}

/// Inflates payloads, never beyond a packet's worth.
pub(crate) struct Inflate(Box<InflateState>);

impl Inflate {
    pub(crate) fn new() -> Self {
        Inflate(InflateState::new_boxed(DataFormat::Zlib))
    }

    /// Replaces the content of `out` with the inflated form of `data`.
    pub(crate) fn decompress(&mut self, mut data: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        out.clear();
        let mut len = 0usize;
        loop {
            if len == out.len() {
                let room = len.max(2048).min(MAX_PAYLOAD.saturating_add(1).saturating_sub(len));
                // Exactly: the last step is one byte, and would double what is held.
                out.reserve_exact(room);
                out.resize(len.saturating_add(room), 0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v25_a_decompression_bomb_stops_at_the_packet_limit() {
        let mut deflate = Deflate::new();
        let mut packed = Vec::new();
        deflate.compress(&alloc::vec![0; 4 << 20], |b| packed.extend_from_slice(b));
        assert!(packed.len() < 8 << 10);
        let mut out = Vec::new();
        assert_eq!(Inflate::new().decompress(&packed, &mut out), Err(Fault::Decompression));
        assert!(out.capacity() <= 2 * MAX_PAYLOAD);
    }

    #[test]
    fn v27_payloads_that_end_just_behind_the_inflaters_window_are_whole() {
        let byte = |i: u64| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
        for size in (32_760..32_800).chain(65_530..65_560) {
            let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
            let (mut packed, mut out) = (Vec::new(), Vec::new());
            for size in [size, 100] {
                let payload: Vec<u8> = (0..size).map(byte).collect();
                packed.clear();
                deflate.compress(&payload, |b| packed.extend_from_slice(b));
                assert_eq!(inflate.decompress(&packed, &mut out), Ok(()), "{size}");
                assert!(out == payload, "{} of {size} bytes", out.len());
            }
        }
    }

    #[test]
    fn v27_payloads_of_every_size_survive_one_stream() {
        let (mut deflate, mut inflate) = (Deflate::new(), Inflate::new());
        let (mut packed, mut out) = (Vec::new(), Vec::new());
        for n in (0..300).chain([2047, 2048, 2049, 4095, 4096, 4097, 32768, MAX_PAYLOAD]) {
            let payload: Vec<u8> = (0..n).map(|i| (i * i % 251) as u8).collect();
            packed.clear();
            deflate.compress(&payload, |b| packed.extend_from_slice(b));
            assert_eq!(inflate.decompress(&packed, &mut out), Ok(()), "{n}");
            assert_eq!(out, payload, "{n}");
        }
    }
}
