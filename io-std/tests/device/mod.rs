//! Devices behind `odd_server`: servers that do with a session what they like.
#![allow(dead_code)]

use std::net::SocketAddr;

use konko::core::wire::Reader;

use crate::odd_server::{OddServer, serve, strings};

/// What a device does with requests that want an answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answers {
    Yes,
    No,
    Never,
}

/// Lets everybody in and takes one session: `pty` is how it answers pty-req, `program` how what is to run. With
/// `speaks` the program says hello and ends with status 3 as soon as it is asked for.
pub fn device(pty: Answers, program: Answers, speaks: bool) -> SocketAddr {
    serve(move |server| {
        server.request();
        server.let_in();
        let channel = open(server);
        loop {
            let (name, wants, _) = request(server);
            let starts = matches!(&*name, "exec" | "shell" | "subsystem");
            let answer = match &*name {
                "pty-req" => pty,
                _ if starts => program,
                _ => Answers::Yes,
            };
            if wants && answer != Answers::Never {
                let number = if answer == Answers::Yes { 99 } else { 100 };
                server.send(&[on(number, channel)]);
            }
            if starts && speaks {
                return hello(server, channel);
            }
        }
    })
}

/// A message about a channel.
pub fn on(number: u8, channel: u32) -> Vec<u8> {
    let mut m = vec![number];
    m.extend(channel.to_be_bytes());
    m
}

/// Takes the client's channel; its number there.
pub fn open(server: &mut OddServer) -> u32 {
    let message = until(server, 90);
    let mut r = Reader::new(&message[1..]);
    r.string().unwrap();
    let channel = r.u32().unwrap();
    let mut m = on(91, channel);
    for n in [7u32, 1 << 15, 1 << 15] {
        m.extend(n.to_be_bytes());
    }
    server.send(&[m]);
    channel
}

/// The next request on the channel: its name, whether it wants an answer, and the rest.
pub fn request(server: &mut OddServer) -> (String, bool, Vec<u8>) {
    let message = until(server, 98);
    let mut r = Reader::new(&message[1..]);
    r.u32().unwrap();
    let name = String::from_utf8(r.string().unwrap().to_vec()).unwrap();
    let rest = r.rest();
    (name, rest[0] == 1, rest[1..].to_vec())
}

/// Output, status 3, the end.
pub fn hello(server: &mut OddServer, channel: u32) {
    let mut data = on(94, channel);
    data.extend(&strings(0, &[b"hello\n"])[1..]);
    let mut status = on(98, channel);
    status.extend(&strings(0, &[b"exit-status"])[1..]);
    status.extend([0, 0, 0, 0, 3]);
    server.send(&[data, status, on(96, channel), on(97, channel)]);
}

fn until(server: &mut OddServer, number: u8) -> Vec<u8> {
    loop {
        let message = server.next();
        if message[0] == number {
            return message;
        }
    }
}
