//! What is not answered: it is asked for again, less of it at a time, and given up in the end.

use alloc::vec::Vec;

use crate::sftp::client::{RequestId, SftpClient};
use crate::time::Time;

use super::engine::Transfers;
use super::job::Work;
use super::requests::{Ask, Sent};
use super::{JobId, TransferError};

impl Transfers {
    /// No reply for too long: what was asked for is asked for again, less of it at a time. None to a request
    /// while later ones are answered: that one is.
    pub(super) fn check_stall(&mut self, client: &mut SftpClient, now: Time) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        let lane = &mut self.lane;
        if lane.window.deadline(true).is_some_and(|at| at <= now) {
            lane.window.stalled(now);
            lane.requests.set_mark(now);
            let given_up = lane.window.stalls > lane.config.max_stalls;
            let started = self.jobs.iter().filter(|(_, job)| job.task.started);
            let jobs: Vec<JobId> = started.map(|(key, _)| JobId(key)).collect();
            jobs.into_iter().for_each(|id| self.stalled(client, id, u64::MAX, given_up));
            return;
        }
        let overtaken = lane.requests.set_mark(now);
        for id in lane.requests.starved(overtaken) {
            self.stalled(client, id, overtaken, false);
        }
    }

    /// What a job sent before `turn` is not answered: it is asked for again.
    fn stalled(&mut self, client: &mut SftpClient, id: JobId, turn: u64, given_up: bool) {
        if given_up || self.is_given_up(id, turn) {
            return self.abandon(client, id);
        }
        self.drop_questions(client, id, turn);
        if self.job_mut(id).is_none_or(|job| job.is_lasting()) {
            return;
        }
        let gone = self.drop_data(client, id, turn);
        let Some(job) = self.jobs.get_mut(id.0).filter(|_| !gone.is_empty()) else { return };
        for (_, sent) in gone {
            let offset = sent.offset.saturating_add(u64::from(sent.got));
            job.again(offset, sent.len.saturating_sub(sent.got));
        }
        if let Work::Upload(upload) = &mut job.work
            && upload.go_back(&mut self.lane, &mut job.task)
        {
            self.take(client, id, u64::MAX, |_| true);
        }
        self.wake(id);
    }

    /// Whether a job has stalled too often. What else is answered meanwhile, of it or of others, does not help.
    fn is_given_up(&mut self, id: JobId, turn: u64) -> bool {
        let most = self.lane.config.max_stalls;
        let waits = self.lane.requests.waits(id, turn);
        let Some(job) = self.job_mut(id).filter(|_| waits) else { return false };
        let (times, before) = job.task.starved;
        let done = job.done();
        job.task.starved = (if done > before { 1 } else { times.saturating_add(1) }, done);
        job.task.starved.0 > most
    }

    /// Nobody wants the data any more that was asked for before `turn`.
    pub(super) fn drop_data(
        &mut self,
        client: &mut SftpClient,
        id: JobId,
        turn: u64,
    ) -> Vec<(RequestId, Sent)> {
        self.take(client, id, turn, Ask::is_data)
    }

    /// Does without what would only have been good to know, and was asked before `turn`.
    fn drop_questions(&mut self, client: &mut SftpClient, id: JobId, turn: u64) {
        // A put that goes on where the file ends has to know where that is.
        let resumes = self.job_mut(id).is_some_and(|job| matches!(job.work, Work::Upload(_)));
        let gone = self.take(client, id, turn, |ask| match ask {
            Ask::Stat => !resumes,
            ask => matches!(ask, Ask::Restat | Ask::StatPath | Ask::Look),
        });
        if let Some(intake) = self.job_mut(id).filter(|_| !gone.is_empty()).and_then(|job| job.intake()) {
            intake.ranges.size_pending = false;
        }
        self.wake(id);
    }

    /// Ends a job. What does not answer will not answer a CLOSE either: one last attempt to tidy up, without
    /// waiting for it.
    fn abandon(&mut self, client: &mut SftpClient, id: JobId) {
        self.take(client, id, u64::MAX, |_| true);
        self.with(id, |_, job| {
            job.fail(TransferError::Stalled);
            if let Work::Failed(failed) = &mut job.work {
                failed.patient = false;
            }
        });
        self.wake(id);
    }

    /// Waits no longer for the answers to what a job sent before `turn`.
    fn take(
        &mut self,
        client: &mut SftpClient,
        id: JobId,
        turn: u64,
        which: impl Fn(Ask) -> bool,
    ) -> Vec<(RequestId, Sent)> {
        let gone = self.lane.requests.take(id, turn, which);
        for (request, sent) in &gone {
            client.cancel(*request);
            if let Some(job) = self.jobs.get_mut(id.0) {
                self.lane.forgotten(&mut job.task, sent);
            }
        }
        gone
    }
}
