//! `konko demo`: a server and a client in one process, over a loopback socket. Whatever is printed was
//! checked; a claim that does not hold ends it with an error.

use std::error::Error;
use std::fs;
use std::io::{self, IsTerminal, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::streams;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use konko::core::Rng;
use konko::core::authorized_keys::AuthorizedKeys;
use konko::core::crypto::{Digest, Hash, HashAlgorithm};
use konko::core::keys::{KeyPair, KeyType, PrivateKey};
use konko::core::provider;
use konko::core::sftp::{MemoryFs, ServerConfig};
use konko::core::transport::limits::RekeyLimit;
use konko::server::users::{User, Users};
use konko::server::{Call, Programs, Server, ServerOptions, Service};
use konko::sftp::{GetOptions, Links, PutOptions, Session, serve};
use konko::{Auth, Client, ClientOptions, ErrorKind, Exit, HostKeys};

type Outcome<T> = Result<T, Box<dyn Error>>;

const USER: &str = "alice";
const PASSWORD: &str = "wonderland";
/// Bytes streamed in each direction.
const STREAM: u64 = 64 << 20;
/// Keys are renewed after so many bytes, so that it happens in the middle of the streams.
const REKEY: u64 = 16 << 20;

/// Runs the demo; prints what happened.
pub fn run() -> Outcome<()> {
    let start = Instant::now();
    let host_key = new_key()?;
    let user_key = new_key()?;
    let server = listen(&host_key, &user_key)?;
    let addr = server.local_addr();
    streams::line(format_args!("konko demo: a server on {addr} and a client, in one process\n"));

    refuse_wrong_host_key(addr)?;
    refuse_wrong_password(addr, &host_key)?;
    let client = connect(addr, &host_key)?;
    client.login(USER, Auth::new().key(Arc::clone(&user_key)))?;
    describe(&client, &host_key)?;
    run_command(&client)?;
    two_at_once(&client)?;
    upload(&client)?;
    download(&client)?;
    tree(&client)?;
    let exchanges = client.key_exchanges();
    check(exchanges >= 4, "the keys were renewed while data flowed")?;
    line("rekey", &format!("{} times in the middle of that, without losing a byte", exchanges - 1));
    drop(client);
    check(server.shutdown(Duration::from_secs(5)), "the server stopped and left nothing behind")?;
    line("shutdown", "no thread, socket or channel is left");
    streams::line(format_args!("\nEverything was checked. {:.2} s.", start.elapsed().as_secs_f64()));
    Ok(())
}

// ---- the server ----

fn listen(host_key: &Arc<KeyPair>, user_key: &KeyPair) -> Outcome<Server> {
    let mut users = Users::new();
    let keys = AuthorizedKeys::parse("the demo", user_key.public().to_openssh_line("").as_bytes())?;
    users.add(USER, User::new().password(PASSWORD).keys(keys))?;
    let programs = Programs::new()
        .command("greet", |call| {
            let _ = call.channel().write_all(&[b"hello, ", call.argument(), b"\n"].concat());
            7u32
        })
        .command("cat", |call| status(io::copy(&mut call.channel(), &mut call.channel())))
        .command("sha256", |call| status(digest_of_input(call)))
        .command("pattern", |call| status(pattern_to_output(call)))
        .subsystem("sftp", |call| {
            let fs = MemoryFs::new(provider::best(), 1 << 28);
            status(serve(&call.channel(), ServerConfig::default(), &mut Session::new(&fs)))
        });
    let service = Service::new(Arc::new(users), Arc::new(programs));
    let options = ServerOptions::new([Arc::clone(host_key)]).methods(service.users().methods());
    Ok(Server::listen("127.0.0.1:0", options, move |_| service.clone())?)
}

fn status<T, E>(result: Result<T, E>) -> u32 {
    u32::from(result.is_err())
}

fn digest_of_input(call: &Call) -> io::Result<()> {
    let digest = digest_of(call.channel(), |_| {})?;
    write!(call.channel(), "{digest}")
}

fn pattern_to_output(call: &Call) -> io::Result<()> {
    let total = crate::values::parsed(call.argument()).ok_or(io::ErrorKind::InvalidInput)?;
    write_pattern(&mut call.channel(), total, |_| {}).map(drop)
}

// ---- the client ----

fn connect(addr: SocketAddr, host_key: &KeyPair) -> Result<Client, konko::Error> {
    let pinned = HostKeys::pinned_keys([host_key.public().clone()]);
    let rekey = RekeyLimit::new().bytes(REKEY);
    Client::connect(addr, ClientOptions::new().host_keys(pinned).rekey(rekey))
}

fn refuse_wrong_host_key(addr: SocketAddr) -> Outcome<()> {
    let error = match connect(addr, &*new_key()?) {
        Ok(_) => return Err("a server with a wrong host key was accepted".into()),
        Err(error) => error,
    };
    check(matches!(error.kind(), ErrorKind::HostKey(_)), "it was the host key that was refused")?;
    line("wrong host", "a host key that is not the known one is refused before any login");
    Ok(())
}

fn refuse_wrong_password(addr: SocketAddr, host_key: &KeyPair) -> Outcome<()> {
    let client = connect(addr, host_key)?;
    let refused = client.login(USER, Auth::new().password("looking-glass"));
    check(
        matches!(refused, Err(e) if matches!(e.kind(), ErrorKind::Auth(_))),
        "a wrong password is refused",
    )?;
    check(client.session().is_err(), "without a login there is no session")?;
    line("wrong login", "a wrong password is refused, after a delay that tells nothing");
    Ok(())
}

fn describe(client: &Client, host_key: &KeyPair) -> Outcome<()> {
    let n = client.negotiated().ok_or("nothing was negotiated")?;
    check(client.host_key().as_ref() == Some(host_key.public()), "the host key is the expected one")?;
    check(n.kex.post_quantum(), "the key exchange withstands a quantum computer")?;
    check(client.strict_kex(), "nothing can be dropped unnoticed during the handshake")?;
    line("key exchange", &format!("{} (post-quantum, strict)", n.kex));
    line("host key", &format!("{} {}", n.host_key, host_key.public().fingerprint(HashAlgorithm::Sha256)));
    let [there, _] = n.protection;
    line("cipher", &format!("{}, by {}", there.cipher, provider::best().name()));
    line("login", &format!("{USER}, publickey"));
    Ok(())
}

fn run_command(client: &Client) -> Outcome<()> {
    let output = client.exec("greet konko")?;
    check(output.stdout == b"hello, konko\n" && output.exit == Exit::Status(7), "output and status arrive")?;
    line("exec", "\"greet konko\" printed \"hello, konko\" and ended with status 7");
    Ok(())
}

fn two_at_once(client: &Client) -> Outcome<()> {
    let (left, right) = (client.session()?, client.session()?);
    left.exec("cat")?;
    right.exec("cat")?;
    for turn in 0u8..100 {
        for (mut channel, word) in [(&left, [turn; 16]), (&right, [!turn; 16])] {
            channel.write_all(&word)?;
        }
        for (mut channel, word) in [(&right, [!turn; 16]), (&left, [turn; 16])] {
            let mut back = [0; 16];
            channel.read_exact(&mut back)?;
            check(back == word, "each channel gives back what was written to it")?;
        }
    }
    line("two channels", "100 words back and forth on each, in turn; none went astray");
    Ok(())
}

fn upload(client: &Client) -> Outcome<()> {
    let start = Instant::now();
    let channel = client.session()?;
    channel.exec("sha256")?;
    let bar = bar("upload");
    let sent = write_pattern(&mut &channel, STREAM, |n| bar.inc(n))?;
    channel.send_eof()?;
    let mut received = String::new();
    (&channel).read_to_string(&mut received)?;
    bar.finish_and_clear();
    report("upload", start.elapsed(), &sent, &received)
}

fn download(client: &Client) -> Outcome<()> {
    let start = Instant::now();
    let channel = client.session()?;
    channel.exec(format!("pattern {STREAM}"))?;
    let bar = bar("download");
    let received = digest_of(&channel, |n| bar.inc(n))?;
    bar.finish_and_clear();
    check(channel.wait()? == Exit::Status(0), "the download ended well")?;
    let took = start.elapsed();
    let sent = write_pattern(&mut io::sink(), STREAM, |_| {})?;
    report("download", took, &sent, &received)
}

/// Files of the tree, in each of its directories.
const FILES: usize = 100;
const DIRS: usize = 5;

fn tree(client: &Client) -> Outcome<()> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)?;
    let here = std::env::temp_dir().join(format!("konko-demo-{:016x}", u64::from_le_bytes(random)));
    let result = tree_in(client, &here);
    fs::remove_dir_all(&here)?;
    result
}

