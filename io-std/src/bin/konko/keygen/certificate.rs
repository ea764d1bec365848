//! Certificates: `-s` issues them, `-L` shows them.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use konko::core::keys::{
    Certificate, CertificateKind, CertificateOption, CertificateRequest, KeyType, PrivateKey, PublicKey,
    SignatureAlgorithm, Validity,
};
use konko::core::text::{Limits, lines};
use konko::core::wire::{Reader, Sink};
use konko::key_file::{self, Existing};
use konko::{Rng, SshStr};

use super::ask::{private_key, read, reason};
use super::{Args, Failure};
use crate::streams;

#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Flags {
    /// With -s, make a host certificate instead of a user certificate
    #[arg(short = 'h')]
    host: bool,
    /// When the certificate is valid: +52w from now on, or two times such as 20260101Z:forever, in UTC
    #[arg(short = 'V', value_name = "VALIDITY", allow_hyphen_values = true)]
    validity: Option<String>,
    /// Show certificates
    #[arg(short = 'L')]
    pub show: bool,
}

/// What a user's certificate permits unless something is said (ssh-keygen(1), CERTIFICATES).
const PERMISSIONS: [&str; 5] = [
    "permit-X11-forwarding",
    "permit-agent-forwarding",
    "permit-port-forwarding",
    "permit-pty",
    "permit-user-rc",
];

/// `-s`
pub fn sign(args: &Args) -> Result<(), Failure> {
    let flags = &args.certificate;
    let authority_path = args.with.as_ref().ok_or("the key of a certificate authority is needed: -s")?;
    let identity =
        args.identity.as_ref().ok_or_else(|| Failure::from("Must specify key id (-I) when certifying"))?;
    if args.words.is_empty() {
        return Err("give the public keys that are to be certified".into());
    }
    let authority = private_key(authority_path, args.change.old.as_ref())?;
    let algorithm = algorithm(args, &authority)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let validity = match &flags.validity {
        Some(text) => Validity::parse(text, now)?,
        None => Validity::new(0, u64::MAX),
    };
    let (mut serial, counts_up) = serial(args.number.as_deref())?;
    let options = Options::read(&args.options, flags.host)?;
    let authority = authority.key_pair(konko::core::provider::best())?;
    let mut rng = Rng::from_seed(&konko::seed_from_os()?);
    let principals = principals(args)?;
    for word in &args.words {
        let path = Path::new(word);
        let (key, comment) = public_key(path)?;
        let kind = if flags.host { CertificateKind::Host } else { CertificateKind::User };
        let request = CertificateRequest::new(kind, &key)
            .key_id(std::os::unix::ffi::OsStrExt::as_bytes(identity.as_os_str()))
            .serial(serial)
            .principals(&principals)
            .valid(validity.after(), validity.before());
        let certificate = options.apply(request).sign(&authority, algorithm, &mut rng)?;
        let out = certificate_file(path);
        let line = certificate.to_openssh_line(&comment) + "\n";
        key_file::write_public(&out, line.as_bytes(), Existing::Replace)
            .map_err(|e| format!("Unable to save public key to {}: {}", out.display(), reason(&e)))?;
        told(args, &certificate, &out);
        serial = if counts_up { serial.wrapping_add(1) } else { serial };
    }
    Ok(())
}

/// What was done, on standard error as ssh-keygen says it.
fn told(args: &Args, certificate: &Certificate, out: &Path) {
    if args.quiet {
        return;
    }
    let names: Vec<String> = certificate.principals().map(|name| SshStr::new(name).to_string()).collect();
    let names = if names.is_empty() { String::new() } else { format!(" for {}", names.join(",")) };
    let kind = certificate.kind();
    streams::say(&format!(
        "Signed {kind} key {}: id \"{}\" serial {}{names} valid {}",
        out.display(),
        certificate.key_id(),
        certificate.serial(),
        certificate.validity()
    ));
}

/// `-t`, of an authority with an RSA key the algorithm.
fn algorithm(args: &Args, authority: &PrivateKey) -> Result<Option<SignatureAlgorithm>, Failure> {
    if authority.public().key_type() != KeyType::RSA {
        return Ok(None);
    }
    let name = args.generate.key_type();
    let named = authority.public().signature_algorithms().iter().find(|a| a.name() == name).copied();
    Ok(named)
}

