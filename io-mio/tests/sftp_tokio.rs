//! The example `sftp_tokio` moves a tree.

#[path = "../examples/sftp_tokio.rs"]
mod sftp_tokio;

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;

use konko_mio::core::provider;
use konko_mio::core::sftp::{MemoryFs, ServerConfig, Session};

#[tokio::test]
async fn a_tree_goes_to_a_server_and_comes_back() {
    let dir = std::env::temp_dir().join(format!("konko-sftp-tokio-{}", std::process::id()));
    let (from, back) = (dir.join("from"), dir.join("back"));
    fs::create_dir_all(from.join("deep/er")).unwrap();
    let big: Vec<u8> = (0..3_000_000u32).map(|i| (i / 7) as u8).collect();
    fs::write(from.join("deep/er/big"), &big).unwrap();
    fs::write(from.join("empty"), b"").unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let server = std::thread::spawn(move || {
        let memory = Box::new(MemoryFs::new(provider::best(), 1 << 26));
        let config = ServerConfig::default();
        konko::sftp::serve_streams(&theirs, &theirs, config, &mut Session::new(memory))
    });
    ours.set_nonblocking(true).unwrap();
    let (session, ours) = (sftp_tokio::session(), tokio::net::UnixStream::from_std(ours).unwrap());
    let remote = session.remote();
    let moved = async {
        let put = sftp_tokio::tree(remote.clone(), "put", from.as_os_str().as_bytes(), b"there").await?;
        let got = sftp_tokio::tree(remote.clone(), "get", b"there", back.as_os_str().as_bytes()).await?;
        Ok::<_, konko::sftp::Error>((put, got))
    };
    let (put, got) = tokio::select! {
        moved = moved => moved.unwrap(),
        () = sftp_tokio::drive(session, ours) => panic!("the server closed"),
    };
    assert!(put.is_complete() && got.is_complete(), "{put:?} {got:?}");
    assert_eq!((put.files, put.bytes, got.files, got.bytes), (2, 3_000_000, 2, 3_000_000));
    assert!(fs::read(back.join("deep/er/big")).unwrap() == big);
    assert_eq!(fs::read(back.join("empty")).unwrap(), b"");
    server.join().unwrap().unwrap();
    fs::remove_dir_all(&dir).unwrap();
}
