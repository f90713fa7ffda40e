//! Maintenance: the time for which root may touch what is the agent's, by leave of whoever has the key.
//!
//! What always holds:
//!
//! 1. It is opened by a token alone that is signed with the key of the settings, is for this agent and holds now.
//! 2. A token opens it once. After its end, or a restart of the machine, it takes another one; a restart of the agent
//!    alone changes nothing.
//! 3. It ends when the token says, by whichever clock is there first: the wall clock, or the time since the machine was
//!    started ([`crate::justification::now`]), in which the end is reckoned at the moment of opening.
//! 4. A wall clock that is set back counts as going on from the latest time that it has shown since the machine was
//!    started.
//! 5. Beginning and end are recorded, with who asked.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use minisign_verify::{PublicKey, Signature};
use serde::{Deserialize, Serialize};
use vitrine_policy::maintenance::{COMMENT, Claims, Token, signed};

use crate::config::Config;
use crate::desk::Asker;
use crate::fail::Failure;
use crate::identify::process::Login;
use crate::justification;
use crate::policy_file::{signature, write_durably};
use crate::spool::Spool;
use crate::workstation::Workstation;

/// What is known of tokens, below the state directory.
const FILE: &str = "maintenance.json";
/// Tokens that are remembered as used; each takes somebody with the key.
const USED: usize = 4096;
/// Longest file that is read, in bytes.
const MAX: u64 = 1024 * 1024;
/// How far the wall clock leaps ahead before that is written down, in seconds.
const LEAP: i64 = 2;

/// The clocks at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Clocks {
    /// Which start of the machine it is (random(4), `boot_id`).
    pub(crate) boot: String,
    /// Since then, with the time for which it slept.
    since: Duration,
    /// Seconds since 1970, as anybody with the right to may set them.
    pub(crate) wall: i64,
}

impl Clocks {
    /// As they are.
    pub(crate) fn now() -> Clocks {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Clocks { boot, since: justification::now(), wall: jiff::Timestamp::now().as_second() }
    }

    /// Whole seconds since the machine was started.
    pub(crate) fn uptime(&self) -> i64 {
        i64::try_from(self.since.as_secs()).unwrap_or(i64::MAX)
    }
}

/// Maintenance that is open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Open {
    /// The token's number.
    pub(crate) id: String,
    /// What is to be done, and who issued the token.
    pub(crate) reason: String,
    pub(crate) issued_by: String,
    /// Who asked for it.
    pub(crate) by: String,
    /// When it ends, in seconds since 1970.
    pub(crate) ends: i64,
    /// When it ends, in seconds since the machine was started.
    until: i64,
    /// The token.
    token: String,
}

/// What is written down.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Kept {
    /// The start of the machine that the next two are of.
    boot: String,
    /// By how much the wall clock was ahead of the time since the start at most, in seconds.
    ahead: i64,
    open: Option<Open>,
    /// Tokens that open it no more, the latest last.
    used: VecDeque<String>,
}

/// What the agent knows of maintenance.
pub(crate) struct Maintenance {
    file: PathBuf,
    agent: String,
    /// The key of the settings, or what is said instead of it.
    key: Result<String, String>,
    /// The key that the kernel's side was given before these settings; it counts.
    pinned: OnceLock<String>,
    kept: Mutex<Kept>,
}

impl Maintenance {
    /// What an earlier run of the agent has written down.
    pub(crate) fn read(config: &Config) -> Maintenance {
        let file = config.state.join(FILE);
        let mut text = Vec::new();
        let read = fs::File::open(&file).and_then(|file| file.take(MAX).read_to_end(&mut text));
        let mut kept: Kept = serde_json::from_slice(&text).unwrap_or_default();
        if read.is_ok() && !text.is_empty() && serde_json::from_slice::<Kept>(&text).is_err() {
            tracing::warn!("{} is damaged: maintenance is closed, and tokens count as new", file.display());
        }
        // Without an identity no token for one agent fits.
        let agent = Spool::agent_id(&config.state).unwrap_or_default();
        let key = config.maintenance_key().map(str::to_owned).ok_or_else(|| {
            "this agent trusts no key for maintenance: name one as `maintenance-key`, or `policy-key`, in agent.toml".into()
        });
        let mut read = Maintenance { file, agent, key, pinned: OnceLock::new(), kept: Mutex::default() };
        // Whoever could write the file before the agent was there has no token for all that.
        kept.open = kept.open.filter(|open| read.has_leave(open));
        read.kept = Mutex::new(kept);
        read
    }

