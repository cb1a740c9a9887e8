//! PyYAML's implicit resolver and scalar constructors (yaml/resolver.py, yaml/constructor.py), by hand: no regex
//! engine is needed for these few patterns. Pure.
use super::Value;
use crate::base64::decode_bytes;

/// The YAML 1.1 tags a plain scalar can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tag {
    Null,
    Bool,
    Int,
    Float,
    Timestamp,
    Str,
    Merge,
    Equals,
    Binary,
}

impl Tag {
    /// An explicit tag on a scalar; `None`: PyYAML's safe loader has no constructor for it.
    pub(super) fn explicit(tag: &str) -> Option<Tag> {
        Some(match tag.strip_prefix("tag:yaml.org,2002:")? {
            "null" => Tag::Null,
            "bool" => Tag::Bool,
            "int" => Tag::Int,
            "float" => Tag::Float,
            "timestamp" => Tag::Timestamp,
            "str" => Tag::Str,
            "binary" => Tag::Binary,
            "merge" => Tag::Merge,
            "value" => Tag::Equals,
            _ => return None,
        })
    }

    /// The tag of a plain scalar.
    pub(super) fn implicit(text: &str) -> Tag {
        match text {
            "" | "~" | "null" | "Null" | "NULL" => Tag::Null,
            "<<" => Tag::Merge,
            "=" => Tag::Equals,
            _ if bool_of(text).is_some() && is_cased(text) => Tag::Bool,
            _ if is_float(text) => Tag::Float,
            _ if is_int(text) => Tag::Int,
            _ if is_timestamp(text) => Tag::Timestamp,
            _ => Tag::Str,
        }
    }
}

/// `yes`, `Yes` or `YES`, not `yEs`.
fn is_cased(text: &str) -> bool {
    let tail = text.get(1..).unwrap_or("");
    tail.bytes().all(|b| b.is_ascii_lowercase()) || text.bytes().all(|b| b.is_ascii_uppercase())
}

fn bool_of(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" | "true" | "on" => Some(true),
        "no" | "false" | "off" => Some(false),
        _ => None,
    }
}

fn unsigned(text: &str) -> &str {
    text.strip_prefix(['-', '+']).unwrap_or(text)
}

fn digits_then_underscores(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'_')
}

/// `(?::[0-5]?[0-9])+`, given without the first colon.
fn sexagesimal(parts: &str) -> bool {
    parts.split(':').all(|part| match part.as_bytes() {
        [d] => d.is_ascii_digit(),
        [t, d] => (b'0'..=b'5').contains(t) && d.is_ascii_digit(),
        _ => false,
    })
}

fn is_int(text: &str) -> bool {
    let body = unsigned(text);
    let all = |rest: &str, ok: fn(u8) -> bool| !rest.is_empty() && rest.bytes().all(|b| b == b'_' || ok(b));
    if let Some(rest) = body.strip_prefix("0b") {
        return all(rest, |b| b == b'0' || b == b'1');
    }
    if let Some(rest) = body.strip_prefix("0x") {
        return all(rest, |b| b.is_ascii_hexdigit());
    }
    if let Some(rest) = body.strip_prefix('0') {
        return rest.is_empty() || all(rest, |b| (b'0'..=b'7').contains(&b));
    }
    match body.split_once(':') {
        None => digits_then_underscores(body),
        Some((first, rest)) => digits_then_underscores(first) && sexagesimal(rest),
    }
}

fn exponent(text: &str) -> bool {
    match text.strip_prefix(['e', 'E']) {
        None => text.is_empty(),
        Some(rest) => rest
            .strip_prefix(['-', '+'])
            .is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())),
    }
}

