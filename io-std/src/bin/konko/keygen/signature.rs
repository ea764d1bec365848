//! `-Y`: signatures of files (PROTOCOL.sshsig).

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use konko::core::keys::PublicKey;
use konko::core::krl::RevokedKeys;
use konko::core::provider;
use konko::core::sshsig::{
    AllowedSigners, HashKind, Hashing, MessageHash, Namespace, SshSig, ToSign, time_from_text,
};
use konko::{Agent, AgentSocket, KeyPair, Rng, SshStr};

use super::ask::{private_key, reason};
use super::revocation::public_key;
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// Sign files (sign), or check a signature: verify, find-principals, match-principals, check-novalidate
    #[arg(short = 'Y', value_name = "TASK")]
    pub task: Option<String>,
    /// The file of revoked keys, for -Y verify
    #[arg(short = 'r', value_name = "FILE")]
    pub revoked: Option<PathBuf>,
}

/// `-Y`
pub fn run(args: &Args) -> Result<(), Failure> {
    match args.signature.task.as_deref().unwrap_or_default() {
        "sign" => sign(args),
        "verify" => {
            let (signature, namespace) = (args.signature("verify")?, args.namespace("verify")?);
            let allowed = args.allowed("verify")?;
            let principal = args.identity.as_ref();
            let principal = principal.ok_or_else(|| few("verify", "principal identity"))?;
            verify(args, &signature, &namespace, Some((allowed, principal)))
        }
        "check-novalidate" => {
            let namespace = args.namespace("check-novalidate")?;
            verify(args, &args.signature("check-novalidate")?, &namespace, None)
        }
        "find-principals" => find(args),
        "match-principals" => matching(args),
        other => Err(Failure::one(format_args!("Unsupported operation for -Y: \"{other}\""))),
    }
}

fn few(task: &str, what: &str) -> Failure {
    Failure::one(format_args!("Too few arguments for {task}: missing {what}"))
}

impl Args {
    fn namespace(&self, task: &str) -> Result<Namespace, Failure> {
        let given = self.names.as_ref().and_then(|name| Namespace::new(name.as_bytes()));
        given.ok_or_else(|| few(task, "namespace"))
    }

    /// Says something on standard error, unless it was asked not to.
    fn note(&self, text: impl std::fmt::Display) {
        if !self.quiet {
            streams::say(&text.to_string());
        }
    }

    fn signature(&self, task: &str) -> Result<PathBuf, Failure> {
        self.with.clone().ok_or_else(|| few(task, "signature file"))
    }

    fn allowed(&self, task: &str) -> Result<&Path, Failure> {
        self.file.as_deref().ok_or_else(|| few(task, "allowed keys file"))
    }
}

/// What `-O` says.
struct Options {
    hash: HashKind,
    time: u64,
    print_key: bool,
}

impl Options {
    fn of(args: &Args, allowed: &[&str]) -> Result<Self, Failure> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut options = Options { hash: HashKind::default(), time: now, print_key: false };
        for option in &args.options {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            let name = name.to_ascii_lowercase();
            if !allowed.contains(&&name[..]) {
                return Err(format!("Invalid option \"{option}\"").into());
            }
            match &name[..] {
                "hashalg" => {
                    let hash = HashKind::from_name(value.as_bytes());
                    options.hash = hash.ok_or("unsupported hash algorithm: there are sha256 and sha512")?;
                }
                "verify-time" => {
                    let time = time_from_text(value.as_bytes()).filter(|time| *time > 0);
                    options.time = time.ok_or("Invalid \"verify-time\" option")?;
                }
                _ => options.print_key = true,
            }
        }
        Ok(options)
    }
}

