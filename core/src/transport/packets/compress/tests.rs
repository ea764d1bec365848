//! Both directions against another implementation of zlib.

use alloc::string::String;
use alloc::vec;
use std::format;

use proptest::prelude::*;
use zlib_rs::{DeflateFlush, InflateFlush};

use super::*;
use crate::rng::{Rng, Seed};
use crate::transport::TxBuf;

/// One packet's payload on the wire.
fn pack(deflate: &mut Deflate, payload: &[u8], room: Option<usize>) -> Vec<u8> {
    let mut tx = TxBuf::new();
    let mut draft = tx.draft();
    match room {
        None => deflate.compress(payload, &mut draft),
        Some(room) => deflate.compress_by(room, payload, &mut draft),
    }
    let len = draft.len();
    tx.publish(len);
    tx.pending().to_vec()
}

/// The other implementation inflates all that it can.
fn unpack(inflate: &mut zlib_rs::Inflate, packed: &[u8]) -> Vec<u8> {
    let mut out = vec![0; MAX_PAYLOAD + 1];
    let (taken, given) = (inflate.total_in(), inflate.total_out());
    inflate.decompress(packed, &mut out, InflateFlush::SyncFlush).unwrap();
    assert_eq!(inflate.total_in() - taken, packed.len() as u64);
    out.truncate((inflate.total_out() - given) as usize);
    out
}

/// What a peer's packet looks like. zlib wants to be called again while it fills the room it is given.
fn peer_packs(deflate: &mut zlib_rs::Deflate, payload: &[u8], flush: DeflateFlush) -> Vec<u8> {
    let mut out = vec![0; payload.len() * 2 + 4096];
    let (taken, given) = (deflate.total_in(), deflate.total_out());
    // With nothing to compress and nothing to flush, zlib says that it made no progress.
    let _ = deflate.compress(payload, &mut out, flush);
    assert_eq!(deflate.total_in() - taken, payload.len() as u64);
    out.truncate((deflate.total_out() - given) as usize);
    assert!(out.len() < payload.len() * 2 + 4096);
    out
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Noise,
    Text,
    Zeros,
    Mixture,
}

fn payload(kind: Kind, size: usize, rng: &mut Rng) -> Vec<u8> {
    let mut noise = vec![0; size];
    rng.fill(&mut noise);
    let digits = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let text = |b: u8| digits[usize::from(b & 63)];
    match kind {
        Kind::Noise => noise,
        Kind::Text => noise.into_iter().map(text).collect(),
        Kind::Zeros => vec![0; size],
        Kind::Mixture => {
            let mut at = 0;
            while at < size {
                let run = usize::from(noise[at]) * 40 + 1;
                let end = (at + run).min(size);
                match noise[at] % 3 {
                    0 => noise[at..end].fill(b'='),
                    1 => noise[at..end].iter_mut().for_each(|b| *b = text(*b)),
                    _ => {}
                }
                at = end;
            }
            noise
        }
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Noise, Kind::Text, Kind::Zeros, Kind::Mixture])
}

/// Around what matters inside a compressor (chunks, its block of codes, its window), and anything.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        0usize..300,
        4000usize..4200,
        31_700usize..32_050,
        63_400usize..64_100,
        0usize..=MAX_PAYLOAD,
        Just(MAX_PAYLOAD)
    ]
}

/// Sends `payloads` through one stream each way; `Err` names the first that is not whole.
fn through(payloads: &[(Kind, usize)], level: i32, sync: u64, seed: u64) -> Result<(), String> {
    through_by(None, payloads, level, sync, seed)
}

