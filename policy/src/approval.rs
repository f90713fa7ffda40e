//! What an agent asks a second person, by way of the collector, before a reason holds; and the answer.
//!
//! An answer carries the digest of all that was asked: of the workstation, the request, who asks, the file, its masters
//! by their content, the destination and the reason. The collector makes it of what it has shown to whoever answered,
//! the agent compares it with what it asked, so that an answer to anything else is no answer.

use serde::{Deserialize, Serialize};

/// Longest request that is sent or read, in bytes of JSON.
pub const MAX_BYTES: usize = 32 * 1024;
/// Longest that a request may be answered, in seconds: a week.
pub const LONGEST: u64 = 7 * 24 * 3600;
/// Longest that a reason may hold, in milliseconds: a day.
const LONGEST_WINDOW: u64 = 24 * 3600 * 1000;
/// Masters of one request.
const MASTERS: usize = 8;
/// Longest name and longest path, in characters.
const NAME: usize = 300;
const PATH: usize = 16 * 1024;
/// Longest reason and note, in characters.
const REASON: usize = 500;
/// Longest note of whoever answers, in characters.
pub const NOTE: usize = 500;
/// Sets these hashes apart from all others of BLAKE3 (its key derivation mode, section 6.2 of the paper).
const CONTEXT: &str = "vitrine 2026 request for approval v1";

/// One request. All text is printable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// The agent's id.
    pub agent: String,
    /// Its own id: 32 hexadecimal digits, never used again.
    pub id: String,
    /// Login name and number of the user who asks; none where nobody can know who acts (`watch`).
    pub user: Option<Asker>,
    /// Path of the file that was refused.
    pub file: String,
    /// BLAKE3 of its content, where it was read.
    pub digest: Option<String>,
    /// BLAKE3 of its thumbnail, which is sent as evidence.
    pub thumbnail: Option<String>,
    /// Masters that it shows.
    pub masters: Vec<Master>,
    /// Name of its tier.
    pub tier: String,
    /// Name of the destination in the policy.
    pub destination: String,
    /// Path or host at the destination.
    pub target: String,
    /// Why it has to go there.
    pub reason: String,
    /// How long it may go there from when the agent learns of the approval, in milliseconds.
    pub window: u64,
    /// When it was asked, in milliseconds since 1970 by the workstation's clock.
    pub asked: i64,
    /// Seconds from then on within which it may be answered.
    pub lasts: u64,
}

/// The user who asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asker {
    /// Numeric id on the workstation.
    pub uid: u32,
    /// Login name there.
    pub name: String,
}

/// A master of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Master {
    /// Path.
    pub path: String,
    /// Collection that it lies in.
    pub collection: String,
    /// BLAKE3 of what it is recognised by, where it was read.
    pub content: Option<String>,
    /// BLAKE3 of its thumbnail, which is sent as evidence.
    pub thumbnail: Option<String>,
}

/// A request on its way to the collector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// What is asked.
    pub request: Request,
    /// Seconds that are left of [`Request::lasts`] by the agent's clock.
    pub left: u64,
}

/// How it stands with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Nobody has answered yet.
    Pending,
    /// It may go there.
    Approved,
    /// It may not.
    Denied,
    /// Nobody has answered in time.
    Expired,
}

/// What the collector says of a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`Request::id`].
    pub id: String,
    /// [`Request::fingerprint`] of what whoever answered was shown.
    pub fingerprint: String,
    /// How it stands.
    pub state: State,
    /// Who has answered.
    pub by: Option<String>,
    /// When, in milliseconds since 1970 by the collector's clock.
    pub at: Option<i64>,
    /// What else he said; empty where that is nothing.
    #[serde(default)]
    pub note: String,
}

impl Request {
    /// BLAKE3 of all that it says, 64 hexadecimal digits.
    ///
    /// # Errors
    /// Out of memory.
    pub fn fingerprint(&self) -> Result<String, serde_json::Error> {
        let text = serde_json::to_vec(self)?;
        Ok(blake3::Hasher::new_derive_key(CONTEXT).update(&text).finalize().to_hex().to_string())
    }

