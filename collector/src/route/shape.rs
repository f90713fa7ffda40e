//! An alert in the words of the programs that webhooks mostly lead to. What comes from workstations is shown as it
//! stands: nothing in it becomes a link, a mention or markup.

use serde_json::{Value, json};
use vitrine_policy::record::Severity;

use super::letter::{headline, of_one, rows};
use crate::alert::{Alert, Kind};
use crate::console::words::{self, machine_time};
use crate::store::{Letter, Occasion};

/// Longest `summary` of `PagerDuty`, in characters.
const SUMMARY: usize = 1024;
/// How long Alertmanager holds an alert of which it hears no more, in milliseconds.
const FIRING: i64 = 24 * 3600 * 1000;
/// The same of a test.
const TEST: i64 = 60 * 1000;

/// For Slack (<https://docs.slack.dev/messaging/formatting-message-text>).
pub(super) fn slack(letter: &Letter) -> Value {
    let safe = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    json!({"text": lines(letter, "*", safe)})
}

/// For Mattermost (<https://developers.mattermost.com/integrate/webhooks/incoming/>).
pub(super) fn mattermost(letter: &Letter) -> Value {
    json!({"text": lines(letter, "**", |text| text.to_owned())})
}

/// For Microsoft Teams: the message that its workflow "when a webhook request is received" takes. Its text runs know
/// no markup.
pub(super) fn teams(letter: &Letter) -> Value {
    let block = |runs: Value| json!({"type": "RichTextBlock", "inlines": runs});
    let run = |text: &str, weight: &str| json!({"type": "TextRun", "text": text, "weight": weight});
    let mut body = vec![block(json!([run(&headline(letter), "bolder")]))];
    for (name, value) in rows(letter) {
        body.push(block(json!([run(&format!("{name}: "), "bolder"), run(&value, "default")])));
    }
    json!({"type": "message", "attachments": [{
        "contentType": "application/vnd.microsoft.card.adaptive",
        "contentUrl": null,
        "content": {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": body,
        },
    }]})
}

/// For `PagerDuty`'s Events API v2 (<https://developer.pagerduty.com/docs/send-alert-event>): one event, which goes by
/// the worst of the alerts.
pub(super) fn pagerduty(letter: &Letter, routing_key: &str) -> Value {
    let worst = letter.alerts.first();
    let severity = match worst.map(|alert| alert.severity) {
        Some(Severity::Critical) => "critical",
        Some(Severity::High) => "error",
        Some(Severity::Medium) => "warning",
        Some(Severity::Low | Severity::Informational) | None => "info",
    };
    let details = match letter.count() {
        1 => rows(letter).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect(),
        _ => {
            json!({"Alerts": rows(letter).into_iter().map(|(name, value)| format!("{name}: {value}")).collect::<Vec<_>>()})
        }
    };
    json!({
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": worst.map(|alert| format!("vitrine-{}-{}", alert.agent, alert.id)),
        "client": "Vitrine",
        "payload": {
            "summary": headline(letter).chars().take(SUMMARY).collect::<String>(),
            "source": worst.map(|alert| &alert.host),
            "severity": severity,
            "timestamp": worst.map(|alert| machine_time(alert.last_seen)),
            "component": worst.and_then(|alert| alert.program.as_ref()),
            "class": worst.map(|alert| kind(alert.kind)),
            "custom_details": details,
        },
    })
}

/// For Alertmanager's API v2 (<https://prometheus.io/docs/alerting/latest/alerts_api/>).
pub(super) fn alertmanager(letter: &Letter) -> Value {
    let firing = if letter.event == Occasion::Test { TEST } else { FIRING };
    letter.alerts.iter().map(|alert| of_alertmanager(alert, firing)).collect()
}

