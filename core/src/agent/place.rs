//! Where an agent is.

use alloc::vec::Vec;

/// A place where an agent may be.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A socket, or a named pipe, of that path.
    Socket(Vec<u8>),
    /// Pageant, on Windows.
    Pageant,
}

/// The named pipe of OpenSSH's agent on Windows.
const PIPE: &[u8] = br"\\.\pipe\openssh-ssh-agent";

/// Where to look for the agent, in this order, until one answers: where the option `IdentityAgent` says
/// (ssh_config(5): a path, `$` and the name of a variable, `SSH_AUTH_SOCK`, or `none`), else where the variable
/// `SSH_AUTH_SOCK` says; else, on Windows, Pageant, then OpenSSH's agent.
pub fn places(
    identity_agent: Option<&[u8]>,
    env: impl Fn(&[u8]) -> Option<Vec<u8>>,
    windows: bool,
) -> Vec<Place> {
    let variable = |name: &[u8]| env(name).filter(|path| !path.is_empty()).map(Place::Socket);
    let said = match identity_agent {
        Some(b"none") => return Vec::new(),
        Some(b"SSH_AUTH_SOCK") | None => variable(b"SSH_AUTH_SOCK"),
        // Who names another place means that one.
        Some([b'$', name @ ..]) => return variable(name).into_iter().collect(),
        Some(path) => return [Place::Socket(path.to_vec())].into(),
    };
    match said {
        Some(place) => [place].into(),
        None if windows => [Place::Pageant, Place::Socket(PIPE.to_vec())].into(),
        None => Vec::new(),
    }
}
