//! The search for words: FTS5 in SQLite, lexemes behind an inverted index (GIN) in PostgreSQL.
//!
//! For PostgreSQL texts are cut into words here, so that file names are cut as FTS5 cuts them, and not as its parser
//! would that knows of paths and hosts. What is left different: FTS5 takes accents off, and gives records by a word before
//! those by a longer one that it begins.

use super::StoreError;
use super::sql::{Connection, Result, Value, params};
use crate::alert::Alert;

/// Words of a text to search for.
const WORDS: usize = 16;
/// Longest word that is kept, in characters; PostgreSQL takes 2046 bytes.
const WORD: usize = 200;
/// Highest place of a word that PostgreSQL keeps.
const PLACES: u32 = 16383;

/// What a statement asks for words.
pub(super) struct Match {
    /// What the statement is to ask.
    pub(super) condition: String,
    /// For what.
    pub(super) value: Value,
}

/// Whether there is a word in a text.
pub(super) fn has_words(text: &str) -> bool {
    plain(text).next().is_some()
}

/// The words as they stand, as many as are looked for.
pub(super) fn plain(text: &str) -> impl Iterator<Item = &str> {
    text.split_whitespace().filter(|word| word.chars().any(char::is_alphanumeric)).take(WORDS)
}

/// The words of a text as FTS5 takes them whatever they hold: each one in quotes, as the beginning of a word.
fn quoted(text: &str) -> Vec<String> {
    plain(text).map(|word| format!("\"{}\"*", word.replace('"', "\"\""))).collect()
}

/// The words of a text in small letters. They hold letters and digits only, and so nothing that PostgreSQL's literals of
/// words take for syntax.
fn cut(text: &str) -> impl Iterator<Item = String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(|word| word.to_lowercase().chars().take(WORD).collect())
}

/// Texts as PostgreSQL keeps them: their words, each with its place. No phrase goes from one text into the next.
fn lexemes(texts: &[&str]) -> String {
    let (mut lexemes, mut place) = (String::new(), 0_u32);
    for text in texts {
        for word in cut(text) {
            place += 1;
            lexemes.push_str(&format!("'{word}':{} ", place.min(PLACES)));
        }
        place += 1;
    }
    lexemes
}

/// The words of a text as PostgreSQL looks for them: each as the beginning of a word, or of several in a row.
fn lookup(text: &str) -> String {
    let phrase = |word: &str| {
        let parts: Vec<String> = cut(word).map(|part| format!("'{part}'")).collect();
        format!("({}:*)", parts.join(" <-> "))
    };
    plain(text).map(phrase).collect::<Vec<_>>().join(" & ")
}

/// A list in which words are looked for.
#[derive(Clone, Copy)]
pub(super) enum List {
    Alerts,
    Objects,
}

/// The condition that rows of a list have all words of a text, and (for alerts) of their destinations.
pub(super) fn matching(connection: &Connection, list: List, text: &str, destination: &str) -> Vec<Match> {
    match connection {
        Connection::Sqlite(_) => {
            let mut parts = quoted(text);
            parts.extend(quoted(destination).into_iter().map(|word| format!("destinations : {word}")));
            if parts.is_empty() {
                return Vec::new();
            }
            let table = match list {
                List::Alerts => "alert_text",
                List::Objects => "object_text",
            };
            vec![Match { condition: format!("{table} MATCH ?"), value: parts.join(" AND ").into() }]
        }
        Connection::Postgres(_) => [("words", text), ("whereto", destination)]
            .into_iter()
            .filter(|(_, text)| has_words(text))
            .map(|(column, text)| Match {
                condition: format!("{column} @@ CAST(CAST(? AS TEXT) AS tsquery)"),
                value: lookup(text).into(),
            })
            .collect(),
    }
}

