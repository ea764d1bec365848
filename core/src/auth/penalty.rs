//! What a stranger did that its source may be kept outside for (OpenSSH srclimit.c).

use core::fmt;

/// What a source did before anybody of it had authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Penalty {
    /// The server's application failed on what it sent (`crash`).
    Crash,
    /// It tried to authenticate, and did not succeed (`authfail`).
    AuthFail,
    /// It tried to authenticate as a user that does not exist (`invaliduser`). Only the application
    /// knows.
    InvalidUser,
    /// It left without trying (`noauth`).
    NoAuth,
    /// It took too long (`grace-exceeded`).
    GraceExceeded,
    /// The application does not want to talk to it (`refuseconnection`). Only the application knows.
    RefuseConnection,
}

impl Penalty {
    /// All of them.
    pub const ALL: [Penalty; 6] = [
        Penalty::Crash,
        Penalty::AuthFail,
        Penalty::InvalidUser,
        Penalty::NoAuth,
        Penalty::GraceExceeded,
        Penalty::RefuseConnection,
    ];

    /// The name, as in sshd_config(5).
    pub const fn name(self) -> &'static str {
        match self {
            Penalty::Crash => "crash",
            Penalty::AuthFail => "authfail",
            Penalty::InvalidUser => "invaliduser",
            Penalty::NoAuth => "noauth",
            Penalty::GraceExceeded => "grace-exceeded",
            Penalty::RefuseConnection => "refuseconnection",
        }
    }
}

impl fmt::Display for Penalty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Penalty::Crash => "the application failed on what it sent",
            Penalty::AuthFail => "failed authentication",
            Penalty::InvalidUser => "attempted authentication as an invalid user",
            Penalty::NoAuth => "connections without attempting authentication",
            Penalty::GraceExceeded => "exceeded the login grace time",
            Penalty::RefuseConnection => "refused by the application",
        })
    }
}
