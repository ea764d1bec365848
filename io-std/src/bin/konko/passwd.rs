//! `konko passwd`: the hash of a password, as `konko serve --password-file` has it.

use std::io::IsTerminal;
use std::process::ExitCode;

use konko::server::users::hash_password;
use zeroize::Zeroizing;

use crate::{streams, terminal};

/// Options of `konko passwd`.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The user, for a whole line of the file
    user: Option<String>,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    match line(args).and_then(|line| streams::try_line(&line).map_err(|e| e.to_string())) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            streams::say(&format!("konko passwd: {text}"));
            ExitCode::FAILURE
        }
    }
}

fn line(args: &Args) -> Result<String, String> {
    if let Some(user) = &args.user
        && (user.is_empty()
            || user.contains([':', '\n', '\r', '\0'])
            || user.trim() != user
            || user.starts_with('#'))
    {
        return Err("this is no name that a line of the file can begin with".into());
    }
    let password = password()?;
    if password.is_empty() {
        return Err("an empty password lets nobody in".into());
    }
    let hash = hash_password(&password).map_err(|e| e.to_string())?;
    Ok(match &args.user {
        Some(user) => format!("{user}:{hash}"),
        None => hash,
    })
}

/// Asked twice at a terminal; one line of standard input otherwise.
fn password() -> Result<Zeroizing<Vec<u8>>, String> {
    if !std::io::stdin().is_terminal() {
        return Ok(crate::keygen::line().map_err(|e| e.to_string())?.unwrap_or_default());
    }
    let ask = |prompt: &str| terminal::ask(prompt, false).ok_or("nobody answers");
    let (first, second) = (ask("Password: ")?, ask("Again: ")?);
    if first.expose() != second.expose() {
        return Err("the two are not the same".into());
    }
    Ok(Zeroizing::new(first.expose().to_vec()))
}