/// Makes the words of an alert known to the search; SQLite does so by itself.
pub(super) fn write_alert(connection: &Connection, alert: &Alert) -> std::result::Result<(), StoreError> {
    if let Connection::Sqlite(_) = connection {
        return Ok(());
    }
    let said = serde_json::to_value(alert)?;
    let text = |name: &str| said.get(name).map(ToString::to_string).unwrap_or_default();
    let texts = ["title", "program", "masters", "destinations", "explanation"].map(text);
    let words = lexemes(&texts.each_ref().map(String::as_str));
    connection.execute(
        "UPDATE alerts SET host = ?2, words = CAST(CAST(?3 AS TEXT) AS tsvector),
            whereto = CAST(CAST(?4 AS TEXT) AS tsvector) WHERE id = ?1",
        params![alert.id, alert.host, words, lexemes(&[&texts[3]])],
    )?;
    Ok(())
}

/// Makes the words of a master known to the search; SQLite does so by itself.
pub(super) fn write_object(connection: &Connection, number: i64, texts: [&str; 3]) -> Result<()> {
    if let Connection::Sqlite(_) = connection {
        return Ok(());
    }
    connection.execute(
        "UPDATE objects SET words = CAST(CAST(?2 AS TEXT) AS tsvector) WHERE number = ?1 AND words IS NULL",
        params![number, lexemes(&texts)],
    )?;
    Ok(())
}

/// Makes the texts of records known to the search.
pub(super) fn write_records(connection: &Connection, texts: &[(i64, String)]) -> Result<()> {
    let mut insert = connection.prepare_cached(match connection {
        Connection::Sqlite(_) => "INSERT INTO record_text (rowid, text) VALUES (?, ?)",
        Connection::Postgres(_) => {
            "INSERT INTO record_text (number, words)
             VALUES (?, CAST(CAST(? AS TEXT) AS tsvector)) ON CONFLICT (number) DO NOTHING"
        }
    })?;
    for (number, text) in texts {
        match connection {
            Connection::Sqlite(_) => insert.execute(params![number, text])?,
            Connection::Postgres(_) => insert.execute(params![number, lexemes(&[text])])?,
        };
    }
    Ok(())
}

/// The newest records of a window of numbers, by the words of their texts: `words` comes from the caller for FTS5, and
/// from [`lookup`] for PostgreSQL.
pub(super) fn find_records(connection: &Connection) -> &'static str {
    match connection {
        Connection::Sqlite(_) => {
            "SELECT records.alert, records.body FROM record_text CROSS JOIN records ON records.number = record_text.rowid
             WHERE record_text MATCH ? AND record_text.rowid <= ? AND record_text.rowid > ?
             ORDER BY record_text.rowid DESC LIMIT ?"
        }
        Connection::Postgres(_) => {
            "SELECT records.alert, records.body FROM
                (SELECT number FROM record_text WHERE words @@ CAST(CAST(?1 AS TEXT) AS tsquery)
                    AND number <= ?2 AND number > ?3 ORDER BY number DESC LIMIT ?4) AS found
             JOIN records ON records.number = found.number ORDER BY found.number DESC"
        }
    }
}

/// The words of a text for [`find_records`] in PostgreSQL.
pub(super) fn record_words(text: &str) -> String {
    lookup(text)
}

#[cfg(test)]
mod tests {
    use super::{has_words, lexemes, lookup, quoted};

    #[test]
    fn a_search_is_words_and_never_syntax() {
        assert_eq!(quoted("cp \"OR title:x NEAR( * ) ^ -"), ["\"cp\"*", "\"\"\"OR\"*", "\"title:x\"*", "\"NEAR(\"*"]);
        assert_eq!(lookup("cp \"OR title:x' & !( * ) ^ -"), "('cp':*) & ('or':*) & ('title' <-> 'x':*)");
        assert!(!has_words(" \u{0} \"\" "));
    }

    #[test]
    fn file_names_are_cut_into_words() {
        let texts = ["/srv/Masters/K2B_0012.tif", "寒食帖，卷'\u{0}\\"];
        assert_eq!(lexemes(&texts), "'srv':1 'masters':2 'k2b':3 '0012':4 'tif':5 '寒食帖':7 '卷':8 ");
        assert_eq!(lookup("K2B_00"), "('k2b' <-> '00':*)");
    }
}