fn tree_in(client: &Client, here: &Path) -> Outcome<()> {
    let start = Instant::now();
    let mut bytes = 0;
    for dir in 0..DIRS {
        let dir = here.join(format!("from/{dir}"));
        fs::create_dir_all(&dir)?;
        for file in 0..FILES {
            let len = file as u64 * 400;
            write_pattern(&mut fs::File::create(dir.join(file.to_string()))?, len, |_| {})?;
            bytes += len;
        }
    }
    let sftp = client.sftp()?;
    let sent = sftp.put_tree(here.join("from"), "tree", &PutOptions::new(), Links::Skip)?;
    check(sent.is_complete() && sent.files as usize == DIRS * FILES, "the whole tree was uploaded")?;
    let listed = sftp.walk("tree").collect::<Result<Vec<_>, _>>()?;
    check(listed.len() == DIRS + DIRS * FILES, "all of it is listed")?;
    let got = sftp.get_tree("tree", here.join("back"), &GetOptions::new(), Links::Skip)?;
    check(got.is_complete() && got.bytes == bytes, "the whole tree came back")?;
    for dir in 0..DIRS {
        for file in 0..FILES {
            let name = format!("{dir}/{file}");
            let same = fs::read(here.join("from").join(&name))? == fs::read(here.join("back").join(&name))?;
            check(same, "each file is what it was")?;
        }
    }
    let ms = start.elapsed().as_millis();
    let (files, kib) = (got.files, bytes >> 10);
    line(
        "sftp",
        &format!("{files} files, {kib} KiB, in {DIRS} directories up, listed, down, compared in {ms} ms"),
    );
    Ok(())
}

