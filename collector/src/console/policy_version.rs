//! One version of the policy: its text, and line by line what it changes.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use serde::Deserialize;
use similar::{ChangeTag, TextDiff};

use super::policy::VersionView;
use super::session::SignedIn;
use super::{Bar, PageError, page as render};
use crate::alert::text::line;
use crate::refusal::Refusal;
use crate::server::Collector;

/// Longest line that is shown, in characters.
const LINE: usize = 1000;
/// Lines that are shown of a difference.
const LINES: usize = 5000;
/// Lines around each change.
const AROUND: usize = 3;
/// Longest that looking for the shortest difference may take; then a longer one is shown.
const PATIENCE: Duration = Duration::from_millis(500);

#[derive(Template)]
#[template(path = "policy_version.html")]
struct VersionPage {
    bar: Bar,
    view: VersionView,
    /// Number of the version that it is set against.
    against: Option<i64>,
    others: Vec<i64>,
    lines: Vec<DiffLine>,
    unshown: usize,
    text: String,
}

/// One line of a unified difference (POSIX, `diff -u`).
struct DiffLine {
    class: &'static str,
    text: String,
}

/// What the address says.
#[derive(Default, Deserialize)]
pub(crate) struct Parameters {
    against: Option<i64>,
}

pub(crate) async fn page(
    State(collector): State<Arc<Collector>>,
    signed_in: SignedIn,
    Path(number): Path<i64>,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Html<String>, PageError> {
    let Query(parameters) = parameters.unwrap_or_default();
    let (version, text) = collector.store.policy(number).await?.ok_or_else(|| none(number))?;
    let all = collector.store.policies(50).await?;
    let others: Vec<_> = all.iter().map(|version| version.number).filter(|other| *other != number).collect();
    let against = parameters.against.or_else(|| others.iter().copied().find(|other| *other < number));
    let mut shown = (Vec::new(), 0);
    if let Some(other) = against {
        let (_, before) = collector.store.policy(other).await?.ok_or_else(|| none(other))?;
        let after = text.clone();
        let compared = tokio::task::spawn_blocking(move || difference(&before, &after)).await;
        shown = compared.unwrap_or_default();
    }
    let view = all.into_iter().find(|version| version.number == number).unwrap_or(version);
    render(&VersionPage {
        bar: Bar::new(&collector, signed_in, "policy").await?,
        view: VersionView::new(view),
        against,
        others,
        lines: shown.0,
        unshown: shown.1,
        text: text.lines().map(|text| line(text, LINE) + "\n").collect(),
    })
}

/// The text as it was added, to be edited, signed and added again.
pub(crate) async fn text(
    State(collector): State<Arc<Collector>>,
    _: SignedIn,
    Path(number): Path<i64>,
) -> Result<Response, PageError> {
    let (_, text) = collector.store.policy(number).await?.ok_or_else(|| none(number))?;
    let headers = [
        (header::CONTENT_TYPE, "application/toml".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"policy-{number}.toml\"")),
    ];
    Ok((headers, text).into_response())
}

fn none(number: i64) -> Refusal {
    Refusal::new(StatusCode::NOT_FOUND, format!("there is no version {number}"), "a version of the page of policies")
}

/// The difference of two texts, and how many of its lines are left out.
fn difference(before: &str, after: &str) -> (Vec<DiffLine>, usize) {
    let diff = TextDiff::configure().timeout(PATIENCE).diff_lines(before, after);
    let mut lines = Vec::new();
    for hunk in diff.unified_diff().context_radius(AROUND).iter_hunks() {
        lines.push(DiffLine { class: "hunk", text: hunk.header().to_string() });
        for change in hunk.iter_changes() {
            let class = match change.tag() {
                ChangeTag::Insert => "added",
                ChangeTag::Delete => "taken",
                ChangeTag::Equal => "same",
            };
            let text = line(change.value().trim_end_matches(['\r', '\n']), LINE);
            lines.push(DiffLine { class, text: format!("{}{text}", change.tag()) });
        }
    }
    let unshown = lines.len().saturating_sub(LINES);
    lines.truncate(LINES);
    (lines, unshown)
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn a_difference_reads_as_that_of_diff() {
        let before = (1..=20).map(|number| format!("line {number}\n")).collect::<String>();
        let after = before.replace("line 9\n", "line nine\nline \u{202e}\n");
        let (lines, unshown) = difference(&before, &after);
        let text: Vec<_> = lines.iter().map(|line| line.text.as_str()).collect();
        let expected = [
            "@@ -6,7 +6,8 @@",
            " line 6",
            " line 7",
            " line 8",
            "-line 9",
            "+line nine",
            "+line \\u{202e}",
            " line 10",
            " line 11",
            " line 12",
        ];
        assert_eq!((text, unshown), (expected.to_vec(), 0));
        assert!(difference(&before, &before).0.is_empty());
    }
}
