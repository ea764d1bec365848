//! The commands of `konko sftp`.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use konko::Cancel;
use konko::Sftp;
use konko::core::sftp::{Attrs, Extension, NameRules, last_name};
use konko::core::wire::SshStr;
use konko::sftp::{Error, GetOptions, Links, Metadata, PutOptions, Summary, TreeReport, glob};
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::progress::Meter;
use crate::sftp::line::{Command, Word, flags};
use crate::sftp::list;
use crate::sftp::words::{self, describe, ignore, one, one_word, text, two};
use crate::streams::{self, say};

/// The names of all commands, for completion.
pub const NAMES: [&str; 34] = [
    "bye", "cd", "chdir", "chgrp", "chmod", "chown", "copy", "cp", "df", "dir", "exit", "get", "help", "lcd",
    "lls", "lmkdir", "ln", "lpwd", "ls", "lumask", "mkdir", "progress", "put", "pwd", "quit", "reget",
    "rename", "reput", "rm", "rmdir", "symlink", "version", "!", "?",
];

const HELP: &str = "\
bye, exit, quit                      End
cd [PATH]                            Change the remote directory
chgrp [-h] GROUP PATH                Change the group, a number
chmod [-h] MODE PATH                 Change permissions, octal
chown [-h] OWNER PATH                Change the owner, a number
cp, copy OLD NEW                     Copy a remote file
df [-hi] [PATH]                      Figures of the file system
get [-afpR] REMOTE [LOCAL]           Fetch files; -R directories, -a go on, -p keep times
help, ?                              This
lcd [PATH]                           Change the local directory
lls [FLAGS] [PATH]                   List local files
lmkdir PATH                          Make a local directory
ln [-s] OLD NEW                      Link a remote file
lpwd                                 The local directory
ls [-1afhlnrSt] [PATH]               List remote files
lumask UMASK                         Bits that new local files do not get, octal
mkdir PATH                           Make a remote directory
progress                             Show progress, or do not
put [-afpR] LOCAL [REMOTE]           Send files; flags as with get
pwd                                  The remote directory
reget, reput                         get -a, put -a
rename OLD NEW                       Rename a remote file
rm PATH                              Remove remote files
rmdir PATH                           Remove an empty remote directory
symlink OLD NEW                      ln -s
version                              The version of the protocol
!COMMAND                             Run a local command; alone: a shell
";

/// Whether another line follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    On,
    End,
}

/// The session, and what holds for all its commands.
pub struct Shell {
    sftp: Sftp,
    meter: Meter,
    pub preserve: bool,
    pub resume: bool,
    pub recursive: bool,
    pub fsync: bool,
    pub quiet: bool,
    /// What an interrupt ends.
    running: Arc<Mutex<Option<Cancel>>>,
}

type Outcome = Result<(), String>;

fn shown(path: &[u8]) -> String {
    SshStr::new(path).to_string()
}

pub fn local_path(word: Vec<u8>) -> PathBuf {
    PathBuf::from(std::ffi::OsString::from_vec(word))
}

/// What one transfer command was told.
struct How {
    resume: bool,
    preserve: bool,
    recursive: bool,
    fsync: bool,
}

impl Shell {
    pub fn new(sftp: Sftp, meter: Meter) -> Self {
        Shell {
            sftp,
            meter,
            preserve: false,
            resume: false,
            recursive: false,
            fsync: false,
            quiet: false,
            running: Arc::default(),
        }
    }

    pub fn sftp(&self) -> &Sftp {
        &self.sftp
    }

    pub fn is_open(&self) -> bool {
        self.sftp.is_open()
    }

    /// Interrupts end the transfer that runs, and not the program.
    pub fn watch_interrupts(&self, wanted: bool) {
        let Some(mut signals) = wanted.then(|| Signals::new([SIGINT]).ok()).flatten() else { return };
        let running = Arc::clone(&self.running);
        let watch = move || {
            for _ in signals.forever() {
                if let Some(cancel) = &*running.lock().unwrap_or_else(PoisonError::into_inner) {
                    cancel.cancel();
                }
            }
        };
        let _ = std::thread::Builder::new().name("signals".into()).spawn(watch);
    }

