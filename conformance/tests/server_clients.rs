//! Real clients on `konko serve`: every algorithm that they have, every way to log in, commands, terminals.

use konko_conformance::clients::{LISTS, python_clients};
use konko_conformance::keys::KINDS;
use konko_conformance::log::say;
use konko_conformance::matrix::at_once;
use konko_conformance::pairs::konko_negotiated;
use konko_conformance::peers::full;
use konko_conformance::process::Finished;
use konko_conformance::serve::{EVERYTHING, HASHED, PLAIN, Setup};
use konko_conformance::{Call, Cell, Client, Feed, List, Pattern, Serve, Table};
use std::sync::Mutex;
use std::time::Duration;

/// A call that logs in with the Ed25519 key.
fn call(serve: &Serve) -> Call {
    Call::to(serve.port, serve.keys()).key("user_ed25519")
}

/// A call without proof of who it is.
fn stranger(serve: &Serve) -> Call {
    Call::to(serve.port, serve.keys())
}

/// Does the same with every client, as many at once as there are processors.
fn for_all(clients: &[Client], check: impl Fn(&Client) + Sync) {
    at_once(clients, |client| check(client));
}

/// Panics unless the client was told that it may not come in.
#[track_caller]
fn expect_refused(client: &Client, done: &Finished) {
    let says: &[&str] = match client {
        Client::OpenSsh(_) | Client::Konko(_) => &["denied"],
        Client::Plink(_) => {
            &["no supported authentication methods", "password was not accepted", "in batch mode"]
        }
        Client::Dbclient(_) => &["no auth methods could be used", "disconnect received"],
        Client::Paramiko(_) => &["refused authenticationexception", "refused badauthenticationtype"],
        Client::AsyncSsh(_) => &["refused permissiondenied"],
    };
    done.expect_stderr(says);
    // Dropbear's client takes the server's goodbye for an orderly end.
    if !matches!(client, Client::Dbclient(_)) {
        assert_ne!(done.code(), 0, "{client}: {done}");
    }
    assert_eq!(done.stdout.text(), "", "{client}");
}

/// One algorithm and the servers' options that leave no other.
fn only(list: List, name: &str) -> (Cell, Vec<String>) {
    let mut cell = Cell::default();
    let mut options = vec![format!("{}={name}", list.option()), "Compression=no".into()];
    let chosen = Some(name.to_owned());
    match list {
        List::Kex => cell.kex = chosen,
        List::HostKey => cell.host_key = chosen,
        List::Cipher => cell.cipher = chosen,
        List::Mac => {
            cell.mac = chosen;
            // One that is its own MAC would need no other.
            options.push("Ciphers=aes128-ctr,aes256-ctr".into());
        }
    }
    options.extend(EVERYTHING.map(str::to_owned));
    options.push("RekeyLimit=256K".into());
    (cell, options)
}

#[test]
fn each_algorithm_of_each_client() {
    let clients = Client::others();
    let offers = at_once(&clients, Client::lists);
    let all: Vec<(List, &str)> = List::ALL
        .into_iter()
        .flat_map(|list| list.known().into_iter().map(move |name| (list, name)))
        .collect();
    let results = Mutex::new(vec![vec!["-".to_owned(); clients.len()]; all.len()]);
    let failures = Mutex::new(Vec::new());
    let numbers: Vec<usize> = (0..all.len()).collect();
    at_once(&numbers, |&i| {
        let (list, name) = all[i];
        let having: Vec<usize> =
            (0..clients.len()).filter(|&c| offers[c][list.place()].iter().any(|n| n == name)).collect();
        if having.is_empty() {
            return;
        }
        let (cell, options) = only(list, name);
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let Some(serve) = Serve::start(&options) else { return };
        for c in having {
            let result = stream(&serve, &clients[c], &cell, Pattern { seed: i as u64, len: 1 << 20 });
            let text = match result {
                Ok(rekeys) => rekeys.to_string(),
                Err(what) => {
                    failures.lock().unwrap().push(format!("{} with {name}: {what}", clients[c]));
                    "FAIL".into()
                }
            };
            results.lock().unwrap()[i][c] = text;
        }
    });
    let mut table = Table::new(std::iter::once(String::new()).chain(clients.iter().map(Client::to_string)));
    let results = results.into_inner().unwrap();
    for ((_, name), row) in all.iter().zip(&results) {
        table.row(std::iter::once((*name).to_owned()).chain(row.iter().cloned()));
    }
    let run = results.iter().flatten().filter(|r| *r != "-").count();
    say(&format!(
        "\nclients of konko serve, each algorithm once, 1 MiB each way, rekeys: {run} cells\n{table}"
    ));
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failed:\n{}", failures.len(), failures.join("\n"));
    // What a client no longer offers must not leave the table unseen.
    for (c, client) in clients.iter().enumerate() {
        let cells = results.iter().filter(|row| row[c] != "-").count();
        let least = match client {
            Client::Plink(_) => 33,
            Client::Dbclient(_) => 18,
            Client::Paramiko(_) => 29,
            _ => 36,
        };
        assert!(cells >= least, "{client} has only {cells} algorithms, {least} expected");
    }
}

