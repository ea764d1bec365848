//! What peers do their own way, told by their identification line (RFC 4253 §4.2).
//!
//! SYMLINK: the draft has the link first (§6.10), OpenSSH the target (PROTOCOL §4.1), and most peers do as
//! OpenSSH does. What stands here follows the draft unless the other side calls itself OpenSSH, or a name
//! that is not konko's. Peers that send one order to everybody are not here, whichever it is: programs that
//! work with OpenSSH's server name the target first then (net-sftp, sshj, Twisted's and Erlang's clients).

/// Files and directories that this server can have open at a time without giving two of them one handle; 0: any.
///
/// ssh_sftpd.erl, `new_handle`: looks for a free number in a list that is not sorted, and with two open finds one
/// that is not free.
pub(super) fn most_handles(ident: &[u8]) -> u64 {
    if software(ident).starts_with(b"Erlang") { 2 } else { 0 }
}

fn software(ident: &[u8]) -> &[u8] {
    ident.strip_prefix(b"SSH-2.0-").or(ident.strip_prefix(b"SSH-1.99-")).unwrap_or(ident)
}

/// Where the link stands first, and where that was read.
struct LinkFirst {
    /// The start of the software version.
    software: &'static [u8],
    client: bool,
    server: bool,
}

const fn row(software: &'static [u8], client: bool, server: bool) -> LinkFirst {
    LinkFirst { software, client, server }
}

const LINK_FIRST: [LinkFirst; 8] = [
    // asyncssh/sftp.py, `_nonstandard_symlink_impls`: OpenSSH and Paramiko have the target first.
    row(b"AsyncSSH", true, true),
    // ssh_sftpd.erl, `handle_op(?SSH_FXP_SYMLINK`.
    row(b"Erlang", false, true),
    // libssh src/sftp.c, `sftp_symlink`, and src/sftpserver.c, `process_symlink`.
    row(b"libssh_", true, true),
    row(b"libssh-", true, true),
    // phpseclib/Net/SFTP.php, `symlink`: OpenSSH has the target first.
    row(b"phpseclib_", true, false),
    // npm ssh2, lib/protocol/SFTP.js, `RE_OPENSSH`: OpenSSH and dropbear have the target first.
    row(b"ssh2js", true, true),
    // twisted/conch/ssh/filetransfer.py, `packet_SYMLINK`.
    row(b"Twisted", false, true),
    // WinSCP source/core/SftpFileSystem.cpp, `DoCreateLink`: OpenSSH and ProFTPD have the target first.
    row(b"WinSCP", true, false),
];

fn find(ident: &[u8]) -> Option<&'static LinkFirst> {
    LINK_FIRST.iter().find(|row| software(ident).starts_with(row.software))
}

/// Whether this client names the link first in SYMLINK.
pub(super) fn client_names_link_first(ident: &[u8]) -> bool {
    find(ident).is_some_and(|row| row.client)
}

/// Whether this server takes the first name of SYMLINK for the link.
pub(super) fn server_takes_link_first(ident: &[u8]) -> bool {
    find(ident).is_some_and(|row| row.server)
}
