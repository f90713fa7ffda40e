//! The store's SQL in the words of PostgreSQL: `$1` for `?`, quotes around names that are its keywords, and no hints
//! that only SQLite takes. Everything else is written so that both understand it.

/// Columns of ours that are keywords of PostgreSQL (its documentation, appendix C).
const KEYWORDS: [&str; 2] = ["user", "only"];

/// Translates a statement.
pub(super) fn translate(sql: &str) -> String {
    let mut translated = String::with_capacity(sql.len() + 16);
    let (mut rest, mut highest) = (sql, 0_usize);
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\'' => quoted(rest),
            letter if letter.is_alphabetic() || letter == '_' => word(rest),
            '?' => 1 + rest[1..].bytes().take_while(u8::is_ascii_digit).count(),
            other => other.len_utf8(),
        };
        let (token, after) = rest.split_at(length);
        rest = after;
        match first {
            '?' => {
                // A `?` without a number is the one behind the highest so far (SQLite, "Parameters").
                let number = token[1..].parse().unwrap_or(highest + 1);
                highest = highest.max(number);
                translated.push('$');
                translated.push_str(&number.to_string());
            }
            _ if KEYWORDS.contains(&token) => {
                translated.push('"');
                translated.push_str(token);
                translated.push('"');
            }
            _ if token == "INDEXED" => {
                let hint = rest.trim_start().strip_prefix("BY").unwrap_or(rest).trim_start();
                rest = &hint[word(hint)..];
            }
            _ => translated.push_str(token),
        }
    }
    translated
}

/// Bytes of the word that a text begins with.
fn word(text: &str) -> usize {
    text.find(|letter: char| !letter.is_alphanumeric() && letter != '_').unwrap_or(text.len())
}

/// Bytes of the string that a text begins with, with its quotes. A quote within is doubled, and so two strings.
fn quoted(text: &str) -> usize {
    text[1..].find('\'').map_or(text.len(), |end| end + 2)
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn statements_keep_their_meaning() {
        for (from, to) in [
            ("SELECT a FROM t WHERE b = ? AND c = ? LIMIT ?", "SELECT a FROM t WHERE b = $1 AND c = $2 LIMIT $3"),
            ("VALUES (?1, ?2, ?2, ?1, ?)", "VALUES ($1, $2, $2, $1, $3)"),
            ("x = '?' AND y = 'it''s ?' AND z = ?", "x = '?' AND y = 'it''s ?' AND z = $1"),
            (
                "SELECT user FROM totp WHERE totp.user = ? AND username = 'user'",
                "SELECT \"user\" FROM totp WHERE totp.\"user\" = $1 AND username = 'user'",
            ),
            ("FROM outbox INDEXED BY outbox_dead WHERE a", "FROM outbox  WHERE a"),
            ("SELECT '寒食帖', ?", "SELECT '寒食帖', $1"),
        ] {
            assert_eq!(translate(from), to);
        }
    }
}
