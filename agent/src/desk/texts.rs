//! What people are told, in their language: Fluent files (<https://projectfluent.org>) in `agent/locale`.

use fluent_bundle::{FluentArgs, FluentBundle, FluentResource, FluentValue};
use unic_langid::LanguageIdentifier;
use vitrine_policy::decision::Rule;
use vitrine_policy::policy::{ELSEWHERE, NONE};
use vitrine_policy::record::last_part;

use super::Told;
use crate::approval::{Approval, Standing};

/// The languages; the first one is everybody's who has another.
const LANGUAGES: [(&str, &str); 7] = [
    ("en", include_str!("../../locale/en.ftl")),
    ("de", include_str!("../../locale/de.ftl")),
    ("es", include_str!("../../locale/es.ftl")),
    ("fr", include_str!("../../locale/fr.ftl")),
    ("it", include_str!("../../locale/it.ftl")),
    ("ja", include_str!("../../locale/ja.ftl")),
    ("zh-TW", include_str!("../../locale/zh-TW.ftl")),
];
/// Longest name and longest note that are put into a sentence, in characters.
const NAME: usize = 200;
const NOTE: usize = 500;

/// The texts of one language.
pub(crate) struct Texts {
    bundle: FluentBundle<FluentResource>,
}

/// An attempt in sentences.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sentences {
    /// What may not be.
    pub(crate) title: String,
    /// Why.
    pub(crate) why: String,
    /// What to do instead, the best first.
    pub(crate) instead: Vec<String>,
}

impl Texts {
    /// In the language of whoever runs this program (locale(7)).
    pub(crate) fn of_user() -> Texts {
        let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().filter_map(|name| std::env::var(name).ok());
        Texts::of(&set.into_iter().find(|value| !value.is_empty()).unwrap_or_default())
    }

    /// In the language of a locale (`de_AT.UTF-8`): that of its own, else the first of its language, else English.
    pub(crate) fn of(locale: &str) -> Texts {
        let name = locale.split(['.', '@']).next().unwrap_or_default().replace('_', "-");
        let language = |tag: &str| tag.split('-').next().unwrap_or_default().to_lowercase();
        let own = LANGUAGES.iter().find(|(tag, _)| tag.eq_ignore_ascii_case(&name));
        let (tag, text) =
            own.or_else(|| LANGUAGES.iter().find(|(tag, _)| language(tag) == language(&name))).unwrap_or(&LANGUAGES[0]);
        let mut bundle = FluentBundle::new(vec![tag.parse::<LanguageIdentifier>().unwrap_or_default()]);
        // Marks around names would be characters that steer the direction of text; names have none left.
        bundle.set_use_isolating(false);
        // What could not be read of a file is missing, and said by its name; a test reads them all.
        let resource = FluentResource::try_new((*text).to_owned()).unwrap_or_else(|(read, _)| read);
        bundle.add_resource_overriding(resource);
        Texts { bundle }
    }

