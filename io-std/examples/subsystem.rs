//! A protocol of one's own inside SSH: a counter that several users share. `cargo run --example
//! subsystem`, then `printf 'add 3\nadd 4\nget\n' | ssh -p 2222 -s alice@127.0.0.1 counter`. The
//! password is "wonderland".

use std::io::{BufRead, BufReader, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use konko::server::users::{User, Users};
use konko::server::{Call, Programs, Server, ServerOptions, Service};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland"))?;

    let counter = AtomicI64::new(0);
    let programs =
        Programs::new().subsystem("counter", move |call| u32::from(serve(call, &counter).is_err()));

    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::with_new_key()?.methods(service.users().methods());
    let server = Server::listen("127.0.0.1:2222", options, move |_| service.clone())?;
    println!("listening on {}", server.local_addr());
    loop {
        std::thread::park();
    }
}

/// One line in, one line out, until the client has no more.
fn serve(call: &Call, counter: &AtomicI64) -> std::io::Result<()> {
    let mut channel = call.channel();
    for line in BufReader::new(call.channel()).lines() {
        let line = line?;
        match line.split_once(' ').map(|(verb, number)| (verb, number.parse::<i64>())) {
            Some(("add", Ok(n))) => writeln!(channel, "{}", counter.fetch_add(n, Ordering::Relaxed) + n)?,
            None if line == "get" => writeln!(channel, "{}", counter.load(Ordering::Relaxed))?,
            _ => writeln!(channel, "add NUMBER, or get")?,
        }
    }
    Ok(())
}
