//! Who shall have which version of the policy: groups of workstations, and rollouts that reach more of them by and by.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use globset::GlobBuilder;
use serde::Serialize;

use super::audit::{self, Actor, Kind};
use super::sql::{self, Connection, Optional, Row, params};
use super::{Store, StoreError, now};

/// Longest name of a group, in characters.
const NAME: usize = 60;
/// Members of a group, and characters of each.
const MEMBERS: usize = 500;
const MEMBER: usize = 200;
/// Groups.
const GROUPS: i64 = 200;
/// Rollouts on one list.
const LISTED: u32 = 50;

/// How it stands with a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// Workstations within its percentage get its version.
    Running,
    /// Those that have its version keep it, and no other one gets it.
    Halted,
}

impl RolloutState {
    /// Its name in the database and the API.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            RolloutState::Running => "running",
            RolloutState::Halted => "halted",
        }
    }
}

/// A group of workstations.
#[derive(Clone, Debug, Serialize)]
pub struct HostGroup {
    /// Its name.
    pub name: String,
    /// Patterns of host names (`*` and `?`), and ids of agents.
    pub members: Vec<String>,
}

/// One version on its way to one group.
#[derive(Clone, Debug, Serialize)]
pub struct Rollout {
    /// Its number; of all that concern a workstation the highest counts.
    pub number: i64,
    /// Number of the version.
    pub policy: i64,
    /// Name of the group.
    pub group: String,
    /// How many of a hundred of its workstations get the version.
    pub percentage: u8,
    /// How it stands.
    pub state: RolloutState,
    /// When it began, in milliseconds since 1970.
    pub began: i64,
    /// From when on its workstations are watched for refusals: its beginning, or when it was resumed.
    pub watched: i64,
    /// When somebody, or the collector itself, changed it last.
    pub changed: i64,
    /// Who that was.
    pub changed_by: String,
    /// Why, in a sentence.
    pub reason: String,
    /// Ids of the agents that shall have the version by this rollout.
    pub agents: Vec<String>,
    /// How many of them have it in force.
    pub acknowledged: u64,
}

/// What is done to a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolloutStep {
    /// So many of a hundred workstations get the version from now on.
    Raise(u8),
    /// Nobody else gets it.
    Halt,
    /// It goes on, and what was refused until now counts no more.
    Resume,
}

/// What one agent shall have, and has.
pub(super) struct Share {
    pub(super) agent: String,
    /// Number of the rollout that says so.
    pub(super) rollout: Option<i64>,
    /// Number of the version that it shall have.
    pub(super) shall: Option<i64>,
    /// Number of the version that it has in force, where it is one of here.
    pub(super) has: Option<i64>,
}

/// A rollout and whom it concerns.
struct Reach {
    rollout: Rollout,
    group: Rc<Members>,
}

/// The members of a group as they are kept, made into a matcher when it is first asked for.
struct Members {
    text: String,
    matcher: OnceCell<Matcher>,
}

impl Members {
    fn new(text: &str) -> Rc<Members> {
        Rc::new(Members { text: text.to_owned(), matcher: OnceCell::new() })
    }

    fn has(&self, host: &str, agent: &str) -> bool {
        self.matcher.get_or_init(|| Matcher::new(&self.text)).has(host, agent)
    }
}

/// Tells whether a workstation belongs to a group.
struct Matcher {
    patterns: Vec<globset::GlobMatcher>,
    agents: Vec<String>,
}

impl Matcher {
    /// Members that are no patterns belong to nobody; none can be kept.
    fn new(members: &str) -> Matcher {
        let mut matcher = Matcher { patterns: Vec::new(), agents: Vec::new() };
        for member in members.lines() {
            matcher.agents.push(member.to_owned());
            matcher.patterns.extend(pattern(member).ok());
        }
        matcher
    }

    fn has(&self, host: &str, agent: &str) -> bool {
        self.agents.iter().any(|member| member == agent) || self.patterns.iter().any(|pattern| pattern.is_match(host))
    }
}

fn pattern(text: &str) -> Result<globset::GlobMatcher, globset::Error> {
    Ok(GlobBuilder::new(text).case_insensitive(true).build()?.compile_matcher())
}

