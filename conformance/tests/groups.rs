//! Group exchange with OpenSSH: its groups, screened, and ours, from a file.

use std::time::Instant;

use konko::core::crypto::{Kex, Policy};
use konko::core::transport::Moduli;
use konko::{Client, ClientOptions, HostKeys};
use konko_conformance::log::say;
use konko_conformance::{Call, Client as Peer, OpenSsh, Program, Serve, Sshd, not_run};

fn openssh() -> Option<OpenSsh> {
    let openssh = OpenSsh::system();
    if openssh.is_none() {
        not_run("group exchange with OpenSSH", "sshd or ssh is not installed");
    }
    openssh
}

/// sshd takes them of `/etc/ssh/moduli`, which nobody told the client of.
#[test]
fn a_client_that_screens_takes_the_groups_of_openssh() {
    let Some(openssh) = openssh() else { return };
    let sshd = Sshd::start(&openssh, &["KexAlgorithms diffie-hellman-group-exchange-sha256"]);
    let mut algorithms = Policy::Modern.algorithms(true);
    algorithms.kex = vec![Kex::GroupExchangeSha256];
    for bits in [2048, 3072] {
        let options = ClientOptions::new()
            .algorithms(algorithms.clone())
            .preferred_group_size(bits)
            .screen_groups(Moduli::default())
            .host_keys(HostKeys::insecure_accept_any());
        let begin = Instant::now();
        let client = Client::connect(("127.0.0.1", sshd.port), options).unwrap();
        say(&format!("a screened group of {bits} bits: {:.2} s", begin.elapsed().as_secs_f64()));
        drop(client);
    }
}

/// OpenSSH checks the group that it gets; that it is one of the file's, the server's own tests show.
#[test]
fn konko_serves_groups_of_a_file_to_openssh() {
    let Some(openssh) = openssh() else { return };
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../core/tests/data/moduli");
    let moduli = format!("ModuliFile={file}");
    let kex = "KexAlgorithms=diffie-hellman-group-exchange-sha256";
    let Some(serve) = Serve::start(&[&moduli, kex]) else { return };
    let peer = Peer::OpenSsh(Program::new(vec![openssh.ssh().into()]));
    let call = Call::to(serve.port, serve.keys()).key("user_ed25519").rekey(64 << 10);
    call.run(&peer, "exit 4").expect_code(4);
}
