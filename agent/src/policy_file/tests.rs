//! Which policies are put in force.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use minisign::KeyPair;

use super::*;

/// A workstation that trusts one key.
struct Lab {
    keys: KeyPair,
    config: Config,
    directory: tempfile::TempDir,
}

fn lab() -> Lab {
    let directory = tempfile::tempdir().unwrap();
    let keys = KeyPair::generate_unencrypted_keypair().unwrap();
    let config = Config {
        policy: directory.path().join("policy.toml"),
        policy_key: Some(keys.pk.to_base64()),
        state: directory.path().into(),
        ..Config::default()
    };
    Lab { keys, config, directory }
}

impl Lab {
    fn write(&self, text: &str) {
        fs::write(&self.config.policy, text).unwrap();
        fs::set_permissions(&self.config.policy, Permissions::from_mode(0o644)).unwrap();
    }

    fn sign(&self, keys: &KeyPair) {
        let text = fs::read(&self.config.policy).unwrap();
        let signed = minisign::sign(None, &keys.sk, io::Cursor::new(text), None, None).unwrap();
        fs::write(self.signature(), signed.to_string()).unwrap();
    }

    fn signature(&self) -> PathBuf {
        signature::file_of(&self.config.policy)
    }

    /// Puts a signed policy in force.
    fn put(&self, text: &str) -> Result<(), String> {
        self.write(text);
        self.sign(&self.keys);
        keep(&self.config, &read_trusted(&self.config)?).map_err(|error| error.to_string())
    }

    fn refused(&self) -> String {
        read_trusted(&self.config).err().expect("a refusal")
    }
}

fn policy(serial: u32, more: &str) -> String {
    format!("version = 1\nserial = {serial}\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n{more}")
}

#[test]
fn a_pinned_key_wants_a_signature_of_this_key_and_this_text() {
    let lab = lab();
    lab.write(&policy(1, ""));
    let why = lab.refused();
    assert!(why.contains("policy.toml.minisig") && why.contains("vitrine policy sign"), "{why}");
    lab.sign(&KeyPair::generate_unencrypted_keypair().unwrap());
    assert!(lab.refused().contains("is not signed with the key that is expected"));
    lab.put(&policy(1, "")).unwrap();
    lab.write(&policy(1, "# edited"));
    assert!(lab.refused().contains("is not signed with the key that is expected"));
    assert_eq!(last_good(lab.directory.path()).unwrap().text, policy(1, "").as_bytes());
}

#[test]
fn an_older_policy_and_another_of_the_same_serial_are_refused() {
    let lab = lab();
    lab.put(&policy(7, "")).unwrap();
    assert!(lab.put(&policy(6, "")).unwrap_err().contains("`serial = 8`"));
    assert!(lab.put(&policy(7, "# other")).unwrap_err().contains("another text"));
    assert!(lab.put(&policy(7, "").replace("serial = 7\n", "")).unwrap_err().contains("has no serial"));
    lab.put(&policy(7, "")).unwrap();
    lab.put(&policy(9, "")).unwrap();
    fs::write(lab.directory.path().join("policy.serial"), "{").unwrap();
    assert!(lab.put(&policy(10, "")).unwrap_err().contains("policy.serial"));
}

#[test]
fn without_a_pinned_key_nothing_is_signed_and_nothing_is_older() {
    let mut lab = lab();
    lab.config.policy_key = None;
    for serial in [3, 2] {
        lab.write(&policy(serial, ""));
        keep(&lab.config, &read_trusted(&lab.config).map_err(drop).unwrap()).unwrap();
    }
    assert!(!lab.directory.path().join("policy.serial").exists());
}

