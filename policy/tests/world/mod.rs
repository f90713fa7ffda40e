//! A policy and the attempts made under it, so that a test reads as a sentence.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::wrong_self_convention, clippy::needless_pass_by_value, reason = "a sentence uses up what it names")]
#![allow(clippy::expect_used, clippy::panic, reason = "a world that cannot be built fails its test")]

use std::path::PathBuf;

use vitrine_policy::decision::{Decision, Rule, Verdict};
use vitrine_policy::facts::{Attempt, Destination, Facts, History, Justification, Label, Mount, Origin, Program, Usb};
use vitrine_policy::{Policy, explain, judge, parse_destination};

/// The policy of `text`, behind a version, a mode and two tiers.
pub fn world(text: &str) -> World {
    let head = "version = 1\nmode = \"enforce\"\n";
    let tiers = "
        [[tier]]
        name = \"public\"
        max-megapixels = 6
        max-scale = 0.6
        max-bit-depth = 8
        [[tier]]
        name = \"licensed\"
        max-megapixels = 20
        max-scale = 0.9
    ";
    exactly(&format!("{head}{text}{tiers}"))
}

/// The policy of `text` and nothing else.
pub fn exactly(text: &str) -> World {
    match Policy::parse("policy.toml", text) {
        Ok(policy) => World { policy },
        Err(mistakes) => panic!("{mistakes}"),
    }
}

pub struct World {
    pub policy: Policy,
}

impl World {
    pub fn sends(&self, tier: &str) -> Sending<'_> {
        let tier = self.policy.tier_named(tier).expect("a tier of the policy");
        let label = Label { tier, origin: Origin::Measured, masters: vec!["/srv/masters/A1_01.tif".to_owned()] };
        let destination = Destination::Path { path: PathBuf::from("/nowhere"), mount: None };
        Sending { world: self, label, destination, program: Program::default(), history: History::default() }
    }

    pub fn opens(&self, collection: &str, named: Option<&str>) -> Outcome {
        let label = Label { tier: self.policy.master_tier(), origin: Origin::Measured, masters: Vec::new() };
        let program = Program { named: named.map(str::to_owned), path: "/usr/bin/something".to_owned() };
        self.judge(Facts { program, attempt: Attempt::Open { collection: collection.to_owned(), label } })
    }

    /// The ceiling that is in force there, by name.
    pub fn ceiling_at(&self, place: Place) -> String {
        self.policy.ceiling_name(self.policy.ceiling_of(&place.0))
    }

    fn judge(&self, facts: Facts) -> Outcome {
        let decision = judge(&self.policy, &facts);
        let explanation = explain(&self.policy, &facts, &decision);
        Outcome { decision, explanation }
    }
}

/// Where something goes.
pub struct Place(pub Destination);

/// As a `[[test]]` would name it.
pub fn to(text: &str) -> Place {
    Place(parse_destination(text).expect("a destination"))
}

/// A path on the mount at `point`.
pub fn on(point: &str, path: &str) -> Place {
    Place(Destination::Path {
        path: PathBuf::from(path),
        mount: Some(Mount { point: PathBuf::from(point), ..Mount::default() }),
    })
}

impl Place {
    pub fn of_usb(mut self, vendor: &str, product: &str, serial: &str) -> Place {
        if let Destination::Path { mount: Some(mount), .. } = &mut self.0 {
            mount.usb = Some(Usb { vendor: vendor.into(), product: product.into(), serial: serial.into() });
        }
        self
    }

    pub fn of_share(mut self, source: &str) -> Place {
        if let Destination::Path { mount: Some(mount), .. } = &mut self.0 {
            mount.share = Some(source.to_owned());
        }
        self
    }
}

pub struct Sending<'w> {
    world: &'w World,
    label: Label,
    destination: Destination,
    program: Program,
    history: History,
}

impl Sending<'_> {
    pub fn by(mut self, program: &str) -> Self {
        self.program.named = Some(program.to_owned());
        self
    }

    pub fn because(mut self, reason: &str) -> Self {
        self.history.justification = Some(Justification::of(reason));
        self
    }

    pub fn approved_by(mut self, name: &str) -> Self {
        self.history.justification.as_mut().expect("a reason").approved_by = Some(name.to_owned());
        self
    }

    pub fn as_object_of_today(mut self, number: u32) -> Self {
        self.history.objects_today = Some(number);
        self
    }

    pub fn covering(mut self, coverage: f64) -> Self {
        self.history.coverage = Some(coverage);
        self
    }

    pub fn to(self, place: &str) -> Outcome {
        self.into(to(place))
    }

    pub fn into(mut self, place: Place) -> Outcome {
        self.destination = place.0;
        let attempt = Attempt::Transfer { label: self.label, destination: self.destination, history: self.history };
        self.world.judge(Facts { program: self.program, attempt })
    }
}

pub struct Outcome {
    pub decision: Decision,
    pub explanation: String,
}

impl Outcome {
    #[track_caller]
    fn is(self, verdict: Verdict, rule: &Rule) -> Self {
        assert_eq!((self.decision.verdict, &self.decision.rule), (verdict, rule), "{}", self.explanation);
        self
    }

    #[track_caller]
    pub fn passes(self, destination: &str) -> Self {
        self.is(Verdict::Allow, &Rule::Ceiling { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_too_high_for(self, destination: &str) -> Self {
        self.is(Verdict::Block, &Rule::Ceiling { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_exempt_as(self, program: &str) -> Self {
        self.is(Verdict::Allow, &Rule::Exempt { program: program.to_owned() })
    }

    #[track_caller]
    pub fn lacks_a_reason_for(self, destination: &str) -> Self {
        self.is(Verdict::Block, &Rule::Justify { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_justified_for(self, destination: &str) -> Self {
        self.is(Verdict::AllowJustified, &Rule::Justify { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_too_many_for(self, destination: &str) -> Self {
        self.is(Verdict::Block, &Rule::ObjectsPerDay { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_too_much_for(self, destination: &str) -> Self {
        self.is(Verdict::Block, &Rule::Coverage { destination: destination.to_owned() })
    }

    #[track_caller]
    pub fn is_let_in(self, collection: &str) -> Self {
        self.is(Verdict::Allow, &Rule::Vault { collection: collection.to_owned(), named: true })
    }

    #[track_caller]
    pub fn is_kept_out_of(self, collection: &str) -> Self {
        self.is(Verdict::Block, &Rule::Vault { collection: collection.to_owned(), named: false })
    }

    #[track_caller]
    pub fn is_open_to_anybody(self, collection: &str) -> Self {
        self.is(Verdict::Allow, &Rule::OpenCollection { collection: collection.to_owned() })
    }

    #[track_caller]
    pub fn saying(self, words: &str) -> Self {
        assert!(self.explanation.contains(words), "`{words}` is not in: {}", self.explanation);
        self
    }
}
