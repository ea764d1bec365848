use std::io::{self, Read, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Wake, Waker};

use konko_core::sftp::{Backend, MsgBuf, ServerConfig, SftpServer};
use zeroize::Zeroizing;

use crate::channel::{Await, Channel, Exchange};
use crate::lock;

/// Replies are sent when there are so many bytes of them, or nothing more to do.
const SEND: usize = 128 << 10;
/// Room for what is read at a time from a pipe or a socket: one of the largest messages.
const RECEIVE: usize = 264 << 10;

/// Serves SFTP on a channel until the client ends it, with a backend that answers at once, later, or from other
/// threads: a reply of theirs [wakes](konko_core::sftp::Ticket::waker) this one, whatever it waits for.
///
/// What has come is looked at as it lies in the receive buffer, and replies that are there together leave together.
/// While [`ServerConfig::max_backlog`] is used up nothing more is taken, and the channel's window stops the client.
///
/// # Errors
/// `InvalidData` if the client does not follow the protocol; otherwise what the channel says.
pub fn serve(
    channel: &Channel,
    config: ServerConfig,
    backend: &mut (impl Backend + ?Sized),
) -> io::Result<()> {
    channel.may_wait()?;
    let bell = Arc::new(Bell::new(channel.nudger()));
    Serving::run(config, backend, &bell, |serving| {
        let (mut input, mut more, mut stderr) =
            (Input::default(), Zeroizing::default(), Zeroizing::default());
        loop {
            bell.silence();
            let mut rest = input.rest();
            let taken = serving.take(&mut rest);
            input.keep(rest.len());
            if taken.is_err() {
                serving.send(&mut &*channel)?;
                return taken;
            }
            let deadline = channel.deadline();
            let on = serving.server.tx().len() >= SEND;
            let wait = if on { Await::Output(deadline) } else { Await::Input(deadline) };
            let credit = if serving.server.is_full() { 0 } else { std::mem::take(&mut input.owed) };
            let tx = serving.server.tx();
            let before = tx.len();
            let went = channel.exchange(credit, tx, &mut more, &mut stderr, wait)?;
            let idle = more.is_empty() && tx.len() == before;
            stderr.clear();
            input.add(&mut more);
            if !serving.server.is_full() {
                // The peer may send more while this is dealt with.
                channel.credit(std::mem::take(&mut input.owed));
            }
            if went == Exchange::Over && input.rest().is_empty() {
                serving.send(&mut &*channel)?;
                if !serving.server.is_awaited() || !channel.takes_input() {
                    return Ok(());
                }
                bell.wait();
            } else if idle && deadline.passed() {
                return Err(channel.timed_out("data"));
            }
        }
    })
}

/// Serves SFTP on two streams, such as standard input and output: see [`serve`]. They should not be
/// buffered.
///
/// # Errors
/// `InvalidData` if the client does not follow the protocol; otherwise what the streams say.
pub fn serve_streams(
    mut input: impl Read,
    output: impl Write + Send,
    config: ServerConfig,
    backend: &mut (impl Backend + Send + ?Sized),
) -> io::Result<()> {
    let bell = Arc::new(Bell::new(|| {}));
    Serving::run(config, backend, &bell, |serving| {
        let turn = Mutex::new(Turn { serving, output, failed: None, over: false });
        let moved = Condvar::new();
        std::thread::scope(|scope| {
            let mut helped = false;
            // Only who answers late needs a thread that waits for it.
            let mut help = || {
                if !std::mem::replace(&mut helped, true) {
                    scope.spawn(|| answer(&turn, &moved, &bell));
                }
            };
            let served = take_all(&mut input, &turn, &moved, &mut help);
            lock(&turn).over = true;
            bell.ring();
            served
        })
    })
}

