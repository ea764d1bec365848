//! Copies, hashes and limits of the file system behind the SFTP server.
#![cfg(feature = "server")]

#[path = "../../core/tests/property/mod.rs"]
mod property;
mod sftp_rig;

use std::fs;
use std::path::Path;

use konko::core::crypto::{Digest, HashAlgorithm};
use konko::core::sftp::*;
use konko::sftp::Root;
use proptest::prelude::*;
use sftp_rig::{Got, Rig};

const OK: StatusCode = StatusCode::OK;
const NEW: OpenFlags = OpenFlags(OpenFlags::WRITE.0 | OpenFlags::CREATE.0 | OpenFlags::TRUNCATE.0);
const APPEND: OpenFlags = OpenFlags(OpenFlags::WRITE.0 | OpenFlags::CREATE.0 | OpenFlags::APPEND.0);

#[test]
fn a12_a_copy_into_an_append_handle_ends_where_the_file_ends() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("from"), [7; 400]).unwrap();
    fs::write(dir.path().join("to"), [8; 700]).unwrap();
    let mut rig = Rig::new(&Root::open(dir.path()).unwrap().max_file_size(1000));
    let from = rig.open("from", OpenFlags::READ).unwrap();
    let to = rig.open("to", APPEND).unwrap();
    for (len, at) in [(0, 0), (400, 0), (301, 0), (400, 600)] {
        assert_eq!(
            rig.ask(|c| c.copy_data((&from, 0), len, (&to, at))),
            StatusCode::FAILURE,
            "{len} at {at}"
        );
        assert_eq!(fs::metadata(dir.path().join("to")).unwrap().len(), 700);
    }
    assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 300, (&to, 0))), OK);
    assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 1, (&to, 0))), StatusCode::FAILURE);
    assert_eq!(fs::metadata(dir.path().join("to")).unwrap().len(), 1000);
}

/// Any request that can make a file larger.
#[derive(Clone, Debug)]
enum Grow {
    Open(usize, OpenFlags),
    Write(usize, u64, usize),
    Resize(usize, u64),
    ResizePath(usize, u64),
    Copy(usize, u64, u64, usize, u64),
    Rename(usize, usize),
    Link(usize, usize),
}

fn grow() -> impl Strategy<Value = Grow> {
    let (file, at) = (0..3usize, prop_oneof![15 => 0u64..1200, 1 => Just(u64::MAX >> 1)]);
    let flags = prop_oneof![
        Just(NEW),
        Just(APPEND),
        Just(OpenFlags(APPEND.0 | OpenFlags::READ.0)),
        Just(OpenFlags(OpenFlags::READ.0 | OpenFlags::WRITE.0)),
        Just(OpenFlags::READ),
    ];
    prop_oneof![
        3 => (file.clone(), flags).prop_map(|(f, flags)| Grow::Open(f, flags)),
        9 => (file.clone(), at.clone(), 1..700usize).prop_map(|(f, at, n)| Grow::Write(f, at, n)),
        1 => (file.clone(), at.clone()).prop_map(|(f, n)| Grow::Resize(f, n)),
        1 => (file.clone(), at.clone()).prop_map(|(f, n)| Grow::ResizePath(f, n)),
        16 => (file.clone(), at.clone(), 0..700u64, file.clone(), at)
            .prop_map(|(from, start, n, to, at)| Grow::Copy(from, start, n, to, at)),
        1 => (file.clone(), file.clone()).prop_map(|(a, b)| Grow::Rename(a, b)),
        1 => (file.clone(), file).prop_map(|(a, b)| Grow::Link(a, b)),
    ]
}