    /// Whether a token stands behind what was written down.
    fn has_leave(&self, open: &Open) -> bool {
        let claims =
            Token::parse(&open.token).map_err(|why| why.to_string()).and_then(|token| verify(&self.key()?, &token));
        claims.is_ok_and(|claims| {
            let uptime = i64::try_from(justification::now().as_secs()).unwrap_or(i64::MAX);
            let is_for_this = claims.agent.as_ref().is_none_or(|agent| *agent == self.agent) && claims.id == open.id;
            is_for_this && claims.until == open.ends && open.until.saturating_sub(uptime) <= claims.until - claims.from
        })
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that the kernel's side knows counts from now on, whatever the settings say.
    pub(crate) fn pin(&self, key: String) {
        let _ = self.pinned.set(key);
    }

    /// The public key that tokens must be signed with.
    ///
    /// # Errors
    /// One sentence: there is none.
    pub(crate) fn key(&self) -> Result<PublicKey, String> {
        match self.pinned.get() {
            Some(pinned) => signature::public_key(pinned),
            None => signature::public_key(self.key.as_ref().map_err(Clone::clone)?),
        }
    }

    /// When the maintenance that is open ends, in time since the machine was started; none is open: none.
    pub(crate) fn until(&self) -> Option<Duration> {
        let kept = self.kept();
        kept.open.as_ref().and_then(|open| u64::try_from(open.until).ok()).map(Duration::from_secs)
    }

    /// What is open, and for how many seconds more.
    pub(crate) fn now_open(&self, clocks: &Clocks) -> Option<(Open, i64)> {
        let kept = self.kept();
        let left = |open: &Open| (open.until - clocks.uptime()).min(open.ends - kept.time(clocks));
        kept.open.as_ref().map(|open| (open.clone(), left(open))).filter(|(_, left)| *left > 0)
    }

    /// Opens it by a token that `by` has brought.
    ///
    /// # Errors
    /// In one sentence, why not.
    pub(crate) fn open(&self, text: &str, by: String, clocks: &Clocks) -> Result<Open, String> {
        let token = Token::parse(text).map_err(|why| why.to_string())?;
        let claims = verify(&self.key()?, &token)?;
        let mut kept = self.kept();
        kept.follow(clocks);
        let left = claims.hold(&self.agent, kept.time(clocks)).map_err(|why| why.to_string())?;
        if let Some(open) = kept.open.as_ref().filter(|open| open.id == claims.id) {
            return Ok(open.clone());
        }
        if kept.used.contains(&claims.id) {
            return Err("this token has opened maintenance before, and opens it once; ask for a new one".to_owned());
        }
        let Claims { id, reason, by: issued_by, until: ends, .. } = claims;
        let until = clocks.uptime().saturating_add(left);
        let open = Open { id, reason, issued_by, by, ends, until, token: token.text() };
        // Written down first: a token that nobody remembers as used could be used again.
        let before = kept.open.replace(open.clone());
        kept.used.push_back(open.id.clone());
        if kept.used.len() > USED {
            kept.used.pop_front();
        }
        if let Err(error) = self.write(&kept) {
            kept.open = before;
            kept.used.pop_back();
            return Err(format!("it cannot be written down in {}: {error}", self.file.display()));
        }
        Ok(open)
    }

    /// Ends it. What was open, if anything was.
    pub(crate) fn end(&self) -> Option<Open> {
        let mut kept = self.kept();
        let ended = kept.open.take()?;
        self.write_or_warn(&kept);
        Some(ended)
    }

    /// Looks at the clocks; what has come to its end by them.
    pub(crate) fn look(&self, clocks: &Clocks) -> Option<Open> {
        let mut kept = self.kept();
        let is_other = kept.boot != clocks.boot;
        let leapt = clocks.wall.saturating_sub(clocks.uptime()) > kept.ahead.saturating_add(LEAP);
        let time = if is_other { clocks.wall } else { kept.time(clocks) };
        let is_over = |open: &Open| is_other || open.until <= clocks.uptime() || open.ends <= time;
        let ended = if kept.open.as_ref().is_some_and(is_over) { kept.open.take() } else { None };
        if is_other || leapt || ended.is_some() {
            kept.follow(clocks);
            self.write_or_warn(&kept);
        }
        ended
    }

    fn write(&self, kept: &Kept) -> io::Result<()> {
        write_durably(&self.file, &serde_json::to_vec(kept)?)
    }

    fn write_or_warn(&self, kept: &Kept) {
        if let Err(error) = self.write(kept) {
            tracing::warn!("{} cannot be written: {error}", self.file.display());
        }
    }
}

impl Kept {
    /// The latest time that the wall clock has shown, and what has passed since, in seconds since 1970.
    fn time(&self, clocks: &Clocks) -> i64 {
        let gone_on = if self.boot == clocks.boot { clocks.uptime().saturating_add(self.ahead) } else { i64::MIN };
        clocks.wall.max(gone_on)
    }