fn sign(args: &Args) -> Result<(), Failure> {
    let namespace = args.namespace("sign")?;
    let path = args.file.as_ref().ok_or_else(|| few("sign", "key"))?;
    let stdin = args.words.is_empty() || args.words.iter().any(|word| word == "-");
    if stdin && args.words.len() > 1 {
        return Err("Cannot sign mix of paths and standard input".into());
    }
    let options = Options::of(args, &["hashalg"])?;
    let (public, _) = public_key(path)?;
    let mut signer = Signer::of(args, path, &public)?;
    let mut signed = |hash: &MessageHash| -> Result<SshSig, Failure> {
        signer.sign(ToSign::new(&public, &namespace, hash)?)
    };
    if stdin {
        args.note("Signing data on standard input");
        let signature = signed(&hashed(&mut streams::stdin()?, options.hash)?)?;
        std::io::Write::write_all(&mut streams::stdout()?, signature.to_armored().as_bytes())?;
        return Ok(());
    }
    for file in args.words.iter().map(Path::new) {
        args.note(format_args!("Signing file {}", file.display()));
        let opened = File::open(file);
        let mut opened =
            opened.map_err(|e| format!("Cannot open {} for signing: {}", file.display(), reason(&e)))?;
        let signature = signed(&hashed(&mut opened, options.hash)?)?;
        let beside = beside(file);
        if args.may_overwrite(&beside)? {
            konko::key_file::write_public(
                &beside,
                signature.to_armored().as_bytes(),
                konko::key_file::Existing::Replace,
            )
            .map_err(|e| format!("Cannot write to {}: {}", beside.display(), reason(&e)))?;
            args.note(format_args!("Write signature to {}", beside.display()));
        }
    }
    Ok(())
}

/// Who signs.
enum Signer {
    Agent(Agent),
    File(KeyPair, Box<Rng>),
}

impl Signer {
    /// The agent, if it has the key, else the key file, unless it has to be the agent (-U).
    fn of(args: &Args, path: &Path, public: &PublicKey) -> Result<Self, Failure> {
        let agent = AgentSocket::from_env().map(|socket| Agent::connect(&socket));
        match agent {
            Some(Ok(mut agent)) => {
                let blob = public.to_blob();
                let has = agent.identities().is_ok_and(|all| all.iter().any(|one| one.blob == blob));
                if has {
                    return Ok(Signer::Agent(agent));
                }
                if args.agent {
                    return Err("Couldn't find key in agent".into());
                }
            }
            _ if args.agent => return Err("Couldn't get agent socket".into()),
            _ => {}
        }
        let private = private_key(&private_path(path)?, args.change.old.as_ref())?;
        if *private.public() != public.plain() {
            return Err(format!("Public key {} doesn't match private", path.display()).into());
        }
        let rng = Rng::from_seed(&konko::seed_from_os()?);
        Ok(Signer::File(private.key_pair(provider::best())?, Box::new(rng)))
    }

    fn sign(&mut self, what: ToSign) -> Result<SshSig, Failure> {
        match self {
            Signer::Agent(agent) => {
                let blob = agent.sign(&what.key().to_blob(), what.algorithm(), what.data())?;
                Ok(what.signed(blob)?)
            }
            Signer::File(pair, rng) => Ok(what.sign(pair, rng)?),
        }
    }
}

fn beside(file: &Path) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(".sig");
    name.into()
}

/// Where the private key of a public one, or of a certificate, is.
fn private_path(path: &Path) -> Result<PathBuf, Failure> {
    let bytes = path.as_os_str().as_bytes();
    let public = [&b"-cert.pub"[..], b".pub"].iter().find_map(|end| bytes.strip_suffix(*end));
    let Some(private) = public.filter(|name| !name.is_empty()) else { return Ok(path.to_owned()) };
    let private = PathBuf::from(OsStr::from_bytes(private));
    if private.exists() {
        Ok(private)
    } else {
        Err(format!("No private key found for public key \"{}\"", path.display()).into())
    }
}

fn hashed(from: &mut impl Read, kind: HashKind) -> Result<MessageHash, Failure> {
    let mut hashing = Hashing::new(kind);
    let mut piece = vec![0; 64 * 1024];
    loop {
        match from.read(&mut piece) {
            Ok(0) => return Ok(hashing.finish()),
            Ok(n) => hashing.update(&piece[..n]),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e.into()),
        }
    }
}

