//! TIFF and BigTIFF, row by row, whatever the compression. The first picture of the file counts, unless its
//! directory says that it is a reduced version of another, or it is the raw data of a camera.

mod ahead;
mod directory;
mod extents;
mod image;
mod rows;
mod stream;

pub(crate) use extents::{Extent, extents};

use std::collections::HashSet;
use std::io::Read;
use std::ops::ControlFlow;

use self::directory::{Directory, File, read_failed};
use self::image::{Image, Outline, interchange, is_likely, is_sensor, outline};
use self::rows::Range;
use super::raw::stands_for;
use super::{Budget, Each, Failure, Format, LEAST_SIDE, Reduced, Reducer, Source, afford, guarded, jpeg, report};
use crate::measure::{Limits, Reason, Size};

/// Most directories that are looked at.
const DIRECTORIES: usize = 4096;
/// Most levels of directories below directories.
const LEVELS: usize = 8;
/// In how many bytes of a JPEG its size is looked for.
const JPEG_HEAD: u64 = 256 * 1024;
/// Compressions to which a predictor applies: LZW, deflate (two numbers) and zstd.
const PREDICTED: [u64; 4] = [5, 8, 32946, 50000];

pub(super) fn decode(source: Source<'_>, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    let mut file = File::open(source, limits)?;
    let main = main_picture(&mut file, limits)?;
    let directory = file.directory(main.offset)?;
    let (size, reduced) = picture(&mut file, &directory, limits)?;
    Ok((main.size.unwrap_or(size), reduced))
}

/// What the main picture says of itself: its orientation (tag 274) and its colour profile (34675, ICC.1:2022 annex B.3).
pub(crate) fn marks(source: Source<'_>, limits: &Limits) -> Option<(u16, Vec<u8>)> {
    let mut file = File::open(source, limits).ok()?;
    // EXIF has no picture: its first directory says it.
    let offset = main_picture(&mut file, limits).map_or(file.first, |main| main.offset);
    let directory = file.directory(offset).ok()?;
    let orientation = file.value(&directory, 274).ok().flatten();
    let profile = file.bytes(&directory, 34675).unwrap_or_default();
    Some((orientation.and_then(|value| u16::try_from(value).ok()).unwrap_or(0), profile))
}

/// The pages, reduced versions and sub-directories beside the main picture.
pub(super) fn further(
    format: Format,
    source: Source<'_>,
    limits: &Limits,
    budget: &mut Budget,
    each: Each<'_>,
) -> Result<(), Failure> {
    let Ok(mut file) = File::open(source, limits) else { return Ok(()) };
    let Ok(main) = main_picture(&mut file, limits) else { return Ok(()) };
    let mut visit = |file: &mut File<'_>, name: String, offset: u64, found: Result<Directory, Reason>| {
        if offset == main.offset {
            return ControlFlow::Continue(());
        }
        let directory = match found {
            Ok(directory) => directory,
            Err(reason) => return each(name, Err(reason.into())),
        };
        match outline(file, &directory) {
            Ok(Some(Outline { mask: true, .. })) => return ControlFlow::Continue(()),
            Ok(None) if !matches!(interchange(file, &directory), Ok(Some(_))) => return ControlFlow::Continue(()),
            Ok(Some(Outline { size, cost, .. })) => {
                if size.width.max(size.height) < LEAST_SIDE {
                    return ControlFlow::Continue(());
                }
                budget.spend(cost, each)?;
            }
            Ok(None) => {
                if let Ok(Some((_, frame))) = embedded(file, &directory, limits) {
                    budget.spend(frame.size, each)?;
                }
            }
            Err(_) => {}
        }
        report(each, format, name, guarded(|| picture(file, &directory, limits)))
    };
    if let Some(true) = walk(&mut file, &mut visit) {
        let reason = Reason::Unsupported(format!("the file has more than {DIRECTORIES} directories"));
        let _ = each("further directories".to_owned(), Err(reason.into()));
    }
    Ok(())
}

