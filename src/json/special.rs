//! Where the plain part of a JSON string ends: the innermost loop of reading a request.

/// Marks the highest bit of the first quote, backslash or control byte; 0 where there is none.
pub(super) fn special(chunk: &[u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(*chunk);
    let control = word.wrapping_sub(ONES * 0x20);
    let quote = (word ^ (ONES * u64::from(b'"'))).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * u64::from(b'\\'))).wrapping_sub(ONES);
    // bytes beyond ASCII drop out; borrows can only set bits above the first true one, so the lowest one is exact
    (control | quote | backslash) & !word & HIGH
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_string_ends_at_every_byte_that_is_not_plain() {
        for fill in [b'a', b' ', 0x7f, 0x80, 0xff] {
            for byte in 0..=u8::MAX {
                for at in 0..8 {
                    let mut chunk = [fill; 8];
                    chunk[at] = byte;
                    let plain = byte >= 0x20 && byte != b'"' && byte != b'\\';
                    assert_eq!(
                        special(&chunk).trailing_zeros() / 8,
                        if plain { 8 } else { at as u32 },
                        "{byte} at {at}"
                    );
                    chunk[7] = b'"';
                    let first = if plain || at == 7 { 7 } else { at as u32 };
                    assert_eq!(special(&chunk).trailing_zeros() / 8, first, "{byte} at {at} before a quote");
                }
            }
        }
    }
}
