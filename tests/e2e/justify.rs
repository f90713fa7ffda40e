//! A destination that wants a reason: refused, justified, allowed for that file, user and place, and on record.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::Value;
use vitrine_policy::decision::Verdict;
use vitrine_policy::record::{Disposition, Operation, Transfer};

use crate::desk::{ANNA, BEN, asked, shared, vitrine_as};
use crate::export::export;
use crate::world::{Builder, World, wait_until};

const REASON: &str = "loan 14, agreed with the registrar";

/// A world with two places that want a reason, one of them on the disk of the masters, for so many minutes.
pub(crate) fn with_reasons(builder: Builder, minutes: f64) -> Option<World> {
    let mut world = shared(builder.not_started())?;
    for place in ["share/courier", "ws/loans", "share/press"] {
        fs::create_dir_all(world.path(place)).expect("a directory");
        fs::set_permissions(world.path(place), fs::Permissions::from_mode(0o777)).expect("permissions");
    }
    world.set_policy("enforce", &places(&world, minutes));
    world.start();
    Some(world)
}

fn places(world: &World, minutes: f64) -> String {
    let place = |name: &str, path: &str, ceiling: &str| {
        let path = world.path(path);
        format!(
            "[[destination]]\nname = \"{name}\"\npaths = [\"{}\"]\nceiling = \"{ceiling}\"\njustify = {{ minutes = {minutes:?} }}\n",
            path.display()
        )
    };
    [("courier", "share/courier", "master"), ("loans", "ws/loans", "master"), ("press", "share/press", "public")]
        .map(|(name, path, ceiling)| place(name, path, ceiling))
        .concat()
}

/// The ID of what was refused to a user last with this file at this place.
pub(crate) fn refused_id(world: &World, uid: u32, file: &str, place: &str) -> String {
    wait_until(&format!("refusal of {file} to {uid}"), || {
        let said = vitrine_as(world, uid, &format!("why --json {file}"));
        let mut attempts = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let told = attempts.find(|told| told["destination"] == place)?;
        Some(told["id"].as_str()?.to_owned())
    })
}

pub(crate) fn justify(world: &World, uid: u32, id: &str) -> String {
    vitrine_as(world, uid, &format!("justify {id} '{REASON}'"))
}

fn was_justified(transfer: &Transfer, target: &str) -> bool {
    transfer.verdict == Verdict::AllowJustified
        && transfer.destination.as_ref().is_some_and(|to| to.target.ends_with(target))
}

