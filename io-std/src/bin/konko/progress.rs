//! Progress of transfers on a terminal, and limits of their rate.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use konko::core::wire::SshStr;
use konko::sftp::{OnProgress, Progress};

/// Shows how far files have come, on a terminal; elsewhere nothing.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<State>>);

struct State {
    bar: Option<ProgressBar>,
    /// The file that is shown, and since when.
    file: Vec<u8>,
    since: Instant,
    start: u64,
    shown: bool,
    limit: Option<Limit>,
}

/// Bytes in a second, and what was moved of them.
struct Limit {
    rate: f64,
    since: Instant,
    /// Bytes of each file that moves.
    files: std::collections::BTreeMap<Vec<u8>, u64>,
    moved: f64,
}

impl Meter {
    /// Shown if `wanted` and standard output is a terminal; at most `limit` Kbit/s.
    pub fn new(wanted: bool, limit: Option<u64>) -> Self {
        let limit = limit.map(|kbits| Limit {
            rate: (kbits.max(1) * 1000 / 8) as f64,
            since: Instant::now(),
            files: Default::default(),
            moved: 0.0,
        });
        Meter(Arc::new(Mutex::new(State {
            bar: None,
            file: Vec::new(),
            since: Instant::now(),
            start: 0,
            shown: wanted && io::stdout().is_terminal(),
            limit,
        })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Turns it on or off; what it is then.
    pub fn toggle(&self) -> bool {
        let mut state = self.lock();
        state.shown = !state.shown && io::stdout().is_terminal();
        state.shown
    }

    /// What transfers call; `None` if they need not.
    pub fn callback(&self) -> Option<OnProgress> {
        let state = self.lock();
        if !state.shown && state.limit.is_none() {
            return None;
        }
        let this = self.clone();
        Some(Arc::new(move |progress: Progress<'_>| {
            let mut state = this.lock();
            state.show(&progress);
            let pause = state.limit.as_mut().and_then(|limit| limit.pause(&progress));
            drop(state);
            // The thread that drives the session is the one that is slowed down.
            pause.into_iter().for_each(std::thread::sleep);
        }))
    }

    /// Nothing is shown any more.
    pub fn clear(&self) {
        if let Some(bar) = self.lock().bar.take() {
            bar.finish_and_clear();
        }
    }
}

impl Limit {
    fn pause(&mut self, progress: &Progress<'_>) -> Option<Duration> {
        let before = self.files.insert(progress.remote.to_vec(), progress.done).unwrap_or(0);
        if progress.finished {
            self.files.remove(progress.remote);
        }
        self.moved += progress.done.saturating_sub(before) as f64;
        let ahead = self.moved / self.rate - self.since.elapsed().as_secs_f64();
        (ahead > 0.0).then(|| Duration::from_secs_f64(ahead.min(5.0)))
    }
}

impl State {
    fn show(&mut self, progress: &Progress<'_>) {
        if !self.shown {
            return;
        }
        let name = SshStr::new(progress.remote).excerpt(40);
        if self.file != progress.remote {
            self.file = progress.remote.to_vec();
            (self.since, self.start) = (Instant::now(), progress.done);
        }
        let bar = self.bar.get_or_insert_with(new_bar);
        bar.set_length(progress.total.unwrap_or(progress.done));
        bar.set_prefix(name.clone());
        bar.set_position(progress.done);
        if progress.finished {
            let took = self.since.elapsed().as_secs_f64().max(0.001);
            let rate = (progress.done.saturating_sub(self.start)) as f64 / took;
            let percent = match progress.total {
                Some(total) if total > 0 => progress.done.min(total) * 100 / total,
                _ => 100,
            };
            let (size, rate) = (HumanBytes(progress.done), HumanBytes(rate as u64));
            bar.println(format!("{name:<40} {percent:>3}%  {size:>11}  {rate:>11}/s  {took:>7.1}s"));
            bar.reset_eta();
        }
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
    let style = "{prefix:<40} {percent:>3}%  {bytes:>11}  {binary_bytes_per_sec:>13}  {eta} left";
    if let Ok(style) = ProgressStyle::with_template(style) {
        bar.set_style(style);
    }
    bar
}
