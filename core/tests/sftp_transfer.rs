//! Whole files: get, put, copy, file objects, against servers of every temper.

mod sftp;

use konko_core::crypto::HashAlgorithm;
use konko_core::provider;
use konko_core::sftp::transfer::*;
use konko_core::sftp::*;
use sftp::drive::{Local, Own};
use sftp::fake::{Fake, Habits};
use sftp::*;

fn own() -> Local<Own> {
    let config = TransferConfig::new().provider(Some(provider::rustcrypto()));
    Local::new(Own::new(ServerConfig::default()), config)
}

fn fake(habits: Habits, file: &[u8]) -> Local<Fake> {
    let mut far = Fake::new(habits);
    far.files.insert(b"f".to_vec(), file.to_vec());
    let config = TransferConfig::new().provider(Some(provider::rustcrypto()));
    Local::new(far, config)
}

const SIZES: [usize; 9] = [0, 1, 4095, 32_767, 32_768, 32_769, 261_120, 261_121, (1 << 20) + 1];

#[test]
fn files_of_all_sizes_come_and_go_unchanged() {
    for size in SIZES {
        let data = pattern(size);
        let mut l = own();
        l.far.fs.insert(b"f", data.clone()).unwrap();
        let get = l.transfers.download(b"f", DownloadOptions::default());
        let put = l.put("g", data.clone(), UploadOptions::default());
        let copy = l.transfers.copy(b"f", b"h", UploadOptions::default());
        l.run();
        for job in [get, put, copy] {
            let summary = l.result(job).unwrap();
            assert_eq!((summary.bytes, summary.size_verified), (size as u64, true), "{size} {job:?}");
        }
        assert_eq!(l.files.get(&get).cloned().unwrap_or_default(), data);
        assert_eq!(l.far.fs.content(b"g").as_deref(), Some(&data[..]));
        assert_eq!(l.far.fs.content(b"h").as_deref(), Some(&data[..]));
        assert_eq!((l.far.server.open_handles(), l.client.outstanding()), (0, 0));
    }
}

#[test]
fn a_copy_goes_through_this_side_where_the_server_cannot() {
    let data = pattern(3 << 20);
    let mut l = fake(Habits { seed: 1, short: true, reorder: true, ..Habits::default() }, &data);
    let job = l.transfers.copy(b"f", b"g", UploadOptions::default());
    l.run();
    assert_eq!(l.result(job).unwrap().bytes, 3 << 20);
    assert_eq!(l.far.files[&b"g"[..]], data);
}

#[test]
fn hashes_are_compared_by_the_server_or_by_reading_again() {
    let data = pattern(700_000);
    for verify in [Verify::Hash(HashAlgorithm::Sha256), Verify::Reread(HashAlgorithm::Sha512)] {
        let mut l = own();
        l.far.fs.insert(b"f", data.clone()).unwrap();
        let get = l.transfers.download(b"f", DownloadOptions::new().verify(verify));
        let put = l.put("g", data.clone(), UploadOptions::new().verify(verify));
        l.run();
        assert!(l.result(get).unwrap().hash_verified && l.result(put).unwrap().hash_verified);
        assert_eq!(l.files[&get], data);
        assert!(!l.disordered);
        // A server without check-file.
        let mut l = fake(Habits { seed: 3, short: true, reorder: true, ..Habits::default() }, &data);
        let get = l.transfers.download(b"f", DownloadOptions::new().verify(verify));
        let put = l.put("g", data.clone(), UploadOptions::new().verify(verify));
        l.run();
        assert!(l.result(get).unwrap().hash_verified && l.result(put).unwrap().hash_verified);
        assert_eq!((&l.files[&get], &l.far.files[&b"g"[..]]), (&data, &data));
    }
}