fn is_float(text: &str) -> bool {
    let body = unsigned(text);
    if matches!(body, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    let split_fraction =
        |rest: &str| -> usize { rest.bytes().take_while(|b| b.is_ascii_digit() || *b == b'_').count() };
    if let Some(rest) = text.strip_prefix('.') {
        // no sign before a leading dot
        let end = split_fraction(rest);
        return rest.starts_with(|c: char| c.is_ascii_digit()) && exponent(rest.get(end..).unwrap_or("x"));
    }
    let Some((whole, fraction)) = body.split_once('.') else { return false };
    match whole.split_once(':') {
        None => digits_then_underscores(whole) && exponent(fraction.get(split_fraction(fraction)..).unwrap_or("x")),
        Some((first, rest)) => {
            digits_then_underscores(first) && sexagesimal(rest) && split_fraction(fraction) == fraction.len()
        }
    }
}

fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() == 10 && Stamp::parse(text).is_some() {
        // the short form needs two digits for month and day
        return bytes.iter().enumerate().all(|(i, b)| if i == 4 || i == 7 { *b == b'-' } else { b.is_ascii_digit() });
    }
    Stamp::parse(text).is_some_and(|stamp| stamp.time.is_some())
}

/// The fields of PyYAML's timestamp pattern.
#[derive(Debug, Default)]
struct Stamp {
    year: u32,
    month: u32,
    day: u32,
    time: Option<(u32, u32, u32)>,
    /// microseconds
    fraction: u32,
    /// minutes east of UTC
    zone: Option<i32>,
}

/// A cursor over the bytes of a timestamp.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn number(&mut self, least: usize, most: usize) -> Option<u32> {
        let len = self.0.iter().take(most).take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = (len >= least).then(|| self.0.split_at_checked(len))??;
        self.0 = rest;
        digits.iter().try_fold(0_u32, |n, d| n.checked_mul(10)?.checked_add(u32::from(d - b'0')))
    }

    fn eat(&mut self, wanted: &[u8]) -> bool {
        match self.0.split_first() {
            Some((first, rest)) if wanted.contains(first) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn blanks(&mut self) -> bool {
        let mut any = false;
        while self.eat(b" \t") {
            any = true;
        }
        any
    }
}

impl Stamp {
    fn parse(text: &str) -> Option<Stamp> {
        let mut at = Cursor(text.as_bytes());
        let mut stamp = Stamp { year: at.number(4, 4)?, ..Stamp::default() };
        at.eat(b"-").then_some(())?;
        stamp.month = at.number(1, 2)?;
        at.eat(b"-").then_some(())?;
        stamp.day = at.number(1, 2)?;
        if at.0.is_empty() {
            return Some(stamp);
        }
        (at.eat(b"Tt") || at.blanks()).then_some(())?;
        let hour = at.number(1, 2)?;
        at.eat(b":").then_some(())?;
        let minute = at.number(2, 2)?;
        at.eat(b":").then_some(())?;
        stamp.time = Some((hour, minute, at.number(2, 2)?));
        if at.eat(b".") {
            let len = at.0.iter().take_while(|b| b.is_ascii_digit()).count();
            let (digits, rest) = at.0.split_at_checked(len)?;
            let padded = digits.iter().copied().chain(std::iter::repeat(b'0')).take(6);
            stamp.fraction = padded.fold(0, |n, d| n * 10 + u32::from(d - b'0'));
            at.0 = rest;
        }
        at.blanks();
        if at.eat(b"Z") {
            stamp.zone = Some(0);
        } else if let Some(sign) = at.eat(b"-").then_some(-1).or_else(|| at.eat(b"+").then_some(1)) {
            let hours = at.number(1, 2)? as i32;
            let minutes = if at.eat(b":") { at.number(2, 2)? as i32 } else { 0 };
            stamp.zone = Some(sign * (hours * 60 + minutes));
        } else if text.ends_with([' ', '\t']) {
            return None;
        }
        at.0.is_empty().then_some(stamp)
    }

    /// `str(datetime)`; `None` where Python's constructor raises.
    fn python_str(&self) -> Option<String> {
        let leap = self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(leap),
            1..=12 => 31,
            _ => return None,
        };
        if self.year == 0 || self.day == 0 || self.day > days {
            return None;
        }
        let mut text = format!("{:04}-{:02}-{:02}", self.year, self.month, self.day);
        let Some((hour, minute, second)) = self.time else { return Some(text) };
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        text += &format!(" {hour:02}:{minute:02}:{second:02}");
        if self.fraction > 0 {
            text += &format!(".{:06}", self.fraction);
        }
        if let Some(zone) = self.zone {
            if zone.abs() >= 24 * 60 {
                return None;
            }
            let sign = if zone < 0 { '-' } else { '+' };
            text += &format!("{sign}{:02}:{:02}", zone.abs() / 60, zone.abs() % 60);
        }
        Some(text)
    }
}

