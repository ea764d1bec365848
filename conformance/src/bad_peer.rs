//! A listener that answers the first connection with prepared bytes.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// What happens after the bytes were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// The connection is closed.
    Close,
    /// The connection stays open and silent.
    Hold,
    /// The last of the bytes are sent again and again until the peer goes away or 64 MiB are sent.
    Repeat,
}

/// A server on loopback that says what it was told to say, to everybody.
#[derive(Debug)]
pub struct BadPeer {
    /// On 127.0.0.1.
    pub port: u16,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl BadPeer {
    /// Sends `bytes` to whoever connects, then does `then`.
    ///
    /// # Panics
    /// When loopback does not work.
    pub fn start(bytes: impl Into<Vec<u8>>, then: Then) -> Self {
        let bytes = bytes.into();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("bound").port();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                serve(stream, &bytes, then, &stopped);
            }
        });
        Self { port, stop, thread: Some(thread) }
    }
}

impl Drop for BadPeer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(mut stream: TcpStream, bytes: &[u8], then: Then, stop: &AtomicBool) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(50)));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
    let mut open = stream.write_all(bytes).is_ok();
    if then == Then::Repeat {
        let tail = bytes.repeat((1 << 16) / bytes.len().max(1) + 1);
        let mut sent = 0;
        while open && sent < 64 << 20 && !stop.load(Ordering::SeqCst) {
            open = stream.write_all(&tail).is_ok();
            sent += tail.len();
        }
    }
    if then != Then::Hold {
        let _ = stream.shutdown(Shutdown::Write);
    }
    // Closing with unread bytes would reset the connection and take back what was sent: read to the end first.
    let mut buf = [0; 4096];
    while open && !stop.load(Ordering::SeqCst) {
        match stream.read(&mut buf) {
            Ok(0) => open = false,
            Ok(_) => {}
            Err(e) => {
                open = matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        }
    }
}

/// A packet without encryption (RFC 4253 §6) that carries `payload`.
///
/// # Panics
/// When the payload has 4 GiB.
pub fn packet(payload: &[u8]) -> Vec<u8> {
    let padding = 8 - (payload.len() + 5) % 8 + if (payload.len() + 5) % 8 > 4 { 8 } else { 0 };
    let length = u32::try_from(payload.len() + padding + 1).expect("a small packet");
    let mut out = length.to_be_bytes().to_vec();
    out.push(u8::try_from(padding).expect("less than 16"));
    out.extend_from_slice(payload);
    out.resize(out.len() + padding, 0);
    out
}

/// The payload of a KEXINIT with these ten name-lists.
///
/// # Panics
/// When a list has 4 GiB.
pub fn kexinit(lists: [&str; 10]) -> Vec<u8> {
    let mut out = vec![20];
    out.extend_from_slice(&[0x55; 16]);
    for list in lists {
        out.extend_from_slice(&u32::try_from(list.len()).expect("a short list").to_be_bytes());
        out.extend_from_slice(list.as_bytes());
    }
    out.extend_from_slice(&[0; 5]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_have_whole_blocks_and_enough_padding() {
        for n in 0..64 {
            let packet = packet(&vec![1; n]);
            assert_eq!(packet.len() % 8, 0);
            assert!((4..16).contains(&packet[4]));
        }
    }
}
