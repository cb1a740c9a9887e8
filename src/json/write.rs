//! Writes an object member by member; raw members are copied as they stand.

/// Builds `{...}` in a buffer.
#[derive(Debug)]
pub struct ObjectWriter {
    out: Vec<u8>,
    empty: bool,
}

impl ObjectWriter {
    pub fn with_capacity(capacity: usize) -> Self {
        let mut out = Vec::with_capacity(capacity);
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Starts a member; its value is written to the returned buffer by the caller.
    pub fn key(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        push_string(&mut self.out, name);
        self.out.push(b':');
        &mut self.out
    }

    /// A member whose value is JSON text already.
    pub fn raw(&mut self, name: &str, json: &str) {
        self.key(name).extend_from_slice(json.as_bytes());
    }

    pub fn string(&mut self, name: &str, value: &str) {
        push_string(self.key(name), value);
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.out.push(b'}');
        self.out
    }
}

/// Appends the decimal digits of a whole number.
pub fn push_number(out: &mut Vec<u8>, value: u64) {
    push_padded(out, value, 1);
}

/// As [`push_number`], at least `width` digits (20 at most).
pub fn push_padded(out: &mut Vec<u8>, mut value: u64, width: usize) {
    let mut buffer = [b'0'; 20];
    let mut used = 0;
    for slot in buffer.iter_mut().rev() {
        if value == 0 && used >= width {
            break;
        }
        *slot = b'0' + (value % 10) as u8;
        value /= 10;
        used += 1;
    }
    out.extend_from_slice(buffer.get(buffer.len() - used..).unwrap_or_default());
}

/// The float as its shortest digits without exponent (`0.0001475`, `12.0`). `None` outside of 1e-4 to 1e14, but for zero:
/// Rust, Python and JSON write some of those differently.
pub fn plain_float(value: f64, buffer: &mut [u8; 32]) -> Option<&str> {
    if value != 0.0 && !(1e-4..1e14).contains(&value.abs()) {
        return None;
    }
    let mut rest = buffer.as_mut_slice();
    serde_json::to_writer(&mut rest, &value).ok()?;
    let used = 32 - rest.len();
    let text = std::str::from_utf8(buffer.get(..used)?).ok()?;
    (text.contains('.') && !text.contains('e')).then_some(text)
}

/// Appends a JSON string: compact, non-ASCII raw, as orjson writes it.
pub fn push_string(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    let bytes = value.as_bytes();
    if !bytes.iter().fold(false, |found, byte| found | matches!(byte, b'"' | b'\\' | 0..0x20)) {
        out.extend_from_slice(bytes);
        out.push(b'"');
        return;
    }
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x08 => b"\\b",
            0x0c => b"\\f",
            0..0x20 => {
                out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                from = at + 1;
                continue;
            }
            _ => continue,
        };
        out.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        out.extend_from_slice(escape);
        from = at + 1;
    }
    out.extend_from_slice(bytes.get(from..).unwrap_or_default());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for value in [0, 7, 10, 1_790_000_000, u64::MAX] {
            let mut out = vec![b'-'];
            push_number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), format!("-{value}"));
            let mut out = Vec::new();
            push_padded(&mut out, value, 6);
            assert_eq!(String::from_utf8(out).unwrap(), format!("{value:06}"));
        }
    }

    proptest::proptest! {
        #[test]
        fn floats(value in proptest::num::f64::ANY, factor in -5i32..18) {
            for value in [value, 0.0, -0.0, (value.to_bits() >> 12) as f64 / (1u64 << 52) as f64 * 10f64.powi(factor)] {
                let plain = value == 0.0 || (1e-4..1e14).contains(&value.abs());
                let plain = plain.then(|| format!("{value:?}"));
                let mut buffer = [0; 32];
                let ours = plain_float(value, &mut buffer);
                // of two shortest texts that are as near, Python takes the even one and Rust the larger
                let tie = ours.zip(plain.as_deref()).is_some_and(|(ours, rusts)| {
                    let but_last = |text: &str| text[..text.len() - 1].to_owned();
                    ours.parse() == Ok(value) && but_last(ours) == but_last(rusts) && ours.ends_with(['0', '2', '4', '6', '8'])
                });
                proptest::prop_assert!(ours == plain.as_deref() || tie, "{ours:?} {plain:?}");
            }
        }
    }

    #[test]
    fn of_two_texts_as_near_the_even_one_is_pythons() {
        assert_eq!(plain_float(3087392411129.7812, &mut [0; 32]), Some("3087392411129.7812"));
    }

    #[test]
    fn splices() {
        let mut object = ObjectWriter::with_capacity(0);
        object.string("model", "a\"b\u{1}é\n");
        object.raw("messages", "[1, 2]");
        assert_eq!(object.finish(), "{\"model\":\"a\\\"b\\u0001é\\n\",\"messages\":[1, 2]}".as_bytes());
        assert_eq!(ObjectWriter::with_capacity(0).finish(), b"{}");
    }
}
