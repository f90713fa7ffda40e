//! The guards: how a copy is stopped. Each answers the kernel first, within the deadline, whatever fails,
//! and has the record made afterwards.

pub(crate) mod gate;
pub(crate) mod support;
pub(crate) mod watch;
