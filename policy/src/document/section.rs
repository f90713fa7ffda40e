//! Reads the values of one table, noting each mistake and going on.

use std::fmt::Write as _;
use std::ops::{Range, RangeInclusive};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::{Mistake, Mistakes};

/// Most entries of one list, and most tables of one kind.
pub(crate) const MOST: usize = 1000;
/// Longest text of one value, in bytes: PATH_MAX of Linux.
const LONGEST: usize = 4096;

/// A value and where it stands in the file, in bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Range<usize>,
}

/// One table: its keys and where it stands.
pub(crate) struct Section<'t> {
    table: &'t DeTable<'t>,
    /// Where to point when a key is missing.
    pub(crate) span: Range<usize>,
    what: &'static str,
    /// False where the file has syntax errors: a key that seems missing may be one of those.
    complete: bool,
}

/// Each of `names` once, in backquotes; of many the first.
pub(crate) fn one_of<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut listed: Vec<&str> = Vec::new();
    let mut text = String::new();
    for name in names {
        if listed.len() == 12 {
            text.push_str(", …");
            break;
        }
        if !listed.contains(&name) {
            let _ = write!(text, "{}`{name}`", if listed.is_empty() { "" } else { ", " });
            listed.push(name);
        }
    }
    text
}

impl<'t> Section<'t> {
    /// Notes every key that is not one of `keys`.
    pub(crate) fn open(
        table: &'t DeTable<'t>,
        span: Range<usize>,
        what: &'static str,
        keys: &[&str],
        complete: bool,
        mistakes: &mut Mistakes,
    ) -> Section<'t> {
        for key in table.keys() {
            let name: &str = key.get_ref();
            if !keys.contains(&name) {
                let near = mistakes.nearest(name, keys.iter().copied());
                mistakes.add(
                    Mistake::at(&key.span(), format!("unknown key `{name}` in {what}"))
                        .expected(one_of(keys.iter().copied()))
                        .suggest(near),
                );
            }
        }
        Section { table, span, what, complete }
    }

    /// Notes that `key` is missing.
    pub(crate) fn missing(&self, key: &str, expected: &str, mistakes: &mut Mistakes) {
        self.lacks(&format!("`{key}`"), expected, mistakes);
    }

    /// Notes that something is missing. Where the syntax is broken, what seems missing may be there.
    pub(crate) fn lacks(&self, thing: &str, expected: &str, mistakes: &mut Mistakes) {
        if self.complete {
            mistakes.add(Mistake::at(&self.span, format!("{} has no {thing}", self.what)).expected(expected));
        }
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.table.get(key)
    }

    pub(crate) fn required_string(&self, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<At<String>> {
        if self.value(key).is_none() {
            self.missing(key, expected, mistakes);
        }
        self.string(key, expected, mistakes)
    }

    pub(crate) fn string(&self, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<At<String>> {
        string(self.value(key)?, key, expected, mistakes)
    }

    /// A list of texts; none where the key is missing or no list. An empty list is a mistake.
    pub(crate) fn strings(&self, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<Vec<At<String>>> {
        let items = self.list(key, expected, mistakes)?;
        Some(items.filter_map(|item| string(item, key, expected, mistakes)).collect())
    }

    /// The items of a list; none where the key is missing or no list. An empty list is a mistake.
    pub(crate) fn list(
        &self,
        key: &str,
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<impl Iterator<Item = &'t Spanned<DeValue<'t>>> + use<'t>> {
        let value = self.value(key)?;
        let DeValue::Array(items) = value.get_ref() else {
            mistakes.add(wrong_type(value, key, expected));
            return None;
        };
        if items.is_empty() {
            mistakes.add(Mistake::at(&value.span(), format!("`{key}` is an empty list")).expected(expected));
        }
        too_many(items.len(), key, &value.span(), mistakes);
        Some(items.iter().take(MOST))
    }

    pub(crate) fn boolean(&self, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<bool> {
        let value = self.value(key)?;
        if let DeValue::Boolean(boolean) = value.get_ref() {
            return Some(*boolean);
        }
        mistakes.add(wrong_type(value, key, expected));
        None
    }

    /// A whole number within `range`.
    pub(crate) fn integer(&self, key: &str, range: RangeInclusive<u32>, mistakes: &mut Mistakes) -> Option<At<u32>> {
        let value = self.value(key)?;
        let expected = format!("a whole number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = value.get_ref() else {
            mistakes.add(wrong_type(value, key, &expected));
            return None;
        };
        match i64::from_str_radix(integer.as_str(), integer.radix()).ok().and_then(|number| u32::try_from(number).ok())
        {
            Some(number) if range.contains(&number) => Some(At { value: number, span: value.span() }),
            _ => {
                mistakes.add(Mistake::at(&value.span(), format!("`{key}` is out of range")).expected(expected));
                None
            }
        }
    }

    /// A number above 0 and at most `most`.
    pub(crate) fn number(&self, key: &str, most: f64, mistakes: &mut Mistakes) -> Option<At<f64>> {
        let value = self.value(key)?;
        let expected = format!("a number above 0 and at most {most}");
        let number = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(integer) => u32::from_str_radix(integer.as_str(), integer.radix()).ok().map(f64::from),
            _ => {
                mistakes.add(wrong_type(value, key, &expected));
                return None;
            }
        };
        match number {
            Some(number) if number > 0.0 && number <= most => Some(At { value: number, span: value.span() }),
            _ => {
                mistakes.add(Mistake::at(&value.span(), format!("`{key}` is out of range")).expected(expected));
                None
            }
        }
    }

    /// The table below `key`, its keys checked.
    pub(crate) fn table(
        &self,
        key: &str,
        what: &'static str,
        keys: &[&str],
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Section<'t>> {
        let value = self.value(key)?;
        self.inner(value, key, what, keys, expected, mistakes)
    }

    /// The tables of the `[[key]]` sections, their keys checked.
    pub(crate) fn tables(
        &self,
        key: &str,
        what: &'static str,
        keys: &[&str],
        mistakes: &mut Mistakes,
    ) -> Vec<Section<'t>> {
        let expected = format!("`[[{key}]]` before each {key}");
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            mistakes.add(wrong_type(value, key, &expected));
            return Vec::new();
        };
        let at = items.get(MOST).map_or_else(|| value.span(), Spanned::span);
        too_many(items.len(), key, &at, mistakes);
        items.iter().take(MOST).filter_map(|item| self.inner(item, key, what, keys, &expected, mistakes)).collect()
    }

    /// `value` as a table within this one.
    pub(crate) fn inner(
        &self,
        value: &'t Spanned<DeValue<'t>>,
        key: &str,
        what: &'static str,
        keys: &[&str],
        expected: &str,
        mistakes: &mut Mistakes,
    ) -> Option<Section<'t>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(Section::open(table, value.span(), what, keys, self.complete, mistakes));
        }
        mistakes.add(wrong_type(value, key, expected));
        None
    }
}