    fn cancel(&self) -> Cancel {
        let cancel = Cancel::new();
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(cancel.clone());
        cancel
    }

    pub fn is_remote_dir(&self, path: &[u8]) -> bool {
        self.sftp.is_dir(self.home(path)).is_ok_and(|dir| dir)
    }

    /// The path of something that is to be written: a slip of the pen after `~` makes no file of that name.
    fn written(&self, path: &[u8]) -> Result<Vec<u8>, String> {
        if path.first() != Some(&b'~') || !self.sftp.supports(Extension::ExpandPath) {
            return Ok(path.to_vec());
        }
        let help = |e: Error| format!("{e} (./{} is a file of that name)", shown(path));
        self.sftp.expand_path(path).map_err(help)
    }

    /// A path of which `~` is expanded, where the server can.
    fn home(&self, path: &[u8]) -> Vec<u8> {
        let tilde = path.first() == Some(&b'~');
        let expanded = tilde.then(|| self.sftp.expand_path(path).ok()).flatten();
        expanded.unwrap_or_else(|| path.to_vec())
    }

    fn say(&self, line: &str) {
        if !self.quiet {
            streams::line(format_args!("{line}"));
        }
    }

    /// Runs a command.
    pub fn run(&mut self, command: &Command) -> Result<Flow, String> {
        let words = match command {
            Command::Nothing => return Ok(Flow::On),
            Command::Local(command) => {
                // No failure of the other machine's: it ends no batch.
                run_local(command).unwrap_or_else(|text| say(&text));
                return Ok(Flow::On);
            }
            Command::Words(words) => words,
            Command::Invalid(text) => return Err(text.clone()),
        };
        let [name, rest @ ..] = &words[..] else { return Ok(Flow::On) };
        let name = SshStr::new(&name.plain()).to_text().to_ascii_lowercase();
        match name.as_str() {
            "bye" | "exit" | "quit" => return Ok(Flow::End),
            "help" | "?" => streams::line(format_args!("{}", HELP.trim_end())),
            "version" => streams::line(format_args!("SFTP protocol version {}", konko::core::sftp::VERSION)),
            "progress" => {
                let state = if self.meter.toggle() { "enabled" } else { "disabled" };
                streams::line(format_args!("Progress meter {state}"));
            }
            "pwd" => {
                let dir = self.sftp.canonicalize("").map_err(text)?;
                streams::line(format_args!("Remote working directory: {}", shown(&dir)));
            }
            "lpwd" => {
                let dir = std::env::current_dir().map_err(|e| format!("local directory: {e}"))?;
                streams::line(format_args!("Local working directory: {}", shown(dir.as_os_str().as_bytes())));
            }
            "cd" | "chdir" => self.cd(rest)?,
            "lcd" => lcd(rest)?,
            "lls" => {
                let words: Vec<Vec<u8>> = rest.iter().map(Word::plain).collect();
                local_program("ls", &words).unwrap_or_else(|text| say(&text));
            }
            "lmkdir" => {
                let path = local_path(one(rest, "lmkdir")?);
                std::fs::create_dir(&path)
                    .map_err(|e| local("Couldn't create local directory", &path, &e))?;
            }
            "lumask" => lumask(rest)?,
            "get" | "mget" => self.get(rest, self.resume)?,
            "reget" => self.get(rest, true)?,
            "put" | "mput" => self.put(rest, self.resume)?,
            "reput" => self.put(rest, true)?,
            "ls" | "dir" => list::ls(&self.sftp, rest)?,
            "df" => list::df(&self.sftp, rest)?,
            other => self.change(other, rest)?,
        }
        Ok(Flow::On)
    }

