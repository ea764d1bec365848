//! A link with a round-trip time and a bandwidth, between real programs on loopback. The kernel's own (netem) is not to be
//! had everywhere, so bytes are held in this process; TCP's slow start is not seen through it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// A port whose connections reach a server over a long way. Its threads end with the process.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// On 127.0.0.1.
    pub port: u16,
}

#[derive(Clone, Copy)]
struct Way {
    latency: Duration,
    bytes_per_second: f64,
}

impl Link {
    /// To `port` of 127.0.0.1: each byte arrives half of `round_trip` after it left, at most `bytes_per_second` each way.
    ///
    /// # Panics
    /// When loopback has no free port.
    pub fn to(port: u16, round_trip: Duration, bytes_per_second: f64) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let here = listener.local_addr().expect("bound").port();
        let way = Way { latency: round_trip / 2, bytes_per_second };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                for (from, to) in [(&near, &far), (&far, &near)] {
                    let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
                    let _ = to.set_nodelay(true);
                    way.carry(from, to);
                }
            }
        });
        Self { port: here }
    }
}

/// What is on its way: pieces with the time of their arrival; an empty one is the end.
#[derive(Default)]
struct Flight {
    pieces: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
}

impl Way {
    /// One direction of one connection. A sender that is faster than the link waits when what the link holds, and 1 MiB in
    /// front of it, are full.
    fn carry(self, mut from: TcpStream, mut to: TcpStream) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few MiB")]
        let room = (self.bytes_per_second * self.latency.as_secs_f64()) as usize + (1 << 20);
        let flight = Arc::new((Mutex::new(Flight::default()), Condvar::new()));
        let sending = flight.clone();
        thread::spawn(move || {
            let mut buffer = vec![0; 64 * 1024];
            let mut free = Instant::now();
            loop {
                let n = from.read(&mut buffer).unwrap_or(0);
                let took = Duration::from_secs_f64(n as f64 / self.bytes_per_second);
                free = free.max(Instant::now()) + took;
                let (flight, changed) = &*sending;
                let mut flight = flight.lock().expect("no holder panics");
                while flight.bytes > room {
                    flight = changed.wait(flight).expect("no holder panics");
                }
                flight.bytes += n;
                flight.pieces.push_back((free + self.latency, buffer[..n].to_vec()));
                changed.notify_all();
                if n == 0 {
                    return;
                }
            }
        });
        thread::spawn(move || {
            let (flight, changed) = &*flight;
            loop {
                let mut held = flight.lock().expect("no holder panics");
                while held.pieces.is_empty() {
                    held = changed.wait(held).expect("no holder panics");
                }
                let Some((due, piece)) = held.pieces.pop_front() else { continue };
                drop(held);
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if piece.is_empty() || to.write_all(&piece).is_err() {
                    let _ = to.shutdown(Shutdown::Both);
                    return;
                }
                flight.lock().expect("no holder panics").bytes -= piece.len();
                changed.notify_all();
            }
        });
    }
}
