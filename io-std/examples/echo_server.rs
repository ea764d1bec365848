//! A server that gives back what it gets: `cargo run --example echo_server`, then
//! `echo hello | ssh -p 2222 alice@127.0.0.1 echo`. The password is "wonderland".

use std::io;
use std::sync::Arc;

use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland"))?;

    // Each command runs on a thread of its own; what it returns is the exit status.
    let programs = Programs::new().command("echo", |call| {
        let channel = call.channel();
        u32::from(io::copy(&mut &channel, &mut &channel).is_err())
    });

    let service = Service::new(Arc::new(users), Arc::new(programs));
    // A host key for this run only; clients will ask about it. `ServerOptions::new` takes a real one.
    let options = ServerOptions::with_new_key()?
        .methods(service.users().methods())
        .on_notice(|notice| eprintln!("{notice}"));
    let server = Server::listen("127.0.0.1:2222", options, move |_| service.clone())?;
    println!("listening on {}", server.local_addr());
    loop {
        std::thread::park();
    }
}
