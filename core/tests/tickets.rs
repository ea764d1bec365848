//! Questions whose ticket is dropped: the answer is no.

mod sftp;

use std::time::Duration;

use konko_core::crypto::HashAlgorithm;
use konko_core::msg;
use konko_core::sftp::{
    Answer, Attrs, Extension, ExtensionSet, Handle, OpenFlags, Operation, Request, RequestId, ServerConfig,
    SftpClient, UsageError,
};
use konko_core::transport::negotiate::Role;
use konko_core::wire::SshStr;
use konko_test::raw::*;
use sftp::*;

const WINDOW: u32 = 2 << 20;
const PACKET: u32 = 32 * 1024;
/// `Limits::decision_timeout` and a second.
const LONG: Duration = Duration::from_secs(31);

#[test]
fn a16_tickets_of_a_connection_that_are_dropped_say_no_when_the_decision_timer_ends() {
    for role in [Role::Client, Role::Server] {
        let mut rig = Rig::new(role);
        rig.login();
        (rig.app.hold_opens, rig.app.hold_requests, rig.app.drop_globals) = (true, true, true);
        let session = SshStr::new(if role == Role::Server { b"session" } else { b"x11" });
        let fields: &[u8] = if role == Role::Server { &[] } else { b"\0\0\0\x01a\0\0\0\x01" };
        rig.put(&msg::ChannelOpen::new(session, 5, WINDOW, PACKET, fields));
        rig.put(&msg::GlobalRequest::new(SshStr::new(b"x@test"), true, &[]));
        let (_, number) = rig.opened(6, WINDOW, PACKET);
        rig.put(&msg::ChannelRequest::new(number, SshStr::new(b"x@test"), true, &[]));
        rig.app.open_tickets.clear();
        rig.app.request_tickets.clear();
        assert_eq!(rig.numbers(), []);
        rig.wait(LONG);
        let mut said = rig.numbers();
        // But for a keepalive.
        said.retain(|number| *number != 80);
        said.sort_unstable();
        // REQUEST_FAILURE, CHANNEL_OPEN_FAILURE, CHANNEL_FAILURE
        assert_eq!(said, [82, 92, 100], "{role:?}");
        rig.assert_alive();
    }
}

