//! How a virtual key is known: by its sha256, never by itself (proxy/utils.py `hash_token_if_needed`).
use sha2::{Digest, Sha256};

/// The sha256 of a virtual key; what all tables, counters and caches call it by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Of a key as the client sent it.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// From 64 lower-case hex digits.
    pub fn parse(hex: &str) -> Option<Self> {
        let mut out = [0; 32];
        let (digits, []) = hex.as_bytes().as_chunks::<2>() else { return None };
        if digits.len() != out.len() {
            return None;
        }
        let nibble = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        for (byte, [high, low]) in out.iter_mut().zip(digits) {
            *byte = nibble(*high)? << 4 | nibble(*low)?;
        }
        Some(Self(out))
    }
}

impl std::fmt::Display for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyHash({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_litellms_and_read_back() {
        let hash = KeyHash::of("sk-1234");
        assert_eq!(hash.to_string(), "88dc28d0f030c55ed4ab77ed8faf098196cb1c05df778539800c9f1243fe6b4b");
        assert_eq!(KeyHash::parse(&hash.to_string()), Some(hash));
        for bad in ["", "88", &"8".repeat(63), &"8".repeat(65), &"G".repeat(64), &"A".repeat(64)] {
            assert_eq!(KeyHash::parse(bad), None, "{bad}");
        }
    }
}
