//! `konko scp`: copies over SFTP; as scp(1).

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use konko::Sftp;
use konko::core::sftp::{NameRules, last_name};
use konko::core::wire::SshStr;
use konko::sftp::{GetOptions, Links, Metadata, PutOptions, SftpOptions, glob};

use crate::destination::Destination;
use crate::progress::Meter;
use crate::sftp::Common;
use crate::sftp::commands::{tree, unquoted, warn_of};
use crate::sftp::words;
use crate::streams::say;
use crate::terminal;

/// Options of `konko scp`.
#[derive(clap::Args, Debug)]
#[command(disable_help_flag = true)]
pub struct Args {
    #[command(flatten)]
    common: Common,
    /// Directories with all that is in them
    #[arg(short)]
    recursive: bool,
    /// Between two other machines through this one, as is always done
    #[arg(short = '3')]
    through: bool,
    /// No check of the names that a server sends (there is no need: they are never followed)
    #[arg(short = 'T')]
    no_check: bool,
    /// Never ask for anything
    #[arg(short = 'B')]
    batch: bool,
    /// Over SFTP, as is always done
    #[arg(short = 's')]
    sftp: bool,
    /// Run this server program here and speak with it
    #[arg(short = 'D', value_name = "COMMAND")]
    direct: Option<std::ffi::OsString>,
    /// What to copy, and last where to: a local path, [user@]host:path, or scp://[user@]host[:port]/path
    #[arg(required = true, num_args = 2.., value_name = "PATH")]
    paths: Vec<std::ffi::OsString>,
}

/// A path, here or there.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Spot {
    Here(PathBuf),
    There { user: Option<Vec<u8>>, host: String, port: Option<u16>, path: Vec<u8> },
}

impl Spot {
    fn parse(text: &std::ffi::OsStr) -> Result<Self, String> {
        Ok(match Destination::scp(text.as_bytes())? {
            None => Spot::Here(text.into()),
            Some(Destination { user, host, port, path }) => {
                Spot::There { user, host, port, path: path.unwrap_or_default() }
            }
        })
    }
}

/// Runs the command. 1: something was not copied.
pub fn run(args: &Args) -> ExitCode {
    let copy = Copy {
        args,
        sessions: BTreeMap::new(),
        meter: Meter::new(!args.common.flags.quiet, args.common.limit),
        failed: false,
    };
    let code = match copy.run() {
        Ok(true) => 0,
        Ok(false) => 1,
        // Errors are never quiet.
        Err(text) => {
            say(&format!("konko: {text}"));
            255
        }
    };
    terminal::restore();
    std::process::exit(code)
}

/// User, host and port of a session.
type Key = (Option<Vec<u8>>, String, Option<u16>);

struct Copy<'a> {
    args: &'a Args,
    sessions: BTreeMap<Key, Sftp>,
    meter: Meter,
    failed: bool,
}

fn shown(path: &[u8]) -> String {
    SshStr::new(path).to_string()
}

