//! Words for what would else be a bare true or false.

/// The application's word on what a peer asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[allow(clippy::exhaustive_enums, reason = "yes or no")]
pub enum Decision {
    /// Yes.
    Accept,
    /// No.
    Reject,
}

impl Decision {
    /// Yes if `so`.
    pub const fn accept_if(so: bool) -> Self {
        if so { Decision::Accept } else { Decision::Reject }
    }

    /// Whether it is a yes.
    pub const fn is_accept(self) -> bool {
        matches!(self, Decision::Accept)
    }
}

/// Whether the peer is to answer a request (`want reply` of RFC 4254 §4 and §5.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::exhaustive_enums, reason = "yes or no")]
pub enum WantReply {
    /// It is; an event tells the answer.
    Yes,
    /// It is not.
    No,
}

impl WantReply {
    /// Yes if `so`.
    pub const fn yes_if(so: bool) -> Self {
        if so { WantReply::Yes } else { WantReply::No }
    }

    /// Whether an answer is wanted.
    pub const fn is_yes(self) -> bool {
        matches!(self, WantReply::Yes)
    }
}
