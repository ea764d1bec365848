//! `konko serve`: an SSH server.

mod builtin;
mod file;
mod penalties;
mod settings;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use konko::core::auth::{Method, MethodSet};
use konko::core::crypto::HashAlgorithm;
use konko::core::keys::{Certificate, KeyPair, KeyType, PrivateKey};
use konko::key_file::Existing;
use konko::server::process::Account;
use konko::server::users::{Authorities, KeyFile, Users};
use konko::server::{Programs, Server, ServerOptions, Service, System, serve};
use konko::sftp::Root;
use konko::{Error, ErrorKind, FdStream, Rng};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::streams;
use crate::values::expand;
use settings::Settings;

/// How long sessions get to finish after a signal; a second signal cuts them.
const GRACE: Duration = Duration::from_secs(10);

/// Where it listens if nothing else is said.
const LISTEN: &str = "127.0.0.1:2222";

/// The largest key file that is read, in bytes.
const MAX_KEY_FILE: u64 = 1 << 20;

/// Options of `konko serve`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// Where to listen: 127.0.0.1:2222 unless the file of -f says; port 0 is any free one, and is printed
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// A sshd_config; what it asks for and konko does not have is an error where it restricts anybody
    #[arg(short = 'f', value_name = "FILE")]
    config: Option<PathBuf>,
    /// Host key file; any number of times. Without one, a key is made once and kept under ~/.local/state/konko
    #[arg(long, value_name = "FILE")]
    host_key: Vec<PathBuf>,
    /// Certificate of a host key, shown beside it; any number of times (HostCertificate)
    #[arg(long, value_name = "FILE")]
    host_certificate: Vec<PathBuf>,
    /// Lets in certificates by the authorities in this file, under the names that they are for
    /// (TrustedUserCAKeys); any number of times
    #[arg(long, value_name = "FILE")]
    trusted_ca: Vec<PathBuf>,
    /// File of the principals that count in the place of the user's name, %u in its name
    /// (AuthorizedPrincipalsFile)
    #[arg(long, value_name = "FILE")]
    authorized_principals: Option<PathBuf>,
    /// Keys and certificates that let nobody in: a key revocation list, or public keys (RevokedKeys)
    #[arg(long, value_name = "FILE")]
    revoked_keys: Option<PathBuf>,
    /// Lets in the keys of this file, under any user name
    #[arg(long, value_name = "FILE")]
    authorized_keys: Vec<PathBuf>,
    /// Lets in users by password: lines `user:argon2-hash`, or `user:plain:PASSWORD`
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// What users may run: everything, in the shell of who runs the server; nothing; or a small
    /// table of harmless commands
    #[arg(long, value_enum, default_value_t = Exec::Shell)]
    exec: Exec,
    /// The folder that SFTP clients see, and cannot leave; programs start in it. Each session gets what has
    /// the path then. Without it, SFTP clients see what users of the shell see; without a shell, there is
    /// no SFTP
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// SFTP clients can change nothing
    #[arg(long)]
    read_only: bool,
    /// End what commands and shells leave behind, half a second after their session; otherwise it lives
    /// on, as under sshd
    #[arg(long)]
    kill_user_processes: bool,
    /// Serve one connection on standard input and output, as a ProxyCommand does
    #[arg(long)]
    inetd: bool,
    /// Groups for the group exchange, as -o ModuliFile: /etc/ssh/moduli, if there is one
    #[arg(long, value_name = "FILE")]
    moduli: Option<std::path::PathBuf>,
    /// An option as in sshd_config; any number of times
    #[arg(short, value_name = "KEY=VALUE")]
    option: Vec<std::ffi::OsString>,
    /// Say on standard error what happens, a line each
    #[arg(short, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Exec {
    Shell,
    None,
    Builtin,
}

/// Runs the command.
pub fn run(args: &Args) -> ExitCode {
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            say(&text);
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    streams::say(&format!("konko serve: {text}"));
}

