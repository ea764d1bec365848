//! Doing to a new connection what was done to the recorded one.
//!
//! The new connection is recorded itself, and the two recordings are compared byte by byte: what
//! goes in is the same by construction, so the first difference is in what comes out.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use crate::channel::{ChannelId, GlobalTicket, OpenFailure, OpenTicket, RequestTicket};
use crate::client::{AuthRequest, ClientSide, HostKeyTicket, Password, PromptTicket, SignTicket};
use crate::connection::{Connection, Decision, Event, Side, Step, WantReply};
use crate::keys::{KeyPair, PublicKey, SignatureAlgorithm, TouchPolicy};
use crate::msg::DisconnectCode;
use crate::record::{AuthFields, Call, HEADER, KeyRef, KeyUse, Record, SecretTranscript};
use crate::server::{AuthTicket, ProbeTicket, ServerSide};
use crate::time::Time;
use crate::transport::negotiate::Role;
use crate::transport::{DoneJob, Job, RxBuf};
use crate::wire::Reader;
use crate::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};

/// What a transcript does not hold.
#[derive(Clone, Debug)]
pub enum Setup<'a> {
    /// Of a client.
    Client {
        /// The configuration that was recorded with.
        config: Arc<ClientConfig>,
        /// The key pairs that `authenticate` was called with, in any order.
        keys: &'a [Arc<KeyPair>],
    },
    /// Of a server: the configuration that was recorded with, host keys included.
    Server(Arc<ServerConfig>),
}

/// What a replay that came out the same went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Records of the transcript.
    pub records: usize,
    /// Calls of `poll`.
    pub polls: u64,
    /// Calls of other methods.
    pub calls: u64,
    /// Bytes of input.
    pub received: u64,
    /// Bytes of output.
    pub sent: u64,
    /// The recording has its end; without it, it was cut off.
    pub complete: bool,
}

/// The first place where a replay came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Divergence {
    /// The record, counted from 1; 0 is the header.
    pub step: usize,
    /// What was being done last. Holds no secrets, like the other texts.
    pub what: String,
    /// What the transcript says.
    pub expected: String,
    /// What happened now.
    pub got: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Divergence { step, what, expected, got } = self;
        write!(f, "record {step}, after {what}: expected {expected}, got {got}")
    }
}

impl core::error::Error for Divergence {}

/// Does everything again that the transcript tells, on a new connection.
///
/// # Errors
///
/// The first difference in output, events, errors or deadlines. A `setup` of the other role, a key
/// that is missing from it, or another configuration show as one, too.
pub fn replay(transcript: &SecretTranscript, setup: Setup<'_>) -> Result<Report, Divergence> {
    let (seed, start) = transcript.start();
    match (setup, transcript.role()) {
        (Setup::Client { config, keys }, Role::Client) => {
            Player::new(transcript, ClientConnection::recorded(config, seed, start), keys, start).run()
        }
        (Setup::Server(config), Role::Server) => {
            Player::new(transcript, ServerConnection::recorded(config, seed, start), &[], start).run()
        }
        (_, role) => Err(Divergence {
            step: 0,
            what: "the start".into(),
            expected: alloc::format!("a setup of a {role:?}"),
            got: alloc::format!("one of a {:?}", role.peer()),
        }),
    }
}

/// A role whose calls can be replayed.
trait Replayable: Side + Sized {
    /// Does a call of the role. Errors say what is missing.
    fn apply(conn: &mut Connection<Self>, keys: &[Arc<KeyPair>], call: Call<'_>) -> Result<(), &'static str>;
}

/// One replay.
struct Player<'t, S: Replayable> {
    transcript: &'t SecretTranscript,
    conn: Connection<S>,
    keys: &'t [Arc<KeyPair>],
    rx: RxBuf,
    now: Time,
    jobs: Vec<Job>,
    /// How far the two recordings were compared, in bytes of the body and in records.
    same: usize,
    step: usize,
    /// What was done last.
    last: String,
    report: Report,
}

