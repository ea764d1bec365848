//! SFTP over real channels on a link with a long round trip: what it fills, and what it never fills.

mod sftp;

use std::time::Duration;

use konko_core::channel::WindowConfig;
use konko_core::sftp::transfer::*;
use konko_test::Pair;
use konko_test::sftp::{Mover, Store, pair as connect, run};
use sftp::pattern;

const GIGABIT: u64 = 125_000_000;

fn big(len: usize) -> Vec<u8> {
    let tile = pattern(1 << 20);
    tile.iter().copied().cycle().take(len).collect()
}

/// Bytes a second that arrive at the other end, once half of the file has. All of it has to arrive unchanged.
fn rate(pair: &mut Pair<Mover, Store>, up: bool, total: usize) -> f64 {
    (pair.link.bandwidth, pair.link.chunk) = (GIGABIT, 64 * 1024);
    let data = big(total);
    let app = &mut pair.client.app;
    if up {
        let job = app.transfers.upload(b"f", UploadOptions::default());
        app.sources.insert(job, data.clone());
    } else {
        app.expected = data.clone();
        pair.server.app.fs.insert(b"f", data.clone()).unwrap();
        app.transfers.download(b"f", DownloadOptions::default());
    }
    let (mut start, mut end) = (None, None);
    pair.drive_until("the file", |p| {
        p.client.app.now = p.now;
        let done = match up {
            true => p.server.app.fs.attrs(b"f").and_then(|a| a.size()).unwrap_or(0) as usize,
            false => p.client.app.got.values().map(|(n, _)| *n as usize).sum(),
        };
        if done >= total / 2 {
            start.get_or_insert((p.now, done));
        }
        if done >= total / 20 * 19 {
            end.get_or_insert((p.now, done));
        }
        p.client.app.transfers.is_empty()
    });
    let app = &pair.client.app;
    assert!(
        app.ended.len() == 1 && app.ended.values().all(|r| r.as_ref().is_ok_and(|s| s.bytes == total as u64))
    );
    if up {
        assert!(pair.server.app.fs.content(b"f").as_deref() == Some(&data[..]));
    } else {
        assert!(app.got.values().all(|g| *g == (total as u64, true)));
    }
    let ((t0, b0), (t1, b1)) = (start.unwrap(), end.unwrap());
    (b1 - b0) as f64 / t1.since(t0).as_secs_f64()
}

#[test]
fn u_01_get_and_put_fill_a_long_fat_link() {
    for up in [false, true] {
        for (ms, total) in [(50, 100 << 20), (200, 320 << 20)] {
            let mut pair = connect(TransferConfig::default(), |_, _| ());
            pair.link.latency = Duration::from_millis(ms / 2);
            let share = rate(&mut pair, up, total) / GIGABIT as f64;
            println!("{ms} ms, up {up}: {:.1} %", share * 100.0);
            assert!(share >= 0.9, "{:.1} % of the link at {ms} ms, up: {up}", share * 100.0);
        }
    }
}

#[test]
fn u_01_a_peer_with_a_fixed_window_or_fixed_requests_gives_what_they_allow() {
    for up in [false, true] {
        // The receiver holds back up to 1 MiB of credit before it adjusts.
        let fixed = WindowConfig::new().initial(16 << 20).max(16 << 20).packet(32 << 10);
        let mut pair = connect(TransferConfig::default(), |c, s| (c.window, s.window) = (fixed, fixed));
        pair.link.latency = Duration::from_millis(200);
        let share = rate(&mut pair, up, 200 << 20) * 0.4 / f64::from(16 << 20);
        println!("up {up}: {:.1} % of window / RTT", share * 100.0);
        assert!(share >= 0.9, "{:.1} % of the window, up: {up}", share * 100.0);
        // A peer that takes no more than 16 requests of 32 KiB.
        let config = TransferConfig::new().max_requests(16).request_len(Some(32 << 10));
        let mut pair = connect(config, |_, _| ());
        pair.link.latency = Duration::from_millis(50);
        let share = rate(&mut pair, up, 20 << 20) * 0.1 / f64::from(512 << 10);
        println!("up {up}: {:.1} % of requests / RTT", share * 100.0);
        assert!(share >= 0.9, "{:.1} % of the requests, up: {up}", share * 100.0);
    }
}

#[test]
fn u_01_a_tree_of_small_files_costs_few_round_trips() {
    for up in [false, true] {
        let mut pair = connect(TransferConfig::default(), |_, _| ());
        let rtt = Duration::from_millis(50);
        (pair.link.latency, pair.link.bandwidth, pair.link.chunk) = (rtt / 2, GIGABIT, 64 * 1024);
        pair.drive_until("the session", |p| p.client.app.client.is_ready());
        let data = pattern(4096);
        pair.client.app.expected = data.clone();
        for i in 0..2000 {
            let name = format!("f{i}");
            let app = &mut pair.client.app;
            if up {
                let job = app.transfers.upload(name.as_bytes(), UploadOptions::default());
                app.sources.insert(job, data.clone());
            } else {
                pair.server.app.fs.insert(name.as_bytes(), data.clone()).unwrap();
                app.transfers.download(name.as_bytes(), DownloadOptions::new().size(Some(4096)));
            }
        }
        let start = pair.now;
        pair.client.app.now = start;
        run(&mut pair, "the tree");
        let took = pair.client.app.last.since(start);
        println!("up {up}: {took:?}");
        assert!(pair.client.app.ended.values().all(|r| r.as_ref().is_ok_and(|s| s.bytes == 4096)));
        assert_eq!(pair.client.app.ended.len(), 2000);
        assert!(pair.client.app.got.values().all(|g| *g == (4096, true)));
        assert!(took <= Duration::from_millis(1500), "{took:?}, up: {up}");
    }
}

#[test]
fn pipelined_reads_through_a_tiny_window_do_not_lock_up() {
    // The requests and the replies each are more than the window holds.
    let tiny = WindowConfig::new().initial(1024).max(1024).packet(1024);
    let config = TransferConfig::new().start_requests(64).request_len(Some(32 << 10));
    for up in [false, true] {
        let mut pair = connect(config, |c, s| (c.window, s.window) = (tiny, tiny));
        let data = pattern(2 << 20);
        pair.client.app.expected = data.clone();
        pair.server.app.fs.insert(b"f", data.clone()).unwrap();
        let get = pair.client.app.transfers.download(b"f", DownloadOptions::default());
        if up {
            let put = pair.client.app.transfers.upload(b"g", UploadOptions::default());
            pair.client.app.sources.insert(put, data.clone());
        }
        run(&mut pair, "both");
        assert!(pair.client.app.ended.values().all(|r| r.is_ok()));
        assert_eq!(pair.client.app.got[&get], (2 << 20, true));
        assert!(pair.client.app.transfers.in_flight().1 >= 60);
        assert!(pair.server.app.most_input <= 1024, "what is not taken is not credited");
    }
}
