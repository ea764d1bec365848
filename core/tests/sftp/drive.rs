//! Transfers between memory and a server, on a virtual clock.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use konko_core::Time;
use konko_core::sftp::transfer::*;
use konko_core::sftp::*;

use super::fake::Fake;
use super::seed;

/// A server at the other end, whatever it is.
pub trait Far {
    fn receive(&mut self, bytes: &[u8]);
    /// What it has to say; `None` when it has hung up and said everything.
    fn send(&mut self) -> Option<Vec<u8>>;
}

impl Far for Fake {
    fn receive(&mut self, bytes: &[u8]) {
        Fake::receive(self, bytes);
    }

    fn send(&mut self) -> Option<Vec<u8>> {
        if self.gone {
            return None;
        }
        self.work();
        Some(std::mem::take(&mut self.out))
    }
}

/// Our own server over a file system in memory.
pub struct Own {
    pub server: SftpServer,
    pub rx: MsgBuf,
    pub fs: Rc<MemoryFs>,
    pub session: Session<Rc<MemoryFs>>,
    input: Vec<u8>,
}

impl Own {
    pub fn new(config: ServerConfig) -> Self {
        let fs = super::memory();
        Own {
            server: SftpServer::new(config, &seed(9)),
            rx: MsgBuf::new(),
            session: Session::new(Rc::clone(&fs)),
            fs,
            input: Vec::new(),
        }
    }
}

impl Far for Own {
    fn receive(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn send(&mut self) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        loop {
            let mut input = self.input.as_slice();
            self.server.run(&mut self.session, &mut self.rx, &mut input).unwrap();
            let taken = self.input.len() - input.len();
            self.input.drain(..taken);
            let tx = self.server.tx();
            out.extend_from_slice(tx.pending());
            let n = tx.len();
            tx.consume(n);
            if n == 0 {
                return Some(out);
            }
        }
    }
}

/// Local files, and how the jobs ended.
pub struct Local<F> {
    pub client: SftpClient,
    pub rx: MsgBuf,
    pub transfers: Transfers,
    pub far: F,
    pub now: Time,
    pub rtt: Duration,
    /// What is read from here, by job.
    pub sources: BTreeMap<JobId, Vec<u8>>,
    /// What is known of it; `None`: it cannot be opened.
    pub known: BTreeMap<JobId, Option<Attrs>>,
    /// What came, by job.
    pub files: BTreeMap<JobId, Vec<u8>>,
    pub ended: BTreeMap<JobId, std::result::Result<Summary, TransferError>>,
    pub error: Option<Error>,
    /// Data came in any order but the file's.
    pub disordered: bool,
    /// Round trips so far.
    pub rounds: usize,
    /// What `open` opened.
    handle: Option<Handle>,
    /// Round trips that a run may take.
    pub patience: usize,
    /// Most bytes that ever waited for their turn.
    pub most_held: usize,
    /// What comes of this job is not kept.
    pub busy: Option<JobId>,
    /// Hands in all that came before it asks what there is to be said.
    pub hasty: bool,
}

impl<F: Far> Local<F> {
    pub fn new(far: F, config: TransferConfig) -> Self {
        Self::with(far, config, ClientConfig::default())
    }

    pub fn with(far: F, config: TransferConfig, client: ClientConfig) -> Self {
        let mut local = Local {
            client: SftpClient::new(client),
            rx: MsgBuf::new(),
            transfers: Transfers::new(config),
            far,
            now: Time::from_micros(1),
            rtt: Duration::from_millis(10),
            sources: BTreeMap::new(),
            known: BTreeMap::new(),
            files: BTreeMap::new(),
            ended: BTreeMap::new(),
            error: None,
            disordered: false,
            rounds: 0,
            handle: None,
            patience: 100_000,
            most_held: 0,
            busy: None,
            hasty: false,
        };
        local.round();
        local
    }

    pub fn put(&mut self, path: &str, data: Vec<u8>, options: UploadOptions) -> JobId {
        let job = self.transfers.upload(path.as_bytes(), options);
        self.sources.insert(job, data);
        job
    }

