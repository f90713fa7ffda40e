//! What a window lets through, and what it does not.

use vitrine_policy::facts::Tier;

use super::*;

const POLICY: &str = "version = 1\nmode = \"enforce\"\n[[collection]]\nname = \"masters\"\npaths = [\"/m\"]\n\
    [[tier]]\nname = \"public\"\nmax-megapixels = 6\n[[tier]]\nname = \"licensed\"\nmax-megapixels = 20\n\
    [[destination]]\nname = \"courier\"\npaths = [\"/out\"]\nceiling = \"master\"\njustify = true\n\
    [[destination]]\nname = \"other\"\npaths = [\"/other\"]\nceiling = \"master\"\njustify = true\n\
    [[destination]]\nname = \"free\"\npaths = [\"/free\"]\nceiling = \"master\"\n[elsewhere]\nceiling = \"none\"\n";

fn policy() -> Policy {
    Policy::parse("policy.toml", POLICY).expect("a policy")
}

fn window(uid: u32, master: &str, tier: &str) -> Window {
    Window {
        given: Justification {
            id: format!("{uid}-{master}"),
            reason: "loan 14 to Leiden".to_owned(),
            approved_by: None,
        },
        uid: Some(uid),
        masters: vec![master.to_owned()],
        tier: tier.to_owned(),
        destination: "courier".to_owned(),
        until: now() + Duration::from_secs(60),
    }
}

fn to(path: &str) -> Destination {
    Destination::Path { path: path.into(), mount: None }
}

fn known(file: &str, master: &str, tier: u8) -> Known {
    Known { file: Path::new(file).into(), ..Known::master(Path::new(master), Tier(tier)) }
}

#[test]
fn a_window_is_for_one_user_label_and_destination() {
    let (windows, policy) = (Windows::default(), policy());
    windows.open(window(7, "/m/a.tif", "licensed"), now()).expect("room");
    let lets = |uid, known: &Known, place: &str| windows.of(&policy, Some(uid), known, &to(place)).is_some();
    let own = known("/w/a.tif", "/m/a.tif", 1);
    assert!(lets(7, &own, "/out/a.tif"));
    assert!(lets(7, &known("/w/a.tif", "/m/a.tif", 0), "/out/sub/b.tif"), "what is smaller may go, too");
    assert!(!lets(8, &own, "/out/a.tif"), "another user");
    assert!(windows.of(&policy, None, &own, &to("/out/a.tif")).is_none(), "somebody who is not known");
    assert!(!lets(7, &own, "/other/a.tif") && !lets(7, &own, "/free/a.tif"), "another destination");
    assert!(!lets(7, &known("/w/a.tif", "/m/b.tif", 1), "/out/a.tif"), "another file, also in its place");
    assert!(!lets(7, &known("/w/a.tif", "/m/a.tif", 2), "/out/a.tif"), "a larger one in its place");
    let both = own.after(&known("/w/b.tif", "/m/b.tif", 0));
    assert_eq!(&*both.file, Path::new("/w/a.tif"));
    assert!(!lets(7, &both, "/out/a.tif"), "who has read another master besides");
}

#[test]
fn it_ends_with_its_time_and_a_later_one_takes_its_place() {
    let (windows, policy) = (Windows::default(), policy());
    let own = known("/w/a.tif", "/m/a.tif", 1);
    let over = Window { until: now(), ..window(7, "/m/a.tif", "licensed") };
    windows.open(over, now()).expect("room");
    assert!(windows.of(&policy, Some(7), &own, &to("/out/a.tif")).is_none());
    for _ in 0..EACH * 3 {
        windows.open(window(7, "/m/a.tif", "licensed"), now()).expect("the place of the one before");
    }
    assert_eq!(windows.open.read().expect("a lock").len(), 1);
    assert!(windows.of(&policy, Some(7), &own, &to("/out/a.tif")).is_some());
}

#[test]
fn one_user_takes_no_room_from_another_and_there_is_an_end() {
    let windows = Windows::default();
    let own = |uid, number: usize| window(uid, &format!("/m/{number}.tif"), "licensed");
    for number in 0..EACH {
        windows.open(own(7, number), now()).expect("room");
    }
    assert_eq!(windows.open(own(7, EACH), now()), Err(Full::Own));
    windows.open(own(8, 0), now()).expect("room for another");
    let taken = (100..).take(ALL * 2).filter(|uid| windows.open(own(*uid, 0), now()).is_ok()).count();
    assert_eq!(taken, ALL - EACH - 1);
    assert_eq!(windows.open(own(5000, 0), now()), Err(Full::All));
}

#[test]
fn who_asks_too_often_waits() {
    let (windows, start) = (Windows::default(), Duration::from_secs(1000));
    assert_eq!((0..ASKS * 2).filter(|_| windows.may_ask(7, start)).count(), ASKS);
    assert!(windows.may_ask(8, start));
    assert!(!windows.may_ask(7, start + SPAN - Duration::from_secs(1)));
    assert!(windows.may_ask(7, start + SPAN));
    assert_eq!(windows.asked.lock().expect("a lock").len(), 1, "who has not asked for long is forgotten");
}

#[test]
fn what_came_in_stays_unless_it_shows_something_else() {
    let (windows, policy) = (Windows::default(), policy());
    let file = tempfile::NamedTempFile::new().expect("a file");
    let stat = Stat::named(file.path()).expect("its number");
    // Its time is over when the file has been read.
    let over = Arc::new(Window { until: now(), ..window(7, "/m/a.tif", "licensed") });
    let through = |known: Known, place: &str| {
        let found: [&[Match]; 0] = [];
        windows.through(&policy, &stat, &known, &to(place), found.into_iter()).is_some()
    };
    let arrived = |master: &str, tier| known("/out/x.tif", master, tier);
    assert!(!through(arrived("/m/a.tif", 1), "/out/x.tif"));
    windows.let_in(&stat, &over);
    assert!(through(arrived("/m/a.tif", 1), "/out/x.tif"));
    assert!(!through(arrived("/m/a.tif", 2), "/out/x.tif"), "it is larger than what was justified");
    assert!(!through(arrived("/m/b.tif", 1), "/out/x.tif"), "it shows another master");
    assert!(!through(arrived("/m/a.tif", 1), "/other/x.tif"), "it was moved on");
    for inode in 0..LET_IN as u64 {
        windows.let_in(&Stat { file: FileId { device: 1, inode }, ..stat }, &over);
    }
    assert_eq!(windows.let_in.lock().expect("a lock").by.len(), LET_IN);
    assert!(!through(arrived("/m/a.tif", 1), "/out/x.tif"), "the oldest went");
}
