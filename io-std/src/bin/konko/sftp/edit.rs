//! The line editor of `konko sftp`: history, and completion of commands, remote and local names.

use konko::Sftp;
use rustyline::completion::{Completer, Pair};
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Helper};

use crate::sftp::commands::{NAMES, Shell};

/// Names that are offered at most.
const MOST: usize = 500;

pub struct Editor(rustyline::Editor<Names, MemHistory>);

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
        let config = Config::builder().auto_add_history(true).build();
        let editor = rustyline::Editor::with_history(config, MemHistory::new());
        let mut editor = editor.map_err(|e| format!("the terminal: {e}"))?;
        editor.set_helper(Some(Names { sftp: shell.sftp().clone() }));
        Ok(Editor(editor))
    }

    /// The next line; `None` at the end.
    pub fn line(&mut self) -> Result<Option<String>, String> {
        loop {
            match self.0.readline("sftp> ") {
                Ok(line) => return Ok(Some(line)),
                Err(ReadlineError::Interrupted) => {}
                Err(ReadlineError::Eof) => return Ok(None),
                Err(e) => return Err(format!("the terminal: {e}")),
            }
        }
    }

    /// Completes from the shell's directory from now on.
    pub fn follow(&mut self, shell: &Shell) {
        if let Some(names) = self.0.helper_mut() {
            names.sftp = shell.sftp().clone();
        }
    }
}

impl Completer for Names {
    type Candidate = Pair;

    fn complete(&self, line: &str, pos: usize, _: &Context<'_>) -> rustyline::Result<(usize, Vec<Pair>)> {
        let typed = &line[..pos];
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &typed[start..];
        let Some(command) = typed.split_whitespace().next().filter(|_| start > 0) else {
            let fit = NAMES.iter().filter(|name| name.starts_with(word));
            return Ok((start, fit.map(|name| pair(name, &format!("{name} "))).collect()));
        };
        let (dir, name) =
            word.rsplit_once('/').map_or(("", word), |(_, name)| (&word[..word.len() - name.len()], name));
        let local = matches!(command, "lcd" | "lls" | "lmkdir")
            || (matches!(command, "put" | "reput") && typed[..start].split_whitespace().count() < 2);
        let found = if local { local_names(dir) } else { self.remote_names(dir) };
        let fit = found.into_iter().filter(|(n, _)| n.starts_with(name)).take(MOST);
        let whole = |(n, is_dir): (String, bool)| {
            let end = if is_dir { "/" } else { " " };
            pair(&n, &format!("{dir}{}{end}", n.replace(' ', "\\ ")))
        };
        Ok((start, fit.map(whole).collect()))
    }
}

fn pair(display: &str, replacement: &str) -> Pair {
    Pair { display: display.to_owned(), replacement: replacement.to_owned() }
}

fn local_names(dir: &str) -> Vec<(String, bool)> {
    let list = std::fs::read_dir(if dir.is_empty() { "." } else { dir });
    let entries = list.into_iter().flatten().flatten();
    let named = entries.map(|e| (e.file_name().into_string(), e.file_type().is_ok_and(|kind| kind.is_dir())));
    sorted(named.filter_map(|(name, is_dir)| Some((name.ok()?, is_dir))))
}

impl Names {
    fn remote_names(&self, dir: &str) -> Vec<(String, bool)> {
        let Ok(list) = self.sftp.read_dir(dir) else { return Vec::new() };
        let entries = list.map_while(Result::ok).take(MOST * 20);
        sorted(entries.filter_map(|e| {
            let name = String::from_utf8(e.file_name().to_vec()).ok()?;
            // What a terminal would not show as it is cannot be typed either.
            (!name.chars().any(char::is_control)).then_some((name, e.is_dir()))
        }))
    }
}

fn sorted(names: impl Iterator<Item = (String, bool)>) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = names.collect();
    names.sort();
    names
}