    /// A message with its variables filled in, of which nothing but plain characters is left.
    pub(crate) fn say(&self, message: &str, variables: &[(&str, Word<'_>)]) -> String {
        let Some(pattern) = self.bundle.get_message(message).and_then(|message| message.value()) else {
            return message.to_owned();
        };
        let mut arguments = FluentArgs::new();
        for (name, word) in variables {
            arguments.set(
                *name,
                match word {
                    Word::Text(text) => FluentValue::from(plain(text, NAME)),
                    Word::Note(text) => FluentValue::from(plain(text, NOTE)),
                    Word::Number(number) => FluentValue::from(*number),
                },
            );
        }
        self.bundle.format_pattern(pattern, Some(&arguments), &mut Vec::new()).into_owned()
    }

    /// Tells of an attempt.
    pub(crate) fn tell(&self, told: &Told) -> Sentences {
        let program = told.program.as_deref().unwrap_or("?");
        let place = place(told);
        let master = last_part(told.master.as_deref().unwrap_or(&told.file));
        let ceiling = told.ceiling.as_deref().unwrap_or(NONE);
        let collection = if let Rule::Vault { collection, .. } = &told.rule { collection } else { "" };
        let variables = [
            ("id", Word::Text(&told.id)),
            ("file", Word::Text(last_part(&told.file))),
            ("program", Word::Text(program)),
            ("place", Word::Text(&place)),
            ("master", Word::Text(master)),
            ("tier", Word::Text(&told.tier)),
            ("ceiling", Word::Text(ceiling)),
            ("collection", Word::Text(collection)),
        ];
        let say = |message: &str| self.say(message, &variables);
        let (why, instead) = match &told.rule {
            Rule::Ceiling { .. } if ceiling == NONE => ("why-nothing", vec![say("do-ask")]),
            Rule::Ceiling { .. } => ("why-ceiling", self.smaller(told).unwrap_or_else(|| vec![say("do-ask")])),
            Rule::Vault { .. } => ("why-vault", vec![say("do-ask-vault")]),
            Rule::Coverage { .. } => ("why-area", vec![say("do-ask")]),
            Rule::ObjectsPerDay { .. } => ("why-objects", vec![say("do-tomorrow")]),
            Rule::Justify { .. } if told.may_justify() && told.wants_approval => {
                let stands = told.approval.as_ref().map_or_else(Vec::new, |approval| self.stands(approval));
                let waits =
                    told.approval.as_ref().is_some_and(|approval| approval.state.waits() || approval.until.is_some());
                let again = (!waits).then(|| say("do-approval"));
                ("why-approval", stands.into_iter().chain(again).collect())
            }
            Rule::Justify { .. } if told.may_justify() => ("why-reason", vec![say("do-justify")]),
            Rule::Justify { .. } => ("why-reason", vec![say("do-ask")]),
            Rule::OpenCollection { .. } | Rule::Exempt { .. } => ("why-other", Vec::new()),
        };
        let title = say(if told.target.is_some() { "title-transfer" } else { "title-open" });
        let mut why = say(why);
        if !told.was_stopped() {
            why = format!("{why} {}", say("why-audit"));
        }
        Sentences { title, why, instead }
    }

    /// Tells of an answer to a request for approval.
    pub(crate) fn answered(&self, approval: &Approval) -> Sentences {
        let title = if approval.state == Standing::Approved { "title-approved" } else { "title-transfer" };
        let words = [("file", Word::Text(&approval.file)), ("place", Word::Text(&approval.destination))];
        let mut stands = self.stands(approval).into_iter();
        let why = stands.next().unwrap_or_default();
        Sentences { title: self.say(title, &words), why, instead: stands.collect() }
    }

    /// How it stands with a request for approval; nothing where it was approved, and the time for that is over.
    pub(crate) fn stands(&self, approval: &Approval) -> Vec<String> {
        let (message, time) = match approval.state {
            Standing::Asking => ("approval-asking", Some(approval.expires)),
            Standing::Pending => ("approval-pending", Some(approval.expires)),
            Standing::Approved if approval.until.is_none() => return Vec::new(),
            Standing::Approved => ("approval-approved", approval.until),
            Standing::Denied => ("approval-denied", None),
            Standing::Expired => ("approval-expired", None),
            Standing::Failed => ("approval-failed", None),
        };
        let time = time.map(moment).unwrap_or_default();
        let note = Word::Note(&approval.note);
        let by = approval.by.as_deref().unwrap_or("?");
        let words = [("by", Word::Text(by)), ("time", Word::Text(&time)), ("note", note)];
        let has_note = !approval.note.is_empty() && approval.state != Standing::Failed;
        let note = has_note.then(|| self.say("approval-note", &[("note", note)]));
        std::iter::once(self.say(message, &words)).chain(note).collect()
    }

    /// How small a copy has to be; none where nobody says.
    fn smaller(&self, told: &Told) -> Option<Vec<String>> {
        let most = &told.most;
        let limit = |message: &str, name: &str, most: f64| self.say(message, &[(name, Word::Number(most))]);
        let limits: Vec<String> = [
            most.megapixels.map(|most| limit("limit-megapixels", "megapixels", most)),
            most.scale.map(|most| limit("limit-scale", "percent", (most * 1000.0).floor() / 10.0)),
            most.bit_depth.map(|most| limit("limit-depth", "bits", most.into())),
        ]
        .into_iter()
        .flatten()
        .collect();
        let limits = limits.join(&self.say("limit-separator", &[]));
        if limits.is_empty() {
            return None;
        }
        let mut instead = vec![self.say("do-smaller", &[("limits", Word::Text(&limits))])];
        if let Some(command) = export(told) {
            instead.push(self.say("do-export", &[("command", Word::Text(&command))]));
        }
        Some(instead)
    }
}

/// A moment in the time of this machine.
fn moment(milliseconds: i64) -> String {
    let Ok(time) = jiff::Timestamp::from_millisecond(milliseconds) else { return milliseconds.to_string() };
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// What a variable stands for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Word<'a> {
    Text(&'a str),
    /// What somebody has written.
    Note(&'a str),
    Number(f64),
}

/// The destination as a user knows it: by its name, or where nobody named it by its host or directory.
fn place(told: &Told) -> String {
    match (told.destination.as_deref(), told.target.as_deref()) {
        (Some(name), _) if name != ELSEWHERE => name.to_owned(),
        (_, Some(path)) if path.starts_with('/') => match path.rsplit_once('/') {
            Some(("", _)) | None => "/".to_owned(),
            Some((directory, _)) => directory.to_owned(),
        },
        (_, Some(host)) => host.to_owned(),
        _ => String::new(),
    }
}

/// The command that makes what may go there; none where a name cannot be typed as it is shown, or is no file here.
fn export(told: &Told) -> Option<String> {
    let place = place(told);
    let is_typed = |text: &str| !text.is_empty() && !text.contains(['\\', '\'']) && plain(text, NAME * 2 / 5) == text;
    let word = |text: &str| {
        let is_bare = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "/._-".contains(letter));
        if is_bare { text.to_owned() } else { format!("'{text}'") }
    };
    let is_file = told.target.as_ref().is_some_and(|target| target.starts_with('/')) && told.file.starts_with('/');
    (is_file && is_typed(&told.file) && is_typed(&place) && !place.starts_with('-'))
        .then(|| format!("vitrine export {} --to {}", word(&told.file), word(&place)))
}

/// Text of others as one line that does nothing but show itself: controls, and what joins, hides or turns characters
/// round (the format characters of Unicode), stand as U+FFFD, and of what is longer than `most` the middle is left out.
pub(crate) fn plain(text: &str, most: usize) -> String {
    let does_something = |character: char| {
        character.is_control()
            || matches!(character,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}')
    };
    let show = |character: char| if does_something(character) { '\u{fffd}' } else { character };
    let length = text.chars().count();
    if length <= most {
        return text.chars().map(show).collect();
    }
    let (head, tail) = (most / 2, most - most / 2 - 1);
    let (start, end) = (text.chars().take(head), text.chars().skip(length - tail));
    start.chain(['…']).chain(end).map(show).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every message of a file, with its variables.
    fn messages(text: &str) -> BTreeMap<String, BTreeSet<String>> {
        let resource = FluentResource::try_new(text.to_owned()).map_err(|(_, errors)| errors).unwrap();
        let variables = |entry: String| {
            let parts = entry.split("VariableReference { id: Identifier { name: \"").skip(1);
            parts.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
        };
        resource
            .entries()
            .filter_map(|entry| {
                let entry = format!("{entry:?}");
                let id =
                    entry.strip_prefix("Message(Message { id: Identifier { name: \"")?.split('"').next()?.to_owned();
                Some((id, variables(entry)))
            })
            .collect()
    }

    #[test]
    fn every_language_has_every_message_with_the_same_variables() {
        let english = messages(LANGUAGES[0].1);
        assert!(english.len() > 25 && english["why-ceiling"].contains("ceiling"));
        for (tag, text) in LANGUAGES {
            tag.parse::<LanguageIdentifier>().unwrap();
            assert_eq!(messages(text), english, "{tag}");
        }
        let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/locale")).unwrap();
        assert_eq!(files.count(), LANGUAGES.len(), "a file that nobody reads");
    }

    #[test]
    fn every_message_can_be_said_in_every_language() {
        for (tag, text) in LANGUAGES {
            let texts = Texts::of(tag);
            for (message, variables) in messages(text) {
                for number in [1.0, 2.0, 12.0] {
                    let of = |name: &String| match name.as_str() {
                        "count" | "megapixels" | "percent" | "bits" | "minutes" => Word::Number(number),
                        _ => Word::Text("NAME"),
                    };
                    let words: Vec<_> = variables.iter().map(|name| (name.as_str(), of(name))).collect();
                    let said = texts.say(&message, &words);
                    assert!(!said.is_empty() && !said.contains(['{', '$']) && said != message, "{tag}: {said}");
                }
            }
        }
    }

    #[test]
    fn the_locale_chooses() {
        let label = |locale: &str| Texts::of(locale).say("label-file", &[]);
        for (locale, expected) in [
            ("de_AT.UTF-8", "Datei"),
            ("zh_TW.UTF-8", "檔案"),
            ("zh_HK", "檔案"),
            ("ja_JP.eucJP", "ファイル"),
            ("it@euro", "File"),
            ("fr", "Fichier"),
            ("es_MX.UTF-8", "Archivo"),
            ("C.UTF-8", "File"),
            ("", "File"),
            ("../../etc/passwd", "File"),
        ] {
            assert_eq!(label(locale), expected, "{locale}");
        }
    }

    #[test]
    fn names_of_others_do_nothing_but_show_themselves() {
        assert_eq!(
            plain("a\u{1b}[31m\nb\u{202e}c\u{61c}d\u{e0041}", 100),
            "a\u{fffd}[31m\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"
        );
        let long = plain(&"x".repeat(10_000), 21);
        assert_eq!((long.chars().count(), long.contains('…')), (21, true));
        assert_eq!(plain("", 0), "");
        let said = Texts::of("en").say("none-of-file", &[("file", Word::Text("{ $master } <b>\u{2067}"))]);
        assert!(said.contains("{ $master } <b>\u{fffd}"), "a name is no template: {said}");
    }
}
