//! From a configuration to the options of a connection.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use konko_core::client::Password;
use konko_core::crypto::{Cipher, Compression, Kex, Mac};
use konko_core::hosts::UpdateHostKeys;
use konko_core::keys::{Certificate, PrivateKey, SignatureAlgorithm};
use konko_core::provider;
use konko_core::ssh_config::{Algorithms as List, Config, Wrong};
use konko_core::transport::Keepalive;
use konko_core::transport::limits::{Limits, RekeyLimit};
use konko_core::transport::negotiate::Policy;
use konko_core::wire::SshStr;

use super::answers;
use crate::agent::AgentSocket;
use crate::auth::{Auth, PasswordPrompt};
use crate::client::Client;
use crate::error::{Error, ErrorKind};
use crate::hosts::{HostKeys, KnownHostsFiles};
use crate::key_file;
use crate::options::{AddressFamily, ClientOptions};

/// What the user's configuration says of one host, and what comes of it.
///
/// [`options`](Self::options) and [`auth`](Self::auth) can be changed before they are used; what is said by code
/// then counts more than what the configuration says.
///
/// ```no_run
/// use konko::ssh_config::Configured;
///
/// let host = Configured::new("build")?;
/// let client = konko::Client::connect(host.address()?, host.options()?.address_family(konko::AddressFamily::Inet))?;
/// client.login(host.config().user(), host.auth())?;
/// # Ok::<(), konko::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Configured {
    config: Config,
}

impl Configured {
    /// Looks up a host, by the name that the user has for it, in `~/.ssh/config` and `/etc/ssh/ssh_config`.
    ///
    /// # Errors
    /// `Local`, with all that is wrong with the files.
    pub fn new(host: &str) -> Result<Self, Error> {
        let error = |text| Error::new(ErrorKind::Local(text), &Arc::from(host));
        let local = answers::local().map_err(|e| error(e.to_string()))?;
        let request = super::Request::new(local, host).algorithms(defaults());
        answers::lookup(request).map(Self::of).map_err(|e| error(e.to_string()))
    }

    /// With a configuration that was looked up by [`lookup`](super::lookup).
    pub fn of(config: Config) -> Self {
        Configured { config }
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The host's name or address, and its port.
    ///
    /// # Errors
    /// `Local`, if the name is not text.
    pub fn address(&self) -> Result<(String, u16), Error> {
        let host = String::from_utf8(self.config.host_name().to_vec());
        let host = host.map_err(|_| self.error("the host's name is not text".into()))?;
        Ok((host, self.config.port()))
    }

    fn error(&self, text: String) -> Error {
        Error::new(ErrorKind::Local(text), &Arc::from(SshStr::new(self.config.typed_host()).to_string()))
    }

    /// The options of the connection.
    ///
    /// # Errors
    /// `Local`, if the configuration asks for what would connect otherwise than it says, such as a proxy, or if konko
    /// has none of the algorithms of a list.
    pub fn options(&self) -> Result<ClientOptions, Error> {
        let config = &self.config;
        for keyword in ["ProxyCommand", "ProxyJump", "BindInterface"] {
            if !config.words(keyword).is_empty() {
                return Err(self.error(format!("{keyword} is not obeyed by connect yet")));
            }
        }
        client_options(config).map_err(|text| self.error(text))
    }

    /// How the user logs in, without anybody being asked: with the agent (`IdentityAgent`, `SSH_AUTH_SOCK`), and the
    /// files of keys that are there and open without a passphrase, under the certificates that are named or beside them.
    pub fn auth(&self) -> Auth<'static> {
        let config = &self.config;
        let auth = Auth::new().none();
        if config.words("PubkeyAuthentication") == [b"false"] {
            return auth;
        }
        let mut files = identity_files(config).unwrap_or_default();
        files.retain(|path| path.exists());
        keys(config, auth, files, |_| None, |_| ())
    }

