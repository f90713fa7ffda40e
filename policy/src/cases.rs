//! The tests that a policy brings along.

use serde::Serialize;

use crate::decision::{Rule, Verdict};
use crate::explain::explain;
use crate::facts::{Attempt, Destination, Facts, History, Label, Origin, Program, Tier};
use crate::judge::judge;
use crate::policy::Policy;

/// One `[[test]]`.
#[derive(Clone, Debug)]
pub struct Test {
    /// Line of its `[[test]]` in the file.
    pub line: usize,
    /// Who tries.
    pub program: Program,
    /// What is tried.
    pub case: Case,
    /// What should come of it.
    pub expect: Expect,
}

/// What a `[[test]]` tries.
#[derive(Clone, Debug)]
pub enum Case {
    /// Something of this tier moves.
    Transfer {
        /// The tier.
        tier: Tier,
        /// Where to.
        to: Destination,
        /// What has gone there, as `coverage` and `objects-today` of the test say it.
        history: History,
    },
    /// A master of this collection is opened.
    Open {
        /// The collection.
        collection: String,
    },
}

/// What should come of a `[[test]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expect {
    /// It is allowed as it is.
    Allow,
    /// It is refused, be it only for want of a reason.
    Block,
    /// It is refused for want of a reason and nothing else.
    Justify,
}

/// What came of a `[[test]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestOutcome {
    /// Position among the tests, from 1.
    pub index: usize,
    /// Line of its `[[test]]` in the file.
    pub line: usize,
    /// Whether it came as expected.
    pub passed: bool,
    /// What should have come of it.
    pub expected: Expect,
    /// What came of it.
    pub got: Expect,
    /// Why, in sentences.
    pub explanation: String,
}

impl Expect {
    /// The words that `expect` knows.
    pub(crate) const WORDS: [&str; 3] = ["allow", "block", "justify"];

    pub(crate) fn named(word: &str) -> Option<Expect> {
        match word {
            "allow" => Some(Expect::Allow),
            "block" => Some(Expect::Block),
            "justify" => Some(Expect::Justify),
            _ => None,
        }
    }

    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Expect::Allow => "allow",
            Expect::Block => "block",
            Expect::Justify => "justify",
        }
    }
}

impl Test {
    fn facts(&self, policy: &Policy) -> Facts {
        let label = |tier| Label { tier, origin: Origin::Measured, masters: vec!["a master".to_owned()] };
        let attempt = match &self.case {
            Case::Transfer { tier, to, history } => {
                Attempt::Transfer { label: label(*tier), destination: to.clone(), history: history.clone() }
            }
            Case::Open { collection } => {
                Attempt::Open { collection: collection.clone(), label: label(policy.master_tier()) }
            }
        };
        Facts { program: self.program.clone(), attempt }
    }
}

impl Policy {
    /// Runs the policy's own tests, in the order of the file.
    #[must_use]
    pub fn run_tests(&self) -> Vec<TestOutcome> {
        let run = |(index, test): (usize, &Test)| {
            let facts = test.facts(self);
            let decision = judge(self, &facts);
            let got = match (decision.verdict, &decision.rule) {
                (Verdict::Block, Rule::Justify { .. }) => Expect::Justify,
                (Verdict::Block, _) => Expect::Block,
                _ => Expect::Allow,
            };
            TestOutcome {
                index: index + 1,
                line: test.line,
                passed: got == test.expect || (got == Expect::Justify && test.expect == Expect::Block),
                expected: test.expect,
                got,
                explanation: explain(self, &facts, &decision),
            }
        };
        self.tests.iter().enumerate().map(run).collect()
    }

    /// Why its own tests keep this policy from being put in force, in one text; none where all of them pass. `file_name`
    /// is only for the message.
    #[must_use]
    pub fn failed_tests(&self, file_name: &str) -> Option<String> {
        let failed: Vec<_> = self.run_tests().into_iter().filter(|test| !test.passed).collect();
        let first = failed.first()?;
        let (count, line) = (failed.len(), first.line);
        Some(format!("{file_name}:{line}:1: {count} of its [[test]] cases failed, the first: {}", first.explanation))
    }
}
