//! The machine over a socket, without any binding: the loop of the documentation, as it stands.
//!
//! ```text
//! cargo run -p konko-core --example embed
//! ```

mod memory;

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko_core::*;
use memory::{Host, Runner};

/// Drives one end over a socket until it has ended, or `over` says so.
fn drive<S: Side>(
    mut conn: Connection<S>,
    mut socket: TcpStream,
    mut on_event: impl FnMut(&mut Connection<S>, EventOf<'_, S>) -> bool,
) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let mut rx = RxBuf::new();
    loop {
        let blocked = match conn.poll(Time::ZERO + start.elapsed(), &mut rx) {
            Ok(Step::Event(event)) => {
                if on_event(&mut conn, event) {
                    conn.disconnect(msg::DisconnectCode::BY_APPLICATION, "that was all");
                }
                continue;
            }
            Ok(Step::Blocked(blocked)) => blocked,
            Err(error) => {
                // The last words.
                socket.write_all(conn.tx().pending())?;
                return Err(error.into());
            }
        };
        socket.write_all(conn.tx().pending())?;
        let sent = conn.tx().len();
        conn.tx().consume(sent);
        match blocked {
            Blocked::Closed => return Ok(()),
            Blocked::Input | Blocked::Decision => {
                // Nobody else answers here, so only input or time can go on.
                let due = conn.deadline().map(|(at, _)| at.since(Time::ZERO + start.elapsed()));
                socket.set_read_timeout(due.map(|due| due.max(Duration::from_millis(1))))?;
                match socket.read(rx.spare()) {
                    Ok(0) => rx.eof(),
                    Ok(n) => rx.filled(n),
                    // It was time.
                    Err(e) if [ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&e.kind()) => {}
                    Err(e) => return Err(e.into()),
                }
            }
            Blocked::Output => {}
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let addr = listener.local_addr()?;
    let server = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let config = Arc::new(memory::server_config());
        let conn = ServerConnection::new(config, Seed::new([2; 32]), Time::ZERO);
        let mut host = Host::default();
        let ended = drive(conn, socket, |conn, event| {
            host.on_event(conn, event);
            false
        });
        println!("the server saw the end: {}", ended.unwrap_err());
    });
    let conn = ClientConnection::new(Arc::new(memory::client_config()), Seed::new([3; 32]), Time::ZERO);
    let mut runner = Runner::new("greet");
    drive(conn, TcpStream::connect(addr)?, |conn, event| {
        runner.on_event(conn, event);
        runner.closed
    })?;
    println!("{:?}, exit status {:?}", String::from_utf8_lossy(&runner.text), runner.exit);
    server.join().unwrap();
    Ok(())
}