    /// The commands that change something on the server.
    fn change(&self, name: &str, rest: &[Word]) -> Outcome {
        match name {
            "mkdir" => self.sftp.create_dir(one(rest, "mkdir")?).map_err(text),
            "rmdir" => {
                self.each(one_word(rest, "rmdir")?, |path, _| self.sftp.remove_dir(path).map_err(text))
            }
            "rm" | "delete" => self.each(one_word(rest, "rm")?, |path, _| {
                self.say(&format!("Removing {}", shown(path)));
                self.sftp.remove_file(path).map_err(text)
            }),
            "rename" | "mv" => {
                let (old, new) = two(rest, name)?;
                self.sftp.rename(old, new).map_err(text)
            }
            "cp" | "copy" => {
                let (old, new) = two(rest, name)?;
                self.sftp.copy(old, new).map(drop).map_err(text)
            }
            "symlink" => {
                let (old, new) = two(rest, name)?;
                self.sftp.symlink(old, new).map_err(text)
            }
            "ln" => {
                let (set, rest) = flags(rest, "s")?;
                let (old, new) = two(rest, name)?;
                let symbolic = set.contains(&'s');
                if symbolic { self.sftp.symlink(old, new) } else { self.sftp.hard_link(old, new) }
                    .map_err(text)
            }
            "chmod" | "chown" | "chgrp" => self.attributes(name, rest),
            _ => Err(format!("Invalid command: \"{}\" (help lists all)", shown(name.as_bytes()))),
        }
    }

    fn attributes(&self, name: &str, rest: &[Word]) -> Outcome {
        let (set, rest) = flags(rest, "h")?;
        let [value, path, others @ ..] = rest else {
            return Err(match rest {
                [] => format!("You must supply a numeric argument to the {name} command."),
                _ => format!("You must specify a path after a {name} command."),
            });
        };
        ignore(others);
        let value = value.plain();
        let wrong = || format!("{name}: \"{}\" is not such a number", shown(&value));
        let value = std::str::from_utf8(&value).map_err(|_| wrong())?;
        let number = if name == "chmod" {
            u32::from_str_radix(value, 8).ok().filter(|mode| *mode <= 0o7777).ok_or_else(wrong)?
        } else {
            value.parse().map_err(|_| wrong())?
        };
        let link = set.contains(&'h');
        self.each(path, |path, meta| {
            let attrs = match (name, meta.attrs().owner()) {
                ("chmod", _) => Attrs::new().with_permissions(number),
                ("chown", Some(owner)) => Attrs::new().with_owner(number, owner.gid),
                (_, Some(owner)) => Attrs::new().with_owner(owner.uid, number),
                (_, None) => return Err(format!("{}: the server does not tell the owner", shown(path))),
            };
            let what = match name {
                "chmod" => "mode",
                "chown" => "owner",
                _ => "group",
            };
            self.say(&format!("Changing {what} on {}", shown(path)));
            let done = if link {
                self.sftp.set_symlink_metadata(path, &attrs)
            } else {
                self.sftp.set_metadata(path, &attrs)
            };
            done.map_err(text)
        })
    }

    /// Does something to all that a pattern fits; the first error is the result, and does not end it.
    fn each(&self, pattern: &Word, mut act: impl FnMut(&[u8], &Metadata) -> Outcome) -> Outcome {
        let mut result = Ok(());
        for (path, meta) in self.expand(pattern)? {
            let done = act(&path, &meta);
            if let (Err(text), Err(_)) = (&done, &result) {
                say(text);
            }
            result = result.and(done);
        }
        result
    }