impl Copy<'_> {
    /// Whether all was copied.
    fn run(mut self) -> Result<bool, String> {
        let spots: Vec<Spot> = self.args.paths.iter().map(|p| Spot::parse(p)).collect::<Result<_, _>>()?;
        let Some((target, sources)) = spots.split_last() else { return Err("from where to where?".into()) };
        match target.clone() {
            Spot::Here(target) => self.fetch(sources, &target)?,
            Spot::There { user, host, port, path } => {
                let to = self.session((user, host, port))?;
                let path = start(&to, &path)?;
                self.send(sources, &to, &path)?;
            }
        }
        self.meter.clear();
        if self.sessions.values().any(|sftp| !sftp.is_open()) {
            return Err("lost connection".into());
        }
        Ok(!self.failed)
    }

    fn fail(&mut self, result: Result<(), String>) {
        if let Err(text) = result {
            self.failed = true;
            say(&format!("konko: {text}"));
        }
    }

    fn session(&mut self, key: Key) -> Result<Sftp, String> {
        if let Some(sftp) = self.sessions.get(&key) {
            return Ok(sftp.clone());
        }
        let mut options = SftpOptions::default();
        if let Some(kbits) = self.args.common.limit {
            let most = usize::try_from(kbits.saturating_mul(1000 / 8 / 4)).unwrap_or(usize::MAX);
            options.transfers.max_bytes = options.transfers.max_bytes.min(most.max(32 * 1024));
        }
        let sftp = match &self.args.direct {
            Some(command) => crate::sftp::direct(command, options)?,
            None => {
                let (user, host, port) = key.clone();
                let mut login = self.args.common.login(user, host, port)?;
                login.batch |= self.args.batch;
                let client = login.connect()?;
                let sftp = client.sftp_with(options).map_err(|e| e.to_string())?;
                // The program may end at any time from now on.
                client.finish_host_keys(Duration::from_secs(2));
                sftp
            }
        };
        self.sessions.insert(key, sftp.clone());
        Ok(sftp)
    }

    fn get_options(&self) -> GetOptions {
        let preserve = self.args.common.preserve;
        GetOptions::new().preserve(preserve)
    }

    fn put_options(&self) -> PutOptions {
        let preserve = self.args.common.preserve;
        PutOptions::new().preserve(preserve)
    }

    // ---- to this machine ----

    fn fetch(&mut self, sources: &[Spot], target: &Path) -> Result<(), String> {
        let mut into = target.is_dir();
        let here = shown(target.as_os_str().as_bytes());
        if sources.len() > 1 && !into {
            return Err(format!("{here}: there is no such directory"));
        }
        for source in sources {
            match source {
                Spot::Here(path) => {
                    let copied = self.copy_here(path, target);
                    self.fail(copied);
                }
                Spot::There { user, host, port, path } => {
                    let sftp = self.session((user.clone(), host.clone(), *port))?;
                    let found = match expand(&sftp, path) {
                        Ok(found) => found,
                        Err(text) => {
                            self.fail(Err(text));
                            continue;
                        }
                    };
                    if found.len() > 1 && !into {
                        std::fs::create_dir(target).map_err(|e| format!("{here}: {e}"))?;
                        into = true;
                    }
                    for (path, meta) in found {
                        let got = self.get(&sftp, &path, &meta, target, into);
                        self.fail(got);
                    }
                }
            }
        }
        Ok(())
    }

    fn get(&self, sftp: &Sftp, path: &[u8], meta: &Metadata, to: &Path, into: bool) -> Result<(), String> {
        let local = match last_name(path).filter(|_| into) {
            Some(name) => {
                NameRules::HERE
                    .check(name)
                    .map_err(|why| format!("{}: {why}; it is not copied", shown(path)))?;
                to.join(std::ffi::OsStr::from_bytes(name))
            }
            // With `.` and `..` it is what is in them.
            None => to.to_owned(),
        };
        if is_dir(sftp, path, meta) {
            if !self.args.recursive {
                return Err(format!("{}: not a regular file (-r copies directories)", shown(path)));
            }
            return tree(self.meter.watch(sftp).get_tree(path, local, &self.get_options(), Links::Follow));
        }
        self.meter.watch(sftp).get_with(path, local, &self.get_options()).map(drop).map_err(words::text)
    }

    /// From here to here, which is what cp(1) is for.
    fn copy_here(&self, from: &Path, to: &Path) -> Result<(), String> {
        let mut cp = std::process::Command::new("cp");
        cp.args(self.args.recursive.then_some("-r")).args(self.args.common.preserve.then_some("-p"));
        match cp.arg("--").arg(from).arg(to).status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("cp: {status}")),
            Err(e) => Err(format!("cp: {e}")),
        }
    }

    // ---- to another machine ----

    fn send(&mut self, sources: &[Spot], to: &Sftp, target: &[u8]) -> Result<(), String> {
        let mut into = target.is_empty() || to.is_dir(target).is_ok_and(|dir| dir);
        for source in sources {
            match source {
                Spot::Here(path) => {
                    if let Ok(meta) = path.metadata() {
                        make_target(to, target, &mut into, sources.len(), Some(meta.permissions().mode()))?;
                    }
                    let sent = self.put(path, to, target, into);
                    self.fail(sent);
                }
                Spot::There { user, host, port, path } => {
                    let from = self.session((user.clone(), host.clone(), *port))?;
                    let found = expand(&from, path).unwrap_or_else(|text| {
                        self.fail(Err(text));
                        Vec::new()
                    });
                    if let Some((_, meta)) = found.first() {
                        let many = sources.len().max(found.len());
                        make_target(to, target, &mut into, many, meta.permissions())?;
                    }
                    for (path, meta) in found {
                        let relayed = self.relay(&from, &path, &meta, to, &inside(target, &path, into));
                        self.fail(relayed);
                    }
                }
            }
        }
        Ok(())
    }

    fn put(&self, path: &Path, to: &Sftp, target: &[u8], into: bool) -> Result<(), String> {
        let remote = inside(target, path.as_os_str().as_bytes(), into);
        if path.is_dir() {
            if !self.args.recursive {
                let path = shown(path.as_os_str().as_bytes());
                return Err(format!("{path}: not a regular file (-r copies directories)"));
            }
            return tree(self.meter.watch(to).put_tree(path, remote, &self.put_options(), Links::Follow));
        }
        let summary =
            self.meter.watch(to).put_with(path, &remote, &self.put_options()).map_err(words::text)?;
        warn_of(&remote, &summary);
        Ok(())
    }

    /// From one server to another, through here.
    fn relay(
        &self,
        from: &Sftp,
        path: &[u8],
        meta: &Metadata,
        to: &Sftp,
        target: &[u8],
    ) -> Result<(), String> {
        let from = &self.meter.watch(from);
        if !is_dir(from, path, meta) {
            let summary = from.copy_to(path, to, target, &self.put_options()).map_err(words::text)?;
            warn_of(target, &summary);
            return Ok(());
        }
        if !self.args.recursive {
            return Err(format!("{}: not a regular file (-r copies directories)", shown(path)));
        }
        tree(from.copy_tree_to(path, to, target, &self.put_options(), Links::Follow))
    }
}

