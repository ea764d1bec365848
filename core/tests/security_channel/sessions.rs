//! What a session may ask for, and how often.

use super::*;
use konko_core::Decision;

#[test]
fn c19_one_program_and_one_terminal_a_session() {
    let mut rig = rig(Role::Server);
    rig.app.hold_requests = true;
    let number = rig.open(5, WINDOW, PACKET);
    let pty = {
        let mut f = string(b"xterm");
        [80, 24, 0, 0].iter().for_each(|n| f.put_u32(*n));
        f.put_string(&[]);
        f
    };
    let answer = |rig: &mut Rig, ok: bool| {
        let ticket = rig.app.request_tickets.pop().expect("the application is asked");
        rig.conn_server().reply(ticket, Decision::accept_if(ok)).unwrap();
        rig.run();
        rig.expect(if ok { 99 } else { 100 });
    };
    rig.send(&request(number, "pty-req", true, &pty));
    answer(&mut rig, true);
    rig.send(&request(number, "pty-req", true, &pty));
    rig.expect(100);
    // A server without the subsystem: the client tries a command instead.
    rig.send(&request(number, "subsystem", true, &string(b"sftp")));
    answer(&mut rig, false);
    rig.send(&request(number, "exec", true, &string(b"sftp-server")));
    answer(&mut rig, true);
    for (kind, fields) in [("exec", string(b"id")), ("shell", vec![]), ("subsystem", string(b"sftp"))] {
        rig.send(&request(number, kind, true, &fields));
        rig.expect(100);
    }
    rig.send(&request(number, "pty-req", true, &pty));
    rig.expect(100);
    assert!(rig.app.request_tickets.is_empty());
    // Two at once: the second is refused before the first is decided.
    let number = rig.open(6, WINDOW, PACKET);
    rig.send(&request(number, "shell", true, &[]));
    rig.send(&request(number, "exec", true, &string(b"id")));
    assert_eq!(rig.app.request_tickets.len(), 1);
}

#[test]
fn c20_terminal_modes_of_any_shape() {
    let modes = |bytes: &[u8]| PtyModes::new(bytes).iter().collect::<Vec<_>>();
    let many: Vec<u8> = (0..100_000u32).flat_map(|n| [1, 0, 0, 0, n as u8]).collect();
    assert_eq!(modes(&many).len(), 256);
    assert_eq!(modes(&many[..131 * 5]).len(), 131);
    assert_eq!(modes(&[]), []);
    assert_eq!(modes(&[53, 0, 0, 0, 1]), [(53, 1)], "no TTY_OP_END");
    assert_eq!(modes(&[53, 0, 0, 0, 1, 200, 9, 9, 9, 9]), [(53, 1)]);
    assert_eq!(modes(&[53, 0, 0]), []);
    assert_eq!(modes(&[0, 53, 0, 0, 0, 1]), []);
    let mut rig = rig(Role::Server);
    let number = rig.open(5, WINDOW, PACKET);
    let mut f = string(b"\x1b]0;x\x07");
    [0, u32::MAX, 0, u32::MAX].iter().for_each(|n| f.put_u32(*n));
    f.put_string(&many[..1000]);
    rig.send(&request(number, "pty-req", true, &f));
    rig.expect(99);
    assert!(rig.events.iter().all(|e| !e.contains('\x1b')));
}

#[test]
fn c21_exit_bodies_are_exact_and_the_first_counts() {
    for body in [&[][..], &[0, 0, 7], &[0, 0, 0, 7, 0]] {
        let (mut rig, _, number) = open(Role::Client);
        rig.send(&request(number, "exit-status", false, body));
        rig.assert_fault(Fault::Malformed);
    }
    let signal = |name: &[u8], text: &[u8], language: bool| {
        let mut f = string(name);
        f.put_bool(false);
        f.put_string(text);
        if language {
            f.put_string(b"en");
        }
        f
    };
    let (mut rig, _, number) = open(Role::Client);
    // Without the language, as some servers send it; huge; a second one.
    rig.send(&request(number, "exit-signal", false, &signal(b"KILL", b"gone", false)));
    rig.send(&request(number, "exit-signal", false, &signal(b"TERM", &[b'x'; 200 * 1024], true)));
    rig.send(&request(number, "exit-status", false, &[0, 0, 0, 0]));
    rig.assert_alive();
    assert_eq!(rig.events_with("Exit("), 1);
    assert_eq!(rig.events_with("KILL"), 1);
}

#[test]
fn c22_environment_variables_look_like_some_and_are_counted() {
    let mut rig = rig(Role::Server);
    let number = rig.open(5, WINDOW, PACKET);
    let env = |name: &[u8], value: &[u8]| [string(name), string(value)].concat();
    for (name, value) in [
        (&b"A=B"[..], &b"x"[..]),
        (b"", b"x"),
        (b"A\0", b"x"),
        (b"A", b"x\0y"),
        (b"A B", b"x"),
        (b"1A", b"x"),
        (b"A\n", b"x"),
        (b"A", &[b'x'; 32 * 1024 + 1]),
    ] {
        rig.send(&request(number, "env", true, &env(name, value)));
        rig.expect(100);
    }
    assert_eq!(rig.events_with("Env"), 0);
    for _ in 8..128 {
        rig.send(&request(number, "env", true, &env(b"LC_ALL", b"C")));
        rig.expect(99);
    }
    rig.send(&request(number, "env", true, &env(b"LC_ALL", b"C")));
    rig.expect(100);
}