/// The constructed value; `Err` names what Python would raise for.
pub(super) fn construct(tag: Tag, text: &str) -> Result<Value, &'static str> {
    match tag {
        Tag::Null => Ok(Value::Null),
        Tag::Str => Ok(Value::Str(text.to_owned())),
        Tag::Bool => bool_of(text).map(Value::Bool).ok_or("not a YAML 1.1 boolean"),
        Tag::Int => int_of(text).ok_or("not a YAML 1.1 integer"),
        Tag::Float => float_of(text).map(Value::Float).ok_or("not a YAML 1.1 float"),
        Tag::Timestamp => Stamp::parse(text)
            .and_then(|stamp| stamp.python_str())
            .map(Value::Time)
            .ok_or("not a possible date or time"),
        Tag::Binary => {
            Some(text).filter(|text| text.is_ascii()).and_then(decode_bytes).map(Value::Bytes).ok_or("not base64")
        }
        Tag::Merge => Err("`<<` has a meaning only as a key; quote it"),
        Tag::Equals => Err("a plain `=` cannot be loaded; quote it"),
    }
}

fn int_of(text: &str) -> Option<Value> {
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    let negative = plain.starts_with('-');
    let body = unsigned(&plain);
    if let Some(digits) = body.strip_prefix("0b") {
        return big(digits, 2, negative);
    }
    if let Some(digits) = body.strip_prefix("0x") {
        return big(digits, 16, negative);
    }
    if body.contains(':') {
        let total = body
            .split(':')
            .try_fold(0_i128, |sum, part| sum.checked_mul(60)?.checked_add(part.parse::<i128>().ok()?))?;
        return Some(Value::Int(if negative { -total } else { total }));
    }
    if body != "0" && body.starts_with('0') {
        return big(body, 8, negative);
    }
    big(body, 10, negative)
}

/// Digits of any length; Python refuses decimal ones over 4300 characters.
fn big(digits: &str, base: u32, negative: bool) -> Option<Value> {
    if digits.is_empty() || digits.len() > 4300 {
        return None;
    }
    if let Ok(value) = i128::from_str_radix(digits, base) {
        return Some(Value::Int(if negative { -value } else { value }));
    }
    // little-endian limbs of nine decimal digits
    let mut limbs = vec![0_u64];
    for digit in digits.chars() {
        let mut carry = u64::from(digit.to_digit(base)?);
        for limb in &mut limbs {
            let value = *limb * u64::from(base) + carry;
            *limb = value % 1_000_000_000;
            carry = value / 1_000_000_000;
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut text = String::from(if negative { "-" } else { "" });
    for (i, limb) in limbs.iter().rev().enumerate() {
        text += &if i == 0 { limb.to_string() } else { format!("{limb:09}") };
    }
    Some(Value::BigInt(text))
}

fn float_of(text: &str) -> Option<f64> {
    let plain: String = text.chars().filter(|c| *c != '_').collect::<String>().to_lowercase();
    let sign = if plain.starts_with('-') { -1.0 } else { 1.0 };
    let body = unsigned(&plain);
    Some(match body {
        ".inf" => sign * f64::INFINITY,
        ".nan" => f64::NAN,
        _ if body.contains(':') => {
            // PyYAML sums from the smallest part upwards
            let mut total = 0.0;
            let mut base = 1.0;
            for part in body.rsplit(':') {
                total += part.parse::<f64>().ok()? * base;
                base *= 60.0;
            }
            sign * total
        }
        _ => sign * body.trim().parse::<f64>().ok()?,
    })
}
