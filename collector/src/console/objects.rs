//! The list of masters that something happened to, filtered by what stands in the address.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;
use vitrine_policy::record::last_part;

use super::filter::midnight;
use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::text::line;
use crate::server::Collector;
use crate::store::{Master, ObjectQuery, Outcome, Turn};

/// Masters on one page.
const PAGE: u32 = 50;
/// Longest text of a filter, in characters.
const TEXT: usize = 200;
/// Longest name of a collection or destination in the address, in characters: as long as they are kept.
const NAME: usize = 1300;
/// Destinations that a line names.
const NAMED: usize = 3;

/// What the address of the page says. What is missing or means nothing filters nothing.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filter {
    q: String,
    collection: String,
    to: String,
    outcome: String,
    from: String,
    until: String,
    before: Option<String>,
    after: Option<String>,
}

impl Filter {
    /// The same with every text bounded and safe to show.
    pub(super) fn bounded(self) -> Filter {
        let text = |text: &str| line(text.trim(), TEXT);
        Filter {
            q: text(&self.q),
            collection: line(&self.collection, NAME),
            to: line(&self.to, NAME),
            outcome: text(&self.outcome),
            from: text(&self.from),
            until: text(&self.until),
            before: self.before,
            after: self.after,
        }
    }

    pub(super) fn query(&self) -> ObjectQuery {
        ObjectQuery {
            text: self.q.clone(),
            collection: self.collection.clone(),
            destination: self.to.clone(),
            outcome: match self.outcome.as_str() {
                "went" => Some(Outcome::Went),
                "refused" => Some(Outcome::Refused),
                _ => None,
            },
            from: midnight(&self.from, false),
            until: midnight(&self.until, true),
        }
    }

    fn turn(&self) -> Turn {
        let place = |text: &Option<String>| {
            let (heard, number) = text.as_ref()?.split_once('.')?;
            Some((heard.parse().ok()?, number.parse().ok()?))
        };
        match (place(&self.before), place(&self.after)) {
            (Some((heard, number)), _) => Turn::Before(heard, number),
            (None, Some((heard, number))) => Turn::After(heard, number),
            (None, None) => Turn::Newest,
        }
    }

    /// The filter behind the `?` of an address, with `more` at its end.
    pub(super) fn address(&self, more: &[(&str, &str)]) -> String {
        let named = [
            ("q", self.q.as_str()),
            ("collection", &self.collection),
            ("to", &self.to),
            ("outcome", &self.outcome),
            ("from", &self.from),
            ("until", &self.until),
        ];
        let mut address = form_urlencoded::Serializer::new(String::new());
        for (name, value) in named.iter().chain(more) {
            if !value.is_empty() {
                address.append_pair(name, value);
            }
        }
        address.finish()
    }
}

#[derive(Template)]
#[template(path = "objects.html")]
struct ObjectsPage {
    bar: Bar,
    filter: Filter,
    collections: Vec<String>,
    destinations: Vec<String>,
    this: String,
    newer: Option<String>,
    older: Option<String>,
    masters: Vec<MasterView>,
}

/// A line of a list of masters.
pub(super) struct MasterView {
    pub(super) key: String,
    pub(super) name: String,
    pub(super) path: String,
    pub(super) collection: String,
    pub(super) went: u64,
    pub(super) refused: u64,
    pub(super) last: Time,
    pub(super) destinations: Vec<String>,
    pub(super) more: bool,
}

impl MasterView {
    pub(super) fn new(master: &Master) -> MasterView {
        MasterView {
            key: hex::encode(master.key),
            name: last_part(&master.path).to_owned(),
            path: master.path.clone(),
            collection: master.collection.clone(),
            went: master.went,
            refused: master.refused,
            last: Time::new(master.last_seen),
            destinations: master.destinations.iter().take(NAMED).cloned().collect(),
            more: master.destinations.len() > NAMED,
        }
    }
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Filter>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(filter) = parameters.unwrap_or_default();
    let filter = filter.bounded();
    let turn = filter.turn();
    let mut found = collector.store.objects(filter.query(), turn, PAGE + 1).await?;
    let more = found.len() > PAGE as usize;
    // The one too many stands at the end that the page does not begin with.
    match turn {
        Turn::After(..) if more => drop(found.remove(0)),
        _ => found.truncate(PAGE as usize),
    }
    let (is_newer, is_older) = match turn {
        Turn::Newest => (false, more),
        Turn::Before(..) => (true, more),
        Turn::After(..) => (more, true),
    };
    let beside = |there: bool, name: &str, master: Option<&Master>| {
        let place = |master: &Master| format!("{}.{}", master.heard, master.number);
        master.filter(|_| there).map(|master| filter.address(&[(name, &place(master))]))
    };
    let (collections, destinations) = collector.store.object_names().await?;
    super::page(&ObjectsPage {
        bar: Bar::new(&collector, signed_in, "objects").await?,
        collections,
        destinations,
        this: filter.address(&[]),
        newer: beside(is_newer, "after", found.first()),
        older: beside(is_older, "before", found.last()),
        masters: found.iter().map(MasterView::new).collect(),
        filter,
    })
}
