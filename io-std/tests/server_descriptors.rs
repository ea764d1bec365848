//! A server that runs out of descriptors waits for better times. In a child process, which has few.
#![cfg(feature = "server")]

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use konko::core::admission::AdmissionLimits;
use konko::server::users::{User, Users};
use konko::server::{Programs, Server, ServerOptions, Service};
use konko::{Auth, Client, ClientOptions, Error, HostKeys};
use rustix::process::{Resource, Rlimit};

/// All the descriptors that the child gets.
const FEW: u64 = 32;
/// Connections that take more than those.
const CROWD: usize = 60;

/// Ends the child with the test.
struct Server32(Child);

impl Drop for Server32 {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves until the parent closes our input.
fn serve() {
    let limit = Rlimit { current: Some(FEW), maximum: Some(FEW) };
    rustix::process::setrlimit(Resource::Nofile, limit).unwrap();
    let mut users = Users::new();
    users.add("alice", User::new().password("wonderland")).unwrap();
    let service = Service::new(Arc::new(users), Arc::new(Programs::new().command("true", |_| 0u32)));
    let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
    let options = options.admission(AdmissionLimits::unlimited(1000));
    let options = options.on_notice(|notice| {
        if notice.connection.is_none() {
            println!("{notice}");
        }
    });
    let server = Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
    println!("listening on {}", server.local_addr());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn good(to: SocketAddr) -> Result<(), Error> {
    let options = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
    let client = Client::connect(to, options.handshake_timeout(Some(Duration::from_secs(2))))?;
    client.login("alice", Auth::new().password("wonderland"))?;
    assert!(client.exec("true")?.exit.success());
    Ok(())
}

/// Processor time of a process, in seconds.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks = |i: usize| after_name.split_whitespace().nth(i).unwrap().parse::<f64>().unwrap();
    // utime and stime, the 14th and 15th field, in hundredths of a second.
    (ticks(11) + ticks(12)) / 100.0
}

#[test]
#[cfg(target_os = "linux")]
fn r_18_without_descriptors_the_listener_rests_and_recovers() {
    const ROLE: &str = "KONKO_TEST_SERVES";
    if std::env::var_os(ROLE).is_some() {
        return serve();
    }
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["r_18", "--nocapture"]).env(ROLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = Server32(child.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let addr = lines.find_map(|line| line.split_once("listening on ")?.1.parse::<SocketAddr>().ok()).unwrap();
    good(addr).unwrap();

    let crowd: Vec<TcpStream> = (0..CROWD).map(|_| TcpStream::connect(addr).unwrap()).collect();
    let wait = lines.find(|line| line.contains("connections wait")).unwrap();
    assert!(wait.contains("Too many open files"), "{wait}");
    let (start, before) = (Instant::now(), processor_time(child.0.id()));
    assert!(good(addr).is_err(), "there is no room");
    let (took, spent) = (start.elapsed().as_secs_f64(), processor_time(child.0.id()) - before);
    assert!(spent < took / 10.0, "{spent} s of processor time in {took} s");

    drop(crowd);
    let start = Instant::now();
    while let Err(error) = good(addr) {
        assert!(start.elapsed() < Duration::from_secs(20), "{error}");
    }
}
