use std::io::{self, Read, Write};

use konko_core::sftp::{FileSystem, MsgBuf, Server, ServerConfig};
use zeroize::Zeroizing;

use crate::channel::Channel;

/// Replies are sent when there are so many bytes of them, or nothing more to do.
const SEND: usize = 128 << 10;
/// Room for what is read at a time from a pipe or a socket: one of the largest messages.
const RECEIVE: usize = 264 << 10;

/// Serves SFTP on a channel until the client ends it, with a file system that answers each request before
/// [`request`](FileSystem::request) returns, or while it gets a later one.
///
/// What has come is looked at as it lies in the receive buffer, and replies to requests that came together
/// leave together.
///
/// # Errors
/// `InvalidData` if the client does not follow the protocol; otherwise what the channel says.
pub fn serve(channel: &Channel, config: ServerConfig, fs: &mut (impl FileSystem + ?Sized)) -> io::Result<()> {
    let mut batch = Zeroizing::default();
    let mut output = channel;
    Session::run(config, fs, |session| {
        while channel.receive_batch(&mut batch)? {
            session.take(&batch, &mut output)?;
        }
        Ok(())
    })
}

/// Serves SFTP on two streams, such as standard input and output: see [`serve`]. They should not be
/// buffered.
///
/// # Errors
/// `InvalidData` if the client does not follow the protocol; otherwise what the streams say.
pub fn serve_streams(
    mut input: impl Read,
    mut output: impl Write,
    config: ServerConfig,
    fs: &mut (impl FileSystem + ?Sized),
) -> io::Result<()> {
    let mut buffer = vec![0; RECEIVE];
    Session::run(config, fs, |session| {
        loop {
            match input.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => session.take(&buffer[..n], &mut output)?,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
    })
}

struct Session<'f, F: ?Sized> {
    server: Server,
    rx: MsgBuf,
    fs: &'f mut F,
}

impl<'f, F: FileSystem + ?Sized> Session<'f, F> {
    /// Makes a session, and lets go of what is left open when `drive` is done with it.
    fn run(
        config: ServerConfig,
        fs: &'f mut F,
        drive: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        let server = Server::new(config, &crate::seed()?);
        let mut session = Session { server, rx: MsgBuf::new(), fs };
        let driven = drive(&mut session);
        for handle in session.server.finish() {
            session.fs.abandoned(handle);
        }
        driven
    }

    /// Answers everything in `input`.
    fn take(&mut self, mut input: &[u8], output: &mut impl Write) -> io::Result<()> {
        loop {
            let ended = loop {
                match self.server.poll(&mut self.rx, &mut input) {
                    Ok(Some(request)) => self.fs.request(&mut self.server, request),
                    Ok(None) => break None,
                    Err(e) => break Some(e),
                }
                if self.server.tx().len() >= SEND {
                    self.send(output)?;
                }
            };
            self.send(output)?;
            if let Some(error) = ended {
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
            if input.is_empty() {
                return Ok(());
            }
            if self.server.is_full() {
                return Err(io::Error::other("SFTP: the file system leaves too many requests unanswered"));
            }
        }
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
