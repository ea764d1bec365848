//! The core in an async runtime, in one page: checks the host against known_hosts, logs in with key files and a
//! password, runs commands on a channel each, and moves trees over SFTP, all at once on one connection.
//!
//! ```text
//! cargo run -p konko-mio --example tokio -- alice@example.org:22 uptime 'df -h' put:notes:/srv/notes get:/etc/ssh:here
//! ```
//!
//! The password is in the environment variable `SSH_PASSWORD`. [`drive`] is the whole binding: one task owns the
//! connection, polls it until it is blocked, and waits for what it is blocked on; others send it closures.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::{env, fs, io, mem};

use konko::sftp::{Error as SftpError, GetOptions, Links, PutOptions, TreeReport, local};
use konko::{Answers, Auth, HostKeys, HostLookup};
use konko_mio::core::channel::{ChannelEvent, ChannelId, ChannelRequest, DataStream, OpenKind};
use konko_mio::core::sftp::{self, session::Session, transfer::TransferConfig};
use konko_mio::core::{login::Login, msg::DisconnectCode, wire::SshStr, *};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::{Instant, sleep_until};

/// Something that another task wants of a connection: the answer to a ticket, for example.
pub(crate) type Call<S> = Box<dyn FnOnce(&mut Connection<S>) + Send>;

/// Runs a connection to its end; why it ended, or `None` when this side closed it. Its time 0 is `start`. `turn` gets
/// each event, and none before each wait; it says when it wants the next turn at the latest.
pub(crate) async fn drive<S: Side>(
    mut conn: Connection<S>,
    stream: impl AsyncRead + AsyncWrite,
    start: Instant,
    mut calls: UnboundedReceiver<Call<S>>,
    mut turn: impl FnMut(&mut Connection<S>, Time, Option<EventOf<'_, S>>) -> Option<Time>,
) -> io::Result<Option<Error>> {
    let (mut reader, mut writer) = tokio::io::split(Box::pin(stream));
    let mut rx = RxBuf::new();
    loop {
        let now = Time::ZERO + start.elapsed();
        let again = turn(&mut conn, now, None);
        let blocked = match conn.poll(now, &mut rx) {
            Ok(Step::Event(event)) => {
                turn(&mut conn, now, Some(event));
                continue;
            }
            Ok(Step::Blocked(Blocked::Closed)) => return writer.shutdown().await.map(|()| None),
            Ok(Step::Blocked(why)) => why,
            Err(error) => {
                // The last words; the peer may be gone.
                let _ = writer.write_all(conn.tx().pending()).await;
                let _ = writer.shutdown().await;
                return Ok(Some(error));
            }
        };
        let due = conn.deadline().map(|(at, _)| at).into_iter().chain(again).min();
        // Idle connections keep no memory for input and output.
        rx.release();
        tokio::select! {
            n = writer.write(conn.tx().pending()), if !conn.tx().is_empty() => conn.tx().consume(n?),
            n = reader.read(rx.spare()), if blocked == Blocked::Input => match n? {
                0 => rx.eof(),
                n => rx.filled(n),
            },
            () = sleep_until(start + due.unwrap_or(now).since(Time::ZERO)), if due.is_some() => {}
            Some(call) = calls.recv() => call(&mut conn),
        }
    }
}

/// What a channel is for.
pub(crate) enum Job {
    Run(Vec<u8>),
    Tree(Box<Session<fs::File>>, Pin<Box<dyn Future<Output = Result<TreeReport, SftpError>>>>),
}

/// What a client is to do. Jobs are commands, and trees: `put:FROM:TO`, `get:FROM:TO`.
pub(crate) struct Work<'a> {
    pub(crate) host: HostLookup<'a>,
    pub(crate) login: Login,
    pub(crate) answers: Answers<'a>,
    pub(crate) jobs: Vec<String>,
    pub(crate) channels: BTreeMap<ChannelId, (String, Job)>,
    /// What was done, and how it went.
    pub(crate) report: Vec<(String, String)>,
}

