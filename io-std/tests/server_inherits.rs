//! Programs get nothing of what started the server: no descriptors, no ignored and no blocked signals. In a
//! child process, which is started with such things.
#![cfg(feature = "server")]
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;

use konko::server::process::{Account, Launch};
use konko::server::users::{User, Users};
use konko::server::{Call, Programs, Server, ServerOptions, Service, System};
use konko::{Auth, Channel, Client, ClientOptions, HostKeys, Pty};

/// Says which role the program has.
const ROLE: &str = "KONKO_TEST_SERVES";
/// What a program sees of its own state. `ls` has the folder itself open.
const LOOK: &str = "grep -E '^Sig(Blk|Ign)' /proc/self/status; ls -l /proc/self/fd";

/// The same by a program that an application of the library starts.
fn launched(call: &Call) -> u32 {
    let account = Account { name: "somebody".into(), home: "/".into(), shell: "/bin/sh".into() };
    let mut launch = Launch::command(&account, LOOK.as_bytes());
    if call.argument() == b"on a terminal" {
        launch = launch.pty(&Pty::default());
    }
    let running = launch.start().unwrap();
    let mut text = Vec::new();
    running.stdout.as_ref().unwrap().read_to_end(&mut text).unwrap();
    u32::from(call.channel().write_all(&text).is_err() || !running.wait().unwrap().success())
}

fn text(channel: &Channel) -> String {
    let mut text = Vec::new();
    (&mut &*channel).read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

/// What a program sees of its own state, by each way in which one is started.
fn seen(client: &Client) -> Vec<(&'static str, String)> {
    let exec = |command: &str| String::from_utf8(client.exec(command).unwrap().stdout).unwrap();
    let terminal = |start: &dyn Fn(&Channel)| {
        let channel = client.session().unwrap();
        channel.request_pty(&Pty::default()).unwrap();
        start(&channel);
        text(&channel)
    };
    let typed = |channel: &Channel| {
        channel.shell().unwrap();
        (&mut &*channel).write_all(format!("{LOOK}\nexit\n").as_bytes()).unwrap();
    };
    let shell = client.session().unwrap();
    typed(&shell);
    let subsystem = client.session().unwrap();
    subsystem.subsystem("look").unwrap();
    vec![
        ("exec", exec(LOOK)),
        ("exec with a terminal", terminal(&|channel| channel.exec(LOOK).unwrap())),
        ("shell", text(&shell)),
        ("shell with a terminal", terminal(&typed)),
        ("subsystem", text(&subsystem)),
        ("a command of the application's", exec("look")),
        ("a command of the application's on a terminal", exec("look on a terminal")),
    ]
}

#[test]
fn a15_programs_inherit_no_descriptor_and_no_state_of_signals() {
    if std::env::var_os(ROLE).is_some() {
        let mut users = Users::new();
        users.add("alice", User::new().password("wonderland")).unwrap();
        let programs = Programs::new().command("look", launched).subsystem("look", launched);
        let service = Service::new(Arc::new(users), Arc::new(programs.system(System::new().dir("/"))));
        let options = ServerOptions::with_new_key().unwrap().methods(service.users().methods());
        let server = Server::listen("127.0.0.1:0", options, move |_| service.clone()).unwrap();
        let insecure = ClientOptions::new().host_keys(HostKeys::insecure_accept_any());
        let client = Client::connect(server.local_addr(), insecure).unwrap();
        client.login("alice", Auth::new().password("wonderland")).unwrap();
        for (way, text) in seen(&client) {
            println!("way: {way}\n{text}");
        }
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "of the starter").unwrap();
    // Among them some that sshd does not reset either.
    let script = "trap '' HUP INT QUIT USR1 TERM PIPE CHLD WINCH; exec 9<\"$1\" 8>>\"$1\"; \
                  exec env --block-signal=USR2,TERM \"$0\" a15_programs --nocapture";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(std::env::current_exe().unwrap()).arg(&secret).env(ROLE, "1");
    let done = command.output().unwrap();
    let all = String::from_utf8_lossy(&done.stdout).into_owned();
    assert!(done.status.success(), "{all}{}", String::from_utf8_lossy(&done.stderr));
    let ways: Vec<&str> = all.split("way: ").skip(1).collect();
    assert_eq!(ways.len(), 7, "{all}");
    for way in ways {
        let lines = way.lines().filter(|line| !line.contains("grep -E"));
        // A shell on a terminal writes what steers it before that.
        let signals: Vec<&str> =
            lines.clone().filter(|line| line.contains("SigBlk:") || line.contains("SigIgn:")).collect();
        assert_eq!(signals.len(), 2, "{way}");
        for line in signals {
            let set = u64::from_str_radix(line.rsplit('\t').next().unwrap().trim(), 16).unwrap();
            // The two that the C library keeps to itself.
            assert_eq!(set & !(0b11 << 31), 0, "{way}");
        }
        let open: Vec<&str> =
            lines.filter_map(|line| line.split_once(" -> ")?.0.rsplit(' ').next()).collect();
        assert_eq!(open, ["0", "1", "2", "3"], "{way}");
    }
}