#[test]
fn a_file_goes_for_a_reason_and_no_other_file_user_or_place_with_it() {
    let Some(world) = with_reasons(World::builder().with_collector(), 10.0) else { return };
    let copy =
        |uid, file: &str, place: &str| world.sh_as(&format!("cp ws/masters/{file} {place}/"), Some(uid)).succeeded;
    assert!(!copy(ANNA, "KP1_0001.jpg", "share/courier"));
    let id = refused_id(&world, ANNA, "ws/masters/KP1_0001.jpg", "courier");
    let told = vitrine_as(&world, ANNA, "why");
    assert!(told.contains(&format!("vitrine justify {id} \"the reason\"")), "{told}");
    assert!(told.contains(&format!("ID          {id}")), "{told}");

    let said = justify(&world, ANNA, &id);
    assert!(said.contains("KP1_0001.jpg may go to courier for 10 minutes"), "{said}");
    assert!(copy(ANNA, "KP1_0001.jpg", "share/courier"));
    // One that was held open first, too: in both orders.
    let held = world.sh_as("exec 3> share/courier/held.jpg; cat ws/masters/KP1_0001.jpg >&3", Some(ANNA));
    assert!(held.succeeded, "{}", held.text);

    for (uid, file, place, why) in [
        (ANNA, "KP2_0001.jpg", "share/courier", "another file"),
        (ANNA, "KP1_0001.jpg", "ws/loans", "another place that wants a reason"),
        (ANNA, "KP1_0001.jpg", "usb", "a place that may not receive it"),
        (BEN, "KP1_0001.jpg", "share/courier", "another user"),
    ] {
        assert!(!copy(uid, file, place), "{why}");
    }
    // Who has opened the place first gets the one, and not the other.
    let both = "cat ws/masters/KP1_0001.jpg ws/masters/KP2_0001.jpg > share/courier/both";
    assert!(!world.sh_as(both, Some(ANNA)).succeeded);
    assert!(world.sh("cmp ws/masters/KP1_0001.jpg share/courier/both").succeeded);
    assert!(!world.sh_as("tar cf share/courier/all.tar ws/masters", Some(ANNA)).succeeded);
    let packed = world.sh("tar tf share/courier/all.tar").text;
    assert!(!packed.contains("KP2"), "{packed}");
    let piped = world
        .sh_as("cat ws/masters/KP1_0001.jpg ws/masters/KP2_0001.jpg | (sleep 0.3; cat > share/courier/x)", Some(ANNA));
    assert!(!piped.hung);
    assert!(world.sh("cmp ws/masters/KP1_0001.jpg share/courier/x").succeeded, "{}", piped.text);

    // What went for the reason is measured where it lies, and stays there.
    for name in ["courier/KP1_0001.jpg", "courier/held.jpg"] {
        let arrived = world.recorded(&format!("the arrival of {name}"), |transfer| {
            transfer.operation == Operation::Arrive && was_justified(transfer, name)
        });
        assert_eq!(arrived.disposition, Disposition::Allowed);
        assert!(world.sh(&format!("cmp ws/masters/KP1_0001.jpg share/{name}")).succeeded);
    }
    let written = world.recorded("the copy", |transfer| {
        transfer.operation == Operation::Write && was_justified(transfer, "courier/KP1_0001.jpg")
    });
    let given = written.justification.expect("the reason");
    assert_eq!((given.reason.as_str(), written.user.map(|user| user.uid)), (REASON, Some(ANNA)));
    assert!(said.contains(&given.id), "{said}");
    assert!(world.noticed("justified").contains(REASON));

    // The centre learns who took what where, and why.
    let title = "cp: KP1_0001.jpg (master) to courier was allowed for a reason";
    let alert = wait_until("the alert", || world.alerts().into_iter().find(|alert| alert["title"] == title));
    assert!(alert["code"] == "justified" && alert["explanation"].to_string().contains(REASON), "{alert}");
    // As anybody can read them: what all records share is the dictionary of their frames.
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../collector/src/store/body.ndjson");
    let kept = format!(
        "import sqlite3, subprocess; c = sqlite3.connect('collector/collector.db', timeout=10); \
         unpack = lambda frame: subprocess.run(['zstd', '-dcq', '-D', '{shared}'], input=frame, capture_output=True).stdout; \
         print([unpack(r[0]).decode() for r in c.execute('SELECT body FROM records')])"
    );
    wait_until("the records at the collector", || {
        let kept = world.sh(&format!("python3 -c \"{kept}\"")).text;
        (kept.contains("\"code\":\"justified\"") && kept.matches(&given.id).count() >= 3).then_some(())
    });
}

