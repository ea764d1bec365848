//! The fixed table of commands of `--exec builtin`: enough to try a client with, and nothing that
//! touches the machine.

use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use konko::Exit;
use konko::core::crypto::{Digest, HashAlgorithm};
use konko::core::provider;
use konko::core::wire::SshStr;
use konko::server::{Call, Programs};

use crate::values::parsed;

/// The commands.
pub fn programs() -> Programs {
    Programs::new()
        .command("true", |_| 0u32)
        .command("false", |_| 1u32)
        .command("exit", |call| parsed(call.argument()).unwrap_or(2u32))
        .command("signal", |call| Exit::Signal {
            signal: SshStr::new(call.argument()).to_text(),
            core_dumped: false,
            message: "asked for".into(),
        })
        .command("echo", |call| status(call.channel().write_all(&[call.argument(), b"\n"].concat())))
        .command("whoami", |call| status(writeln!(call.channel(), "{}", call.user())))
        .command("env", |call| {
            let mut lines = call.env().iter().map(|(name, value)| {
                let line = [name.as_bytes(), b"=", value.as_bytes(), b"\n"].concat();
                call.channel().write_all(&line)
            });
            status(lines.find(Result::is_err).unwrap_or(Ok(())))
        })
        .command("cat", |call| status(io::copy(&mut call.channel(), &mut call.channel())))
        .command("sha256", |call| status(sha256(call)))
        .command("source", |call| status(source(call, false)))
        .command("both", |call| status(source(call, true)))
}

fn status<T>(result: io::Result<T>) -> u32 {
    u32::from(result.is_err())
}

/// Prints the checksum of standard input and how many bytes that was.
fn sha256(call: &Call) -> io::Result<()> {
    let mut hash = provider::best().hash(HashAlgorithm::Sha256);
    let mut buffer = vec![0; 64 * 1024];
    let mut total = 0u64;
    loop {
        let n = call.channel().read(&mut buffer)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
        total += n as u64;
    }
    let digest = Digest::finish(HashAlgorithm::Sha256, hash);
    for byte in digest.as_bytes() {
        write!(call.channel(), "{byte:02x}")?;
    }
    writeln!(call.channel(), " {total}")
}

/// Writes as many zero bytes as were asked for; with `both` to standard error too.
fn source(call: &Call, both: bool) -> io::Result<()> {
    let mut left: u64 = parsed(call.argument()).ok_or(io::ErrorKind::InvalidInput)?;
    let zeros = vec![0; 64 * 1024];
    while left > 0 {
        let n = left.min(zeros.len() as u64) as usize;
        call.channel().write_all(&zeros[..n])?;
        if both {
            call.channel().stderr().write_all(&zeros[..n])?;
        }
        left -= n as u64;
    }
    Ok(())
}
