//! Progress of transfers on a terminal, and limits of their rate.

use std::io::{self, IsTerminal};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{HumanBytes, ProgressBar, ProgressDrawTarget, ProgressStyle};
use konko::Sftp;
use konko::core::wire::SshStr;
use konko::sftp::Progress;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::{streams, terminal};

/// Shows how far files have come, on a terminal; elsewhere nothing.
#[derive(Clone)]
pub struct Meter(Arc<Mutex<State>>);

struct State {
    bar: Option<ProgressBar>,
    /// The file that is shown, and since when.
    file: Vec<u8>,
    since: Instant,
    start: u64,
    /// When it was last drawn.
    drawn: Option<Instant>,
    /// When the transfer was asked for, or its last file ended.
    begun: Instant,
    shown: bool,
    limit: Option<Limit>,
}

/// How often a line is drawn anew.
const EVERY: Duration = Duration::from_millis(100);

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
            drawn: None,
            begun: Instant::now(),
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

    /// A handle whose transfers are shown and limited, if they are to be.
    pub fn watch(&self, sftp: &Sftp) -> Sftp {
        let mut state = self.lock();
        state.begun = Instant::now();
        if !state.shown && state.limit.is_none() {
            return sftp.clone();
        }
        let this = self.clone();
        sftp.on_progress(move |progress| {
            let mut state = this.lock();
            state.show(progress);
            let pause = state.limit.as_mut().and_then(|limit| limit.pause(progress));
            drop(state);
            // The thread that drives the session is the one that is slowed down.
            pause.into_iter().for_each(std::thread::sleep);
        })
    }

    /// Nothing is shown any more.
    pub fn clear(&self) {
        self.lock().clear();
    }
}

impl Limit {
    fn pause(&mut self, progress: &Progress) -> Option<Duration> {
        let before = self.files.insert(progress.remote.to_vec(), progress.done).unwrap_or(0);
        if progress.finished {
            self.files.remove(&progress.remote);
        }
        self.moved += progress.done.saturating_sub(before) as f64;
        let ahead = self.moved / self.rate - self.since.elapsed().as_secs_f64();
        (ahead > 0.0).then(|| Duration::from_secs_f64(ahead.min(5.0)))
    }
}

impl State {
    /// One line a file: it changes in place, and stays when the file is done.
    fn show(&mut self, progress: &Progress) {
        if !self.shown {
            return;
        }
        let now = Instant::now();
        if self.file != progress.remote {
            self.file = progress.remote.to_vec();
            // Where it starts is not known, unless it is over at once.
            (self.since, self.start) = if progress.finished { (self.begun, 0) } else { (now, progress.done) };
        }
        if !progress.finished && self.drawn.is_some_and(|drawn| now.duration_since(drawn) < EVERY) {
            return;
        }
        self.drawn = Some(now);
        let took = now.duration_since(self.since).as_secs_f64();
        let rate = progress.done.saturating_sub(self.start) as f64 / took.max(0.001);
        let left = progress.total.map_or(0, |total| total.saturating_sub(progress.done));
        let time = match progress.finished {
            true => format!("{took:.1}s"),
            false if rate < 1.0 => "- left".into(),
            false => format!("{} left", duration((left as f64 / rate) as u64)),
        };
        let percent = match progress.total {
            Some(total) if total > 0 => progress.done.min(total) * 100 / total,
            _ => 100,
        };
        let figures = [
            format!("  {percent:>3}%"),
            format!("  {:>10}", HumanBytes(progress.done).to_string()),
            format!("  {:>12}", format!("{}/s", HumanBytes(rate as u64))),
            format!("  {time:>11}"),
        ];
        let line = line(&progress.remote, &figures, terminal::size().0 as usize);
        if progress.finished {
            self.clear();
            self.file.clear();
            self.begun = now;
            streams::line(format_args!("{line}"));
        } else {
            self.bar.get_or_insert_with(new_bar).set_message(line);
        }
    }

    fn clear(&mut self) {
        self.drawn = None;
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// What the name of a file gets at least before a column of figures is left out.
const NAME: usize = 12;

/// A line that is narrower than the terminal. Its end matters least, and a long name is cut as in OpenSSH.
fn line(name: &[u8], figures: &[String], columns: usize) -> String {
    // A line that fills the terminal would take two on some.
    let room = columns.saturating_sub(1);
    let mut figures = figures;
    let width = |figures: &[String]| figures.iter().map(|column| column.width()).sum::<usize>();
    while width(figures) + NAME > room
        && let [fewer @ .., _] = figures
    {
        figures = fewer;
    }
    let room = room.saturating_sub(width(figures));
    let (mut cut, mut used) = (String::new(), 0);
    for c in SshStr::new(name).excerpt(columns).chars() {
        let width = c.width().unwrap_or(0);
        if used + width > room {
            break;
        }
        used += width;
        cut.push(c);
    }
    format!("{cut}{}{}", " ".repeat(room - used), figures.concat())
}

fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        _ => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn new_bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout_with_hz(10));
    if let Ok(style) = ProgressStyle::with_template("{msg}") {
        bar.set_style(style);
    }
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c21_a_line_fits_the_terminal_whatever_it_says() {
        let figures = ["  100%", "    76.29 MiB", "  10.21 MiB/s", "     3s left"].map(str::to_owned);
        let wide = "\u{754c}\u{1f41a}e\u{301} \u{754c}".repeat(40);
        let names: [&[u8]; 5] = [b"short", &[b'n'; 300], wide.as_bytes(), b"\x1b[2J\n\r\t\xff\x00", b""];
        for name in names {
            for columns in 0..200 {
                let line = line(name, &figures, columns);
                assert!(line.width() < columns.max(1), "{columns}: {line:?}");
                assert!(!line.chars().any(char::is_control));
                if columns >= 60 {
                    assert!(line.ends_with("left"), "{columns}: {line:?}");
                }
            }
        }
        assert_eq!(
            [0, 59, 60, 3599, 3600, 100_000].map(duration),
            ["0s", "59s", "1m00s", "59m59s", "1h00m", "27h46m"]
        );
    }
}
