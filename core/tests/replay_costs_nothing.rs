//! A connection that is not recorded allocates nothing for the recorder: data goes both ways, is
//! consumed and acknowledged, without one allocation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use konko_core::channel::{ChannelEvent, ChannelRequest, DataStream, OpenKind};
use konko_core::client::{AuthRequest, Password};
use konko_core::server::AuthDecision;
use konko_core::*;

use konko_test::{host_key, transport_config};

struct Counting;

static COUNT: AtomicU64 = AtomicU64::new(0);

// SAFETY: everything is handed to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A logged-in pair with one open channel, without timers or links.
struct Two {
    client: ClientConnection,
    server: ServerConnection,
    to_client: RxBuf,
    to_server: RxBuf,
    channels: Vec<channel::ChannelId>,
    received: usize,
}

const NOW: Time = Time::from_micros(1);

impl Two {
    /// Lets both ends talk until both wait.
    fn settle(&mut self) {
        loop {
            let mut busy = false;
            self.to_server.push(self.client.tx().pending());
            let n = self.client.tx().len();
            self.client.tx().consume(n);
            busy |= n > 0;
            while let Ok(Step::Event(event)) = self.server.poll(NOW, &mut self.to_server) {
                match event {
                    ServerEvent::Auth(ServerAuth::Attempt { ticket, .. }) => {
                        self.server.decide_auth(ticket, AuthDecision::Accept).unwrap();
                    }
                    ServerEvent::Open { ticket, .. } => {
                        self.server.accept_channel(ticket).unwrap();
                    }
                    ServerEvent::Channel(id, ChannelEvent::Data { data, .. }) => {
                        self.received += data.len();
                        self.server.consume(id, data.len()).unwrap();
                    }
                    _ => {}
                }
            }
            self.to_client.push(self.server.tx().pending());
            let n = self.server.tx().len();
            self.server.tx().consume(n);
            busy |= n > 0;
            while let Ok(Step::Event(event)) = self.client.poll(NOW, &mut self.to_client) {
                match event {
                    ClientEvent::Auth(ClientAuth::HostKey(ticket)) => {
                        self.client.decide_host_key(ticket, Decision::Accept).unwrap()
                    }
                    ClientEvent::Auth(ClientAuth::Needed { .. }) => {
                        let password = Password::new("x");
                        self.client.authenticate("u", AuthRequest::Password(&password)).unwrap();
                    }
                    ClientEvent::Authenticated { .. } => {
                        self.client.open(OpenKind::Session).unwrap();
                    }
                    ClientEvent::Opened(id) => {
                        self.client.request(id, ChannelRequest::Shell, WantReply::No).unwrap();
                        self.channels.push(id);
                    }
                    _ => {}
                }
            }
            if !busy {
                return;
            }
        }
    }
}

#[test]
fn without_a_recorder_steady_data_allocates_nothing() {
    let client = Arc::new(ClientConfig::new(transport_config()));
    let server = Arc::new(ServerConfig::new(transport_config(), vec![host_key()]));
    let mut two = Two {
        client: ClientConnection::new(client, Seed::new([1; 32]), NOW),
        server: ServerConnection::new(server, Seed::new([2; 32]), NOW),
        to_client: RxBuf::new(),
        to_server: RxBuf::new(),
        channels: Vec::new(),
        received: 0,
    };
    two.settle();
    let id = two.channels[0];
    let data = [7u8; 30_000];
    let round = |two: &mut Two| {
        assert_eq!(two.client.write(id, DataStream::Data, &data).unwrap(), data.len());
        let mut slot = two.client.slot(id, DataStream::Stderr, 1000).unwrap().unwrap();
        slot.bytes().fill(1);
        slot.commit(1000);
        two.settle();
    };
    // Buffers and queues reach their sizes; a window's worth of data passes.
    for _ in 0..200 {
        round(&mut two);
    }
    let (before, received) = (COUNT.load(Ordering::Relaxed), two.received);
    for _ in 0..200 {
        round(&mut two);
    }
    assert_eq!(two.received - received, 200 * 31_000);
    assert_eq!(COUNT.load(Ordering::Relaxed) - before, 0);
}
