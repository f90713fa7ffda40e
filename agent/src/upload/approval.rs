//! Asks the collector whether a second person approves, while anybody waits for that: one request a time hands over what
//! is asked, and one each few seconds asks for each answer. Both can be done again, so that what is lost on the way is.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use tokio::sync::watch;
use vitrine_policy::approval::{Answer, Asked};

use super::client::{Client, Trouble};
use super::masters::Said;
use crate::approval::answer::Heard;
use crate::approval::{Approvals, Kept, Standing};

/// Longest time for one question, so that a collector that hangs does not hold up the next one.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Longest pause, also where the collector asks for more.
const LONGEST: Duration = Duration::from_secs(60);

/// Takes up what was heard of a request; it may wait for the disk.
pub(crate) type Hear = Arc<dyn Fn(&str, &Heard) + Send + Sync>;

/// What is asked, and who hears of it.
pub(crate) struct Asking {
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) heard: Hear,
}

impl Asking {
    /// Asks by the connection of the last heartbeat, as long as there are any.
    pub(super) async fn keep_going(self, mut said: watch::Receiver<Option<Said>>, every: Duration) {
        loop {
            let waiting = self.approvals.waiting();
            if waiting.is_empty() {
                tokio::select! {
                    () = self.approvals.asked() => continue,
                    more = said.changed() => if more.is_err() { return },
                }
                continue;
            }
            let client = said.borrow_and_update().as_ref().map(|said| said.client.clone());
            // One that the collector does not take now must not keep those waiting that it has.
            let (mut of_new, mut of_known) = (every, every);
            let is_known = waiting.iter().any(|one| one.state == Standing::Pending);
            if client.is_none() {
                self.approvals.is_troubled(Some("it has not been reached since the agent was started".to_owned()));
            }
            for one in waiting {
                let id = one.request.id.clone();
                let heard = match &client {
                    Some(client) if !one.is_over() => {
                        let pause = if one.state == Standing::Pending { &mut of_known } else { &mut of_new };
                        self.ask(client, one, pause).await
                    }
                    _ => Heard::Nothing,
                };
                let hear = Arc::clone(&self.heard);
                // What it did not do is done with the next answer.
                let _ = tokio::task::spawn_blocking(move || hear(&id, &heard)).await;
            }
            let pause = if is_known { of_known } else { of_new };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.approvals.asked() => {}
                more = said.changed(), if client.is_none() => if more.is_err() { return },
            }
        }
    }

    /// Hands one over, or asks how it stands. A trouble that passes makes the pause longer where the collector says so.
    async fn ask(&self, client: &Client, one: Kept, pause: &mut Duration) -> Heard {
        let is_there = one.state == Standing::Pending;
        let path = format!("/v1/approvals/{}", one.request.id);
        let request = if is_there {
            client.get(&path)
        } else {
            client.put(&path).json(&Asked { left: one.left().max(1), request: one.request })
        };
        let why = match client.ask(request.timeout(PATIENCE), MAX_ANSWER).await {
            Ok(answer) => match serde_json::from_slice::<Answer>(&answer.body) {
                Ok(answer) => {
                    self.approvals.is_troubled(None);
                    return Heard::Answer(answer);
                }
                Err(error) => format!("it answered what no collector answers ({error})"),
            },
            Err(Trouble::Away { why, after }) => {
                *pause = (*pause).max(after.unwrap_or_default().min(LONGEST));
                why
            }
            Err(Trouble::Slow { why }) => why,
            Err(Trouble::Refused { status: StatusCode::NOT_FOUND, .. }) if is_there => return Heard::Lost,
            Err(Trouble::Refused { status: StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, .. }) => {
                return Heard::Refused("the collector is older than approvals; it has to be updated".to_owned());
            }
            // With the next heartbeat there may be another certificate.
            Err(Trouble::Refused { status: StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, why }) => why,
            Err(Trouble::Refused { why, .. }) if is_there => why,
            Err(Trouble::Refused { why, .. }) => {
                return Heard::Refused(format!("the collector does not take it: {why}"));
            }
            Err(Trouble::TooLarge) => {
                return Heard::Refused("it is too large for the collector, or for a proxy before it".to_owned());
            }
        };
        self.approvals.is_troubled(Some(why));
        Heard::Nothing
    }
}
