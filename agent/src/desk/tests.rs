//! Who is told what, and what hostile clients can do: nothing.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream as Client;
use std::time::{Duration, Instant};

use vitrine_policy::decision::Mode;
use vitrine_policy::facts::Origin;
use vitrine_policy::record::{self, Host, Operation};

use super::texts::Texts;
use super::*;
use crate::config::SpoolLimits;
use crate::spool::Spool;

const POLICY: &str = "version = 1\nmode = \"enforce\"\n[[collection]]\nname = \"masters\"\npaths = [\"/m\"]\n\
    [[tier]]\nname = \"public\"\nmax-megapixels = 6\nmax-scale = 0.6\n\
    [[destination]]\nname = \"website\"\npaths = [\"/web\"]\nceiling = \"public\"\n[elsewhere]\nceiling = \"none\"\n";

fn policy() -> Policy {
    Policy::parse("policy.toml", POLICY).unwrap()
}

fn refused(uid: Option<u32>, file: &str, to: &str, ceiling: &str) -> Transfer {
    Transfer {
        operation: Operation::Write,
        verdict: Verdict::Block,
        disposition: Disposition::Blocked,
        rule: Rule::Ceiling { destination: to.to_owned() },
        explanation: "It may not go there.".to_owned(),
        mode: Mode::Enforce,
        policy: String::new(),
        guard: "gate".to_owned(),
        processes: Vec::new(),
        user: uid.map(|uid| record::User { uid, name: uid.to_string(), session: None }),
        file: record::File { path: file.to_owned(), digest: None, bytes: None, thumbnail: None },
        masters: Vec::new(),
        tier: "master".to_owned(),
        origin: Origin::Measured,
        measure: None,
        destination: Some(record::Destination {
            name: to.to_owned(),
            target: "/media/usb/x.jpg".to_owned(),
            ceiling: ceiling.to_owned(),
            bytes_arrived: None,
            objects_today: None,
            place: None,
        }),
        attempts: 1,
        justification: None,
        severity: None,
    }
}

fn files(desk: &Desk, uid: u32, all: bool) -> Vec<String> {
    let asker = Asker { uid, is_owner: uid == 0, pid: None };
    desk.told_to(asker, all).iter().map(|told| told.file.clone()).collect()
}

#[test]
fn everybody_is_told_of_his_own_attempts_and_root_of_all() {
    let desk = Desk::new();
    for (uid, file) in [(Some(1), "/a"), (Some(2), "/b"), (None, "/nobody's"), (Some(0), "/root")] {
        desk.tell(&refused(uid, file, "website", "public"), &policy());
    }
    desk.tell(&Transfer { verdict: Verdict::Allow, ..refused(Some(1), "/fine", "website", "public") }, &policy());
    assert_eq!((files(&desk, 1, false), files(&desk, 2, false)), (vec!["/a".to_owned()], vec!["/b".to_owned()]));
    assert_eq!(files(&desk, 3, false), Vec::<String>::new());
    assert_eq!(files(&desk, 0, false).len(), 2);
    assert_eq!(files(&desk, 0, true).len(), 4);
}

#[test]
fn what_is_kept_is_bounded_and_one_user_takes_no_room_from_another() {
    let desk = Desk::new();
    desk.tell(&refused(Some(7), "/first", "website", "public"), &policy());
    for number in 0..1000 {
        desk.tell(&refused(Some(8), &format!("/{number}"), "website", "public"), &policy());
    }
    assert_eq!((files(&desk, 7, false).len(), files(&desk, 8, false).len()), (1, EACH));
    assert_eq!(files(&desk, 8, false).last().unwrap(), "/999");
    for uid in 1000..3000 {
        desk.tell(&refused(Some(uid), "/x", "website", "public"), &policy());
    }
    assert_eq!(desk.kept().len(), USERS);
}

