//! The clock over restarts. What it showed last is kept, so that a clock that was set while no agent ran, or while the
//! workstation was off, is told of as far as anybody can know; while the agent runs the spool sees it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use vitrine_policy::record::Event;

use crate::fail::Failure;
use crate::maintenance::{Clocks, shown};
use crate::policy_file::write_durably;

/// What the clock showed last, below the state directory.
const FILE: &str = "clock.json";
/// Bytes of it.
const LONGEST: u64 = 4096;
/// How often it is kept.
const KEEP: Duration = Duration::from_secs(60);
/// What is more than this many seconds off is told.
const JUMP: i64 = 60;
/// No workstation is off for so many seconds.
const LONG: i64 = 365 * 24 * 60 * 60;

/// What was seen of the clocks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seen {
    /// Which start of the machine it was.
    boot: String,
    /// Seconds since then, and seconds since 1970.
    uptime: i64,
    wall: i64,
}

impl Seen {
    fn now() -> Seen {
        let clocks = Clocks::now();
        Seen { uptime: clocks.uptime(), wall: clocks.wall, boot: clocks.boot }
    }
}

/// Keeps what the clock shows.
pub(crate) struct Watch {
    file: PathBuf,
    kept: Instant,
}

impl Watch {
    /// Looks at what was kept, with what there is to record, and keeps what is now.
    pub(crate) fn start(state: &Path) -> (Watch, Option<Event>) {
        let watch = Watch { file: state.join(FILE), kept: Instant::now() };
        let mut text = Vec::new();
        let read = File::open(&watch.file).and_then(|file| file.take(LONGEST).read_to_end(&mut text));
        let before = read.ok().and_then(|_| serde_json::from_slice(&text).ok());
        let made = fs::metadata("/proc/self/exe").and_then(|metadata| metadata.modified()).ok();
        let made = made.and_then(|made| made.duration_since(UNIX_EPOCH).ok());
        let made = made.and_then(|made| i64::try_from(made.as_secs()).ok()).unwrap_or(0);
        let told = off(before.as_ref(), &Seen::now(), made).map(|what| {
            let what = format!(
                "{what}. Times of records do not compare, and certificates may count as not valid: check who set it, \
                 and whether time synchronisation runs (`timedatectl`)"
            );
            Failure::ClockJumped.notice(None, what)
        });
        watch.keep();
        (watch, told)
    }

    /// Keeps it once a minute.
    pub(crate) fn tick(&mut self) {
        if self.kept.elapsed() > KEEP {
            self.kept = Instant::now();
            self.keep();
        }
    }

    /// Keeps it now.
    pub(crate) fn keep(&self) {
        let written = serde_json::to_vec(&Seen::now()).map_err(std::io::Error::other);
        if let Err(error) = written.and_then(|text| write_durably(&self.file, &text)) {
            tracing::warn!("{} cannot be written: {error}", self.file.display());
        }
    }
}

/// What is wrong with the clock, in a sentence; the program was `made` at this time.
fn off(before: Option<&Seen>, now: &Seen, made: i64) -> Option<String> {
    let is = shown(now.wall);
    if let Some(before) = before {
        let was = shown(before.wall);
        let by = now.wall.saturating_sub(before.wall);
        if before.boot == now.boot {
            let by = by.saturating_sub(now.uptime.saturating_sub(before.uptime));
            if by.abs() > JUMP {
                return Some(format!("the clock was set by {by} seconds while no agent ran: it shows {is}"));
            }
        } else if by < -JUMP {
            return Some(format!(
                "the clock shows {is}, and showed {was} before the workstation was started anew: it was set back by \
                 {} seconds at least",
                by.saturating_neg()
            ));
        } else if by > LONG {
            return Some(format!(
                "the clock shows {is}, and showed {was} when the agent was last alive: unless the workstation was off \
                 for so long, it is wrong"
            ));
        }
    }
    let is_older = now.wall < made.saturating_sub(JUMP);
    is_older.then(|| format!("the clock shows {is}, and this program was made at {}: it is wrong", shown(made)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(boot: &str, uptime: i64, wall: i64) -> Seen {
        Seen { boot: boot.into(), uptime, wall }
    }

    #[test]
    fn what_can_be_known_of_a_clock_is_told() {
        let told = |before: Option<Seen>, now: Seen| off(before.as_ref(), &now, 1_000).unwrap_or_default();
        let before = || Some(seen("a", 100, 50_000));
        assert_eq!(told(None, seen("a", 100, 50_000)), "");
        assert_eq!(told(before(), seen("a", 700, 50_600)), "", "it went on");
        assert_eq!(told(before(), seen("a", 700, 50_660)), "", "a little");
        assert!(told(before(), seen("a", 700, 50_661)).contains("was set by 61 seconds"));
        assert!(told(before(), seen("a", 700, 50_000)).contains("was set by -600 seconds"));
        assert_eq!(told(before(), seen("b", 5, 90_000)), "", "the machine was off");
        assert!(told(before(), seen("b", 5, 49_000)).contains("set back by 1000 seconds at least"));
        assert!(told(before(), seen("b", 5, 50_001 + LONG)).contains("when the agent was last alive"));
        assert!(told(None, seen("a", 5, 0)).contains("this program was made"));
    }

    #[test]
    fn it_is_kept_and_what_is_damaged_counts_as_nothing() {
        let state = tempfile::tempdir().unwrap();
        let (_, told) = Watch::start(state.path());
        assert!(told.is_none(), "{told:?}");
        let mut kept: Seen = serde_json::from_slice(&fs::read(state.path().join(FILE)).unwrap()).unwrap();
        kept.wall += 7200;
        fs::write(state.path().join(FILE), serde_json::to_vec(&kept).unwrap()).unwrap();
        assert!(Watch::start(state.path()).1.is_some());
        assert!(Watch::start(state.path()).1.is_none(), "once");
        fs::write(state.path().join(FILE), "{").unwrap();
        assert!(Watch::start(state.path()).1.is_none());
    }
}
