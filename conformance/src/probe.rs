//! What the program under test offers: asked for by option, read from its KEXINIT (RFC 4253 §7.1) on the wire.

use crate::matrix::List;
use crate::program::Program;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

/// Those of `names` that the program offers when it is asked to.
///
/// # Panics
/// When the program does not start or does not end.
pub fn offered(program: &Program, list: List, names: &[String]) -> Vec<String> {
    names.iter().filter(|name| offers(program, list, name)).cloned().collect()
}

fn offers(program: &Program, list: List, name: &str) -> bool {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mut ended = false;
    let lists = lists_of(|port| {
        let call = program.call(home.path(), port).option("BatchMode", "yes").option(list.option(), name);
        ended = call.deadline(Duration::from_secs(20)).try_run("true").is_ok();
    });
    ended && lists.is_some_and(|lists| lists.get(list.place()).is_some_and(|l| l.iter().any(|n| n == name)))
}

/// The ten name-lists that a client offers: `run` runs it against a port of 127.0.0.1, where nobody answers its
/// KEXINIT.
///
/// # Panics
/// When loopback does not work.
pub fn lists_of(run: impl FnOnce(u16)) -> Option<Vec<Vec<String>>> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let port = listener.local_addr().expect("bound").port();
    // A program that does not know the name ends before it connects; then nothing comes, and the listener is told so
    // by a connection that says nothing.
    let reader = thread::spawn(move || listener.accept().ok().and_then(|(stream, _)| kexinit(stream)));
    run(port);
    // Ends the reader when the program never connected.
    drop(TcpStream::connect((Ipv4Addr::LOCALHOST, port)));
    reader.join().expect("the reader does not panic")
}

/// The name-lists of the first packet.
fn kexinit(stream: TcpStream) -> Option<Vec<Vec<String>>> {
    stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
    let mut reader = BufReader::new(&stream);
    (&stream).write_all(b"SSH-2.0-konko_probe\r\n").ok()?;
    let mut line = Vec::new();
    reader.read_until(b'\n', &mut line).ok()?;
    let mut head = [0; 5];
    reader.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
    let mut body = vec![0; length.checked_sub(1).filter(|n| *n < 40_000)?];
    reader.read_exact(&mut body).ok()?;
    // Message number 20 and a cookie of 16 bytes.
    let mut rest = body.strip_prefix(&[20])?.get(16..)?;
    let mut lists = Vec::new();
    for _ in 0..10 {
        let (length, after) = rest.split_first_chunk()?;
        let (names, after) = after.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        lists.push(String::from_utf8_lossy(names).split(',').map(str::to_owned).collect());
        rest = after;
    }
    Some(lists)
}
