//! What Vitrine knows, what the policy says, and what follows from both.
//!
//! Facts go in, a decision and its explanation come out. Nothing here opens a file, reads a clock or
//! talks to anybody, so that a rule is one line of test.
#![forbid(unsafe_code)]

pub mod decision;
pub mod facts;
pub mod record;