impl<'t, S: Replayable> Player<'t, S> {
    fn new(
        transcript: &'t SecretTranscript,
        conn: Connection<S>,
        keys: &'t [Arc<KeyPair>],
        now: Time,
    ) -> Self {
        Player {
            transcript,
            conn,
            keys,
            rx: RxBuf::new(),
            now,
            jobs: Vec::new(),
            same: 0,
            step: 0,
            last: "the start".into(),
            report: Report::default(),
        }
    }

    fn run(mut self) -> Result<Report, Divergence> {
        let mine = self.drain();
        debug_assert!(mine.starts_with(self.transcript.header()));
        self.compare(mine.get(HEADER..).unwrap_or_default())?;
        let mut records = self.transcript.records().peekable();
        while let Some(record) = records.next() {
            self.report.records = self.report.records.saturating_add(1);
            match record {
                Record::Poll { .. } | Record::Call(_) => self.last = record.to_string(),
                _ => {}
            }
            match record {
                Record::Poll { delta, eof, input } => self.poll(delta, eof, input),
                Record::Call(Call::Slot { channel, stream, want }) => {
                    // A commit belongs to the slot before it, and ends its loan.
                    let data = match records.peek() {
                        Some(Record::Call(Call::Commit { data })) => Some(data.0),
                        _ => None,
                    };
                    if data.is_some() {
                        self.report.records = self.report.records.saturating_add(1);
                        records.next();
                    }
                    self.slot(channel, stream, want, data);
                }
                Record::Call(call) => self.call(call)?,
                Record::Sent { len } => {
                    self.report.sent = self.report.sent.saturating_add(len);
                    self.conn.tx();
                }
                Record::Consumed(n) => self.conn.tx().consume(usize::try_from(n).unwrap_or(usize::MAX)),
                Record::Found { .. } => {}
                Record::End => {
                    self.report.complete = true;
                    break;
                }
            }
            let mine = self.drain();
            self.compare(&mine)?;
        }
        self.end()
    }

    /// What is left to compare when everything was done.
    fn end(mut self) -> Result<Report, Divergence> {
        if self.report.complete {
            let transcript = self.conn.take_transcript();
            let mine = transcript.as_ref().map_or(&[][..], SecretTranscript::to_bytes);
            self.compare(mine)?;
        } else {
            // Cut off: the marks of the last step may be missing.
            self.conn.tx();
            let mine = self.drain();
            self.compare(&mine)?;
        }
        let rest = self.transcript.body().get(self.same..).unwrap_or_default();
        match Record::next(&mut Reader::new(rest)) {
            Ok(record) => Err(self.divergence(1, record.to_string(), "nothing".into())),
            Err(_) => Ok(self.report),
        }
    }

    fn drain(&mut self) -> zeroize::Zeroizing<Vec<u8>> {
        self.conn.core.recorder.as_mut().map(|r| r.drain()).unwrap_or_default()
    }

    /// Compares what was recorded now with the same place of the transcript.
    fn compare(&mut self, mine: &[u8]) -> Result<(), Divergence> {
        let theirs = self.transcript.body().get(self.same..).unwrap_or_default();
        // Where a recording was cut off, more happens than it tells.
        let cut = !self.transcript.is_complete() && mine.starts_with(theirs);
        let mine = if cut { theirs } else { mine };
        let mut r = Reader::new(mine);
        if theirs.starts_with(mine) {
            while Record::next(&mut r).is_ok() {
                self.step = self.step.saturating_add(1);
            }
            self.same = self.same.saturating_add(mine.len());
            return Ok(());
        }
        let mut expected = Reader::new(theirs);
        let mut steps = 1usize;
        loop {
            let (before_e, before_g) = (expected.rest(), r.rest());
            let (e, g) = (Record::next(&mut expected), Record::next(&mut r));
            let used = before_g.len().saturating_sub(r.rest().len());
            if g.is_err() || before_e.get(..used) != before_g.get(..used) {
                let show = |r: &Result<Record<'_>, _>| r.as_ref().map_or("nothing".into(), Record::to_string);
                let (expected, mut got) = (show(&e), show(&g));
                if expected == got {
                    got.push_str(", but with other content");
                }
                return Err(self.divergence(steps, expected, got));
            }
            steps = steps.saturating_add(1);
        }
    }

    fn divergence(&self, ahead: usize, expected: String, got: String) -> Divergence {
        Divergence { step: self.step.saturating_add(ahead), what: self.last.clone(), expected, got }
    }