#[test]
fn a_policy_that_others_can_write_is_refused_with_its_owner_and_mode() {
    let lab = lab();
    lab.put(&policy(1, "")).unwrap();
    for mode in [0o664, 0o646] {
        fs::set_permissions(&lab.config.policy, Permissions::from_mode(mode)).unwrap();
        let why = lab.refused();
        assert!(why.contains(&format!("mode {mode:04o}")) && why.contains("it belongs to "), "{why}");
    }
    assert!(no_others_write(&lab.config.policy).unwrap_err().to_string().contains("chmod go-w"));
}

#[test]
fn a_key_may_be_a_file_that_others_cannot_write() {
    let mut lab = lab();
    lab.put(&policy(1, "")).unwrap();
    let file = lab.directory.path().join("museum.pub");
    fs::write(&file, lab.keys.pk.to_box().unwrap().into_string()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    lab.config.policy_key = Some(file.display().to_string());
    assert!(read_trusted(&lab.config).is_ok());
    fs::set_permissions(&file, Permissions::from_mode(0o666)).unwrap();
    assert!(lab.refused().contains("museum.pub can be written by others than its owner"));
    fs::remove_file(&file).unwrap();
    assert!(lab.refused().contains("museum.pub cannot be used"));
}

#[test]
fn no_damage_to_a_signature_passes_or_panics() {
    let lab = lab();
    lab.put(&policy(1, "")).unwrap();
    let whole = fs::read(lab.signature()).unwrap();
    // The first line is a comment that nobody signed, and the last has no newline.
    let start = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    for at in start..whole.len() - 1 {
        fs::write(lab.signature(), &whole[..at]).unwrap();
        assert!(read_trusted(&lab.config).is_err(), "cut at {at}");
    }
    for noise in [&b""[..], b"\n\n\n\n", b"untrusted comment: \n\n\xff\n", &[b'a'; 5000]] {
        fs::write(lab.signature(), noise).unwrap();
        assert!(read_trusted(&lab.config).is_err());
    }
}

/// The example of the crate `minisign`: a file `test` that holds "test".
#[test]
fn what_minisign_signed_is_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("test");
    let key = signature::public_key("RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3").unwrap();
    let signed = "untrusted comment: signature from minisign secret key\n\
        RUQf6LRCGA9i559r3g7V1qNyJDApGip8MfqcadIgT9CuhV3EMhHoN1mGTkUidF/z7SrlQgXdy8ofjb7bNJJylDOocrCo8KLzZwo=\n\
        trusted comment: timestamp:1556193335\tfile:test\n\
        y/rUw2y8/hOUYjZU71eHp/Wo1KZ40fGy2VJEDl34XMJM+TX48Ss/17u3IvIfbVR1FkZZSNCisQbuQY+bHwhEBg==\n";
    fs::write(signature::file_of(&file), signed).unwrap();
    assert_eq!(signature::check(&key, &file, b"test").unwrap(), "timestamp:1556193335\tfile:test");
    assert!(signature::check(&key, &file, b"Test").is_err());
}

/// The same workstation, which takes its policy from a collector.
fn asking() -> Lab {
    let mut lab = lab();
    lab.config.policy = lab.directory.path().join("local.toml");
    lab.config.collector = Some(config::Collector {
        url: "https://collector.museum.example".into(),
        token_file: "/nowhere".into(),
        ca_file: None,
        ca_fingerprint: None,
        policy: true,
        masters: false,
        heartbeat_seconds: 30,
    });
    lab
}

fn given(text: String, keys: Option<&KeyPair>) -> Given {
    let sign = |keys: &KeyPair| minisign::sign(None, &keys.sk, io::Cursor::new(&text), None, None).unwrap().to_string();
    Given { signature: keys.map(sign), policy: text }
}

