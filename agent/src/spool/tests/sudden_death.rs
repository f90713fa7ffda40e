//! `kill -9` at any moment leaves no hole and no number twice.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

const STATE: &str = "VITRINE_TEST_SPOOL";

/// Not a test of its own: the process that is killed. It says each number that a collector could have seen.
#[test]
#[ignore = "started by the test below"]
fn the_victim() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let spool = open(Path::new(&state), SpoolLimits { max_records: 40, keep_sent: 1_000_000 });
    let victim = std::thread::spawn({
        let spool = spool.clone();
        move || loop {
            spool.push(refused());
            spool.push(notice("vanished", Some("/a")));
            spool.flush(LONG);
        }
    });
    while !victim.is_finished() {
        let batch = spool.batch(7).unwrap().records;
        batch.iter().for_each(|(sequence, _)| println!("sent {sequence}"));
        if let Some((last, _)) = batch.last() {
            spool.acked(*last).unwrap();
        }
    }
}

#[test]
fn killed_at_any_moment_it_leaves_no_hole_and_no_number_twice() {
    let state = tempfile::tempdir().unwrap();
    let name = module_path!().split_once("::").unwrap().1.to_owned() + "::the_victim";
    let mut seen = 0;
    for round in 1..=5 {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", &name])
            .env(STATE, state.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        // Somewhere in the middle of what it does, each time somewhere else.
        let wanted = seen + 20 + round * 13;
        while seen < wanted {
            let line = lines.next().expect("the victim goes on").unwrap();
            if let Some(number) = line.split("sent ").nth(1) {
                seen = seen.max(number.parse().unwrap());
            }
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        let rest = lines.map_while(Result::ok).filter_map(|line| line.split("sent ").nth(1)?.parse().ok());
        seen = rest.fold(seen, u64::max);

        let spool = open(state.path(), SpoolLimits { max_records: 1000, keep_sent: 1_000_000 });
        assert!(spool.last_sequence() >= seen, "what was sent is known: {} < {seen}", spool.last_sequence());
        assert_eq!(notices(&batch(&spool, 500), "spool-failed").len(), 0, "nothing was damaged");
        let mut numbers: Vec<_> = read(state.path(), 0, 1_000_000).unwrap().iter().map(|e| e.record.sequence).collect();
        numbers.retain(|number| *number > 0);
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=spool.last_sequence()).collect::<Vec<_>>());
    }
}
