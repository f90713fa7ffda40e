//! Maintenance tokens: leave to touch the agent of one workstation, or of all, for a while. What one says, how it is
//! written down, and when it holds. Who signed it is checked where the keys are.
//!
//! A token is one word, so that it can be pasted: `vitrine-maintenance.CLAIMS.SIGNATURE`, both parts in base64 (RFC 4648,
//! section 5, without padding). The claims are JSON; the signature is minisign's of [`signed`], which no policy can be:
//! its first line is no TOML.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// Longest time from the beginning to the end of a token, in seconds.
pub const LONGEST: i64 = 24 * 3600;
/// Longest token, in bytes.
pub const MAX_TEXT: usize = 4096;
/// Fewest and most characters of the reason.
pub const REASON: (usize, usize) = (10, 300);
/// The trusted comment of a token's signature begins with it; that of a policy's begins with its serial.
pub const COMMENT: &str = "maintenance:";
/// What stands before the claims in what is signed.
const FIRST_LINE: &str = "vitrine maintenance token 1\n";
/// What a token begins with.
const BEGINNING: &str = "vitrine-maintenance";
/// Longest identifier of a token or an agent, in bytes.
const MAX_ID: usize = 64;

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claims {
    /// Of this token alone; it opens maintenance once.
    pub id: String,
    /// The agent that it is for; none: every one that trusts the key.
    pub agent: Option<String>,
    /// From when it holds, in seconds since 1970.
    pub from: i64,
    /// From when it does not hold any more, in seconds since 1970.
    pub until: i64,
    /// What is to be done.
    pub reason: String,
    /// Who issued it.
    pub by: String,
}

/// Why a token does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotHeld {
    /// It is none.
    #[error(
        "this is no maintenance token: {0}; expected the one word that `vitrine-collector maintenance issue` prints"
    )]
    Malformed(String),
    /// It is another agent's.
    #[error("this token is for agent {token}, and this is agent {agent}; ask for one for this workstation")]
    OtherAgent {
        /// The agent that it is for.
        token: String,
        /// The agent that was asked.
        agent: String,
    },
    /// Its time has not come.
    #[error("this token holds in {0} s only; wait, or look at the clock of this workstation")]
    NotYet(i64),
    /// Its time is over.
    #[error("this token has expired, {0} s ago; ask for a new one, or look at the clock of this workstation")]
    Expired(i64),
}

fn malformed(why: impl std::fmt::Display) -> NotHeld {
    NotHeld::Malformed(why.to_string())
}

impl Claims {
    /// Whether these claims may be made at all.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn check(&self) -> Result<(), NotHeld> {
        let is_name = |id: &str| {
            (1..=MAX_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        if !is_name(&self.id) || !self.agent.as_deref().is_none_or(is_name) {
            return Err(malformed("its number or its agent is none"));
        }
        let lasts = self.until.checked_sub(self.from);
        if self.from < 0 || !lasts.is_some_and(|lasts| (1..=LONGEST).contains(&lasts)) {
            return Err(malformed(format_args!("it lasts longer than {} hours, or not at all", LONGEST / 3600)));
        }
        let is_line = |text: &str| !text.chars().any(char::is_control);
        if !(REASON.0..=REASON.1).contains(&self.reason.chars().count()) || !is_line(&self.reason) {
            return Err(malformed(format_args!(
                "the reason is no line of {} to {} printable characters",
                REASON.0, REASON.1
            )));
        }
        if self.by.chars().count() > MAX_ID || !is_line(&self.by) {
            return Err(malformed("who issued it is no short line"));
        }
        Ok(())
    }

    /// Whether they hold for an agent at a time, in seconds since 1970; for how many seconds they do.
    ///
    /// # Errors
    /// Why not.
    pub fn hold(&self, agent: &str, now: i64) -> Result<i64, NotHeld> {
        if let Some(token) = self.agent.as_ref().filter(|token| *token != agent) {
            return Err(NotHeld::OtherAgent { token: token.clone(), agent: agent.to_owned() });
        }
        if now < self.from {
            return Err(NotHeld::NotYet(self.from.saturating_sub(now)));
        }
        match self.until.saturating_sub(now) {
            left if left > 0 => Ok(left),
            left => Err(NotHeld::Expired(-left)),
        }
    }
}

/// A token as it is handed over; nobody has looked at its signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The claims as they were signed, byte for byte.
    pub claims: Vec<u8>,
    /// The text of the signature, as minisign writes it.
    pub signature: String,
}

