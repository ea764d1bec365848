//! `konko sftp` and OpenSSH's `sftp`, turn by turn against the same sshd, with files in memory.

use super::{Cost, Options, children_cpu, maximum, median, minimum, net};
use konko_conformance::process::Process;
use konko_conformance::sshd::login;
use konko_conformance::{OpenSsh, Sshd, Table, peers};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// What is done, and what has to be gone before and be the same after.
struct Task {
    name: String,
    batch: String,
    made: &'static str,
    source: &'static str,
    /// In GB/s or files/s.
    unit: &'static str,
    amount: f64,
}

pub fn bench(options: &Options, openssh: &OpenSsh) -> Result<(), String> {
    let Some(konko) = peers::konko() else { return Err("konko is missing".into()) };
    let ours = [konko.display().to_string(), "sftp".into()];
    let theirs = ["sftp".to_owned(), "-F/dev/null".into()];
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let folder = folder.map_err(|e| e.to_string())?;
    let at = folder.path();
    make(at, options).map_err(|e| e.to_string())?;
    let sshd = Sshd::start(openssh, &[]);
    let mut table =
        Table::new(["cipher", "", "konko", "sftp", "", "ratio", "min..max", "client CPU s", "sftp", "ratio"]);
    for cipher in &options.ciphers {
        if cipher.ends_with("-ctr") {
            continue;
        }
        for task in tasks(at, options) {
            let (mut costs, mut logins) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
            for _ in 0..options.rounds {
                for (i, words) in [&ours, &theirs].into_iter().enumerate() {
                    logins[i].push(run(words, &sshd, cipher, at, "pwd\n")?);
                    remove(&at.join(task.made)).map_err(|e| e.to_string())?;
                    costs[i].push(run(words, &sshd, cipher, at, &task.batch)?);
                    same(&at.join(task.source), &at.join(task.made))?;
                }
            }
            let (ours, theirs) = (net(&costs[0], &logins[0]), net(&costs[1], &logins[1]));
            let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| b.wall / a.wall).collect();
            let rate = |c: &[Cost]| task.amount / median(c.iter().map(|c| c.wall));
            let cpu = |c: &[Cost]| median(c.iter().map(|c| c.cpu));
            let number = |n: f64| if n < 100.0 { format!("{n:.3}") } else { format!("{n:.0}") };
            table.row([
                cipher.clone(),
                task.name,
                number(rate(&ours)),
                number(rate(&theirs)),
                task.unit.into(),
                format!("{:.2}", rate(&ours) / rate(&theirs)),
                format!("{:.2}..{:.2}", minimum(&ratios), maximum(&ratios)),
                format!("{:.2}", cpu(&ours)),
                format!("{:.2}", cpu(&theirs)),
                format!("{:.2}", cpu(&ours) / cpu(&theirs)),
            ]);
        }
    }
    println!(
        "SFTP, {} MiB and {} files of 4 KiB, {} rounds turn by turn against one sshd {}.{} and its sftp-server, all\n\
         files in memory; medians, less a run that only logs in; more is better, CPU of the client: less is\n{table}",
        options.len >> 20,
        options.files,
        options.rounds,
        openssh.version().0,
        openssh.version().1,
    );
    Ok(())
}

fn make(at: &Path, options: &Options) -> std::io::Result<()> {
    let block: Vec<u8> = (0..1u32 << 18).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let mut big = fs::File::create(at.join("big"))?;
    for _ in 0..options.len >> 20 {
        std::io::Write::write_all(&mut big, &block)?;
    }
    fs::create_dir(at.join("tree"))?;
    for i in 0..options.files {
        fs::write(at.join(format!("tree/f{i}")), &block[i % 4096..][..4096])?;
    }
    Ok(())
}

fn tasks(at: &Path, options: &Options) -> [Task; 4] {
    let at = at.display();
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let (gigabytes, files) = (options.len as f64 / 1e9, options.files as f64);
    let big = |name: &str, batch| Task {
        name: name.into(),
        batch,
        made: "copy",
        source: "big",
        unit: "GB/s",
        amount: gigabytes,
    };
    let small = |name: &str, batch| Task {
        name: name.into(),
        batch,
        made: "trees",
        source: "tree",
        unit: "files/s",
        amount: files,
    };
    [
        big("get", format!("get {at}/big {at}/copy\n")),
        big("put", format!("put {at}/big {at}/copy\n")),
        small("get -R", format!("get -R {at}/tree {at}/trees\n")),
        small("put -R", format!("put -R {at}/tree {at}/trees\n")),
    ]
}

fn remove(path: &Path) -> std::io::Result<()> {
    if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    }
}

/// A run that did nothing would be the fastest of all.
fn same(a: &Path, b: &Path) -> Result<(), String> {
    let diff = Command::new("diff").arg("-rq").arg(a).arg(b).output().map_err(|e| e.to_string())?;
    if diff.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&diff.stdout).into_owned()) }
}

fn run(words: &[String], sshd: &Sshd, cipher: &str, at: &Path, batch: &str) -> Result<Cost, String> {
    let file = at.join("batch");
    fs::write(&file, batch).map_err(|e| e.to_string())?;
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).args(["-q", "-c", cipher, "-P", &sshd.port.to_string(), "-b"]).arg(file);
    command.arg("-i").arg(sshd.keys.private("user_ed25519"));
    command.arg("-o").arg(format!("UserKnownHostsFile={}", sshd.known_hosts().display()));
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    command.arg(format!("{}@127.0.0.1", login()));
    let before = children_cpu()?;
    let done = Process::new(command).deadline(Duration::from_secs(600)).discard_output().run()?;
    if done.code() != 0 {
        return Err(done.to_string());
    }
    Ok(Cost { wall: done.elapsed.as_secs_f64(), cpu: children_cpu()? - before })
}