/// The colour profile of the main picture (ICC.1:2022, B.2).
pub(super) fn profile(source: Source<'_>, limits: &Limits) -> Option<Vec<u8>> {
    const ICC_PROFILE: u16 = 34675;
    let mut file = File::open(source, limits).ok()?;
    let main = main_picture(&mut file, limits).ok()?;
    let directory = file.directory(main.offset).ok()?;
    file.bytes(&directory, ICC_PROFILE).ok()
}

/// The first numbers of tags in the first directory, of files too that are a TIFF by another name.
pub(super) fn numbers<const N: usize>(source: Source<'_>, tags: [u16; N], limits: &Limits) -> [Option<u64>; N] {
    let opened = File::open(source, limits).and_then(|mut file| Ok((file.directory(file.first)?, file)));
    let Ok((directory, mut file)) = opened else { return [None; N] };
    tags.map(|tag| file.value(&directory, tag).ok().flatten())
}

/// Where the main picture lies.
struct Main {
    offset: u64,
    /// The size of what it stands for, where that itself cannot be decoded.
    size: Option<Size>,
}

fn main_picture(file: &mut File<'_>, limits: &Limits) -> Result<Main, Failure> {
    let first = file.first;
    let directory = file.directory(first)?;
    let size = match outline(file, &directory)? {
        Some(outline) if !outline.reduced && !is_sensor(file, &directory) => {
            return Ok(Main { offset: first, size: sensor(file, &directory, outline.size, limits)? });
        }
        found => found.map(|outline| outline.size),
    };
    // The largest picture, and the largest of those that can be decoded.
    let area = |size: Size| u64::from(size.width) * u64::from(size.height);
    let mut largest = size;
    let mut readable: Option<(u64, Size)> = None;
    walk(file, &mut |file, _, offset, directory| {
        let Ok(directory) = directory else { return ControlFlow::Continue(()) };
        let Ok(found) = outline(file, &directory) else { return ControlFlow::Continue(()) };
        if let Some(Outline { size, reduced: false, mask: false, .. }) = found
            && largest.is_none_or(|largest| area(size) > area(largest))
        {
            largest = Some(size);
        }
        if !found.is_some_and(|found| found.mask)
            && let Some(size) = readable_size(file, &directory, limits)
            && readable.is_none_or(|(_, best)| area(size) > area(best))
        {
            readable = Some((offset, size));
        }
        ControlFlow::Continue(())
    });
    match (readable, largest) {
        (Some((offset, found)), Some(largest)) if area(largest) > area(found) => {
            Ok(Main { offset, size: Some(stands_for(found, largest)) })
        }
        (Some((offset, _)), _) => Ok(Main { offset, size: None }),
        (None, _) => Ok(Main { offset: first, size: None }),
    }
}

/// The size of what a sensor saw, where the first picture of the file is a preview of it and does not say so.
fn sensor(file: &mut File<'_>, first: &Directory, preview: Size, limits: &Limits) -> Result<Option<Size>, Failure> {
    let area = |size: Size| u64::from(size.width) * u64::from(size.height);
    // No other files need to be walked through for that.
    if interchange(file, first)?.is_none() && file.value(first, image::SUB_IFDS)?.is_none() {
        return Ok(None);
    }
    let mut largest = preview;
    walk(file, &mut |file, _, _, directory| {
        let Ok(directory) = directory else { return ControlFlow::Continue(()) };
        let found = match embedded(file, &directory, limits) {
            Ok(Some((_, frame))) => frame.sensor(),
            _ if is_sensor(file, &directory) => outline(file, &directory).ok().flatten().map(|found| found.size),
            _ => None,
        };
        largest = found.filter(|found| area(*found) > area(largest)).unwrap_or(largest);
        ControlFlow::Continue(())
    });
    Ok((largest != preview).then(|| stands_for(preview, largest)))
}

/// The size of a picture that is likely to be decoded, judged by headers alone.
fn readable_size(file: &mut File<'_>, directory: &Directory, limits: &Limits) -> Option<Size> {
    if let Ok(Some((_, frame))) = embedded(file, directory, limits) {
        return frame.is_preview().then_some(frame.size);
    }
    let size = outline(file, directory).ok()??.size;
    is_likely(file, directory).then_some(size)
}

