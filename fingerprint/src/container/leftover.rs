//! Bytes of a file that nobody accounts for: what lies before, between and behind that which was looked at.

use std::ops::Range;

use super::walk::{BESIDE, Walk};
use super::{Container, HEAD, Opaque, join};
use crate::decode::{Format, Source};
use crate::measure::Content;

/// So many bytes are padding, or a few fields of a header.
pub(super) const PADDING: usize = 64;
/// Most stretches that are told apart; what lies in more of them is looked at a second time.
const STRETCHES: usize = 1 << 20;

/// Which bytes of a file are accounted for.
#[derive(Default)]
pub(super) struct Accounts {
    /// Looked at as files and pictures of their own.
    seen: Vec<Range<u64>>,
    /// Told by the format what they are, and not looked at: they are searched, and do not count as left over.
    explained: Vec<Range<u64>>,
}

impl Accounts {
    pub(super) fn seen(&mut self, start: u64, length: u64) {
        add(&mut self.seen, start, length);
    }

    pub(super) fn explained(&mut self, start: u64, length: u64) {
        add(&mut self.explained, start, length);
    }
}

fn add(ranges: &mut Vec<Range<u64>>, start: u64, length: u64) {
    let end = start.saturating_add(length);
    if let Some(last) = ranges.last_mut().filter(|last| last.end == start) {
        last.end = end;
    } else if ranges.len() < STRETCHES {
        ranges.push(start..end);
    }
}

/// What of `size` bytes is in none of `ranges`.
fn gaps(mut ranges: Vec<Range<u64>>, size: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    ranges.push(size..size);
    let mut at = 0;
    let mut gaps = Vec::new();
    for Range { start, end } in ranges {
        if at < start.min(size) {
            gaps.push(at..start.min(size));
        }
        at = at.max(end);
    }
    gaps
}

impl Walk<'_> {
    /// Looks at every stretch of `source` that was not seen: as at a file, where it begins like one, and for whatever
    /// begins in its midst. If more of it than any format needs is neither seen nor explained, `what` tells so.
    pub(super) fn left_over(
        &mut self,
        path: &str,
        what: &str,
        source: Source<'_>,
        accounts: Accounts,
        depth: u32,
    ) -> Result<(), Opaque> {
        let Accounts { seen, mut explained } = accounts;
        let unseen = gaps(seen.clone(), source.size());
        explained.extend(seen);
        let left = gaps(explained, source.size()).into_iter().map(|gap| gap.end - gap.start);
        self.beside(path, what, left.filter(|length| *length > PADDING as u64).sum())?;
        for gap in unseen {
            self.budget.check()?;
            let start = gap.start + padding(source.part(gap.start, gap.end - gap.start));
            let part = source.part(start, gap.end.saturating_sub(start));
            if part.size() <= PADDING as u64 {
                continue;
            }
            let head = part.peek(0, HEAD);
            if Format::of(&head).is_some() || Container::of(&head).is_some() {
                self.lying(join(path, format!("{what}, from byte {start}").as_bytes()), part, depth)?;
            } else {
                self.search(path, part, start, depth);
            }
        }
        self.budget.check()
    }

    /// Tells of bytes that belong to nothing that was looked at, if they are many.
    pub(super) fn beside(&mut self, path: &str, what: &str, bytes: u64) -> Result<(), Opaque> {
        if bytes <= BESIDE { Ok(()) } else { self.picture(join(path, what.as_bytes()), Content::Other) }
    }
}

/// How many bytes at the beginning are zero.
fn padding(source: Source<'_>) -> u64 {
    const BLOCK: usize = 64 << 10;
    let mut zeros = 0;
    while zeros < source.size() {
        let block = source.peek(zeros, BLOCK);
        match block.iter().position(|byte| *byte != 0) {
            Some(at) => return zeros + at as u64,
            None if block.is_empty() => break,
            None => zeros += block.len() as u64,
        }
    }
    zeros
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init, reason = "one stretch is what is meant")]

    use super::*;

    #[test]
    fn what_is_in_no_range_is_a_gap() {
        let ranges = vec![20..30, 5..10, 8..12, 90..200];
        assert_eq!(gaps(ranges, 100), [0..5, 12..20, 30..90]);
        assert_eq!(gaps(Vec::new(), 7), Vec::from_iter([0..7]));
        assert_eq!(gaps(vec![0..u64::MAX], 7), []);
        assert_eq!(gaps(vec![50..60], 7), Vec::from_iter([0..7]));
    }

    #[test]
    fn neighbours_are_one_stretch() {
        let mut accounts = Accounts::default();
        (0..5 << 20).for_each(|at| accounts.seen(at * 10, 10));
        assert_eq!(accounts.seen, Vec::from_iter([0..50 << 20]));
    }
}
