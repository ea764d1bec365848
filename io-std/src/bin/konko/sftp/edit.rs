//! The line editor of `konko sftp`: history, and completion of commands, remote and local names.

use std::collections::VecDeque;
use std::os::unix::ffi::OsStringExt;

use konko::Sftp;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Helper};

use crate::sftp::commands::{Shell, local_path};
use crate::sftp::complete::{self, Entry, Place};

/// Entries of a directory that are looked at.
const MOST: usize = 10_000;

pub struct Editor {
    editor: rustyline::Editor<Names, MemHistory>,
    /// Lines that came together, as a terminal pastes them.
    more: VecDeque<Vec<u8>>,
}

/// What completes a word.
struct Names {
    sftp: Sftp,
}

impl Helper for Names {}
impl Highlighter for Names {}
impl Validator for Names {}
impl Hinter for Names {
    type Hint = String;
}

impl Editor {
    pub fn new(shell: &Shell) -> Result<Self, String> {
        // Pasted lines run at once, as when they are typed and as in OpenSSH.
        let config = Config::builder()
            .auto_add_history(true)
            .bracketed_paste(false)
            .completion_type(CompletionType::List)
            .build();
        let editor = rustyline::Editor::with_history(config, MemHistory::new());
        let mut editor = editor.map_err(|e| format!("the terminal: {e}"))?;
        editor.set_helper(Some(Names { sftp: shell.sftp().clone() }));
        Ok(Editor { editor, more: VecDeque::new() })
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        loop {
            if let Some(line) = self.more.pop_front() {
                return Ok(Some(line));
            }
            match self.editor.readline("sftp> ") {
                // A terminal that marks what it pastes makes one of several.
                Ok(lines) => self.more.extend(lines.split(['\n', '\r']).map(complete::bytes)),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(e) => return Err(format!("the terminal: {e}")),
            }
        }
    }

    /// Completes from the shell's directory from now on.
    pub fn follow(&mut self, shell: &Shell) {
        if let Some(names) = self.editor.helper_mut() {
            names.sftp = shell.sftp().clone();
        }
    }
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let (start, found) = complete::complete(&line[..pos], |place, dir| match place {
            Place::Local => local_names(dir),
            Place::Remote => self.remote_names(dir),
        });
        let pair = |c: complete::Candidate| Pair { display: c.shown, replacement: c.text };
        Ok((start, found.into_iter().map(pair).collect()))
    }
}

fn local_names(dir: &[u8]) -> Vec<Entry> {
    let dir = if dir.is_empty() { b"." } else { dir };
    let list = std::fs::read_dir(local_path(dir.to_vec()));
    let entries = list.into_iter().flatten().flatten().take(MOST);
    entries.map(|e| (e.file_name().into_vec(), e.path().is_dir())).collect()
}

impl Names {
    fn remote_names(&self, dir: &[u8]) -> Vec<Entry> {
        let home = dir.first() == Some(&b'~');
        let expanded = home.then(|| self.sftp.expand_path(dir).ok()).flatten();
        let Ok(list) = self.sftp.read_dir(expanded.as_deref().unwrap_or(dir)) else { return Vec::new() };
        let entries = list.map_while(Result::ok).take(MOST);
        entries.map(|e| (e.file_name().to_vec(), e.is_dir())).collect()
    }
}
