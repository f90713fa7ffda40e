//! `vitrine policy keygen`, `sign` and `verify`: keys and signatures of policies, as minisign has them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Cursor, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use minisign::{KeyPair, PublicKey, SecretKey, SecretKeyBox};

use super::FOUND;
use super::index::{misuse, shown};
use crate::policy_file::{self, signature};

/// A key pair to be made.
#[derive(Args)]
pub(crate) struct Keygen {
    /// Where to: `.key` and `.pub` are put behind it.
    #[arg(long, value_name = "DIR/NAME")]
    out: PathBuf,
    /// Read the passphrase of the secret key from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Do not encrypt the secret key: whoever reads the file can sign.
    #[arg(long, conflicts_with = "password_file")]
    unencrypted: bool,
}

/// A policy to be signed.
#[derive(Args)]
pub(crate) struct Sign {
    /// The policy file.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The secret key.
    #[arg(long, value_name = "KEY")]
    key: PathBuf,
    /// Read the passphrase of the secret key from the first line of this file, instead of asking for it.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// A signature to be checked.
#[derive(Args)]
pub(crate) struct Verify {
    /// The policy file; its signature lies beside it.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The public key: in base64, or the path of a `.pub` file.
    #[arg(long, value_name = "KEY")]
    public_key: String,
}

/// Makes a key pair. No file is ever overwritten.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn keygen(keygen: &Keygen, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let [secret, public] = [".key", ".pub"].map(|ending| {
        let mut name = keygen.out.clone().into_os_string();
        name.push(ending);
        PathBuf::from(name)
    });
    if let Some(taken) = [&secret, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        return misuse(format_args!("{} is there already; give another name with --out", shown(taken)));
    }
    match make_keys(keygen, &secret, &public) {
        Ok(key) => {
            writeln!(
                out,
                "secret key: {} (keep it off the workstations)\npublic key: {}",
                shown(&secret),
                shown(&public)
            )?;
            writeln!(out, "in /etc/vitrine/agent.toml of every workstation: policy-key = \"{}\"", key.to_base64())?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => misuse(error),
    }
}

fn make_keys(keygen: &Keygen, secret: &Path, public: &Path) -> Result<PublicKey, String> {
    let made = match (&keygen.password_file, keygen.unencrypted) {
        (_, true) => KeyPair::generate_unencrypted_keypair(),
        (Some(file), false) => KeyPair::generate_encrypted_keypair(Some(password(file)?)),
        (None, false) => KeyPair::generate_encrypted_keypair(None),
    };
    let KeyPair { pk, sk } = made.map_err(|error| {
        format!("no key can be made: {error}; is there a terminal to ask for the passphrase? Else give --password-file")
    })?;
    let text = |error: minisign::PError| format!("no key can be made: {error}");
    create(secret, 0o600, &sk.to_box(Some("secret key of Vitrine policies")).map_err(text)?.into_string())?;
    create(public, 0o644, &pk.to_box().map_err(text)?.into_string())?;
    Ok(pk)
}

fn create(path: &Path, mode: u32, text: &str) -> Result<(), String> {
    let made = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    made.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| format!("{} cannot be written: {error}", shown(path)))
}

/// The first line of a file.
fn password(file: &Path) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("the passphrase {}: {error}", shown(file)))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(line.to_owned()),
        _ => Err(format!("{} has no passphrase on its first line", shown(file))),
    }
}

/// Signs a policy that could be put in force.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn sign(sign: &Sign, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let good = match policy_file::read_good(&sign.file) {
        Ok(good) => good,
        Err(why) => {
            eprintln!("vitrine: not signed: {why}");
            return Ok(ExitCode::from(FOUND));
        }
    };
    let Some(serial) = good.policy.serial else {
        eprintln!(
            "vitrine: not signed: {} has no serial, by which an older policy is told from a newer one; expected \
             `serial = 1` below its version, and one more with every edit",
            shown(&sign.file)
        );
        return Ok(ExitCode::from(FOUND));
    };
    match write_signature(sign, &good.text, serial) {
        Ok(file) => {
            writeln!(out, "{}: signed with serial {serial} in {}", shown(&sign.file), shown(&file))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => misuse(error),
    }
}

fn write_signature(sign: &Sign, text: &[u8], serial: u32) -> Result<PathBuf, String> {
    let key = secret_key(sign)?;
    let comment = format!("serial:{serial}\ttimestamp:{}", jiff::Timestamp::now().as_second());
    let signature =
        minisign::sign(None, &key, Cursor::new(text), Some(&comment), Some("signature of a Vitrine policy"))
            .map_err(|error| format!("{} cannot be signed: {error}", shown(&sign.file)))?;
    let path = signature::file_of(&sign.file);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let written = tempfile::NamedTempFile::new_in(directory).and_then(|mut file| {
        file.write_all(signature.to_string().as_bytes())?;
        file.as_file().set_permissions(Permissions::from_mode(0o644))?;
        file.as_file().sync_all()?;
        Ok(file.persist(&path)?)
    });
    written.map(|_| path.clone()).map_err(|error| format!("{} cannot be written: {error}", shown(&path)))
}

fn secret_key(sign: &Sign) -> Result<SecretKey, String> {
    let cannot = |why: &dyn std::fmt::Display| format!("the secret key {} cannot be used: {why}", shown(&sign.key));
    let text = fs::read_to_string(&sign.key).map_err(|error| cannot(&error))?;
    let boxed = || SecretKeyBox::from_string(&text).map_err(|error| cannot(&error));
    if let Ok(key) = boxed()?.into_unencrypted_secret_key() {
        return Ok(key);
    }
    let password = sign.password_file.as_deref().map(password).transpose()?;
    boxed()?.into_secret_key(password).map_err(|error| cannot(&error))
}

/// Checks a signature.
///
/// # Errors
/// Standard output cannot be written.
pub(crate) fn verify(verify: &Verify, out: &mut impl Write) -> anyhow::Result<ExitCode> {
    let key = match signature::public_key(&verify.public_key) {
        Ok(key) => key,
        Err(error) => return misuse(error),
    };
    let text = match policy_file::read(&verify.file) {
        Ok(read) => read.text,
        Err(error) => return misuse(error),
    };
    match signature::check(&key, &verify.file, &text) {
        Ok(comment) => {
            let comment = vitrine_policy::record::printable(comment.replace('\t', " ").as_bytes());
            writeln!(out, "{}: signed with this key ({comment})", shown(&verify.file))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(why) => {
            eprintln!("vitrine: {why}");
            Ok(ExitCode::from(FOUND))
        }
    }
}