    fn poll(&mut self, delta: u64, eof: bool, input: &[u8]) {
        self.report.polls = self.report.polls.saturating_add(1);
        self.report.received = self.report.received.saturating_add(input.len() as u64);
        self.now = Time::from_micros(self.now.as_micros().wrapping_add(delta));
        self.rx.push(input);
        if eof {
            self.rx.eof();
        }
        if let Ok(Step::Event(Event::Job(job))) = self.conn.poll(self.now, &mut self.rx) {
            self.jobs.push(*job);
        }
    }

    fn slot(&mut self, id: ChannelId, stream: crate::channel::DataStream, want: u64, data: Option<&[u8]>) {
        self.report.calls = self.report.calls.saturating_add(1);
        let want = usize::try_from(want).unwrap_or(usize::MAX);
        let Ok(Some(mut slot)) = self.conn.slot(id, stream, want) else { return };
        if let Some(data) = data {
            for (to, from) in slot.bytes().iter_mut().zip(data) {
                *to = *from;
            }
            slot.commit(data.len());
        }
    }

    fn call(&mut self, call: Call<'_>) -> Result<(), Divergence> {
        self.report.calls = self.report.calls.saturating_add(1);
        let done = match call {
            Call::FinishJob { generation } => {
                let at = self.jobs.iter().position(|j| j.number() == generation);
                let done = match at {
                    Some(at) => self.jobs.swap_remove(at).run(),
                    // Of another connection: refused then as now.
                    None => DoneJob::stray(generation),
                };
                ignore(self.conn.finish_job(done));
                Ok(())
            }
            call => match both(&mut self.conn, call) {
                Some(own) => S::apply(&mut self.conn, self.keys, own),
                None => Ok(()),
            },
        };
        done.map_err(|missing| self.divergence(1, self.last.clone(), missing.into()))
    }
}

/// Results are not looked at: what they tell shows in the marks.
fn ignore<T>(_: T) {}

/// Does a call that both roles have; one that they have not comes back.
fn both<'c>(conn: &mut Connection<dyn Side>, call: Call<'c>) -> Option<Call<'c>> {
    match call {
        Call::AcceptChannel { channel } => ignore(conn.accept_channel(OpenTicket { channel })),
        Call::RejectChannel { channel, why, text } => {
            ignore(conn.reject_channel(OpenTicket { channel }, OpenFailure(why), text));
        }
        Call::Request { channel, want_reply, request } => {
            ignore(conn.request(channel, request, WantReply::yes_if(want_reply)))
        }
        Call::Reply { channel, number, ok } => {
            ignore(conn.reply(RequestTicket { channel, number }, Decision::accept_if(ok)))
        }
        Call::Write { channel, stream, data } => ignore(conn.write(channel, stream, data.0)),
        Call::Consume { channel, n } => {
            ignore(conn.consume(channel, usize::try_from(n).unwrap_or(usize::MAX)));
        }
        Call::SendEof { channel } => ignore(conn.send_eof(channel)),
        Call::CloseChannel { channel } => ignore(conn.close_channel(channel)),
        Call::OpenWith { window, kind } => ignore(conn.open_with(kind, window)),
        // Handled where the two can be seen together. Without a slot before it, a commit does nothing; the
        // comparison says so.
        Call::Slot { .. } | Call::Commit { .. } => {}
        Call::RequestGlobal { want_reply, name, fields } => {
            ignore(conn.request_global(name, fields.0, WantReply::yes_if(want_reply)));
        }
        Call::ReplyGlobal { number, ok, port } => {
            ignore(conn.reply_global(GlobalTicket { number }, Decision::accept_if(ok), port));
        }
        Call::Rekey {} => ignore(conn.rekey()),
        Call::Disconnect { code, text } => conn.disconnect(DisconnectCode(code), text),
        own => return Some(own),
    }
    None
}

