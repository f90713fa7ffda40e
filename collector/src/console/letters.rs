//! The page of dead letters: what agents sent that is no record, or none that can be kept.

use std::sync::Arc;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Html;
use serde::Deserialize;

use super::session::SignedIn;
use super::view::Time;
use super::{Bar, PageError};
use crate::alert::text::line;
use crate::server::Collector;
use crate::store::DeadLetter;

/// Letters on one page.
const PAGE: u32 = 50;
/// Longest name and reason, and how much of a letter is shown, in characters.
const TEXT: usize = 300;
const SHOWN: usize = 1000;

#[derive(Template)]
#[template(path = "letters.html")]
struct LettersPage {
    bar: Bar,
    letters: Vec<LetterView>,
    older: Option<i64>,
}

struct LetterView {
    received: Time,
    from: String,
    token: String,
    reason: String,
    line: String,
}

/// What the address of the page says.
#[derive(Default, Deserialize)]
pub(crate) struct Parameters {
    before: Option<i64>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let before = parameters.before.unwrap_or_default().max(0);
    let mut letters = collector.store.dead_letters(before, PAGE + 1).await?;
    let more = letters.len() > PAGE as usize;
    letters.truncate(PAGE as usize);
    super::page(&LettersPage {
        bar: Bar::new(&collector, signed_in, "hosts").await?,
        older: letters.last().filter(|_| more).map(|last| last.number),
        letters: letters.iter().map(LetterView::new).collect(),
    })
}

impl LetterView {
    fn new(letter: &DeadLetter) -> LetterView {
        LetterView {
            received: Time::new(letter.received),
            from: line(letter.host.as_deref().unwrap_or(&letter.agent), TEXT),
            token: line(&letter.token, TEXT),
            reason: line(&letter.reason, TEXT),
            line: line(&letter.line, SHOWN),
        }
    }
}
