//! The log of notifications: what was sent, what was given up and is sent again, and the test of a route.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "world/hook.rs"]
mod hook;
mod world;

use hook::{Hook, world_with};
use reqwest::StatusCode;
use vitrine_policy::record::{Event, Record};
use world::{NOON, record, until};

fn attempt(sequence: u64, user: &str) -> Record {
    let mut transfer = world::transfer();
    transfer.user.as_mut().unwrap().name = user.into();
    transfer.file.path = "/srv/<script>alert(1)</script>\n.tif".into();
    record(sequence, NOON + i64::try_from(sequence).unwrap() * 1000, Event::Transfer(Box::new(transfer)))
}

#[tokio::test]
async fn what_was_sent_and_what_was_given_up_stands_in_the_log_and_goes_again() {
    let hook = Hook::start(2).await;
    let world = world_with(&hook.route("desk", ""), 2).await;
    let session = world.set_up().await;
    world.send(&[attempt(1, "wen")]).await;
    let dead = async || {
        let page = world.page("/notifications?state=dead", &session).await;
        page.contains("Send again: message 1").then_some(page)
    };
    let page = until("the message is given up", dead).await;
    for text in ["500 Internal Server Error no", "high cp: ", "<td class=\"number\">2</td>", "1 given up"] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("<b>room</b>") && !page.contains("<script>alert"), "{page}");
    let viewer = world.user(&session, "vera", "viewer").await;
    assert_eq!(world.post(&viewer, "/notifications/again", &[("number", "1")]).await.status(), StatusCode::FORBIDDEN);
    assert!(!world.page("/notifications", &viewer).await.contains("Send again"));
    let again = world.post(&session, "/notifications/again", &[("number", "1")]).await;
    assert_eq!(again.status(), StatusCode::SEE_OTHER);
    let delivered = async || {
        let page = world.page("/notifications?state=delivered&route=desk", &session).await;
        page.contains("200 OK taken").then_some(())
    };
    until("the message is delivered", delivered).await;
    assert_eq!(hook.count(), 3);
    assert_eq!(hook.received()[0].0["vitrine-message"], hook.received()[2].0["vitrine-message"]);
    let twice = world.post(&session, "/notifications/again", &[("number", "1")]).await;
    assert_eq!(twice.status(), StatusCode::CONFLICT);
    assert!(world.page("/audit?kind=notification", &session).await.contains("sent again by route desk"));
    assert!(world.page("/notifications?route=other", &session).await.contains("No notification fits"));
}

#[tokio::test]
async fn a_route_is_tried_and_its_answer_shown() {
    let hook = Hook::start(1).await;
    let world = world_with(&hook.route("desk", ""), 5).await;
    let session = world.set_up().await;
    for expected in ["It did not go.</b> the receiver answered 500", "answer: 200 OK taken"] {
        let tried = world.post(&session, "/notifications/test", &[("route", "desk")]).await;
        assert_eq!(tried.status(), StatusCode::SEE_OTHER);
        let place = tried.headers()["location"].to_str().unwrap().to_owned();
        let page = world.page(&place, &session).await;
        assert!(page.contains("Test of desk") && page.contains(expected), "{page}");
        assert!(!page.contains("Send again"), "a test is made anew");
    }
    // Once each: the route's own task leaves tests alone.
    assert_eq!(hook.count(), 2);
    let letter = hook.letters().pop().unwrap();
    assert_eq!(letter["event"], "test");
    assert_eq!(letter["alerts"][0]["title"], "test of the route desk");
    assert!(world.alerts().await.is_empty());
    let log = world.page("/audit?kind=notification", &session).await;
    assert!(log.contains("route desk") && log.contains("tested"), "{log}");
    let none = world.post(&session, "/notifications/test", &[("route", "nobody")]).await;
    assert_eq!(none.status(), StatusCode::NOT_FOUND);
    let analyst = world.user(&session, "anna", "analyst").await;
    let denied = world.post(&analyst, "/notifications/test", &[("route", "desk")]).await;
    assert_eq!(denied.status(), StatusCode::FORBIDDEN);
    assert_eq!(hook.count(), 2);
}
