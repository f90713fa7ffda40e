//! Files and bytes a second on one thread: `speed FILE…`.

use std::error::Error;
use std::fs::File;
use std::time::Instant;

use vitrine_fingerprint::{Content, Limits, measure};

fn main() -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let (mut files, mut bytes, mut megapixels) = (0u32, 0u64, 0.0);
    for path in std::env::args_os().skip(1) {
        let measurement = measure(&File::open(&path)?, &Limits::default(), &mut |_| {})?;
        files += 1;
        bytes += measurement.bytes;
        match &measurement.content {
            Content::Picture(picture) => megapixels += picture.megapixels(),
            Content::Unscanned(unscanned) => println!("{}: {}", path.display(), unscanned.reason),
            Content::Container(_) | Content::Opaque(_) | Content::Tile(_) | Content::Other => {}
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    let rate = |amount: f64| amount / seconds;
    println!(
        "{seconds:.3} s: {:.2} files/s, {:.3} GB/s, {:.1} megapixels/s",
        rate(f64::from(files)),
        rate(bytes as f64 / 1e9),
        rate(megapixels)
    );
    Ok(())
}