    /// Connects, checks the host key, and logs in.
    ///
    /// # Errors
    /// As [`options`](Self::options), [`Client::connect`] and [`Client::login`].
    pub fn connect(&self) -> Result<Client, Error> {
        let client = Client::connect(self.address()?, self.options()?)?;
        client.login(self.config.user(), self.auth())?;
        Ok(client)
    }
}

impl Client {
    /// Connects to a host by the name that the user's own configuration has for it (`~/.ssh/config`,
    /// `/etc/ssh/ssh_config`), and logs in with the keys that are there. Nobody is asked for anything: see
    /// [`Configured`] to change what is done, and to have somebody asked.
    ///
    /// # Errors
    /// `Local`, for what is wrong with the configuration; as [`connect`](Self::connect) and [`login`](Self::login).
    pub fn connect_configured(host: &str) -> Result<Self, Error> {
        Configured::new(host)?.connect()
    }
}

/// The keys of a login in OpenSSH's order: those with a certificate that is named (`CertificateFile`), the agent's
/// (`IdentityAgent`, `IdentitiesOnly`), then those of `files`, each with the certificate beside its file unless some are named
/// (sshconnect2.c `pubkey_prepare`, ssh.c `load_public_identity_files`). `ask` is asked for passphrases; `warn` hears of
/// what is named and cannot be used.
pub fn keys<'a>(
    config: &Config,
    mut auth: Auth<'a>,
    files: Vec<PathBuf>,
    ask: impl FnMut(PasswordPrompt<'_>) -> Option<Password> + Copy + 'a,
    warn: impl Fn(&str),
) -> Auth<'a> {
    let named = certificate_files(config).unwrap_or_else(|e| {
        warn(&format!("CertificateFile: {e}"));
        Vec::new()
    });
    for path in &named {
        let bytes = key_file::read(path).ok();
        let read = bytes.and_then(|bytes| Some(Certificate::from_openssh_line(&bytes).ok()?.0));
        let Some(certificate) = read else {
            warn(&format!("{}: this is no certificate, or cannot be read; it is not used", path.display()));
            continue;
        };
        let mine = |file: &&PathBuf| {
            let public = key_file::read(file).ok().and_then(|bytes| PrivateKey::public_of(&bytes).ok());
            public.as_ref() == Some(certificate.key())
        };
        if let Some(file) = files.iter().find(mine) {
            auth = auth.certified_key_file_with(file, path, ask);
        }
    }
    let agent = config.words("IdentityAgent").first().map(|agent| OsStr::from_bytes(agent));
    if let Some(agent) = AgentSocket::named(agent) {
        auth = auth.agent(agent);
    }
    if config.flag("IdentitiesOnly") {
        auth = auth.identities_only();
    }
    files.into_iter().fold(auth, |auth, path| match named.is_empty() {
        true => auth.key_file_with(path, ask),
        false => auth.plain_key_file_with(path, ask),
    })
}

/// The algorithms that lists of a configuration change.
pub fn defaults() -> konko_core::transport::negotiate::Algorithms {
    Policy::Modern.algorithms(provider::best().fast_aes())
}

/// The paths of the files with keys, in order, with tokens replaced.
///
/// # Errors
/// What cannot be replaced in one of them.
pub fn identity_files(config: &Config) -> Result<Vec<PathBuf>, Wrong> {
    key_files(config, "IdentityFile")
}

/// The paths of the files with certificates that are named (`CertificateFile`), in order, with tokens replaced. Without
/// any, the one beside each key file counts.
///
/// # Errors
/// What cannot be replaced in one of them.
pub fn certificate_files(config: &Config) -> Result<Vec<PathBuf>, Wrong> {
    key_files(config, "CertificateFile")
}

