//! A terminal that a test looks at and types into: a `tmux` server of its own, with one window.

use crate::process::{Process, wait_until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// How long a screen may take to show something.
const PATIENCE: Duration = Duration::from_secs(20);

/// The server; ends when dropped, and what runs in it too.
#[derive(Debug)]
pub struct Tmux {
    program: PathBuf,
    socket: PathBuf,
}

impl Tmux {
    /// Runs `command` in a window of that size. `folder` takes the server's socket.
    ///
    /// # Panics
    /// When tmux does not start.
    pub fn start(program: &Path, folder: &Path, (columns, rows): (u16, u16), command: &Command) -> Self {
        let tmux = Self { program: program.to_owned(), socket: folder.join("tmux") };
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let mut arguments = vec!["-f", "/dev/null", "start-server"];
        arguments.extend([";", "new-session", "-d", "-x", &columns, "-y", &rows]);
        // tmux itself now and then misses how a program ended, so a shell says it, and keeps the window.
        arguments.extend(["sh", "-c", "\"$@\"; printf '\\nended with %s\\n' $?; exec cat", "sh"]);
        let words = words(command);
        arguments.extend(words.iter().map(String::as_str));
        tmux.run(&arguments);
        tmux
    }

    /// Types a line.
    pub fn line(&self, text: &str) {
        self.run(&["send-keys", "-l", text]);
        self.key("Enter");
    }

    /// Presses a key, as `C-c`.
    pub fn key(&self, name: &str) {
        self.run(&["send-keys", name]);
    }

    /// Makes the window as large as that.
    pub fn resize(&self, columns: u16, rows: u16) {
        self.run(&["resize-window", "-x", &columns.to_string(), "-y", &rows.to_string()]);
    }

    /// The text in the window, without what blanks stand at the ends of lines.
    pub fn screen(&self) -> String {
        self.run(&["capture-pane", "-p"])
    }

    /// Waits until the window has a line that is `line`.
    ///
    /// # Panics
    /// When it does not come in time.
    #[track_caller]
    pub fn expect_line(&self, line: &str) {
        self.expect(&format!("the line \"{line}\""), |screen| screen.lines().any(|l| l.trim_end() == line));
    }

    /// Waits until the window is as `right` says.
    ///
    /// # Panics
    /// When it does not become so in time.
    #[track_caller]
    pub fn expect(&self, what: &str, right: impl Fn(&str) -> bool) {
        let found = wait_until(PATIENCE, || {
            // tmux is a program: asking it more often would be most of the work.
            std::thread::sleep(Duration::from_millis(20));
            right(&self.screen()).then_some(())
        });
        assert!(found.is_some(), "{what} did not come; the screen:\n{}", self.screen());
    }

    /// Waits for the end of the program; its exit status.
    ///
    /// # Panics
    /// When it does not end in time.
    #[track_caller]
    pub fn wait(&self) -> i32 {
        let status = wait_until(PATIENCE, || {
            std::thread::sleep(Duration::from_millis(20));
            self.screen().lines().find_map(|line| line.strip_prefix("ended with ")?.trim().parse().ok())
        });
        status.unwrap_or_else(|| panic!("the program did not end; the screen:\n{}", self.screen()))
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let done = Process::new(self.command(arguments)).run().unwrap_or_else(|e| panic!("{e}"));
        done.expect_code(0);
        done.stdout.text()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-S").arg(&self.socket).args(arguments);
        command.env("TERM", "xterm").env("LC_ALL", "C.UTF-8").env_remove("TMUX");
        command
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Process::new(self.command(&["kill-server"])).run();
    }
}

/// A command with its environment as words for `env`.
pub fn words(command: &Command) -> Vec<String> {
    let mut words = vec!["env".to_owned()];
    for (name, value) in command.get_envs() {
        let name = name.to_string_lossy();
        match value {
            Some(value) => words.push(format!("{name}={}", value.to_string_lossy())),
            None => words.splice(1..1, ["-u".to_owned(), name.into_owned()]).for_each(drop),
        }
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words
}