fn of_alertmanager(alert: &Alert, firing: i64) -> Value {
    let mut labels = json!({
        "alertname": format!("vitrine-{}", kind(alert.kind)),
        "alert": alert.id.to_string(),
        "severity": words::severity(alert.severity),
        "instance": alert.host,
        "agent": alert.agent,
    });
    for (name, value) in [("user", &alert.user), ("program", &alert.program), ("code", &alert.code)] {
        if let Some(value) = value {
            labels[name] = json!(value);
        }
    }
    let details: Vec<_> = of_one(alert).into_iter().map(|(name, value)| format!("{name}: {value}")).collect();
    json!({
        "labels": labels,
        "annotations": {"summary": alert.title, "description": details.join("\n")},
        // It refuses what begins after it ends: a workstation's clock may be ahead.
        "startsAt": machine_time(alert.first_seen.min(alert.changed)),
        "endsAt": machine_time(alert.changed.saturating_add(firing)),
    })
}

/// Values stand as code, in which neither program looks for links, mentions or markup.
fn lines(letter: &Letter, bold: &str, safe: impl Fn(&str) -> String) -> String {
    let code = |text: &str| format!("`{}`", safe(&text.replace('`', "'")));
    let mut text = format!("{bold}Vitrine{bold} {}", code(headline(letter).trim_start_matches("[Vitrine] ")));
    for (name, value) in rows(letter) {
        text.push_str(&format!("\n{name}: {}", code(&value)));
    }
    text
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Transfer => "transfer",
        Kind::Notice => "notice",
        Kind::Lost => "lost",
        Kind::Silent => "silent",
        Kind::Tampering => "tampering",
        Kind::Rollout => "rollout",
        Kind::Approval => "approval",
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::{Value, json};

    use super::{alertmanager, mattermost, pagerduty, slack, teams};
    use crate::store::Letter;

    /// An alert whose names were chosen with care.
    fn letter() -> Letter {
        serde_json::from_value(json!({"event": "alert.worsened", "route": "desk", "alerts": [alert()], "more": 0}))
            .unwrap()
    }

    /// A message about more than it holds.
    fn several() -> Letter {
        let letter = json!({"event": "alert.created", "route": "desk", "alerts": [alert(), alert()], "more": 3});
        serde_json::from_value(letter).unwrap()
    }

    fn alert() -> Value {
        json!({
            "id": 7, "kind": "transfer", "state": "open", "severity": "high", "agent": "0198c0de",
            "title": "cp: <!channel> *x* [a](https://evil.example).tif (master) to courier disk was refused",
            "host": "scan-07", "user": "wen", "program": "cp", "code": null, "first_seen": 1_795_348_800_000_i64,
            "last_seen": 1_795_348_860_000_i64, "changed": 1_795_348_861_500_i64, "records": 8, "attempts": 9,
            "masters": (0..7).map(|n| format!("/srv/`@all` & <b>{n}.tif")).collect::<Vec<_>>(),
            "destinations": ["courier disk (/media/courier/x.tif)"], "tier": "master", "measure": null,
            "disposition": "blocked", "explanation": "courier disk may receive up to licensed.",
            "evidence": {"master": null, "copy": null}, "lead": 3, "acknowledged": null,
        })
    }

    #[test]
    fn each_shape_is_the_golden_one() {
        let letter = letter();
        let shapes: [(&str, Value); 8] = [
            ("slack", slack(&letter)),
            ("mattermost", mattermost(&letter)),
            ("teams", teams(&letter)),
            ("pagerduty", pagerduty(&letter, "R0UT1NGKEY")),
            ("alertmanager", alertmanager(&letter)),
            ("slack-several", slack(&several())),
            ("teams-several", teams(&several())),
            ("pagerduty-several", pagerduty(&several(), "R0UT1NGKEY")),
        ];
        for (name, found) in shapes {
            let text = format!("{found:#}\n");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/alert-{name}.json"));
            if std::env::var_os("UPDATE_GOLDEN").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let golden = std::fs::read_to_string(&path).unwrap_or_default();
            assert_eq!(text, golden, "{}: UPDATE_GOLDEN=1 writes it anew", path.display());
        }
    }
}