impl Replayable for ClientSide {
    fn apply(conn: &mut ClientConnection, keys: &[Arc<KeyPair>], call: Call<'_>) -> Result<(), &'static str> {
        match call {
            Call::DecideHostKey { number, accept } => {
                ignore(conn.decide_host_key(HostKeyTicket { number }, Decision::accept_if(accept)));
            }
            Call::Authenticate { user, proof } => return authenticate(conn, keys, user, proof),
            Call::ProvideSignature { number, signature } => {
                ignore(conn.provide_signature(SignTicket { number }, signature.0));
            }
            Call::CancelSignature { number } => ignore(conn.cancel_signature(SignTicket { number })),
            Call::AnswerPrompts { number, answers } => {
                let answers = answers.list().map_err(|_| "answers that do not parse")?;
                ignore(conn.answer_prompts(PromptTicket { number }, &answers));
            }
            _ => return Err("a client, which has no such call"),
        }
        Ok(())
    }
}

fn authenticate(
    conn: &mut ClientConnection,
    keys: &[Arc<KeyPair>],
    user: &[u8],
    proof: AuthFields<'_>,
) -> Result<(), &'static str> {
    let mut call = |method: AuthRequest<'_>| ignore(conn.authenticate(user, method));
    match proof {
        AuthFields::None => call(AuthRequest::None),
        AuthFields::Password(p) => call(AuthRequest::Password(&Password::new(p))),
        AuthFields::PasswordChange { old, new } => {
            call(AuthRequest::PasswordChange { old: &Password::new(old), new: &Password::new(new) });
        }
        AuthFields::Key(usage, key, algorithm) => return authenticate_key(call, keys, usage, key, algorithm),
        AuthFields::KeyboardInteractive => call(AuthRequest::KeyboardInteractive),
        AuthFields::Host(usage, key, algorithm, claim) => {
            let hosts = |request: AuthRequest<'_>| match request {
                AuthRequest::PublicKey { key, algorithm } => {
                    call(AuthRequest::HostBased { key, algorithm, claim });
                }
                AuthRequest::ExternalKey { key, algorithm } => {
                    call(AuthRequest::ExternalHostBased { key, algorithm, claim });
                }
                _ => {}
            };
            return authenticate_key(hosts, keys, usage, key, algorithm);
        }
    }
    Ok(())
}

fn authenticate_key(
    mut call: impl FnMut(AuthRequest<'_>),
    keys: &[Arc<KeyPair>],
    usage: KeyUse,
    key: KeyRef<'_>,
    algorithm: &str,
) -> Result<(), &'static str> {
    // Types of key that are not of the table come with the setup.
    let mut own = keys.iter().flat_map(|pair| pair.public().signature_algorithms()).copied();
    let algorithm =
        SignatureAlgorithm::from_name(algorithm).or_else(|| own.find(|own| own.name() == algorithm));
    let algorithm = algorithm.ok_or("a signature algorithm that is not here")?;
    let public = match key {
        KeyRef::Given(key) => key.clone(),
        KeyRef::Blob(blob) => PublicKey::from_blob_with(algorithm.key_type(), blob)
            .map_err(|_| "a public key that does not parse")?,
    };
    match usage {
        KeyUse::Probe => call(AuthRequest::ProbeKey { key: &public, algorithm }),
        KeyUse::Elsewhere => call(AuthRequest::ExternalKey { key: &public, algorithm }),
        KeyUse::Here => {
            let pair = keys.iter().find(|k| *k.public() == public);
            let key = pair.ok_or("no such key pair in the setup of the replay")?;
            call(AuthRequest::PublicKey { key, algorithm });
        }
    }
    Ok(())
}

impl Replayable for ServerSide {
    fn apply(
        conn: &mut ServerConnection,
        _keys: &[Arc<KeyPair>],
        call: Call<'_>,
    ) -> Result<(), &'static str> {
        match call {
            Call::DecideAuth { number, decision } => {
                ignore(conn.decide_auth(AuthTicket { number }, Cow::into_owned(decision)));
            }
            Call::DecideProbe { number, usable } => {
                ignore(conn.decide_probe(ProbeTicket { number }, Decision::accept_if(usable)))
            }
            Call::AcceptProbe { number, touch, verify } => {
                ignore(conn.accept_probe(ProbeTicket { number }, TouchPolicy::new(touch, verify)))
            }
            _ => return Err("a server, which has no such call"),
        }
        Ok(())
    }
}
