//! Turning a picture upright.

/// The pixels as they are meant to be seen, with width and height, by the orientation that EXIF and TIFF 6.0 number
/// 1 to 8; any other number is upright already.
pub(super) fn upright(rgb: Vec<u8>, width: u32, height: u32, orientation: u16) -> (Vec<u8>, u32, u32) {
    // Where row 0 and column 0 are (TIFF 6.0, "Orientation"): whether the axes change places, and which are reversed.
    let (transpose, flip_x, flip_y) = match orientation {
        2 => (false, true, false),
        3 => (false, true, true),
        4 => (false, false, true),
        5 => (true, false, false),
        6 => (true, false, true),
        7 => (true, true, true),
        8 => (true, true, false),
        _ => return (rgb, width, height),
    };
    let (across, down) = if transpose { (height, width) } else { (width, height) };
    let mut turned = Vec::with_capacity(rgb.len());
    for y in 0..down {
        for x in 0..across {
            let (x, y) = if transpose { (y, x) } else { (x, y) };
            let x = if flip_x { width - 1 - x } else { x } as usize;
            let y = if flip_y { height - 1 - y } else { y } as usize;
            let at = (y * width as usize + x) * 3;
            turned.extend_from_slice(rgb.get(at..at + 3).unwrap_or(&[0; 3]));
        }
    }
    (turned, across, down)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of the picture `ab/cd/ef`, as TIFF 6.0 and the EXIF specification have it.
    #[test]
    fn every_orientation_turns_as_it_says() {
        let stored: Vec<u8> = b"abcdef".iter().flat_map(|letter| [*letter; 3]).collect();
        for (orientation, expected) in [
            (0, "ab/cd/ef"),
            (1, "ab/cd/ef"),
            (2, "ba/dc/fe"),
            (3, "fe/dc/ba"),
            (4, "ef/cd/ab"),
            (5, "ace/bdf"),
            (6, "eca/fdb"),
            (7, "fdb/eca"),
            (8, "bdf/ace"),
            (9, "ab/cd/ef"),
        ] {
            let (rgb, width, height) = upright(stored.clone(), 2, 3, orientation);
            assert_eq!(rgb.len(), (width * height * 3) as usize);
            let rows = rgb.chunks_exact(width as usize * 3);
            let seen: Vec<String> =
                rows.map(|row| row.iter().step_by(3).map(|byte| char::from(*byte)).collect()).collect();
            assert_eq!(seen.join("/"), expected, "orientation {orientation}");
        }
    }
}
