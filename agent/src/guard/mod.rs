//! The guards: how a copy is stopped. Each answers the kernel first, within the deadline, whatever fails,
//! and has the record made afterwards.

pub(crate) mod flow;
pub(crate) mod gate;
pub(crate) mod support;
pub(crate) mod watch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use vitrine_policy::Policy;

use crate::collection::Progress;
use crate::config::GuardChoice;
use crate::workstation::Workstation;
use support::{Guard, KERNEL_ASKS, REPORTED};

/// The guard at work. Dropping it ends its threads.
pub(crate) struct Guarding {
    running: Running,
    /// Why it is this one.
    pub(crate) why: String,
    /// Whether it is weaker than what was asked for.
    pub(crate) is_degraded: bool,
    stop: Arc<AtomicBool>,
}

enum Running {
    Flow(flow::Running),
    Gate(gate::Running),
    Watch,
}

impl Drop for Guarding {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl Guarding {
    /// Starts the best guard that this machine has, or the one that was asked for.
    ///
    /// # Errors
    /// Not even directories can be watched.
    pub(crate) fn start(workstation: &Arc<Workstation>, progress: &Arc<Progress>) -> anyhow::Result<Guarding> {
        let wanted = workstation.config.guard;
        let mut missed = Vec::new();
        let mut running = None;
        if matches!(wanted, GuardChoice::Auto | GuardChoice::Flow) {
            match flow::start(workstation) {
                Ok(flow) => running = Some((Running::Flow(flow), KERNEL_ASKS.to_owned())),
                Err(error) => missed.push(support::no_flow(&error)),
            }
        }
        // Others than root cannot have left any, and may not even look.
        if running.is_none() && nix::unistd::geteuid().is_root() {
            flow::clear_what_is_left().context("the programs of an earlier agent stay in the kernel")?;
        }
        if running.is_none() && wanted != GuardChoice::Watch {
            match support::gate().and_then(|why| match gate::start(workstation, progress.clone()) {
                Ok(gate) => Ok((Running::Gate(gate), why.to_owned())),
                Err(error) => Err(format!("the gate cannot start: {error}")),
            }) {
                Ok(gate) => running = Some(gate),
                Err(why) => missed.push(why),
            }
        }
        let (running, why) = running.unwrap_or((Running::Watch, REPORTED.to_owned()));
        let stop = Arc::new(AtomicBool::new(false));
        if matches!(running, Running::Watch) {
            let ended = stop.clone();
            watch::start(workstation, move || ended.load(Ordering::Relaxed))
                .context("no guard can start: the directories cannot be watched either")?;
        }
        let is_degraded = match running {
            Running::Flow(_) => false,
            Running::Gate(_) => wanted == GuardChoice::Flow,
            Running::Watch => wanted != GuardChoice::Watch,
        };
        missed.push(why);
        Ok(Guarding { running, why: missed.join("; "), is_degraded, stop })
    }

    /// Whether it has come to an end while the agent goes on.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(&self.running, Running::Flow(flow) if flow.is_lost())
    }

    /// Which one it is.
    pub(crate) fn guard(&self) -> Guard {
        match self.running {
            Running::Flow(_) => Guard::Flow,
            Running::Gate(_) => Guard::Gate,
            Running::Watch => Guard::Watch,
        }
    }

    /// Another policy is in force: other files may be masters now.
    ///
    /// # Errors
    /// A file system could not be marked.
    pub(crate) fn policy_changed(&self) -> std::io::Result<()> {
        match &self.running {
            Running::Gate(gate) => gate.marks.ask_everybody(),
            // It looks at the policy itself.
            Running::Flow(_) | Running::Watch => Ok(()),
        }
    }

    /// Mounts have come or gone.
    pub(crate) fn update(&self, workstation: &Workstation) {
        if let Running::Gate(gate) = &self.running {
            gate.update(workstation);
        }
    }

    /// For people: what is guarded, and how.
    pub(crate) fn guarded(&self) -> Vec<String> {
        match &self.running {
            Running::Flow(_) => vec!["every process, file system and socket of this machine, in the kernel".to_owned()],
            Running::Gate(gate) => gate.marks.describe(),
            Running::Watch => Vec::new(),
        }
    }

    /// For people: what is not seen on this machine now, and what of the policy cannot be had here.
    pub(crate) fn not_covered(&self, policy: &Policy) -> Vec<String> {
        match &self.running {
            Running::Flow(_) => {
                let names = "names below a domain (`*.example.org`): the kernel knows addresses only, and these cannot be looked up";
                std::iter::once(names.to_owned()).chain(reasons(policy)).collect()
            }
            Running::Gate(gate) => gate.marks.not_covered(),
            Running::Watch => vec![
                "who did it, and anything before it has arrived: this guard only sees what reached a destination"
                    .to_owned(),
            ],
        }
    }
}

/// What the policy says of reasons where the kernel decides: it cannot be told of them.
fn reasons(policy: &Policy) -> Option<String> {
    let wanted = policy.destinations.iter().filter(|destination| destination.justify.is_some());
    let names: Vec<&str> = wanted.map(|destination| destination.name.as_str()).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!(
            "reasons (`justify`) for {names}: the kernel cannot be told of them, so nothing labelled may go there; where they are \
             wanted, set guard = \"gate\" in the settings"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_that_want_a_reason_are_named() {
        let policy = |justify: &str| {
            let destination = |name: &str| {
                format!("[[destination]]\nname = \"{name}\"\npaths = [\"/{name}\"]\nceiling = \"master\"\n")
            };
            let text = format!(
                "version = 1\nmode = \"audit\"\n[[collection]]\nname = \"masters\"\npaths = [\"/masters\"]\n\
                 {}{}{justify}\n[elsewhere]\nceiling = \"none\"\n",
                destination("web"),
                destination("courier"),
            );
            Policy::parse("policy.toml", &text).expect("a policy")
        };
        assert_eq!(reasons(&policy("")), None);
        let told = reasons(&policy("justify = true")).expect("words");
        assert!(told.contains("courier") && !told.contains("web"), "{told}");
    }
}
