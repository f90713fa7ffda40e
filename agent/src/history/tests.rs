//! What always holds of the history, each with a test.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use vitrine_fingerprint::{Kind, Master};
use vitrine_policy::decision::{Rule, Verdict};
use vitrine_policy::facts::{History as Told, Origin, Program, Tier};
use vitrine_policy::record::Event;

use super::*;

const POLICY: &str = "version = 1\nmode = \"enforce\"\n\
    [[collection]]\nname = \"masters\"\npaths = [\"/masters\"]\nobject = '^(?<object>[A-Z0-9]+)_'\n\
    [[tier]]\nname = \"public\"\nmax-megapixels = 6\nmax-scale = 0.6\n\
    [[destination]]\nname = \"courier\"\npaths = [\"/courier\"]\nceiling = \"master\"\nmax-coverage = 0.25\n\
    [[destination]]\nname = \"loans\"\npaths = [\"/loans\"]\nceiling = \"master\"\nmax-objects-per-day = 2\n\
    [elsewhere]\nceiling = \"master\"\n";
const TODAY: &str = "2026-11-26";

struct World {
    history: History,
    policy: Policy,
    told: Arc<Mutex<Vec<String>>>,
    state: Arc<tempfile::TempDir>,
}

impl World {
    fn new() -> World {
        World::at(Arc::new(tempfile::tempdir().unwrap()))
    }

    fn at(state: Arc<tempfile::TempDir>) -> World {
        let told: Arc<Mutex<Vec<String>>> = Arc::default();
        let report: Report = {
            let told = told.clone();
            Arc::new(move |event| {
                let Event::Notice(notice) = event else { return };
                told.lock().unwrap().push(notice.code);
            })
        };
        let policy = Policy::parse("policy.toml", POLICY).unwrap();
        World { history: History::open(state.path().join(FILE), report), policy, told, state }
    }

    /// The same after the agent's end.
    fn again(&self) -> World {
        World::at(self.state.clone())
    }

    fn file(&self) -> PathBuf {
        self.state.path().join(FILE)
    }

    fn sends_on(&self, day: &str, shows: &[Match], to: &str) -> Judged {
        let masters = shows.iter().map(|found| found.master.path.as_path().into()).collect();
        let known = known(masters);
        self.history.judge_on(&on(day), &self.policy, facts(&known, to), &shown(&self.policy, &known, shows))
    }

    fn sends(&self, shows: &[Match], to: &str) -> Judged {
        self.sends_on(TODAY, shows, to)
    }

