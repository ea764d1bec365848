//! Who answers what a lookup asks: files, variables, accounts, interfaces, the resolver, the shell.

use std::ffi::{OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use konko_core::sftp::session::glob;
use konko_core::ssh_config::{
    Answer, Config, ConfigError, Family, Found, LIMITS, Local, Lookup, Question, Request,
};
use nix::unistd::{Uid, User};
use rustix::fs::OFlags;

/// Files that one pattern of `Include` may fit.
const MAX_FILES: usize = 256;

/// Who runs this, and on which machine. `HOME` is the home folder, as everywhere in konko; ssh(1) asks the account
/// alone, which counts where `HOME` is not set. Who has no account is named by `USER` or `LOGNAME`.
///
/// # Errors
/// The user has neither an account nor a name.
pub fn local() -> io::Result<Local> {
    let uid = Uid::current();
    let account = User::from_uid(uid).map_err(io::Error::from)?;
    let set = |name: &&str| std::env::var_os(name).filter(|value| !value.is_empty());
    let user = account.map(|account| account.name.into_bytes());
    let user = user.or_else(|| ["USER", "LOGNAME"].iter().find_map(set).map(OsStringExt::into_vec));
    let user = user.ok_or_else(|| io::Error::other("this user has no account; USER could say a name"))?;
    let name = nix::unistd::gethostname().map_err(io::Error::from)?;
    let home = std::env::home_dir().unwrap_or_default().into_os_string().into_vec();
    Ok(Local::new(user, home, uid.as_raw(), name.into_vec()))
}

/// What holds for one login; files are read, and commands of `Match exec` are run.
///
/// # Errors
/// What is wrong with the configuration, with files and lines.
pub fn lookup(request: Request) -> Result<Config, ConfigError> {
    let mut lookup = Lookup::new(request);
    while let Some(question) = lookup.question() {
        lookup.answer(answer(&question));
    }
    lookup.finish()
}

/// The answer to one question of a [`Lookup`]. It may take as long as a command or the resolver does.
pub fn answer(question: &Question) -> Answer {
    match question {
        Question::File { path, private } => Answer::File(read(Path::new(OsStr::from_bytes(path)), *private)),
        Question::Files(pattern) => Answer::Files(files(pattern)),
        Question::Run(command) => Answer::Succeeded(run(command)),
        Question::Interfaces => Answer::Addresses(interfaces()),
        Question::Resolve { name, family } => resolve(name, *family),
        Question::Variable(name) => bytes(std::env::var_os(OsStr::from_bytes(name))),
        Question::Home(user) => bytes(home(user)),
        Question::Service(name) => bytes(service(name).map(OsString::from)),
        _ => Answer::No,
    }
}

fn bytes(value: Option<OsString>) -> Answer {
    value.map_or(Answer::No, |value| Answer::Bytes(value.into_vec()))
}

pub(super) fn home(user: &[u8]) -> Option<OsString> {
    let user = User::from_name(std::str::from_utf8(user).ok()?).ok()??;
    Some(user.dir.into_os_string())
}

/// A private file is one that the user or root has, and nobody else may write; nothing is waited for in its place.
fn read(path: &Path, private: bool) -> Found {
    let missing = |e: &io::Error| matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
    let read = || -> io::Result<Found> {
        // What is typed may be a pipe.
        let flags = if private { OFlags::NONBLOCK | OFlags::NOCTTY } else { OFlags::empty() };
        let file = OpenOptions::new().read(true).custom_flags(flags.bits() as i32).open(path)?;
        let meta = file.metadata()?;
        if private && !meta.is_file() {
            return Ok(Found::Unreadable("it is not a regular file".into()));
        }
        let ours = meta.uid() == 0 || meta.uid() == Uid::current().as_raw();
        if private && (!ours || meta.mode() & 0o022 != 0) {
            return Ok(Found::Unsafe);
        }
        let mut bytes = Vec::new();
        file.take(LIMITS.file as u64 + 1).read_to_end(&mut bytes)?;
        Ok(Found::Bytes(bytes))
    };
    match read() {
        Ok(found) => found,
        Err(e) if missing(&e) => Found::Missing,
        Err(e) => Found::Unreadable(e.to_string()),
    }
}

/// The files that a pattern fits, sorted, as glob(3) finds them.
fn files(pattern: &[u8]) -> Vec<(Vec<u8>, Found)> {
    let mut found = vec![PathBuf::from(if pattern.starts_with(b"/") { "/" } else { "" })];
    for part in pattern.split(|b| *b == b'/').filter(|part| !part.is_empty()) {
        found = found.iter().flat_map(|folder| inside(folder, part)).take(MAX_FILES).collect();
    }
    let found = found.into_iter().map(|path| {
        let contents = read(&path, true);
        (path.into_os_string().into_vec(), contents)
    });
    found.filter(|(_, contents)| *contents != Found::Missing).collect()
}

/// What in a folder fits one part of a pattern. Hidden files are found by a dot alone.
fn inside(folder: &Path, part: &[u8]) -> Vec<PathBuf> {
    if !glob::has_magic(part) {
        let path = folder.join(OsStr::from_bytes(&glob::unescape(part)));
        return if fs::symlink_metadata(&path).is_ok() { vec![path] } else { Vec::new() };
    }
    let names = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let fits = |name: &OsString| {
        let name = name.as_bytes();
        (!name.starts_with(b".") || part.starts_with(b".")) && glob::matches(part, name)
    };
    let mut names: Vec<OsString> = names.filter(fits).collect();
    names.sort();
    names.into_iter().map(|name| folder.join(name)).collect()
}

/// Whether a command of the user's shell succeeds. What it says of errors is shown.
fn run(command: &[u8]) -> bool {
    let shell =
        std::env::var_os("SHELL").filter(|shell| !shell.is_empty()).unwrap_or_else(|| "/bin/sh".into());
    let mut shell = Command::new(shell);
    shell.arg("-c").arg(OsStr::from_bytes(command)).stdin(Stdio::null()).stdout(Stdio::null());
    shell.status().is_ok_and(|status| status.success())
}

fn interfaces() -> Vec<IpAddr> {
    let up = nix::net::if_::InterfaceFlags::IFF_UP;
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten().filter(|i| i.flags.contains(up));
    let address = |i: nix::ifaddrs::InterfaceAddress| {
        let address = i.address?;
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
    };
    all.filter_map(address).collect()
}

fn hints(family: Option<Family>, flags: i32) -> dns_lookup::AddrInfoHints {
    let address = match family {
        Some(Family::Inet) => nix::libc::AF_INET,
        Some(Family::Inet6) => nix::libc::AF_INET6,
        None => nix::libc::AF_UNSPEC,
    };
    dns_lookup::AddrInfoHints { socktype: nix::libc::SOCK_STREAM, protocol: 0, address, flags }
}

fn resolve(name: &[u8], family: Option<Family>) -> Answer {
    let Ok(name) = std::str::from_utf8(name) else { return Answer::No };
    let hints = hints(family, nix::libc::AI_CANONNAME);
    let Ok(mut found) = dns_lookup::getaddrinfo(Some(name), None, Some(hints)) else { return Answer::No };
    match found.next() {
        Some(Ok(first)) => Answer::Resolved { canonical: first.canonname.unwrap_or_default().into_bytes() },
        _ => Answer::No,
    }
}

fn service(name: &[u8]) -> Option<String> {
    let name = std::str::from_utf8(name).ok()?;
    let hints = hints(None, nix::libc::AI_PASSIVE);
    let found = dns_lookup::getaddrinfo(None, Some(name), Some(hints)).ok()?;
    found.flatten().next().map(|first| first.sockaddr.port().to_string())
}