/// Sends bytes through `cat`; how often keys were renewed.
fn stream(serve: &Serve, client: &Client, cell: &Cell, bytes: Pattern) -> Result<usize, String> {
    let user = client.to_string();
    let sent = call(serve).user(&user).feed(Feed::Pattern(bytes)).deadline(Duration::from_secs(600));
    let done = sent.try_run(client, "cat")?;
    let log = serve.whole_log_of(&user);
    if done.code() != 0 || done.stdout.checksum != bytes.checksum() {
        return Err(format!("{done}\n{log}"));
    }
    konko_negotiated(cell, &log).map_err(|what| format!("{what}\n{done}\n{log}"))?;
    let rekeys = log.lines().filter(|line| line.contains("keys renewed")).count();
    // The server may have output of 256 KiB pending before it looks; the end may cut an exchange off.
    if rekeys == 0 {
        return Err(format!("no rekey\n{log}"));
    }
    Ok(rekeys)
}

#[test]
fn one_gibibyte_each_way() {
    if !full() {
        return say("1 GiB with PuTTY: only with conformance/test --full");
    }
    let Some(serve) = Serve::start(&["RekeyLimit=64M"]) else { return };
    let plink = |c: &Client| matches!(c, Client::Plink(_));
    for client in Client::others().into_iter().filter(plink) {
        let rekeys = stream(&serve, &client, &Cell::default(), Pattern { seed: 9, len: 1 << 30 });
        say(&format!("{client}: 1 GiB each way, {rekeys:?} rekeys"));
        assert!(rekeys.unwrap() >= 12);
    }
}

#[test]
fn keys_of_every_kind() {
    let Some(serve) = Serve::start(&[]) else { return };
    for_all(&Client::all(), |client| {
        for (kind, _) in KINDS {
            let user = format!("{client}-{kind}");
            let done = stranger(&serve).user(&user).key(&format!("user_{kind}")).run(client, "exit 8");
            done.expect_code(8);
            let key = serve.keys().fingerprint(&format!("user_{kind}"));
            serve.expect_log(&user, &format!("{key}: accepted"));
        }
    });
}

#[test]
fn rsa_with_each_hash() {
    for algorithm in ["rsa-sha2-256", "rsa-sha2-512"] {
        let option = format!("PubkeyAcceptedAlgorithms={algorithm}");
        let Some(serve) = Serve::start(&[&option]) else { return };
        for_all(&Client::all(), |client| {
            // Dropbear 2022.83 signs with SHA-256 alone.
            let able = algorithm != "rsa-sha2-512" || !matches!(client, Client::Dbclient(_));
            let done = stranger(&serve).key("user_rsa").run(client, "exit 8");
            if able {
                done.expect_code(8);
            } else {
                expect_refused(client, &done);
            }
        });
    }
}

#[test]
fn a_key_that_nobody_knows_is_refused() {
    let Some(serve) = Serve::start(&["PasswordAuthentication=no", "KbdInteractiveAuthentication=no"]) else {
        return;
    };
    for_all(&Client::all(), |client| {
        let user = client.to_string();
        let done = stranger(&serve).user(&user).key("other").run(client, "echo no");
        expect_refused(client, &done);
        serve.expect_log(&user, ": rejected");
    });
}