    /// Everything that can be said now.
    pub fn notices(&mut self) {
        while let Some(notice) = self.transfers.poll(&mut self.client, self.now) {
            match notice {
                Notice::Fill { job, offset, len } => {
                    let source = &self.sources[&job];
                    let data = source.get(offset as usize..).unwrap_or_default();
                    self.transfers.fill(&mut self.client, job, self.now, |room| {
                        let n = room.len().min(data.len()).min(len);
                        room[..n].copy_from_slice(&data[..n]);
                        konko_core::sftp::transfer::Local::Data(n)
                    });
                }
                Notice::Source { job } => match self.known.get(&job) {
                    Some(None) => self.transfers.local_failure(&mut self.client, job),
                    Some(Some(attrs)) => self.transfers.source(job, attrs),
                    None => self.transfers.source(job, &Attrs::new()),
                },
                Notice::Data { job, offset, data } => self.store(job, offset, &data),
                Notice::Finished { job, result } => drop(self.ended.insert(job, result)),
                _ => {}
            }
        }
    }

    fn store(&mut self, job: JobId, offset: u64, data: &[u8]) {
        if self.busy == Some(job) {
            return;
        }
        let file = self.files.entry(job).or_default();
        let offset = offset as usize;
        self.disordered |= offset != file.len();
        file.resize(file.len().max(offset + data.len()), 0);
        file[offset..][..data.len()].copy_from_slice(data);
    }

    /// One round trip. False: nothing moved.
    pub fn round(&mut self) -> bool {
        self.notices();
        let out = self.client.tx().pending().to_vec();
        self.client.tx().consume(out.len());
        self.far.receive(&out);
        self.now = self.now + self.rtt;
        self.rounds += 1;
        let Some(back) = self.far.send() else {
            let error = self.client.eof(&self.rx);
            self.fail(error);
            return false;
        };
        for piece in back.chunks(32 << 10) {
            let mut input = piece;
            loop {
                match self.client.poll(&mut self.rx, &mut input) {
                    Ok(None) => break,
                    Err(error) => {
                        self.fail(error);
                        return false;
                    }
                    Ok(Some(event)) => {
                        match self.transfers.on_event(&mut self.client, event, self.now) {
                            Handled::Data { job, offset, data } => {
                                let data = data.to_vec();
                                self.store(job, offset, &data);
                            }
                            Handled::Other(Event::Reply { reply: Reply::Handle(handle), .. }) => {
                                self.handle = Some(handle);
                            }
                            Handled::Done | Handled::Other(_) => {}
                        }
                        self.most_held = self.most_held.max(self.transfers.held());
                        if !self.hasty {
                            self.notices();
                        }
                    }
                }
            }
        }
        !out.is_empty() || !back.is_empty()
    }

    fn fail(&mut self, error: Error) {
        self.transfers.lost(&error);
        self.error = Some(error);
        self.notices();
    }

    /// Opens a file for reading and writing, that stays open.
    pub fn open(&mut self, path: &[u8]) -> Handle {
        self.client.open(path, OpenFlags(0x1b), &Attrs::new()).unwrap();
        while self.handle.is_none() {
            self.round();
        }
        self.handle.take().unwrap()
    }

    /// Until a job has ended, whatever the others do. False: not in that time.
    pub fn run_for(&mut self, job: JobId, limit: Duration) -> bool {
        let end = self.now + limit;
        while !self.ended.contains_key(&job) && self.now < end {
            if !self.round() {
                self.now = self.now.max(self.transfers.deadline().unwrap_or(end));
            }
        }
        self.ended.contains_key(&job)
    }

    /// Until all jobs have ended.
    pub fn run(&mut self) {
        for _ in 0..self.patience {
            if self.transfers.is_empty() {
                self.notices();
                return;
            }
            if !self.round() && self.error.is_none() && !self.transfers.is_empty() {
                let at = self.transfers.deadline().unwrap_or_else(|| {
                    panic!("nothing moves, and nobody waits: {:?} {}", self.transfers, self.client.has_room())
                });
                self.now = self.now.max(at);
            }
        }
        panic!("it takes for ever: {:?}", self.transfers);
    }

    pub fn result(&self, job: JobId) -> std::result::Result<Summary, TransferError> {
        self.ended[&job].clone()
    }
}
