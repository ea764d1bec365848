//! SFTP: a client and a server against any bytes, and against each other.

use konko_core::Seed;
use konko_core::Time;
use konko_core::sftp::transfer::{
    DownloadOptions, Handled, Local, Notice, TransferConfig, Transfers, UploadOptions,
};
use konko_core::sftp::*;

use crate::input::Input;
use konko_test::null;

const MAX_STEPS: usize = 2000;

/// The target `sftp_client`: decisions, then what the server sends, cut as they say.
pub fn client(data: &[u8]) {
    let (mut steps, mut bytes) = Input::split(data);
    let whole = client_run(&mut steps.clone(), bytes.clone().rest(), usize::MAX);
    // However the input is cut, the same comes of it, up to how data is cut.
    assert_eq!(client_run(&mut steps, bytes.rest(), 1), whole);
}

fn client_run(steps: &mut Input<'_>, bytes: &[u8], cut: usize) -> (Vec<String>, usize) {
    let config = ClientConfig::new()
        .assume(ExtensionSet::all())
        .skip_preamble(steps.below(3))
        .accept_newer_version(steps.byte() & 1 == 1);
    let (mut client, mut rx, mut log) = (SftpClient::new(config), MsgBuf::new(), Vec::new());
    let mut handle = None;
    let mut data = 0;
    for piece in bytes.chunks(cut.max(1)) {
        let mut input = piece;
        loop {
            match client.poll(&mut rx, &mut input) {
                Ok(None) => {
                    assert!(input.is_empty(), "a client takes everything");
                    break;
                }
                Err(error) => {
                    assert_eq!(client.poll(&mut rx, &mut input).unwrap_err(), error);
                    log.push(error.fault_name());
                    return (log, data);
                }
                Ok(Some(Event::Data { data: part, .. })) => data += part.len(),
                Ok(Some(event)) => {
                    let text = format!("{event:?}");
                    assert!(!text.chars().any(char::is_control));
                    log.push(text);
                    if let Event::Reply { reply: Reply::Handle(h), .. } = &event {
                        handle = Some(h.clone());
                    }
                    ask(&mut client, steps, handle.as_ref());
                }
            }
        }
    }
    (log, data)
}

trait FaultName {
    fn fault_name(&self) -> String;
}

impl FaultName for Error {
    fn fault_name(&self) -> String {
        format!("{:?}", self.fault())
    }
}

/// A few requests of any kind.
fn ask(client: &mut SftpClient, steps: &mut Input<'_>, handle: Option<&Handle>) {
    for _ in 0..3 {
        let path = [b'a' + steps.byte() % 3];
        let id = match (steps.byte() % 12, handle) {
            (0, Some(h)) => client.read(h, u64::from(steps.byte()), 100),
            (1, Some(h)) => client.readdir(h),
            (2, Some(h)) => client.write(h, 0, b"data"),
            (3, Some(h)) => client.close(h),
            (4, _) => client.realpath(&path),
            (5, _) => client.statvfs(&path),
            (6, _) => client.users_groups_by_id(&[1], &[2, 3]),
            (7, _) => client.opendir(&path),
            (8, _) => client.extended(&path, b"x"),
            (9, _) => client.check_file_name(&path, &[konko_core::crypto::HashAlgorithm::Sha256], 0, 0, 0),
            (10, _) => client.open(&path, OpenFlags::READ, &Attrs::new()),
            _ => client.stat(&path),
        };
        if let Ok(id) = id
            && steps.byte() % 16 == 15
        {
            client.cancel(id);
        }
    }
}

/// The target `sftp_server`: any bytes from a client, over a file system in memory.
pub fn server(data: &[u8]) {
    let (mut steps, mut bytes) = Input::split(data);
    let flags = steps.byte();
    let config = ServerConfig::new()
        .read_only(flags & 1 != 0)
        .allow_chown(flags & 2 != 0)
        .max_handles(1 + steps.below(4));
    let read_only = config.read_only;
    let most = config.max_handles;
    let cut = 1 + steps.below(64);
    let fs = MemoryFs::new(null(), 1 << 16);
    let (mut session, mut rx) = (Session::new(&fs), MsgBuf::new());
    fs.insert(b"/d/f", b"content".to_vec()).expect("there is room");
    let mut server = SftpServer::new(config, &Seed::new([1; 32]));
    let mut result = Ok(());
    for piece in bytes.rest().chunks(cut) {
        let mut input = piece;
        while result.is_ok() && !input.is_empty() {
            result = server.run(&mut session, &mut rx, &mut input);
            assert!(server.tx().len() <= (1 << 20) + (256 << 10));
            assert!(server.open_handles() <= most);
            assert!(server.unanswered() <= 1, "all is answered but a WRITE that is still coming");
            let n = server.tx().len();
            server.tx().consume(n);
        }
    }
    if read_only {
        assert_eq!(fs.content(b"/d/f").as_deref(), Some(&b"content"[..]));
        assert_eq!((fs.list(b"/"), fs.list(b"/d")), (vec![b"d".to_vec()], vec![b"f".to_vec()]));
    }
    for handle in server.finish() {
        session.abandoned(handle);
    }
}

