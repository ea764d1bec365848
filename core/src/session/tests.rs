use alloc::vec::Vec;

use super::*;
use crate::channel::ChannelRequest;
use crate::wire::SshStr;

const ID: ChannelId = ChannelId { local: 3, generation: 7 };

fn sessions() -> Sessions {
    let mut sessions = Sessions::new(SessionRules::default());
    sessions.opened(ID);
    sessions
}

fn words(text: &str) -> SshStr<'_> {
    SshStr::new(text.as_bytes())
}

fn env<'a>(name: &'a str, value: &'a str) -> ChannelRequest<'a> {
    ChannelRequest::Env { name: words(name), value: words(value) }
}

fn ask(s: &mut Sessions, id: ChannelId, request: &ChannelRequest<'_>) -> Step {
    s.request(id, SessionRequest::of(request))
}

fn start(step: Step) -> Start {
    match step {
        Step::Start(start) => start,
        other => panic!("{other:?}"),
    }
}

const SIZE: ChannelRequest<'static> =
    ChannelRequest::WindowChange { columns: 132, rows: 43, width: 0, height: 0 };

#[test]
fn a_program_gets_what_was_prepared_for_it() {
    let mut s = sessions();
    assert_eq!(ask(&mut s, ID, &env("LANG", "eo")), Step::Reply(true));
    assert_eq!(ask(&mut s, ID, &env("LC_TIME", "C")), Step::Reply(true));
    assert!(s.grant_pty(ID, Pty::default()));
    // A window that changes before the program starts is the program's.
    assert_eq!(ask(&mut s, ID, &SIZE), Step::Reply(false));
    let start = start(ask(&mut s, ID, &ChannelRequest::Exec(words("date"))));
    assert_eq!(start.program, Program::Exec(b"date".to_vec()));
    let variables: Vec<_> = start.env.iter().map(|(name, value)| (&name[..], &value[..])).collect();
    assert_eq!(variables, [(&b"LANG"[..], &b"eo"[..]), (b"LC_TIME", b"C")]);
    assert_eq!(start.pty.map(|pty| (pty.columns, pty.rows)), Some((132, 43)));
}

#[test]
fn c22_only_variables_that_the_rules_name() {
    let mut s = sessions();
    for name in ["PATH", "LD_PRELOAD", "lang", "LANGUAGE", "XLC_TIME"] {
        assert_eq!(ask(&mut s, ID, &env(name, "x")), Step::Reply(false), "{name}");
    }
    assert!(start(ask(&mut s, ID, &ChannelRequest::Shell)).env.is_empty());
}

#[test]
fn c19_one_program_a_session() {
    let mut s = sessions();
    assert!(!s.started(ID));
    let _ = start(ask(&mut s, ID, &ChannelRequest::Shell));
    assert!(s.started(ID));
    for request in [
        ChannelRequest::Shell,
        ChannelRequest::Exec(words("id")),
        ChannelRequest::Subsystem(words("sftp")),
        env("LANG", "C"),
    ] {
        assert!(matches!(ask(&mut s, ID, &request), Step::Other(_)), "{request:?}");
    }
    assert!(!s.grant_pty(ID, Pty::default()));
    assert_eq!(
        ask(&mut s, ID, &SIZE),
        Step::Tell(Control::WindowChange { columns: 132, rows: 43, width: 0, height: 0 })
    );
}

#[test]
fn who_is_refused_one_program_may_ask_for_another() {
    let mut s = sessions();
    assert_eq!(ask(&mut s, ID, &env("LANG", "eo")), Step::Reply(true));
    let first = start(ask(&mut s, ID, &ChannelRequest::Subsystem(words("sftp"))));
    s.rejected(ID, first.env, first.pty);
    let second = start(ask(&mut s, ID, &ChannelRequest::Exec(words("sftp-server"))));
    assert_eq!(second.env.len(), 1);
}

#[test]
fn c29_so_many_sessions_and_no_more() {
    let mut s = Sessions::new(SessionRules { max_sessions: 2, ..SessionRules::default() });
    let ids = [0, 1].map(|local| ChannelId { local, generation: 0 });
    for id in ids {
        assert!(!s.full());
        s.opened(id);
    }
    assert!(s.full());
    s.closed(ids[0]);
    assert!(!s.full());
    assert!(matches!(
        ask(&mut s, ids[0], &ChannelRequest::Shell),
        Step::Other(SessionRequest::Start(Program::Shell))
    ));
}