impl Token {
    /// Reads one. What was typed around it is no part of it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(text: &str) -> Result<Token, NotHeld> {
        let text = text.trim();
        if text.len() > MAX_TEXT {
            return Err(malformed(format_args!("it is longer than {MAX_TEXT} bytes")));
        }
        let parts: Vec<&str> = text.split('.').collect();
        let [BEGINNING, claims, signature] = parts[..] else {
            return Err(malformed(format_args!("it does not have the shape {BEGINNING}.CLAIMS.SIGNATURE")));
        };
        let part = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(malformed);
        let signature = String::from_utf8(part(signature)?).map_err(malformed)?;
        Ok(Token { claims: part(claims)?, signature })
    }

    /// The one word.
    #[must_use]
    pub fn text(&self) -> String {
        let [claims, signature] =
            [&self.claims[..], self.signature.as_bytes()].map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{BEGINNING}.{claims}.{signature}")
    }

    /// What it says, if that can be said at all.
    ///
    /// # Errors
    /// It cannot.
    pub fn claims(&self) -> Result<Claims, NotHeld> {
        let claims: Claims = serde_json::from_slice(&self.claims).map_err(malformed)?;
        claims.check().map(|()| claims)
    }
}

/// What is signed: the claims, behind a line that sets them apart from everything else that the key signs.
#[must_use]
pub fn signed(claims: &[u8]) -> Vec<u8> {
    [FIRST_LINE.as_bytes(), claims].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Policy;

    fn claims() -> Claims {
        Claims {
            id: "00ff".into(),
            agent: Some("0198c0de-0000-7000-8000-000000000001".into()),
            from: 1000,
            until: 1000 + 3600,
            reason: "new disk, ticket 214".into(),
            by: "uid 0".into(),
        }
    }

    #[test]
    fn it_holds_for_its_agent_and_its_time() {
        let (claims, own) = (claims(), "0198c0de-0000-7000-8000-000000000001");
        assert_eq!(claims.hold(own, 1000), Ok(3600));
        assert_eq!(claims.hold(own, 4599), Ok(1));
        assert_eq!(claims.hold(own, 4600), Err(NotHeld::Expired(0)));
        assert_eq!(claims.hold(own, i64::MAX), Err(NotHeld::Expired(i64::MAX - 4600)));
        assert_eq!(claims.hold(own, 999), Err(NotHeld::NotYet(1)));
        assert!(matches!(claims.hold("another", 1000), Err(NotHeld::OtherAgent { .. })));
        assert_eq!(Claims { agent: None, ..claims }.hold("another", 1000), Ok(3600));
    }

    #[test]
    fn what_may_not_be_said_is_refused_whoever_signed_it() {
        assert_eq!(claims().check(), Ok(()));
        let long = "x".repeat(400);
        for wrong in [
            Claims { until: 1000 + LONGEST + 1, ..claims() },
            Claims { until: 1000, ..claims() },
            Claims { from: i64::MIN, until: i64::MAX, ..claims() },
            Claims { from: -1, until: 1, ..claims() },
            Claims { id: String::new(), ..claims() },
            Claims { id: "../../x".into(), ..claims() },
            Claims { agent: Some(long.clone()), ..claims() },
            Claims { reason: "short".into(), ..claims() },
            Claims { reason: "new disk\nticket 214".into(), ..claims() },
            Claims { reason: long.clone(), ..claims() },
            Claims { by: long, ..claims() },
        ] {
            assert!(matches!(wrong.check(), Err(NotHeld::Malformed(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_token_is_one_word_and_nothing_else_is_one() {
        let token = Token { claims: serde_json::to_vec(&claims()).unwrap(), signature: "a\nb".into() };
        let text = token.text();
        assert!(!text.contains(char::is_whitespace) && text.len() < 500);
        assert_eq!(Token::parse(&format!(" {text}\n")).as_ref(), Ok(&token));
        assert_eq!(token.claims(), Ok(claims()));
        let long = format!("{text}{}", "A".repeat(MAX_TEXT));
        for none in ["", ".", "..", "vitrine-maintenance", "vitrine-maintenance.e30", "x.e30.e30", long.as_str()] {
            assert!(matches!(Token::parse(none), Err(NotHeld::Malformed(_))), "{none}");
        }
        for at in 0..text.len() - 1 {
            let cut = Token::parse(&text[..at]);
            assert!(cut.is_err() || cut != Ok(token.clone()), "cut at {at}");
        }
        let unknown = Token { claims: b"{\"id\":\"1\",\"more\":1}".to_vec(), signature: String::new() };
        assert!(unknown.claims().is_err());
    }

    #[test]
    fn what_is_signed_for_a_token_is_no_policy() {
        let text = String::from_utf8(signed(b"{}")).unwrap();
        assert!(Policy::parse("token", &text).is_err());
        assert!(Policy::parse("token", text.lines().next().unwrap_or_default()).is_err());
    }
}
