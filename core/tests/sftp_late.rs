//! Answers that come late: how much is asked for meanwhile, and what may not overtake what.

mod sftp;

use std::collections::BTreeMap;
use std::time::Duration;

use konko_core::Time;
use konko_core::sftp::transfer::*;
use konko_core::sftp::*;
use sftp::drive::Local;
use sftp::fake::{Fake, Habits};
use sftp::*;

const READ: u32 = 32 << 10;
const AT_ONCE: usize = 64;
const DELAY: Duration = Duration::from_millis(50);

/// Answers 64 requests at once, each after 50 ms.
struct Store {
    /// What is not begun yet.
    waits: Vec<(Ticket, u64)>,
    /// What is answered when.
    begun: BTreeMap<(Time, u64), (Ticket, u64)>,
    size: u64,
    number: u64,
    now: Time,
    most: usize,
}

impl Store {
    fn begin(&mut self) {
        while self.begun.len() < AT_ONCE && !self.waits.is_empty() {
            self.number += 1;
            self.begun.insert((self.now + DELAY, self.number), self.waits.remove(0));
        }
        self.most = self.most.max(self.begun.len());
    }
}

impl Backend for Store {
    fn request(&mut self, server: &mut SftpServer, request: Request<'_>) {
        let answered = match request.op {
            // What is kept with the open file takes no time.
            Op::Fstat { .. } => {
                server.reply(request.ticket, Answer::Attrs(Attrs::new().with_size(self.size)))
            }
            Op::Close { .. } => server.reply(request.ticket, StatusCode::OK),
            Op::Read { offset, .. } => {
                self.waits.push((request.ticket, offset));
                Ok(())
            }
            _ => {
                self.waits.push((request.ticket, 0));
                Ok(())
            }
        };
        answered.unwrap();
        self.begin();
    }

    fn settle(&mut self, server: &mut SftpServer) {
        while let Some(due) = self.begun.first_entry().filter(|due| due.key().0 <= self.now) {
            let (ticket, offset) = due.remove();
            let left = self.size.saturating_sub(offset).min(u64::from(READ));
            let answer = match ticket.operation() {
                Operation::Open => Answer::Opened,
                _ => Answer::Data(vec![7; left as usize]),
            };
            server.reply(ticket, answer).unwrap();
        }
        self.begin();
    }

    fn abandoned(&mut self, _: HandleId) {}
}

/// How long it takes to fetch a file of that size.
fn fetched(size: u64) -> (Duration, usize) {
    let config = TransferConfig::new().request_len(Some(READ));
    let (mut client, mut transfers) = (SftpClient::new(ClientConfig::default()), Transfers::new(config));
    let mut server = SftpServer::new(ServerConfig::new().max_backlog(16 << 20), &seed(5));
    let now = Time::from_micros(1);
    let (waits, begun) = (Vec::new(), BTreeMap::new());
    let mut store = Store { waits, begun, size, number: 0, now, most: 0 };
    let (mut client_rx, mut server_rx) = (MsgBuf::new(), MsgBuf::new());
    transfers.download(b"f", DownloadOptions::default());
    let mut got = 0;
    loop {
        while let Some(notice) = transfers.poll(&mut client, store.now) {
            if let Notice::Finished { result, .. } = notice {
                assert_eq!((result.unwrap().bytes, got), (size, size));
                return (store.now.since(now), store.most);
            }
        }
        let before = store.number;
        let tx = client.tx();
        let mut out = tx.pending();
        let all = out.len();
        server.run(&mut store, &mut server_rx, &mut out).unwrap();
        let taken = all - out.len();
        tx.consume(taken);
        let back = server.tx().pending().to_vec();
        server.tx().consume(back.len());
        if taken == 0 && back.is_empty() && store.number == before {
            store.now = store.begun.first_key_value().unwrap().0.0;
        }
        let mut input = &back[..];
        while let Some(event) = client.poll(&mut client_rx, &mut input).unwrap() {
            if let Handled::Data { data, .. } = transfers.on_event(&mut client, event, store.now) {
                got += data.len() as u64;
            }
        }
    }
}

#[test]
fn a_store_that_takes_its_time_has_64_reads_to_do_nearly_all_the_time() {
    let full = std::env::var_os("KONKO_FULL").is_some();
    let size = if full { 1 << 30 } else { 128 << 20 };
    let (took, most) = fetched(size);
    let allowed = DELAY.mul_f64(size as f64 / f64::from(READ) / AT_ONCE as f64);
    let share = allowed.as_secs_f64() / took.as_secs_f64();
    println!("{took:?} of {allowed:?}: {:.1} %", share * 100.0);
    assert_eq!(most, AT_ONCE);
    assert!(share >= 0.9, "{:.1} % of what the delay allows", share * 100.0);
}

#[test]
fn data_in_its_turn_does_not_overtake_what_was_kept_for_its_turn() {
    let data = pattern(4 << 20);
    for seed in 0..20 {
        let mut far = Fake::new(Habits { seed, reorder: true, ..Habits::default() });
        far.files.insert(b"f".to_vec(), data.clone());
        let config = TransferConfig::new().request_len(Some(READ));
        let mut local = Local::new(far, config);
        // What is to be said is asked for when all that came was handed in.
        local.hasty = true;
        let get = local.transfers.download(b"f", DownloadOptions::new().ordered(true));
        local.run();
        assert_eq!(local.result(get).unwrap().bytes, data.len() as u64);
        assert!(local.files[&get] == data && !local.disordered, "seed {seed}");
    }
}