/// The same, where our compressor is lent so much room at a time.
fn through_by(
    room: Option<usize>,
    payloads: &[(Kind, usize)],
    level: i32,
    sync: u64,
    seed: u64,
) -> Result<(), String> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut rng = Rng::from_seed(&Seed::new(bytes));
    let (mut ours, mut theirs) = (Deflate::new(6), zlib_rs::Inflate::new(true, 15));
    let (mut peer, mut inflate) = (zlib_rs::Deflate::new(level, true, 15), Inflate::new());
    let mut out = Vec::new();
    for (n, (kind, size)) in payloads.iter().enumerate() {
        let sent = payload(*kind, *size, &mut rng);
        let packed = pack(&mut ours, &sent, room);
        let came = unpack(&mut theirs, &packed);
        if came != sent {
            return Err(format!("packet {n}: {} of {size} bytes left our side", came.len()));
        }
        // zlib's documentation: at most 5 bytes a 16 KiB block more, and what a flush costs.
        if room.is_none() && packed.len() > size + size / 256 + 64 {
            return Err(format!("packet {n}: {size} bytes became {}", packed.len()));
        }
        let flush =
            if sync >> (n % 64) & 1 == 1 { DeflateFlush::SyncFlush } else { DeflateFlush::PartialFlush };
        let packed = peer_packs(&mut peer, &sent, flush);
        if let Err(e) = inflate.decompress(&packed, &mut out) {
            return Err(format!("packet {n} of {size} bytes: {e:?}"));
        }
        if out != sent {
            return Err(format!("packet {n}: {} of {size} bytes reached our side", out.len()));
        }
    }
    Ok(())
}

#[test]
fn a_higher_level_makes_less_of_the_same() {
    let text: Vec<u8> =
        (0..40_000u32).flat_map(|i| alloc::format!("{}", i * i % 7919).into_bytes()).collect();
    let len = |level| pack(&mut Deflate::new(level), &text, None).len();
    assert!(len(9) < len(1), "{} {}", len(9), len(1));
    // Beyond both ends is the end.
    assert_eq!((len(0), len(200)), (len(1), len(9)));
}

#[test]
fn b0_full_packets_of_noise_are_whole() {
    // What a write of SFTP and a READ reply are: 32 KiB and their headers, one after the other.
    for size in [31_780, 32_768 + 30, 32_768 + 38, 62_000, 65_536] {
        for kind in [Kind::Noise, Kind::Text] {
            for room in [None, Some(64), Some(4096)] {
                let whole = through_by(room, &[(kind, size); 6], 6, 0, 1);
                assert_eq!(whole, Ok(()), "{kind:?} {size} by {room:?}");
            }
        }
    }
    for size in (31_700..31_900).chain(63_450..63_550) {
        assert_eq!(through_by(Some(4096), &[(Kind::Noise, size); 2], 6, 0, 1), Ok(()), "{size}");
    }
}

#[test]
fn b0_one_stream_over_thousands_of_packets() {
    let kinds = [Kind::Noise, Kind::Mixture, Kind::Text, Kind::Zeros];
    let payloads: Vec<_> = (0..3000usize)
        .map(|n| (kinds[n / 7 % 4], n * n % if n % 50 == 0 { 80_000 } else { 4_000 }))
        .collect();
    assert_eq!(through(&payloads, 6, 0xa5a5_0f0f_3333_5555, 2), Ok(()));
}

proptest! {
    #![proptest_config(crate::property::config(32))]

    #[test]
    fn b0_any_sequence_of_payloads_is_whole_in_both_directions(
        payloads in prop::collection::vec((kind(), size()), 1..10),
        level in 0i32..=9,
        sync in any::<u64>(),
        seed in any::<u64>(),
        room in prop::option::of(prop_oneof![64usize..8192, 8192usize..400_000]),
    ) {
        let whole = through_by(room, &payloads, level, sync, seed);
        prop_assert!(whole.is_ok(), "{:?}", whole);
    }
}

#[test]
fn v25_a_decompression_bomb_stops_at_the_packet_limit() {
    let packed = pack(&mut Deflate::new(6), &vec![0; 4 << 20], None);
    assert!(packed.len() < 8 << 10);
    let mut out = Vec::new();
    assert_eq!(Inflate::new().decompress(&packed, &mut out), Err(Fault::Decompression));
    assert!(out.capacity() <= 2 * MAX_PAYLOAD);
}

#[test]
fn v27_payloads_that_end_just_behind_the_inflaters_window_are_whole() {
    for size in (32_760..32_800).chain(65_530..65_560) {
        assert_eq!(through(&[(Kind::Noise, size), (Kind::Noise, 100)], 6, 0, 3), Ok(()), "{size}");
    }
}

#[test]
fn v27_payloads_of_every_size_survive_one_stream() {
    let sizes = (0..300).chain([2047, 2048, 2049, 4095, 4096, 4097, 32768, MAX_PAYLOAD]);
    let payloads: Vec<_> = sizes.map(|n| (Kind::Text, n)).collect();
    assert_eq!(through(&payloads, 6, u64::MAX, 4), Ok(()));
}