/// Polls a server for one request.
fn next<T>(j: &mut Joined, take: impl FnOnce(Request<'_>) -> T) -> T {
    let mut input = j.to_server.as_slice();
    let request = j.server.poll(&mut j.server_rx, &mut input).unwrap().expect("a request");
    let kept = take(request);
    let left = input.to_vec();
    j.to_server = left;
    kept
}

fn send(j: &mut Joined, request: impl FnOnce(&mut SftpClient) -> Result<RequestId, UsageError>) -> RequestId {
    let id = request(&mut j.client).unwrap();
    let tx = j.client.tx();
    j.to_server.extend_from_slice(tx.pending());
    tx.consume(tx.len());
    id
}

/// What the server says once it is polled again.
fn heard(j: &mut Joined) -> Vec<(Option<RequestId>, Got)> {
    let mut input = j.to_server.as_slice();
    assert!(j.server.poll(&mut j.server_rx, &mut input).unwrap().is_none());
    j.to_server.clear();
    let back = j.server.tx().pending().to_vec();
    j.server.tx().consume(back.len());
    feed(&mut j.client, &mut j.client_rx, &back).unwrap()
}

type Ask = fn(&mut SftpClient, &Handle, &Handle) -> Result<RequestId, UsageError>;

/// Every request, but those that the machine answers itself.
fn asks() -> Vec<(Operation, Ask)> {
    use Operation as O;
    vec![
        (O::Open, |c, _, _| c.open(b"f", OpenFlags::READ, &Attrs::new())),
        (O::Close, |c, h, _| c.close(h)),
        (O::Read, |c, h, _| c.read(h, 0, 10)),
        (O::Write, |c, h, _| c.write(h, 0, b"data")),
        (O::Lstat, |c, _, _| c.lstat(b"f")),
        (O::Fstat, |c, h, _| c.fstat(h)),
        (O::Setstat, |c, _, _| c.setstat(b"f", &Attrs::new())),
        (O::Fsetstat, |c, h, _| c.fsetstat(h, &Attrs::new())),
        (O::Opendir, |c, _, _| c.opendir(b"f")),
        (O::Readdir, |c, _, d| c.readdir(d)),
        (O::Remove, |c, _, _| c.remove(b"f")),
        (O::Mkdir, |c, _, _| c.mkdir(b"f", &Attrs::new())),
        (O::Rmdir, |c, _, _| c.rmdir(b"f")),
        (O::Realpath, |c, _, _| c.realpath(b"f")),
        (O::Stat, |c, _, _| c.stat(b"f")),
        (O::Rename, |c, _, _| c.rename(b"f", b"g")),
        (O::Readlink, |c, _, _| c.readlink(b"f")),
        (O::Symlink, |c, _, _| c.symlink(b"f", b"g")),
        (O::PosixRename, |c, _, _| c.posix_rename(b"f", b"g")),
        (O::Statvfs, |c, _, _| c.statvfs(b"f")),
        (O::Fstatvfs, |c, h, _| c.fstatvfs(h)),
        (O::Hardlink, |c, _, _| c.hardlink(b"f", b"g")),
        (O::Fsync, |c, h, _| c.fsync(h)),
        (O::Lsetstat, |c, _, _| c.lsetstat(b"f", &Attrs::new())),
        (O::ExpandPath, |c, _, _| c.expand_path(b"~")),
        (O::CopyData, |c, h, _| c.copy_data((h, 0), 1, (h, 2))),
        (O::HomeDirectory, |c, _, _| c.home_directory(b"")),
        (O::UsersGroupsById, |c, _, _| c.users_groups_by_id(&[1], &[])),
        (O::CheckFileHandle, |c, h, _| c.check_file(h, &[HashAlgorithm::Sha256], 0, 1, 0)),
        (O::CheckFileName, |c, _, _| c.check_file_name(b"f", &[HashAlgorithm::Sha256], 0, 1, 0)),
        (O::Extended, |c, _, _| c.extended(b"x@test", b"")),
    ]
}

fn joined() -> (Joined, Handle, Handle) {
    let config = konko_core::sftp::ClientConfig::new().assume(ExtensionSet::all().without(Extension::Limits));
    let mut j = Joined::with(config, ServerConfig::default());
    let flags = OpenFlags::READ | OpenFlags::WRITE | OpenFlags::CREATE;
    let file = j.open("/file", flags);
    let dir = j.call(|c| c.opendir(b"/")).handle();
    (j, file, dir)
}

#[test]
fn a16_every_request_of_sftp_whose_ticket_is_dropped_is_told_failure() {
    let all: Vec<Operation> = asks().iter().map(|(op, _)| *op).collect();
    // limits@openssh.com is the machine's own.
    assert!(Operation::all().all(|op| op == Operation::Limits || all.contains(&op)), "each has its row");
    for (op, ask) in asks() {
        let (mut j, file, dir) = joined();
        let open = j.server.open_handles();
        let id = send(&mut j, |c| ask(c, &file, &dir));
        let ticket = next(&mut j, |request| request.ticket);
        assert_eq!(ticket.operation(), op);
        assert_eq!((j.server.tx().len(), j.server.unanswered()), (0, 1), "{op}");
        // On whatever thread.
        std::thread::spawn(move || drop(ticket)).join().unwrap();
        assert_eq!(heard(&mut j), [(Some(id), FAILURE)], "{op}");
        assert_eq!(j.server.unanswered(), 0);
        assert_eq!(j.server.open_handles(), open - usize::from(op == Operation::Close), "{op}");
        // The place is good for another one.
        let id = send(&mut j, |c| c.stat(b"/file"));
        let ticket = next(&mut j, |request| request.ticket);
        j.server.reply(ticket, Answer::Attrs(Attrs::new())).unwrap();
        assert_eq!(heard(&mut j), [(Some(id), Got::Attrs(Attrs::new()))]);
    }
}

#[test]
fn a16_a_close_waits_for_a_dropped_read_and_a_write_fails_for_one_lost_part() {
    let (mut j, file, _) = joined();
    let read = send(&mut j, |c| c.read(&file, 0, 10));
    drop(next(&mut j, |request| request.ticket));
    let close = send(&mut j, |c| c.close(&file));
    let ticket = next(&mut j, |request| request.ticket);
    assert_eq!(ticket.operation(), Operation::Close);
    j.server.reply_status(ticket, konko_core::sftp::StatusCode::OK).unwrap();
    assert_eq!(heard(&mut j), [(Some(read), FAILURE), (Some(close), OK)]);

    let (mut j, file, _) = joined();
    let write = send(&mut j, |c| c.write(&file, 0, &vec![7; 200_000]));
    let message = std::mem::take(&mut j.to_server);
    let mut parts = 0;
    for piece in message.chunks(40_000) {
        let mut input = piece;
        while let Some(request) = j.server.poll(&mut j.server_rx, &mut input).unwrap() {
            parts += 1;
            if parts != 3 {
                j.server.reply_status(request.ticket, konko_core::sftp::StatusCode::OK).unwrap();
            }
        }
    }
    assert_eq!(parts, 3, "nothing of it is asked for after that");
    assert_eq!(heard(&mut j), [(Some(write), FAILURE)]);
}

#[test]
fn a16_a_ticket_that_another_session_does_not_take_says_no_in_its_own() {
    let (mut one, ..) = joined();
    let (mut other, ..) = joined();
    let id = send(&mut one, |c| c.stat(b"/file"));
    let ticket = next(&mut one, |request| request.ticket);
    send(&mut other, |c| c.stat(b"/file"));
    let same_place = next(&mut other, |request| request.ticket);
    assert_eq!(other.server.reply(ticket, Answer::Attrs(Attrs::new())), Err(UsageError::StaleTicket));
    assert_eq!(other.server.tx().len(), 0, "it answers nothing of another session's");
    assert_eq!(heard(&mut one), [(Some(id), FAILURE)]);
    // One that outlives its session harms nobody.
    other.server.finish();
    drop(same_place);
}
