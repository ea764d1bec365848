//! Alone in its program, since it counts what the program holds.
#![cfg(feature = "server")]

use std::fs;
use std::io::Read;
use std::thread;
use std::time::{Duration, Instant};

use konko::Pty;
use konko::server::process::{Account, Launch};

/// Descriptors, threads, and children that nobody has taken away.
fn held() -> (usize, usize, usize) {
    let count = |dir: &str| fs::read_dir(dir).unwrap().count();
    let tasks = || fs::read_dir("/proc/self/task").unwrap().filter_map(|task| Some(task.ok()?.path()));
    let children = tasks().filter_map(|task| fs::read_to_string(task.join("children")).ok());
    let children = children.map(|list| list.split_whitespace().count()).sum();
    (count("/proc/self/fd"), count("/proc/self/task"), children)
}

#[test]
fn a_hundred_launches_leave_nothing_behind() {
    let account = Account { name: "somebody".into(), home: "/".into(), shell: "/bin/sh".into() };
    let before = held();
    for i in 0..100 {
        let command: &[u8] = if i % 5 == 0 { b"exec sleep 1000" } else { b"echo hello" };
        let launch = Launch::command(&account, command);
        let launch = if i % 2 == 0 { launch } else { launch.pty(&Pty::default()) };
        let running = launch.start().unwrap();
        assert!(held().0 > before.0);
        // Some are read to their end, some end unread, and some are dropped at once.
        if i % 5 > 1 {
            let mut text = String::new();
            running.stdout.as_ref().unwrap().read_to_string(&mut text).unwrap();
            assert_eq!(text.trim_end(), "hello");
        }
        if i % 5 > 0 {
            assert!(running.wait().unwrap().success());
        }
    }
    let end = Instant::now() + Duration::from_secs(20);
    while held() != before {
        assert!(Instant::now() < end, "{:?} now, {before:?} before", held());
        thread::sleep(Duration::from_millis(5));
    }
}