    fn follow(&mut self, clocks: &Clocks) {
        let ahead = clocks.wall.saturating_sub(clocks.uptime());
        if self.boot == clocks.boot {
            self.ahead = self.ahead.max(ahead);
        } else {
            (self.boot, self.ahead, self.open) = (clocks.boot.clone(), ahead, None);
        }
    }
}

/// What a token says, if it is signed with this key as a token.
fn verify(key: &PublicKey, token: &Token) -> Result<Claims, String> {
    let forged = |why: &dyn std::fmt::Display| {
        format!("this token is not signed with the key that this agent trusts ({why}); ask whoever issued it")
    };
    let signature = Signature::decode(&token.signature).map_err(|why| forged(&why))?;
    key.verify(&signed(&token.claims), &signature, false).map_err(|why| forged(&why))?;
    if !signature.trusted_comment().starts_with(COMMENT) {
        return Err(forged(&"it was signed as something else"));
    }
    token.claims().map_err(|why| why.to_string())
}

/// What is asked of maintenance, besides how it stands.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Wish {
    /// Open it by this token.
    Open(String),
    /// End it.
    End,
    /// Nothing.
    Look,
}

/// How it stands with maintenance, as whoever asks is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What is open, and for how many seconds more.
    pub(crate) open: Option<(Open, i64)>,
    /// What the shield keeps root from, in a sentence.
    pub(crate) shield: String,
}

/// Does what somebody wishes, and records it.
///
/// # Errors
/// In one sentence, why not.
pub(crate) fn answer(workstation: &Workstation, asker: Asker, wish: Wish) -> Result<State, String> {
    if !asker.is_owner {
        return Err("only root opens and ends maintenance; run it with sudo".to_owned());
    }
    let (maintenance, clocks) = (&workstation.maintenance, Clocks::now());
    let by = who(asker);
    match wish {
        Wish::Look => {}
        Wish::End => {
            let ended = maintenance.end().ok_or("no maintenance is open")?;
            workstation.spool.push(ended_notice(&ended, &format!("ended by {by}")));
        }
        Wish::Open(text) => {
            if !workstation.windows.may_ask(asker.uid, clocks.since) {
                return Err("you have asked too often; wait ten minutes, and ask again".to_owned());
            }
            let earlier = maintenance.now_open(&clocks).map(|(open, _)| open);
            let open = maintenance.open(&text, by.clone(), &clocks).inspect_err(|why| {
                workstation.spool.push(Failure::MaintenanceRefused.notice(None, format_args!("{by}: {why}")));
            })?;
            if earlier.as_ref() != Some(&open) {
                if let Some(earlier) = earlier {
                    workstation.spool.push(ended_notice(&earlier, "another token took its place"));
                }
                let what = format!(
                    "{by} opened maintenance until {}, by a token of {}: “{}”",
                    shown(open.ends),
                    open.issued_by,
                    open.reason
                );
                workstation.spool.push(Failure::MaintenanceOpened.notice(Some(open.id.as_bytes()), what));
            }
        }
    }
    Ok(State { open: maintenance.now_open(&clocks), shield: workstation.shield() })
}

/// The record of an end.
pub(crate) fn ended_notice(ended: &Open, how: &str) -> vitrine_policy::record::Event {
    let what = format!("the maintenance that {} opened is over: {how}", ended.by);
    Failure::MaintenanceEnded.notice(Some(ended.id.as_bytes()), what)
}

/// A time for people.
pub(crate) fn shown(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds).map_or_else(|_| seconds.to_string(), |time| time.to_string())
}

/// Who asks, and as whom he logged in (audit_getloginuid(3)).
fn who(asker: Asker) -> String {
    let name = |uid: u32| {
        let user = Login::new(uid, None).user();
        format!("{} (user {})", user.name, user.uid)
    };
    let login = asker.pid.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/loginuid")).ok());
    let login =
        login.and_then(|text| text.trim().parse::<u32>().ok()).filter(|uid| ![u32::MAX, asker.uid].contains(uid));
    match login {
        Some(uid) => format!("{}, logged in as {}", name(asker.uid), name(uid)),
        None => name(asker.uid),
    }
}