    /// What a pattern fits. Nothing is an error, and a name without pattern is as it is.
    fn expand(&self, pattern: &Word) -> Result<Vec<(Vec<u8>, Metadata)>, String> {
        if !glob::has_magic(&unquoted(&pattern.0)) {
            let path = self.home(&pattern.plain());
            let meta = match self.sftp.symlink_metadata(&path) {
                Ok(meta) => meta,
                Err(e) if e.is_not_found() => return Err(words::not_found(&path)),
                Err(e) if e.is_fatal() => return Err(text(e)),
                Err(_) => Metadata::default(),
            };
            return Ok(vec![(path, meta)]);
        }
        let start = if pattern.0.first() == Some(&b'~') { self.home(&pattern.0) } else { pattern.0.clone() };
        // Expanded on this side of the working directory, so that what is shown is what was typed.
        let found = self.sftp.glob(start).map_err(text)?;
        if found.is_empty() { Err(words::not_found(&pattern.plain())) } else { Ok(found) }
    }

    // ---- directories ----

    fn cd(&mut self, rest: &[Word]) -> Outcome {
        match rest {
            [] => {
                // Where the server started.
                let mut fresh = self.sftp.clone();
                fresh.reset_current_dir();
                self.sftp = fresh;
                Ok(())
            }
            [path, others @ ..] => {
                ignore(others);
                self.change_dir(&path.plain())
            }
        }
    }

    pub fn change_dir(&mut self, path: &[u8]) -> Outcome {
        let path = self.home(path);
        self.sftp.set_current_dir(path).map_err(text)
    }

    // ---- transfers ----