fn start(args: &Args) -> Result<(), String> {
    let mut settings = Settings::default();
    settings.moduli.clone_from(&args.moduli);
    for option in &args.option {
        settings.set(option)?;
    }
    let mut args = args.clone();
    let said = match &args.config {
        Some(path) => file::read(&expand(path), &mut settings)?,
        None => file::FromFile::default(),
    };
    // What is typed counts first.
    if args.host_key.is_empty() {
        args.host_key.clone_from(&said.host_keys);
    }
    args.authorized_keys.extend(said.authorized_keys.iter().cloned());
    let listen = args.listen.clone().or(said.listen).unwrap_or_else(|| LISTEN.to_owned());
    if args.verbose > 0 {
        said.notes.iter().for_each(|note| say(note));
    }
    let args = &args;
    let users = users(args, &settings)?;
    let options = certified(options(args)?, args, &settings)?;
    let mut options = settings.apply(options, usable(args, &settings, &users))?;
    if args.verbose > 0 {
        options = options.on_notice(|notice| say(&notice.to_string()));
    }
    let mut service = Service::new(Arc::new(users), Arc::new(programs(args)?));
    if settings.user_environment == Some(true) {
        service = service.permit_user_environment();
    }
    let gate = move || file::Gate::new(service.clone(), Arc::clone(&said.config));
    if args.inetd {
        return inetd(options, gate());
    }
    let server =
        Server::listen(&listen[..], options, move |_| gate()).map_err(|e| format!("{listen}: {e}"))?;
    // Whoever started it waits for this line.
    let told = streams::try_line(format_args!("listening on {}", server.local_addr()));
    told.map_err(|e| format!("standard output: {e}"))?;
    until_signal(server)
}

/// Waits for a signal, then stops.
fn until_signal(server: Server) -> Result<(), String> {
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(|e| e.to_string())?;
    let handle = signals.handle();
    signals.forever().next();
    let left = server.connections().len();
    if left > 0 {
        say(&format!("stopping; {left} connections get {} s, a second signal cuts them", GRACE.as_secs()));
    }
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(1);
        }
    });
    let clean = server.shutdown(GRACE);
    handle.close();
    if clean { Ok(()) } else { Err("a program did not end".into()) }
}

fn inetd(options: ServerOptions, service: file::Gate) -> Result<(), String> {
    let stream = rustix::stdio::stdin()
        .try_clone_to_owned()
        .and_then(|stdin| Ok((stdin, rustix::stdio::stdout().try_clone_to_owned()?)))
        .and_then(|(stdin, stdout)| FdStream::pair(stdin, stdout))
        .map_err(|e| format!("standard input and output: {e}"))?;
    match serve(stream, options, |_| service) {
        Err(e) if !hung_up(&e) => Err(e.to_string()),
        _ => Ok(()),
    }
}

/// Whether the client ended the connection, as clients do.
fn hung_up(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Ssh(konko::core::Error::Disconnected(_)))
}

fn options(args: &Args) -> Result<ServerOptions, String> {
    if args.host_key.is_empty() {
        let key = kept_host_key()?;
        let options = ServerOptions::new([key]);
        return Ok(options);
    }
    let keys: Result<Vec<_>, String> = args.host_key.iter().map(|path| host_key(&expand(path))).collect();
    Ok(ServerOptions::new(keys?))
}

/// The same with the certificates of host keys.
fn certified(mut options: ServerOptions, args: &Args, settings: &Settings) -> Result<ServerOptions, String> {
    for path in args.host_certificate.iter().chain(&settings.host_certificates) {
        let path = expand(path);
        let failed = |e: &dyn std::fmt::Display| format!("host certificate {}: {e}", path.display());
        let bytes = konko::key_file::read(&path).map_err(|e| failed(&e))?;
        let (certificate, _) = Certificate::from_openssh_line(&bytes).map_err(|e| failed(&e))?;
        options = options.host_certificate(&certificate).map_err(|e| failed(&e))?;
    }
    Ok(options)
}

/// The host key of this user's servers: made the first time, and kept, so that clients know the server again.
fn kept_host_key() -> Result<Arc<KeyPair>, String> {
    let state = std::env::var_os("XDG_STATE_HOME").filter(|path| Path::new(path).is_absolute());
    let folder = state.map_or_else(|| expand("~/.local/state"), PathBuf::from).join("konko");
    let path = folder.join("ssh_host_ed25519_key");
    let failed = |e: &dyn std::fmt::Display| format!("host key {}: {e}", path.display());
    if !path.exists() {
        std::fs::create_dir_all(&folder).map_err(|e| failed(&e))?;
        let mut rng = Rng::from_seed(&konko::seed_from_os().map_err(|e| failed(&e))?);
        let key = PrivateKey::generate(KeyType::ED25519, &mut rng).map_err(|e| failed(&e))?;
        let text = key.to_openssh(None, &mut rng).map_err(|e| failed(&e))?;
        match konko::key_file::write_private(&path, text.as_bytes(), Existing::Keep) {
            // Another one that starts now has made it.
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(failed(&e)),
            _ => {}
        }
    }
    let key = host_key(&path)?;
    let (kind, fingerprint) = (key.public().key_type(), key.public().fingerprint(HashAlgorithm::Sha256));
    say(&format!("the host key is kept in {}: {kind} {fingerprint}", path.display()));
    Ok(key)
}

