//! What real SFTP clients do that the draft does not say.

mod sftp;

use konko_core::sftp::*;
use konko_core::wire::Sink;
use sftp::*;

/// WRITE whose message is longer than its data says.
fn write_with_more(handle: &Handle, data: &[u8], behind: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    fields.put_u32(77);
    fields.put_string(handle.as_bytes());
    fields.put_u64(0);
    fields.put_string(data);
    fields.extend_from_slice(behind);
    packet(6, &fields)
}

#[test]
fn what_stands_behind_the_data_of_a_write_is_passed_over() {
    // Go's pkg/sftp 1.13 sends its whole buffer of 32 KiB for a last byte.
    for chunk in [1, 7, 20, 1 << 20] {
        for (data, behind) in [(&b"x"[..], 32767), (b"", 3), (b"hello", 0), (b"hello", 1)] {
            let mut joined = Joined::new();
            joined.chunk = chunk;
            let handle = joined.open("/f", OpenFlags::WRITE | OpenFlags::CREATE);
            joined.to_server.extend(write_with_more(&handle, data, &vec![b'!'; behind]));
            let to_server = std::mem::take(&mut joined.to_server);
            let mut replies = Vec::new();
            for piece in to_server.chunks(chunk) {
                let mut input = piece;
                while !input.is_empty() {
                    joined.server.run(&mut joined.session, &mut joined.server_rx, &mut input).unwrap();
                }
                replies.extend_from_slice(joined.server.tx().pending());
                let n = joined.server.tx().len();
                joined.server.tx().consume(n);
            }
            assert_eq!(replies[4..13], [101, 0, 0, 0, 77, 0, 0, 0, 0], "one OK for it");
            assert_eq!(joined.fs.content(b"/f").as_deref(), Some(data));
            // And what follows is understood.
            assert_eq!(joined.call(|c| c.close(&handle)), OK);
        }
    }
}

/// Identification lines, whether such a client names the link first when the server does not call itself OpenSSH,
/// and whether such a server takes it for the link when the client does not. Each was read in its source.
const LINES: [(&str, bool, bool); 20] = [
    ("SSH-2.0-OpenSSH_9.2p1 Debian-2", false, false),
    ("SSH-2.0-konko_0.1.0", false, false),
    ("SSH-2.0-AsyncSSH_2.24.1", true, true),
    ("SSH-2.0-Erlang/4.15.2", false, true),
    ("SSH-2.0-libssh_0.12.0", true, true),
    ("SSH-2.0-libssh-0.6.3", true, true),
    ("SSH-2.0-phpseclib_3.0 (libsodium, openssl)", true, false),
    ("SSH-2.0-ssh2js1.17.0", true, true),
    ("SSH-2.0-Twisted_24.11.0", false, true),
    ("SSH-2.0-WinSCP_release_6.5", true, false),
    ("SSH-1.99-libssh_0.4", true, true),
    // These have OpenSSH's order, or one for all servers, with which OpenSSH's does what is meant.
    ("SSH-2.0-APACHE-SSHD-2.15.0", false, false),
    ("SSH-2.0-Go", false, false),
    ("SSH-2.0-JSCH_2.27.0", false, false),
    ("SSH-2.0-libssh2_1.11.1", false, false),
    ("SSH-2.0-paramiko_5.1.0", false, false),
    ("SSH-2.0-Renci.SshNet.SshClient.2024.1.0", false, false),
    ("SSH-2.0-Ruby/Net::SSH_7.3.0 x86_64-linux", false, false),
    ("SSH-2.0-SSHJ_0.39.0", false, false),
    ("", false, false),
];

#[test]
fn e4_the_order_of_symlink_goes_by_the_identification_of_the_peer_in_both_roles() {
    for (ident, client, server) in LINES {
        // Who connects.
        let mut config = ServerConfig::default();
        config.suit(ident.as_bytes());
        let mut joined = Joined::with(ClientConfig::default(), config);
        let (one, other) = if client { (&b"/link"[..], &b"text"[..]) } else { (&b"text"[..], &b"/link"[..]) };
        assert_eq!(joined.call(|c| c.symlink(one, other)), OK, "{ident}");
        assert_eq!(joined.call(|c| c.readlink(b"/link")), Got::Path(b"text".to_vec()), "{ident}");
        // Who is connected to; `symlink` takes what the link says, then where it stands.
        let mut joined = Joined::with(
            ClientConfig::default().for_server(ident.as_bytes()),
            ServerConfig::new().link_first(server),
        );
        assert_eq!(joined.call(|c| c.symlink(b"text", b"/link")), OK, "{ident}");
        assert_eq!(joined.call(|c| c.readlink(b"/link")), Got::Path(b"text".to_vec()), "{ident}");
    }
    // The application may know better.
    let told = ClientConfig::new().draft_symlink(true);
    assert!(told.for_server(b"SSH-2.0-OpenSSH_9.2").draft_symlink);
}