fn string(value: &Spanned<DeValue<'_>>, key: &str, expected: &str, mistakes: &mut Mistakes) -> Option<At<String>> {
    let DeValue::String(text) = value.get_ref() else {
        mistakes.add(wrong_type(value, key, expected));
        return None;
    };
    let span = value.span();
    if text.trim().is_empty() {
        mistakes.add(Mistake::at(&span, format!("`{key}` is empty")).expected(expected));
        return None;
    }
    if text.len() > LONGEST {
        let message = format!("`{key}` is {} bytes long", text.len());
        mistakes.add(Mistake::at(&span, message).expected(format!("at most {LONGEST} bytes")));
        return None;
    }
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        let message = format!("`{key}` contains the control character {}", control.escape_unicode());
        mistakes.add(Mistake::at(&span, message).expected(expected));
        return None;
    }
    Some(At { value: text.to_string(), span })
}

fn wrong_type(value: &Spanned<DeValue<'_>>, key: &str, expected: &str) -> Mistake {
    let found = match value.get_ref() {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Mistake::at(&value.span(), format!("`{key}` has {found}")).expected(expected)
}

fn too_many(count: usize, key: &str, span: &Range<usize>, mistakes: &mut Mistakes) {
    if count > MOST {
        let message = format!("`{key}` has {count} entries");
        mistakes.add(Mistake::at(span, message).expected(format!("at most {MOST}")));
    }
}