fn host_key(path: &Path) -> Result<Arc<KeyPair>, String> {
    use io::Read;
    let failed = |e: &dyn std::fmt::Display| format!("host key {}: {e}", path.display());
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(|e| failed(&e))?;
    file.take(MAX_KEY_FILE).read_to_end(&mut bytes).map_err(|e| failed(&e))?;
    let key = PrivateKey::load(&bytes, None).map_err(|e| failed(&e))?;
    key.key_pair(konko::core::provider::best()).map(Arc::new).map_err(|e| failed(&e))
}

fn users(args: &Args, settings: &Settings) -> Result<Users, String> {
    let mut users = Users::new();
    users.on_warning(|text| say(&format!("warning: {text}")));
    if let Some(path) = &args.password_file {
        users.add_password_file(expand(path)).map_err(|e| e.to_string())?;
    }
    for path in &args.authorized_keys {
        users.add_key_file(KeyFile::new(expand(path)));
    }
    users.certificates(authorities(args, settings));
    for path in args.revoked_keys.iter().chain(&settings.revoked_keys) {
        users.revoked_keys(expand(path));
    }
    if let Some(policy) = settings.touch {
        users.security_keys(policy);
    }
    if users.is_empty() {
        return Err("nobody could log in: give --authorized-keys, --trusted-ca or --password-file".into());
    }
    if let Some(methods) = &settings.methods {
        users.require(methods.clone());
    }
    Ok(users)
}

/// Who signs the certificates of users.
fn authorities(args: &Args, settings: &Settings) -> Authorities {
    let files = args.trusted_ca.iter().chain(&settings.trusted_ca);
    let mut authorities =
        files.fold(Authorities::new(), |all, path| all.key_file(KeyFile::new(expand(path))));
    if let Some(path) = args.authorized_principals.as_ref().or(settings.principals.as_ref()) {
        authorities = authorities.principals_file(expand(path));
    }
    if let Some(algorithms) = &settings.ca_algorithms {
        authorities = authorities.algorithms(algorithms.iter().copied());
    }
    match settings.rsa_size {
        Some(bits) => authorities.required_rsa_size(bits),
        None => authorities,
    }
}

/// The methods that somebody can log in with.
fn usable(args: &Args, settings: &Settings, users: &Users) -> MethodSet {
    let keys = [&args.authorized_keys, &args.trusted_ca, &settings.trusted_ca];
    let able = |method: &Method| match method {
        Method::PublicKey => keys.iter().any(|files| !files.is_empty()),
        _ => args.password_file.is_some(),
    };
    users.methods().iter().filter(able).collect()
}

fn programs(args: &Args) -> Result<Programs, String> {
    let programs = match args.exec {
        Exec::None => Programs::new(),
        Exec::Builtin => builtin::programs(),
        Exec::Shell => {
            let mut system = System::new();
            if let Some(dir) = &args.root {
                system = system.dir(dir);
            }
            if args.kill_user_processes {
                system = system.kill_user_processes();
            }
            Programs::new().system(system)
        }
    };
    Ok(match sftp_root(args)? {
        Some(root) => programs.sftp(root),
        None => programs,
    })
}

/// What SFTP clients see.
fn sftp_root(args: &Args) -> Result<Option<Root>, String> {
    let root = match (&args.root, args.exec) {
        (Some(dir), _) => Root::open(dir).map_err(|e| format!("--root {}: {e}", dir.display()))?,
        // Whoever has the shell can do the same with it.
        (None, Exec::Shell) => {
            let home = Account::current().home;
            Root::host(&home).map_err(|e| format!("the home folder {}: {e}", home.display()))?
        }
        (None, _) if args.read_only => return Err("--read-only needs --root".into()),
        (None, _) => return Ok(None),
    };
    if !args.read_only {
        return Ok(Some(root));
    }
    if args.exec == Exec::Shell {
        say("warning: --read-only is for SFTP; users can still write with the shell (see --exec)");
    }
    Ok(Some(root.read_only()))
}
