//! Percent-encoding, undone. Pure. What is no escape stays as it is.

/// The bytes that `text` says.
pub fn decode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let digits = tail.get(..2).filter(|pair| first == b'%' && pair.iter().all(u8::is_ascii_hexdigit));
        let byte = digits.and_then(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
        out.push(byte.unwrap_or(first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn escapes_become_bytes() {
        for (text, bytes) in [
            ("", b"".as_slice()),
            ("a%20b%2Fc%3d", b"a b/c="),
            ("%ff", b"\xff"),
            ("%", b"%"),
            ("%2", b"%2"),
            ("%2g%+1%%41", b"%2g%+1%A"),
            ("\u{e9}%c3%a9", "\u{e9}\u{e9}".as_bytes()),
        ] {
            assert_eq!(super::decode(text), bytes, "{text}");
        }
    }
}
