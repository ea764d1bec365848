//! `ls` and `df` of `konko sftp`.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use konko::Sftp;
use konko::core::sftp::{Extension, LongName, StatVfs};
use konko::core::wire::SshStr;
use konko::sftp::{Metadata, glob};

use crate::sftp::commands::unquoted;
use crate::sftp::line::{Word, flags};
use crate::sftp::words::{ignore, text};
use crate::streams;
use crate::terminal;

/// An entry to be shown.
struct Row {
    name: Vec<u8>,
    /// The server's own line, if there is one.
    long: Vec<u8>,
    meta: Metadata,
}

/// `ls [-1afhlnrSt] [PATH]`
pub fn ls(sftp: &Sftp, words: &[Word]) -> Result<(), String> {
    let (set, rest) = flags(words, "1afhlnrSt")?;
    let has = |letter| set.contains(&letter);
    let pattern = match rest {
        [] => Word(b".".to_vec()),
        [pattern, others @ ..] => {
            ignore(others);
            pattern.clone()
        }
    };
    let plain = pattern.plain();
    let magic = glob::has_magic(&unquoted(&pattern.0));
    // Where one is is a directory, whatever the server tells of it.
    let dir = !magic && (rest.is_empty() || sftp.is_dir(&plain).map_err(text)?);
    let mut rows: Vec<Row> = Vec::new();
    if dir {
        for entry in sftp.read_dir(&plain).map_err(text)? {
            let entry = entry.map_err(text)?;
            if has('a') || !entry.file_name().starts_with(b".") {
                let long = entry.long_name().to_vec();
                let (name, meta) = (entry.file_name().to_vec(), entry.metadata().clone());
                rows.push(Row { name, long, meta });
            }
        }
        if has('a') {
            for name in [".", ".."] {
                let meta = sftp.metadata([&plain[..], b"/", name.as_bytes()].concat()).unwrap_or_default();
                rows.push(Row { name: name.into(), long: Vec::new(), meta });
            }
        }
    } else if !magic {
        let meta = sftp.metadata(&plain).map_err(text)?;
        rows.push(Row { name: plain, long: Vec::new(), meta });
    } else {
        let found = sftp.glob(&pattern.0).map_err(text)?;
        if found.is_empty() {
            return Err(format!("Can't ls: \"{}\" not found", SshStr::new(&plain)));
        }
        // One directory alone is shown from within.
        if let [(path, _)] = &found[..]
            && sftp.is_dir(path).is_ok_and(|dir| dir)
        {
            return ls(sftp, &inner(words, path));
        }
        rows.extend(found.into_iter().map(|(name, meta)| Row { name, long: Vec::new(), meta }));
    }
    if !has('f') {
        sort(&mut rows, has('S'), has('t'), has('r'));
    }
    if has('l') || has('n') {
        long(sftp, &rows, has('n'), has('h'));
    } else if has('1') {
        rows.iter().for_each(|row| streams::line(format_args!("{}", SshStr::new(&row.name))));
    } else {
        columns(&rows);
    }
    Ok(())
}

/// The same flags, for another path.
fn inner(words: &[Word], path: &[u8]) -> Vec<Word> {
    let mut quoted = Vec::new();
    for b in path {
        if matches!(b, b'*' | b'?' | b'[' | b'\\') {
            quoted.push(b'\\');
        }
        quoted.push(*b);
    }
    let mut words = words[..words.len() - 1].to_vec();
    words.push(Word(quoted));
    words
}

fn sort(rows: &mut [Row], by_size: bool, by_time: bool, backwards: bool) {
    let time = |row: &Row| row.meta.attrs().times().map(|times| times.modified);
    rows.sort_by(|a, b| {
        let first = match (by_time, by_size) {
            (true, _) => time(b).cmp(&time(a)),
            (_, true) => b.meta.size().cmp(&a.meta.size()),
            _ => Ordering::Equal,
        };
        let order = first.then_with(|| a.name.cmp(&b.name));
        if backwards { order.reverse() } else { order }
    });
}

fn columns(rows: &[Row]) {
    let names: Vec<String> = rows.iter().map(|row| SshStr::new(&row.name).to_string()).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0) + 2;
    let fit = ((terminal::size().0 as usize) / widest).max(1);
    for line in names.chunks(fit) {
        let (last, others) =
            line.split_last().map_or(("", &[][..]), |(last, others)| (last.as_str(), others));
        let cells: String = others.iter().map(|name| format!("{name:<widest$}")).collect();
        streams::line(format_args!("{cells}{last}"));
    }
}

