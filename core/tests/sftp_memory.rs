//! What a peer can make the machines hold, and that data in flight costs no allocation.

mod sftp;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use konko_core::sftp::*;
use konko_core::wire::Sink;
use sftp::*;

struct Counting;

thread_local! {
    static CALLS: Cell<usize> = const { Cell::new(0) };
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    PEAK.set(PEAK.get().max(held));
}

// SAFETY: hands everything on to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.set(CALLS.get() + 1);
        count(layout.size() as isize);
        // SAFETY: the caller's contract is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's contract is the same.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// The most that is held beyond what was held before, and the calls.
fn during(act: impl FnOnce()) -> (isize, usize) {
    let (held, calls) = (HELD.get(), CALLS.get());
    PEAK.set(held);
    act();
    (PEAK.get() - held, CALLS.get() - calls)
}

fn message(kind: u8, id: u32, fields: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut f = id.to_be_bytes().to_vec();
    fields(&mut f);
    packet(kind, &f)
}

#[test]
fn s_26_a_client_that_reads_nothing_makes_a_server_hold_its_backlog_and_no_more() {
    let fs = memory();
    fs.insert(b"f", pattern(1 << 20)).unwrap();
    let mut session = Session::new(fs);
    let (mut server, mut rx) = (SftpServer::new(ServerConfig::default(), &seed(1)), MsgBuf::new());
    let mut bytes = packet(1, &[0, 0, 0, 3]);
    bytes.extend(message(3, 1, |f| {
        f.put_string(b"f");
        f.put_u32(1);
        f.put_u32(0);
    }));
    server.run(&mut session, &mut rx, &mut &bytes[..]).unwrap();
    let out = server.tx().pending().to_vec();
    let n = out.len();
    server.tx().consume(n);
    let handle = out[n - 12..].to_vec();
    let read = message(5, 2, |f| {
        f.put_string(&handle);
        f.put_u64(0);
        f.put_u32(261_120);
    });
    let flood = read.repeat(10_000);
    let mut left = 0;
    let (held, _) = during(|| {
        let mut input = &flood[..];
        for _ in 0..100 {
            server.run(&mut session, &mut rx, &mut input).unwrap();
        }
        left = input.len();
    });
    assert!(server.is_full() && left > flood.len() - 10 * read.len(), "nothing more is parsed");
    assert!(held <= 2 << 20, "{held}");
    // Many of them, a few answered at a time: still the same.
    let (held, _) = during(|| {
        for _ in 0..10 {
            let mut input = &flood[..];
            while !input.is_empty() {
                server.run(&mut session, &mut rx, &mut input).unwrap();
                let n = server.tx().len();
                server.tx().consume(n);
            }
        }
    });
    assert!(held <= 2 << 20, "{held}");
}

#[test]
fn s_26_requests_that_are_answered_late_are_bounded_too() {
    let (mut server, mut rx) = (SftpServer::new(ServerConfig::default(), &seed(1)), MsgBuf::new());
    let mut bytes = packet(1, &[0, 0, 0, 3]);
    (0..100_000u32).for_each(|i| bytes.extend(message(17, i, |f| f.put_string(b"some/path"))));
    let mut input = &bytes[..];
    let mut tickets = Vec::with_capacity(4096);
    let (held, _) = during(|| {
        while let Some(request) = server.poll(&mut rx, &mut input).unwrap() {
            tickets.push(request.ticket);
        }
    });
    assert!(tickets.len() <= 1024 && held <= 512 << 10, "{} {held}", tickets.len());
    // Answered backwards.
    while let Some(ticket) = tickets.pop() {
        server.reply(ticket, Answer::Attrs(Attrs::new())).unwrap();
    }
    assert_eq!(server.unanswered(), 0);
    assert!(server.poll(&mut rx, &mut input).unwrap().is_some());
}

#[test]
fn s_01_s_14_claims_cost_nothing() {
    let hostile = [
        (packet(101, &[])[..4].to_vec(), "a length alone"),
        (
            [&(256u32 << 10).to_be_bytes()[..], &[104, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]].concat(),
            "a huge NAME",
        ),
        (
            [&(256u32 << 10).to_be_bytes()[..], &[105, 0, 0, 0, 0, 0x80, 0, 0, 0, 0xff]].concat(),
            "huge attributes",
        ),
    ];
    for (bytes, what) in hostile {
        let (mut client, mut rx) = (SftpClient::new(ClientConfig::default()), MsgBuf::new());
        feed(&mut client, &mut rx, &packet(2, &[0, 0, 0, 3])).unwrap();
        let (held, _) = during(|| {
            for byte in &bytes {
                let _ = client.poll(&mut rx, &mut &[*byte][..]);
            }
        });
        assert!(held <= 4096, "{what}: {held}");
    }
    // A whole message of the largest size, in pieces.
    let (mut client, mut rx) = (SftpClient::new(ClientConfig::default()), MsgBuf::new());
    feed(&mut client, &mut rx, &packet(2, &[0, 0, 0, 3])).unwrap();
    let big = packet(104, &vec![0; (256 << 10) - 1]);
    let (held, _) = during(|| {
        for piece in big.chunks(1000) {
            let _ = client.poll(&mut rx, &mut &piece[..]);
        }
    });
    assert!(held <= 640 << 10, "{held}");
}

#[test]
fn data_is_never_copied_on_its_way_in_and_costs_no_allocation() {
    let mut j = Joined::new();
    j.fs.insert(b"f", pattern(1 << 20)).unwrap();
    let h = j.open("f", OpenFlags(3));
    let data = vec![9; 200_000];
    // The client: the parts of a reply lie in the input itself.
    let replies: Vec<Vec<u8>> = (0..20)
        .map(|_| {
            j.client.read(&h, 0, 200_000).unwrap();
            let tx = j.client.tx().pending().to_vec();
            j.client.tx().consume(tx.len());
            message(103, u32::from_be_bytes(tx[5..9].try_into().unwrap()), |f| f.put_string(&data))
        })
        .collect();
    let mut came = 0;
    let (_, calls) = during(|| {
        for piece in replies.iter().flat_map(|r| r.chunks(32 << 10)) {
            let range = piece.as_ptr_range();
            let mut input = piece;
            while let Some(event) = j.client.poll(&mut j.client_rx, &mut input).unwrap() {
                let Event::Data { data, .. } = event else { panic!() };
                assert!(range.contains(&data.as_ptr()));
                came += data.len();
            }
        }
    });
    assert_eq!((came, calls), (20 * 200_000, 0));
    // The server: the same for WRITE.
    let write = message(6, 1, |f| {
        f.put_string(h.as_bytes());
        f.put_u64(0);
        f.put_string(&data);
    });
    let mut parts = 0;
    let mut serve = || {
        for piece in write.chunks(32 << 10) {
            let range = piece.as_ptr_range();
            let mut input = piece;
            while let Some(request) = j.server.poll(&mut j.server_rx, &mut input).unwrap() {
                let Op::Write { data, .. } = request.op else { panic!() };
                assert!(range.contains(&data.as_ptr()));
                parts += 1;
                j.server.reply_status(request.ticket, StatusCode::OK).unwrap();
            }
        }
        let n = j.server.tx().len();
        j.server.tx().consume(n);
        n
    };
    serve();
    let mut replies = 0;
    let (_, calls) = during(|| (0..20).for_each(|_| replies += usize::from(serve() > 0)));
    assert_eq!((parts, replies, calls), (21 * 7, 20, 0), "each WRITE has one reply");
}
