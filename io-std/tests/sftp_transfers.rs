//! Files to servers of every temper, and from files that are not what they say.
#![cfg(feature = "server")]

mod memory;

use std::fs;

use konko::core::sftp::{Operation, OperationSet, ServerConfig, StatusCode};
use konko::sftp::{ErrorKind, Links, PutOptions, SftpOptions};
use memory::{Memory, pattern};

#[test]
fn e2_a_server_that_writes_when_a_file_is_closed_is_asked_for_the_size_after_that() {
    let memory = Memory::new();
    let sftp = memory.connect_late();
    let dir = tempfile::tempdir().unwrap();
    let data = pattern(1 << 20);
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("one"), &data).unwrap();
    fs::write(dir.path().join("below/two"), &data[..100]).unwrap();
    assert_eq!(sftp.put_from(&mut &data[..], "from").unwrap(), 1 << 20);
    assert!(sftp.put(dir.path().join("one"), "put").unwrap().size_verified);
    let report = sftp.put_tree(dir.path(), "tree", &PutOptions::new(), Links::Skip).unwrap();
    assert!(report.is_complete() && report.warnings.is_empty(), "{report:?}");
    sftp.write("written", &data).unwrap();
    for name in ["from", "put", "tree/one", "written"] {
        assert!(memory.content(name).unwrap() == data, "{name}");
    }
    assert_eq!(memory.content("tree/below/two").unwrap(), &data[..100]);
}

/// A server that refuses to change attributes of what is there, as Twisted Conch does of open files.
fn cannot(memory: &Memory, deny: &[Operation]) -> konko::Sftp {
    let deny = deny.iter().fold(OperationSet::EMPTY, |set, op| set.with(*op));
    memory.connect_with(SftpOptions::default(), ServerConfig::new().deny(deny))
}

#[test]
fn e3_attributes_that_a_server_does_not_take_are_a_warning_with_preserve_and_nothing_without() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("below")).unwrap();
    fs::write(dir.path().join("one"), "one").unwrap();
    fs::write(dir.path().join("below/two"), "two").unwrap();
    let memory = Memory::new();
    let refusing = [Operation::Fsetstat, Operation::Setstat, Operation::Lsetstat];
    let sftp = cannot(&memory, &refusing);
    // Nobody asked for them: they are not even tried.
    let plain = PutOptions::new().mode(Some(0o640));
    let summary = sftp.put_with(dir.path().join("one"), "plain", &plain).unwrap();
    assert_eq!((summary.attrs_set, summary.attrs_refused), (false, None));
    let report = sftp.put_tree(dir.path(), "plain.d", &PutOptions::new(), Links::Skip).unwrap();
    assert!(report.is_complete() && report.warnings.is_empty(), "{report:?}");
    // The mode goes with OPEN.
    assert_eq!(memory.lock().attrs(b"/plain").unwrap().permissions().unwrap() & 0o777, 0o640);
    // Somebody did.
    let preserve = PutOptions::new().preserve(true);
    let summary = sftp.put_with(dir.path().join("one"), "kept", &preserve).unwrap();
    assert_eq!((summary.bytes, summary.attrs_set), (3, false));
    assert_eq!(summary.attrs_refused.unwrap().code, StatusCode::PERMISSION_DENIED);
    let report = sftp.put_tree(dir.path(), "kept.d", &preserve, Links::Skip).unwrap();
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.files, 2);
    // Two files and two directories.
    assert_eq!(report.warnings.len(), 4, "{:?}", report.warnings);
    assert!(report.warnings.iter().all(|e| e.code() == Some(StatusCode::PERMISSION_DENIED)));
    // A server that can is told.
    let summary = memory.connect().put_with(dir.path().join("one"), "can", &preserve).unwrap();
    assert_eq!((summary.attrs_set, summary.attrs_refused), (true, None));
}

#[test]
fn d7_a_local_file_that_is_cut_while_it_is_sent_is_an_error_and_one_that_is_shorter_than_it_says_is_whole() {
    let memory = Memory::new();
    let sftp = memory.connect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f");
    for atomic in [false, true] {
        fs::write(&path, pattern(32 << 20)).unwrap();
        let cut = path.clone();
        let options = PutOptions::new().atomic(atomic);
        let watched = sftp.on_progress(move |_| {
            fs::OpenOptions::new().write(true).open(&cut).unwrap().set_len(1000).unwrap();
        });
        let error = watched.put_with(&path, "cut", &options).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Local(..)), "{error}");
        assert!(error.to_string().contains("became shorter"), "{error}");
        assert_eq!(memory.content("cut").is_none(), atomic, "what is half there is not put in place");
        let _ = sftp.remove_file("cut");
    }
    #[cfg(target_os = "linux")]
    for name in ["/sys/kernel/mm/transparent_hugepage/enabled", "/sys/class/net/lo/address", "/proc/version"]
    {
        let Ok(content) = fs::read(name) else { continue };
        let summary = sftp.put(name, "made-up").unwrap();
        assert_eq!(summary.bytes, content.len() as u64);
        assert_eq!(memory.content("made-up").unwrap(), content);
    }
}