#[test]
fn nobody_gets_a_window_by_an_id_that_is_not_his_nor_with_a_reason_that_is_none() {
    let Some(world) = with_reasons(World::builder(), 10.0) else { return };
    let copy = |uid| world.sh_as("cp -f ws/masters/KP1_0001.jpg share/courier/", Some(uid)).succeeded;
    assert!(!copy(ANNA) && !world.sh_as("cp ws/masters/KP2_0001.jpg usb/", Some(ANNA)).succeeded);
    let id = refused_id(&world, ANNA, "ws/masters/KP1_0001.jpg", "courier");
    let elsewhere = refused_id(&world, ANNA, "ws/masters/KP2_0001.jpg", "elsewhere");

    let others = justify(&world, BEN, &id);
    assert!(others.contains("no attempt of yours has this ID"), "{others}");
    for forged in ["00000000", "'; drop'", "../../etc", "last", &"f".repeat(3000)] {
        assert_eq!(justify(&world, BEN, &format!("\"{forged}\"")), others, "{forged}");
    }
    assert!(justify(&world, ANNA, &elsewhere).contains("a reason does not help here"), "the ceiling stays");
    assert!(vitrine_as(&world, ANNA, &format!("justify {id} short")).contains("too short"));
    assert!(
        vitrine_as(&world, ANNA, &format!("justify {id} $(head -c 100000 /dev/zero | tr '\\0' x)"))
            .contains("too long")
    );
    // By the socket itself, as a program of her own would.
    let ask = |reason: &str| asked(&world, ANNA, &format!(r#"{{"justify":{{"id":"{id}","reason":"{reason}"}}}}"#));
    assert!(ask("          ").contains("too short"));
    assert!(ask(&"x".repeat(600)).contains("too long"));
    assert!(!ask(&"x".repeat(60_000)).contains("\"given\""), "what is far too long is cut off");
    assert!(!copy(ANNA) && !copy(BEN), "no window was opened");
    assert!(world.transfers().iter().all(|transfer| transfer.verdict != Verdict::AllowJustified));

    let given = ask("loan\\u0000 14\\n\\u001b[2Jfor \\u202eLeiden");
    assert!(given.contains("loan 14 [2Jfor Leiden"), "{given}");
    assert!(world.noticed("justified").contains("“loan 14 [2Jfor Leiden”"));
    assert!(copy(ANNA) && !copy(BEN));
    let answers: Vec<_> = (0..30).map(|_| ask("loan 14, once more")).collect();
    assert!(answers.last().expect("one").contains("asked too often"), "{answers:?}");
    assert!(copy(ANNA), "the window that was opened stays");
}

#[test]
fn a_window_ends_with_its_time_and_with_the_agent_and_what_went_through_it_stays() {
    let Some(mut world) = with_reasons(World::builder(), 0.1) else { return };
    let copy = |world: &World, name: &str| {
        world.sh_as(&format!("cp ws/masters/KP1_0001.jpg share/courier/{name}"), Some(ANNA)).succeeded
    };
    assert!(!copy(&world, "a.jpg"));
    let id = refused_id(&world, ANNA, "ws/masters/KP1_0001.jpg", "courier");
    let began = Instant::now();
    assert!(justify(&world, ANNA, &id).contains("for 0.1 minutes"));
    assert!(copy(&world, "a.jpg"));
    // A copy that is under way at the end is not cut off, and not taken back when it has arrived.
    let slow = world
        .sh_as("exec 3> share/courier/slow.jpg; exec 4< ws/masters/KP1_0001.jpg; sleep 7; cat <&4 >&3", Some(ANNA));
    assert!(slow.succeeded, "{}", slow.text);
    assert!(began.elapsed() > Duration::from_secs(6));
    assert!(!copy(&world, "late.jpg"), "its time is over");
    let arrived = |name: &str| {
        world.recorded(&format!("the arrival of {name}"), |transfer| {
            transfer.operation == Operation::Arrive && was_justified(transfer, name)
        })
    };
    assert_eq!(
        (arrived("a.jpg").disposition, arrived("slow.jpg").disposition),
        (Disposition::Allowed, Disposition::Allowed)
    );
    assert_eq!(world.bytes_in("state/quarantine"), 0);

    world.set_policy("enforce", &places(&world, 10.0));
    wait_until("the longer time", || justify(&world, ANNA, &id).contains("for 10 minutes").then_some(()));
    let again = world.sh_as("cp ws/masters/KP1_0001.jpg share/courier/b.jpg", Some(ANNA));
    assert!(again.succeeded, "{}", again.text);
    arrived("b.jpg");
    world.kill_agent();
    world.start();
    assert!(!copy(&world, "c.jpg"), "the end of the agent closes it");
    assert_eq!(refused_id(&world, ANNA, "ws/masters/KP1_0001.jpg", "courier"), id, "and the ID is the same");
    assert!(justify(&world, ANNA, &id).contains("for 10 minutes"));
    assert!(copy(&world, "c.jpg"));
}

#[test]
fn a_rename_goes_for_a_reason_and_a_directory_with_another_file_does_not() {
    let Some(world) = with_reasons(World::builder(), 10.0) else { return };
    assert!(
        world
            .sh("convert-im6.q16 ws/masters/KP1_0001.jpg -resize 95% ws/work/large.png; chmod 666 ws/work/large.png")
            .succeeded
    );
    let label = world.path("ws/work/large.png");
    wait_until("the label", || {
        let question = format!(r#"{{"look":{{"path":"{}","first":false}}}}"#, label.display());
        asked(&world, 0, &question).contains("\"is_measured\":true").then_some(())
    });
    let rename = || world.sh_as("mv ws/work/large.png ws/loans/", Some(ANNA));
    rename();
    let undone = world.recorded("the rename", |transfer| transfer.operation == Operation::Rename);
    assert_eq!(undone.disposition, Disposition::Undone, "{}", undone.explanation);
    // `mv` may have ended before anybody could see whose it was.
    let id = wait_until("refusal of the rename", || {
        rename();
        let told = vitrine_as(&world, ANNA, "why --json ws/work/large.png");
        let told: Value = serde_json::from_str(told.lines().last()?).ok()?;
        Some(told["id"].as_str()?.to_owned())
    });
    assert!(justify(&world, ANNA, &id).contains("may go to loans"));

    world.sh("mkdir -m 777 ws/work/box; cp ws/masters/KP2_0001.jpg ws/work/box/; cp -l ws/work/large.png ws/work/box/");
    world.sh_as("mv ws/work/box ws/loans/", Some(ANNA));
    world.recorded("the directory", |transfer| {
        let to = transfer.destination.as_ref();
        transfer.disposition == Disposition::Undone && to.is_some_and(|to| to.target.ends_with("loans/box"))
    });
    assert!(!world.path("ws/loans/box").exists());

    let gone = wait_until("justified rename", || {
        rename();
        let mut seen = world.transfers().into_iter();
        seen.find(|one| one.operation == Operation::Rename && was_justified(one, "loans/large.png"))
    });
    assert_eq!(
        (gone.disposition, gone.justification.map(|given| given.reason)),
        (Disposition::Allowed, Some(REASON.into()))
    );
    world.recorded("its arrival", |transfer| {
        transfer.operation == Operation::Arrive && was_justified(transfer, "loans/large.png")
    });
    assert!(world.path("ws/loans/large.png").exists());
}

#[test]
fn a_derivative_is_exported_for_a_reason_and_the_master_stays() {
    let Some(world) = with_reasons(World::builder(), 10.0) else { return };
    let export = || export(&world, "ws/masters/KP1_0001.jpg --to press");
    let refused = export();
    assert!(!refused.succeeded && refused.text.contains("may go to press only for a reason"), "{}", refused.text);
    let id = refused.text.split_once("vitrine justify ").expect("the command").1.split(' ').next().expect("an ID");
    assert!(justify(&world, ANNA, id).contains("may go to press for 10 minutes"));
    let done = export();
    assert!(done.succeeded, "{}", done.text);
    let arrived = world.recorded("the arrival", |transfer| {
        transfer.operation == Operation::Arrive && was_justified(transfer, "press/KP1_0001.jpg")
    });
    assert_eq!((arrived.tier.as_str(), arrived.disposition), ("public", Disposition::Allowed));
    assert!(!world.sh_as("cp ws/masters/KP1_0001.jpg share/press/master.jpg", Some(ANNA)).succeeded);
}

#[test]
fn the_guard_that_takes_back_leaves_what_was_justified() {
    let Some(world) = World::builder().watching().not_started().build() else { return };
    let mut world = world;
    fs::create_dir_all(world.path("share/courier")).expect("a directory");
    fs::create_dir_all(world.path("ws/loans")).expect("a directory");
    world.set_policy("enforce", &places(&world, 10.0));
    world.start();
    let taken = |name: &str| {
        world.recorded(&format!("what became of {name}"), |transfer| {
            transfer.disposition == Disposition::Quarantined && transfer.file.path.ends_with(name)
        })
    };
    assert!(world.sh("cp ws/masters/KP1_0001.jpg share/courier/a.jpg").succeeded);
    taken("courier/a.jpg");
    let uid = nix::unistd::geteuid().as_raw();
    let id = refused_id(&world, uid, "share/courier/a.jpg", "courier");
    assert!(justify(&world, uid, &id).contains("a.jpg may go to courier for 10 minutes"));
    assert!(world.sh("cp ws/masters/KP1_0001.jpg share/courier/b.jpg; cp ws/masters/KP2_0001.jpg share/courier/a.jpg; cp ws/masters/KP1_0001.jpg ws/loans/").succeeded);
    let stays = world.recorded("the same picture", |transfer| was_justified(transfer, "courier/b.jpg"));
    assert_eq!((stays.disposition, stays.operation), (Disposition::Allowed, Operation::Arrive));
    assert_eq!(stays.justification.expect("the reason").reason, REASON);
    wait_until("place without the other", || (!world.path("share/courier/a.jpg").exists()).then_some(()));
    taken("loans/KP1_0001.jpg");
    assert!(world.path("share/courier/b.jpg").exists());
}