fn report(name: &str, took: Duration, sent: &str, received: &str) -> Outcome<()> {
    check(sent == received, "the checksums of what was sent and received are equal")?;
    let rate = STREAM as f64 / took.as_secs_f64() / 1e9;
    line(name, &format!("{} MiB, {rate:.2} GB/s, SHA-256 {}… at both ends", STREAM >> 20, &sent[..16]));
    Ok(())
}

fn bar(name: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(STREAM), ProgressDrawTarget::stdout_with_hz(10));
    let style = ProgressStyle::with_template(
        "  {prefix:<13}{bar:30} {bytes} of {total_bytes}, {binary_bytes_per_sec}",
    );
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(name.to_owned());
    if !io::stdout().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    bar
}

// ---- both ----

fn line(name: &str, text: &str) {
    streams::line(format_args!("  {name:<13}{text}"));
}

fn check(ok: bool, claim: &str) -> Outcome<()> {
    if ok { Ok(()) } else { Err(format!("not true: {claim}").into()) }
}

fn new_key() -> Outcome<Arc<KeyPair>> {
    let key = PrivateKey::generate(KeyType::ED25519, &mut Rng::from_seed(&konko::seed_from_os()?))?;
    Ok(Arc::new(key.key_pair(provider::best())?))
}

fn hex(hash: Box<dyn Hash>) -> String {
    let digest = Digest::finish(HashAlgorithm::Sha256, hash);
    digest.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads everything; its SHA-256.
fn digest_of(mut from: impl Read, mut progress: impl FnMut(u64)) -> io::Result<String> {
    let mut hash = provider::best().hash(HashAlgorithm::Sha256);
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(hex(hash)),
            n => {
                hash.update(&buffer[..n]);
                progress(n as u64);
            }
        }
    }
}

/// Writes so many bytes that do not repeat; their SHA-256.
fn write_pattern(to: &mut impl Write, total: u64, mut progress: impl FnMut(u64)) -> io::Result<String> {
    let mut hash = provider::best().hash(HashAlgorithm::Sha256);
    let mut chunk = vec![0; 32 * 1024];
    let mut done = 0u64;
    while done < total {
        let n = (total - done).min(chunk.len() as u64) as usize;
        for (i, word) in chunk.chunks_mut(8).enumerate() {
            let value = (done / 8 + i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word.copy_from_slice(&value.to_le_bytes()[..word.len()]);
        }
        hash.update(&chunk[..n]);
        to.write_all(&chunk[..n])?;
        done += n as u64;
        progress(n as u64);
    }
    Ok(hex(hash))
}
