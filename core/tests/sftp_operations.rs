//! Every operation and extension, between our client and our server.

mod sftp;

use konko_core::crypto::{Digest, HashAlgorithm};
use konko_core::provider;
use konko_core::sftp::*;
use sftp::*;

const RW: OpenFlags = OpenFlags(0x03);
const MAKE: OpenFlags = OpenFlags(0x1a);

#[test]
fn a_file_is_written_read_and_closed() {
    let mut j = Joined::new();
    let h = j.open("f", MAKE);
    let data = pattern(600_000);
    for (i, piece) in data.chunks(200_000).enumerate() {
        assert_eq!(j.call(|c| c.write(&h, i as u64 * 200_000, piece)), OK);
    }
    assert_eq!(j.call(|c| c.fstat(&h)).attrs().size(), Some(600_000));
    assert_eq!(j.call(|c| c.fsync(&h)), OK);
    assert_eq!(j.call(|c| c.close(&h)), OK);
    assert_eq!(j.fs.content(b"/f").as_deref(), Some(&data[..]));
    let h = j.open("f", OpenFlags::READ);
    assert_eq!(j.call(|c| c.read(&h, 0, u32::MAX)), Got::Data(data[..261_120].to_vec()));
    assert_eq!(j.call(|c| c.read(&h, 599_990, 100)), Got::Data(data[599_990..].to_vec()));
    assert_eq!(j.call(|c| c.read(&h, 600_000, 100)), Got::Status(StatusCode::EOF));
    assert_eq!(j.call(|c| c.write(&h, 0, b"x")), Got::Status(StatusCode::PERMISSION_DENIED));
    assert_eq!(j.call(|c| c.close(&h)), OK);
    assert_eq!(j.call(|c| c.close(&h)), Got::Status(StatusCode::FAILURE));
    assert_eq!(j.server.open_handles(), 0);
    assert_eq!(j.client.outstanding(), 0);
}

#[test]
fn flags_of_open() {
    let mut j = Joined::new();
    let open = |j: &mut Joined, flags| j.call(|c| c.open(b"f", flags, &Attrs::new()));
    assert_eq!(open(&mut j, OpenFlags::READ), Got::Status(StatusCode::NO_SUCH_FILE));
    let h = open(&mut j, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE).handle();
    assert_eq!(j.call(|c| c.write(&h, 0, b"hello")), OK);
    let again = open(&mut j, OpenFlags::WRITE | OpenFlags::CREATE | OpenFlags::EXCLUSIVE);
    assert_eq!(again, Got::Status(StatusCode::FAILURE));
    let a = open(&mut j, OpenFlags::WRITE | OpenFlags::APPEND).handle();
    assert_eq!(j.call(|c| c.write(&a, 0, b" world")), OK);
    assert_eq!(j.fs.content(b"f").as_deref(), Some(&b"hello world"[..]));
    open(&mut j, OpenFlags::WRITE | OpenFlags::TRUNCATE).handle();
    assert_eq!(j.fs.content(b"f").as_deref(), Some(&b""[..]));
}

#[test]
fn attributes_are_set_by_path_handle_and_link() {
    let mut j = Joined::new();
    let h = j.open("f", MAKE);
    j.call(|c| c.write(&h, 0, b"0123456789"));
    let set = Attrs::new().with_permissions(0o640).with_times(5, 6).with_size(4);
    assert_eq!(j.call(|c| c.setstat(b"f", &set)), OK);
    let attrs = j.call(|c| c.stat(b"/f")).attrs();
    assert_eq!((attrs.permissions(), attrs.size()), (Some(0o100_640), Some(4)));
    assert_eq!(attrs.times(), Some(Times { accessed: 5, modified: 6 }));
    assert_eq!(j.fs.content(b"f").as_deref(), Some(&b"0123"[..]), "cut, not emptied");
    assert_eq!(j.call(|c| c.fsetstat(&h, &Attrs::new().with_size(6))), OK);
    assert_eq!(j.fs.content(b"f").as_deref(), Some(&b"0123\0\0"[..]));
    assert_eq!(j.call(|c| c.symlink(b"f", b"l")), OK);
    assert_eq!(j.call(|c| c.lsetstat(b"l", &Attrs::new().with_times(1, 2))), OK);
    let link = j.call(|c| c.lstat(b"l")).attrs();
    assert!(link.is_symlink() && link.times() == Some(Times { accessed: 1, modified: 2 }));
    assert!(j.call(|c| c.stat(b"l")).attrs().is_file());
}

