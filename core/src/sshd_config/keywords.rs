/// Keywords that can stand in a `Match` block (`servconf.c`, `SSHCFG_ALL`, of OpenSSH 10).
const EVERYWHERE: &str = "AcceptEnv AllowAgentForwarding AllowGroups AllowStreamLocalForwarding AllowTcpForwarding \
    AllowUsers AuthenticationMethods AuthorizedKeysCommand AuthorizedKeysCommandUser AuthorizedKeysFile \
    AuthorizedKeysFile2 AuthorizedPrincipalsCommand AuthorizedPrincipalsCommandUser AuthorizedPrincipalsFile Banner \
    CASignatureAlgorithms ChallengeResponseAuthentication ChannelTimeout ChrootDirectory ClientAliveCountMax \
    ClientAliveInterval DenyGroups DenyUsers DisableForwarding ExposeAuthInfo ForceCommand GatewayPorts \
    GSSAPIAuthentication HostbasedAcceptedAlgorithms HostbasedAcceptedKeyTypes HostbasedAuthentication \
    HostbasedUsesNameFromPacketOnly IgnoreRhosts Include IPQoS KbdInteractiveAuthentication KerberosAuthentication \
    LogLevel LogVerbose Match MaxAuthTries MaxSessions PAMServiceName PasswordAuthentication PermitEmptyPasswords \
    PermitListen PermitOpen PermitRootLogin PermitTTY PermitTunnel PermitUserRC PubkeyAcceptedAlgorithms \
    PubkeyAcceptedKeyTypes PubkeyAuthentication PubkeyAuthOptions RDomain RefuseConnection RekeyLimit RequiredRSASize \
    RevokedKeys RhostsRSAAuthentication RSAAuthentication SetEnv SkeyAuthentication StreamLocalBindMask \
    StreamLocalBindUnlink Subsystem TrustedUserCAKeys UnusedConnectionTimeout X11DisplayOffset X11Forwarding \
    X11UseLocalhost";

/// Keywords that cannot (`SSHCFG_GLOBAL`), those that Debian adds, and konko's own.
const GLOBAL: &str = "AddressFamily AFSTokenPassing AllowTerrapin CheckMail Ciphers Compression DebianBanner \
    DSAAuthentication FingerprintHash GSSAPICleanupCredentials GSSAPIKeyExchange GSSAPIKexAlgorithms \
    GSSAPIStoreCredentialsOnRekey GSSAPIStrictAcceptorCheck HostCertificate HostDsaKey HostKey HostKeyAgent \
    HostKeyAlgorithms IgnoreUserKnownHosts KeepAlive KerberosGetAFSToken KerberosOrLocalPasswd KerberosTgtPassing \
    KerberosTicketCleanup KexAlgorithms KeyRegenerationInterval ListenAddress LoginGraceTime MACs MaxStartups \
    ModuliFile PAMAuthenticationViaKbdInt PermitUserEnvironment PerSourceMaxStartups PerSourceNetBlockSize \
    PerSourcePenalties PerSourcePenaltyExemptList PidFile Port PrintLastLog PrintMotd Protocol ReverseMappingCheck \
    RhostsAuthentication SecurityKeyProvider ServerKeyBits SshdAuthPath SshdSessionPath StrictModes SyslogFacility \
    TCPKeepAlive UseDNS UseLogin UsePAM UsePrivilegeSeparation VerifyReverseMapping VersionAddendum XAuthLocation";

/// Whether sshd(8) has a keyword, in any case of letters.
pub fn is_known(keyword: &str) -> bool {
    may_match(keyword) || GLOBAL.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(keyword))
}

/// Whether a keyword can stand in a `Match` block.
pub fn may_match(keyword: &str) -> bool {
    EVERYWHERE.split_ascii_whitespace().any(|known| known.eq_ignore_ascii_case(keyword))
}
