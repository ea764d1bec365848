//! Ten thousand connections on one thread, and a storm of handshakes. The other end is a second process.

mod support;

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use support::load::Load;
use support::{
    Counts, Server, cpu, descriptors, full, loop_schedule, server_config, small_windows, status_kib, wait,
};

#[test]
#[ignore = "the second process of the tests beside it, which start it"]
fn load_client() {
    support::load::run();
}

fn server(keepalive: u64) -> Server {
    let mut config = server_config();
    config.window = small_windows();
    support::keepalive(&mut config.transport, keepalive);
    Server::start(config)
}

#[test]
fn ten_thousand_idle_connections_answer_and_cost_little() {
    let _alone = support::alone();
    let count = if full() { 10_000 } else { 2000 };
    let limit = konko_mio::raise_descriptor_limit(1 << 20);
    assert!(
        limit > count + 100,
        "{count} connections need more than the {limit} descriptors allowed (ulimit -n)"
    );
    let server = server(5);
    let mut load = Load::start(server.addr);
    // What a loop needs for itself is there after the first few.
    assert_eq!(load.ask("open 50 50"), [50.0, 0.0]);
    load.ask("echo");
    let (before, base) = (status_kib("VmRSS"), descriptors());
    let start = std::time::Instant::now();
    assert_eq!(load.ask(&format!("open {count} 200")), [count as f64 + 50.0, 0.0]);
    let opened = start.elapsed();
    assert_eq!(Counts::of(&server.counts.established) as u64, count + 50);
    load.ask("echo");
    let each = (status_kib("VmRSS") - before) as f64 / count as f64;
    println!("{count} connections opened in {opened:.1?}; {each:.1} KiB each");
    assert!(each <= 12.0, "{each:.1} KiB a connection");
    assert_eq!(descriptors() - base, count as usize, "one descriptor a connection");

    // Two rounds of keepalive probes.
    let idle = cpu();
    let start = std::time::Instant::now();
    std::thread::sleep(Duration::from_secs(10));
    let share = (cpu() - idle).as_secs_f64() / start.elapsed().as_secs_f64();
    println!("idle, with a keepalive every 5 s: {:.2} % of a core", share * 100.0);
    assert!(share < 0.10, "{share}");
    assert_eq!(server.counts.open() as u64, count + 50);
    assert_eq!(load.ask("echo"), [count as f64 + 50.0]);

    let active = (count / 2).min(1000);
    let [least, most, sum] = load.ask(&format!("busy {active} 5"))[..] else { panic!() };
    println!("{active} at once: {:.0} MB/s in all, slowest / fastest {:.2}", sum / 5e6, least / most);
    assert!(least / most >= 0.5, "{least} / {most}");
    drop(load);
    wait("all to leave", || server.counts.open() == 0 && descriptors() <= base);
}

#[test]
fn a_storm_of_handshakes_does_not_hold_up_sessions() {
    let _alone = support::alone();
    konko_mio::raise_descriptor_limit(1 << 20);
    let server = server(3600);
    let mut sessions = Load::start(server.addr);
    assert_eq!(sessions.ask("open 50 50"), [50.0, 0.0]);
    // Beside them, plain TCP between two threads, each of which does nothing else.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut socket, _) = plain.accept().unwrap();
        socket.set_nodelay(true).unwrap();
        let mut ping = [0; 4];
        while socket.read_exact(&mut ping).is_ok() && socket.write_all(&ping).is_ok() {}
    });
    sessions.ask("ping 50 20");
    sessions.ask(&format!("plain {port}"));
    let mut measure = |when: &str| {
        let [ssh, tcp] = ["pings", "plains"].map(|what| sessions.ask(what));
        for (name, p) in [("SSH", &ssh), ("TCP", &tcp)] {
            let [n, half, most, all] = p[..] else { panic!() };
            println!(
                "{when}, {name}: {n} echoes, median {half:.2} ms, 99 % {most:.2} ms, longest {all:.2} ms"
            );
        }
        ssh[2]
    };
    std::thread::sleep(Duration::from_secs(3));
    measure("quiet");
    // Both ends of all of it share the processors with whatever else the machine does. A loop that
    // has to wait for one makes sessions wait longer by as much, and that is not its own doing.
    let mut tries = Vec::new();
    for _ in 0..3 {
        let mut storm = Load::start(server.addr);
        let (start, [ran, waited]) = (std::time::Instant::now(), loop_schedule());
        assert_eq!(storm.ask("open 2000 2000"), [2000.0, 0.0]);
        let took = start.elapsed();
        let worst = measure("storm");
        let [ran, waited] = [loop_schedule()[0] - ran, loop_schedule()[1] - waited];
        let stretch = (ran + waited) / ran;
        println!(
            "2000 handshakes in {took:.1?}; the loop ran {ran:.2} s and waited {waited:.2} s for a processor"
        );
        tries.push((worst, stretch));
        if worst < 20.0 * stretch {
            return;
        }
    }
    panic!("99th percentiles in ms, and how many times longer everything took the loop: {tries:?}");
}