/// Where a workstation stands among a hundred, from 0 on: its version comes with the percentage above that. It depends
/// on nothing but the agent's id, so that the same ones come first each time and raising the percentage takes the
/// version from nobody.
pub(super) fn place(agent: &str) -> u8 {
    let digest = blake3::hash(agent.as_bytes());
    let (head, _) = digest.as_bytes().split_at(8);
    let number = head.iter().rev().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    u8::try_from(number % 100).unwrap_or(0)
}

impl Reach {
    /// Whether the version is given to this agent. One that has it keeps it, whatever became of the rollout.
    fn gives(&self, agent: &str, host: &str, has: Option<i64>) -> bool {
        let is_next = self.rollout.state != RolloutState::Halted && place(agent) < self.rollout.percentage;
        (is_next || has == Some(self.rollout.policy)) && self.group.has(host, agent)
    }
}

const COLUMNS: &str = "number, policy, host_group, percentage, state, began, watched, changed, changed_by, reason";

fn read(row: &Row<'_>) -> sql::Result<Rollout> {
    let state = match row.text(4)? {
        "halted" => RolloutState::Halted,
        _ => RolloutState::Running,
    };
    Ok(Rollout {
        number: row.get(0)?,
        policy: row.get(1)?,
        group: row.get(2)?,
        percentage: row.get(3)?,
        state,
        began: row.get(5)?,
        watched: row.get(6)?,
        changed: row.get(7)?,
        changed_by: row.get(8)?,
        reason: row.get(9)?,
        agents: Vec::new(),
        acknowledged: 0,
    })
}