fn key_files(config: &Config, keyword: &str) -> Result<Vec<PathBuf>, Wrong> {
    let path = |words: &[Vec<u8>]| {
        let path = words.first().map_or(&b""[..], Vec::as_slice);
        config.path(path, variable, |user| answers::home(user).map(OsStringExt::into_vec))
    };
    let said = config.settings(keyword).iter().map(|setting| setting.words());
    let said = said.filter(|words| !words.iter().any(|word| word.eq_ignore_ascii_case(b"none")));
    said.map(|words| path(words).map(|path| OsString::from_vec(path).into())).collect()
}

fn variable(name: &[u8]) -> Option<Vec<u8>> {
    std::env::var_os(OsStr::from_bytes(name)).map(OsStringExt::into_vec)
}

/// Names in lists of algorithms that konko does not have: they are left out.
pub fn left_out(config: &Config) -> Vec<(&'static str, &'static str)> {
    let known = |list, name: &str| match list {
        List::Ciphers => Cipher::from_name(name).is_some(),
        List::Macs => Mac::from_name(name).is_some(),
        List::Kex => Kex::from_name(name).is_some(),
        _ => SignatureAlgorithm::all().any(|a| a.name() == name),
    };
    let mut out = Vec::new();
    for (keyword, list) in LISTS {
        if config.says_algorithms(*list) {
            let missing = config.algorithms(*list).iter().filter(|name| !known(*list, name));
            out.extend(missing.map(|name| (*keyword, *name)));
        }
    }
    out
}

const LISTS: &[(&str, List)] = &[
    ("KexAlgorithms", List::Kex),
    ("Ciphers", List::Ciphers),
    ("MACs", List::Macs),
    ("HostKeyAlgorithms", List::HostKeys),
    ("CASignatureAlgorithms", List::Authorities),
    ("PubkeyAcceptedAlgorithms", List::UserKeys),
];

/// What konko has of a list.
fn chosen<A>(
    config: &Config,
    keyword: &str,
    list: List,
    find: impl Fn(&str) -> Option<A>,
) -> Result<Vec<A>, String> {
    let names = config.algorithms(list);
    let found: Vec<A> = names.iter().filter_map(|name| find(name)).collect();
    if found.is_empty() {
        return Err(format!("{keyword}: konko has none of {}", names.join(",")));
    }
    Ok(found)
}

fn algorithms(config: &Config) -> Result<konko_core::transport::negotiate::Algorithms, String> {
    let mut a = defaults();
    let signature = |name: &str| SignatureAlgorithm::all().find(|a| a.name() == name);
    if config.says_algorithms(List::Kex) {
        a.kex = chosen(config, "KexAlgorithms", List::Kex, Kex::from_name)?;
    }
    if config.says_algorithms(List::Ciphers) {
        a.set_ciphers(&chosen(config, "Ciphers", List::Ciphers, Cipher::from_name)?);
    }
    if config.says_algorithms(List::Macs) {
        a.set_macs(&chosen(config, "MACs", List::Macs, Mac::from_name)?);
    }
    if config.says_algorithms(List::HostKeys) {
        a.host_key = chosen(config, "HostKeyAlgorithms", List::HostKeys, signature)?;
    }
    if config.says_algorithms(List::UserKeys) {
        a.user_key = chosen(config, "PubkeyAcceptedAlgorithms", List::UserKeys, signature)?;
    }
    if config.flag("Compression") {
        a.set_compression(&[Compression::ZlibOpenssh, Compression::None]);
    }
    Ok(a)
}

