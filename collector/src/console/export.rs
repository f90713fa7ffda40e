//! The filtered list as a file: CSV for a spreadsheet, JSON for a program.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::filter::Filter;
use super::session::{Analyst, SignedIn};
use super::{PageError, words};
use crate::alert::Alert;
use crate::server::Collector;
use crate::store::{Actor, Key};

/// Alerts in one file.
const MOST: u32 = 10_000;

const HEAD: [&str; 17] = [
    "id",
    "state",
    "severity",
    "verdict",
    "title",
    "host",
    "user",
    "program",
    "tier",
    "decision",
    "attempts",
    "first",
    "last",
    "masters",
    "destinations",
    "acknowledged by",
    "closed by",
];

type Parameters = Result<Query<Filter>, QueryRejection>;

pub(crate) async fn csv(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    parameters: Parameters,
) -> Result<Response, PageError> {
    let alerts = alerts(&collector, signed_in, "alerts.csv", parameters).await?;
    let mut text = row(HEAD.iter().map(|name| (*name).to_owned()));
    for alert in &alerts {
        text.push_str(&row(cells(alert).into_iter()));
    }
    Ok((file("text/csv; charset=utf-8", "attachment; filename=\"alerts.csv\""), text).into_response())
}

pub(crate) async fn json(
    State(collector): State<Arc<Collector>>,
    Analyst(signed_in): Analyst,
    parameters: Parameters,
) -> Result<Response, PageError> {
    let alerts = alerts(&collector, signed_in, "alerts.json", parameters).await?;
    let body = Json(json!({"alerts": alerts}));
    Ok((file("application/json", "attachment; filename=\"alerts.json\""), body).into_response())
}

async fn alerts(
    collector: &Collector,
    signed_in: SignedIn,
    file: &str,
    parameters: Parameters,
) -> Result<Vec<Alert>, PageError> {
    let Query(filter) = parameters.unwrap_or_default();
    let filter = filter.bounded();
    let actor = Actor::User(signed_in.0.user);
    collector.store.record_export(actor, file, filter.address(&[])).await?;
    Ok(collector.store.list(filter.query(), Key::Newest, MOST).await?)
}

/// The headers of a file to keep.
pub(super) fn file(kind: &'static str, name: &'static str) -> [(HeaderName, &'static str); 2] {
    [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)]
}

fn cells(alert: &Alert) -> [String; 17] {
    let closed = alert.closed.as_ref();
    [
        alert.id.to_string(),
        alert.state.name().into(),
        words::severity(alert.severity).into(),
        closed.map_or("", |closed| closed.verdict.name()).into(),
        alert.title.clone(),
        alert.host.clone(),
        alert.user.clone().unwrap_or_default(),
        alert.program.clone().unwrap_or_default(),
        words::tier(alert),
        alert.disposition.map_or("", words::disposition).into(),
        alert.attempts.to_string(),
        words::machine_time(alert.first_seen),
        words::machine_time(alert.last_seen),
        alert.masters.join("; "),
        alert.destinations.join("; "),
        alert.acknowledged.as_ref().map_or(String::new(), |found| found.by.clone()),
        closed.map_or(String::new(), |closed| closed.by.clone()),
    ]
}

/// A row as RFC 4180 has it, every cell in quotes.
pub(super) fn row(cells: impl Iterator<Item = String>) -> String {
    let cells: Vec<_> = cells.map(|cell| format!("\"{}\"", tame(&cell).replace('"', "\"\""))).collect();
    format!("{}\r\n", cells.join(","))
}

/// A cell that a spreadsheet would take for a formula, with an apostrophe before it (OWASP, CSV Injection).
fn tame(cell: &str) -> String {
    let is_formula = cell.trim_start().starts_with(['=', '+', '-', '@', '\t', '\r', '＝', '＋', '－', '＠']);
    if is_formula { format!("'{cell}") } else { cell.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::row;

    #[test]
    fn no_cell_is_a_formula() {
        for hostile in ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1"] {
            assert_eq!(row([hostile.to_owned()].into_iter()), format!("\"'{hostile}\"\r\n"));
        }
        assert_eq!(row(["a\"b".to_owned(), "1,2".to_owned()].into_iter()), "\"a\"\"b\",\"1,2\"\r\n");
    }
}