/// The target `sftp_pair`: transfers between the two, with the bytes cut and delayed as the input says.
/// What ends well is right.
pub fn pair(data: &[u8]) {
    let mut steps = Input::new(data);
    let fs = MemoryFs::new(null(), 1 << 20);
    let (mut session, mut server_rx, mut client_rx) = (Session::new(&fs), MsgBuf::new(), MsgBuf::new());
    let mut content = vec![0; usize::from(steps.u16())];
    content.iter_mut().enumerate().for_each(|(i, b)| *b = ((i * 7) >> 3) as u8);
    fs.insert(b"f", content.clone()).expect("there is room");
    let config = ServerConfig::new().max_handles(1 + steps.below(5));
    let mut server = SftpServer::new(config, &Seed::new([1; 32]));
    let mut client = SftpClient::new(ClientConfig::default());
    let config =
        TransferConfig::new().sequential(steps.byte() & 1 == 1).request_len(Some(1 + u32::from(steps.u16())));
    let mut transfers = Transfers::new(config);
    let size = [None, Some(content.len() as u64), Some(5)][steps.below(3)];
    let get = transfers.download(b"f", DownloadOptions::new().size(size).ordered(steps.byte() & 1 == 1));
    let put = transfers.upload(b"g", UploadOptions::default());
    let copy = transfers.copy(b"f", b"h", UploadOptions::default());
    let (mut up, mut down, mut came) = (Vec::new(), Vec::new(), vec![0; content.len()]);
    let (mut now, mut ended) = (Time::ZERO, Vec::new());
    for _ in 0..MAX_STEPS {
        now = now + core::time::Duration::from_millis(1);
        while let Some(notice) = transfers.poll(&mut client, now) {
            match notice {
                Notice::Fill { job, offset, .. } => {
                    let data = &content[(offset as usize).min(content.len())..];
                    transfers.fill(&mut client, job, now, |room| {
                        let n = room.len().min(data.len());
                        room[..n].copy_from_slice(&data[..n]);
                        Local::Data(n)
                    });
                }
                Notice::Data { offset, data, .. } => {
                    came[offset as usize..][..data.len()].copy_from_slice(&data)
                }
                Notice::Finished { job, result } => ended.push((job, result.is_ok())),
                _ => {}
            }
        }
        if transfers.is_empty() {
            break;
        }
        if steps.byte() == 200 {
            transfers.cancel(&mut client, [get, put, copy][steps.below(3)]);
        }
        let n = client.tx().len();
        up.extend_from_slice(client.tx().pending());
        client.tx().consume(n);
        let n = up.len().min(1 + usize::from(steps.u16()) * 16);
        let mut input = &up[..n];
        server.run(&mut session, &mut server_rx, &mut input).expect("our client is right");
        let taken = n - input.len();
        up.drain(..taken);
        let n = server.tx().len();
        down.extend_from_slice(server.tx().pending());
        server.tx().consume(n);
        let n = down.len().min(1 + usize::from(steps.u16()) * 16);
        let part: Vec<u8> = down.drain(..n).collect();
        let mut input = &part[..];
        while let Some(event) = client.poll(&mut client_rx, &mut input).expect("our server is right") {
            if let Handled::Data { offset, data, .. } = transfers.on_event(&mut client, event, now) {
                came[offset as usize..][..data.len()].copy_from_slice(data);
            }
        }
    }
    for (job, ok) in ended.into_iter().filter(|(_, ok)| *ok) {
        assert!(ok);
        let right = match job {
            j if j == get => came == content,
            j if j == put => fs.content(b"g").as_deref() == Some(&content[..]),
            _ => fs.content(b"h").as_deref() == Some(&content[..]),
        };
        assert!(right, "{job:?} ended well and is wrong");
    }
}
