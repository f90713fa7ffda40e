//! Rows whose samples are differences from the ones before, as TIFF and PSD have them.

/// Adds up whole samples of `bytes` bytes (TIFF 6.0, section 14), `together` of them a pixel.
pub(super) fn undo_horizontal(row: &mut [u8], together: usize, bytes: usize, little: bool) {
    match (bytes, little) {
        (2, true) => add_up(row, together, u16::from_le_bytes, u16::wrapping_add, u16::to_le_bytes),
        (2, false) => add_up(row, together, u16::from_be_bytes, u16::wrapping_add, u16::to_be_bytes),
        (4, true) => add_up(row, together, u32::from_le_bytes, u32::wrapping_add, u32::to_le_bytes),
        (4, false) => add_up(row, together, u32::from_be_bytes, u32::wrapping_add, u32::to_be_bytes),
        (8, true) => add_up(row, together, u64::from_le_bytes, u64::wrapping_add, u64::to_le_bytes),
        (8, false) => add_up(row, together, u64::from_be_bytes, u64::wrapping_add, u64::to_be_bytes),
        _ => add_bytes(row, together),
    }
}

/// Adds up single bytes, then gathers each sample: a row holds the highest bytes of all samples, then the next
/// ones (Adobe's TIFF Technical Note 3).
pub(super) fn undo_floating(row: &mut [u8], together: usize, bytes: usize, little: bool) {
    add_bytes(row, together);
    let bytes = bytes.max(1);
    let count = row.len() / bytes;
    let turned = row.to_vec();
    for (index, sample) in row.chunks_exact_mut(bytes).enumerate() {
        for (byte, to) in sample.iter_mut().enumerate() {
            let place = if little { bytes - 1 - byte } else { byte };
            *to = turned.get(place * count + index).copied().unwrap_or(0);
        }
    }
}

fn add_bytes(row: &mut [u8], together: usize) {
    add_up(row, together, u8::from_le_bytes, u8::wrapping_add, u8::to_le_bytes);
}

/// Adds to every sample the one `together` before it.
fn add_up<const N: usize, T>(
    row: &mut [u8],
    together: usize,
    read: impl Fn([u8; N]) -> T,
    add: impl Fn(T, T) -> T,
    write: impl Fn(T) -> [u8; N],
) {
    let samples = row.as_chunks_mut::<N>().0;
    for index in together..samples.len() {
        samples[index] = write(add(read(samples[index - together]), read(samples[index])));
    }
}
