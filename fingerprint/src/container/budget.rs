//! What looking into one file may cost, counted over all that is inside.

use std::cell::{Cell, RefCell};
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Opaque;
use crate::measure::Limits;

/// Unpacked bytes that are allowed whatever the ratio: small files compress as well as they like.
const FREE: u64 = 256 << 20;

/// Shared by all readers of one walk.
pub(super) struct Budget {
    until: Instant,
    time: Duration,
    members: Cell<u64>,
    most_members: u64,
    unpacked: Cell<u64>,
    most_unpacked: u64,
    stop: RefCell<Option<Opaque>>,
}

impl Budget {
    /// For a file of `bytes` bytes.
    pub(super) fn new(limits: &Limits, bytes: u64) -> Rc<Budget> {
        Rc::new(Budget {
            until: Instant::now() + limits.max_time,
            time: limits.max_time,
            members: Cell::new(0),
            most_members: limits.max_members,
            unpacked: Cell::new(0),
            most_unpacked: limits.max_unpacked.min(bytes.saturating_mul(limits.max_ratio).max(FREE)),
            stop: RefCell::new(None),
        })
    }

    /// Counts one more thing to look at.
    pub(super) fn member(&self) -> Result<(), Opaque> {
        self.members.set(self.members.get() + 1);
        if self.members.get() > self.most_members {
            self.stop(Opaque::TooMany(self.most_members));
        }
        self.check()
    }

    /// Whether it goes on.
    pub(super) fn check(&self) -> Result<(), Opaque> {
        if Instant::now() > self.until {
            self.stop(Opaque::TooSlow(self.time.as_secs()));
        }
        self.stop.borrow().clone().map_or(Ok(()), Err)
    }

    /// The same for a loop.
    pub(super) fn goes_on(&self) -> ControlFlow<()> {
        if self.check().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Counts bytes that were unpacked.
    pub(super) fn unpack(&self, bytes: usize) -> Result<(), Opaque> {
        self.unpacked.set(self.unpacked.get() + bytes as u64);
        if self.unpacked.get() > self.most_unpacked {
            self.stop(Opaque::TooLarge(self.most_unpacked));
        }
        self.check()
    }

    fn stop(&self, why: Opaque) {
        self.stop.borrow_mut().get_or_insert(why);
    }
}

/// A reader of unpacked bytes, which ends with an error once the budget is spent.
pub(super) struct Metered<R> {
    pub(super) inner: R,
    pub(super) budget: Rc<Budget>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.budget.check().map_err(io::Error::other)?;
        let got = self.inner.read(buffer)?;
        self.budget.unpack(got).map_err(io::Error::other)?;
        Ok(got)
    }
}
