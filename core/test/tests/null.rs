//! The null provider agrees with itself, and with nobody else.

use konko_core::crypto::Policy;
use konko_core::error::{AlgorithmCategory, Fault};
use konko_core::*;
use konko_test::apps::{Host, Shell};
use konko_test::{Pair, host_key, null, null_key};

/// How a login and a command end between a client with one provider and a server with another.
fn between(
    client: TransportConfig,
    server: TransportConfig,
) -> (Pair<Shell, Host>, Option<Error>, Option<Error>) {
    let key = if server.provider.name() == "null" { null_key() } else { host_key() };
    let server = ServerConfig::with_transport(server, vec![key]);
    let shell = Shell::new("echo").with_input(b"hello".to_vec());
    let mut pair = Pair::new(ClientConfig::new(client), server, (shell, Host::default()));
    pair.drive_until("an end", |p| p.client.app.seen.closed || (p.client.over() && p.server.over()));
    let (client, server) = (pair.client.result.clone(), pair.server.result.clone());
    (pair, client, server)
}

#[test]
fn it_agrees_with_itself() {
    let config = || TransportConfig::new(null());
    let (pair, client, server) = between(config(), config());
    assert_eq!((client, server), (None, None));
    assert_eq!(pair.client.app.seen.out, b"hello");
}

/// Whatever either of them is ready to accept.
#[test]
fn it_agrees_with_no_real_peer() {
    for policy in Policy::ALL {
        for theirs in Policy::ALL {
            let null = || TransportConfig::with_policy(null(), policy);
            let real = || TransportConfig::with_policy(provider::rustcrypto(), theirs);
            for (client, server) in [(null(), real()), (real(), null())] {
                let (pair, client, server) = between(client, server);
                assert!(pair.client.app.log.is_empty() && pair.server.app.log.is_empty());
                // One of them says so; the other may have read the DISCONNECT first.
                let found = [client, server].into_iter().flatten().find_map(|error| match error {
                    Error::Peer(e) if e.fault() == Fault::NoCommonAlgorithm => {
                        e.negotiation_failure().cloned()
                    }
                    _ => None,
                });
                let failed: Vec<_> = found.unwrap().mismatches.iter().map(|m| m.category).collect();
                use AlgorithmCategory as C;
                for category in [C::Kex, C::HostKey, C::CipherClientToServer, C::CipherServerToClient] {
                    assert!(failed.contains(&category), "{category:?} was agreed on: {failed:?}");
                }
            }
        }
    }
}
