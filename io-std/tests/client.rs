//! The blocking client against the core's own server on a loopback socket.
#![cfg(feature = "server")]

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use konko::core::client::Password;
use konko::core::error::Phase;
use konko::core::transport::limits::RekeyLimit;
use konko::{Auth, Cancel, Client, ClientOptions, ErrorKind, Exec, Exit, HostKeys, Outcome, Traffic};
use support::{client, serve};

const MIB: usize = 1 << 20;

fn options() -> ClientOptions {
    ClientOptions::new().host_keys(HostKeys::insecure_accept_any())
}

#[test]
fn exec_gives_status_and_output() {
    let client = client(serve(), options());
    let output = client.exec("both 5").unwrap();
    assert_eq!(
        (output.exit, &output.stdout[..], &output.stderr[..]),
        (Exit::Status(0), &b"xxxxx"[..], &b"xxxxx"[..])
    );
    assert!(!output.truncated);
    assert_eq!(client.exec("exit 7").unwrap().exit, Exit::Status(7));
    let killed = client.exec("signal TERM").unwrap().exit;
    assert_eq!(killed, Exit::Signal { signal: "TERM".into(), core_dumped: false, message: "enough".into() });
    let refused = client.exec("nonsense").unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::RequestRefused("exec")), "{refused}");
}

#[test]
fn c24_a_channel_that_the_server_opens_is_refused_and_noted() {
    let (said, heard) = std::sync::mpsc::channel();
    let options = options().on_notice(move |notice| drop(said.send(notice.to_string())));
    let client = client(serve(), options);
    // SSH_OPEN_ADMINISTRATIVELY_PROHIBITED
    assert_eq!(client.exec("open").unwrap().exit, Exit::Status(1));
    assert!(heard.try_iter().any(|notice| notice.contains("forwarded-tcpip")));
    assert_eq!(client.exec("exit 0").unwrap().exit, Exit::Status(0), "the connection goes on");
}

#[test]
fn u03_exec_cannot_deadlock_and_keeps_to_its_caps() {
    let client = client(serve(), options());
    let output = client.exec(format!("both {}", 10 * MIB)).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len()), (10 * MIB, 10 * MIB));
    let capped = Exec::new("both 100000").caps(1000, 2000);
    let output = client.exec_with(&capped).unwrap();
    assert_eq!((output.stdout.len(), output.stderr.len(), output.truncated), (1000, 2000, true));
    let input = vec![b'i'; 5 * MIB];
    let output = client.exec_with(&Exec::new("echo").stdin(&input)).unwrap();
    assert!(output.stdout == input);
}

#[test]
fn u03_streams_of_a_channel_in_any_order_from_two_threads() {
    let client = client(serve(), options());
    let size = 10 * MIB;
    for stderr_in_thread in [true, false] {
        let channel = client.session().unwrap();
        channel.exec(format!("both {size}")).unwrap();
        let (mut other, mut mine): (Box<dyn Read + Send>, Box<dyn Read>) = if stderr_in_thread {
            (Box::new(channel.stderr()), Box::new(channel.clone()))
        } else {
            (Box::new(channel.clone()), Box::new(channel.stderr()))
        };
        let thread = std::thread::spawn(move || {
            let mut all = Vec::new();
            other.read_to_end(&mut all).unwrap();
            all.len()
        });
        let mut all = Vec::new();
        mine.read_to_end(&mut all).unwrap();
        assert_eq!((all.len(), thread.join().unwrap()), (size, size));
        assert_eq!(channel.wait().unwrap(), Exit::Status(0));
    }
}

#[test]
fn unread_data_does_not_keep_what_fits_the_window_from_being_read_later() {
    let client = client(serve(), options());
    let channel = client.session().unwrap();
    channel.exec(format!("both {}", MIB / 2)).unwrap();
    assert_eq!(channel.wait().unwrap(), Exit::Status(0));
    let mut out = Vec::new();
    channel.stderr().copy_to(&mut out).unwrap();
    assert_eq!(out.len(), MIB / 2);
    channel.copy_to(&mut out).unwrap();
    assert_eq!(out.len(), MIB);
}