impl Work<'_> {
    pub(crate) fn turn(
        &mut self,
        conn: &mut ClientConnection,
        now: Time,
        event: Option<ClientEvent<'_>>,
    ) -> Option<Time> {
        let Some(event) = event else { return self.move_trees(conn, now) };
        // What cannot be done any more is noticed when the connection ends.
        let _ = match self.login.event(conn, event) {
            None => self.log_in(conn),
            Some(ClientEvent::Auth(ClientAuth::HostKey(ticket))) => {
                let checked = conn.offered_host_key().map(|key| self.host.check(key, &mut |_| ()));
                if let Some(Err(problem)) = &checked {
                    self.report.push(("host key".into(), problem.to_string()));
                }
                conn.decide_host_key(ticket, Decision::accept_if(checked == Some(Ok(()))))
            }
            Some(ClientEvent::Authenticated { .. }) => self.jobs.drain(..).try_for_each(|name| {
                let job = job(&name);
                conn.open(OpenKind::Session).map(|channel| drop(self.channels.insert(channel, (name, job))))
            }),
            Some(ClientEvent::Opened(channel)) => {
                let request = match self.channels.get(&channel) {
                    Some((name, Job::Run(_))) => ChannelRequest::Exec(name.as_str().into()),
                    _ => ChannelRequest::Subsystem("sftp".into()),
                };
                conn.request(channel, request, WantReply::Yes)
            }
            Some(ClientEvent::Channel(id, event)) => {
                self.on_channel(conn, now, id, event);
                Ok(())
            }
            Some(ClientEvent::GlobalRequest { ticket: Some(ticket), .. }) => {
                conn.reply_global(ticket, Decision::Reject, None)
            }
            Some(_) => Ok(()),
        };
        None
    }

    fn log_in(&mut self, conn: &mut ClientConnection) -> Result<(), UsageError> {
        while let Some(asked) = self.login.question() {
            self.login.answer(conn, self.answers.answer(asked))?;
        }
        if self.login.is_over() {
            self.report.extend(self.login.attempts().iter().map(|a| ("login".into(), a.to_string())));
            conn.disconnect(DisconnectCode::BY_APPLICATION, "");
        }
        Ok(())
    }

    fn on_channel(&mut self, conn: &mut ClientConnection, now: Time, id: ChannelId, event: ChannelEvent<'_>) {
        let Some((name, job)) = self.channels.get_mut(&id) else { return };
        match (event, job) {
            (ChannelEvent::Data { data, .. }, job) => {
                match job {
                    Job::Run(output) => output.extend_from_slice(data),
                    Job::Tree(session, _) => local::receive(session, data, now),
                }
                let _ = conn.consume(id, data.len());
            }
            (ChannelEvent::RequestDone { ok: false }, _) => drop(conn.close_channel(id)),
            (ChannelEvent::Exit(exit), Job::Run(_)) => self.report.push((name.clone(), format!("{exit:?}"))),
            (ChannelEvent::Closed, Job::Tree(session, _)) => session.eof(),
            (ChannelEvent::Closed, Job::Run(output)) => {
                self.report.push((mem::take(name), SshStr::new(output).to_string()));
                self.channels.remove(&id);
            }
            _ => {}
        }
    }

    /// Trees go on: what they ask of local files is done here. With the last job, the connection ends.
    fn move_trees(&mut self, conn: &mut ClientConnection, now: Time) -> Option<Time> {
        let mut due = None;
        self.channels.retain(|&channel, (name, job)| {
            let Job::Tree(session, moved) = job else { return true };
            loop {
                if let Poll::Ready(moved) = moved.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    let said = moved.and_then(TreeReport::complete).map(|r| format!("{} files", r.files));
                    self.report.push((mem::take(name), said.unwrap_or_else(|e| e.to_string())));
                    let _ = conn.close_channel(channel);
                    return false;
                }
                let settled = local::settle(session, now);
                let sent = conn.write(channel, DataStream::Data, session.tx().pending()).unwrap_or(0);
                session.tx().consume(sent);
                if sent == 0 && !settled {
                    due = due.into_iter().chain(session.deadline()).min();
                    return true;
                }
            }
        });
        if conn.is_authenticated() && self.jobs.is_empty() && self.channels.is_empty() {
            conn.disconnect(DisconnectCode::BY_APPLICATION, "done");
        }
        due
    }
}

fn job(name: &str) -> Job {
    let words: Vec<Vec<u8>> = name.splitn(3, ':').map(|word| word.as_bytes().to_vec()).collect();
    let Ok([what, from, to]) = <[_; 3]>::try_from(words) else { return Job::Run(Vec::new()) };
    let session = Session::new(sftp::ClientConfig::default(), TransferConfig::default());
    let remote = session.remote();
    let moved = async move {
        match &what[..] {
            b"put" => remote.put_tree(&from, &to, &PutOptions::new(), Links::Skip).await,
            _ => remote.get_tree(&from, &to, &GetOptions::new(), Links::Skip).await,
        }
    };
    Job::Tree(Box::new(session), Box::pin(moved))
}

/// Connects, and does the work.
pub(crate) async fn run(address: &str, work: &mut Work<'_>) -> io::Result<Option<Error>> {
    let mut transport = TransportConfig::new(provider::best());
    transport.algorithms.prefer_host_keys(&work.host.algorithms());
    let config = Arc::new(ClientConfig::new(transport));
    let conn = ClientConnection::new(config, konko::seed_from_os()?, Time::ZERO);
    let socket = tokio::net::TcpStream::connect(address).await?;
    let (_calls, calls) = unbounded_channel();
    drive(conn, socket, Instant::now(), calls, |conn, now, event| work.turn(conn, now, event)).await
}

#[allow(dead_code, reason = "the tests take this file as a module")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut words = env::args().skip(1);
    let target = words.next().ok_or("usage: tokio USER@HOST:PORT JOB...")?;
    let (user, address) = target.split_once('@').ok_or("USER@HOST:PORT")?;
    let (host, port) = address.split_once(':').ok_or("USER@HOST:PORT")?;
    let files = HostKeys::default();
    let ssh = env::home_dir().unwrap_or_default().join(".ssh");
    let keys = ["id_ed25519", "id_ecdsa", "id_rsa"].iter().map(|name| ssh.join(name));
    let auth = keys.fold(Auth::new(), Auth::key_file).password(env::var("SSH_PASSWORD").unwrap_or_default());
    let (login, answers) = auth.login(user, provider::best());
    let (host, jobs) = (files.lookup(host, port.parse()?), words.collect());
    let mut work = Work { host, login, answers, jobs, channels: BTreeMap::new(), report: Vec::new() };
    let end = run(address, &mut work).await?;
    work.report.iter().for_each(|(job, said)| println!("{job}: {said}"));
    end.map_or(Ok(()), |error| Err(error.into()))
}
