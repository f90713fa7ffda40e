//! How the collector is asked for approvals.

use vitrine_policy::approval::State;

use super::*;
use crate::approval::answer::Heard as Said;
use crate::approval::tests::new_request;
use crate::approval::{Approvals, Standing};

const PENDING: &str = r#"{"id":"","fingerprint":"","state":"pending","by":null,"at":null}"#;
const DENIED: &str = r#"{"id":"","fingerprint":"","state":"denied","by":"ines","at":1,"note":"no"}"#;

/// Takes up what is heard without looking at it.
fn asking(world: &mut World) -> Arc<Approvals> {
    let approvals = Arc::new(Approvals::open(world.directory.path()).0);
    let own = approvals.clone();
    let heard = move |id: &str, said: &Said| match said {
        Said::Answer(answer) if answer.state == State::Pending => own.is_there(id, true).unwrap(),
        Said::Answer(_) => drop(own.settle(id, Standing::Denied, None, "").unwrap()),
        Said::Refused(why) => drop(own.settle(id, Standing::Failed, None, why).unwrap()),
        Said::Lost => own.is_there(id, false).unwrap(),
        Said::Nothing => {}
    };
    world.asking = Some(Asking { approvals: approvals.clone(), heard: Arc::new(heard) });
    world.pace.request = LONG;
    approvals
}

fn requests(server: &Server, method: &str) -> usize {
    let path = format!("{method} /v1/approvals/");
    server.heard(|heard| heard.requests.iter().filter(|request| request.starts_with(&path)).count())
}

/// From now on these requests are answered so.
fn now_answers(server: &Server, text: &'static str, answer: Answer) {
    server.heard.lock().unwrap().always.insert(0, (text, answer));
}

#[tokio::test]
async fn what_is_asked_is_handed_over_asked_about_and_handed_over_again_where_it_was_lost() {
    let server = Server::start([]).await;
    server.always("put /v1/approvals/", Answer::Status(200, "", PENDING));
    server.always("get /v1/approvals/", Answer::Status(200, "", PENDING));
    let mut world = World::new(&server.url);
    let approvals = asking(&mut world);
    let _world = world.upload();
    eventually(|| server.heard(|heard| !heard.heartbeats.is_empty())).await;
    assert_eq!((requests(&server, "put"), requests(&server, "get")), (0, 0), "nobody waits, nobody asks");
    let own = new_request(1);
    approvals.ask(own.clone()).unwrap();
    eventually(|| requests(&server, "get") >= 3).await;
    assert_eq!(requests(&server, "put"), 1);
    // It has another database.
    now_answers(&server, "get /v1/approvals/", Answer::Status(404, "", r#"{"error":"no such request"}"#));
    eventually(|| requests(&server, "put") >= 2).await;
    // It hangs up, and is back.
    now_answers(&server, "/v1/approvals/", Answer::HangUp);
    let before = requests(&server, "put") + requests(&server, "get");
    eventually(|| requests(&server, "put") + requests(&server, "get") >= before + 3).await;
    assert!(approvals.waiting()[0].state.waits());
    now_answers(&server, "/v1/approvals/", Answer::Status(200, "", DENIED));
    eventually(|| approvals.waiting().is_empty()).await;
    let after = requests(&server, "put") + requests(&server, "get");
    assert_eq!(approvals.of(Some(7), &own.attempt).unwrap().state, Standing::Denied);
    approvals.ask(new_request(2)).unwrap();
    eventually(|| approvals.waiting().is_empty()).await;
    assert_eq!(requests(&server, "put") + requests(&server, "get"), after + 1, "one answer, one request");
}

#[tokio::test]
async fn what_the_collector_does_not_take_comes_to_an_end_and_what_it_takes_later_waits() {
    let server = Server::start([]).await;
    let mut world = World::new(&server.url);
    let approvals = asking(&mut world);
    let _world = world.upload();
    for (nth, answer, expected) in [
        (1, Answer::Status(404, "", r#"{"error":"no such address"}"#), "older than approvals"),
        (2, Answer::Status(400, "", r#"{"error":"`reason` has 501 characters","expected":"x"}"#), "`reason`"),
        (3, Answer::Status(413, "", "{}"), "too large"),
    ] {
        now_answers(&server, "put /v1/approvals/", answer);
        approvals.ask(new_request(nth)).unwrap();
        eventually(|| approvals.waiting().is_empty()).await;
        let told = approvals.of(Some(7), &new_request(nth).attempt).unwrap();
        assert!(told.state == Standing::Failed && told.note.contains(expected), "{told:?}");
    }
    let busy = Answer::Status(429, "Retry-After: 0\r\n", r#"{"error":"16 requests of this agent wait for an answer"}"#);
    for answer in [busy, Answer::Status(401, "", "{}"), Answer::Status(503, "", "{}"), Answer::Status(200, "", "[]")] {
        let before = requests(&server, "put");
        now_answers(&server, "put /v1/approvals/", answer);
        let _ = approvals.ask(new_request(4));
        eventually(|| requests(&server, "put") >= before + 2).await;
        assert_eq!(approvals.waiting().len(), 1);
    }
    now_answers(&server, "put /v1/approvals/", busy);
    eventually(|| approvals.of(Some(7), &new_request(4).attempt).unwrap().note.contains("16 requests")).await;
}