#[test]
fn an_upload_takes_its_place_when_it_is_whole_and_leaves_nothing_when_it_is_not() {
    let data = pattern(100_000);
    let mut l = own();
    l.far.fs.insert(b"f", b"old".to_vec()).unwrap();
    let options = UploadOptions::new()
        .temporary(Some(b"f.part".to_vec()))
        .fsync(true)
        .attrs(Some(Attrs::new().with_permissions(0o600).with_times(1, 2)));
    let job = l.put("f", data.clone(), options.clone());
    l.run();
    let summary = l.result(job).unwrap();
    assert!(summary.synced && summary.attrs_set && summary.size_verified);
    assert_eq!(l.far.fs.content(b"f").as_deref(), Some(&data[..]));
    assert_eq!(l.far.fs.list(b"/"), [b"f"]);
    assert_eq!(l.far.fs.attrs(b"f").unwrap().times(), Some(Times { accessed: 1, modified: 2 }));
    // The local side fails in the middle.
    let job = l.put("f", pattern(10 << 20), options);
    (0..3).for_each(|_| {
        l.round();
    });
    l.transfers.local_failure(&mut l.client, job);
    l.run();
    assert_eq!(l.result(job), Err(TransferError::Local));
    assert_eq!(l.far.fs.content(b"f").as_deref(), Some(&data[..]));
    assert_eq!(l.far.fs.list(b"/"), [b"f"], "the temporary file is gone");
    assert_eq!(l.far.server.open_handles(), 0);
}

#[test]
fn get_and_put_go_on_where_they_stopped() {
    let data = pattern(500_000);
    let mut l = own();
    l.far.fs.insert(b"f", data.clone()).unwrap();
    l.far.fs.insert(b"g", data[..123_456].to_vec()).unwrap();
    let get = l.transfers.download(b"f", DownloadOptions::new().offset(400_000));
    let put = l.put("g", data.clone(), UploadOptions::new().resume(true));
    l.run();
    assert_eq!(l.result(get).unwrap().bytes, 100_000);
    assert_eq!(l.files[&get][400_000..], data[400_000..]);
    assert_eq!(l.result(put).unwrap().bytes, 500_000 - 123_456);
    assert_eq!(l.far.fs.content(b"g").as_deref(), Some(&data[..]));
}

#[test]
fn a_range_is_exactly_that() {
    let data = pattern(500_000);
    let mut l = own();
    l.far.fs.insert(b"f", data.clone()).unwrap();
    let options = DownloadOptions::new().offset(1000).end(Some(300_001)).ordered(true);
    let get = l.transfers.download(b"f", options);
    l.run();
    assert_eq!(l.result(get).unwrap().bytes, 299_001);
    assert_eq!(l.files[&get][1000..], data[1000..300_001]);
}

#[test]
fn a_file_object_reads_ahead_as_far_as_it_may_and_writes_behind() {
    let data = pattern(2 << 20);
    let mut l = own();
    l.far.fs.insert(b"f", data.clone()).unwrap();
    let open = |l: &mut Local<Own>, path: &[u8], flags| {
        let id = l.client.open(path, flags, &Attrs::new()).unwrap();
        let out = l.client.tx().pending().to_vec();
        l.client.tx().consume(out.len());
        sftp::drive::Far::receive(&mut l.far, &out);
        let back = sftp::drive::Far::send(&mut l.far).unwrap();
        let got = feed(&mut l.client, &mut l.rx, &back).unwrap();
        got.into_iter().find(|(i, _)| *i == Some(id)).unwrap().1.handle()
    };
    let r = open(&mut l, b"f", OpenFlags::READ);
    let options = DownloadOptions::new().ordered(true).limit(Some(300_000));
    let job = l.transfers.read(&r, options);
    for _ in 0..20 {
        l.round();
    }
    let first = l.files[&job].len();
    assert!((300_000..600_000).contains(&first), "{first}");
    l.transfers.allow(job, u64::MAX);
    l.run();
    assert_eq!((&l.files[&job], l.disordered), (&data, false));
    // Write-behind: data is pushed, the window says how much is taken.
    let w = open(&mut l, b"g", UploadOptions::default().flags);
    let job = l.transfers.write(&w, 0);
    let mut at = 0;
    while at < data.len() {
        let mut more = &data[at..];
        at += l.transfers.fill(&mut l.client, job, l.now, |room| {
            let n = room.len().min(more.len());
            room[..n].copy_from_slice(&more[..n]);
            more = &more[n..];
            transfer::Local::Data(n)
        });
        l.round();
    }
    l.transfers.finish(job);
    l.run();
    assert_eq!(l.result(job).unwrap().bytes, data.len() as u64);
    assert_eq!(l.far.fs.content(b"g").as_deref(), Some(&data[..]));
    assert_eq!(l.far.server.open_handles(), 2, "both stay open");
}

