//! Which tokens open maintenance, and when it ends.

use std::io::Cursor;

use minisign::KeyPair;
use vitrine_policy::maintenance::LONGEST;

use super::*;

/// When the tests take place, in seconds since 1970.
const NOON: i64 = 1_800_000_000;
const HOUR: i64 = 3600;

/// A workstation that trusts one key.
struct Lab {
    keys: KeyPair,
    config: Config,
    agent: String,
    _directory: tempfile::TempDir,
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
    let agent = Spool::agent_id(&config.state).unwrap();
    Lab { keys, config, agent, _directory: directory }
}

fn token(keys: &KeyPair, claims: &Claims, comment: &str, message: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let text = serde_json::to_vec(claims).unwrap();
    let signature = minisign::sign(None, &keys.sk, Cursor::new(message(&text)), Some(comment), None).unwrap();
    Token { claims: text, signature: signature.to_string() }.text()
}

impl Lab {
    fn claims(&self, id: &str) -> Claims {
        let agent = Some(self.agent.clone());
        Claims {
            id: id.into(),
            agent,
            from: NOON,
            until: NOON + HOUR,
            reason: "new disk, ticket 214".into(),
            by: "uid 0".into(),
        }
    }

    fn token(&self, claims: &Claims) -> String {
        token(&self.keys, claims, COMMENT, signed)
    }

    fn maintenance(&self) -> Maintenance {
        Maintenance::read(&self.config)
    }
}

/// The clocks so many seconds after noon, by the name of a start of the machine.
fn at(boot: &str, seconds: i64) -> Clocks {
    static NOW: OnceLock<u64> = OnceLock::new();
    let uptime = NOW.get_or_init(|| justification::now().as_secs()) + u64::try_from(seconds).unwrap();
    Clocks { boot: boot.into(), since: Duration::from_secs(uptime), wall: NOON + seconds }
}

fn open(maintenance: &Maintenance, token: &str, clocks: &Clocks) -> Result<Open, String> {
    maintenance.open(token, "root".into(), clocks)
}

#[test]
fn a_token_of_the_key_for_this_agent_and_this_time_opens_it_and_no_other_does() {
    let lab = lab();
    let maintenance = lab.maintenance();
    let (other, good) = (KeyPair::generate_unencrypted_keypair().unwrap(), lab.claims("1"));
    let whole = lab.token(&good);
    let longer = Claims { until: NOON + 2 * HOUR, ..good.clone() };
    // The claims of one with the signature of another.
    let tampered =
        Token { claims: serde_json::to_vec(&longer).unwrap(), signature: Token::parse(&whole).unwrap().signature };
    let too_long = Claims { until: NOON + LONGEST + 1, ..good.clone() };
    for (token, why) in [
        (token(&other, &good, COMMENT, signed), "is not signed with the key"),
        (token(&lab.keys, &good, "serial:7", signed), "is not signed with the key"),
        (token(&lab.keys, &good, COMMENT, <[u8]>::to_vec), "is not signed with the key"),
        (tampered.text(), "is not signed with the key"),
        (lab.token(&Claims { agent: Some("another".into()), ..good.clone() }), "is for agent another"),
        (lab.token(&Claims { until: NOON, from: NOON - HOUR, ..good.clone() }), "has expired"),
        (lab.token(&Claims { from: NOON + 1, ..good.clone() }), "holds in 1 s only"),
        (lab.token(&too_long), "is no maintenance token"),
        (format!("{whole}{}", "A".repeat(100_000)), "longer than 4096 bytes"),
        ("x".repeat(4000), "does not have the shape"),
        (String::new(), "does not have the shape"),
    ] {
        let refused = open(&maintenance, &token, &at("a", 0)).unwrap_err();
        assert!(refused.contains(why), "{why}: {refused}");
        assert_eq!(maintenance.now_open(&at("a", 0)), None);
    }
    // The last byte of a signature is the end of its line, which says nothing.
    for cut in (0..whole.len() - 4).step_by(7) {
        assert!(open(&maintenance, &whole[..cut], &at("a", 0)).is_err(), "cut at {cut}");
    }
    let opened = open(&maintenance, &format!("{whole}\n"), &at("a", 60)).unwrap();
    assert_eq!(maintenance.now_open(&at("a", 60)), Some((opened.clone(), HOUR - 60)));
    assert_eq!(open(&maintenance, &whole, &at("a", 120)), Ok(opened), "it is open already, and no longer by that");
    let for_all = lab.token(&Claims { id: "2".into(), agent: None, ..good });
    assert_eq!(open(&maintenance, &for_all, &at("a", 180)).unwrap().id, "2");
}

/// What a policy is signed with passes for nothing here, and the reverse.
#[test]
fn no_signature_of_a_policy_is_a_token_and_no_signature_of_a_token_a_policy() {
    let lab = lab();
    let claims = serde_json::to_vec(&lab.claims("1")).unwrap();
    let message = signed(&claims);
    let signature = minisign::sign(None, &lab.keys.sk, Cursor::new(&message), Some(COMMENT), None).unwrap();
    for text in [&message, &claims] {
        fs::write(&lab.config.policy, text).unwrap();
        fs::write(signature::file_of(&lab.config.policy), signature.to_string()).unwrap();
        assert!(crate::policy_file::read_trusted(&lab.config).is_err());
    }
    let policy = "version = 1\nserial = 1\nmode = \"audit\"\n[elsewhere]\nceiling = \"none\"\n";
    let signature = minisign::sign(None, &lab.keys.sk, Cursor::new(policy), Some(COMMENT), None).unwrap();
    let as_token = Token { claims: policy.into(), signature: signature.to_string() };
    assert!(
        open(&lab.maintenance(), &as_token.text(), &at("a", 0)).unwrap_err().contains("is not signed with the key")
    );
}

