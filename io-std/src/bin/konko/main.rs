//! The `konko` program: what the library can do, on the command line.
#![forbid(unsafe_code)]

mod add;
mod agent;
mod algorithms;
mod connect;
mod demo;
mod destination;
mod escape;
mod flags;
mod keygen;
mod keyscan;
mod obeyed;
mod passwd;
mod progress;
mod scp;
mod serve;
mod sftp;
mod sftp_server;
mod ssh;
mod streams;
mod terminal;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// SSH2 in Rust. Where OpenSSH has the same thing, options have OpenSSH's names and meaning.
#[derive(Parser)]
#[command(name = "konko", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Show a client and a server in this process, and check every claim
    Demo,
    /// Run a command or a shell on another machine
    Ssh(Box<ssh::Args>),
    /// Files on another machine, line by line or from a batch
    Sftp(Box<sftp::Args>),
    /// Copy files to, from and between other machines
    Scp(Box<scp::Args>),
    /// Make, show and change keys, as ssh-keygen(1) does
    Keygen(Box<keygen::Args>),
    /// Hold keys for others that sign with them, as ssh-agent(1) does
    Agent(Box<agent::Args>),
    /// Give keys to an agent, as ssh-add(1) does
    Add(Box<add::Args>),
    /// Hash a password for `konko serve --password-file`, asked for or read from standard input
    Passwd(passwd::Args),
    /// Let others log in and run programs
    Serve(Box<serve::Args>),
    /// Ask hosts for their keys
    Keyscan(Box<keyscan::Args>),
    /// Serve files on standard input and output, as the subsystem sftp of a server
    SftpServer(sftp_server::Args),
}

fn main() -> ExitCode {
    let words = match flags::words() {
        Ok(words) => words,
        Err((program, why)) => {
            streams::say(&format!("konko {}: {why}", program.display()));
            return ExitCode::from(255);
        }
    };
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(mut e) => {
            // A flag that is not known is none that was meant as a name.
            e.remove(clap::error::ContextKind::Suggested);
            streams::show(&e);
            // OpenSSH ends with 255 for whatever goes wrong on this side.
            return ExitCode::from(if e.use_stderr() { 255 } else { 0 });
        }
    };
    match cli.command {
        Command::Demo => match demo::run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                streams::say(&format!("konko demo: {error}"));
                ExitCode::FAILURE
            }
        },
        Command::Ssh(args) => ssh::run(*args),
        Command::Sftp(args) => sftp::run(*args),
        Command::Scp(args) => scp::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::Add(args) => add::run(&args),
        Command::Passwd(args) => passwd::run(&args),
        Command::Serve(args) => serve::run(&args),
        Command::Keyscan(args) => keyscan::run(&args),
        Command::SftpServer(args) => sftp_server::run(args),
    }
}