    fn how<'w>(&self, rest: &'w [Word], resume: bool) -> Result<(How, &'w [Word]), String> {
        let (set, rest) = flags(rest, "afpPrR")?;
        let has = |letters: &str| letters.chars().any(|letter| set.contains(&letter));
        let how = How {
            resume: resume || has("a"),
            preserve: self.preserve || has("pP"),
            recursive: self.recursive || has("rR"),
            fsync: self.fsync || has("f"),
        };
        Ok((how, rest))
    }

    fn get(&self, rest: &[Word], resume: bool) -> Outcome {
        let (how, rest) = self.how(rest, resume)?;
        let (pattern, target) = match rest {
            [pattern] => (pattern, None),
            [pattern, target, others @ ..] => {
                ignore(others);
                (pattern, Some(target.plain()))
            }
            [] => return Err("You must specify at least one path after a get command.".into()),
        };
        self.get_all(pattern, target.as_deref(), &how)
    }

    /// Fetches what the command line names.
    pub fn fetch(&self, path: &[u8], local: Option<&[u8]>) -> Outcome {
        let (how, _) = self.how(&[], self.resume)?;
        self.get_all(&Word(path.to_vec()), local, &how)
    }

    fn get_all(&self, pattern: &Word, target: Option<&[u8]>, how: &How) -> Outcome {
        let found = self.expand(pattern)?;
        let target = target.map(|target| local_path(target.to_vec()));
        let into = target.as_deref().is_some_and(Path::is_dir);
        if found.len() > 1 && target.is_some() && !into {
            let target = target.unwrap_or_default();
            let target = shown(target.as_os_str().as_bytes());
            return Err(format!("Multiple paths match, but destination \"{target}\" is not a directory"));
        }
        let cancel = self.cancel();
        let mut result = Ok(());
        for (path, _) in found {
            let done = self.get_one(&path, target.as_deref(), into, how, &cancel);
            if let Err(text) = &done
                && result.is_err()
            {
                say(text);
            }
            result = result.and(done);
            if cancel.is_cancelled() || !self.is_open() {
                break;
            }
        }
        self.meter.clear();
        result
    }

    fn get_one(&self, path: &[u8], target: Option<&Path>, into: bool, how: &How, cancel: &Cancel) -> Outcome {
        let local = match target {
            Some(target) if !into => target.to_owned(),
            dir => {
                let dir = dir.unwrap_or(Path::new(""));
                match last_name(path) {
                    Some(name) => {
                        NameRules::HERE.check(name).map_err(|why| format!("\"{}\": {why}", shown(path)))?;
                        dir.join(std::ffi::OsStr::from_bytes(name))
                    }
                    // What is in `.` and `..` goes right there.
                    None => dir.join("."),
                }
            }
        };
        let options = GetOptions::new().resume(how.resume).preserve(how.preserve).sync(how.fsync);
        let sftp = self.meter.watch(&self.sftp).cancelled_by(cancel);
        let is_dir = self.sftp.is_dir(path).is_ok_and(|dir| dir);
        let to = shown(local.as_os_str().as_bytes());
        if is_dir {
            if !how.recursive {
                return Err(format!("\"{}\": it is a directory; get -R fetches it", shown(path)));
            }
            self.say(&format!("Fetching {}/ to {to}", shown(path)));
            return tree(sftp.get_tree(path, &local, &options, Links::Skip));
        }
        self.say(&format!("Fetching {} to {to}", shown(path)));
        sftp.get_with(path, &local, &options).map(drop).map_err(text)
    }

    fn put(&self, rest: &[Word], resume: bool) -> Outcome {
        let (how, rest) = self.how(rest, resume)?;
        let (pattern, target) = match rest {
            [pattern] => (pattern, None),
            [pattern, target, others @ ..] => {
                ignore(others);
                (pattern, Some(self.written(&target.plain())?))
            }
            [] => return Err("You must specify at least one path after a put command.".into()),
        };
        let found = local_glob(&pattern.0)?;
        let into = target.as_deref().is_some_and(|target| self.is_remote_dir(target));
        if found.len() > 1 && target.is_some() && !into {
            let target = shown(&target.unwrap_or_default());
            return Err(format!("Multiple paths match, but destination \"{target}\" is not a directory"));
        }
        let cancel = self.cancel();
        let mut result = Ok(());
        for path in found {
            let done = self.put_one(&path, target.as_deref(), into, &how, &cancel);
            if let Err(text) = &done
                && result.is_err()
            {
                say(text);
            }
            result = result.and(done);
            if cancel.is_cancelled() || !self.is_open() {
                break;
            }
        }
        self.meter.clear();
        result
    }

    fn put_one(&self, path: &Path, target: Option<&[u8]>, into: bool, how: &How, cancel: &Cancel) -> Outcome {
        let remote = match (target, last_name(path.as_os_str().as_bytes())) {
            (Some(target), _) if !into => target.to_vec(),
            (Some(dir), Some(name)) => [dir, b"/", name].concat(),
            (None, Some(name)) => name.to_vec(),
            // What is in `.` and `..` goes right there.
            (dir, None) => dir.unwrap_or(b".").to_vec(),
        };
        let options = PutOptions::new().resume(how.resume).preserve(how.preserve).sync(how.fsync);
        let sftp = self.meter.watch(&self.sftp).cancelled_by(cancel);
        let from = shown(path.as_os_str().as_bytes());
        let to = if remote.is_empty() { "." } else { &shown(&remote) };
        if path.is_dir() {
            if !how.recursive {
                return Err(format!("\"{from}\": it is a directory; put -R sends it"));
            }
            self.say(&format!("Uploading {from}/ to {to}"));
            return tree(sftp.put_tree(path, &remote, &options, Links::Skip));
        }
        self.say(&format!("Uploading {from} to {to}"));
        let summary = sftp.put_with(path, &remote, &options).map_err(text)?;
        warn_of(&remote, &summary);
        Ok(())
    }
}

/// Says that permissions and times were not kept, as `sftp` does, which goes on as well.
pub fn warn_of(remote: &[u8], summary: &Summary) {
    if let Some(status) = &summary.attrs_refused {
        say(&format!("warning: {}: permissions and times were not kept: {status}", shown(remote)));
    }
}

/// Says what went wrong in a tree.
pub fn tree(result: Result<TreeReport, Error>) -> Outcome {
    let report = result.map_err(text)?;
    report.skipped.iter().for_each(|error| say(&describe(error)));
    report.warnings.iter().for_each(|error| say(&format!("warning: {}", describe(error))));
    let Some((last, others)) = report.failures.split_last() else { return Ok(()) };
    others.iter().for_each(|error| say(&describe(error)));
    match report.more_failures {
        0 => Err(describe(last)),
        more => Err(format!("{}\nand {more} more failures", describe(last))),
    }
}