#[test]
fn passwords() {
    let Some(serve) = Serve::start(&["KbdInteractiveAuthentication=no"]) else { return };
    for_all(&Client::all(), |client| {
        for account in [PLAIN, HASHED] {
            stranger(&serve).password(account).run(client, "exit 6").expect_code(6);
        }
        for account in [(PLAIN.0, "guess"), (HASHED.0, "guess"), ("nobody", PLAIN.1)] {
            let done = stranger(&serve).password(account).run(client, "echo no");
            expect_refused(client, &done);
        }
    });
    for (user, _) in [PLAIN, HASHED] {
        serve.expect_log(user, &format!("password for \"{user}\": accepted"));
        serve.expect_log(user, &format!("password for \"{user}\": rejected"));
    }
}

#[test]
fn prompts() {
    let Some(serve) = Serve::start(&["PasswordAuthentication=no"]) else { return };
    for_all(&Client::all(), |client| {
        stranger(&serve).password(PLAIN).interactive().run(client, "exit 5").expect_code(5);
        let wrong = stranger(&serve).password((HASHED.0, "guess")).interactive();
        expect_refused(client, &wrong.run(client, "echo no"));
    });
    serve.expect_log(PLAIN.0, "keyboard-interactive for \"plain\": accepted");
    serve.expect_log(HASHED.0, "keyboard-interactive for \"hashed\": rejected");
}

#[test]
fn a_key_and_then_a_password() {
    let options = ["AuthenticationMethods=publickey,password"];
    let Some(serve) = Serve::start(&options) else { return };
    for_all(&Client::all(), |client| {
        let both = call(&serve).password(PLAIN);
        both.run(client, "exit 9").expect_code(9);
        expect_refused(client, &call(&serve).user(PLAIN.0).run(client, "echo no"));
        expect_refused(client, &call(&serve).password((PLAIN.0, "guess")).run(client, "echo no"));
        expect_refused(client, &stranger(&serve).password(PLAIN).run(client, "echo no"));
        let wrong = stranger(&serve).key("other").password(PLAIN);
        expect_refused(client, &wrong.run(client, "echo no"));
    });
    serve.expect_log(PLAIN.0, ": right, and more is needed");
}

#[test]
fn a_host_key_that_is_not_the_known_one() {
    let Some(serve) = Serve::start(&["HostKeyAlgorithms=ssh-ed25519"]) else { return };
    for_all(&Client::all(), |client| {
        let done = call(&serve).trusting(&["other"]).run(client, "echo no");
        let says: &[&str] = match client {
            Client::OpenSsh(_) | Client::Konko(_) => &["changed"],
            Client::Plink(_) => &["host key not in manually configured list"],
            Client::Dbclient(_) => &["host key mismatch"],
            Client::Paramiko(_) | Client::AsyncSsh(_) => &["host key"],
        };
        done.expect_stderr(says);
        assert_ne!(done.code(), 0, "{client}: {done}");
        assert_eq!(done.stdout.text(), "", "{client}");
    });
    // None of them tried to log in.
    assert!(!serve.log().contains(" for \""), "{}", serve.log());
}

#[test]
fn exit_status_and_signal() {
    let Some(serve) = Serve::start(&[]) else { return };
    for_all(&Client::all(), |client| {
        for code in [0, 1, 42, 255] {
            call(&serve).run(client, &format!("exit {code}")).expect_code(code);
        }
        let done = call(&serve).run(client, "signal TERM");
        match client {
            // It does not know of signals.
            Client::Dbclient(_) => return,
            Client::OpenSsh(_) => done.expect_code(255),
            Client::Konko(_) => done.expect_stderr(&["TERM"]),
            Client::Plink(_) => done.expect_code(128),
            Client::Paramiko(_) => done.expect_stderr(&["signal\n"]),
            Client::AsyncSsh(_) => done.expect_stderr(&["signal TERM"]),
        };
        assert_ne!(done.code(), 0, "{client}: {done}");
    });
}

/// Bytes of each stream.
const MUCH: u64 = 10 << 20;

