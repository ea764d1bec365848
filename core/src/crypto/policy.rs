//! Named sets of algorithms; which these are, says `transport/handshake/negotiate.rs`.

/// Named sets of algorithms. A later version of konko may only add to a policy, never take away
/// within a major version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Policy {
    /// What is sound today. The default.
    #[default]
    Modern,
    /// Adds what servers of the last decade need: group14-sha1, ssh-rsa, AES-CBC, HMAC-SHA1.
    Compat,
    /// Adds what only devices need: group1-sha1, group-exchange-sha1, 3des-cbc, HMAC-MD5,
    /// HMAC-SHA1-96, compression before authentication. No DSA.
    LegacyDevice,
}

impl Policy {
    /// All policies, strictest first.
    pub const ALL: [Policy; 3] = [Policy::Modern, Policy::Compat, Policy::LegacyDevice];

    /// The name, as in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Policy::Modern => "Modern",
            Policy::Compat => "Compat",
            Policy::LegacyDevice => "LegacyDevice",
        }
    }
}