/// A JPEG file that the directory points to instead of strips, and its header.
fn embedded<'a>(
    file: &mut File<'a>,
    directory: &Directory,
    limits: &Limits,
) -> Result<Option<(Source<'a>, jpeg::Frame)>, Reason> {
    let Some((offset, length)) = interchange(file, directory)? else { return Ok(None) };
    let part = file.source.part(offset, length);
    let head = part.head(JPEG_HEAD.min(limits.max_memory), limits).map_err(|failure| failure.reason)?;
    if !head.starts_with(&[0xff, 0xd8, 0xff]) {
        return Ok(None);
    }
    Ok(Some((part, jpeg::frame(&head)?)))
}

/// What is called for a directory: a name for people, its offset, and itself.
type Visit<'a, 'v> = &'v mut dyn FnMut(&mut File<'a>, String, u64, Result<Directory, Reason>) -> ControlFlow<()>;

/// Calls `visit` for every directory, each but once. True where there are too many, nothing where `visit` has
/// had enough.
fn walk<'a>(file: &mut File<'a>, visit: Visit<'a, '_>) -> Option<bool> {
    let mut seen = HashSet::new();
    let (mut page, mut offset) = (1usize, file.first);
    while offset != 0 && seen.insert(offset) {
        let mut below = vec![(format!("page {page}"), offset, 0usize)];
        let mut next = 0;
        while let Some((name, offset, level)) = below.pop() {
            let found = file.directory(offset);
            if let Ok(directory) = &found {
                if level == 0 {
                    next = directory.next;
                }
                let children = file.numbers(directory, image::SUB_IFDS, DIRECTORIES as u64 + 1).unwrap_or_default();
                for (number, child) in (1usize..).zip(children).filter(|_| level < LEVELS) {
                    if seen.len() >= DIRECTORIES {
                        return Some(true);
                    }
                    if child != 0 && seen.insert(child) {
                        below.push((format!("sub-directory {number} of {name}"), child, level + 1));
                    }
                }
            }
            if visit(file, name, offset, found).is_break() {
                return None;
            }
        }
        if seen.len() >= DIRECTORIES && next != 0 && !seen.contains(&next) {
            return Some(true);
        }
        (page, offset) = (page + 1, next);
    }
    Some(false)
}

/// Decodes the picture of one directory.
fn picture(file: &mut File<'_>, directory: &Directory, limits: &Limits) -> Result<(Size, Reduced), Failure> {
    if let Some((part, frame)) = embedded(file, directory, limits)? {
        return match outline(file, directory)? {
            Some(Outline { size, .. }) if (size.width, size.height) != (frame.size.width, frame.size.height) => {
                Err(Reason::Unsupported("TIFF with compression 6 (\"old-style\" JPEG)".to_owned()).at(size))
            }
            _ => jpeg::decode(part, limits),
        };
    }
    let image = Image::of(file, directory, limits)?;
    let size = image.size;
    let planes = if image.planar { image.layout.samples() as u64 } else { 1 };
    // The rows themselves, eight-bit samples and colours; floating-point numbers where a range is looked for.
    let (row, columns) = (image.row_bytes(), u64::from(image.chunk.0));
    let numbers = if Range::is_needed(&image) { columns * image.together() as u64 * 16 } else { 0 };
    let ahead = ahead::memory(size, row * planes, limits);
    let held = ahead.unwrap_or(0);
    afford(held + row * (planes + 3) + columns * (planes + image.together() as u64 + 3) * 4 + numbers, size, limits)?;
    let mut reading = Reading::new(file, &image, limits);
    let mut all = |row: Row<'_>| if ahead.is_some() { ahead::rows(&mut reading, row) } else { reading.rows(row) };
    let range = if Range::is_needed(&image) {
        let mut range = Range::NONE;
        let mut values = Vec::new();
        all(&mut |_, _, planes, little| {
            for row in planes.iter() {
                rows::values(row, &image, little, &mut values);
                range.widen(&values);
            }
        })?;
        Some(range.usual(&image))
    } else {
        None
    };
    let mut reducer = Reducer::new(size.width, size.height, limits);
    let (mut samples, mut pixels, mut rgb) = (Vec::new(), Vec::new(), Vec::new());
    all(&mut |left, y, planes, little| {
        pixels.clear();
        for (plane, row) in planes.iter().enumerate() {
            rows::samples(row, &image, little, range, &mut samples);
            if planes.len() == 1 {
                std::mem::swap(&mut pixels, &mut samples);
            } else {
                pixels.resize(samples.len() * planes.len(), 0);
                for (pixel, sample) in pixels.chunks_exact_mut(planes.len()).zip(&samples) {
                    pixel[plane] = *sample;
                }
            }
        }
        rows::settle(&mut pixels, &image);
        rgb.clear();
        image.layout.to_rgb(&pixels, &mut rgb);
        reducer.add(left, y, 1, &rgb);
    })?;
    Ok((size, reducer.finish()))
}