#[test]
fn much_output_and_much_error() {
    let Some(serve) = Serve::start(&["Compression=no"]) else { return };
    let zeros = zeros();
    for_all(&Client::all(), |client| {
        let done = call(&serve).run(client, &format!("both {MUCH}"));
        done.expect_code(0);
        assert_eq!((done.stdout.checksum.len, &done.stdout.checksum.hex), (MUCH, &zeros), "{client}");
        if matches!(client, Client::Paramiko(_) | Client::AsyncSsh(_)) {
            done.expect_stderr(&[&format!("stderr {MUCH} {zeros}")]);
        } else {
            assert_eq!((done.stderr.checksum.len, &done.stderr.checksum.hex), (MUCH, &zeros), "{client}");
        }
    });
}

#[test]
fn output_before_error_and_error_before_output() {
    let Some(serve) = Serve::start(&["Compression=no"]) else { return };
    let zeros = zeros();
    for_all(&python_clients(), |client| {
        for order in ["output", "errors"] {
            let done = call(&serve).more(&["--order", order]).run(client, &format!("both {MUCH}"));
            done.expect_code(0).expect_stderr(&[&format!("stderr {MUCH} {zeros}")]);
            assert_eq!((done.stdout.checksum.len, &done.stdout.checksum.hex), (MUCH, &zeros), "{client}");
        }
    });
}

fn zeros() -> String {
    let mut hash = konko_conformance::data::Hasher::default();
    hash.update(&vec![0; usize::try_from(MUCH).unwrap()]);
    hash.finish().hex
}

#[test]
fn the_environment() {
    let Some(serve) = Serve::start(&["AcceptEnv=KONKO_*"]) else { return };
    for_all(&Client::all(), |client| {
        // Dropbear's client sends none.
        if matches!(client, Client::Dbclient(_)) {
            return;
        }
        let done = call(&serve).env("KONKO_TEST", "shell").run(client, "env");
        done.expect_code(0);
        assert_eq!(done.stdout.text(), "KONKO_TEST=shell\n", "{client}: {done}");
        let done = call(&serve).env("OTHER", "shell").run(client, "env");
        assert_eq!(done.stdout.text(), "", "{client}: {done}");
    });
}

#[test]
fn compression() {
    let Some(serve) = Serve::start(&["RekeyLimit=256K"]) else { return };
    let bytes = Pattern { seed: 3, len: 4 << 20 };
    for_all(&Client::all(), |client| {
        let user = client.to_string();
        let done = call(&serve).user(&user).compress().feed(Feed::Pattern(bytes)).run(client, "cat");
        done.expect_code(0);
        assert_eq!(done.stdout.checksum, bytes.checksum(), "{client}");
        let cell = Cell { zlib: true, ..Cell::default() };
        konko_negotiated(&cell, &serve.log_of(&user)).unwrap_or_else(|what| panic!("{client}: {what}"));
    });
}

#[test]
fn no_compression_where_the_server_has_none() {
    let Some(serve) = Serve::start(&["Compression=no"]) else { return };
    for_all(&Client::all(), |client| {
        // AsyncSSH offers then nothing but zlib, and nothing else does for it.
        if matches!(client, Client::AsyncSsh(_)) {
            return;
        }
        let user = client.to_string();
        call(&serve).user(&user).compress().run(client, "exit 3").expect_code(3);
        konko_negotiated(&Cell::default(), &serve.log_of(&user)).unwrap();
    });
}

#[test]
fn on_a_pipe_as_a_proxy_command() {
    let openssh = |c: &Client| matches!(c, Client::OpenSsh(_));
    for client in Client::all().into_iter().filter(openssh) {
        let Some(setup) = Setup::new(&["RekeyLimit=256K"]) else { return };
        let bytes = Pattern { seed: 4, len: 4 << 20 };
        let proxy = format!("ProxyCommand={}", setup.proxy_command());
        let call = Call::to(1, setup.keys()).key("user_ed25519").more(&["-o", &proxy]);
        let done = call.feed(Feed::Pattern(bytes)).run(&client, "cat");
        done.expect_code(0);
        assert_eq!(done.stdout.checksum, bytes.checksum(), "{}", setup.log());
        assert!(setup.log().contains("keys renewed"), "{}", setup.log());
    }
}

#[test]
fn a_table_of_lists_is_read_from_each_client() {
    for client in Client::others() {
        let lists = client.lists();
        assert_eq!(lists.len(), LISTS, "{client}");
        assert!(lists.iter().take(8).all(|l| !l.is_empty()), "{client}: {lists:?}");
    }
}