fn no_file_is_larger(root: &Root, dir: &Path, limit: u64, steps: &[Grow]) -> Result<(), TestCaseError> {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let mut rig = Rig::new(root);
    let mut open: [Option<Handle>; 3] = [None, None, None];
    let first = [OpenFlags(NEW.0 | OpenFlags::READ.0), APPEND, NEW];
    for (place, (name, flags)) in open.iter_mut().zip(NAMES.iter().zip(first)) {
        *place = rig.open(name, flags).ok();
    }
    for step in steps {
        match *step {
            Grow::Open(f, flags) => {
                if let Some(old) = open[f].take() {
                    rig.close(&old);
                }
                open[f] = rig.open(NAMES[f], flags).ok();
            }
            Grow::Write(f, at, n) => {
                let _ = open[f].clone().map(|h| rig.ask(|c| c.write(&h, at, &vec![1; n])));
            }
            Grow::Resize(f, n) => {
                let set = Attrs::new().with_size(n);
                let _ = open[f].clone().map(|h| rig.ask(|c| c.fsetstat(&h, &set)));
            }
            Grow::ResizePath(f, n) => {
                rig.ask(|c| c.setstat(NAMES[f].as_bytes(), &Attrs::new().with_size(n)));
            }
            Grow::Copy(from, start, n, to, at) => {
                if let (Some(from), Some(to)) = (open[from].clone(), open[to].clone()) {
                    rig.ask(|c| c.copy_data((&from, start), n, (&to, at)));
                }
            }
            Grow::Rename(a, b) => {
                rig.ask(|c| c.posix_rename(NAMES[a].as_bytes(), NAMES[b].as_bytes()));
            }
            Grow::Link(a, b) => {
                rig.ask(|c| c.hardlink(NAMES[a].as_bytes(), NAMES[b].as_bytes()));
            }
        }
        for entry in fs::read_dir(dir).unwrap() {
            let size = entry.unwrap().metadata().unwrap().len();
            prop_assert!(size <= limit, "{} bytes after {:?}", size, step);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(property::config(100))]

    #[test]
    fn a12_no_file_is_ever_larger_than_the_limit(steps in prop::collection::vec(grow(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap().max_file_size(1000);
        no_file_is_larger(&root, dir.path(), 1000, &steps)?;
    }
}

/// Files that the system makes up: those of /proc say that they are empty, those of /sys that they have 4096 bytes.
#[cfg(target_os = "linux")]
const MADE_UP: [&str; 4] =
    ["/proc/version", "/proc/filesystems", "/proc/kallsyms", "/sys/kernel/mm/transparent_hugepage/enabled"];

#[cfg(target_os = "linux")]
#[test]
fn d10_copy_data_and_hashes_read_to_the_end_whatever_size_a_file_says() {
    let dir = tempfile::tempdir().unwrap();
    let root = Root::host(dir.path()).unwrap();
    let mut rig = Rig::new(&root.configure(|c| c.extensions = c.extensions.with(Extension::CheckFile)));
    for name in MADE_UP.into_iter().filter(|name| fs::read(name).is_ok()) {
        let content = fs::read(name).unwrap();
        assert_ne!(fs::metadata(name).unwrap().len(), content.len() as u64);
        let from = rig.open(name, OpenFlags::READ).unwrap();
        for flags in [NEW, APPEND] {
            let _ = fs::remove_file(dir.path().join("to"));
            let to = rig.open("to", flags).unwrap();
            assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 0, (&to, 0))), OK, "{name}");
            assert!(fs::read(dir.path().join("to")).unwrap() == content, "{name}");
            // A part, and more than there is (draft-ietf-secsh-filexfer-extensions-00 §7).
            assert_eq!(rig.ask(|c| c.copy_data((&from, 2), 3, (&to, 0))), OK, "{name}");
            let len = content.len() as u64;
            assert_eq!(rig.ask(|c| c.copy_data((&from, 0), len + 1, (&to, 0))), StatusCode::EOF, "{name}");
            rig.close(&to);
        }
        let hash = rig.call(|c| c.check_file(&from, &[HashAlgorithm::Sha256], 0, 0, 0));
        let digest = Digest::of(konko::core::provider::best(), HashAlgorithm::Sha256, &[&content]);
        let Got::FileHash(hash) = hash else { panic!("{name}: {hash:?}") };
        assert_eq!(hash.digests, digest.as_bytes(), "{name}");
        rig.close(&from);
    }
}

#[test]
fn s_16_a_file_that_grows_as_fast_as_it_is_copied_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    fs::write(&path, [1; 1000]).unwrap();
    // Whoever asks whether it is over lets the file grow.
    let log = path.clone();
    let root = Root::open(dir.path()).unwrap();
    let root = root.cancel_when(move || {
        let mut file = fs::OpenOptions::new().append(true).open(&log).unwrap();
        std::io::Write::write_all(&mut file, &[2; 1000]).unwrap();
        file.metadata().unwrap().len() > 1 << 20
    });
    let mut rig = Rig::new(&root);
    let from = rig.open("log", OpenFlags::READ).unwrap();
    let to = rig.open("to", NEW).unwrap();
    assert_eq!(rig.ask(|c| c.copy_data((&from, 0), 0, (&to, 0))), OK);
    assert_eq!(fs::read(dir.path().join("to")).unwrap(), [1; 1000]);
}