#[test]
fn a_token_opens_it_once_also_for_the_next_agent_and_after_a_restart_of_the_machine() {
    let lab = lab();
    let whole = lab.token(&lab.claims("1"));
    let maintenance = lab.maintenance();
    assert_eq!(maintenance.end(), None);
    open(&maintenance, &whole, &at("a", 0)).unwrap();
    drop(maintenance);

    let next = lab.maintenance();
    assert_eq!(next.look(&at("a", 60)), None);
    assert_eq!(next.now_open(&at("a", 60)).unwrap().1, HOUR - 60, "the agent alone was started again");
    assert_eq!(next.end().unwrap().id, "1");
    assert!(open(&next, &whole, &at("a", 120)).unwrap_err().contains("has opened maintenance before"));

    let second = lab.token(&lab.claims("2"));
    open(&next, &second, &at("a", 180)).unwrap();
    let after = lab.maintenance();
    assert_eq!(after.look(&at("b", 240)).unwrap().id, "2", "the machine was started again");
    assert_eq!((after.until(), after.now_open(&at("b", 240))), (None, None));
    assert!(open(&after, &second, &at("b", 300)).unwrap_err().contains("has opened maintenance before"));
}

#[test]
fn it_ends_by_the_clock_that_is_there_first_and_none_set_back_makes_it_longer() {
    let lab = lab();
    let maintenance = lab.maintenance();
    maintenance.look(&at("a", 0));
    open(&maintenance, &lab.token(&lab.claims("1")), &at("a", 0)).unwrap();
    let until = maintenance.until().unwrap();
    // Set back by an hour half an hour later, it ends half an hour later all the same.
    let back = |seconds| Clocks { wall: NOON + seconds - HOUR, ..at("a", seconds) };
    assert_eq!(maintenance.look(&back(HOUR / 2)), None);
    assert_eq!(maintenance.now_open(&back(HOUR / 2)).unwrap().1, HOUR / 2);
    assert_eq!(maintenance.until(), Some(until));
    assert_eq!(maintenance.now_open(&back(HOUR)), None);
    assert_eq!(maintenance.look(&back(HOUR)).unwrap().id, "1");
    // One that has expired by then does not hold again, also for an agent that was started since.
    let unused = lab.token(&lab.claims("2"));
    for maintenance in [&maintenance, &lab.maintenance()] {
        assert!(open(maintenance, &unused, &back(HOUR)).unwrap_err().contains("has expired"));
    }
    // A clock that is set ahead ends it at once.
    let claims = Claims { from: NOON + HOUR, until: NOON + 2 * HOUR, ..lab.claims("3") };
    open(&maintenance, &lab.token(&claims), &at("a", HOUR)).unwrap();
    assert_eq!(maintenance.look(&Clocks { wall: NOON + 3 * HOUR, ..at("a", HOUR + 1) }).unwrap().id, "3");
}

#[test]
fn what_was_written_down_counts_with_a_token_behind_it_alone() {
    let lab = lab();
    let file = lab.config.state.join(FILE);
    let opened = open(&lab.maintenance(), &lab.token(&lab.claims("1")), &at("a", 0)).unwrap();
    let kept = fs::read_to_string(&file).unwrap();
    assert!(lab.maintenance().now_open(&at("a", 1)).is_some());
    for (from, to) in [
        (format!("\"until\":{}", opened.until), format!("\"until\":{}", opened.until + 30 * 24 * HOUR)),
        (format!("\"ends\":{}", opened.ends), format!("\"ends\":{}", opened.ends + HOUR)),
        ("\"id\":\"1\"".into(), "\"id\":\"9\"".into()),
        ("vitrine-maintenance.".into(), "vitrine-maintenance.AA".into()),
        ("}".into(), String::new()),
    ] {
        let forged = kept.replace(&from, &to);
        assert_ne!(forged, kept, "{from}");
        fs::write(&file, forged).unwrap();
        assert_eq!(lab.maintenance().now_open(&at("a", 1)), None, "{from}");
    }
}

#[test]
fn a_key_of_its_own_counts_in_the_place_of_the_policys_and_without_any_nothing_opens_it() {
    let mut lab = lab();
    let own = KeyPair::generate_unencrypted_keypair().unwrap();
    let by_policy = lab.token(&lab.claims("1"));
    lab.config.maintenance_key = Some(own.pk.to_base64());
    assert!(open(&lab.maintenance(), &by_policy, &at("a", 0)).unwrap_err().contains("is not signed with the key"));
    let by_own = token(&own, &lab.claims("1"), COMMENT, signed);
    let pinned = lab.maintenance();
    pinned.pin(lab.keys.pk.to_base64());
    assert!(open(&pinned, &by_own, &at("a", 0)).is_err(), "the key that the kernel knows counts");
    assert!(open(&lab.maintenance(), &by_own, &at("a", 0)).is_ok());
    (lab.config.maintenance_key, lab.config.policy_key) = (None, None);
    assert!(open(&lab.maintenance(), &by_own, &at("a", 0)).unwrap_err().contains("trusts no key for maintenance"));
}
