//! `vitrine notify`: tells the user on his desktop what was refused to him, and whether it was approved, as it happens.
//!
//! It runs in the session of the user and with his rights alone: the agent, which is root, speaks on no user's bus.
//! The desktop is told by its notification service (Desktop Notifications Specification 1.2).

use std::collections::HashMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::sync::mpsc::{Sender, channel};
use zbus::{Connection, Variant};

use crate::approval::{Approval, Standing};
use crate::desk::texts::{Sentences, Texts, Word};
use crate::desk::{Answer, Request, Told, client};

/// Its name on the bus of the session, so that one helper speaks and not two.
const NAME: &str = "io.github.vitrine_dlp.Notify";
/// How long it waits for an agent that is away.
const AWAY: Duration = Duration::from_secs(5);
/// Attempts that wait to be counted.
const QUEUE: usize = 64;
/// Longest text of a notification, in characters.
const BODY: usize = 600;

/// Shows one notification at once, and those of the `every` that follows together, until the session ends.
pub(crate) fn run(state: &Path, every: Duration) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(notify(state, every))
}

async fn notify(state: &Path, every: Duration) -> anyhow::Result<ExitCode> {
    let bus = Connection::session().await.context(
        "there is no desktop session to notify (no session bus); start this in one, as its autostart file does",
    )?;
    if bus.request_name(NAME).await.is_err() {
        println!("another `vitrine notify` serves this session already");
        return Ok(ExitCode::SUCCESS);
    }
    let (tell, mut told) = channel(QUEUE);
    let state = state.to_owned();
    std::thread::spawn(move || listen(&state, &tell));
    let texts = Texts::of_user();
    let mut group = Group::new(every);
    loop {
        tokio::select! {
            told = told.recv() => match told {
                Some(News::Tried(told)) if told.was_stopped() => group.add(*told),
                Some(News::Tried(_)) => {}
                // Somebody waits for it: not with others, and at once.
                Some(News::Answered(approval)) => {
                    let kind = if approval.state == Standing::Approved { DONE } else { REFUSED };
                    told_of(show(&bus, texts.answered(&approval), kind).await);
                }
                None => anyhow::bail!("whoever listens to the agent has ended"),
            },
            () = tokio::time::sleep(group.wait(Instant::now())), if group.first.is_some() => {}
            () = bus.closed() => return Ok(ExitCode::SUCCESS),
        }
        if let Some((told, more)) = group.due(Instant::now()) {
            told_of(show(&bus, sentences(&texts, &told, more), REFUSED).await);
        }
    }
}

/// What the agent tells of.
enum News {
    Tried(Box<Told>),
    Answered(Approval),
}

/// Icon and category of a notification (Desktop Notifications Specification 1.2, "Icons", "Categories").
type Kind = (&'static str, &'static str);
const REFUSED: Kind = ("dialog-warning", "transfer.error");
const DONE: Kind = ("dialog-information", "transfer");

fn told_of(shown: zbus::Result<()>) {
    if let Err(error) = shown {
        eprintln!("vitrine: the desktop shows no notification: {error}");
    }
}

/// Hears what is refused and answered, from this agent and from the next.
fn listen(state: &Path, tell: &Sender<News>) {
    loop {
        if let Ok(answers) = client::ask(state, &Request::Watch) {
            for answer in answers.map_while(Result::ok) {
                let news = match answer {
                    Answer::Told(told) => News::Tried(told),
                    Answer::Approval(approval) => News::Answered(*approval),
                    _ => continue,
                };
                if tell.blocking_send(news).is_err() {
                    return;
                }
            }
        }
        std::thread::sleep(AWAY);
    }
}

/// What was refused since the last notification, and when the next may come.
struct Group {
    every: Duration,
    first: Option<Told>,
    more: u32,
    quiet_until: Option<Instant>,
}

impl Group {
    fn new(every: Duration) -> Group {
        Group { every, first: None, more: 0, quiet_until: None }
    }

