//! A server with its own idea of who may come in: `cargo run --example own_auth`, then
//! `ssh -p 2222 anybody@127.0.0.1 hello` and answer the question.
//!
//! Every decision is a ticket. It can be answered at once, kept, or sent to another thread, as here;
//! one that is dropped says no.

use std::io::Write;
use std::thread;

use konko::server::{
    AuthAttempt, Challenge, Connection, Credential, Handler, KeyProbe, Method, Server, ServerOptions, Session,
};

/// One value a connection.
struct Gate;

impl Handler for Gate {
    fn authenticate(&mut self, attempt: AuthAttempt) {
        match attempt.credential() {
            Credential::KeyboardInteractive { .. } => {
                let prompts = vec![("What is seven times eight? ".to_owned(), true)];
                let challenge = Challenge { prompts, ..Challenge::default() };
                attempt.challenge(challenge).expect("the question can be asked");
            }
            Credential::Answers(_) => {
                // A directory or a database may take its time: the connection waits, this thread need not.
                thread::spawn(move || match attempt.credential() {
                    Credential::Answers(answers) if answers[0].expose() == b"56" => attempt.accept(),
                    _ => attempt.reject(),
                });
            }
            _ => attempt.reject(),
        }
    }

    fn key_probe(&mut self, probe: KeyProbe) {
        probe.reject();
    }

    fn authenticated(&mut self, connection: &Connection) {
        eprintln!("{connection:?} is in");
    }

    fn session(&mut self, session: Session) {
        // The thread that could not be started is the only thing that goes wrong here.
        let started = session.run(|mut channel| u32::from(writeln!(channel, "well calculated\r").is_err()));
        if let Err(error) = started {
            eprintln!("{error}");
        }
    }
}

fn main() -> Result<(), konko::Error> {
    let options = ServerOptions::with_new_key()?.methods([Method::KeyboardInteractive].into_iter().collect());
    let server = Server::listen("127.0.0.1:2222", options, |_| Gate)?;
    println!("listening on {}", server.local_addr());
    loop {
        thread::park();
    }
}
