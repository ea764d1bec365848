//! `-F`, `-R`, `-H`: the hosts of a file of known hosts.

use std::ffi::OsString;
use std::path::PathBuf;

use konko::core::hosts::{Contents, Entry, KnownHostsFile, Means, split};
use konko::{Rng, known_hosts};
use std::os::unix::ffi::OsStrExt;

use super::ask::reason;
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Find a host in a file of known hosts: name or [name]:port; with -H print what is found with hashed names, with
    /// -l fingerprints
    #[arg(short = 'F', value_name = "HOST")]
    pub find: Option<OsString>,
    /// Remove all keys of a host from a file of known hosts; what was there before is kept as .old
    #[arg(short = 'R', value_name = "HOST")]
    pub remove: Option<OsString>,
    /// Hash the names in a file of known hosts; what was there before is kept as .old
    #[arg(short = 'H')]
    pub hash_names: bool,
}

/// `-F`
pub fn find(args: &Args) -> Result<(), Failure> {
    let path = path(args)?;
    let name = name(args.hosts.find.as_ref())?;
    let bytes = match known_hosts::read(path.as_os_str().as_bytes()) {
        Contents::Bytes(bytes) => bytes,
        Contents::Missing => Vec::new(),
        Contents::Unreadable(why) => return Err(format!("{}: {why}", path.display()).into()),
    };
    let file = KnownHostsFile::parse(&bytes)?;
    let (host, port) = split(&name);
    let found = file.find(host, port);
    let mut stdout = Vec::new();
    for entry in &found {
        if !args.quiet {
            let means = match entry.means {
                Means::Known => "",
                Means::Revoked => "REVOKED",
                Means::Authority => "CA",
            };
            stdout.extend(format!("# Host {name} found: line {} {means}\n", entry.number).bytes());
        }
        stdout.extend(shown(args, &name, entry)?);
    }
    std::io::Write::write_all(&mut streams::stdout()?, &stdout)?;
    if found.is_empty() { Err(Failure::one("")) } else { Ok(()) }
}

/// What is printed of a line that was found.
fn shown(args: &Args, name: &str, entry: &Entry<'_>) -> Result<Vec<u8>, Failure> {
    let line = [entry.text, b"\n"].concat();
    if args.hosts.hash_names {
        let mut file = KnownHostsFile::parse(&line)?;
        file.hash_names(&mut rng()?);
        return Ok(file.to_bytes());
    }
    if args.show.fingerprint {
        let Ok(key) = entry.key() else { return Ok(Vec::new()) };
        let comment = entry.comment();
        let space: &[u8] = if comment.is_empty() { b"" } else { b" " };
        let head = format!("{name} {} {}", key.key_type().short_name(), key.fingerprint(args.hash));
        return Ok([head.as_bytes(), space, comment, b"\n"].concat());
    }
    Ok(line)
}

/// `-R`
pub fn remove(args: &Args) -> Result<(), Failure> {
    let path = path(args)?;
    let name = name(args.hosts.remove.as_ref())?;
    let (host, port) = split(&name);
    let change = known_hosts::change(&path, |file| {
        for entry in file.find(host, port).iter().filter(|entry| entry.means == Means::Known) {
            args.tell(format_args!("# Host {name} found: line {}", entry.number));
        }
        is_whole(&path, file)?;
        Ok::<_, Failure>(file.remove(host, port))
    })?;
    if change.result? == 0 {
        streams::say(&format!("Host {name} not found in {}", path.display()));
    }
    said(&path, change.old.as_ref());
    Ok(())
}

/// `-H`
pub fn hash(args: &Args) -> Result<(), Failure> {
    let path = path(args)?;
    let mut rng = rng()?;
    let change = known_hosts::change(&path, |file| {
        is_whole(&path, file)?;
        Ok::<_, Failure>(file.hash_names(&mut rng))
    })?;
    for line in &change.result?.patterns {
        streams::say(&format!("{}:{line}: ignoring host name with wildcard", path.display()));
    }
    said(&path, change.old.as_ref());
    if let Some(old) = &change.old {
        streams::say(&format!(
            "WARNING: {} contains unhashed entries\nDelete this file to ensure privacy of hostnames",
            old.display()
        ));
    }
    Ok(())
}

/// A file with lines that make no sense is left alone, as OpenSSH does.
fn is_whole(path: &std::path::Path, file: &KnownHostsFile) -> Result<(), Failure> {
    let damaged = file.damaged();
    let path = path.display();
    for (line, problem) in &damaged {
        streams::say(&format!("{path}:{line}: invalid line: {problem}"));
    }
    if damaged.is_empty() {
        return Ok(());
    }
    Err(Failure::one(format_args!(
        "{path} is not a valid known_hosts file.\nNot replacing existing known_hosts file because of errors"
    )))
}

fn said(path: &std::path::Path, old: Option<&PathBuf>) {
    if let Some(old) = old {
        streams::line(format_args!("{} updated.", path.display()));
        streams::line(format_args!("Original contents retained as {}", old.display()));
    }
}

/// `-f`, or the user's file, which has to be there.
fn path(args: &Args) -> Result<PathBuf, Failure> {
    args.no_words()?;
    let path = match &args.file {
        Some(file) => file.clone(),
        None => std::env::home_dir().ok_or("the user has no home")?.join(".ssh/known_hosts"),
    };
    match path.metadata() {
        Ok(_) => Ok(path),
        Err(e) => Err(format!("Cannot stat {}: {}", path.display(), reason(&e)).into()),
    }
}

fn name(given: Option<&OsString>) -> Result<String, Failure> {
    let name = given.and_then(|name| name.to_str());
    Ok(name.ok_or("a host's name is text")?.to_owned())
}

fn rng() -> Result<Rng, Failure> {
    Ok(Rng::from_seed(&konko::seed_from_os()?))
}
