//! Downloads over links with a long round trip: `konko ssh` and `konko sftp` beside OpenSSH's own, from the same sshd.

use super::{Cost, Options, median, net};
use konko_conformance::process::Process;
use konko_conformance::sshd::login;
use konko_conformance::{Link, OpenSsh, Sshd, Table, peers};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// 1 Gbit/s, a home line's and a data centre's alike.
const BYTES_PER_SECOND: f64 = 125e6;
const ROUND_TRIPS: [u64; 5] = [1, 10, 20, 50, 100];

pub fn bench(options: &Options, openssh: &OpenSsh) -> Result<(), String> {
    let Some(konko) = peers::konko() else { return Err("konko is missing".into()) };
    let konko = konko.display().to_string();
    let sshd = Sshd::start(openssh, &[]);
    let len = options.len.min(256 << 20);
    let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
    let big = folder.path().join("big");
    let block: Vec<u8> = (0..1u32 << 18).flat_map(|i| i.wrapping_mul(0x9e37_79b9).to_le_bytes()).collect();
    let file = fs::File::create(&big).map_err(|e| e.to_string())?;
    for _ in 0..len >> 20 {
        std::io::Write::write_all(&mut &file, &block).map_err(|e| e.to_string())?;
    }
    let mut table = Table::new(["", "round trip", "OpenSSH MB/s", "konko MB/s", "ratio"]);
    for round_trip in ROUND_TRIPS {
        let link = Link::to(sshd.port, Duration::from_millis(round_trip), BYTES_PER_SECOND);
        let known = fs::read_to_string(sshd.known_hosts()).map_err(|e| e.to_string())?;
        let hosts = folder.path().join("known_hosts");
        fs::write(&hosts, known.replace(&format!(":{} ", sshd.port), &format!(":{} ", link.port)))
            .map_err(|e| e.to_string())?;
        for (name, words) in [("cat", ["ssh", "-p"]), ("sftp get", ["sftp", "-P"])] {
            let mut rates = Vec::new();
            for konko in [None, Some(&konko)] {
                let (mut costs, mut logins) = (Vec::new(), Vec::new());
                for _ in 0..options.rounds {
                    for (work, list) in [(false, &mut logins), (true, &mut costs)] {
                        list.push(run(&sshd, konko, words, link.port, &hosts, folder.path(), work)?);
                    }
                }
                #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
                let megabytes = len as f64 / 1e6;
                rates.push(megabytes / median(net(&costs, &logins).iter().map(|c| c.wall)));
            }
            table.row([
                name.to_owned(),
                format!("{round_trip} ms"),
                format!("{:.1}", rates[0]),
                format!("{:.1}", rates[1]),
                format!("{:.2}", rates[1] / rates[0]),
            ]);
        }
    }
    println!(
        "{} MiB from sshd {}.{} over a link of 1 Gbit/s, {} rounds; medians, less a run that only logs in\n{table}",
        len >> 20,
        openssh.version().0,
        openssh.version().1,
        options.rounds,
    );
    Ok(())
}

fn run(
    sshd: &Sshd,
    konko: Option<&String>,
    [program, port_flag]: [&str; 2],
    port: u16,
    hosts: &Path,
    at: &Path,
    work: bool,
) -> Result<Cost, String> {
    let mut command = match konko {
        Some(konko) => Command::new(konko),
        None => Command::new(program),
    };
    match konko {
        Some(_) => command.arg(program),
        None => command.arg("-F/dev/null"),
    };
    command.arg(port_flag).arg(port.to_string()).arg("-i").arg(sshd.keys.private("user_ed25519"));
    command.args(["-q", "-c", "aes128-gcm@openssh.com"]);
    command.arg("-o").arg(format!("UserKnownHostsFile={}", hosts.display()));
    command.args(["-o", "StrictHostKeyChecking=yes", "-o", "BatchMode=yes"]);
    let destination = format!("{}@127.0.0.1", login());
    let (big, copy, batch) = (at.join("big"), at.join("copy"), at.join("batch"));
    if program == "ssh" {
        command.arg(destination);
        command.arg(if work { format!("cat {}", big.display()) } else { "true".into() });
    } else {
        let _ = fs::remove_file(&copy);
        let line = if work { format!("get {} {}\n", big.display(), copy.display()) } else { "pwd\n".into() };
        fs::write(&batch, line).map_err(|e| e.to_string())?;
        command.arg("-b").arg(&batch).arg(destination);
    }
    let done = Process::new(command).deadline(Duration::from_secs(600)).discard_output().run()?;
    if done.code() != 0 {
        return Err(done.to_string());
    }
    if work
        && program == "sftp"
        && fs::metadata(&copy).map(|m| m.len()).ok() != fs::metadata(&big).map(|m| m.len()).ok()
    {
        return Err("the copy is not what it should be".into());
    }
    Ok(Cost { wall: done.elapsed.as_secs_f64(), cpu: 0.0 })
}