#[test]
fn an_earlier_run_is_remembered() {
    let state = tempfile::tempdir().unwrap();
    let host = Host { agent: Spool::agent_id(state.path()).unwrap(), name: "w".into(), agent_version: "0".into() };
    let spool = Spool::open(state.path(), host, SpoolLimits::default()).unwrap();
    for file in ["/one", "/two"] {
        spool.push(Event::Transfer(Box::new(refused(Some(1), file, "website", "public"))));
        assert!(spool.flush(Duration::from_secs(30)));
        std::thread::sleep(Duration::from_millis(2));
    }
    let desk = Desk::new();
    std::thread::sleep(Duration::from_millis(2));
    desk.tell(&refused(Some(1), "/three", "website", "public"), &policy());
    desk.recall(state.path(), &policy()).unwrap();
    assert_eq!(files(&desk, 1, false), ["/one", "/two", "/three"]);
    assert_eq!(desk.told_to(Asker { uid: 1, is_owner: false, pid: None }, false)[0].most.megapixels, Some(6.0));
}

#[test]
fn it_says_what_to_do_instead_in_the_users_language() {
    let told = |to: &str, ceiling: &str| Told::of(&refused(Some(1), "/m/KP1.tif", to, ceiling), 0, &policy()).unwrap();
    let english = Texts::of("en_GB.UTF-8").tell(&told("website", "public"));
    assert_eq!(english.title, "KP1.tif may not go to website");
    assert_eq!(
        english.instead[0],
        "Save a copy of at most 6 megapixels, at most 60 % of the master’s width on this workstation first, and copy that one."
    );
    let german = Texts::of("de_DE").tell(&told("elsewhere", "none"));
    assert_eq!(german.title, "KP1.tif darf nicht nach /media/usb");
    assert!(german.why.contains("nichts, was aus einem Master"), "{}", german.why);
    let vault =
        Told { rule: Rule::Vault { collection: "v".into(), named: false }, target: None, ..told("website", "x") };
    assert!(Texts::of("ja").tell(&vault).why.contains("「v」"));
    let audit = Told { disposition: Disposition::WouldBlock, ..told("website", "public") };
    assert!(Texts::of("fr").tell(&audit).why.contains("enregistré"));
}