/// `-n`
fn principals(args: &Args) -> Result<Vec<Vec<u8>>, Failure> {
    let Some(names) = &args.names else { return Ok(Vec::new()) };
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(names.as_os_str());
    let names: Vec<Vec<u8>> = bytes.split(|b| *b == b',').map(<[u8]>::to_vec).collect();
    if names.iter().any(Vec::is_empty) { Err("Empty principal name".into()) } else { Ok(names) }
}

/// `-z`: a number, and whether each further certificate has the next one.
fn serial(text: Option<&str>) -> Result<(u64, bool), Failure> {
    let Some(text) = text else { return Ok((0, false)) };
    let (digits, counts_up) = text.strip_prefix('+').map_or((text, false), |digits| (digits, true));
    let number = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit()));
    let number = number.ok_or_else(|| Failure::from(format!("Invalid serial number \"{text}\"")))?;
    Ok((number, counts_up))
}

/// A public key file, and its comment.
fn public_key(path: &Path) -> Result<(PublicKey, String), Failure> {
    let bytes = read(path)?;
    let failed = |e| Failure::from(format!("load pubkey \"{}\": {e}", path.display()));
    let (key, comment) = PublicKey::from_openssh_line(bytes.trim_ascii()).map_err(failed)?;
    Ok((key, String::from_utf8_lossy(comment.as_bytes()).into_owned()))
}

/// `id_x.pub` and `id_x` have `id_x-cert.pub`.
fn certificate_file(path: &Path) -> PathBuf {
    let stem = path.extension().filter(|e| *e == "pub").map_or(path.to_owned(), |_| path.with_extension(""));
    key_file::certificate_path(stem)
}

/// `-O`
#[derive(Default)]
struct Options {
    extensions: Vec<(String, Vec<u8>)>,
    critical: Vec<(String, Vec<u8>)>,
}

impl Options {
    fn read(list: &[String], host: bool) -> Result<Self, Failure> {
        let mut options = Options::default();
        // A host's says nothing of what is permitted.
        let default = if host { &[][..] } else { &PERMISSIONS[..] };
        let mut permitted: Vec<&str> = default.to_vec();
        for option in list {
            options.take(option, &mut permitted)?;
        }
        options.extensions.extend(permitted.iter().map(|name| ((*name).to_owned(), Vec::new())));
        Ok(options)
    }

    fn take(&mut self, option: &str, permitted: &mut Vec<&str>) -> Result<(), Failure> {
        let lower = option.to_ascii_lowercase();
        let set = |permitted: &mut Vec<&str>, name: &'static str, on: bool| {
            permitted.retain(|known| *known != name);
            if on {
                permitted.push(name);
            }
        };
        let verify = "verify-required";
        match &lower[..] {
            "clear" => permitted.clear(),
            "touch-required" | "no-touch-required" => {
                set(permitted, "no-touch-required", lower.starts_with("no-"))
            }
            "verify-required" | "no-verify-required" => {
                self.critical.retain(|(name, _)| name != verify);
                if lower == verify {
                    self.critical.push((verify.into(), Vec::new()));
                }
            }
            _ => {
                let known = |name: &&&str| {
                    let short = name.strip_prefix("permit-").unwrap_or(name).to_ascii_lowercase();
                    lower == format!("permit-{short}") || lower == format!("no-{short}")
                };
                if let Some(name) = PERMISSIONS.iter().find(known) {
                    set(permitted, name, lower.starts_with("permit-"));
                    return Ok(());
                }
                return self.valued(option, &lower);
            }
        }
        Ok(())
    }

    fn valued(&mut self, option: &str, lower: &str) -> Result<(), Failure> {
        for name in ["force-command", "source-address"] {
            let Some(value) = lower.strip_prefix(name).and_then(|rest| rest.strip_prefix('=')) else {
                continue;
            };
            // As it was written.
            let value = &option[option.len() - value.len()..];
            if value.is_empty() {
                return Err(format!("Empty {name} option").into());
            }
            if self.critical.iter().any(|(known, _)| known == name) {
                return Err(format!("{name} already specified").into());
            }
            if name == "source-address" && !CertificateRequest::is_source_address(value) {
                return Err("Invalid source-address list".into());
            }
            self.critical.push((name.into(), string(value)));
            return Ok(());
        }
        let (list, rest) = match option.split_once(':') {
            Some((word, rest)) if word.eq_ignore_ascii_case("extension") => (&mut self.extensions, rest),
            Some((word, rest)) if word.eq_ignore_ascii_case("critical") => (&mut self.critical, rest),
            _ => return Err(format!("Unsupported certificate option \"{option}\"").into()),
        };
        let (name, data) = match rest.split_once('=') {
            Some((name, value)) => (name, string(value)),
            None => (rest, Vec::new()),
        };
        list.push((name.to_owned(), data));
        Ok(())
    }

    fn apply(&self, mut request: CertificateRequest) -> CertificateRequest {
        for (name, data) in &self.critical {
            request = request.critical_option(&name[..], data);
        }
        for (name, data) in &self.extensions {
            request = request.extension(&name[..], data);
        }
        request
    }
}

