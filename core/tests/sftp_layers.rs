//! What stands before a file system: who may do what where, by either name of a file.

mod sftp;

use std::rc::Rc;
use std::sync::Arc;

use konko_core::sftp::*;
use sftp::*;

const DENIED: Got = Got::Status(StatusCode::PERMISSION_DENIED);

/// A client that may read everywhere, do all in /own and below, and nothing at all in /own/locked.
fn ruled() -> Joined {
    let mut j = Joined::new();
    for dir in ["/own", "/own/locked", "/own/deep", "/own/deep/er", "/other"] {
        assert_eq!(j.call(|c| c.mkdir(dir.as_bytes(), &Attrs::new())), OK);
    }
    for file in ["/own/f", "/other/f", "/own/locked/f"] {
        j.fs.insert(file.as_bytes(), file.as_bytes().to_vec()).unwrap();
    }
    let rules = Rules::new()
        .allow("/", OperationSet::reading())
        .allow("/own", OperationSet::ALL)
        .allow("/own/locked", OperationSet::EMPTY);
    j.session = Session::new(Rc::clone(&j.fs)).layer(Arc::new(rules));
    j
}

type Rename = fn(&mut SftpClient, &[u8], &[u8]) -> Result<RequestId, UsageError>;

#[test]
fn both_names_of_a_rename_must_be_allowed() {
    for rename in [SftpClient::rename as Rename, SftpClient::posix_rename, SftpClient::hardlink] {
        let mut j = ruled();
        // To where nothing may be changed, from there, and by a way round to either.
        for (from, to) in [
            ("/own/f", "/other/g"),
            ("/other/f", "/own/g"),
            ("/own/f", "/own/locked/g"),
            ("/own/locked/f", "/own/g"),
            ("/own/f", "/own/../other/g"),
            ("/own/../other/f", "/own/g"),
            ("own/f", "g"),
        ] {
            let got = j.call(|c| rename(c, from.as_bytes(), to.as_bytes()));
            assert_eq!(got, DENIED, "{from} {to}");
        }
        for file in ["/own/f", "/other/f", "/own/locked/f"] {
            assert_eq!(j.fs.content(file.as_bytes()).as_deref(), Some(file.as_bytes()), "it is where it was");
        }
        assert_eq!(j.call(|c| rename(c, b"/own/f", b"/own/g")), OK);
        assert_eq!(j.fs.content(b"/own/g").as_deref(), Some(&b"/own/f"[..]));
    }
}

#[test]
fn what_has_rules_of_its_own_inside_keeps_its_name() {
    for rename in [SftpClient::rename as Rename, SftpClient::posix_rename] {
        let mut j = ruled();
        // Under another name nothing would be said of /own/locked.
        assert_eq!(j.call(|c| rename(c, b"/own", b"/own2")), DENIED);
        assert_eq!(j.call(|c| rename(c, b"/own/deep", b"/own/d")), OK);
        assert!(j.fs.attrs(b"/own/d/er").is_some());
    }
    // Nor may something else come to be there.
    let mut j = Joined::new();
    assert_eq!(j.call(|c| c.mkdir(b"/a", &Attrs::new())), OK);
    let rules = Rules::new().allow("/", OperationSet::ALL).allow("/b/locked", OperationSet::EMPTY);
    j.session = Session::new(Rc::clone(&j.fs)).layer(Arc::new(rules));
    for rename in [SftpClient::rename as Rename, SftpClient::posix_rename] {
        assert_eq!(j.call(|c| rename(c, b"/a", b"/b")), DENIED);
        assert_eq!(j.call(|c| rename(c, b"/b", b"/a")), DENIED, "and not out of there");
    }
    assert_eq!(j.call(|c| c.rename(b"/a", b"/c")), OK);
}

#[test]
fn a_copy_on_the_server_is_judged_by_both_names_too() {
    let mut j = ruled();
    let from = j.open("/other/f", OpenFlags::READ);
    let to = j.open("/own/g", OpenFlags(0x1a));
    assert_eq!(j.call(|c| c.copy_data((&from, 0), 0, (&to, 0))), DENIED, "reading is not copying");
    let from = j.open("/own/f", OpenFlags::READ);
    assert_eq!(j.call(|c| c.copy_data((&from, 0), 0, (&to, 0))), OK);
    let locked = j.call(|c| c.open(b"/own/locked/f", OpenFlags::READ, &Attrs::new()));
    assert_eq!(locked, DENIED);
}
