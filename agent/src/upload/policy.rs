//! Asks the collector with each heartbeat for the policy that this workstation shall have.

use std::sync::Arc;

use reqwest::StatusCode;
use reqwest::header::{ETAG, IF_NONE_MATCH};

use super::client::{Client, Trouble};
use super::{Heartbeat, Stuck, Uploader};
use crate::fail::Failure;
use crate::policy_file::{Given, NotTaken};

/// Longest answer that is read: the longest policy as JSON, in which a character may take six bytes.
const MAX_ANSWER: usize = 6 * vitrine_policy::MAX_BYTES + 64 * 1024;

/// Checks a policy and puts it where it counts, or says why not.
pub(crate) type Take = Arc<dyn Fn(&Given) -> Result<(), NotTaken> + Send + Sync>;

impl<H: Fn() -> Heartbeat> Uploader<H> {
    /// One that is refused is recorded once, and asked for again only when it has changed or the agent was started anew.
    /// One that cannot be taken now is asked for again with the next heartbeat, and recorded when there is another reason.
    pub(super) async fn ask_for_policy(&mut self) -> Result<(), Stuck> {
        let (Some(client), Some(take)) = (&self.client, self.setup.take.clone()) else { return Ok(()) };
        let Some((tag, given)) = client.policy(self.policy_tag.as_deref()).await? else { return Ok(()) };
        let taken = tokio::task::spawn_blocking(move || take(&given)).await;
        let taken = taken.unwrap_or_else(|error| Err(NotTaken::NotNow(format!("it could not be looked at: {error}"))));
        let comes_again = matches!(taken, Err(NotTaken::NotNow(_)));
        self.policy_tag = Some(tag).filter(|_| !comes_again);
        let why = taken.err().map(|why| why.to_string());
        let before = std::mem::replace(&mut self.contact.standing().policy_refused, why.clone());
        if let Some(why) = why.filter(|why| !comes_again || before.as_ref() != Some(why)) {
            let url = &self.setup.collector.url;
            let what = format_args!("the policy that the collector {url} gives is refused: {why}");
            self.spool.push(Failure::PolicyRefused.notice(Some(url.as_bytes()), what));
        }
        Ok(())
    }
}

impl Client {
    /// The policy that the collector gives, with its entity tag; none where it gives none, or that of `tag`.
    async fn policy(&self, tag: Option<&str>) -> Result<Option<(String, Given)>, Trouble> {
        let mut request = self.get("/v1/policy");
        if let Some(tag) = tag {
            request = request.header(IF_NONE_MATCH, tag);
        }
        let answer = match self.ask(request, MAX_ANSWER).await {
            // A collector of before policies came from there.
            Err(Trouble::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            other => other?,
        };
        if matches!(answer.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
            return Ok(None);
        }
        let wrong = |why: String| Trouble::Away { why: format!("its policy is none: {why}"), after: None };
        let given = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
        let tag = answer.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        Ok(Some((tag.ok_or_else(|| wrong("it has no entity tag".to_owned()))?.to_owned(), given)))
    }
}
