//! A shell on another machine: `cargo run --example shell -- alice example.org:22`.
//!
//! Lines are sent as they are typed, so the remote shell need not echo them. `konko ssh` does the same
//! with the terminal in raw mode, window sizes and all.

use std::io;
use std::thread;

use konko::{Auth, Client, ClientOptions, Pty};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [user, host] = &args[..] else { return Err("shell USER HOST[:PORT]".into()) };
    let client = Client::connect(host, ClientOptions::new())?;
    let home = std::env::home_dir().ok_or("no home folder")?;
    client.login(user, Auth::new().key_file(home.join(".ssh/id_ed25519")))?;

    let channel = client.session()?;
    // Opcode 53 is ECHO (RFC 4254 §8): the terminal here shows what is typed.
    channel.request_pty(&Pty { modes: vec![(53, 0)], ..Pty::default() })?;
    channel.shell()?;

    // One thread a direction. This one ends with the process: nothing interrupts a read of a terminal.
    let mut input = channel.clone();
    thread::spawn(move || io::copy(&mut io::stdin(), &mut input).and_then(|_| Ok(input.send_eof()?)));
    channel.copy_to(&mut io::stdout())?;
    println!("{}", channel.wait()?);
    Ok(())
}
