//! The policy: understood, written by nobody else, and signed.

use std::path::Path;

use super::super::index::shown;
use super::{Check, fail, pass, warn, written_by_others};
use crate::config::Config;
use crate::policy_file;

pub(super) fn file(path: &Path) -> Check {
    let name = "policy";
    let file = shown(path);
    match policy_file::read(path).map(|read| read.policy) {
        Err(error) => {
            let meaning = format!("{error}: nothing is blocked");
            return fail(name, meaning, format!("sudoedit '{file}'; vitrine policy check '{file}'"));
        }
        Ok(Err(mistakes)) => {
            let count = mistakes.mistakes.len() + mistakes.more;
            let meaning = format!("{file} has {count} mistake(s): the last good policy stays in force, or none");
            return fail(name, meaning, format!("vitrine policy check {file}"));
        }
        Ok(Ok(policy)) => {
            let failed = policy.run_tests().iter().filter(|test| !test.passed).count();
            if failed > 0 {
                let meaning =
                    format!("{failed} of the tests of {file} fail: the last good policy stays in force, or none");
                return fail(name, meaning, format!("vitrine policy test {file}"));
            }
        }
    }
    written_by_others(name, path, "what is protected")
        .unwrap_or_else(|| pass(name, format!("{file} has no mistake, and nobody but its owner can write it")))
}

pub(super) fn signature(config: &Config) -> Check {
    let name = "policy signature";
    if config.policy_key.is_none() {
        let meaning = "no key is pinned: whoever becomes root can put another policy in force";
        let mend = "vitrine policy keygen --out museum, then policy-key = \"…\" in /etc/vitrine/agent.toml";
        return warn(name, meaning, mend);
    }
    match policy_file::read_trusted(config) {
        Ok(good) => {
            let serial = good.policy.serial.map_or_else(String::new, |serial| format!(" (serial {serial})"));
            pass(name, format!("{}{serial} is signed with the pinned key, and no older one", shown(&config.policy)))
        }
        Err(why) => {
            let meaning = format!("{}: the last good policy stays in force, or none", why.trim().replace('\n', " "));
            fail(name, meaning, format!("vitrine policy sign '{}' --key SECRET-KEY", shown(&config.policy)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    const GOOD: &str = "version = 1\nserial = 3\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n";

    #[test]
    fn a_policy_is_looked_at_with_the_eyes_of_an_intruder() {
        let lab = tempfile::tempdir().unwrap();
        let path = lab.path().join("policy.toml");
        assert_eq!(file(&path).state, State::Fail);
        fs::write(&path, "mode = 1").unwrap();
        assert!(file(&path).mend.unwrap().starts_with("vitrine policy check "));
        fs::write(
            &path,
            format!("{GOOD}[[test]]\ntransfer = {{ tier = \"master\", to = \"/a\" }}\nexpect = \"allow\"\n"),
        )
        .unwrap();
        assert!(file(&path).mend.unwrap().starts_with("vitrine policy test "));
        fs::write(&path, GOOD).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(file(&path).state, State::Pass);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        assert!(file(&path).mend.unwrap().starts_with("sudo chmod go-w"));
    }

    #[test]
    fn a_signature_is_missing_wrong_or_right() {
        let lab = tempfile::tempdir().unwrap();
        let policy = lab.path().join("policy.toml");
        fs::write(&policy, GOOD).unwrap();
        fs::set_permissions(&policy, fs::Permissions::from_mode(0o644)).unwrap();
        let mut config = Config { policy: policy.clone(), state: lab.path().into(), ..Config::default() };
        assert_eq!(signature(&config).state, State::Warn);
        let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
        config.policy_key = Some(pair.pk.to_base64());
        let check = signature(&config);
        assert_eq!((check.state, check.mend.unwrap().starts_with("vitrine policy sign")), (State::Fail, true));
        let signed = minisign::sign(None, &pair.sk, GOOD.as_bytes(), None, None).unwrap();
        fs::write(lab.path().join("policy.toml.minisig"), signed.to_string()).unwrap();
        let check = signature(&config);
        assert!(check.state == State::Pass && check.meaning.contains("serial 3"), "{check:?}");
        fs::write(&policy, GOOD.replace("audit", "enforce")).unwrap();
        assert_eq!(signature(&config).state, State::Fail);
    }
}