    fn add(&mut self, told: Told) {
        match &self.first {
            Some(_) => self.more = self.more.saturating_add(1),
            None => self.first = Some(told),
        }
    }

    /// How long nothing may be shown.
    fn wait(&self, now: Instant) -> Duration {
        self.quiet_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    /// What is to be shown now, and how many more there were.
    fn due(&mut self, now: Instant) -> Option<(Told, u32)> {
        if self.quiet_until.is_some_and(|until| now < until) {
            return None;
        }
        let first = self.first.take()?;
        self.quiet_until = Some(now + self.every);
        Some((first, std::mem::take(&mut self.more)))
    }
}

/// What is told of an attempt, and how many more there were.
fn sentences(texts: &Texts, told: &Told, more: u32) -> Sentences {
    let mut sentences = texts.tell(told);
    if more > 0 {
        let words = [("title", Word::Text(&sentences.title)), ("count", Word::Number(more.into()))];
        sentences.title = texts.say("and-more", &words);
    }
    sentences
}

async fn show(bus: &Connection, told: Sentences, (icon, category): Kind) -> zbus::Result<()> {
    const SERVICE: &str = "org.freedesktop.Notifications";
    const OBJECT: &str = "/org/freedesktop/Notifications";
    let can = bus.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "GetCapabilities", &()).await?;
    let can: Vec<String> = can.body().deserialize()?;
    let Sentences { title, why, instead } = told;
    let body: String = [vec![why], instead].concat().join("\n").chars().take(BODY).collect();
    let body = if can.iter().any(|can| can == "body-markup") { escaped(&body) } else { body };
    let hints = HashMap::from([("urgency", Variant::U8(1)), ("category", Variant::from(category))]);
    // Application, what it takes the place of, icon, summary, body, actions, hints, and until the service says so.
    let notification = ("Vitrine", 0u32, icon, title, body, Vec::<&str>::new(), hints, -1i32);
    bus.call_method(Some(SERVICE), OBJECT, Some(SERVICE), "Notify", &notification).await?;
    Ok(())
}

/// Text where markup is understood (Desktop Notifications Specification 1.2, "Markup").
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::Most;
    use vitrine_policy::decision::Rule;
    use vitrine_policy::record::Disposition;

    fn told(file: &str) -> Told {
        Told {
            id: "0a1b2c3d".to_owned(),
            time: 0,
            uid: Some(1),
            program: None,
            file: file.to_owned(),
            master: None,
            masters: Vec::new(),
            takes_reasons: true,
            tier: "master".to_owned(),
            disposition: Disposition::Blocked,
            rule: Rule::Ceiling { destination: "usb".to_owned() },
            destination: Some("usb".to_owned()),
            target: Some("/usb/x".to_owned()),
            ceiling: Some("none".to_owned()),
            most: Most::default(),
            explanation: String::new(),
            wants_approval: false,
            approval: None,
            shown: crate::approval::ask::Shown::default(),
        }
    }

    #[test]
    fn the_first_is_shown_at_once_and_those_that_follow_together() {
        let every = Duration::from_secs(10);
        let (mut group, start) = (Group::new(every), Instant::now());
        assert!(group.due(start).is_none());
        group.add(told("/1"));
        assert_eq!(group.due(start).map(|(told, more)| (told.file, more)), Some(("/1".to_owned(), 0)));
        for number in 2..15 {
            group.add(told(&format!("/{number}")));
            assert!(group.due(start + Duration::from_secs(1)).is_none());
        }
        assert_eq!(group.wait(start + Duration::from_secs(1)), Duration::from_secs(9));
        assert_eq!(group.due(start + every).map(|(told, more)| (told.file, more)), Some(("/2".to_owned(), 12)));
        assert!(group.due(start + every * 9).is_none());
    }

    #[test]
    fn a_name_is_no_markup() {
        assert_eq!(escaped("<a href=\"x\">&amp;</a>"), "&lt;a href=\"x\"&gt;&amp;amp;&lt;/a&gt;");
    }
}
