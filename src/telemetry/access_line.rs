//! The access log's line as bytes: exactly what tracing's own formatter makes of the same fields (a test holds it to
//! that), at a fraction of its cost. Pure.
use std::io::Write;

use super::LogFormat;
use crate::json::{plain_float, push_number, push_padded};

/// A field's value; one that is not known is not written.
pub(super) enum Field<'a> {
    Text(&'a str),
    Number(u64),
    Float(f64),
    True,
}

/// The line, with its end. `seconds` and `micros` since the epoch.
pub(super) fn write<'a>(
    out: &mut Vec<u8>,
    format: LogFormat,
    (seconds, micros): (u64, u32),
    fields: impl IntoIterator<Item = (&'a str, Field<'a>)>,
) {
    match format {
        LogFormat::Text => {
            time(out, seconds, micros);
            out.extend_from_slice(b"  INFO access:");
            for (name, value) in fields {
                out.push(b' ');
                out.extend_from_slice(name.as_bytes());
                out.push(b'=');
                match &value {
                    Field::Text(text) => debug(out, text),
                    Field::Float(number) => match plain_float(*number, &mut [0; 32]) {
                        Some(text) => out.extend_from_slice(text.as_bytes()),
                        None => put(out, format_args!("{number:?}")),
                    },
                    other => plain(out, other),
                }
            }
            out.push(b'\n');
        }
        LogFormat::Json => {
            out.extend_from_slice(b"{\"timestamp\":\"");
            time(out, seconds, micros);
            out.extend_from_slice(b"\",\"level\":\"INFO\"");
            for (name, value) in fields {
                out.extend_from_slice(b",\"");
                out.extend_from_slice(name.as_bytes());
                out.extend_from_slice(b"\":");
                match &value {
                    Field::Text(text) => crate::json::push_string(out, text),
                    Field::Float(number) => drop(serde_json::to_writer(&mut *out, number)), // memory does not fail
                    other => plain(out, other),
                }
            }
            out.extend_from_slice(b",\"target\":\"access\"}\n");
        }
    }
}

fn plain(out: &mut Vec<u8>, value: &Field<'_>) {
    match value {
        Field::Number(number) => push_number(out, *number),
        _ => out.extend_from_slice(b"true"),
    }
}

/// As `{:?}` of a string; what is written plainly there is nearly all there is.
fn debug(out: &mut Vec<u8>, text: &str) {
    if text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        put(out, format_args!("{text:?}"));
    }
}

fn put(out: &mut Vec<u8>, what: std::fmt::Arguments<'_>) {
    let _ = out.write_fmt(what); // memory does not fail
}

/// `2026-01-31T12:00:00.000001Z`
fn time(out: &mut Vec<u8>, seconds: u64, micros: u32) {
    let (year, month, day) = date(seconds / 86_400);
    let second = seconds % 86_400;
    for (value, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (u64::from(micros), 6, b'Z'),
    ] {
        push_padded(out, value, width);
        out.push(end);
    }
}

/// Year, month and day of a day since the epoch, by the calendar of 400 years that begin in March.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // since 0000-03-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153; // from March
    let (month_of_year, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (400 * era + year + carry, month_of_year, day - (153 * month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use time::{OffsetDateTime, format_description::well_known::Rfc3339};
    use tracing_subscriber::{fmt, layer::SubscriberExt};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What tracing makes of a line, as [`super::super::init`] sets it up.
    fn traced(format: LogFormat, emit: impl FnOnce()) -> String {
        let sink = Sink::default();
        let writer = {
            let sink = sink.clone();
            move || sink.clone()
        };
        let registry = tracing_subscriber::registry();
        match format {
            LogFormat::Text => {
                let layer = fmt::layer().with_writer(writer).with_ansi(false);
                tracing::subscriber::with_default(registry.with(layer), emit);
            }
            LogFormat::Json => {
                let layer = fmt::layer().json().flatten_event(true).with_current_span(false).with_span_list(false);
                tracing::subscriber::with_default(registry.with(layer.with_writer(writer)), emit);
            }
        }
        String::from_utf8(sink.0.lock().unwrap().clone()).unwrap()
    }

    /// Without the time, which is of the moment.
    fn timeless(format: LogFormat, line: &str) -> String {
        let from = if format == LogFormat::Text { 0 } else { line.find("20").unwrap() };
        let time = &line[from..from + 27];
        assert!(OffsetDateTime::parse(time, &Rfc3339).is_ok() && time.ends_with('Z'), "{line}");
        line.replacen(time, "", 1)
    }

    #[test]
    fn a_line_is_what_tracing_would_have_written() {
        for format in [LogFormat::Text, LogFormat::Json] {
            for (path, float, number, none) in [
                ("/v1/chat/completions", 1.234, 200, None),
                ("/a \"quoted\" \\ back", 0.0001475, 0, Some("gpt-4o")),
                ("/tab\tline\nand é \u{1b}[31m \u{7f} \u{200b}'", 12_345.0, u64::MAX, Some("")),
                ("", 5e-7, 499, Some("\u{1F600}")),
                ("x", 0.0, 1_000_000, None),
                ("x", 1e16, 7, None),
                ("x", 123_456_789.012, 7, None),
                ("x", 0.1 + 0.2, 7, None),
            ] {
                let told = traced(format, || {
                    tracing::info!(
                        target: "access",
                        route = path,
                        status = number,
                        duration_ms = float,
                        client_gone = none.map(|_| true),
                        model_group = none,
                    );
                });
                let mut fields = vec![
                    ("route", Field::Text(path)),
                    ("status", Field::Number(number)),
                    ("duration_ms", Field::Float(float)),
                ];
                if let Some(group) = none {
                    fields.extend([("client_gone", Field::True), ("model_group", Field::Text(group))]);
                }
                let mut line = Vec::new();
                write(&mut line, format, (1_790_000_000, 123_456), fields);
                let line = String::from_utf8(line).unwrap();
                assert_eq!(timeless(format, &line), timeless(format, &told));
            }
        }
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        for seconds in (0..8_000_000_000_u64).step_by(86_399 * 13) {
            let mut out = Vec::new();
            time(&mut out, seconds, 1);
            let moment = OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap().replace_microsecond(1).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), moment.format(&Rfc3339).unwrap());
        }
    }
}
