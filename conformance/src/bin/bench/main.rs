//! Streams over loopback with the program under test and with OpenSSH's `ssh`, turn by turn against the same server,
//! and prints the ratios. `conformance/bench --help` tells the options.

mod links;
mod sftp;

use konko_conformance::process::{Feed, Process};
use konko_conformance::{OpenSsh, Program, Sshd, Table};
use nix::sys::resource::{UsageWho, getrusage};
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "conformance/bench [--only PART] [--mib N] [--rounds N] [--cipher NAME]... [--files N]
  --only PART    streams, sftp or links (downloads at 1 to 100 ms); all unless said
  --mib N        MiB of one stream (1024)
  --rounds N     streams of each program and direction, turn by turn (5)
  --files N      files of 4 KiB in a tree, for SFTP (5000)
  --cipher NAME  instead of aes128-gcm@openssh.com, aes256-gcm@openssh.com, chacha20-poly1305@openssh.com, aes256-ctr
KONKO_PROGRAM names another program than konko, as \"ssh\".";

struct Options {
    len: u64,
    rounds: usize,
    ciphers: Vec<String>,
    files: usize,
    only: Option<String>,
}

fn main() -> ExitCode {
    let options = match options(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let (Some(program), Some(openssh)) = (Program::under_test(), OpenSsh::system()) else {
        eprintln!("bench: konko or OpenSSH is missing");
        return ExitCode::FAILURE;
    };
    let wanted = |part: &str| options.only.as_deref().is_none_or(|only| only == part);
    let streams = if wanted("streams") { bench(&options, &program, &openssh) } else { Ok(()) };
    let all = streams.and_then(|()| if wanted("sftp") { sftp::bench(&options, &openssh) } else { Ok(()) });
    let all = all.and_then(|()| if wanted("links") { links::bench(&options, &openssh) } else { Ok(()) });
    match all {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("bench: {text}");
            ExitCode::FAILURE
        }
    }
}

fn options(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { len: 1 << 30, rounds: 5, ciphers: Vec::new(), files: 5000, only: None };
    while let Some(arg) = args.next() {
        let value = args.next().ok_or(HELP)?;
        match arg.as_str() {
            "--mib" => options.len = value.parse::<u64>().map_err(|e| e.to_string())? << 20,
            "--rounds" => options.rounds = value.parse::<usize>().map_err(|e| e.to_string())?.max(1),
            "--files" => options.files = value.parse::<usize>().map_err(|e| e.to_string())?.max(1),
            "--only" if matches!(value.as_str(), "streams" | "sftp" | "links") => options.only = Some(value),
            "--cipher" => options.ciphers.push(value),
            _ => return Err(HELP.into()),
        }
    }
    if options.ciphers.is_empty() {
        let all = [
            "aes128-gcm@openssh.com",
            "aes256-gcm@openssh.com",
            "chacha20-poly1305@openssh.com",
            "aes256-ctr",
        ];
        options.ciphers = all.map(String::from).to_vec();
    }
    Ok(options)
}

#[derive(Clone, Copy, PartialEq)]
enum LoginMethod {
    Down,
    Up,
    /// Nothing but log in: what is subtracted from the others.
    Login,
}

/// Wall clock and the client's processor time, in seconds.
#[derive(Clone, Copy, Debug)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn bench(options: &Options, program: &Program, openssh: &OpenSsh) -> Result<(), String> {
    let sshd = Sshd::start(openssh, &[]);
    let baseline = Program::new(vec![openssh.ssh().into()]);
    let both = [program, &baseline];
    let mut table =
        Table::new(["cipher", "", "GB/s", "ssh", "ratio", "min..max", "client CPU s/GB", "ssh", "ratio"]);
    #[expect(clippy::cast_precision_loss, reason = "sizes are far below 2^52")]
    let gigabytes = options.len as f64 / 1e9;
    for cipher in &options.ciphers {
        for (way, name) in [(LoginMethod::Down, "down"), (LoginMethod::Up, "up")] {
            let mut costs = [Vec::new(), Vec::new()];
            let mut logins = [Vec::new(), Vec::new()];
            // Turn by turn, so that whatever else the machine does hits both.
            for _ in 0..options.rounds {
                for (i, program) in both.iter().enumerate() {
                    logins[i].push(stream(program, &sshd, cipher, LoginMethod::Login, options.len)?);
                    costs[i].push(stream(program, &sshd, cipher, way, options.len)?);
                }
            }
            let net = |i: usize| net(&costs[i], &logins[i]);
            let (ours, theirs) = (net(0), net(1));
            let ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(a, b)| b.wall / a.wall).collect();
            let wall = |c: &[Cost]| gigabytes / median(c.iter().map(|c| c.wall));
            let cpu = |c: &[Cost]| median(c.iter().map(|c| c.cpu)) / gigabytes;
            table.row([
                cipher.clone(),
                name.into(),
                format!("{:.3}", wall(&ours)),
                format!("{:.3}", wall(&theirs)),
                format!("{:.2}", wall(&ours) / wall(&theirs)),
                format!("{:.2}..{:.2}", minimum(&ratios), maximum(&ratios)),
                format!("{:.2}", cpu(&ours)),
                format!("{:.2}", cpu(&theirs)),
                format!("{:.2}", cpu(&ours) / cpu(&theirs)),
            ]);
        }
    }
    println!(
        "{} MiB, {} rounds turn by turn against one sshd {}.{}; medians, less a run that only logs in;\n\
         GB/s: more is better; CPU: user + system of the client, less is better\n{table}",
        options.len >> 20,
        options.rounds,
        openssh.version().0,
        openssh.version().1,
    );
    Ok(())
}

fn stream(program: &Program, sshd: &Sshd, cipher: &str, way: LoginMethod, len: u64) -> Result<Cost, String> {
    let (remote, feed) = match way {
        LoginMethod::Down => (format!("head -c {len} /dev/zero"), Feed::Empty),
        LoginMethod::Up => ("cat >/dev/null".into(), Feed::Zeros(len)),
        LoginMethod::Login => ("true".into(), Feed::Empty),
    };
    let mut call = program.to(sshd).option("Ciphers", cipher);
    if cipher.ends_with("-ctr") {
        call = call.option("MACs", "hmac-sha2-256-etm@openssh.com");
    }
    let before = children_cpu()?;
    let process = Process::new(call.into_command(&remote)).feed(feed).discard_output();
    let done = process.deadline(Duration::from_secs(600)).run()?;
    if done.code() != 0 {
        return Err(done.to_string());
    }
    Ok(Cost { wall: done.elapsed.as_secs_f64(), cpu: children_cpu()? - before })
}

/// Processor time of the children that were waited for: the clients. The server's is not among them while it runs.
fn children_cpu() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|e| e.to_string())?;
    let seconds = |t: nix::sys::time::TimeVal| Duration::from_micros(micros(t)).as_secs_f64();
    Ok(seconds(usage.user_time()) + seconds(usage.system_time()))
}

fn micros(t: nix::sys::time::TimeVal) -> u64 {
    u64::try_from(t.tv_sec() * 1_000_000 + t.tv_usec()).unwrap_or(0)
}

fn net(costs: &[Cost], logins: &[Cost]) -> Vec<Cost> {
    let login =
        Cost { wall: median(logins.iter().map(|c| c.wall)), cpu: median(logins.iter().map(|c| c.cpu)) };
    // Never zero: it is divided by.
    let less = |a: f64, b: f64| (a - b).max(1e-6);
    costs.iter().map(|c| Cost { wall: less(c.wall, login.wall), cpu: less(c.cpu, login.cpu) }).collect()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

fn maximum(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}