/// Where several things go is a directory, which is made if need be, with the permissions of the first of them.
fn make_target(
    to: &Sftp,
    target: &[u8],
    into: &mut bool,
    sources: usize,
    mode: Option<u32>,
) -> Result<(), String> {
    if sources < 2 || *into {
        return Ok(());
    }
    // A file's bits are not enough for a directory, and what is private stays it.
    let mode = mode.unwrap_or(0o777) & 0o777 | 0o700;
    to.create_dir_with(target, mode)
        .map_err(|e| format!("{}: it is not a directory; {}", shown(target), words::text(e)))?;
    *into = true;
    Ok(())
}

/// Whether something on a server is a directory; patterns find links, and not every server tells.
fn is_dir(sftp: &Sftp, path: &[u8], meta: &Metadata) -> bool {
    let told = meta.file_type().is_some() && !meta.is_symlink();
    if told { meta.is_dir() } else { sftp.is_dir(path).is_ok_and(|dir| dir) }
}

/// Where something goes that has the path `source`.
fn inside(target: &[u8], source: &[u8], into: bool) -> Vec<u8> {
    match (last_name(source).filter(|_| into), target) {
        // With `.` and `..` it is what is in them.
        (None, b"") => b".".to_vec(),
        (None, target) => target.to_vec(),
        (Some(name), b"") => name.to_vec(),
        (Some(name), dir) => [dir, b"/", name].concat(),
    }
}

/// A path of which `~` is expanded. Sessions start at home.
fn start(sftp: &Sftp, path: &[u8]) -> Result<Vec<u8>, String> {
    let Some(rest) = path.strip_prefix(b"~") else { return Ok(path.to_vec()) };
    let end = rest.iter().position(|b| *b == b'/').unwrap_or(rest.len());
    let (user, rest) = rest.split_at(end);
    if user.is_empty() {
        let slashes = rest.iter().take_while(|b| **b == b'/').count();
        let rest = &rest[slashes..];
        return Ok(if rest.is_empty() { b".".to_vec() } else { rest.to_vec() });
    }
    let help =
        |e: konko::sftp::Error| format!("{} (./{} is a file of that name)", words::text(e), shown(path));
    let home = sftp.expand_path([b"~", user].concat()).map_err(help)?;
    Ok([&home, rest].concat())
}

/// What a remote path or pattern names: what fits, or what is called so, with its backslashes taken as in a pattern or
/// as they are.
fn expand(sftp: &Sftp, path: &[u8]) -> Result<Vec<(Vec<u8>, Metadata)>, String> {
    let path = start(sftp, path)?;
    let path: &[u8] = if path.is_empty() { b"." } else { &path };
    if glob::has_magic(&unquoted(path)) {
        let found = sftp.glob(path).map_err(words::text)?;
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let plain = glob::unescape(path);
    let error = match sftp.metadata(&plain) {
        Ok(meta) => return Ok(vec![(plain, meta)]),
        Err(e) if e.is_not_found() => e,
        Err(e) if e.is_fatal() => return Err(words::text(e)),
        // Not every server tells: whoever opens it will see.
        Err(_) => return Ok(vec![(plain, Metadata::default())]),
    };
    match sftp.metadata(path) {
        Ok(meta) => Ok(vec![(path.to_vec(), meta)]),
        Err(_) => {
            Err(format!("{}: {}", shown(path), error.status().map_or(String::new(), ToString::to_string)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let parse = |text: &str| Spot::parse(text.as_ref()).unwrap();
        assert_eq!(parse("./a:b"), Spot::Here("./a:b".into()));
        assert_eq!(parse("/a:b"), Spot::Here("/a:b".into()));
        let there = |user: Option<&str>, host: &str, port, path: &str| Spot::There {
            user: user.map(|user| user.as_bytes().to_vec()),
            host: host.into(),
            port,
            path: path.as_bytes().to_vec(),
        };
        assert_eq!(parse("h:"), there(None, "h", None, ""));
        assert_eq!(parse("a@[::1]:x:y"), there(Some("a"), "::1", None, "x:y"));
        assert_eq!(parse("scp://a@h:2/x"), there(Some("a"), "h", Some(2), "x"));
    }
}