/// Data that is one string.
fn string(text: &str) -> Vec<u8> {
    let mut data = Vec::new();
    data.put_string(text.as_bytes());
    data
}

/// `-L`
pub fn show(args: &Args) -> Result<(), Failure> {
    args.no_words()?;
    let path = args.file("Enter file in which the key is", "ed25519")?;
    let bytes = read(&path)?;
    let limits = Limits { file: konko::core::keys::MAX_FILE, line: konko::core::keys::MAX_FILE };
    let mut found = false;
    let mut several = 0;
    for line in lines(&bytes, limits)? {
        several += 1;
        let Ok(line) = line.read() else { continue };
        let Ok((certificate, _)) = Certificate::from_openssh_line(line) else { continue };
        let name =
            if several > 1 { format!("{}:{several}", path.display()) } else { path.display().to_string() };
        streams::try_line(format_args!("{name}:"))?;
        streams::try_line(shown(&certificate, args).trim_end_matches('\n'))?;
        found = true;
    }
    if found { Ok(()) } else { Err(format!("{} is not a certificate", path.display()).into()) }
}

/// A certificate as `ssh-keygen -L` shows it.
fn shown(certificate: &Certificate, args: &Args) -> String {
    let (key, authority) = (certificate.public(), certificate.authority());
    let mut text = format!("        Type: {} {} certificate\n", key.key_type(), certificate.kind());
    text += &format!("        Public key: {} {}\n", key.key_type().short_name(), key.fingerprint(args.hash));
    text += &format!(
        "        Signing CA: {} {} (using {})\n",
        authority.key_type().short_name(),
        authority.fingerprint(args.hash),
        certificate.signature_algorithm()
    );
    text += &format!("        Key ID: \"{}\"\n", certificate.key_id());
    text += &format!("        Serial: {}\n", certificate.serial());
    text += &format!("        Valid: {}\n", certificate.validity());
    let list = |heading: &str, lines: Vec<String>| {
        let none = if lines.is_empty() { "(none)" } else { "" };
        let lines: String = lines.iter().map(|line| format!("                {line}\n")).collect();
        format!("        {heading}: {none}\n{lines}")
    };
    let names = certificate.principals().map(|name| SshStr::new(name).to_string());
    text += &list("Principals", names.collect());
    text += &list("Critical Options", certificate.critical_options().map(|o| option(o, true)).collect());
    text += &list("Extensions", certificate.extensions().map(|o| option(o, false)).collect());
    text
}

fn option(option: CertificateOption<'_>, critical: bool) -> String {
    let name = SshStr::new(option.name);
    let plain = name.to_string();
    let valued = critical && matches!(&plain[..], "force-command" | "source-address");
    if valued && let Ok(value) = Reader::new(option.data).string() {
        return format!("{name} {}", SshStr::new(value));
    }
    let flag = if critical {
        plain == "verify-required"
    } else {
        plain == "no-touch-required" || PERMISSIONS.contains(&&plain[..])
    };
    match option.data {
        _ if flag => plain,
        [] => format!("{name} UNKNOWN FLAG OPTION"),
        data => {
            let hex: String = data.iter().map(|b| format!("{b:02x}")).collect();
            format!("{name} UNKNOWN OPTION: {hex} (len {})", data.len())
        }
    }
}
