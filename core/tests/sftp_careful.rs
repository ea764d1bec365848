//! What is there already is touched only when there is something to put in its place, and never lost to itself.

mod sftp;

use konko_core::sftp::transfer::*;
use konko_core::sftp::*;
use sftp::drive::{Local, Own};
use sftp::*;

fn own() -> Local<Own> {
    Local::new(Own::new(ServerConfig::default()), TransferConfig::default())
}

fn careful() -> UploadOptions {
    UploadOptions::new().careful(true)
}

#[test]
fn d1_a_source_that_cannot_be_opened_leaves_the_target_as_it_is() {
    let mut l = own();
    l.far.fs.insert(b"f", b"good".to_vec()).unwrap();
    let before = l.far.fs.attrs(b"f");
    let jobs = ["f", "new"].map(|path| {
        let job = l.put(path, b"other".to_vec(), careful());
        l.known.insert(job, None);
        job
    });
    l.run();
    for job in jobs {
        assert_eq!(l.result(job), Err(TransferError::Local));
    }
    assert_eq!((l.far.fs.content(b"f").as_deref(), l.far.fs.attrs(b"f")), (Some(&b"good"[..]), before));
    assert_eq!((l.far.fs.content(b"new").as_deref(), l.far.server.open_handles()), (None, 0));
}

#[test]
fn d1_a_careful_put_arrives_as_any_other() {
    for size in [0, 1, 40_000, 1 << 20] {
        for options in [careful(), careful().fresh(true)] {
            let mut l = own();
            // Longer than what comes, and not the same.
            l.far.fs.insert(b"old", pattern(size + 7)).unwrap();
            let data = vec![7; size];
            let jobs = ["old", "new"].map(|path| l.put(path, data.clone(), options.clone()));
            l.run();
            for job in jobs {
                assert_eq!(l.result(job).map(|s| (s.size, s.size_verified)), Ok((size as u64, true)));
            }
            assert_eq!(
                (l.far.fs.content(b"old").as_deref(), l.far.fs.content(b"new").as_deref()),
                (Some(&data[..]), Some(&data[..]))
            );
        }
    }
}

/// As if both were one file: what is cut there is cut here.
#[test]
fn d3_a_file_put_onto_itself_is_not_cut() {
    let data = pattern(200_000);
    let mut l = own();
    l.far.fs.insert(b"f", data.clone()).unwrap();
    let attrs = l.far.fs.attrs(b"f").unwrap();
    let job = l.put("f", data.clone(), careful());
    l.known.insert(job, Some(attrs.clone()));
    while !l.ended.contains_key(&job) {
        l.round();
        assert_eq!(l.far.fs.content(b"f").as_deref(), Some(&data[..]), "at no moment");
    }
    assert!(l.result(job).unwrap().size_verified);
    // Another time of change, and it is another file; without one nobody knows.
    for (changed, same) in [(Some(1), false), (None, true)] {
        let mut l = own();
        l.far.fs.insert(b"f", data.clone()).unwrap();
        let mut attrs = attrs.clone();
        attrs = match changed {
            Some(by) => {
                let times = attrs.times().unwrap();
                attrs.with_times(times.accessed, times.modified.wrapping_add(by))
            }
            None => {
                Attrs::new().with_size(attrs.size().unwrap()).with_permissions(attrs.permissions().unwrap())
            }
        };
        let job = l.put("f", vec![1; 200_000], careful());
        l.known.insert(job, Some(attrs));
        let mut cut = false;
        while !l.ended.contains_key(&job) {
            l.round();
            cut |= l.far.fs.content(b"f").unwrap().len() < 200_000;
        }
        assert_eq!((cut, l.far.fs.content(b"f").as_deref()), (!same, Some(&[1; 200_000][..])));
    }
}

#[test]
fn d2_d3_a_copy_looks_at_its_source_first_and_keeps_what_it_may_be() {
    for extensions in [ServerConfig::default().extensions, ExtensionSet::EMPTY] {
        let config = ServerConfig::new().extensions(extensions);
        let mut l = Local::new(Own::new(config), TransferConfig::default());
        let data = pattern(300_000);
        l.far.fs.insert(b"f", data.clone()).unwrap();
        l.far.fs.insert(b"dir/x", b"x".to_vec()).unwrap();
        l.far.fs.insert(b"target", b"keep".to_vec()).unwrap();
        for (from, to) in [("nothing", "target"), ("dir", "target"), ("nothing", "new")] {
            let job = l.transfers.copy(from.as_bytes(), to.as_bytes(), UploadOptions::default());
            l.run();
            assert!(l.result(job).is_err(), "{from}");
        }
        assert_eq!(
            (l.far.fs.content(b"target").as_deref(), l.far.fs.content(b"new").as_deref()),
            (Some(&b"keep"[..]), None)
        );
        let job = l.transfers.copy(b"f", b"f", UploadOptions::default());
        l.run();
        assert_eq!(l.far.fs.content(b"f").as_deref(), Some(&data[..]), "{:?}", l.result(job));
        assert!(l.result(job).is_ok(), "{:?}", l.result(job));
        let job = l.transfers.copy(b"f", b"target", UploadOptions::default());
        l.run();
        assert_eq!(l.far.fs.content(b"target").as_deref(), Some(&data[..]), "{:?}", l.result(job));
        assert_eq!(l.far.server.open_handles(), 0);
    }
}
