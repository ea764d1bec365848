//! Runs one command on another machine: `cargo run --example exec -- alice example.org:22 uname -a`.
//!
//! The host key has to be in `~/.ssh/known_hosts`, and the user's key in `~/.ssh/id_ed25519`.

use std::io::Write;

use konko::{Auth, Client, ClientOptions, Exit};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [user, host, command @ ..] = &args[..] else { return Err("exec USER HOST[:PORT] COMMAND".into()) };

    // An unknown or changed host key is an error: nothing is sent to a stranger.
    let client = Client::connect(host, ClientOptions::new())?;
    let home = std::env::home_dir().ok_or("no home folder")?;
    client.login(user, Auth::new().key_file(home.join(".ssh/id_ed25519")))?;

    // Both outputs are collected at once, in whatever order they come.
    let output = client.exec(command.join(" "))?;
    std::io::stdout().write_all(&output.stdout)?;
    std::io::stderr().write_all(&output.stderr)?;
    match output.exit {
        Exit::Status(status) => std::process::exit(i32::try_from(status).unwrap_or(255)),
        other => Err(other.to_string().into()),
    }
}
