//! One request that a server never answers, while it answers all others: the transfer that it belongs to asks
//! again or ends, the others go on, and what comes out of turn meanwhile is kept within the window.

mod sftp;

use std::time::Duration;

use konko_core::crypto::HashAlgorithm;
use konko_core::provider;
use konko_core::sftp::ClientConfig;
use konko_core::sftp::transfer::*;
use sftp::drive::Local;
use sftp::fake::{BUSY, Fake, Habits};
use sftp::pattern;

const LEN: usize = 300_000;
const WINDOW: usize = 64 * 1024;
const READ: u8 = 5;
const WRITE: u8 = 6;
const FSTAT: u8 = 8;
const KINDS: [&str; 11] = [
    "get",
    "ordered",
    "reread",
    "hash",
    "put",
    "put, reread",
    "temporary",
    "resume",
    "copy",
    "read",
    "write",
];

fn config() -> TransferConfig {
    TransferConfig::new().max_bytes(WINDOW).request_len(Some(4096)).provider(Some(provider::rustcrypto()))
}

fn local(starves: (u8, usize), busy: bool) -> Local<Fake> {
    let mut far = Fake::new(Habits { starves: Some(starves), ..Habits::default() });
    far.files.insert(b"f".to_vec(), pattern(LEN));
    far.files.insert(BUSY.to_vec(), Vec::new());
    let mut local = Local::with(far, config(), ClientConfig::default());
    local.rtt = Duration::from_millis(100);
    if busy {
        let options = DownloadOptions::new().end(Some(u64::MAX));
        local.busy = Some(local.transfers.download(BUSY, options));
        (0..10).for_each(|_| assert!(local.round()));
    }
    local
}

/// Starts a transfer of this kind: what is read is `f`, what is written is `g`.
fn start(l: &mut Local<Fake>, kind: &str) -> JobId {
    let get = |ordered, verify| DownloadOptions::new().ordered(ordered).verify(verify);
    let put = |verify, temporary| UploadOptions::new().verify(verify).temporary(temporary);
    let reread = Verify::Reread(HashAlgorithm::Sha256);
    let job = match kind {
        "get" => l.transfers.download(b"f", get(false, Verify::Size)),
        "ordered" => l.transfers.download(b"f", get(true, Verify::Size)),
        "reread" => l.transfers.download(b"f", get(false, reread)),
        "hash" => l.transfers.download(b"f", get(false, Verify::Hash(HashAlgorithm::Sha256))),
        "put" => l.transfers.upload(b"g", put(Verify::Size, None)),
        "put, reread" => l.transfers.upload(b"g", put(reread, None)),
        "temporary" => l.transfers.upload(b"g", put(Verify::Size, Some(b"g.part".to_vec()))),
        "resume" => l.transfers.upload(b"g", UploadOptions::new().resume(true)),
        "copy" => l.transfers.copy(b"f", b"g", UploadOptions::default()),
        "read" => {
            let handle = l.open(b"f");
            l.far.files.insert(b"f".to_vec(), pattern(LEN));
            l.transfers.read(&handle, get(true, Verify::Size))
        }
        "write" => {
            let handle = l.open(b"g");
            let job = l.transfers.write(&handle, 0);
            l.sources.insert(job, pattern(LEN));
            write_all(l, job);
            return job;
        }
        _ => unreachable!(),
    };
    l.sources.insert(job, pattern(LEN));
    job
}

/// What the application of a file object does.
fn write_all(l: &mut Local<Fake>, job: JobId) {
    let mut at = 0;
    while at < LEN {
        let data = l.sources[&job][at..].to_vec();
        at += l.transfers.fill(&mut l.client, job, l.now, |room| {
            let n = room.len().min(data.len());
            room[..n].copy_from_slice(&data[..n]);
            konko_core::sftp::transfer::Local::Data(n)
        });
        if l.transfers.progress(job).is_none() || l.now > konko_core::Time::from_micros(1 << 30) {
            return;
        }
        l.round();
    }
    l.transfers.finish(job);
}

fn touches(kind: &str, number: u8) -> bool {
    match number {
        READ => !matches!(kind, "put" | "temporary" | "resume" | "write"),
        WRITE => matches!(kind, "put" | "put, reread" | "temporary" | "resume" | "copy" | "write"),
        _ => true,
    }
}

/// Stalls of its own are noticed one or two stalls after the request was overtaken.
fn patience(times: u32) -> Duration {
    config().stall * (2 * times + 2)
}

#[test]
fn a10_a_starved_request_is_a_stall_of_its_own_in_every_kind_of_transfer() {
    for kind in KINDS {
        for number in [READ, WRITE].into_iter().filter(|n| touches(kind, *n)) {
            for busy in [false, true] {
                let what = format!("{kind}, request {number}, busy: {busy}");
                let mut l = local((number, 1), busy);
                let job = start(&mut l, kind);
                assert!(l.run_for(job, patience(config().max_stalls + 1)), "{what}: it waits for ever");
                assert!(l.most_held <= WINDOW, "{what}: {} bytes are held", l.most_held);
                // What an application wrote and did not keep cannot be asked for again.
                if kind == "write" {
                    assert_eq!(l.result(job), Err(TransferError::Stalled), "{what}");
                    continue;
                }
                let summary = l.result(job).unwrap_or_else(|e| panic!("{what}: {e}"));
                assert_eq!(summary.bytes, LEN as u64, "{what}");
                let came = l.files.get(&job).or(l.far.files.get(&b"g"[..]));
                assert!(came == Some(&pattern(LEN)), "{what}");
                assert!(l.now < konko_core::Time::from_micros(1) + patience(2), "{what}: {:?}", l.now);
                assert!(l.busy.is_none_or(|busy| !l.ended.contains_key(&busy)));
            }
        }
    }
}

#[test]
fn a10_what_is_never_answered_ends_the_transfer_that_it_belongs_to() {
    // OPEN, CLOSE, READ, WRITE, FSTAT, STAT, RENAME
    for number in [3, 4, READ, WRITE, FSTAT, 17, 18] {
        for kind in KINDS.into_iter().filter(|kind| touches(kind, number)) {
            if number == 3 && matches!(kind, "read" | "write") {
                continue;
            }
            for busy in [false, true] {
                let what = format!("{kind}, request {number}, busy: {busy}");
                let mut l = local((number, usize::MAX), busy);
                let job = start(&mut l, kind);
                assert!(l.run_for(job, patience(2 * config().max_stalls)), "{what}: it waits for ever");
                assert!(l.most_held <= WINDOW, "{what}: {} bytes are held", l.most_held);
                assert!(l.busy.is_none_or(|busy| !l.ended.contains_key(&busy)), "{what}");
                if (kind, number) == ("resume", FSTAT) {
                    assert_eq!(l.result(job), Err(TransferError::Stalled), "where it ends has to be known");
                }
            }
        }
    }
}
