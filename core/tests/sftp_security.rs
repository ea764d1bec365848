//! The rows of group S that are the machines' own.

mod sftp;

use konko_core::sftp::*;
use konko_core::wire::Sink;
use sftp::fake::status;
use sftp::*;

/// A client that has VERSION, and one request of each kind that waits for its reply.
fn ready() -> (SftpClient, MsgBuf) {
    let config = ClientConfig::new().assume(ExtensionSet::all().without(Extension::Limits));
    let (mut client, mut rx) = (SftpClient::new(config), MsgBuf::new());
    assert_eq!(feed(&mut client, &mut rx, &packet(2, &[0, 0, 0, 3])).unwrap(), [(None, Got::Ready)]);
    (client, rx)
}

fn some_handle(client: &mut SftpClient, rx: &mut MsgBuf) -> Handle {
    let id = client.open(b"f", OpenFlags::READ, &Attrs::new()).unwrap();
    let got = feed(client, rx, &reply(102, number(id), |f| f.put_string(b"h"))).unwrap();
    got.into_iter().next().unwrap().1.handle()
}

/// The number on the wire; its `Debug` form shows it.
fn number(id: RequestId) -> u32 {
    format!("{id:?}").chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

fn reply(kind: u8, id: u32, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut f = id.to_be_bytes().to_vec();
    fields(&mut f);
    packet(kind, &f)
}

fn fault(client: &mut SftpClient, rx: &mut MsgBuf, bytes: &[u8]) -> Fault {
    let error = feed(client, rx, bytes).unwrap_err();
    assert_eq!(feed(client, rx, b"more").unwrap_err(), error, "errors are sticky");
    assert_eq!(client.stat(b"x"), Err(UsageError::Ended));
    error.fault()
}

fn names(entries: &[(&[u8], &[u8])]) -> impl FnOnce(&mut Vec<u8>) {
    move |f| {
        f.put_u32(entries.len() as u32);
        for (name, long) in entries {
            f.put_string(name);
            f.put_string(long);
            f.put_u32(0);
        }
    }
}

type Ask = (Operation, fn(&mut SftpClient, &Handle) -> Result<RequestId, UsageError>);

/// One request of each kind of answer.
const ASKS: [Ask; 8] = [
    (Operation::Open, |c, _| c.open(b"f", OpenFlags::READ, &Attrs::new())),
    (Operation::Close, |c, h| c.close(h)),
    (Operation::Read, |c, h| c.read(h, 0, 10)),
    (Operation::Readdir, |c, h| c.readdir(h)),
    (Operation::Realpath, |c, _| c.realpath(b".")),
    (Operation::Stat, |c, _| c.stat(b"f")),
    (Operation::Statvfs, |c, _| c.statvfs(b"f")),
    (Operation::Extended, |c, _| c.extended(b"x@y", b"")),
];

#[test]
fn s_01_length_fields_out_of_bounds_end_both_ends() {
    for len in [0u32, (256 << 10) + 1, u32::MAX] {
        let (mut client, mut rx) = ready();
        let bytes = [&len.to_be_bytes()[..], &[101, 0, 0]].concat();
        assert_eq!(fault(&mut client, &mut rx, &bytes), Fault::MessageLength);
        let mut j = Joined::new();
        let error = j.server.poll(&mut j.server_rx, &mut &bytes[..]).err().unwrap();
        assert_eq!(error.fault(), Fault::MessageLength);
    }
}

#[test]
fn s_02_unknown_and_repeated_ids_end_the_session() {
    let (mut client, mut rx) = ready();
    let id = number(client.stat(b"f").unwrap());
    for unknown in [id + 1, id + (1 << 12), u32::MAX] {
        let (mut client, mut rx) = ready();
        client.stat(b"f").unwrap();
        assert_eq!(fault(&mut client, &mut rx, &status(unknown, 0)), Fault::UnknownRequest);
    }
    feed(&mut client, &mut rx, &status(id, 2)).unwrap();
    assert_eq!(fault(&mut client, &mut rx, &status(id, 2)), Fault::UnknownRequest);
    // A cancelled request is answered once as well, and its number is not used again at once.
    let (mut client, mut rx) = ready();
    let id = client.stat(b"f").unwrap();
    client.cancel(id);
    assert_eq!(feed(&mut client, &mut rx, &status(number(id), 0xffff)).unwrap(), []);
    assert_ne!(client.stat(b"f").unwrap(), id);
    assert_eq!(fault(&mut client, &mut rx, &status(number(id), 2)), Fault::UnknownRequest);
}

#[test]
fn s_03_each_request_takes_only_its_own_kind_of_reply() {
    for (op, ask) in ASKS {
        for kind in [102u8, 103, 104, 105, 201] {
            let (mut client, mut rx) = ready();
            let handle = some_handle(&mut client, &mut rx);
            let id = number(ask(&mut client, &handle).unwrap());
            let bytes = match kind {
                102 | 103 => reply(kind, id, |f| f.put_string(b"data")),
                104 => reply(kind, id, names(&[(b"a", b"a")])),
                105 => reply(kind, id, |f| f.put_u32(0)),
                _ => reply(kind, id, |f| f.extend([0; 88])),
            };
            let right = match op {
                Operation::Open => kind == 102,
                Operation::Read => kind == 103,
                Operation::Readdir | Operation::Realpath => kind == 104,
                Operation::Stat => kind == 105,
                Operation::Statvfs | Operation::Extended => kind == 201,
                _ => false,
            };
            match feed(&mut client, &mut rx, &bytes) {
                Ok(events) => assert!(right && events.len() == 1, "{op} {kind}"),
                Err(error) => {
                    assert!(!right, "{op} {kind}: {error}");
                    assert_eq!(error.fault(), Fault::WrongReply);
                }
            }
        }
        // Success without what was asked for is no success.
        let (mut client, mut rx) = ready();
        let handle = some_handle(&mut client, &mut rx);
        let id = number(ask(&mut client, &handle).unwrap());
        let plain = matches!(op, Operation::Close | Operation::Extended);
        assert_eq!(feed(&mut client, &mut rx, &status(id, 0)).is_ok(), plain, "{op}");
    }
    for kind in [0u8, 1, 2, 3, 20, 100, 106, 200, 255] {
        let (mut client, mut rx) = ready();
        let id = number(client.stat(b"f").unwrap());
        assert_eq!(fault(&mut client, &mut rx, &reply(kind, id, |f| f.put_u32(0))), Fault::UnexpectedMessage);
    }
}

#[test]
fn s_04_data_is_never_more_than_asked_for_and_never_none() {
    for n in [0usize, 11, 12, 100_000] {
        let (mut client, mut rx) = ready();
        let handle = some_handle(&mut client, &mut rx);
        let id = number(client.read(&handle, 0, 10).unwrap());
        let bytes = reply(103, id, |f| f.put_string(&vec![7; n]));
        assert_eq!(fault(&mut client, &mut rx, &bytes), Fault::DataLength, "{n}");
    }
    // A length that is not that of the message.
    for said in [3u32, 5, u32::MAX] {
        let (mut client, mut rx) = ready();
        let handle = some_handle(&mut client, &mut rx);
        let id = number(client.read(&handle, 0, 10).unwrap());
        let bytes = reply(103, id, |f| {
            f.put_u32(said);
            f.extend(b"data");
        });
        assert_eq!(fault(&mut client, &mut rx, &bytes), Fault::Malformed);
    }
}

/// A request for the server, and the code of the status that answers it; `None`: something else did.
fn ask(j: &mut Joined, kind: u8, fields: impl FnOnce(&mut Vec<u8>)) -> Option<u32> {
    let bytes = reply(kind, 77, fields);
    let mut input = &bytes[..];
    j.server.run(&mut j.session, &mut j.server_rx, &mut input).unwrap();
    assert!(input.is_empty());
    let out = j.server.tx().pending().to_vec();
    j.server.tx().consume(out.len());
    assert_eq!(&out[5..9], &77u32.to_be_bytes());
    (out[4] == 101).then(|| u32::from_be_bytes(out[9..13].try_into().unwrap()))
}

fn put_handle(f: &mut Vec<u8>, handle: &Handle) {
    f.put_string(handle.as_bytes());
}

#[test]
fn s_05_a_read_gives_255_kib_at_most() {
    let mut j = Joined::new();
    j.fs.insert(b"f", pattern(600_000)).unwrap();
    let h = j.open("f", OpenFlags::READ);
    for (len, got) in [(u32::MAX, 261_120), (261_121, 261_120), (1, 1)] {
        let bytes = reply(5, 1, |f| {
            put_handle(f, &h);
            f.put_u64(0);
            f.put_u32(len);
        });
        j.server.run(&mut j.session, &mut j.server_rx, &mut &bytes[..]).unwrap();
        assert_eq!(j.server.tx().len(), got + 13);
        let n = j.server.tx().len();
        j.server.tx().consume(n);
    }
    let read = |len| {
        let h = h.clone();
        move |f: &mut Vec<u8>| {
            put_handle(f, &h);
            f.put_u64(600_000);
            f.put_u32(len);
        }
    };
    assert_eq!(ask(&mut j, 5, read(0)), None, "no data, as OpenSSH answers");
    assert_eq!(ask(&mut j, 5, read(1)), Some(1));
}

#[test]
fn s_06_counts_of_names_and_long_names() {
    for count in [2u32, 100, u32::MAX] {
        let (mut client, mut rx) = ready();
        let handle = some_handle(&mut client, &mut rx);
        let id = number(client.readdir(&handle).unwrap());
        let bytes = reply(104, id, |f| {
            f.put_u32(count);
            f.extend([0; 12]);
        });
        assert_eq!(fault(&mut client, &mut rx, &bytes), Fault::Malformed);
    }
    for n in [0, 2] {
        let (mut client, mut rx) = ready();
        let id = number(client.realpath(b".").unwrap());
        let entries = [(&b"a"[..], &b"a"[..]), (b"b", b"b")];
        let bytes = reply(104, id, names(&entries[..n]));
        assert_eq!(fault(&mut client, &mut rx, &bytes), Fault::Malformed, "exactly one path, not {n}");
    }
    // Long names are bytes for people, whatever they hold.
    let (mut client, mut rx) = ready();
    let handle = some_handle(&mut client, &mut rx);
    let id = number(client.readdir(&handle).unwrap());
    let long = vec![b'x'; 64 << 10];
    let bytes = reply(104, id, names(&[(b"a", b""), (b"b", &long), (b"c", b"\xff\x1b[31m")]));
    let got = feed(&mut client, &mut rx, &bytes).unwrap();
    assert_eq!(got[0].1, Got::Names(vec![b"a".to_vec(), b"b".to_vec(), b"c".to_vec()]));
}

#[test]
fn s_07_a_handle_that_was_not_given_out_opens_nothing() {
    let mut j = Joined::new();
    j.fs.insert(b"f", b"secret".to_vec()).unwrap();
    let h = j.open("f", OpenFlags::READ);
    let dir = j.call(|c| c.opendir(b"/")).handle();
    let closed = j.open("f", OpenFlags::READ);
    j.call(|c| c.close(&closed));
    // The same, in the place of the closed one.
    let reopened = j.open("f", OpenFlags::READ);
    assert_ne!(reopened, closed);
    let mut other = Joined::with(ClientConfig::default(), ServerConfig::default());
    other.server = SftpServer::new(ServerConfig::default(), &seed(2));
    let real = h.as_bytes();
    let mut wrong: Vec<Vec<u8>> = [0, 3, 5, 255, 256, 257, 5000].iter().map(|n| vec![0; *n]).collect();
    wrong.extend((0..real.len() * 8).map(|bit| {
        let mut h = real.to_vec();
        h[bit / 8] ^= 1 << (bit % 8);
        h
    }));
    wrong.push([real, b"\0"].concat());
    wrong.push(real[..real.len() - 1].to_vec());
    wrong.push(closed.as_bytes().to_vec());
    wrong.push(dir.as_bytes().to_vec());
    for handle in wrong {
        let read = ask(&mut j, 5, |f| {
            f.put_string(&handle);
            f.put_u64(0);
            f.put_u32(10);
        });
        assert_eq!(read, Some(4), "{handle:02x?}");
        let written = ask(&mut j, 6, |f| {
            f.put_string(&handle);
            f.put_u64(0);
            f.put_string(b"x");
        });
        assert!(matches!(written, Some(4 | 5)), "{handle:02x?}");
    }
    assert_eq!(ask(&mut j, 12, |f| put_handle(f, &h)), Some(4), "a file in READDIR");
    assert_eq!(j.call(|c| c.read(&h, 0, 10)), Got::Data(b"secret".to_vec()));
}

#[test]
fn s_08_handles_are_limited_and_come_back() {
    let mut j = Joined::new();
    j.fs.insert(b"f", vec![]).unwrap();
    let handles: Vec<Handle> = (0..100).map(|_| j.open("f", OpenFlags::READ)).collect();
    for _ in 0..1000 {
        let over = j.call(|c| c.open(b"f", OpenFlags::READ, &Attrs::new()));
        assert_eq!(over, Got::Status(StatusCode::FAILURE));
        assert_eq!(j.call(|c| c.opendir(b"/")), Got::Status(StatusCode::FAILURE));
    }
    // What does not open takes no place.
    j.call(|c| c.close(&handles[7]));
    for _ in 0..1000 {
        let none = j.call(|c| c.open(b"nothing", OpenFlags::READ, &Attrs::new()));
        assert_eq!(none, Got::Status(StatusCode::NO_SUCH_FILE));
    }
    j.open("f", OpenFlags::READ);
    assert_eq!((j.server.open_handles(), j.server.finish().len()), (100, 100));
}

#[test]
fn s_12_nothing_changes_in_read_only_mode() {
    let mut j = Joined::with(ClientConfig::default(), ServerConfig::new().read_only(true));
    j.fs.insert(b"f", b"data".to_vec()).unwrap();
    let h = j.open("f", OpenFlags::READ);
    let denied = Got::Status(StatusCode::PERMISSION_DENIED);
    for flags in (1..0x40u32).filter(|f| *f != 1) {
        let got = j.call(|c| c.open(b"new", OpenFlags(flags), &Attrs::new()));
        assert!(
            matches!(got, Got::Status(StatusCode::PERMISSION_DENIED | StatusCode::BAD_MESSAGE)),
            "{flags:x}"
        );
    }
    let set = Attrs::new().with_permissions(0o600);
    assert_eq!(j.call(|c| c.write(&h, 0, b"x")), denied);
    assert_eq!(j.call(|c| c.setstat(b"f", &set)), denied);
    assert_eq!(j.call(|c| c.fsetstat(&h, &set)), denied);
    assert_eq!(j.call(|c| c.remove(b"f")), denied);
    assert_eq!(j.call(|c| c.mkdir(b"d", &set)), denied);
    assert_eq!(j.call(|c| c.rmdir(b"d")), denied);
    assert_eq!(j.call(|c| c.rename(b"f", b"g")), denied);
    assert_eq!(j.call(|c| c.symlink(b"f", b"l")), denied);
    // Extensions that change something are not announced, and refused all the same.
    for name in [
        "posix-rename@openssh.com",
        "hardlink@openssh.com",
        "fsync@openssh.com",
        "lsetstat@openssh.com",
        "copy-data",
    ] {
        assert!(!j.client.announced().any(|(n, _)| n == name.as_bytes()), "{name}");
        assert_eq!(j.call(|c| c.extended(name.as_bytes(), &[0; 40])), denied);
    }
    // The table of operations has no other row that writes than these.
    assert_eq!(Operation::all().filter(|op| op.writes()).count(), 8 + 5);
    assert_eq!(j.call(|c| c.read(&h, 0, 10)), Got::Data(b"data".to_vec()));
    assert_eq!(j.fs.list(b"/"), [b"f"]);
}

#[test]
fn request_lists_decide_before_the_file_system_does() {
    let allow = OperationSet::parse("open,read,close,stat,statvfs").unwrap();
    let deny = OperationSet::EMPTY.with(Operation::Stat);
    let mut j = Joined::with(ClientConfig::default(), ServerConfig::new().allow(allow).deny(deny));
    j.fs.insert(b"f", b"data".to_vec()).unwrap();
    let h = j.open("f", OpenFlags::READ);
    assert_eq!(j.call(|c| c.read(&h, 0, 10)), Got::Data(b"data".to_vec()));
    let denied = Got::Status(StatusCode::PERMISSION_DENIED);
    assert_eq!(j.call(|c| c.stat(b"f")), denied);
    assert_eq!(j.call(|c| c.lstat(b"f")), denied);
    assert_eq!(j.call(|c| c.fstat(&h)), denied);
    let announced: Vec<&[u8]> = j.client.announced().map(|(n, _)| n).collect();
    assert_eq!(announced, [b"statvfs@openssh.com"]);
}

#[test]
fn s_13_flags_and_modes_that_cannot_be_meant() {
    let mut j = Joined::with(ClientConfig::default(), ServerConfig::new().umask(0o022));
    let bad = Got::Status(StatusCode::BAD_MESSAGE);
    for flags in [0u32, 0x08, 0x10, 0x20, 0x22, 0x11, 0x05, 0x42, 0x8000_0001] {
        assert_eq!(j.call(|c| c.open(b"f", OpenFlags(flags), &Attrs::new())), bad, "{flags:x}");
    }
    assert_eq!(j.fs.list(b"/").len(), 0);
    let mode = Attrs::new().with_permissions(0o7777);
    j.call(|c| c.open(b"f", OpenFlags(0x0a), &mode)).handle();
    assert_eq!(j.fs.attrs(b"f").unwrap().permissions(), Some(0o100_755), "no setuid, and the umask");
    // What is there already is changed as it was asked, or not at all.
    for special in [0o7777, 0o4755, 0o2775, 0o1777, 0o104_755] {
        let denied = Got::Status(StatusCode::PERMISSION_DENIED);
        assert_eq!(j.call(|c| c.setstat(b"f", &Attrs::new().with_permissions(special))), denied);
        assert_eq!(j.fs.attrs(b"f").unwrap().permissions(), Some(0o100_755));
    }
    assert_eq!(j.call(|c| c.setstat(b"f", &Attrs::new().with_permissions(0o100_777))), OK);
    assert_eq!(j.fs.attrs(b"f").unwrap().permissions(), Some(0o100_777));
    assert_eq!(j.call(|c| c.mkdir(b"d", &mode)), OK);
    assert_eq!(j.fs.attrs(b"d").unwrap().permissions(), Some(0o040_755));
}

#[test]
fn s_14_unknown_attribute_bits_in_a_request_are_a_bad_message() {
    let mut j = Joined::new();
    j.fs.insert(b"f", vec![]).unwrap();
    let bits = ask(&mut j, 9, |f| {
        f.put_string(b"f");
        f.put_u32(0x10);
    });
    assert_eq!(bits, Some(5));
    // But what stands behind a request is passed over: some send the flags of version 4 with STAT.
    let trailing = ask(&mut j, 17, |f| {
        f.put_string(b"f");
        f.put_u32(0xffff_ffff);
    });
    assert_eq!(trailing, None);
}

#[test]
fn s_15_init_first_and_once_and_version_three() {
    let init = |version: u32| packet(1, &version.to_be_bytes());
    let serve = |bytes: &[u8]| {
        let (mut server, mut rx) = (SftpServer::new(ServerConfig::default(), &seed(1)), MsgBuf::new());
        let result = server.poll(&mut rx, &mut &bytes[..]).map(drop).map_err(|e| e.fault());
        (result, server.tx().pending().to_vec())
    };
    for version in [0, 1, 2] {
        assert_eq!(serve(&init(version)), (Err(Fault::Version), vec![]));
    }
    for version in [3, 4, 6, u32::MAX] {
        let (result, out) = serve(&init(version));
        assert_eq!((result, &out[4..9]), (Ok(()), &[2, 0, 0, 0, 3][..]));
    }
    assert_eq!(serve(&[init(3), init(3)].concat()).0, Err(Fault::UnexpectedMessage));
    assert_eq!(serve(&packet(17, &[0; 8])).0, Err(Fault::UnexpectedMessage));
    let write = reply(6, 1, |f| {
        f.put_string(b"h");
        f.put_u64(0);
        f.put_string(b"x");
    });
    assert_eq!(serve(&write).0, Err(Fault::UnexpectedMessage));
    let greet = |bytes: &[u8], config: ClientConfig| {
        feed(&mut SftpClient::new(config), &mut MsgBuf::new(), bytes).map(|_| ()).map_err(|e| e.fault())
    };
    let version = |n: u32, rest: &[u8]| packet(2, &[&n.to_be_bytes()[..], rest].concat());
    let newer = ClientConfig::new().accept_newer_version(true);
    for (n, result) in [(0, Fault::Version), (2, Fault::Version), (4, Fault::Version), (6, Fault::Version)] {
        assert_eq!(greet(&version(n, &[]), ClientConfig::default()), Err(result));
    }
    assert_eq!(greet(&version(6, &[]), newer), Ok(()));
    let odd = version(3, b"\0\0\0\x01a");
    assert_eq!(greet(&odd, ClientConfig::default()), Err(Fault::Malformed));
    let pairs = |n: usize| b"\0\0\0\x01a\0\0\0\0".repeat(n);
    assert_eq!(greet(&version(3, &pairs(64)), ClientConfig::default()), Ok(()));
    assert_eq!(greet(&version(3, &pairs(65)), ClientConfig::default()), Err(Fault::Malformed));
    let twice = [version(3, &[]), version(3, &[])].concat();
    assert_eq!(greet(&twice, ClientConfig::default()), Err(Fault::UnexpectedMessage));
}

#[test]
fn s_16_copy_data_never_runs_into_itself() {
    let mut j = Joined::new();
    j.fs.insert(b"f", pattern(1000)).unwrap();
    let rw = j.open("f", OpenFlags(3));
    let failed = Got::Status(StatusCode::FAILURE);
    for (from, len, to) in [(0, 0, 1000), (0, 100, 50), (50, 100, 0), (0, 1, 0)] {
        assert_eq!(j.call(|c| c.copy_data((&rw, from), len, (&rw, to))), failed);
    }
    assert_eq!(j.call(|c| c.copy_data((&rw, 0), 100, (&rw, 100))), OK);
    // The same file under another name and handle.
    j.call(|c| c.hardlink(b"f", b"g"));
    let g = j.open("g", OpenFlags(2));
    assert_eq!(j.call(|c| c.copy_data((&rw, 0), 0, (&g, 1))), failed);
    assert_eq!(j.fs.content(b"f").unwrap().len(), 1000);
}

#[test]
fn a3_s_18_names_that_a_server_sends_are_one_safe_component_or_none() {
    use UnsafeName::{Character, Device, Directory, Empty, End};
    // What goes elsewhere on every system.
    for (name, why) in [
        (&b""[..], Empty),
        (b".", Directory),
        (b"..", Directory),
        (b"../x", Character(b'/')),
        (b"/x", Character(b'/')),
        (b"a/b", Character(b'/')),
        (b"x/", Character(b'/')),
        (b"a\0", Character(0)),
    ] {
        for rules in [NameRules::Unix, NameRules::Windows] {
            assert_eq!(rules.check(name), Err(why), "{rules:?} {name:?}");
        }
        assert!(!is_safe_name(name) && !why.to_string().is_empty());
    }
    // What is a name on Unix, and something else to Windows.
    for (name, why) in [
        (&b"a\\b"[..], Character(b'\\')),
        (b"\\\\host", Character(b'\\')),
        (b"C:", Character(b':')),
        (b"x:stream", Character(b':')),
        (b"a?", Character(b'?')),
        (b"a*", Character(b'*')),
        (b"\"a\"", Character(b'"')),
        (b"a|b", Character(b'|')),
        (b"<a", Character(b'<')),
        (b"a\n", Character(b'\n')),
        (b"a.", End),
        (b"a ", End),
        (b"...", End),
        (b"con", Device),
        (b"NUL.txt", Device),
        (b"aux .c", Device),
        (b"com1", Device),
        (b"LPT9.x", Device),
        (b"com\xc2\xb2", Device),
        (b"CONIN$", Device),
    ] {
        assert_eq!(NameRules::Unix.check(name), Ok(()), "{name:?}");
        assert_eq!(NameRules::Windows.check(name), Err(why), "{name:?}");
        assert_eq!(is_safe_name(name), !cfg!(windows), "{name:?}");
    }
    // What is a name everywhere.
    for name in
        [&b"a"[..], b".hidden", b"..x", b"\xff\xfe", b"console", b"com", b"com10", b"comX", b"a b", b"nul1"]
    {
        assert_eq!(
            (NameRules::Unix.check(name), NameRules::Windows.check(name)),
            (Ok(()), Ok(())),
            "{name:?}"
        );
    }
}

#[test]
fn a2_the_last_name_of_a_path_is_one_or_means_what_is_in_a_directory() {
    for (path, name) in [
        (&b"a"[..], Some(&b"a"[..])),
        (b"a/b", Some(b"b")),
        (b"/a/b//", Some(b"b")),
        (b"a:b", Some(b"a:b")),
        (b"x/aux", Some(b"aux")),
        (b"...", Some(b"...")),
        (b"", None),
        (b"/", None),
        (b".", None),
        (b"./", None),
        (b"a/.", None),
        (b"a/..", None),
        (b"a/.//", None),
    ] {
        assert_eq!(last_name(path), name, "{path:?}");
    }
}

#[test]
fn s_20_s_27_what_a_server_says_cannot_steer_a_terminal() {
    let (mut client, mut rx) = ready();
    let handle = some_handle(&mut client, &mut rx);
    let nasty = b"\x1b]0;x\x07\x9b\xe2\x80\xae";
    let dir = number(client.readdir(&handle).unwrap());
    let stat = number(client.stat(b"f").unwrap());
    let bytes = [
        reply(104, dir, names(&[(nasty, nasty)])),
        reply(101, stat, |f| {
            f.put_u32(4);
            f.put_string(&nasty.repeat(1000));
            f.put_string(nasty);
        }),
    ]
    .concat();
    let mut input = &bytes[..];
    let mut shown = String::new();
    while let Some(event) = client.poll(&mut rx, &mut input).unwrap() {
        shown += &format!("{event:?}");
        if let Event::Reply { reply: Reply::Status(s), .. } = &event {
            assert!(s.message.len() <= 4096);
            shown += &s.to_string();
        }
        if let Event::Reply { reply: Reply::Names(n), .. } = &event {
            n.iter().for_each(|e| shown += &e.long_name.to_string());
        }
    }
    assert!(shown.bytes().all(|b| (0x20..0x7f).contains(&b) || b >= 0x80), "{shown:?}");
    assert!(!shown.contains('\u{202e}') && !shown.contains('\u{9b}'));
}

#[test]
fn s_25_offsets_that_no_file_has() {
    let mut j = Joined::new();
    let h = j.open("f", OpenFlags(0x0b));
    for offset in [(1u64 << 63) - 1, u64::MAX, u64::MAX - 5] {
        assert_eq!(j.call(|c| c.write(&h, offset, b"x")), Got::Status(StatusCode::FAILURE));
        assert_eq!(j.call(|c| c.read(&h, offset, 10)), Got::Status(StatusCode::FAILURE));
    }
    for size in [u64::MAX, 1 << 63] {
        let set = Attrs::new().with_size(size);
        assert_eq!(j.call(|c| c.setstat(b"f", &set)), Got::Status(StatusCode::FAILURE));
        assert_eq!(j.call(|c| c.fsetstat(&h, &set)), Got::Status(StatusCode::FAILURE));
    }
    assert_eq!(j.call(|c| c.write(&h, 1 << 40, b"x")), Got::Status(StatusCode::FAILURE), "no space");
    assert_eq!(j.fs.content(b"f").as_deref(), Some(&b""[..]));
}

#[test]
fn s_27_statuses_without_words_and_codes_that_nobody_knows() {
    for fields in
        [&[0u8, 0, 0, 4][..], &[0, 0, 0, 4, 0, 0, 0, 1, b'x'], &[0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0]]
    {
        let (mut client, mut rx) = ready();
        let id = number(client.stat(b"f").unwrap());
        let got = feed(&mut client, &mut rx, &reply(101, id, |f| f.extend(fields))).unwrap();
        assert_eq!(got[0].1, Got::Status(StatusCode::FAILURE));
    }
    let (mut client, mut rx) = ready();
    let id = number(client.stat(b"f").unwrap());
    let got = feed(&mut client, &mut rx, &status(id, 31)).unwrap();
    assert_eq!(got[0].1, Got::Status(StatusCode(31)));
    assert_eq!(StatusCode(31).to_string(), "unknown status 31");
}

#[test]
fn s_31_errors_of_close_and_fsync_reach_the_application() {
    let (mut client, mut rx) = ready();
    let handle = some_handle(&mut client, &mut rx);
    for id in [client.fsync(&handle).unwrap(), client.close(&handle).unwrap()] {
        let got = feed(&mut client, &mut rx, &status(number(id), 4)).unwrap();
        assert_eq!(got, [(Some(id), Got::Status(StatusCode::FAILURE))]);
    }
}

#[test]
fn s_32_owners_change_only_where_that_is_allowed() {
    let mut j = Joined::new();
    let root = Attrs::new().with_owner(0, 0);
    let h = j.call(|c| c.open(b"f", OpenFlags(0x0a), &root)).handle();
    assert_eq!(j.fs.attrs(b"f").unwrap().owner(), Some(Owner { uid: 1000, gid: 1000 }));
    let denied = Got::Status(StatusCode::PERMISSION_DENIED);
    assert_eq!(j.call(|c| c.setstat(b"f", &root)), denied);
    assert_eq!(j.call(|c| c.fsetstat(&h, &root)), denied);
    assert_eq!(j.call(|c| c.lsetstat(b"f", &root)), denied);
    let mut j = Joined::with(ClientConfig::default(), ServerConfig::new().allow_chown(true));
    j.open("f", OpenFlags(0x0a));
    assert_eq!(j.call(|c| c.setstat(b"f", &root)), OK);
    assert_eq!(j.fs.attrs(b"f").unwrap().owner(), Some(Owner { uid: 0, gid: 0 }));
}

#[test]
fn u_22_text_before_the_first_packet_is_shown() {
    for text in [
        &b"Welcome to \x1b[31mhost\r\n"[..],
        b"/bin/sh: sftp-server: not found\n",
        b"\0\0\0\x01hello",
        b"This account is currently not available.\n",
    ] {
        let (mut client, mut rx) = (SftpClient::new(ClientConfig::default()), MsgBuf::new());
        let error = feed(&mut client, &mut rx, text).unwrap_err();
        assert_eq!(error.fault(), Fault::NotSftp);
        let shown = error.to_string();
        assert!(shown.contains("login script") && !shown.contains('\x1b'), "{shown}");
    }
    let version = packet(2, &[0, 0, 0, 3]);
    let config = ClientConfig::new().skip_preamble(100);
    for cut in [1, 2, 5, 100] {
        let (mut client, mut rx) = (SftpClient::new(config.clone()), MsgBuf::new());
        let bytes = [&b"Last login: today\r\n"[..], &version].concat();
        let events: Vec<_> = bytes.chunks(cut).flat_map(|c| feed(&mut client, &mut rx, c).unwrap()).collect();
        assert_eq!(events, [(None, Got::Ready)], "{cut}");
    }
    let (mut client, mut rx) = (SftpClient::new(config), MsgBuf::new());
    let error = feed(&mut client, &mut rx, &[b'x'; 200]).unwrap_err();
    assert_eq!(error.fault(), Fault::NotSftp);
}

#[test]
fn the_end_of_the_channel_is_told_with_what_was_open() {
    let (mut client, mut rx) = ready();
    client.stat(b"f").unwrap();
    let error = client.eof(&rx);
    assert_eq!((error.fault(), error.detail()), (Fault::Closed, "1 requests were outstanding"));
    assert_eq!(feed(&mut client, &mut rx, b"x").unwrap_err(), error);
    let mut client = SftpClient::new(ClientConfig::default());
    assert!(client.eof(&MsgBuf::new()).detail().contains("before VERSION"));
}

#[test]
fn usage_errors_change_nothing() {
    let mut client = SftpClient::new(ClientConfig::default());
    assert_eq!(client.stat(b"f"), Err(UsageError::NotReady));
    let n = client.tx().len();
    let mut rx = MsgBuf::new();
    feed(&mut client, &mut rx, &packet(2, &[0, 0, 0, 3])).unwrap();
    assert_eq!(client.posix_rename(b"a", b"b"), Err(UsageError::Unsupported(Extension::PosixRename)));
    assert_eq!(client.stat(b"a\0b"), Err(UsageError::InvalidPath));
    assert_eq!(client.stat(&[b'a'; 65 << 10]), Err(UsageError::TooLong));
    assert_eq!((client.tx().len(), client.outstanding()), (n, 0));
    for _ in 0..2048 {
        client.stat(b"f").unwrap();
    }
    assert_eq!(client.stat(b"f"), Err(UsageError::Full));
    // A reply that does not answer its request is FAILURE for the client, and an error here.
    let mut j = Joined::new();
    j.client.stat(b"f").unwrap();
    let bytes = j.client.tx().pending().to_vec();
    let mut input = &bytes[..];
    let request = j.server.poll(&mut j.server_rx, &mut input).unwrap().unwrap();
    assert_eq!(j.server.reply_opened(request.ticket), Err(UsageError::ReplyMismatch));
    let out = j.server.tx().pending().to_vec();
    let got = feed(&mut j.client, &mut j.client_rx, &out).unwrap();
    assert_eq!(got[0].1, Got::Status(StatusCode::FAILURE));
}
