//! Dropped handles leave no threads behind. In a process of its own, so that the count is ours.
#![cfg(feature = "server")]

mod support;

use std::time::{Duration, Instant};

use konko::{Client, ClientOptions, HostKeys};
use support::{client, serve};

fn readers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|t| std::fs::read_to_string(t.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim() == "konko reader").count()
}

#[test]
#[cfg(target_os = "linux")]
fn u13_dropped_handles_leave_no_threads() {
    let addr = serve();
    for round in 0..20 {
        let client = client(addr, ClientOptions::new());
        let channel = client.session().unwrap();
        channel.exec("hang").unwrap();
        match round % 4 {
            0 => drop((client, channel)),
            1 => drop((channel, client)),
            2 => client.disconnect(),
            _ => drop(client.exec("exit 1")),
        }
        // One that never gets anywhere.
        let strict = HostKeys::pinned("SHA256:wrong");
        assert!(Client::connect(addr, ClientOptions::new().host_keys(strict)).is_err());
    }
    let start = Instant::now();
    while readers() > 0 && start.elapsed() < Duration::from_secs(5) {
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(readers(), 0);
}
