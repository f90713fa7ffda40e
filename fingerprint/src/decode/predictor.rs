//! Rows whose samples are differences from the ones before, as TIFF and PSD have them.

/// Adds up whole samples of `bytes` bytes (TIFF 6.0, section 14), `together` of them a pixel.
pub(super) fn undo_horizontal(row: &mut [u8], together: usize, bytes: usize, little: bool) {
    match bytes {
        2 => add_up::<2>(row, together, little),
        4 => add_up::<4>(row, together, little),
        8 => add_up::<8>(row, together, little),
        _ => add_up::<1>(row, together, little),
    }
}

/// Adds up single bytes, then gathers each sample: a row holds the highest bytes of all samples, then the next
/// ones (Adobe's TIFF Technical Note 3).
pub(super) fn undo_floating(row: &mut [u8], together: usize, bytes: usize, little: bool) {
    add_up::<1>(row, together, little);
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

fn add_up<const N: usize>(row: &mut [u8], together: usize, little: bool) {
    let mut index = together * N;
    while index + N <= row.len() {
        let (before, here) = row.split_at_mut(index);
        let mut carry = 0u16;
        for place in 0..N {
            let place = if little { place } else { N - 1 - place };
            carry += u16::from(before[index - together * N + place]) + u16::from(here[place]);
            here[place] = carry as u8;
            carry >>= 8;
        }
        index += N;
    }
}