#[test]
fn u_02_a_cancelled_download_stops_at_once() {
    let mut l = fake(Habits::default(), &pattern(8 << 20));
    let job = l.transfers.download(b"f", DownloadOptions::default());
    (0..4).for_each(|_| {
        l.round();
    });
    let before = l.far.reads;
    l.transfers.cancel(&mut l.client, job);
    let in_flight = l.transfers.in_flight().1;
    l.run();
    assert_eq!(l.result(job), Err(TransferError::Cancelled));
    assert!(l.far.reads - before <= in_flight, "nothing is asked for afterwards");
    assert_eq!(l.client.outstanding(), 0);
}

#[test]
fn u_02_a_server_that_answers_only_two_at_a_time_is_read_from_and_written_to() {
    let data = pattern(1 << 20);
    for n in [1, 2, 3] {
        let mut l = fake(Habits { answers: Some(n), ..Habits::default() }, &data);
        let get = l.transfers.download(b"f", DownloadOptions::default());
        l.run();
        assert_eq!(l.result(get).map(|s| s.bytes), Ok(1 << 20), "{n}");
        assert_eq!(l.files[&get], data);
        let mut l = fake(Habits { answers: Some(n), ..Habits::default() }, &[]);
        let put = l.put("g", data.clone(), UploadOptions::default());
        l.run();
        assert_eq!(l.result(put).map(|s| s.bytes), Ok(1 << 20), "{n}");
        assert_eq!(l.far.files[&b"g"[..]], data);
    }
}

