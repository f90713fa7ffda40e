//! Silences: what is kept back, by whom it is said, and what comes through all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use hook::{Hook, world_with};
use reqwest::StatusCode;
use vitrine_policy::record::{Event, Record};
use world::{NOON, World, record, until};

fn attempt(sequence: u64, user: &str, to: &str) -> Record {
    let mut transfer = world::transfer();
    transfer.user.as_mut().unwrap().name = user.into();
    transfer.destination.as_mut().unwrap().name = to.into();
    record(sequence, NOON + i64::try_from(sequence).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

async fn silence(world: &World, session: &str, form: &[(&str, &str)]) -> StatusCode {
    let form = [form, &[("hours", "8"), ("reason", "the disks are being moved")]].concat();
    world.post(session, "/silences", &form).await.status()
}

/// Waits until another user's alert was told of, so that there was time to tell of others.
async fn another_is_told_of(world: &World, hook: &Hook, sequence: u64) {
    let user = format!("user{sequence}");
    world.send(&[attempt(sequence, &user, "archive")]).await;
    until("the other is told of", async || {
        hook.letters().iter().any(|letter| letter["alerts"][0]["user"] == user.as_str()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_silenced_alert_is_raised_and_listed_and_told_to_nobody() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", ""), 10).await;
    let session = world.set_up().await;
    assert_eq!(silence(&world, &session, &[("user", "we?"), ("destination", "courier*")]).await, StatusCode::SEE_OTHER);
    world.send(&[attempt(1, "wen", "courier disk")]).await;
    another_is_told_of(&world, &hook, 2).await;
    assert_eq!(hook.count(), 1);
    let alerts = world.alerts().await;
    let kept = alerts.iter().find(|alert| alert["user"] == "wen").unwrap();
    assert_eq!((&kept["state"], &kept["silenced"]), (&"open".into(), &1.into()));
    let page = world.page(&format!("/alerts/{}", kept["id"]), &session).await;
    assert!(page.contains("nobody is told of it") && page.contains("the disks are being moved"), "{page}");
    assert!(world.page("/?user=wen", &session).await.contains("<small>silenced</small>"));
    let page = world.page("/silences", &session).await;
    assert!(page.contains("we?") && page.contains("<td class=\"number\">1</td>"), "{page}");

    // It also goes elsewhere: now it is more than was silenced.
    world.send(&[attempt(3, "wen", "elsewhere")]).await;
    hook.wait_for(2).await;
    let letter = hook.letters().pop().unwrap();
    assert_eq!((&letter["event"], &letter["alerts"][0]["user"]), (&"alert.created".into(), &"wen".into()));
    assert!(letter["alerts"][0].get("silenced").is_none());
}

#[tokio::test]
async fn what_outgrows_its_silence_does_not_wait_until_it_would_be_told_of_again() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", "repeat = \"1h\""), 10).await;
    let session = world.set_up().await;
    assert_eq!(silence(&world, &session, &[("user", "wen"), ("destination", "courier*")]).await, StatusCode::SEE_OTHER);
    world.send(&[attempt(1, "wen", "courier disk")]).await;
    another_is_told_of(&world, &hook, 2).await;
    world.send(&[attempt(3, "wen", "elsewhere")]).await;
    hook.wait_for(2).await;
    let letter = hook.letters().pop().unwrap();
    assert_eq!((&letter["event"], &letter["alerts"][0]["user"]), (&"alert.created".into(), &"wen".into()));
}

#[tokio::test]
async fn a_silence_that_was_ended_or_is_over_keeps_nothing_back() {
    let hook = Hook::start(0).await;
    let world = world_with(&hook.route("desk", ""), 10).await;
    let session = world.set_up().await;
    silence(&world, &session, &[("host", "scan-*")]).await;
    assert_eq!(world.post(&session, "/silences/end", &[("number", "1")]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(world.post(&session, "/silences/end", &[("number", "1")]).await.status(), StatusCode::CONFLICT);
    world.send(&[attempt(1, "wen", "courier disk")]).await;
    hook.wait_for(1).await;
    silence(&world, &session, &[("host", "scan-*")]).await;
    let database = world.directory.by_hand();
    assert_eq!(database.execute("UPDATE silences SET until = 1 WHERE ended IS NULL"), 1);
    world.send(&[attempt(2, "mei", "courier disk")]).await;
    hook.wait_for(2).await;
    let page = world.page("/silences", &session).await;
    assert!(page.contains("by ines") && page.contains("No silence lasts"), "{page}");
    let log = world.page("/audit?kind=silence", &session).await;
    for text in ["silence 1", "reason: the disks are being moved", "ended"] {
        assert!(log.contains(text), "{text}: {log}");
    }
}

#[tokio::test]
async fn one_that_says_too_little_or_too_much_is_refused() {
    let world = World::new().await;
    let session = world.set_up().await;
    for (form, expected) in [
        (&[("host", ""), ("hours", "8"), ("reason", "x")][..], "A silence of everything is none"),
        (&[("host", "*"), ("hours", "8"), ("reason", "x")], "A silence of everything is none"),
        (&[("host", "?*"), ("user", "*?*"), ("hours", "8"), ("reason", "x")], "A silence of everything is none"),
        (&[("host", "scan-["), ("hours", "8"), ("reason", "x")], "is no pattern"),
        (&[("host", "scan-07"), ("hours", ""), ("reason", "x")], "after how many hours"),
        (&[("host", "scan-07"), ("hours", "721"), ("reason", "x")], "1 to 720"),
        (&[("host", "scan-07"), ("hours", "0"), ("reason", "x")], "1 to 720"),
        (&[("host", "scan-07"), ("hours", "8"), ("reason", " ")], "Give a reason"),
    ] {
        let response = world.post(&session, "/silences", form).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{form:?}");
        let page = response.text().await.unwrap();
        assert!(page.contains(expected), "{form:?}: {page}");
    }
    assert!(world.page("/silences", &session).await.contains("No silence lasts"));
    let viewer = world.user(&session, "vera", "viewer").await;
    assert_eq!(silence(&world, &viewer, &[("host", "scan-07")]).await, StatusCode::FORBIDDEN);
    assert!(!world.page("/silences", &viewer).await.contains("Add a silence"));
    let analyst = world.user(&session, "anna", "analyst").await;
    assert_eq!(silence(&world, &analyst, &[("host", "<b>scan-07")]).await, StatusCode::SEE_OTHER);
    assert!(!world.page("/silences", &analyst).await.contains("<b>scan"));
}

#[tokio::test]
async fn an_alert_leads_to_a_silence_of_others_like_it() {
    let world = World::new().await;
    let session = world.set_up().await;
    world.send(&[attempt(1, "w*n", "courier disk")]).await;
    let page = world.page("/alerts/1", &session).await;
    let (_, link) = page.split_once("href=\"/silences?").unwrap();
    let link = link.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&");
    let form = world.page(&format!("/silences?{link}"), &session).await;
    for value in ["value=\"scan-07\"", "value=\"w[*]n\"", "value=\"courier disk\"", "K2B_0012.tif\""] {
        assert!(form.contains(value), "{value}: {form}");
    }
}