/// A pattern without what is quoted in it.
pub fn unquoted(pattern: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = pattern.iter();
    while let Some(b) = bytes.next() {
        if *b == b'\\' {
            bytes.next();
        } else {
            out.push(*b);
        }
    }
    out
}

fn local(what: &str, path: &Path, error: &std::io::Error) -> String {
    format!("{what} \"{}\": {}", shown(path.as_os_str().as_bytes()), words::system(error))
}

/// The local paths that a pattern fits, sorted; a name without pattern is as it is.
pub fn local_glob(pattern: &[u8]) -> Result<Vec<PathBuf>, String> {
    let plain = glob::unescape(pattern);
    if !glob::has_magic(&unquoted(pattern)) {
        let path = crate::values::expand_bytes(&plain);
        let path = if plain.starts_with(b"~/") { path } else { local_path(plain) };
        return match path.symlink_metadata() {
            Ok(_) => Ok(vec![path]),
            Err(e) => Err(local("local", &path, &e)),
        };
    }
    let start = if pattern.first() == Some(&b'/') { PathBuf::from("/") } else { PathBuf::new() };
    let mut found = vec![start];
    for component in pattern.split(|b| *b == b'/').filter(|c| !c.is_empty()) {
        let mut next = Vec::new();
        for dir in found {
            if !glob::has_magic(&unquoted(component)) {
                next.push(dir.join(local_path(glob::unescape(component))));
                continue;
            }
            let list = std::fs::read_dir(if dir.as_os_str().is_empty() { Path::new(".") } else { &dir });
            let names = list.into_iter().flatten().flatten().map(|entry| entry.file_name());
            next.extend(names.filter(|name| glob::matches(component, name.as_bytes())).map(|n| dir.join(n)));
        }
        found = next;
    }
    found.retain(|path| path.symlink_metadata().is_ok());
    found.sort();
    if found.is_empty() { Err(words::not_found(&plain)) } else { Ok(found) }
}

fn lcd(rest: &[Word]) -> Outcome {
    let path = match rest {
        [] => std::env::home_dir().ok_or("there is no home directory")?,
        [path, others @ ..] => {
            ignore(others);
            local_path(path.plain())
        }
    };
    std::env::set_current_dir(&path).map_err(|e| local("Couldn't change local directory to", &path, &e))
}

fn lumask(rest: &[Word]) -> Outcome {
    let [mask, others @ ..] = rest else {
        return Err("You must supply a numeric argument to the lumask command.".into());
    };
    ignore(others);
    let mask = mask.plain();
    let bits = std::str::from_utf8(&mask).ok().and_then(|mask| u32::from_str_radix(mask, 8).ok());
    let bits = bits.filter(|bits| *bits <= 0o777);
    let bits = bits.ok_or_else(|| format!("lumask: \"{}\" is no octal number up to 777", shown(&mask)))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(bits as rustix::fs::RawMode));
    streams::line(format_args!("Local umask: {bits:03o}"));
    Ok(())
}

/// A command for the local shell.
fn run_local(command: &[u8]) -> Outcome {
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or("/bin/sh".into());
    let mut run = std::process::Command::new(shell);
    if !command.is_empty() {
        run.arg("-c").arg(std::ffi::OsStr::from_bytes(command));
    }
    finish(run)
}

fn local_program(program: &str, words: &[Vec<u8>]) -> Outcome {
    let mut run = std::process::Command::new(program);
    run.args(words.iter().map(|word| std::ffi::OsStr::from_bytes(word)));
    finish(run)
}

fn finish(mut run: std::process::Command) -> Outcome {
    match run.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(match status.code() {
            Some(code) => format!("Shell exited with status {code}"),
            None => format!("Shell exited abnormally: {status}"),
        }),
        Err(e) => Err(local("Couldn't execute", Path::new(run.get_program()), &e)),
    }
}