#[test]
fn u_02_a_server_that_hangs_up_at_many_requests_is_resumed_with_fewer() {
    let data = pattern(4 << 20);
    let mut have = Vec::new();
    let mut config = TransferConfig::default();
    for _ in 0..10 {
        let mut far = Fake::new(Habits { hangs_up: Some(12), ..Habits::default() });
        far.files.insert(b"f".to_vec(), data.clone());
        let mut l = Local::new(far, config);
        let offset = have.len() as u64;
        let job = l.transfers.download(b"f", DownloadOptions::new().offset(offset));
        l.run();
        let came = l.files.get(&job).cloned().unwrap_or_default();
        match l.result(job) {
            Ok(_) => {
                have.extend_from_slice(&came[have.len()..]);
                break;
            }
            Err(TransferError::Lost { done, in_flight, .. }) => {
                have.extend_from_slice(came.get(have.len()..done as usize).unwrap_or_default());
                config.max_requests = (in_flight / 2).max(1);
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(have, data);
}

#[test]
fn u_28_put_needs_nothing_but_open_write_and_close() {
    let data = pattern(300_000);
    for refuses in [7, 8, 9, 10, 13, 16, 17, 18] {
        let mut l = fake(Habits { refuses: Some(refuses), ..Habits::default() }, &data);
        let attrs = Some(Attrs::new().with_permissions(0o600));
        let put = l.put("g", data.clone(), UploadOptions::new().attrs(attrs));
        let get = l.transfers.download(b"f", DownloadOptions::default());
        l.run();
        assert_eq!(l.result(put).map(|s| s.bytes), Ok(300_000), "{refuses}");
        assert_eq!(l.result(get).map(|s| s.bytes), Ok(300_000), "{refuses}");
        assert_eq!((&l.far.files[&b"g"[..]], &l.files[&get]), (&data, &data));
    }
    for refuses in [3, 4, 5, 6] {
        let mut l = fake(Habits { refuses: Some(refuses), ..Habits::default() }, &data);
        let put = l.put("g", data.clone(), UploadOptions::default());
        let get = l.transfers.download(b"f", DownloadOptions::default());
        l.run();
        let refused = |r: Result<Summary, TransferError>| matches!(r, Err(TransferError::Remote { status, .. }) if status.code == StatusCode::FAILURE);
        assert_eq!(refused(l.result(put)), refuses != 5, "{refuses}");
        assert_eq!(refused(l.result(get)), refuses != 6, "{refuses}");
    }
}

#[test]
fn small_files_of_known_size_take_two_round_trips() {
    let mut l = own();
    let mut jobs = Vec::new();
    for i in 0..80usize {
        let (name, data) = (format!("f{i}"), pattern(i * 50));
        l.far.fs.insert(name.as_bytes(), data.clone()).unwrap();
        let options = DownloadOptions::new().size(Some(data.len() as u64));
        jobs.push((l.transfers.download(name.as_bytes(), options), data));
    }
    let before = l.rounds;
    l.run();
    for (job, data) in jobs {
        assert_eq!(l.result(job).map(|s| s.bytes), Ok(data.len() as u64));
        assert_eq!(l.files.get(&job).cloned().unwrap_or_default(), data);
    }
    assert!(l.rounds - before <= 3, "{}", l.rounds - before);
}

#[test]
fn a_size_from_a_listing_that_is_out_of_date_does_no_harm() {
    for (real, said) in [(100usize, 50u64), (50, 100), (0, 10), (10, 0), (5000, 4095), (9000, 3)] {
        for habits in [
            Habits::default(),
            Habits { closes_first: true, ..Habits::default() },
            Habits { seed: 5, short: true, ..Habits::default() },
        ] {
            let data = pattern(real);
            let mut l = fake(habits.clone(), &data);
            let get = l.transfers.download(b"f", DownloadOptions::new().size(Some(said)));
            l.run();
            assert_eq!(l.result(get).map(|s| s.bytes), Ok(real as u64), "{real} {said} {habits:?}");
            assert_eq!(l.files.get(&get).cloned().unwrap_or_default(), data);
        }
    }
}

#[test]
fn more_files_than_the_server_opens_at_a_time() {
    for max_handles in [2, 5, 30] {
        let config = ServerConfig::new().max_handles(max_handles);
        let mut l = Local::new(Own::new(config), TransferConfig::default());
        // Somebody else has one of them, which limits do not tell.
        let id = l.client.opendir(b"/").unwrap();
        let jobs: Vec<_> =
            (0..60).map(|i| l.put(&format!("f{i}"), pattern(i * 1000), UploadOptions::default())).collect();
        l.run();
        let _ = id;
        for (i, job) in jobs.iter().enumerate() {
            assert_eq!(l.result(*job).map(|s| s.bytes), Ok(i as u64 * 1000), "{max_handles}");
            assert_eq!(l.far.fs.content(format!("f{i}").as_bytes()).as_deref(), Some(&pattern(i * 1000)[..]));
        }
    }
}

#[test]
fn files_that_grow_shrink_or_lie_about_their_size() {
    let data = pattern(2 << 20);
    let shrink = Habits { changes: Some((5, 100_000)), ..Habits::default() };
    let mut l = fake(shrink, &data);
    let get = l.transfers.download(b"f", DownloadOptions::default());
    l.run();
    assert!(matches!(l.result(get), Err(TransferError::Truncated { .. } | TransferError::Changed)));
    let mut l = fake(Habits { changes: Some((3, (2 << 20) + 500_000)), ..Habits::default() }, &data);
    let get = l.transfers.download(b"f", DownloadOptions::default());
    l.run();
    assert_eq!(l.result(get).unwrap().bytes, l.files[&get].len() as u64);
    assert_eq!(l.files[&get], l.far.files[&b"f"[..]], "what was added came as well");
    // Files of /proc have a size of 0.
    for (lies, mute) in [(Some(0), false), (None, true), (Some(1), false)] {
        let mut l = fake(Habits { lies, mute, ..Habits::default() }, &data);
        let get = l.transfers.download(b"f", DownloadOptions::default());
        l.run();
        assert_eq!(l.files[&get], data, "{lies:?} {mute}");
        l.result(get).unwrap();
    }
    let mut l = fake(Habits { lies: Some(3 << 20), ..Habits::default() }, &data);
    let get = l.transfers.download(b"f", DownloadOptions::default());
    l.run();
    assert_eq!(l.result(get), Err(TransferError::Truncated { expected: 3 << 20, got: 2 << 20 }));
    let put = l.put("g", data.clone(), UploadOptions::default());
    l.run();
    assert_eq!(l.result(put), Err(TransferError::SizeMismatch { expected: 2 << 20, got: 3 << 20 }));
}

#[test]
fn one_request_at_a_time_for_servers_that_want_it() {
    let data = pattern(500_000);
    let config = TransferConfig::new().sequential(true);
    let mut far = Fake::new(Habits { hangs_up: Some(2), ..Habits::default() });
    far.files.insert(b"f".to_vec(), data.clone());
    let mut l = Local::new(far, config);
    let get = l.transfers.download(b"f", DownloadOptions::default());
    l.run();
    assert_eq!((l.result(get).map(|s| s.bytes), &l.files[&get]), (Ok(500_000), &data));
    assert!(l.transfers.in_flight().1 <= 1);
}

#[test]
fn d7_a_file_that_is_shorter_than_its_size_is_all_there_is_if_nobody_changed_it() {
    let data = pattern(100_000);
    for (ordered, verify) in [
        (false, Verify::Size),
        (true, Verify::Size),
        (false, Verify::Reread(HashAlgorithm::Sha256)),
        (false, Verify::Hash(HashAlgorithm::Sha256)),
    ] {
        for lies in [100_001, 1 << 40] {
            let options = DownloadOptions::new().ordered(ordered).verify(verify);
            let quiet = Habits { lies: Some(lies), modified: Some((5, 5)), ..Habits::default() };
            let mut l = fake(quiet, &data);
            let get = l.transfers.download(b"f", options.clone());
            l.run();
            let summary = l.result(get).unwrap();
            assert!(l.files[&get] == data, "{verify:?}");
            assert_eq!((summary.bytes, summary.size), (100_000, 100_000));
            // Somebody did, and it may have been longer; or nobody says when it was.
            for modified in [Some((5, 6)), None] {
                let mut l = fake(Habits { lies: Some(lies), modified, ..Habits::default() }, &data);
                let get = l.transfers.download(b"f", options.clone());
                l.run();
                let truncated = TransferError::Truncated { expected: lies, got: 100_000 };
                assert_eq!(l.result(get), Err(truncated), "{modified:?} {verify:?}");
            }
        }
    }
    // A file of few bytes is fetched with one READ and closed behind it, and then asked for once more.
    let mut l = fake(Habits { lies: Some(4096), modified: Some((5, 5)), ..Habits::default() }, b"up\n");
    let get = l.transfers.download(b"f", DownloadOptions::new().size(Some(4096)));
    l.run();
    assert_eq!((l.result(get).unwrap().bytes, &l.files[&get][..]), (3, &b"up\n"[..]));
    // Cut while it is read, its size is another one.
    let cut = Habits { changes: Some((2, 70_000)), modified: Some((5, 5)), ..Habits::default() };
    let mut l = fake(cut, &data);
    let get = l.transfers.download(b"f", DownloadOptions::default());
    l.run();
    assert!(l.result(get).is_err());
}

#[test]
fn d10_a_copy_is_whole_whatever_size_the_file_says() {
    let data = pattern(100_000);
    for copies in [None, Some(usize::MAX)] {
        // Of /proc, of /sys, and of a server that tells none.
        for (lies, mute) in [(Some(0), false), (Some(1), false), (Some(200_000), false), (None, true)] {
            let (modified, honest_of) = (Some((5, 5)), Some(&b"g"[..]));
            let habits = Habits { copies, lies, mute, modified, honest_of, ..Habits::default() };
            let mut l = fake(habits, &data);
            let copy = l.transfers.copy(b"f", b"g", UploadOptions::default());
            l.run();
            let summary = l.result(copy).unwrap_or_else(|e| panic!("{copies:?} {lies:?} {mute}: {e}"));
            assert!(l.far.files[&b"g"[..]] == data, "{copies:?} {lies:?}");
            if !(copies.is_some() && mute) {
                assert_eq!(summary.bytes, 100_000, "{copies:?} {lies:?}");
            }
        }
    }
    // A server that copies only a part, and says that all is well.
    for (copied, lies) in [(0, None), (99_999, None), (50_000, Some(200_000)), (50_000, Some(50_001))] {
        let honest_of = Some(&b"g"[..]);
        let mut l = fake(Habits { copies: Some(copied), lies, honest_of, ..Habits::default() }, &data);
        let copy = l.transfers.copy(b"f", b"g", UploadOptions::default());
        l.run();
        let expected = lies.unwrap_or(100_000);
        let got = copied as u64;
        assert_eq!(l.result(copy), Err(TransferError::SizeMismatch { expected, got }));
        assert!(l.transfers.is_empty());
    }
}

#[test]
fn e2_what_is_written_at_close_is_measured_after_it() {
    let data = pattern(100_000);
    for (reorder, seed) in [(false, 0), (true, 1), (true, 2), (true, 3)] {
        let habits = Habits { writes_late: true, reorder, seed, ..Habits::default() };
        let mut l = fake(habits.clone(), b"");
        let put = l.put("g", data.clone(), UploadOptions::default());
        l.run();
        assert!(l.result(put).unwrap().size_verified);
        // What is different then is an error.
        let mut l = fake(Habits { lies: Some(0), ..habits }, b"");
        let put = l.put("g", data.clone(), UploadOptions::default());
        l.run();
        assert_eq!(l.result(put), Err(TransferError::SizeMismatch { expected: 100_000, got: 0 }));
    }
}

/// Files of one size, so that it does not tell them apart.
fn many(ident: &[u8]) -> (Local<Fake>, Vec<(JobId, Vec<u8>)>) {
    let mut far = Fake::new(Habits { twins: true, ..Habits::default() });
    let file = |i: usize| vec![i as u8 + 1; 40_000];
    (0..20).for_each(|i| drop(far.files.insert(format!("f{i}").into_bytes(), file(i))));
    let config = ClientConfig::default().for_server(ident);
    let mut l = Local::with(far, TransferConfig::default(), config);
    let mut jobs = Vec::new();
    for i in 0..20 {
        jobs.push((l.put(&format!("g{i}"), file(i), UploadOptions::default()), file(i)));
        jobs.push((l.transfers.download(format!("f{i}").as_bytes(), DownloadOptions::default()), file(i)));
        let (from, to) = (format!("f{i}"), format!("h{i}"));
        jobs.push((l.transfers.copy(from.as_bytes(), to.as_bytes(), UploadOptions::default()), file(i)));
    }
    l.run();
    (l, jobs)
}

#[test]
fn e2_files_that_a_server_gives_one_handle_are_never_mixed_up() {
    // It is known: no more files are open than it can tell apart.
    let (l, jobs) = many(b"SSH-2.0-Erlang/4.15.2");
    for (i, (job, _)) in jobs.iter().enumerate() {
        l.result(*job).unwrap_or_else(|e| panic!("{i}: {e}"));
    }
    for i in 0..20 {
        let expected = &jobs[3 * i].1;
        assert_eq!(&l.files[&jobs[3 * i + 1].0], expected);
        assert_eq!(&l.far.files[format!("g{i}").as_bytes()], expected);
        assert_eq!(&l.far.files[format!("h{i}").as_bytes()], expected);
    }
    // It is not: that is an error, and nothing ends well.
    let (l, jobs) = many(b"SSH-2.0-somebody");
    assert_eq!(l.error.as_ref().unwrap().fault(), Fault::HandleInUse);
    assert!(jobs.iter().all(|(job, _)| l.result(*job).is_err()));
}