#[test]
fn it_says_how_to_give_a_reason_where_that_helps() {
    let masters = |count: usize| {
        let master = |number| record::Master {
            path: format!("/m/KP{number}.tif"),
            collection: "masters".to_owned(),
            object: None,
            thumbnail: None,
            recognised: None,
            sent: None,
        };
        (0..count).map(master).collect::<Vec<_>>()
    };
    let transfer = |uid, count| Transfer {
        rule: Rule::Justify { destination: "courier".to_owned() },
        masters: masters(count),
        ..refused(Some(uid), "/m/KP1.tif", "courier", "master")
    };
    let told = |transfer: &Transfer| Told::of(transfer, 0, &policy()).unwrap();
    let own = told(&transfer(1, 2));
    for locale in ["en", "de", "fr", "es", "it", "ja", "zh_TW"] {
        let sentences = Texts::of(locale).tell(&own);
        assert!(sentences.instead[0].contains(&format!("vitrine justify {} \"", own.id)), "{sentences:?}");
    }
    assert!(own.id.len() == 8 && own.id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{}", own.id);
    // The same is the same, in whatever order its masters came, and anything else is not.
    let mut turned = transfer(1, 2);
    turned.masters.reverse();
    assert_eq!(told(&turned).id, own.id);
    assert!(told(&transfer(2, 2)).id != own.id && told(&transfer(1, 1)).id != own.id);
    for cannot in [transfer(1, 0), transfer(1, 8), Transfer { guard: "flow".to_owned(), ..transfer(1, 1) }] {
        let sentences = Texts::of("en").tell(&told(&cannot));
        assert!(sentences.instead[0].starts_with("Ask whoever looks after Vitrine"), "{sentences:?}");
    }
}

/// A desk that is being attended to.
fn attended() -> (tempfile::TempDir, Arc<Desk>, tokio::runtime::Runtime) {
    let state = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let desk = Desk::new();
    let listener = runtime.block_on(async { server::open(&socket(state.path())).unwrap() });
    let slowly: server::Slowly = Arc::new(|asker, _| Answer::Refused(format!("not now, {}", asker.uid)));
    let approvals = Arc::new(crate::approval::Approvals::open(state.path()).0);
    runtime.spawn(server::serve(listener, desk.clone(), approvals, slowly));
    (state, desk, runtime)
}

fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// Everything that is answered to these bytes.
fn answered(state: &Path, bytes: &[u8]) -> String {
    let mut client = Client::connect(socket(state)).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    // Who is sent away does not read all of it.
    let _ = client.write_all(bytes);
    let mut text = Vec::new();
    let _ = client.read_to_end(&mut text);
    String::from_utf8(text).unwrap()
}

#[test]
fn a_question_is_answered_and_what_happens_is_told_to_who_listens() {
    let (state, desk, _runtime) = attended();
    desk.tell(&refused(Some(own_uid()), "/a", "website", "public"), &policy());
    desk.tell(&refused(Some(own_uid() + 1), "/of another", "website", "public"), &policy());
    let told: Vec<_> = client::ask(state.path(), &Request::Why { all: false }).unwrap().map(Result::unwrap).collect();
    assert!(matches!(&told[..], [Answer::Told(told)] if told.file == "/a"), "{told:?}");
    let mut news = client::ask(state.path(), &Request::Watch).unwrap();
    // The listener is there once the desk has one.
    while desk.news.receiver_count() == 0 {
        std::thread::yield_now();
    }
    desk.tell(&refused(Some(own_uid() + 1), "/of another", "website", "public"), &policy());
    desk.tell(&refused(Some(own_uid()), "/b", "website", "public"), &policy());
    assert!(matches!(news.next(), Some(Ok(Answer::Told(told))) if told.file == "/b"));
    drop(news);
    while desk.news.receiver_count() > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn garbage_gets_a_word_and_no_more() {
    let (state, _desk, _runtime) = attended();
    for garbage in
        [&b"\n"[..], b"{}\n", b"GET / HTTP/1.1\n", b"\xff\xfe\x00\n", b"{\"why\":{\"all\":0}}\n", b"\"Watch\"\n"]
    {
        assert!(answered(state.path(), garbage).starts_with("{\"refused\":"), "{garbage:?}");
    }
    let nested = "[".repeat(4000) + "\n";
    assert!(answered(state.path(), nested.as_bytes()).starts_with("{\"refused\":"));
    // A line that never ends is read up to its limit.
    let endless = vec![b'x'; 4 << 20];
    let said = answered(state.path(), &endless);
    assert!(said.is_empty() || said.starts_with("{\"refused\":"), "{said}");
}

#[test]
fn who_is_slow_or_comes_in_numbers_is_sent_away_and_comes_in_again() {
    let (state, _desk, _runtime) = attended();
    let began = Instant::now();
    let mut silent: Vec<_> = (0..64).map(|_| Client::connect(socket(state.path())).unwrap()).collect();
    // Those beyond the number of one user hear the end at once.
    let mut byte = [0];
    assert_eq!(silent.last_mut().unwrap().read(&mut byte).unwrap_or(0), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    // Those that say nothing hear it when their time is over, and leave room for others.
    assert_eq!(silent[0].read(&mut byte).unwrap_or(0), 0);
    assert!(began.elapsed() < Duration::from_secs(20));
    while client::ask(state.path(), &Request::Why { all: false }).is_ok_and(|mut answers| answers.next().is_some()) {
        assert!(began.elapsed() < Duration::from_secs(20), "nobody is let in any more");
    }
}

#[test]
fn a_listener_that_does_not_read_holds_nobody_up() {
    let (state, desk, _runtime) = attended();
    let mut deaf = Client::connect(socket(state.path())).unwrap();
    deaf.write_all(b"\"watch\"\n").unwrap();
    while desk.news.receiver_count() == 0 {
        std::thread::yield_now();
    }
    let long = Transfer { explanation: "x".repeat(60_000), ..refused(Some(own_uid()), "/a", "website", "public") };
    let began = Instant::now();
    (0..5000).for_each(|_| desk.tell(&long, &policy()));
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let told = client::ask(state.path(), &Request::Why { all: false }).unwrap().count();
    assert_eq!(told, EACH);
}

#[test]
fn nobody_but_the_owner_asks_for_all() {
    let asker = Asker { uid: own_uid() + 1, is_owner: false, pid: None };
    assert!(!asker.owns(None) && !asker.owns(Some(0)) && asker.owns(Some(own_uid() + 1)));
    assert!(Asker::new(0).is_owner && Asker::new(own_uid()).is_owner && !Asker::new(own_uid() + 1).is_owner);
}

#[test]
fn an_agent_that_is_away_is_named() {
    let state = tempfile::tempdir().unwrap();
    let error = client::ask(state.path(), &Request::Watch).err().unwrap().to_string();
    assert!(error.contains("agent.sock") && error.contains("vitrine status"), "{error}");
}