#[test]
fn both_ways_at_once_through_key_renewals() {
    let rekey = RekeyLimit::new().bytes(256 * 1024);
    let client = client(serve(), options().rekey(rekey));
    let channel = client.session().unwrap();
    channel.exec("echo").unwrap();
    let sent: Vec<u8> = (0..20 * MIB).map(|i| (i / 3) as u8).collect();
    let (writer, data) = (channel.clone(), sent.clone());
    let writing = std::thread::spawn(move || {
        (&writer).write_all(&data).unwrap();
        writer.send_eof().unwrap();
    });
    let mut back = Vec::new();
    channel.copy_to(&mut back).unwrap();
    writing.join().unwrap();
    assert!(back == sent);
    assert!(client.key_exchanges() > 10, "{}", client.key_exchanges());
}

#[test]
fn a_slow_pipe_gets_every_byte_in_order() {
    let client = client(serve(), options());
    let channel = client.session().unwrap();
    channel.exec("echo").unwrap();
    let sent: Vec<u8> = (0..8 * MIB).map(|i| (i / 7) as u8).collect();
    let (mut from, to) = std::io::pipe().unwrap();
    let (writer, data) = (channel.clone(), sent.clone());
    std::thread::spawn(move || {
        (&writer).write_all(&data).unwrap();
        writer.send_eof().unwrap();
    });
    let copying = std::thread::spawn(move || channel.copy_to_fd(&to).unwrap());
    let mut back = Vec::new();
    let mut part = vec![0; 50_000];
    loop {
        match from.read(&mut part).unwrap() {
            0 => break,
            n => back.extend_from_slice(&part[..n]),
        }
        if back.len() % 13 == 0 {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    assert!(back == sent, "{}", back.len());
    assert_eq!(copying.join().unwrap(), sent.len() as u64);
}

#[test]
fn many_threads_on_one_connection() {
    let client = client(serve(), options());
    std::thread::scope(|scope| {
        for n in 0..16usize {
            let client = client.clone();
            scope.spawn(move || {
                for round in 0..5 {
                    let size = n * 10_000 + round;
                    let input = vec![n as u8; size];
                    let output = client.exec_with(&Exec::new("count").stdin(&input)).unwrap();
                    assert_eq!(output.stdout, size.to_string().as_bytes());
                }
            });
        }
    });
}

#[test]
fn u04_a_silent_peer_is_an_error_in_time_that_names_the_phase() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let start = Instant::now();
    let options = options().handshake_timeout(Some(Duration::from_millis(200)));
    let error = Client::connect(addr, options).unwrap_err();
    assert!(error.is_timeout(), "{error}");
    assert_eq!(error.phase(), Some(Phase::Ident));
    assert!(error.to_string().contains("identification line"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn u04_a_peer_that_goes_silent_later_is_an_error_in_time() {
    let client = client(serve(), options());
    let slow = Exec::new("hang").timeout(Duration::from_millis(200));
    let error = client.exec_with(&slow).unwrap_err();
    assert!(error.is_timeout() && error.phase() == Some(Phase::Connected), "{error}");
    let channel = client.session().unwrap();
    channel.exec("hang").unwrap();
    channel.set_timeout(Some(Duration::from_millis(100)));
    let late = (&channel).read(&mut [0; 1]).unwrap_err();
    assert_eq!(late.kind(), std::io::ErrorKind::TimedOut, "{late}");
    assert!(client.exec("exit 0").unwrap().exit.success(), "the connection lives on");
}

/// Waits until it is so.
fn until(mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !so() {
        assert!(Instant::now() < end, "it never came to that");
        std::thread::yield_now();
    }
}

#[test]
fn what_a_channel_carries_can_be_watched_and_ended_from_another_thread() {
    let client = client(serve(), options());
    let (channel, cancel) = (client.session().unwrap(), Cancel::new());
    let traffic = channel.traffic();
    channel.cancelled_by(&cancel);
    channel.exec("echo").unwrap();
    (&channel).write_all(&[b'x'; 1000]).unwrap();
    let copier = channel.clone();
    let copying = std::thread::spawn(move || copier.copy_to(&mut std::io::sink()));
    until(|| traffic.received() == 1000);
    assert_eq!((traffic.sent(), traffic.received_stderr()), (1000, 0));
    cancel.cancel();
    // What was cut short does not look like what has ended, nor like what is to be tried again.
    let error = copying.join().unwrap().unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionAborted, "{error}");
    assert!((&channel).read(&mut [0; 1]).is_err() && (&channel).write(b"y").is_err());
    assert!(matches!(channel.wait().unwrap_err().kind(), ErrorKind::Cancelled));
    let late = client.session().unwrap();
    late.cancelled_by(&cancel);
    assert!(matches!(late.exec("echo").unwrap_err().kind(), ErrorKind::Cancelled));
    assert!(client.exec("exit 0").unwrap().exit.success(), "the connection lives on");
}

#[test]
fn a_command_can_be_watched_and_ended_from_another_thread() {
    let client = client(serve(), options());
    let (traffic, cancel) = (Traffic::new(), Cancel::new());
    let both = client.exec_with(&Exec::new("both 5000").counted_in(&traffic)).unwrap();
    assert_eq!((both.stdout.len(), traffic.received(), traffic.received_stderr()), (5000, 5000, 5000));
    let (runner, handle) = (client.clone(), cancel.clone());
    let counted = Traffic::new();
    let counter = counted.clone();
    let running = std::thread::spawn(move || {
        let input = vec![0; 100];
        runner.exec_with(&Exec::new("hang").stdin(&input).counted_in(&counter).cancelled_by(&handle))
    });
    until(|| counted.sent() == 100);
    cancel.cancel();
    assert!(matches!(running.join().unwrap().unwrap_err().kind(), ErrorKind::Cancelled));
    assert!(client.exec("exit 0").unwrap().exit.success(), "the connection lives on");
}

#[test]
fn a_failed_login_tells_each_attempt_and_another_may_follow() {
    let client = Client::connect(serve(), options()).unwrap();
    let auth = Auth::new().key_file("/nonexistent/key").password("wrong");
    let error = client.login("alice", auth).unwrap_err();
    let ErrorKind::Auth(failure) = error.kind() else { panic!("{error}") };
    let outcomes: Vec<_> = failure.attempts.iter().map(|a| (a.method.name(), &a.outcome)).collect();
    assert!(matches!(outcomes[0], ("publickey", Outcome::Skipped(_))), "{error}");
    assert_eq!(outcomes[1], ("password", &Outcome::Rejected));
    client.login("alice", Auth::new().password("wonderland")).unwrap();
    assert!(client.exec("exit 0").unwrap().exit.success());
}

#[test]
fn u18_a_key_and_then_a_password() {
    let client = Client::connect(serve(), options()).unwrap();
    let auth = Auth::new().key(support::key_of_carol().0).password("both");
    let login = client.login("carol", auth).unwrap();
    let outcomes: Vec<_> = login.attempts.iter().map(|a| &a.outcome).collect();
    assert_eq!(outcomes, [&Outcome::Partial, &Outcome::Accepted]);
    assert!(!login.trivial);
}

#[test]
fn u18_rounds_of_questions_and_a_password_for_a_hidden_one() {
    let client = Client::connect(serve(), options()).unwrap();
    let mut seen = Vec::new();
    let auth = Auth::new().interactive(1, |questions| {
        let [question] = &questions.questions[..] else { return None };
        seen.push((question.prompt.clone(), question.echo));
        Some(vec![Password::new(if question.echo { "blue" } else { "hush" })])
    });
    let login = client.login("bob", auth).unwrap();
    assert_eq!(login.method.name(), "keyboard-interactive");
    assert_eq!(seen, [("Secret: ".into(), false), ("Colour: ".into(), true)]);
    let client = Client::connect(serve(), options()).unwrap();
    client.login("dora", Auth::new().password("hush")).unwrap();
}

#[test]
fn a_key_elsewhere_is_asked_for_only_when_the_server_would_take_it() {
    let (key, _) = support::key_of_carol();
    let mut asked = 0;
    let signing = key.clone();
    let client = Client::connect(serve(), options()).unwrap();
    let auth = Auth::new()
        .external(key.public().clone(), |request| {
            asked += 1;
            let seed = konko::core::Seed::new([1; 32]);
            signing.sign(request.algorithm, request.message, &mut konko::core::Rng::from_seed(&seed)).ok()
        })
        .password("both");
    client.login("carol", auth).unwrap();
    assert_eq!(asked, 1);
}

#[test]
fn u25_a_server_that_hangs_up_ends_everything_at_once() {
    let client = client(serve(), options());
    let channel = client.session().unwrap();
    let _ = channel.exec("vanish");
    assert!(channel.wait().is_err());
    let error = client.session().unwrap_err();
    assert!(error.to_string().contains("closed the connection"), "{error}");
}

#[test]
fn a_wrong_pin_is_refused_and_the_right_one_is_not() {
    let addr = serve();
    let wrong = ClientOptions::new().host_keys(HostKeys::pinned("SHA256:AAAA"));
    let error = Client::connect(addr, wrong).unwrap_err();
    let ErrorKind::HostKey(problem) = error.kind() else { panic!("{error}") };
    let right = ClientOptions::new().host_keys(HostKeys::pinned(problem.fingerprint.to_string()));
    Client::connect(addr, right).unwrap();
    let none: [&str; 0] = [];
    let strict = HostKeys::known_hosts().user_files(none).global_files(none);
    let error = Client::connect(addr, ClientOptions::new().host_keys(strict)).unwrap_err();
    assert!(error.to_string().contains("not known"), "{error}");
}

#[test]
fn c19_the_error_names_all_addresses_of_a_host() {
    use konko::AddressFamily;
    use std::net::ToSocketAddrs;
    // A port on which nothing listens.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let error = Client::connect(("localhost", port), options()).unwrap_err();
    for address in ("localhost", port).to_socket_addrs().unwrap() {
        assert!(error.to_string().contains(&format!("{address}: ")), "{error}");
    }
    assert!(error.to_string().contains("is it the right port?"), "{error}");
    let ErrorKind::Connect(e) = error.kind() else { panic!("{error}") };
    assert!(e.get_ref().unwrap().is::<konko::ConnectFailures>());
    let error =
        Client::connect(("127.0.0.1", port), options().address_family(AddressFamily::Inet6)).unwrap_err();
    assert!(error.to_string().contains("no IPv6 address"), "{error}");
}

/// Nobody listens, somebody hangs up at once, somebody says nothing that is SSH.
#[test]
fn s2_connects_that_fail_leave_no_descriptor_open() {
    let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rude = TcpListener::bind("127.0.0.1:0").unwrap();
    let rude_at = rude.local_addr().unwrap();
    std::thread::spawn(move || {
        for (at, stream) in rude.incoming().enumerate() {
            if at % 2 == 0 {
                let _ = std::io::Write::write_all(&mut stream.unwrap(), b"220 mail.example ESMTP\r\n");
            }
        }
    });
    let name = |entry: std::io::Result<std::fs::DirEntry>| std::fs::read_link(entry.ok()?.path()).ok();
    let sockets = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(name);
        open.filter(|name| name.to_string_lossy().starts_with("socket:")).collect::<Vec<_>>()
    };
    let mut fewest = usize::MAX;
    for _ in 0..300 {
        assert!(Client::connect(dead, options()).is_err());
        assert!(Client::connect(rude_at, options()).is_err());
        fewest = fewest.min(sockets().len());
    }
    // Other tests of this process have some; what these left would be hundreds.
    assert!(fewest < 150, "{fewest}");
}

/// What a beginner does in the wrong order, and that the error says what to do instead.
#[test]
fn c20_a_call_that_makes_no_sense_says_what_to_do() {
    let early = Client::connect(serve(), options()).unwrap();
    let is = |what: &str, error: konko::Error, advice: &str| {
        assert!(error.to_string().contains(advice), "{what}: {error}");
    };
    let advice = "nobody is logged in yet: call login first";
    is("exec", early.exec("exit 0").unwrap_err(), advice);
    is("session", early.session().unwrap_err(), advice);
    is("direct_tcpip", early.direct_tcpip("localhost", 1).unwrap_err(), advice);
    is("rekey", early.rekey().unwrap_err(), advice);
    let sftp = early.sftp().unwrap_err().to_string();
    assert!(sftp.contains(advice), "{sftp}");
    early.login("alice", Auth::new().password("wonderland")).unwrap();
    assert!(early.exec("exit 0").unwrap().exit.success(), "and that it helps");

    let again = early.login("alice", Auth::new().password("wonderland")).unwrap_err();
    is("login twice", again, "one connection has one login");
    let other = Client::connect(serve(), options()).unwrap();
    is("a name with a NUL", other.login("a\0b", Auth::new().password("x")).unwrap_err(), "NUL");
    let session = early.session().unwrap();
    session.exec("hang").unwrap();
    is("exec twice", session.exec("exit 0").unwrap_err(), "open another session");
    is("a shell then", session.shell().unwrap_err(), "open another session");
    early.disconnect();
    let ended = early.exec("exit 0").unwrap_err().to_string();
    assert!(ended.contains("connect again") || ended.contains("closed by the user"), "{ended}");
}