#[test]
fn directories_are_made_listed_and_removed() {
    let mut j = Joined::new();
    assert_eq!(j.call(|c| c.mkdir(b"d", &Attrs::new().with_permissions(0o700))), OK);
    assert_eq!(j.call(|c| c.mkdir(b"d", &Attrs::new())), Got::Status(StatusCode::FAILURE));
    let long = [b'n'; 200];
    for i in 0..500 {
        let path = [b"d/", &long[..], format!("{i:04}").as_bytes()].concat();
        j.fs.insert(&path, vec![1]).unwrap();
    }
    let h = j.call(|c| c.opendir(b"d")).handle();
    let mut all = Vec::new();
    loop {
        match j.call(|c| c.readdir(&h)) {
            Got::Names(names) => all.extend(names),
            Got::Status(StatusCode::EOF) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(all.len(), 502);
    assert_eq!(j.call(|c| c.read(&h, 0, 1)), Got::Status(StatusCode::FAILURE), "a directory is no file");
    assert_eq!(j.call(|c| c.close(&h)), OK);
    assert_eq!(j.call(|c| c.rmdir(b"d")), Got::Status(StatusCode::FAILURE), "not empty");
    for name in all.iter().filter(|n| n.len() > 2) {
        assert_eq!(j.call(|c| c.remove(&[b"d/", &name[..]].concat())), OK);
    }
    assert_eq!(j.call(|c| c.remove(b"d")), Got::Status(StatusCode::FAILURE));
    assert_eq!(j.call(|c| c.rmdir(b"d")), OK);
}

#[test]
fn paths_links_and_names() {
    let mut j = Joined::new();
    j.fs.insert(b"/a/b/f", b"x".to_vec()).unwrap();
    assert_eq!(j.call(|c| c.realpath(b"")), Got::Path(b"/".to_vec()));
    assert_eq!(j.call(|c| c.realpath(b"a/./b/../b//f")), Got::Path(b"/a/b/f".to_vec()));
    assert_eq!(j.call(|c| c.realpath(b"../../..")), Got::Path(b"/".to_vec()));
    assert_eq!(j.call(|c| c.realpath(b"a/new")), Got::Path(b"/a/new".to_vec()));
    assert_eq!(j.call(|c| c.symlink(b"b/f", b"a/l")), OK);
    assert_eq!(j.call(|c| c.readlink(b"a/l")), Got::Path(b"b/f".to_vec()));
    assert_eq!(j.call(|c| c.expand_path(b"~/a")), Got::Path(b"/a".to_vec()));
    assert_eq!(j.call(|c| c.home_directory(b"")), Got::Path(b"/".to_vec()));
    assert_eq!(j.call(|c| c.hardlink(b"a/b/f", b"g")), OK);
    assert_eq!(j.fs.content(b"g").as_deref(), Some(&b"x"[..]));
    j.fs.set_name(1000, "alice");
    let names = j.call(|c| c.users_groups_by_id(&[1000, 7], &[7, 1000]));
    let alice = Some(b"alice".to_vec());
    let expected = UsersGroups { users: vec![alice.clone(), None], groups: vec![None, alice] };
    assert_eq!(names, Got::UsersGroups(expected));
    let name = b"\xff\xfe not utf-8 \x01";
    j.fs.insert(name, vec![]).unwrap();
    assert_eq!(j.call(|c| c.realpath(name)), Got::Path([b"/", &name[..]].concat()));
}

#[test]
fn s_30_rename_does_not_replace_and_posix_rename_does() {
    let mut j = Joined::new();
    j.fs.insert(b"a", b"a".to_vec()).unwrap();
    j.fs.insert(b"b", b"b".to_vec()).unwrap();
    assert_eq!(j.call(|c| c.rename(b"a", b"b")), Got::Status(StatusCode::FAILURE));
    assert_eq!(j.fs.content(b"b").as_deref(), Some(&b"b"[..]));
    assert_eq!(j.call(|c| c.posix_rename(b"a", b"b")), OK);
    assert_eq!(j.fs.content(b"b").as_deref(), Some(&b"a"[..]));
    assert_eq!(j.call(|c| c.rename(b"b", b"c")), OK);
    assert_eq!(j.fs.list(b"/"), [b"c"]);
}

#[test]
fn copy_data_copies_and_check_file_hashes() {
    let mut j = Joined::new();
    let data = pattern(100_000);
    j.fs.insert(b"from", data.clone()).unwrap();
    let (from, to) = (j.open("from", OpenFlags::READ), j.open("to", MAKE));
    assert_eq!(j.call(|c| c.copy_data((&from, 0), 0, (&to, 0))), OK);
    assert_eq!(j.fs.content(b"to").as_deref(), Some(&data[..]));
    assert_eq!(j.call(|c| c.copy_data((&from, 10), 20, (&to, 5))), OK);
    assert_eq!(&j.fs.content(b"to").as_deref().unwrap()[5..25], &data[10..30]);
    let digest =
        |algorithm, data: &[u8]| Digest::of(provider::rustcrypto(), algorithm, &[data]).as_bytes().to_vec();
    let whole = j.call(|c| c.check_file_name(b"from", &[HashAlgorithm::Sha256], 0, 0, 0));
    let expected =
        FileHash { algorithm: HashAlgorithm::Sha256, digests: digest(HashAlgorithm::Sha256, &data) };
    assert_eq!(whole, Got::FileHash(expected));
    for algorithm in [HashAlgorithm::Md5, HashAlgorithm::Sha1, HashAlgorithm::Sha512] {
        let blocks =
            j.call(|c| c.check_file(&from, &[algorithm, HashAlgorithm::Sha256], 1000, 70_000, 32_768));
        let digests = data[1000..71_000].chunks(32_768).flat_map(|b| digest(algorithm, b)).collect();
        assert_eq!(blocks, Got::FileHash(FileHash { algorithm, digests }));
    }
    let small = j.call(|c| c.check_file(&from, &[HashAlgorithm::Sha256], 0, 0, 255));
    assert_eq!(small, Got::Status(StatusCode::FAILURE));
}

#[test]
fn figures_limits_and_what_is_announced() {
    let mut j = Joined::new();
    let all: Vec<Extension> = Extension::all().collect();
    assert!(all.iter().all(|e| j.client.supports(*e)), "{:?}", j.client.extensions());
    let Got::StatVfs(vfs) = j.call(|c| c.statvfs(b"/")) else { panic!() };
    assert_eq!(vfs.blocks, (64 << 20) / 4096);
    let h = j.open("f", RW | OpenFlags::CREATE);
    assert_eq!(j.call(|c| c.fstatvfs(&h)), Got::StatVfs(vfs));
    let limits = Limits { packet: 262_144, read: 261_120, write: 261_120, handles: 100 };
    assert_eq!(j.client.limits(), limits, "asked for by the machine");
    assert_eq!(j.call(|c| c.query_limits()), Got::Limits(limits));
    assert_eq!(j.call(|c| c.extended(b"frob@example.org", b"x")), Got::Status(StatusCode::OP_UNSUPPORTED));
}

#[test]
fn the_same_however_the_bytes_are_cut() {
    for chunk in [1, 3, 7, 1000] {
        let mut j = Joined::new();
        j.chunk = chunk;
        let h = j.open("f", MAKE | OpenFlags::READ);
        let data = pattern(5000);
        assert_eq!(j.call(|c| c.write(&h, 0, &data)), OK);
        assert_eq!(j.call(|c| c.read(&h, 0, 9000)), Got::Data(data));
        assert_eq!(j.call(|c| c.close(&h)), OK);
    }
}

#[test]
fn many_requests_at_once_are_answered_each() {
    let mut j = Joined::new();
    let data = pattern(1 << 20);
    j.fs.insert(b"f", data.clone()).unwrap();
    let h = j.open("f", OpenFlags::READ);
    let ids: Vec<_> = (0..64).map(|i| j.client.read(&h, i * 16_384, 16_384).unwrap()).collect();
    let events = j.exchange();
    for (i, id) in ids.iter().enumerate() {
        let got = events.iter().find(|(x, _)| *x == Some(*id)).map(|(_, g)| g.clone());
        assert_eq!(got, Some(Got::Data(data[i * 16_384..][..16_384].to_vec())));
    }
}

#[test]
fn a_cancelled_request_makes_no_event_and_its_handle_is_closed() {
    let mut j = Joined::new();
    j.fs.insert(b"f", pattern(100_000)).unwrap();
    let h = j.open("f", OpenFlags::READ);
    let open = j.client.open(b"f", OpenFlags::READ, &Attrs::new()).unwrap();
    let read = j.client.read(&h, 0, 100_000).unwrap();
    j.client.cancel(open);
    j.client.cancel(read);
    assert_eq!(j.exchange(), []);
    assert_eq!((j.client.outstanding(), j.server.open_handles()), (0, 1));
}

#[test]
fn a_close_waits_for_what_came_before_it() {
    let mut j = Joined::new();
    j.fs.insert(b"f", b"data".to_vec()).unwrap();
    let h = j.open("f", RW);
    // A file system that answers late, and backwards.
    let read = j.client.read(&h, 0, 10).unwrap();
    let write = j.client.write(&h, 0, b"DATA").unwrap();
    let close = j.client.close(&h).unwrap();
    let late = j.client.read(&h, 0, 10).unwrap();
    let bytes = j.client.tx().pending().to_vec();
    let mut input = &bytes[..];
    let mut tickets = Vec::new();
    while let Some(request) = j.server.poll(&mut j.server_rx, &mut input).unwrap() {
        tickets.push(request.ticket);
    }
    let asked: Vec<Operation> = tickets.iter().map(Ticket::operation).collect();
    assert_eq!(asked, [Operation::Read, Operation::Write], "no CLOSE, and no READ behind it");
    j.server.reply_status(tickets.pop().unwrap(), StatusCode::OK).unwrap();
    assert!(j.server.poll(&mut j.server_rx, &mut input).unwrap().is_none());
    j.server.reply(tickets.pop().unwrap(), Answer::Data(b"data".to_vec())).unwrap();
    let request = j.server.poll(&mut j.server_rx, &mut input).unwrap().unwrap();
    assert!(matches!(request.op, Op::Close { .. }));
    j.server.reply_status(request.ticket, StatusCode::OK).unwrap();
    let out = j.server.tx().pending().to_vec();
    let got = feed(&mut j.client, &mut j.client_rx, &out).unwrap();
    let expected = [
        (Some(late), Got::Status(StatusCode::FAILURE)),
        (Some(write), OK),
        (Some(read), Got::Data(b"data".to_vec())),
        (Some(close), OK),
    ];
    assert_eq!(got, expected);
    assert_eq!(j.server.open_handles(), 0);
}
