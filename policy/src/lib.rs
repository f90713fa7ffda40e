//! What Vitrine knows, what the policy says, and what follows from both.
//!
//! Facts go in, a decision and its explanation come out. Nothing here opens a file, reads a clock or
//! talks to anybody, so that a rule is one line of test.
#![forbid(unsafe_code)]

pub mod approval;
pub mod cases;
mod compile;
pub mod decision;
pub mod diagnostic;
mod document;
pub mod explain;
pub mod facts;
pub mod judge;
pub mod maintenance;
pub mod matcher;
pub mod policy;
pub mod record;
pub mod replay;

pub use diagnostic::{Diagnostic, Diagnostics};
pub use document::MAX_BYTES;
pub use explain::explain;
pub use judge::judge;
pub use matcher::parse_destination;
pub use policy::{Collection, Policy, ProgramEntry, TierEntry, Trust};
