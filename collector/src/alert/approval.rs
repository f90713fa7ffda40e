//! Alerts about requests for approval, so that routes tell whoever can answer.

use vitrine_policy::approval::Request;
use vitrine_policy::record::{Severity, last_part};

use super::text::line;
use super::{APPROVAL, Alert, EXPLANATION, Kind, NAME, State, name};

impl Alert {
    /// An alert about a request that waits; `number` is that of the page of approvals.
    pub(crate) fn asked(number: i64, host: &str, request: &Request, received: i64) -> Alert {
        let mut alert = Alert::new(host, &request.agent, received, received);
        alert.kind = Kind::Approval;
        alert.severity = Severity::Medium;
        alert.code = Some(APPROVAL.into());
        alert.attempts = 1;
        let user = request.user.as_ref().map(|user| line(&user.name, NAME));
        let who = user.clone().unwrap_or_else(|| "somebody".into());
        alert.user = user;
        alert.tier = Some(line(&request.tier, NAME));
        for master in &request.masters {
            name(&mut alert.masters, line(&master.path, NAME));
            name(&mut alert.collections, line(&master.collection, NAME));
        }
        alert.destinations.push(line(&format!("{} ({})", request.destination, request.target), NAME));
        alert.destination_names.push(line(&request.destination, NAME));
        let (file, to) = (last_part(&request.file), &request.destination);
        alert.title = line(&format!("{who} asks that {file} ({}) may go to {to}", request.tier), NAME);
        alert.explanation = line(
            &format!(
                "The policy wants a second person's approval: answer request {number} on the page Approvals. The reason \
                 given: \u{201c}{}\u{201d}. When somebody has answered, this alert ends by itself.",
                request.reason
            ),
            EXPLANATION,
        );
        alert
    }

    /// Somebody has answered the request.
    pub(crate) fn answered(&mut self, by: &str, approves: bool, received: i64) {
        self.last_seen = received;
        self.changed = received;
        if self.state == State::Open {
            self.state = State::Resolved;
        }
        let outcome = if approves { "approved" } else { "denied" };
        self.explanation = line(&format!("{} {outcome} it.", line(by, NAME)), EXPLANATION);
    }
}
