//! Walking through everything that is inside one file.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::budget::{Budget, Metered};
use super::{Container, HEAD, Inside, Opaque, join};
use crate::decode::{Format, Source};
use crate::exact;
use crate::measure::{Content, Limits, Measurement, Reason, Unscanned};
use crate::tiles::Pool;

/// How much of a member is looked at to see whether it is unpacked as it comes.
const PEEK: usize = 512;

/// So many bytes beside what was looked at are headers, profiles and fonts; more may hide anything.
pub(super) const BESIDE: u64 = 256 << 10;

/// What may be tiles takes such a part of the memory that a decoder may hold.
const TILES: u64 = 8;
/// So many pictures are remembered, the last ones: the same file may lie in an archive many times.
const RECENT: usize = 64;

/// One walk through one file.
pub(crate) struct Walk<'a> {
    pub(super) limits: &'a Limits,
    pub(super) budget: Rc<Budget>,
    pub(super) tiles: Pool,
    found: &'a mut dyn FnMut(Inside),
    recent: VecDeque<(exact::Digest, Content)>,
}

impl<'a> Walk<'a> {
    /// Through a file of `bytes` bytes; `found` gets everything that is inside.
    pub(crate) fn new(limits: &'a Limits, bytes: u64, found: &'a mut dyn FnMut(Inside)) -> Walk<'a> {
        let (budget, tiles) = (Budget::new(limits, bytes), Pool::new(limits.max_memory / TILES));
        Walk { limits, budget, tiles, found, recent: VecDeque::new() }
    }

    /// What the file `source` is, with everything that is inside.
    pub(crate) fn all(&mut self, source: Source<'_>) -> Content {
        let content = self.content("", source, 0);
        match (self.tiles_are_all(), content) {
            (Err(why), Content::Container(_) | Content::Other) => Content::Opaque(why),
            (_, content) => content,
        }
    }

    /// What `source` is, which lies at `path` (empty: the file itself), packed `depth` times.
    pub(super) fn content(&mut self, path: &str, source: Source<'_>, depth: u32) -> Content {
        let head = source.peek(0, HEAD);
        if let Some(format) = Format::of(&head) {
            let content = self.seen(path, format, source);
            self.hidden(path, format, source, depth);
            return match self.budget.check() {
                Err(why) if !matches!(content, Content::Picture(_)) => Content::Opaque(why),
                _ => content,
            };
        }
        let Some(container) = Container::of_source(&head, source) else {
            self.unknown(path, source, depth);
            return match Opaque::of(&head).map_or_else(|| self.budget.check(), Err) {
                Ok(()) => Content::Other,
                Err(why) => Content::Opaque(why),
            };
        };
        // Readers of archives parse hostile bytes, too.
        let opened = catch_unwind(AssertUnwindSafe(|| self.open(container, path, source, depth)));
        let opened = opened.unwrap_or_else(|_| Err(Opaque::Damaged("its reader panicked".to_owned())));
        if Container::of(&head).is_none() && opened.is_err() {
            self.unknown(path, source, depth); // It only looks like an archive.
        }
        match opened.and_then(|()| self.budget.check()) {
            Ok(()) => Content::Container(container),
            Err(why) => Content::Opaque(why),
        }
    }

    fn open(&mut self, container: Container, path: &str, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        let depth = self.deeper(depth)?;
        match container {
            Container::Zip => self.zip(path, source, depth),
            Container::SevenZip => self.seven_zip(path, source, depth),
            Container::Tar => self.tar_of(path, source, depth),
            Container::Pdf => self.pdf(path, source, depth),
            Container::Iso => self.iso(path, source, depth),
            Container::Gzip | Container::Bzip2 | Container::Xz | Container::Zstd => {
                self.unpack(container, path, &mut source.reader(), depth)
            }
        }
    }

    pub(super) fn deeper(&self, depth: u32) -> Result<u32, Opaque> {
        if depth >= self.limits.max_depth { Err(Opaque::TooDeep(self.limits.max_depth)) } else { Ok(depth + 1) }
    }

    /// The same for what any file may hold: that nobody looks any deeper is told, unless nobody is to look at all.
    pub(super) fn deeper_or_told(&mut self, path: &str, depth: u32) -> Option<u32> {
        let deeper = self.deeper(depth);
        if let Err(why) = &deeper
            && self.limits.max_depth > 0
        {
            // Where the budget is spent the file it belongs to says so.
            let _ = self.picture(join(path, b"inside"), Content::Opaque(why.clone()));
        }
        deeper.ok()
    }

    /// The same, once for a picture with this digest: another time it is what it was, and what it hides was told.
    fn content_of(&mut self, path: &str, source: Source<'_>, digest: exact::Digest, depth: u32) -> Content {
        if let Some((_, content)) = self.recent.iter().find(|(known, _)| *known == digest) {
            return content.clone();
        }
        let content = self.content(path, source, depth);
        if matches!(content, Content::Picture(_)) {
            self.recent.truncate(RECENT - 1);
            self.recent.push_front((digest, content.clone()));
        }
        content
    }

    /// Looks at what lies in the file as it is, without being unpacked.
    pub(super) fn lying(&mut self, path: String, source: Source<'_>, depth: u32) -> Result<(), Opaque> {
        self.budget.member()?;
        let reader = Metered { inner: source.reader(), budget: self.budget.clone() };
        let whole = exact::read(reader, source.size(), self.limits.keep_bytes);
        let source = if whole.is_kept() { Source::Memory(&whole.kept) } else { source };
        let content = self.content_of(&path, source, whole.digest, depth);
        self.tell(path, whole, content);
        self.budget.check()
    }

    /// Looks at what is in memory already.
    pub(super) fn bytes(&mut self, path: String, bytes: &[u8], depth: u32) -> Result<(), Opaque> {
        self.lying(path, Source::Memory(bytes), depth)
    }

    /// Looks at what is unpacked by `reader`, `expected` bytes of it by its header.
    pub(super) fn member(
        &mut self,
        path: String,
        reader: &mut dyn Read,
        expected: u64,
        depth: u32,
    ) -> Result<(), Opaque> {
        self.budget.member()?;
        let mut metered = Metered { inner: reader, budget: self.budget.clone() };
        let mut head = Vec::new();
        let peeked = metered.by_ref().take(PEEK as u64).read_to_end(&mut head);
        let stream = Container::of_stream(&head);
        let mut reader = Cursor::new(head).chain(metered);
        let Some(container) = stream.filter(|_| peeked.is_ok()) else {
            let whole = exact::read(reader, expected, self.limits.keep_bytes);
            let content = if whole.is_kept() {
                self.content_of(&path, Source::Memory(&whole.kept), whole.digest, depth)
            } else {
                too_large(&whole.kept, whole.bytes, self.limits)
            };
            self.tell(path, whole, content);
            return self.budget.check();
        };
        let mut hashing = Hashing { inner: &mut reader, hasher: blake3::Hasher::new(), bytes: 0 };
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let depth = self.deeper(depth)?;
            match container {
                Container::Tar => self.tar(&path, &mut hashing, depth),
                _ => self.unpack(container, &path, &mut hashing, depth),
            }
        }));
        let opened = opened.unwrap_or_else(|_| Err(Opaque::Damaged("its reader panicked".to_owned())));
        let drained = io::copy(&mut hashing, &mut io::sink());
        let damaged = drained.map(drop).map_err(Opaque::from);
        let content = match opened.and(damaged) {
            Ok(()) => Content::Container(container),
            Err(why) => Content::Opaque(why),
        };
        let digest = (*hashing.hasher.finalize().as_bytes()).into();
        let measurement = Measurement { digest, bytes: hashing.bytes, parts: exact::Parts::default(), content };
        (self.found)(Inside { path, measurement });
        self.budget.check()
    }

    fn tell(&mut self, path: String, whole: exact::Whole, content: Content) {
        let content = match (whole.failed, content) {
            // Part of it was unpacked; what that shows was told already.
            (Some(error), Content::Other | Content::Container(_)) => Content::Opaque(error.into()),
            (_, content) => content,
        };
        let measurement = Measurement { digest: whole.digest, bytes: whole.bytes, parts: whole.parts, content };
        (self.found)(Inside { path, measurement });
    }

    /// Tells of a picture that has no bytes of its own in the file: a page, a layer, samples in a document.
    pub(super) fn picture(&mut self, path: String, content: Content) -> Result<(), Opaque> {
        let digest = exact::Digest::of(b"");
        let measurement = Measurement { digest, bytes: 0, parts: exact::Parts::default(), content };
        self.budget.member()?;
        (self.found)(Inside { path, measurement });
        Ok(())
    }
}

/// What is said of a member that is larger than what is kept in memory: its digest and its parts are known.
fn too_large(head: &[u8], bytes: u64, limits: &Limits) -> Content {
    if let Some(format) = Format::of(head) {
        let reason = Reason::TooManyBytes { bytes, limit: limits.keep_bytes };
        return Content::Unscanned(Unscanned { format, reason, size: None });
    }
    let known = Container::of(head).map(|_| Opaque::TooLarge(limits.keep_bytes));
    known.or_else(|| Opaque::of(head)).map_or(Content::Other, Content::Opaque)
}

/// Knows the digest of all that was read through it.
struct Hashing<R> {
    inner: R,
    hasher: blake3::Hasher,
    bytes: u64,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..got]);
        self.bytes += got as u64;
        Ok(got)
    }
}