    /// Whether it is within all limits.
    ///
    /// # Errors
    /// One clause that names what is not, and what was expected.
    pub fn check(&self) -> Result<(), String> {
        let digits = |text: &str, length: usize| {
            text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        if !digits(&self.id, 32) {
            return Err("`id` is none; expected 32 lower-case hexadecimal digits".to_owned());
        }
        let masters = self.masters.iter();
        let digests = masters.flat_map(|master| [&master.content, &master.thumbnail]);
        if digests.chain([&self.digest, &self.thumbnail]).flatten().any(|digest| !digits(digest, 64)) {
            return Err("a digest is none; expected 64 lower-case hexadecimal digits".to_owned());
        }
        if self.masters.is_empty() || self.masters.len() > MASTERS {
            return Err(format!("{} masters; expected 1 to {MASTERS}", self.masters.len()));
        }
        let long = |name: &str, text: &str, most: usize| {
            let length = text.chars().count();
            (length > most).then(|| format!("`{name}` has {length} characters; expected at most {most}"))
        };
        let user = self.user.as_ref().map_or("", |user| user.name.as_str());
        let names = [("user", user), ("tier", self.tier.as_str()), ("destination", self.destination.as_str())];
        let paths = [("file", self.file.as_str()), ("target", self.target.as_str())];
        let of_masters = self.masters.iter().find_map(|master| {
            long("collection", &master.collection, NAME).or_else(|| long("path", &master.path, PATH))
        });
        let too_long = names.into_iter().find_map(|(name, text)| long(name, text, NAME));
        let too_long = too_long.or_else(|| paths.into_iter().find_map(|(name, text)| long(name, text, PATH)));
        if let Some(why) = too_long.or(of_masters).or_else(|| long("reason", &self.reason, REASON)) {
            return Err(why);
        }
        if self.reason.trim().is_empty() || self.destination.is_empty() || self.tier.is_empty() {
            return Err("reason, destination or tier is empty; expected all of them".to_owned());
        }
        if self.window == 0 || self.window > LONGEST_WINDOW {
            return Err(format!("`window` is {}; expected 1 to {LONGEST_WINDOW} milliseconds", self.window));
        }
        if self.lasts == 0 || self.lasts > LONGEST {
            return Err(format!("`lasts` is {}; expected 1 to {LONGEST} seconds", self.lasts));
        }
        match serde_json::to_vec(self) {
            Ok(text) if text.len() <= MAX_BYTES => Ok(()),
            Ok(text) => Err(format!("its names are too long: {} bytes; expected at most {MAX_BYTES}", text.len())),
            Err(error) => Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Request);

    fn request() -> Request {
        Request {
            agent: "0198c0de-0000-7000-8000-000000000001".into(),
            id: "0a".repeat(16),
            user: Some(Asker { uid: 1004, name: "wen".into() }),
            file: "/home/wen/out.jpg".into(),
            digest: Some("ab".repeat(32)),
            thumbnail: None,
            masters: vec![Master {
                path: "/srv/scans/K2B_0012.tif".into(),
                collection: "masters".into(),
                content: Some("cd".repeat(32)),
                thumbnail: None,
            }],
            tier: "licensed".into(),
            destination: "courier disk".into(),
            target: "/media/courier/out.jpg".into(),
            reason: "loan 14, agreed with the registrar".into(),
            window: 900_000,
            asked: 1_795_348_800_000,
            lasts: 86_400,
        }
    }

    #[test]
    fn an_answer_to_anything_else_is_told_by_its_fingerprint() {
        let own = request().fingerprint().unwrap();
        assert_eq!(own, request().fingerprint().unwrap());
        let changes: [Change; 14] = [
            |other| other.agent.push('x'),
            |other| other.id = "0b".repeat(16),
            |other| other.user = None,
            |other| other.file.push('x'),
            |other| other.digest = None,
            |other| other.thumbnail = Some("ab".repeat(32)),
            |other| other.masters[0].content = Some("ce".repeat(32)),
            |other| other.masters.push(other.masters[0].clone()),
            |other| other.tier = "master".into(),
            |other| other.destination = "archive".into(),
            |other| other.target.push('x'),
            |other| other.reason.push('.'),
            |other| other.window += 1,
            |other| other.asked += 1,
        ];
        for (nth, change) in changes.into_iter().enumerate() {
            let mut other = request();
            change(&mut other);
            assert_ne!(other.fingerprint().unwrap(), own, "change {nth}");
        }
        let sent = serde_json::to_string(&request()).unwrap();
        let read: Request = serde_json::from_str(&sent).unwrap();
        assert_eq!(read.fingerprint().unwrap(), own, "and is the same after it was sent");
    }

    #[test]
    fn what_is_too_much_is_refused_with_its_name() {
        request().check().unwrap();
        let changes: [(Change, &str); 12] = [
            (|other| other.id = "../x".into(), "`id`"),
            (|other| other.digest = Some("AB".repeat(32)), "digest"),
            (|other| other.masters.clear(), "0 masters"),
            (|other| other.masters = vec![other.masters[0].clone(); 9], "9 masters"),
            (|other| other.file = "x".repeat(PATH + 1), "`file`"),
            (|other| other.destination = "x".repeat(NAME + 1), "`destination`"),
            (|other| other.reason = "x".repeat(REASON + 1), "`reason`"),
            (|other| other.reason = " ".into(), "empty"),
            (|other| other.window = 0, "`window`"),
            (|other| other.window = LONGEST_WINDOW + 1, "`window`"),
            (|other| other.lasts = LONGEST + 1, "`lasts`"),
            (|other| (other.file, other.target) = ("語".repeat(8000), "語".repeat(8000)), "too long"),
        ];
        for (change, expected) in changes {
            let mut other = request();
            change(&mut other);
            let why = other.check().unwrap_err();
            assert!(why.contains(expected), "{why}");
        }
    }
}