#[test]
fn what_the_collector_gives_is_checked_as_a_local_file_is_and_counts_then() {
    let lab = asking();
    lab.put(&policy(3, "")).unwrap();
    assert!(!is_given(&lab.config) && place(&lab.config) == lab.config.policy);
    let offer = |text: String, keys: Option<&KeyPair>| take(&lab.config, &given(text, keys));
    let other = KeyPair::generate_unencrypted_keypair().unwrap();
    let own = Some(&lab.keys);
    let fails = "[[test]]\ntransfer = { tier = \"master\", to = \"/a\" }\nexpect = \"allow\"\n";
    for (given, why) in [
        (offer(policy(4, ""), None), "is not signed with the key"),
        (offer(policy(4, ""), Some(&other)), "is not signed with the key"),
        (offer(policy(2, ""), own), "it has serial 2, and 3 was in force"),
        (offer(policy(3, "# other"), own), "another text"),
        (offer(policy(4, "mode = 1"), own), "policy.toml:6:"),
        (offer(policy(4, fails), own), "[[test]] cases failed"),
        (offer(policy(4, &"#".repeat(MAX_BYTES)), own), "at most"),
    ] {
        assert!(matches!(&given, Err(NotTaken::Refused(told)) if told.contains(why)), "{why}: {given:?}");
        assert!(!is_given(&lab.config));
    }
    // The text of one with the signature of another.
    let swapped = Given { signature: given(policy(5, ""), own).signature, policy: policy(4, "") };
    assert!(take(&lab.config, &swapped).is_err() && !is_given(&lab.config));

    offer(policy(4, ""), own).unwrap();
    let good = read_trusted(&lab.config).map_err(drop).unwrap();
    assert_eq!((good.policy.serial, is_given(&lab.config)), (Some(4), true));
    keep(&lab.config, &good).unwrap();
    // A newer local file counts no more, and one that is refused changes nothing.
    lab.put(&policy(9, "")).unwrap();
    assert!(offer(policy(3, ""), own).is_err());
    assert_eq!(read_trusted(&lab.config).map_err(drop).unwrap().policy.serial, Some(4));
}

#[test]
fn what_is_wrong_here_refuses_no_policy_for_good() {
    let mut lab = asking();
    lab.put(&policy(3, "")).unwrap();
    let file = lab.directory.path().join("museum.pub");
    lab.config.policy_key = Some(file.display().to_string());
    let good = given(policy(4, ""), Some(&lab.keys));
    let not_now = |lab: &Lab, why: &str| {
        let told = || match take(&lab.config, &good) {
            Err(NotTaken::NotNow(told)) => told,
            other => panic!("{why}: {other:?}"),
        };
        let first = told();
        assert!(first.contains(why) && first == told(), "the same words each time: {first}");
    };
    not_now(&lab, "museum.pub cannot be used");
    fs::write(&file, lab.keys.pk.to_box().unwrap().into_string()).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    let serial = lab.directory.path().join("policy.serial");
    let kept = fs::read(&serial).unwrap();
    fs::write(&serial, "{").unwrap();
    not_now(&lab, "policy.serial");
    fs::write(&serial, kept).unwrap();
    let offered = lab.directory.path().join("policy.offered");
    fs::remove_dir_all(&offered).unwrap();
    fs::write(&offered, "").unwrap();
    not_now(&lab, "it cannot be written");
    fs::remove_file(&offered).unwrap();
    take(&lab.config, &good).unwrap();
    assert!(is_given(&lab.config));
}

#[test]
fn without_a_pinned_key_the_collector_is_trusted_with_what_it_gives_last() {
    let mut lab = asking();
    let keys = lab.config.policy_key.take();
    assert!(keys.is_some());
    take(&lab.config, &given(policy(4, ""), Some(&lab.keys))).unwrap();
    let beside = signature::file_of(&place(&lab.config));
    assert!(beside.exists());
    take(&lab.config, &given(policy(2, ""), None)).unwrap();
    assert!(!beside.exists(), "the signature of another text is left");
    assert_eq!(read_trusted(&lab.config).map_err(drop).unwrap().policy.serial, Some(2));
    // Whoever no longer asks the collector has the local file again.
    lab.config.collector.as_mut().unwrap().policy = false;
    assert_eq!(place(&lab.config), lab.config.policy);
}