fn load(path: &Path) -> Result<SshSig, Failure> {
    let bytes = read(path).map_err(|e| format!("Couldn't read signature file: {e}"))?;
    SshSig::from_armored(&bytes).map_err(|e| format!("{}: {e}", path.display()).into())
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|e| format!("{}: {}", path.display(), reason(&e)))
}

fn signers(path: &Path) -> Result<AllowedSigners, Failure> {
    let bytes =
        read(path).map_err(|e| format!("Unable to open allowed keys file \"{}\": {e}", path.display()))?;
    let signers = AllowedSigners::parse(path.as_os_str().as_bytes(), &bytes)?;
    signers.warnings().iter().for_each(|warning| streams::say(&warning.to_string()));
    Ok(signers)
}

fn verify(
    args: &Args,
    signature: &Path,
    namespace: &Namespace,
    allowed: Option<(&Path, &OsString)>,
) -> Result<(), Failure> {
    let options = Options::of(args, &["verify-time", "print-pubkey"]);
    let principal = allowed.map(|(_, principal)| principal.as_bytes());
    let checked = || -> Result<(PublicKey, Options), Failure> {
        let options = options?;
        let signature = load(signature)?;
        let hash = hashed(&mut streams::stdin()?, signature.hash())?;
        let key = signature.verify(provider::best(), namespace, &hash)?;
        if let Some(file) = args.signature.revoked.as_ref().filter(|_| principal.is_some()) {
            let unreadable = |why: String| format!("{}: {why}", file.display());
            let revoked = RevokedKeys::parse(&read(file)?).map_err(|e| unreadable(e.to_string()))?;
            if let Some(by) = revoked.check_key(key) {
                return Err(unreadable(format!("the key is revoked by {by}")).into());
            }
        }
        if let Some((file, principal)) = allowed {
            signers(file)?.check(
                provider::best(),
                key,
                principal.as_bytes(),
                namespace.as_bytes(),
                options.time,
            )?;
        }
        Ok((key.clone(), options))
    };
    let (key, options) = match checked() {
        Ok(found) => found,
        Err(Failure { text, .. }) => {
            streams::say(&text);
            args.tell("Could not verify signature.");
            return Err("".into());
        }
    };
    let of = principal.map_or_else(String::new, |name| format!("for {} ", SshStr::new(name)));
    let (word, fingerprint) = (key.key_type().short_name(), key.fingerprint(args.hash));
    let namespace = SshStr::new(namespace.as_bytes());
    args.tell(format_args!("Good \"{namespace}\" signature {of}with {word} key {fingerprint}"));
    if options.print_key {
        streams::try_line(key.to_openssh_line(""))?;
    }
    Ok(())
}

fn find(args: &Args) -> Result<(), Failure> {
    let signature = args.signature("find-principals")?;
    let allowed = args.allowed("find-principals")?;
    let options = Options::of(args, &["verify-time"])?;
    let nobody = || Failure::from("No principal matched.");
    let found = || -> Result<Vec<Vec<u8>>, Failure> {
        let key = load(&signature)?.key().clone();
        let signers = signers(allowed)?;
        let names =
            signers.principals_of(provider::best(), &key, options.time).ok_or_else(|| Failure::from(""))?;
        Ok(names)
    };
    let names = found().map_err(|Failure { text, .. }| {
        if !text.is_empty() {
            streams::say(&text);
        }
        nobody()
    })?;
    names.iter().try_for_each(|name| streams::try_line(SshStr::new(name)))?;
    Ok(())
}

fn matching(args: &Args) -> Result<(), Failure> {
    let allowed = args.allowed("match-principals")?;
    let principal = args.identity.as_ref();
    let principal = principal.ok_or_else(|| few("match-principals", "principal ID"))?;
    Options::of(args, &[])?;
    let signers = signers(allowed)?;
    let mut names = signers.matching(principal.as_bytes()).peekable();
    if names.peek().is_none() {
        // OpenSSH's code for a key that is not found.
        return Err(Failure { text: "No principal matched.".into(), code: 210 });
    }
    names.try_for_each(streams::try_line)?;
    Ok(())
}