    fn told(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

fn on(day: &str) -> Day {
    Day { name: day.to_owned(), until: jiff::Timestamp::MAX }
}

fn known(masters: Vec<Arc<Path>>) -> Known {
    Known { tier: Tier(1), origin: Origin::Measured, masters, file: Path::new("/f").into(), measured: None }
}

fn facts(known: &Known, to: &str) -> Facts {
    let destination = Destination::Path { path: to.into(), mount: None };
    let attempt = Attempt::Transfer { label: known.label(), destination, history: Told::default() };
    Facts { program: Program::default(), attempt }
}

/// A sixteenth of a master, by its number.
fn tile(master: &str, number: u32) -> Match {
    let (x, y) = (f64::from(number % 4) / 4.0, f64::from(number / 4) / 4.0);
    let region = vec![(x, y), (x + 0.25, y), (x + 0.25, y + 0.25), (x, y + 0.25)];
    Match { kind: Kind::Fragment, coverage: 1.0 / 16.0, region, ..whole(master) }
}

fn whole(master: &str) -> Match {
    Match {
        master: Master {
            id: 1,
            path: master.into(),
            collection: "masters".into(),
            object: None,
            width: 100,
            height: 100,
            bit_depth: 8,
        },
        kind: Kind::Exact,
        scale: 1.0,
        coverage: 1.0,
        region: Vec::new(),
        score: 1.0,
    }
}

fn coverage(judged: &Judged) -> f64 {
    let Attempt::Transfer { history, .. } = &judged.facts.attempt else { panic!("a transfer") };
    history.coverage.unwrap_or(0.0)
}

fn objects(judged: &Judged) -> Option<u32> {
    let Attempt::Transfer { history, .. } = &judged.facts.attempt else { panic!("a transfer") };
    history.objects_today
}

const K1: &str = "/masters/K1_01.tif";

#[test]
fn four_tiles_may_go_and_the_fifth_may_not_though_the_agent_began_anew() {
    let mut world = World::new();
    for number in 0..4 {
        let judged = world.sends(&[tile(K1, number)], "/courier/a.jpg");
        assert_eq!(judged.decision.verdict, Verdict::Allow, "{number}: {}", coverage(&judged));
        assert!(judged.adds_a_fragment);
        world = world.again();
    }
    let fifth = world.sends(&[tile(K1, 4)], "/courier/b.jpg");
    assert_eq!(fifth.decision.rule, Rule::Coverage { destination: "courier".into() });
    assert!((coverage(&fifth) - 5.0 / 16.0).abs() < 1e-9, "what it would be");
    // It was taken back, so that it does not count; what is there already may go again.
    let again = world.sends(&[tile(K1, 3)], "/courier/c.jpg");
    assert_eq!((again.decision.verdict, coverage(&again), again.adds_a_fragment), (Verdict::Allow, 0.25, false));
    assert_eq!(world.sends(&[tile("/masters/K2_01.tif", 4)], "/courier/d.jpg").decision.verdict, Verdict::Allow);
    assert!(world.told().is_empty(), "{:?}", world.told());
}

#[test]
fn what_could_not_be_taken_back_counts() {
    let world = World::new();
    let refused = world.sends(&[whole(K1)], "/courier/a.jpg");
    assert_eq!(refused.decision.verdict, Verdict::Block);
    assert_eq!(coverage(&world.sends(&[tile(K1, 1)], "/courier/b.jpg")), 1.0 / 16.0);
    world.history.stayed(&refused);
    assert_eq!(coverage(&world.sends(&[tile(K1, 2)], "/courier/b.jpg")), 1.0);
}

#[test]
fn what_audit_lets_through_counts_when_it_is_enforced() {
    let mut world = World::new();
    world.policy = Policy::parse("policy.toml", &POLICY.replace("enforce", "audit")).unwrap();
    for number in 0..6 {
        let judged = world.sends(&[tile(K1, number)], "/courier/a.jpg");
        assert_eq!(coverage(&judged), f64::from(number + 1) / 16.0);
        assert_eq!(judged.decision.verdict == Verdict::Block, number >= 4, "{number}");
    }
    let world = world.again();
    let again = world.sends(&[tile(K1, 0)], "/courier/a.jpg");
    assert_eq!((again.decision.verdict, coverage(&again)), (Verdict::Block, 6.0 / 16.0), "nothing more of it");
}

#[test]
fn sixteen_tiles_on_sixteen_days_are_the_whole_and_one_tile_is_one() {
    let world = World::new();
    for number in 0..16 {
        let day = format!("2026-11-{:02}", number + 1);
        let all = world.sends_on(&day, &[tile(K1, number)], "/elsewhere/a.jpg");
        assert!((coverage(&all) - f64::from(number + 1) / 16.0).abs() < 0.01);
        let same = world.sends_on(&day, &[tile("/masters/K2_01.tif", 7)], "/elsewhere/a.jpg");
        assert!((coverage(&same) - 1.0 / 16.0).abs() < 0.01);
    }
}

#[test]
fn destinations_and_masters_count_each_for_itself() {
    let world = World::new();
    world.sends(&[tile(K1, 0)], "/loans/a.jpg");
    let both = world.sends(&[tile(K1, 1), tile(K1, 2), tile("/masters/K2_01.tif", 0)], "/elsewhere/a.jpg");
    let shares: Vec<f64> = both.sent.iter().map(|(_, share)| *share).collect();
    assert_eq!((shares, coverage(&both)), (vec![2.0 / 16.0, 1.0 / 16.0], 2.0 / 16.0));
    assert_eq!(coverage(&world.sends(&[tile(K1, 3)], "/other/a.jpg")), 1.0 / 16.0, "another place that nobody named");
}

#[test]
fn what_the_public_sees_adds_nothing_and_what_nobody_recognised_may_be_all() {
    let world = World::new();
    let small = Match { scale: 0.6, ..whole(K1) };
    let judged = world.sends(&[small], "/courier/a.jpg");
    assert_eq!((judged.decision.verdict, judged.sent.len(), objects(&judged)), (Verdict::Allow, 0, Some(1)));
    let packed = known(vec![Path::new(K1).into()]);
    let packed = world.history.judge_on(
        &on(TODAY),
        &world.policy,
        facts(&packed, "/courier/a.tgz"),
        &shown(&world.policy, &packed, &[]),
    );
    assert_eq!((packed.decision.verdict, coverage(&packed)), (Verdict::Block, 1.0));
}

#[test]
fn objects_are_counted_by_the_day_each_once() {
    let world = World::new();
    let object = |number: u32| whole(&format!("/masters/K{number}_01.tif"));
    assert_eq!(objects(&world.sends(&[object(1)], "/loans/a.jpg")), Some(1));
    assert_eq!(objects(&world.sends(&[whole("/masters/K1_02.tif")], "/loans/a.jpg")), Some(1), "the same object");
    assert_eq!(objects(&world.sends(&[object(2)], "/loans/a.jpg")), Some(2));
    let third = world.sends(&[object(3)], "/loans/a.jpg");
    assert_eq!(
        (third.decision.rule.clone(), objects(&third)),
        (Rule::ObjectsPerDay { destination: "loans".into() }, Some(3))
    );
    let again = world.again();
    assert_eq!(objects(&again.sends(&[object(1)], "/loans/b.jpg")), Some(2), "also after the agent's end");
    assert_eq!(again.sends(&[object(3)], "/loans/b.jpg").decision.verdict, Verdict::Block);
    assert_eq!(objects(&again.sends_on("2026-11-27", &[object(3)], "/loans/b.jpg")), Some(1), "another day");
    assert_eq!(again.sends(&[object(3)], "/loans/b.jpg").decision.verdict, Verdict::Block, "a clock that was put back");
}

#[test]
fn the_gate_is_told_the_least_that_it_will_be() {
    let world = World::new();
    let (to, masters) = (|to: &str| Destination::Path { path: to.into(), mount: None }, ["K1", "K2", "K3"]);
    let master = |object: &str| -> Arc<Path> { Path::new("/masters").join(format!("{object}_01.tif")).into() };
    let at_least = |known: &Known| world.history.objects_at_least(&world.policy, &to("/loans/a"), known);
    let today = Day::now().name;
    assert_eq!(at_least(&known(masters.map(master).to_vec())), Some(1), "it may be one of them alone");
    for object in &masters[..2] {
        let _ = world.sends_on(&today, &[whole(&format!("/masters/{object}_01.tif"))], "/loans/a");
    }
    assert_eq!(at_least(&known(vec![master("K3")])), Some(3));
    assert_eq!(at_least(&known(masters.map(master).to_vec())), Some(2), "it may be one that is there");
    assert_eq!(world.history.objects_at_least(&world.policy, &to("/courier/a"), &known(vec![master("K3")])), None);
}

#[test]
fn two_that_arrive_at_once_both_count() {
    let world = World::new();
    let allowed = std::thread::scope(|scope| {
        let send = |number| {
            let world = &world;
            scope.spawn(move || world.sends(&[tile(K1, number)], "/courier/a.jpg").decision.verdict == Verdict::Allow)
        };
        let threads: Vec<_> = (0..16).map(send).collect(); // all of them before the first is waited for
        threads.into_iter().map(|thread| u32::from(thread.join().unwrap())).sum::<u32>()
    });
    assert_eq!(allowed, 4);
    // Any of them again: nothing was lost on the disk.
    let kept = |number| world.again().sends(&[tile(K1, number)], "/courier/a.jpg");
    assert_eq!((0..16).filter(|number| kept(*number).decision.verdict == Verdict::Allow).count(), 4);
}

#[test]
fn a_renamed_master_takes_its_history_along() {
    let world = World::new();
    let other = "/masters/box/K1_01.tif";
    world.sends(&[tile(K1, 0)], "/elsewhere/a.jpg");
    world.sends(&[tile(other, 1)], "/elsewhere/a.jpg");
    world.history.renamed(Path::new(K1), Path::new(other));
    assert_eq!(coverage(&world.sends(&[tile(other, 2)], "/elsewhere/a.jpg")), 3.0 / 16.0);
    assert_eq!(coverage(&world.sends(&[tile(K1, 2)], "/elsewhere/a.jpg")), 1.0 / 16.0);
}

#[test]
fn a_damaged_file_is_set_aside_and_it_counts_anew() {
    for damage in [b"not a database, and long enough to be none of any kind".as_slice(), b"x", &[0; 5000]] {
        let world = World::new();
        world.sends(&[tile(K1, 0)], "/courier/a.jpg");
        fs::write(world.file(), damage).unwrap();
        let again = world.again();
        assert_eq!(again.told(), ["history-set-aside"], "{} bytes", damage.len());
        assert_eq!(coverage(&again.sends(&[tile(K1, 1)], "/courier/a.jpg")), 1.0 / 16.0);
        assert_eq!(coverage(&again.again().sends(&[tile(K1, 2)], "/courier/a.jpg")), 2.0 / 16.0);
        assert_eq!(again.told().len(), 1);
    }
}

#[test]
fn a_bit_that_turned_in_an_area_is_damage() {
    let world = World::new();
    world.sends(&[tile(K1, 0)], "/courier/a.jpg");
    let connection = rusqlite::Connection::open(world.file()).unwrap();
    let mut cells: Vec<u8> = connection.query_row("SELECT cells FROM area", [], |row| row.get(0)).unwrap();
    assert!(cells.len() < 100, "a tile is {} bytes", cells.len());
    cells[20] ^= 1;
    connection.execute("UPDATE area SET cells = ?", [cells]).unwrap();
    drop(connection);
    assert_eq!(coverage(&world.sends(&[tile(K1, 1)], "/courier/a.jpg")), 1.0 / 16.0);
    assert_eq!(world.told(), ["history-set-aside"]);
    assert_eq!(fs::read_dir(world.state.path()).unwrap().count(), 2, "nothing is deleted");
}

#[test]
fn nothing_keeps_the_agent_from_counting_in_memory() {
    let state = Arc::new(tempfile::tempdir().unwrap());
    fs::create_dir(state.path().join(FILE)).unwrap();
    let world = World::at(state);
    for number in 0..4 {
        assert_eq!(world.sends(&[tile(K1, number)], "/courier/a.jpg").decision.verdict, Verdict::Allow);
    }
    assert_eq!(world.sends(&[tile(K1, 4)], "/courier/a.jpg").decision.verdict, Verdict::Block);
    assert_eq!(world.told(), ["history-failed"], "once");
    // The next one finds that it can be written.
    fs::remove_dir(world.file()).unwrap();
    world.sends(&[tile(K1, 0)], "/courier/a.jpg");
    assert_eq!(coverage(&world.again().sends(&[tile(K1, 4)], "/courier/a.jpg")), 5.0 / 16.0);
}

#[test]
fn a_full_disk_loses_nothing_while_the_agent_lives() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    // In a mount namespace of its own thread: nothing is left behind.
    let tested = std::thread::spawn(|| {
        use nix::mount::MsFlags;
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        nix::mount::mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        let state = Arc::new(tempfile::tempdir().unwrap());
        let size = Some("size=256k");
        nix::mount::mount(Some("none"), state.path(), Some("tmpfs"), MsFlags::empty(), size).unwrap();
        let world = World::at(state.clone());
        world.sends(&[tile(K1, 0)], "/courier/a.jpg");
        let filler = state.path().join("filler");
        let _ = fs::write(&filler, vec![1; 1 << 20]);
        for number in 1..4 {
            let judged = world.sends(&[tile(K1, number)], "/courier/a.jpg");
            assert!((coverage(&judged) - f64::from(number + 1) / 16.0).abs() < 1e-9);
        }
        assert_eq!(world.told(), ["history-failed"]);
        // What was written is known to an agent that starts on the full disk.
        assert_eq!(coverage(&world.again().sends(&[tile(K1, 9)], "/courier/b.jpg")), 2.0 / 16.0);
        fs::remove_file(&filler).unwrap();
        world.sends(&[tile(K1, 0)], "/courier/a.jpg");
        assert_eq!(coverage(&world.again().sends(&[tile(K1, 9)], "/courier/b.jpg")), 5.0 / 16.0);
        nix::mount::umount2(state.path(), nix::mount::MntFlags::MNT_DETACH).unwrap();
    });
    tested.join().unwrap();
}

#[test]
fn what_is_dropped_is_told_and_what_is_limited_goes_last() {
    let world = World::new();
    {
        let mut store = world.history.store();
        (store.max_areas, store.look) = (3, 1);
    }
    world.sends(&[tile(K1, 0)], "/courier/a.jpg");
    for number in 0..5 {
        let _ = world.sends(&[tile(K1, 0)], &format!("/place{number}/a.jpg"));
    }
    assert!(world.told().iter().all(|code| code == "history-full") && world.told().len() == 3, "{:?}", world.told());
    assert_eq!(coverage(&world.sends(&[tile(K1, 1)], "/courier/a.jpg")), 2.0 / 16.0);
}

#[test]
fn what_waits_for_a_disk_is_bounded() {
    let state = Arc::new(tempfile::tempdir().unwrap());
    fs::create_dir(state.path().join(FILE)).unwrap();
    let world = World::at(state);
    world.history.store().max_waiting = 4;
    for number in 0..3 {
        world.sends(&[tile(K1, number)], "/elsewhere/a.jpg");
    }
    assert_eq!(world.told(), ["history-failed", "history-full"]);
}

const STATE: &str = "VITRINE_TEST_HISTORY";

/// Not a test of its own: the process that is killed. It says each tile that has been counted.
#[test]
#[ignore = "started by the test below"]
fn the_victim() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let policy = Policy::parse("policy.toml", POLICY).unwrap();
    let history = History::open(Path::new(&state).join(FILE), Arc::new(|_| panic!("nothing is damaged")));
    for round in 0.. {
        let master = format!("/masters/K{}_01.tif", round / 16);
        let (found, known) = (tile(&master, round % 16), known(vec![Path::new(&master).into()]));
        let _ = history.judge_on(&on(TODAY), &policy, facts(&known, "/elsewhere/a"), &shown(&policy, &known, &[found]));
        println!("sent {round}");
    }
}

#[test]
fn killed_at_any_moment_it_remembers_all_that_was_counted() {
    let name = module_path!().split_once("::").unwrap().1.to_owned() + "::the_victim";
    let state = Arc::new(tempfile::tempdir().unwrap());
    for round in 1..=5_u32 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &name])
            .env(STATE, state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        let mut sent = lines.map_while(Result::ok).filter_map(|line| line.split("sent ").nth(1)?.parse::<u32>().ok());
        // Somewhere in the middle of what it does, each time somewhere else.
        let wanted = 20 + round * 13;
        let mut last = sent.find(|number| *number >= wanted).expect("the victim goes on");
        victim.kill().unwrap();
        victim.wait().unwrap();
        last = sent.fold(last, u32::max);
        let world = World::at(state.clone());
        for master in 0..=last / 16 {
            let counted = if master < last / 16 { 16 } else { last % 16 + 1 };
            let judged = world.sends(&[tile(&format!("/masters/K{master}_01.tif"), 0)], "/elsewhere/a");
            assert!(coverage(&judged) >= f64::from(counted) / 16.0 - 1e-9, "{master}: {}", coverage(&judged));
        }
        assert!(world.told().is_empty(), "{:?}", world.told());
    }
}
