//! What a client makes of a server that tells which keys it has (`UpdateHostKeys`): a short-lived thread of its own reads
//! and changes the user's files, since the one that reads the connection must not wait for them.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use konko_core::WantReply;
use konko_core::crypto::Provider;
use konko_core::hosts::{HostKeyChanges, HostKeyCheck, NextOfUpdate, PROOF, Settled, Unchanged};
use konko_core::keys::SignatureAlgorithm;

use crate::client::Client;
use crate::end::ClientEnd;
use crate::known_hosts;
use crate::notice::Notice;
use crate::shared::{Deadline, Shared};

/// How long a server may take to tell its keys after the login, and to prove them.
const PATIENCE: Duration = Duration::from_secs(10);

/// Who is asked whether files are to be changed.
pub(crate) type AskChanges = Arc<dyn Fn(&HostKeyChanges) -> bool + Send + Sync>;

/// What an update needs, from the moment that the host key was accepted.
#[derive(Clone)]
pub(crate) struct Updater {
    pub(crate) check: HostKeyCheck,
    pub(crate) settled: Settled,
    pub(crate) allowed: Vec<SignatureAlgorithm>,
    pub(crate) min_rsa_bits: usize,
    pub(crate) provider: &'static dyn Provider,
    pub(crate) ask: Option<AskChanges>,
}

impl Client {
    /// Lets the server tell its keys, now that the user is in.
    pub(crate) fn begin_update(&self) {
        let Some(updater) = self.shared.lock().end.updater.take() else { return };
        let shared = Arc::clone(&self.shared);
        let work = move || {
            let told = shared.wait(Deadline::after(Some(PATIENCE)), "the server's keys", |state| {
                state.end.announced.take()
            });
            if let Ok(fields) = told {
                updater.run(&shared, &fields);
            }
            shared.with(|state| state.end.updating = false);
        };
        self.shared.with(|state| state.end.updating = true);
        if thread::Builder::new().name("konko host keys".into()).spawn(work).is_err() {
            self.shared.with(|state| state.end.updating = false);
        }
    }

    /// Waits, no longer than this, until an update of the host's keys that the server has begun is over (see
    /// [`update_host_keys`](crate::KnownHostsFiles::update_host_keys)): for programs that are about to end.
    pub fn finish_host_keys(&self, patience: Duration) {
        // A server that has told nothing by now is not waited for.
        let _ = self.shared.wait(Deadline::after(Some(patience)), "the host's keys", |state| {
            (!state.end.updating || !state.end.told).then_some(())
        });
    }
}

impl Updater {
    fn run(&self, shared: &Arc<Shared<ClientEnd>>, fields: &[u8]) {
        let done = self.changes(shared, fields).and_then(|changes| {
            let agreed = !changes.must_ask() || self.ask.as_ref().is_some_and(|ask| ask(&changes));
            if agreed { Ok(changes) } else { Err(Unchanged::Unproven("nobody has agreed to it")) }
        });
        match done {
            Ok(changes) => {
                for line in known_hosts::apply(&changes) {
                    shared.notice(Notice::HostKeysUpdated(line));
                }
            }
            Err(why) => shared.notice(Notice::HostKeysKept(why.to_string())),
        }
    }

    fn changes(&self, shared: &Arc<Shared<ClientEnd>>, fields: &[u8]) -> Result<HostKeyChanges, Unchanged> {
        let mut update = self.check.update(&self.settled, fields, &self.allowed, self.min_rsa_bits)?;
        let fields = match known_hosts::decide(&mut update) {
            NextOfUpdate::Prove(fields) => fields,
            NextOfUpdate::Change(changes) => return Ok(changes),
            NextOfUpdate::Nothing(why) => return Err(why),
        };
        let gone = || Unchanged::Unproven("the connection has ended");
        let asked = shared.with(|state| {
            state.end.conn.request_global(PROOF, &fields, WantReply::Yes)?;
            state.end.proof = Some(None);
            Ok::<_, konko_core::error::UsageError>(())
        });
        asked.map_err(|_| gone())?;
        let (granted, proofs, session, algorithm) = shared
            .wait(Deadline::after(Some(PATIENCE)), "proofs of the server's keys", |state| {
                let (granted, proofs) = state.end.proof.as_mut()?.take()?;
                let session = state.end.conn.session_id()?.as_bytes().to_vec();
                Some((granted, proofs, session, state.end.conn.negotiated()?.host_key))
            })
            .map_err(|_| gone())?;
        update.proved(self.provider, &session, algorithm, granted, &proofs)
    }
}
