//! `konko sftp` and OpenSSH's `sftp`, turn by turn against the same sshd, and konko with itself; files in memory.

use super::{Cost, Options, children_cpu, median, net};
use konko_conformance::process::Process;
use konko_conformance::serve::Setup;
use konko_conformance::sshd::login;
use konko_conformance::{OpenSsh, Sshd, Table, peers};
use std::fs;
use std::path::{Path, PathBuf};
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

/// A program and the server it talks to.
struct Pair<'s> {
    words: Vec<String>,
    port: u16,
    known_hosts: PathBuf,
    identity: PathBuf,
    at: &'s Path,
}

pub fn bench(options: &Options, openssh: &OpenSsh) -> Result<(), String> {
    let Some(konko) = peers::konko() else { return Err("konko is missing".into()) };
    let ours = vec![konko.display().to_string(), "sftp".into()];
    let theirs = vec!["sftp".to_owned(), "-F/dev/null".into()];
    let shm = Path::new("/dev/shm");
    let folder = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() };
    let folder = folder.map_err(|e| e.to_string())?;
    let at = folder.path();
    make(at, options).map_err(|e| e.to_string())?;
    let sshd = Sshd::start(openssh, &[]);
    let serve = Setup::new(&[]).ok_or("konko is missing")?.shell().start();
    let to_sshd = |words: &Vec<String>| Pair {
        words: words.clone(),
        port: sshd.port,
        known_hosts: sshd.known_hosts(),
        identity: sshd.keys.private("user_ed25519"),
        at,
    };
    let both_ours = Pair {
        words: ours.clone(),
        port: serve.port,
        known_hosts: serve.known_hosts(),
        identity: serve.keys().private("user_ed25519"),
        at,
    };
    // OpenSSH with itself comes first: the others are divided by it.
    let pairs = [to_sshd(&theirs), to_sshd(&ours), both_ours];
    let mut table = Table::new([
        "cipher",
        "",
        "sftp, sshd",
        "konko, sshd",
        "konko, konko",
        "",
        "ratio",
        "ratio, both",
        "client CPU s",
        "konko",
        "ratio",
    ]);
    for cipher in &options.ciphers {
        if cipher.ends_with("-ctr") {
            continue;
        }
        for task in tasks(at, options) {
            let (mut costs, mut logins) = ([const { Vec::new() }; 3], [const { Vec::new() }; 3]);
            for _ in 0..options.rounds {
                for (i, pair) in pairs.iter().enumerate() {
                    logins[i].push(pair.run(cipher, "pwd\n")?);
                    remove(&at.join(task.made)).map_err(|e| e.to_string())?;
                    costs[i].push(pair.run(cipher, &task.batch)?);
                    same(&at.join(task.source), &at.join(task.made))?;
                }
            }
            let net: Vec<Vec<Cost>> = costs.iter().zip(&logins).map(|(c, l)| net(c, l)).collect();
            let wall = |i: usize| median(net[i].iter().map(|c| c.wall));
            let cpu = |i: usize| median(net[i].iter().map(|c| c.cpu));
            let number = |n: f64| if n < 100.0 { format!("{n:.3}") } else { format!("{n:.0}") };
            let rates = [0, 1, 2].map(|i| number(task.amount / wall(i)));
            let ratios = [1, 2].map(|i| format!("{:.2}", wall(0) / wall(i)));
            let cpus = [0, 1].map(|i| format!("{:.2}", cpu(i)));
            let mut row = vec![cipher.clone(), task.name];
            row.extend(rates);
            row.push(task.unit.into());
            row.extend(ratios);
            row.extend(cpus);
            row.push(format!("{:.2}", cpu(1) / cpu(0)));
            table.row(row);
        }
    }
    println!(
        "SFTP, {} MiB and {} files of 4 KiB, {} rounds turn by turn: OpenSSH's sftp and konko sftp with sshd {}.{}, and\n\
         konko sftp with konko serve; all files in memory; medians, less a run that only logs in. Ratios of throughput\n\
         to OpenSSH with itself: more is better; of the client's CPU: less is\n{table}",
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

impl Pair<'_> {
    fn run(&self, cipher: &str, batch: &str) -> Result<Cost, String> {
        let file = self.at.join("batch");
        fs::write(&file, batch).map_err(|e| e.to_string())?;
        let mut command = Command::new(&self.words[0]);
        command
            .args(&self.words[1..])
            .args(["-q", "-c", cipher, "-P", &self.port.to_string(), "-b"])
            .arg(file);
        command.arg("-i").arg(&self.identity);
        command.arg("-o").arg(format!("UserKnownHostsFile={}", self.known_hosts.display()));
        command.args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
        command.arg(format!("{}@127.0.0.1", login()));
        let before = children_cpu()?;
        let done = Process::new(command).deadline(Duration::from_secs(600)).discard_output().run()?;
        if done.code() != 0 {
            return Err(done.to_string());
        }
        Ok(Cost { wall: done.elapsed.as_secs_f64(), cpu: children_cpu()? - before })
    }
}