/// What takes one row: its first column and number, the same row of each plane, and whether words have their
/// low bytes first.
type Row<'r> = &'r mut dyn FnMut(u32, u32, &[Vec<u8>], bool);

/// Reads the rows of a picture.
struct Reading<'a, 'i> {
    readers: Vec<super::source::Reader<'a>>,
    image: &'i Image,
    little: bool,
    limits: &'i Limits,
}

impl<'a, 'i> Reading<'a, 'i> {
    fn new(file: &File<'a>, image: &'i Image, limits: &'i Limits) -> Reading<'a, 'i> {
        let planes = if image.planar { image.layout.samples() } else { 1 };
        let readers = (0..planes).map(|_| file.source.reader()).collect();
        Reading { readers, image, little: file.little, limits }
    }

    /// Calls `row` for every row of every strip or tile.
    fn rows(&mut self, row: Row<'_>) -> Result<(), Failure> {
        let (size, chunk) = (self.image.size, self.image.chunk);
        let across = size.width.div_ceil(chunk.0);
        let down = size.height.div_ceil(chunk.1);
        for index in 0..u64::from(across) * u64::from(down) {
            let (left, top) =
                ((index % u64::from(across)) as u32 * chunk.0, (index / u64::from(across)) as u32 * chunk.1);
            let rows = chunk.1.min(size.height - top);
            self.chunk(index as usize, across as usize * down as usize, (left, top, rows), row)
                .map_err(|reason| reason.at(size))?;
        }
        Ok(())
    }

    fn chunk(
        &mut self,
        index: usize,
        per_plane: usize,
        (left, top, rows): (u32, u32, u32),
        row: Row<'_>,
    ) -> Result<(), Reason> {
        let Reading { readers, image, little, limits } = self;
        let mut streams = Vec::with_capacity(readers.len());
        for (plane, reader) in readers.iter_mut().enumerate() {
            streams.push(stream::open(reader, image, index + plane * per_plane, rows, limits)?);
        }
        if let (Some((h, v)), Some(stream)) = (image.subsampling, streams.first_mut()) {
            let mut units = vec![0; image.chunk.0.div_ceil(h) as usize * (h * v + 2) as usize];
            let mut lines = vec![Vec::new(); v as usize];
            for y in (top..top + rows).step_by(v as usize) {
                stream.read_exact(&mut units).map_err(|error| read_failed(&error))?;
                rows::unfold(&units, (h, v), image.chunk.0, &mut lines);
                for (y, line) in (y..).zip(&lines) {
                    row(left, y, std::slice::from_ref(line), *little);
                }
            }
            return Ok(());
        }
        let mut planes = vec![vec![0; image.row_bytes() as usize]; streams.len()];
        for y in top..top + rows {
            for (stream, bytes) in streams.iter_mut().zip(&mut planes) {
                stream.read_exact(bytes).map_err(|error| read_failed(&error))?;
                if PREDICTED.contains(&image.compression) {
                    rows::undo_predictor(bytes, image, *little)?;
                }
            }
            row(left, y, &planes, *little);
        }
        Ok(())
    }
}