/// Reads and answers until the input ends and all is answered.
fn take_all<B: Backend + ?Sized, W: Write>(
    input: &mut impl Read,
    turn: &Mutex<Turn<'_, '_, B, W>>,
    moved: &Condvar,
    help: &mut dyn FnMut(),
) -> io::Result<()> {
    let mut buffer = Zeroizing::new(vec![0; RECEIVE]);
    loop {
        let n = match input.read(&mut buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        let mut rest = &buffer[..n];
        let mut turn = lock(turn);
        loop {
            turn.step(&mut rest)?;
            let awaited = turn.serving.server.is_awaited();
            if awaited {
                help();
            }
            if let Some(error) = turn.failed.take() {
                return Err(error);
            }
            if rest.is_empty() && (n > 0 || !awaited) {
                break;
            }
            turn = moved.wait(turn).unwrap_or_else(PoisonError::into_inner);
        }
        if n == 0 {
            return Ok(());
        }
    }
}

/// Sends replies when they are there, while another thread reads.
fn answer<B: Backend + ?Sized, W: Write>(turn: &Mutex<Turn<'_, '_, B, W>>, moved: &Condvar, bell: &Bell) {
    loop {
        bell.wait();
        bell.silence();
        let mut turn = lock(turn);
        if turn.over {
            return;
        }
        turn.failed = turn.step(&mut &[][..]).err();
        moved.notify_all();
    }
}

/// What the thread that reads and the one that answers take turns with.
struct Turn<'s, 'f, B: ?Sized, W> {
    serving: &'s mut Serving<'f, B>,
    output: W,
    failed: Option<io::Error>,
    over: bool,
}

impl<B: Backend + ?Sized, W: Write> Turn<'_, '_, B, W> {
    /// Takes all that can be taken, and sends all there is to send.
    fn step(&mut self, input: &mut &[u8]) -> io::Result<()> {
        loop {
            let taken = self.serving.take(input);
            let idle = self.serving.server.tx().is_empty();
            self.serving.send(&mut self.output)?;
            taken?;
            if idle && (input.is_empty() || self.serving.server.is_full()) {
                return Ok(());
            }
        }
    }
}

struct Serving<'f, B: ?Sized> {
    server: SftpServer,
    rx: MsgBuf,
    backend: &'f mut B,
}

impl<'f, B: Backend + ?Sized> Serving<'f, B> {
    /// Makes a session, and lets go of what is left open when `drive` is done with it.
    fn run(
        config: ServerConfig,
        backend: &'f mut B,
        bell: &Arc<Bell>,
        drive: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut server = SftpServer::new(config, &crate::seed_from_os()?);
        server.wake_with(Waker::from(Arc::clone(bell)));
        let mut serving = Serving { server, rx: MsgBuf::new(), backend };
        let driven = drive(&mut serving);
        for handle in serving.server.finish() {
            serving.backend.abandoned(handle);
        }
        driven
    }

    /// Hands in what was answered, and takes input until there is something to send.
    fn take(&mut self, input: &mut &[u8]) -> io::Result<()> {
        self.backend.settle(&mut self.server);
        while self.server.tx().len() < SEND {
            match self.server.poll(&mut self.rx, input) {
                Ok(Some(request)) => self.backend.request(&mut self.server, request),
                Ok(None) => break,
                Err(e) => return Err(io::Error::new(io::ErrorKind::InvalidData, e)),
            }
        }
        Ok(())
    }

    fn send(&mut self, output: &mut impl Write) -> io::Result<()> {
        let tx = self.server.tx();
        if !tx.is_empty() {
            let all = tx.len();
            output.write_all(tx.pending())?;
            tx.consume(all);
        }
        Ok(())
    }
}

/// What came and was not taken yet.
#[derive(Default)]
struct Input {
    bytes: Zeroizing<Vec<u8>>,
    at: usize,
    /// Came, and no credit was given back for it yet.
    owed: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.bytes[self.at..]
    }

    /// The last `left` bytes were not taken.
    fn keep(&mut self, left: usize) {
        self.at = self.bytes.len() - left;
    }

    fn add(&mut self, more: &mut Zeroizing<Vec<u8>>) {
        self.owed += more.len();
        if self.rest().is_empty() {
            std::mem::swap(&mut self.bytes, more);
        } else {
            self.bytes.drain(..self.at);
            self.bytes.append(more);
        }
        self.at = 0;
        more.clear();
    }
}

/// Rung when a reply is there.
struct Bell {
    rung: Mutex<bool>,
    changed: Condvar,
    nudge: Box<dyn Fn() + Send + Sync>,
}

impl Bell {
    fn new(nudge: impl Fn() + Send + Sync + 'static) -> Self {
        Bell { rung: Mutex::new(false), changed: Condvar::new(), nudge: Box::new(nudge) }
    }

    fn ring(&self) {
        if !std::mem::replace(&mut *lock(&self.rung), true) {
            self.changed.notify_all();
            (self.nudge)();
        }
    }

    fn silence(&self) {
        *lock(&self.rung) = false;
    }

    fn wait(&self) {
        let rung = self.changed.wait_while(lock(&self.rung), |rung| !*rung);
        drop(rung.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}