/// The options of a connection as a configuration has them, but for how it comes about: a proxy, or the interface.
/// Where no limit in time is said, konko's own count.
///
/// # Errors
/// A text: konko has none of the algorithms of a list.
pub fn client_options(config: &Config) -> Result<ClientOptions, String> {
    let family = match config.words("AddressFamily").first().map(Vec::as_slice) {
        Some(b"inet") => AddressFamily::Inet,
        Some(b"inet6") => AddressFamily::Inet6,
        _ => AddressFamily::Any,
    };
    let mut options = ClientOptions::new()
        .algorithms(algorithms(config)?)
        .host_keys(known_hosts(config)?)
        .address_family(family)
        .keepalive(keepalive(config))
        .tcp_keepalive(config.flag("TCPKeepAlive"));
    if config.says_algorithms(List::HostKeys) {
        options = options.keep_host_key_order();
    }
    if let Some(alias) = config.words("HostKeyAlias").first() {
        options = options.host_key_alias(String::from_utf8_lossy(alias));
    }
    if let Some(address) = config.words("BindAddress").first() {
        let address = std::str::from_utf8(address).ok().and_then(|text| text.parse().ok());
        options = options.bind_address(address.ok_or("BindAddress: it is no address of this machine")?);
    }
    let bytes = config.number("RekeyLimit").unwrap_or(0);
    let mut rekey = RekeyLimit::default();
    if bytes > 0 {
        rekey.bytes = bytes;
    }
    if let Some(seconds) = config.rekey_time() {
        rekey.time = Duration::from_secs(seconds);
    }
    options = options.rekey(rekey);
    if let Some(seconds) = config.number("ConnectTimeout").filter(|seconds| *seconds > 0) {
        let t = Duration::from_secs(seconds);
        let limits = Limits::new().ident_timeout(t).kex_timeout(t);
        options = options.connect_timeout(Some(t)).handshake_timeout(Some(t)).limits(limits);
    }
    // As in OpenSSH, no key is smaller than 1024 bits.
    let bits = config.number("RequiredRSASize").and_then(|bits| usize::try_from(bits).ok());
    options = options.required_rsa_size(bits.unwrap_or(2048).max(1024));
    if config.flag("AllowTerrapin") {
        options = options.insecure_allow_terrapin();
    }
    Ok(options)
}

/// Whether the server is still there is asked only where the configuration says so.
fn keepalive(config: &Config) -> Option<Keepalive> {
    let interval = config.number("ServerAliveInterval").filter(|seconds| *seconds > 0)?;
    let count = config.number("ServerAliveCountMax").and_then(|count| u32::try_from(count).ok()).unwrap_or(3);
    Some(Keepalive::new().interval(Duration::from_secs(interval)).count(count))
}

/// The files of known hosts, and what they are used for. Nobody is asked: of `StrictHostKeyChecking`, `ask` is as
/// strict as `yes`, and of `UpdateHostKeys` it changes nothing.
///
/// # Errors
/// A text: a token of `KnownHostsCommand` that cannot be replaced.
pub fn known_hosts(config: &Config) -> Result<KnownHostsFiles, String> {
    let paths = |keyword| {
        let words = config.words(keyword).iter();
        words.map(|path| PathBuf::from(OsString::from_vec(path.clone()))).collect::<Vec<_>>()
    };
    let files = HostKeys::known_hosts()
        .user_files(paths("UserKnownHostsFile"))
        .global_files(paths("GlobalKnownHostsFile"))
        .hash_names(config.flag("HashKnownHosts"))
        .check_host_ip(config.flag("CheckHostIP"))
        .revoked_host_keys(paths("RevokedHostKeys"))
        .update_host_keys(if config.flag("UpdateHostKeys") {
            UpdateHostKeys::Yes
        } else {
            UpdateHostKeys::No
        });
    let command = config.known_hosts_command(variable).map_err(|e| format!("KnownHostsCommand: {e}"))?;
    let files = match command {
        Some(words) => files.known_hosts_command(words.into_iter().map(OsString::from_vec)),
        None => files,
    };
    let files = match config.says_algorithms(List::Authorities) {
        true => {
            let list = List::Authorities;
            files.authority_algorithms(chosen(
                config,
                "CASignatureAlgorithms",
                list,
                SignatureAlgorithm::from_name,
            )?)
        }
        false => files,
    };
    Ok(match config.words("StrictHostKeyChecking").first().map(Vec::as_slice) {
        Some(b"accept-new") => files.accept_new(),
        Some(b"false") => files.accept_new().insecure_accept_changed(),
        _ => files,
    })
}