/// All rollouts, the newest first: what an older one gave counts where no newer one gives anything. Those of one group
/// share its matcher.
fn reaches(connection: &Connection) -> Result<Vec<Reach>, StoreError> {
    let mut query = connection.prepare_cached(&format!(
        "SELECT {COLUMNS}, members FROM rollouts JOIN host_groups ON name = host_group ORDER BY number DESC"
    ))?;
    let mut groups: BTreeMap<String, Rc<Members>> = BTreeMap::new();
    let found = query.query_map([], |row| {
        let (rollout, members) = (read(row)?, row.text(10)?);
        let group = groups.entry(rollout.group.clone()).or_insert_with(|| Members::new(members));
        Ok(Reach { group: Rc::clone(group), rollout })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

/// Rollouts that are running.
pub(super) fn running(connection: &Connection) -> Result<Vec<Rollout>, StoreError> {
    let mut query = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM rollouts WHERE state = 'running'"))?;
    Ok(query.query_map([], read)?.collect::<Result<_, _>>()?)
}

/// Number of the version that an agent shall have.
pub(super) fn shall(connection: &Connection, agent: &str) -> Result<Option<i64>, StoreError> {
    let known: Option<(String, Option<i64>)> = connection
        .prepare_cached("SELECT host, policy FROM agents WHERE id = ?")?
        .query_row([agent], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let Some((host, has)) = known else { return Ok(None) };
    let found = reaches(connection)?.into_iter().find(|reach| reach.gives(agent, &host, has));
    Ok(found.map(|reach| reach.rollout.policy))
}

/// What every agent that takes policies from here shall have, and has.
pub(super) fn shares(connection: &Connection) -> Result<Vec<Share>, StoreError> {
    let reaches = reaches(connection)?;
    let mut query = connection.prepare_cached(&format!(
        "SELECT id, host, policy FROM agents WHERE {} ORDER BY id",
        connection.is_true("heartbeat", "takes_policies")
    ))?;
    let found = query.query_map([], |row| {
        let (agent, host, has): (String, String, _) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let reach = reaches.iter().find(|reach| reach.gives(&agent, &host, has)).map(|reach| &reach.rollout);
        Ok(Share { rollout: reach.map(|reach| reach.number), shall: reach.map(|reach| reach.policy), has, agent })
    })?;
    Ok(found.collect::<Result<_, _>>()?)
}

impl Store {
    /// Keeps a group, in the place of one of the same name.
    ///
    /// # Errors
    /// It has no proper name or members ([`StoreError::Policy`]), or the store fails.
    pub async fn keep_group(&self, by: Actor, group: HostGroup) -> Result<(), StoreError> {
        let HostGroup { name, members } = group;
        let members: Vec<_> = members.iter().map(|member| member.trim()).filter(|member| !member.is_empty()).collect();
        let is_line = |text: &str, longest| text.chars().count() <= longest && !text.chars().any(char::is_control);
        let wrong = |why: String| Err(StoreError::Policy(why));
        if name.is_empty() || name.trim() != name || !is_line(&name, NAME) {
            return wrong(format!("a group needs a name of 1 to {NAME} printable characters"));
        }
        if members.is_empty() || members.len() > MEMBERS {
            let count = members.len();
            return wrong(format!(
                "group {name:?} has {count} members: expected 1 to {MEMBERS} host names or agent ids"
            ));
        }
        for member in &members {
            if !is_line(member, MEMBER) {
                return wrong(format!(
                    "a member of group {name:?} is longer than {MEMBER} characters, or cannot be printed"
                ));
            }
            if let Err(error) = pattern(member) {
                return wrong(format!("{member:?} is no pattern of host names: {error}; expected a name with * and ?"));
            }
        }
        let text = members.join("\n");
        self.write(move |connection| {
            let others: i64 =
                connection.query_row("SELECT count(*) FROM host_groups WHERE name <> ?", [&name], |row| row.get(0))?;
            if others >= GROUPS {
                return Err(StoreError::Policy(format!(
                    "there are {others} groups, at most {GROUPS}: change one of them"
                )));
            }
            connection.execute(
                "INSERT INTO host_groups VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET members = excluded.members",
                params![name, text],
            )?;
            let detail = format!("members: {}", text.replace('\n', ", "));
            audit::append(connection, &by, Kind::Policy, &format!("group {name}"), &detail)
        })
        .await
    }

    /// All groups, by name.
    ///
    /// # Errors
    /// The store fails.
    pub async fn groups(&self) -> Result<Vec<HostGroup>, StoreError> {
        self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT name, members FROM host_groups ORDER BY name")?;
            let found = query.query_map([], |row| {
                let members = row.text(1)?.lines().map(str::to_owned).collect();
                Ok(HostGroup { name: row.get(0)?, members })
            })?;
            Ok(found.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Begins to give a version to so many of a hundred workstations of a group; gives the rollout's number.
    ///
    /// # Errors
    /// There is no such version or group, or the percentage is none ([`StoreError::Policy`]), or the store fails.
    pub async fn roll_out(&self, by: Actor, policy: i64, group: String, percentage: u8) -> Result<i64, StoreError> {
        self.write(move |connection| {
            check(percentage, 0)?;
            let (version, known): (bool, bool) = connection.query_row(
                "SELECT EXISTS (SELECT 1 FROM policies WHERE number = ?), EXISTS (SELECT 1 FROM host_groups WHERE name = ?)",
                params![policy, group],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            if !version {
                return Err(StoreError::Policy(format!("there is no version {policy}: choose one of the list")));
            }
            if !known {
                return Err(StoreError::Policy(format!("there is no group {group:?}: choose one of the list, or make it")));
            }
            let (at, reason) = (now(), format!("begun at {percentage} %"));
            let number: i64 = connection.query_row(
                "INSERT INTO rollouts (policy, host_group, percentage, state, began, watched, changed, changed_by, reason)
                 VALUES (?1, ?2, ?3, 'running', ?4, ?4, ?4, ?5, ?6) RETURNING number",
                params![policy, group, percentage, at, by.who(), reason],
                |row| row.get(0),
            )?;
            let detail = format!("version {policy} to group {group}, {reason}");
            audit::append(connection, &by, Kind::Policy, &format!("rollout {number}"), &detail)?;
            Ok(number)
        })
        .await
    }

    /// Changes a rollout.
    ///
    /// # Errors
    /// There is none of this number, or it cannot be changed so ([`StoreError::Policy`]), or the store fails.
    pub async fn step_rollout(&self, by: Actor, number: i64, step: RolloutStep) -> Result<(), StoreError> {
        self.write(move |connection| {
            let found = connection
                .prepare_cached(&format!("SELECT {COLUMNS} FROM rollouts WHERE number = ?"))?
                .query_row([number], read)
                .optional()?;
            let Some(mut rollout) = found else {
                return Err(StoreError::Policy(format!("there is no rollout {number}: choose one of the list")));
            };
            rollout.reason = match step {
                RolloutStep::Raise(percentage) => {
                    check(percentage, rollout.percentage)?;
                    rollout.percentage = percentage;
                    format!("raised to {percentage} %")
                }
                RolloutStep::Halt => {
                    rollout.state = RolloutState::Halted;
                    "halted".to_owned()
                }
                RolloutStep::Resume => {
                    if rollout.state == RolloutState::Halted {
                        // From the next minute on: counts are of whole minutes.
                        rollout.watched = (now() / 60_000 + 1) * 60_000;
                    }
                    rollout.state = RolloutState::Running;
                    "resumed".to_owned()
                }
            };
            change(connection, &by, &rollout)
        })
        .await
    }

    /// Rollouts, the newest first, with whom each gives its version to.
    ///
    /// # Errors
    /// The store fails.
    pub async fn rollouts(&self) -> Result<Vec<Rollout>, StoreError> {
        self.read(|connection| {
            let mut query =
                connection.prepare_cached(&format!("SELECT {COLUMNS} FROM rollouts ORDER BY number DESC LIMIT ?"))?;
            let mut found: Vec<_> = query.query_map([LISTED], read)?.collect::<Result<_, _>>()?;
            for share in shares(connection)? {
                if let Some(rollout) = found.iter_mut().find(|rollout| Some(rollout.number) == share.rollout) {
                    rollout.acknowledged += u64::from(share.has == share.shall);
                    rollout.agents.push(share.agent);
                }
            }
            Ok(found)
        })
        .await
    }
}

fn check(percentage: u8, before: u8) -> Result<(), StoreError> {
    if percentage > before && percentage <= 100 {
        return Ok(());
    }
    let least = before.saturating_add(1).min(100);
    Err(StoreError::Policy(format!(
        "a rollout cannot go from {before} to {percentage} %: expected {least} to 100. What workstations have is not \
         taken from them by it; roll another version out for that"
    )))
}

/// Writes what became of a rollout, and who did it.
pub(super) fn change(connection: &Connection, by: &Actor, rollout: &Rollout) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "UPDATE rollouts SET percentage = ?, state = ?, watched = ?, changed = ?, changed_by = ?, reason = ?
             WHERE number = ?",
        )?
        .execute(params![
            rollout.percentage,
            rollout.state.name(),
            rollout.watched,
            now(),
            by.who(),
            rollout.reason,
            rollout.number
        ])?;
    audit::append(connection, by, Kind::Policy, &format!("rollout {}", rollout.number), &rollout.reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workstation_keeps_its_place_for_ever() {
        let counted = |below: u8| (0..1000).filter(|number| place(&format!("agent-{number}")) < below).count();
        assert!((40..160).contains(&counted(10)) && (440..560).contains(&counted(50)), "{}", counted(50));
        assert_eq!(counted(100), 1000);
        for (agent, expected) in
            [("0198c0de-0000-7000-8000-000000000005", 27), ("0198c0de-0000-7000-8000-000000000007", 77)]
        {
            assert_eq!(place(agent), expected, "{agent}");
        }
    }

    #[test]
    fn patterns_are_read_only_where_a_rollout_may_give() {
        let rollout = Rollout {
            number: 1,
            policy: 7,
            group: "labs".into(),
            percentage: 50,
            state: RolloutState::Running,
            began: 0,
            watched: 0,
            changed: 0,
            changed_by: String::new(),
            reason: String::new(),
            agents: Vec::new(),
            acknowledged: 0,
        };
        let reach = Reach { rollout, group: Members::new("lab-*") };
        let (early, late) = ("0198c0de-0000-7000-8000-000000000005", "0198c0de-0000-7000-8000-000000000007");
        assert!(!reach.gives(late, "lab-3", None) && reach.group.matcher.get().is_none());
        assert!(reach.gives(early, "lab-3", None) && reach.group.matcher.get().is_some());
        assert!(reach.gives(late, "lab-3", Some(7)) && !reach.gives(early, "scan-3", None));
    }

    #[test]
    fn a_group_knows_its_members_by_pattern_or_id() {
        let group = Matcher::new("scan-0?\nlab-*.museum.example\n0198c0de-0000-7000-8000-000000000001");
        for (host, agent) in [
            ("scan-07", "x"),
            ("SCAN-01", "x"),
            ("lab-3.museum.example", "x"),
            ("other", "0198c0de-0000-7000-8000-000000000001"),
        ] {
            assert!(group.has(host, agent), "{host}");
        }
        for host in ["scan-007", "my-scan-07", "lab-3.museum.example.org", ""] {
            assert!(!group.has(host, "x"), "{host}");
        }
    }
}
