//! Standard base64 (RFC 4648) with padding, both ways. Pure. (Small enough not to be a dependency.)

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// With padding, without line breaks.
pub fn encode(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let index = (bits >> (18 - 6 * i)) as usize & 63;
            let digit = ALPHABET.get(index).map_or('=', |digit| char::from(*digit));
            out.push(if i <= group.len() { digit } else { '=' });
        }
    }
    out
}

/// Standard base64 with padding; white space is skipped. `None`: not base64.
pub fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut padding) = (Bytes::default(), false);
    for byte in text.bytes().filter(|byte| !byte.is_ascii_whitespace()) {
        match digit(byte) {
            Some(value) if !padding => bytes.push(value),
            None if byte == b'=' => padding = true,
            _ => return None,
        }
    }
    (bytes.waiting < 6 && bytes.group == 0).then_some(bytes.out)
}

/// As Python's `base64.decodebytes` reads it: characters outside the alphabet are skipped, padding is required and what
/// follows it is not read. `None`: `binascii.Error`.
pub fn decode_bytes(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut quad, mut padding) = (Bytes::default(), 0, 0);
    for byte in text.bytes() {
        match digit(byte) {
            Some(value) => {
                (quad, padding) = ((quad + 1) % 4, 0);
                bytes.push(value);
            }
            None if byte == b'=' && quad >= 2 => {
                padding += 1;
                if quad + padding == 4 {
                    return Some(bytes.out);
                }
            }
            None => {}
        }
    }
    (quad == 0).then_some(bytes.out)
}

/// The six bits that a character of the alphabet stands for.
fn digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

/// Bytes out of pieces of six bits.
#[derive(Default)]
struct Bytes {
    out: Vec<u8>,
    group: u32,
    /// bits of `group` that are no byte yet
    waiting: u32,
}

impl Bytes {
    fn push(&mut self, value: u8) {
        self.group = (self.group << 6) | u32::from(value);
        self.waiting += 6;
        if self.waiting >= 8 {
            self.waiting -= 8;
            self.out.push((self.group >> self.waiting) as u8);
            self.group &= (1 << self.waiting) - 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn what_is_encoded_is_decoded(bytes: Vec<u8>) {
            let text = encode(&bytes);
            proptest::prop_assert_eq!((decode_bytes(&text), decode(&text)), (Some(bytes.clone()), Some(bytes)));
        }
    }

    #[test]
    fn as_everybody_does() {
        assert_eq!([encode(b""), encode(b"f"), encode(b"fo"), encode(b"foo")], ["", "Zg==", "Zm8=", "Zm9v"]);
    }

    #[test]
    fn base64_is_strict() {
        assert_eq!(decode("aGk=").unwrap(), b"hi");
        assert_eq!(decode("aGkh\naGkh").unwrap(), b"hi!hi!");
        assert_eq!(decode("a"), None);
        assert_eq!(decode("aG=k"), None);
        assert_eq!(decode("aGk%"), None);
    }

    /// What CPython 3.11 says.
    #[test]
    fn decodebytes_is_lenient_but_for_padding() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("aGk=", Some(b"hi")),
            (" aG%k\n=", Some(b"hi")),
            ("aGkh", Some(b"hi!")),
            ("aGk=aGkh", Some(b"hi")),
            ("aA==", Some(b"h")),
            ("aA=k=", Some(b"h\x09")),
            ("aP==", Some(b"h")),
            ("=aGkh=", Some(b"hi!")),
            ("aGk", None),
            ("aA=", None),
            ("a", None),
            ("a===", None),
        ] {
            assert_eq!(decode_bytes(text).as_deref(), bytes, "{text:?}");
        }
    }
}