/// Lines as `ls -l` has them.
fn long(sftp: &Sftp, rows: &[Row], numeric: bool, human: bool) {
    let ours = numeric || human;
    let names = if numeric { Default::default() } else { owners(sftp, rows, human) };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    for row in rows {
        // The server knows its users; what it says is shown, and never read.
        if !ours && !row.long.is_empty() {
            streams::line(format_args!("{}", SshStr::new(&row.long)));
            continue;
        }
        let of = |ids: &BTreeMap<u32, String>, id: Option<u32>| id.and_then(|id| ids.get(&id).cloned());
        let owner = of(&names.0, row.meta.uid()).unwrap_or_default();
        let group = of(&names.1, row.meta.gid()).unwrap_or_default();
        let (attrs, links) = (row.meta.attrs(), 1);
        let (owner, group) = (owner.as_str(), group.as_str());
        let line = LongName { name: &row.name, attrs, links, owner, group, now }.to_bytes();
        let mut line = SshStr::new(&line).to_string();
        if let Some(size) = row.meta.size().filter(|_| human) {
            let (plain, short) = (format!(" {size:8} "), format!(" {:>8} ", short(size)));
            line = line.replacen(&plain, &short, 1);
        }
        streams::line(format_args!("{line}"));
    }
}

/// Names of users and groups.
type Owners = (BTreeMap<u32, String>, BTreeMap<u32, String>);

fn owners(sftp: &Sftp, rows: &[Row], human: bool) -> Owners {
    let mut names = Owners::default();
    let unnamed = rows.iter().filter(|row| row.long.is_empty() || human);
    let (mut uids, mut gids): (Vec<u32>, Vec<u32>) =
        unnamed.filter_map(|row| Some((row.meta.uid()?, row.meta.gid()?))).unzip();
    for ids in [&mut uids, &mut gids] {
        ids.sort_unstable();
        ids.dedup();
    }
    if uids.is_empty() || !sftp.supports(Extension::UsersGroupsById) {
        return names;
    }
    let Ok(found) = sftp.users_groups(&uids, &gids) else { return names };
    let text = |name: &Vec<u8>| SshStr::new(name).excerpt(32);
    let keep = |ids: &[u32], found: &[Option<Vec<u8>>]| -> BTreeMap<u32, String> {
        ids.iter().zip(found).filter_map(|(id, name)| Some((*id, text(name.as_ref()?)))).collect()
    };
    names.0 = keep(&uids, &found.users);
    names.1 = keep(&gids, &found.groups);
    names
}

/// A size in three digits and a unit.
fn short(size: u64) -> String {
    let mut value = size as f64;
    for unit in ["B", "K", "M", "G", "T", "P"] {
        if value < 999.5 {
            let digits = usize::from(value < 9.95 && unit != "B");
            return format!("{value:.digits$}{unit}");
        }
        value /= 1024.0;
    }
    format!("{value:.0}E")
}

/// `df [-hi] [PATH]`
pub fn df(sftp: &Sftp, words: &[Word]) -> Result<(), String> {
    let (set, rest) = flags(words, "hi")?;
    let path = match rest {
        [] => b".".to_vec(),
        [path, others @ ..] => {
            ignore(others);
            path.plain()
        }
    };
    let figures: StatVfs = sftp.statvfs(path).map_err(text)?;
    let percent = |used: u64, all: u64| (used.saturating_mul(100)).checked_div(all).unwrap_or(0);
    if set.contains(&'i') {
        let used = figures.files.saturating_sub(figures.files_free);
        streams::line(format_args!("      Inodes        Used       Avail      (root)    %Capacity"));
        let (all, available, free) = (figures.files, figures.files_available, figures.files_free);
        streams::line(format_args!(
            "{all:11} {used:11} {available:11} {free:11}         {:3}%",
            percent(used, all)
        ));
        return Ok(());
    }
    let bytes = |blocks: u64| blocks.saturating_mul(figures.fragment_size);
    let used = figures.blocks.saturating_sub(figures.blocks_free);
    let capacity = percent(used, figures.blocks);
    let columns = [figures.blocks, used, figures.blocks_available, figures.blocks_free].map(bytes);
    if set.contains(&'h') {
        let [all, used, available, free] = columns.map(short);
        streams::line(format_args!("    Size     Used    Avail   (root)    %Capacity"));
        streams::line(format_args!("{all:>8} {used:>8} {available:>8} {free:>8}         {capacity:3}%"));
    } else {
        let [all, used, available, free] = columns.map(|bytes| bytes / 1024);
        streams::line(format_args!("        Size         Used        Avail       (root)    %Capacity"));
        streams::line(format_args!("{all:12} {used:12} {available:12} {free:12}         {capacity:3}%"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::short;

    #[test]
    fn sizes() {
        let shown = [0, 999, 1000, 1024, 10_240, 1 << 20, 5 << 30].map(short);
        assert_eq!(shown, ["0B", "999B", "1.0K", "1.0K", "10K", "1.0M", "5.0G"]);
    }
}
