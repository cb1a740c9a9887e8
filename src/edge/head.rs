//! Builds the head of an answer the edge makes itself, with header names on the wire as LiteLLM writes them: lower-case.
//!
//! Pingora writes names as they were given only where it keeps them in a second header map, and filling both maps is the
//! dearest part of a small answer. The heads of a route differ in a few values only: each thread keeps the last ones,
//! and the next head of the same names is a copy of one with its own values. A copy never has a value of an earlier
//! answer's that its own list does not have too.
use std::{borrow::Cow, cell::RefCell, collections::VecDeque};

use http::{HeaderValue, StatusCode, header};
use pingora::http::ResponseHeader;

use crate::routes::HeaderList;

/// Heads that a thread keeps, and the largest of them.
const KEPT: usize = 8;
const KEPT_FIELDS: usize = 64;
const KEPT_BYTES: usize = 8 << 10;

struct Kept {
    fields: HeaderList,
    /// with the two headers that are Pingora's: it puts its values in the place of these, and the copy needs not grow
    head: ResponseHeader,
}

thread_local! {
    static LAST: RefCell<VecDeque<Kept>> = const { RefCell::new(VecDeque::new()) };
}

/// `fields`: all headers of an answer in their order, but for date and connection, which are Pingora's.
pub(super) fn head(status: StatusCode, fields: HeaderList) -> pingora::Result<Box<ResponseHeader>> {
    LAST.with_borrow_mut(|kept| {
        let alike = kept.iter().find(|kept| kept.head.status == status && same_names(&kept.fields, &fields));
        if let Some(head) = alike.and_then(|kept| kept.with(&fields)) {
            return Ok(head);
        }
        let (head, whole) = build(status, &fields)?;
        if whole && small(&fields) {
            keep(kept, fields, &head)?;
        }
        Ok(Box::new(head))
    })
}

fn keep(kept: &mut VecDeque<Kept>, fields: HeaderList, head: &ResponseHeader) -> pingora::Result<()> {
    let mut head = head.clone();
    for name in [header::DATE, header::CONNECTION] {
        head.insert_header(name, HeaderValue::from_static(""))?;
    }
    // one value a name, or a copy could not be given others
    if head.headers.keys_len() == fields.len() + 2 {
        kept.truncate(KEPT - 1);
        kept.push_front(Kept { fields, head });
    }
    Ok(())
}

impl Kept {
    /// A copy with these values. `None` where HTTP cannot carry one.
    fn with(&self, fields: &HeaderList) -> Option<Box<ResponseHeader>> {
        let mut head = Box::new(self.head.clone());
        for (at, ((_, value), (_, kept))) in fields.iter().zip(self.fields.iter()).enumerate() {
            if value != kept {
                let value = HeaderValue::from_bytes(value.as_bytes()).ok()?;
                match fields.name(at)? {
                    Cow::Borrowed(name) => head.insert_header(name, value).ok()?,
                    Cow::Owned(name) => head.insert_header(name, value).ok()?,
                }
            }
        }
        Some(head)
    }
}

/// False: a header was left out.
fn build(status: StatusCode, fields: &HeaderList) -> pingora::Result<(ResponseHeader, bool)> {
    let mut head = ResponseHeader::build(status, Some(fields.len() + 2))?; // two more are Pingora's
    let mut whole = true;
    for (at, (_, value)) in fields.iter().enumerate() {
        let added = HeaderValue::from_bytes(value.as_bytes()).is_ok_and(|value| match fields.name(at) {
            Some(Cow::Borrowed(name)) => head.append_header(name, value).is_ok(),
            Some(Cow::Owned(name)) => head.append_header(name, value).is_ok(),
            None => false,
        });
        if !added {
            // a provider's header that HTTP cannot carry; its value stays out of the log
            tracing::debug!("an answer's header was left out: not representable");
            whole = false;
        }
    }
    Ok((head, whole))
}

fn same_names(left: &HeaderList, right: &HeaderList) -> bool {
    left.len() == right.len() && left.iter().zip(right.iter()).all(|((left, _), (right, _))| left == right)
}

fn small(fields: &HeaderList) -> bool {
    fields.len() <= KEPT_FIELDS && fields.text_len() <= KEPT_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    type List<'a> = &'a [(&'static str, &'a str)];

    fn wire(status: u16, list: List<'_>) -> String {
        let mut fields = HeaderList::default();
        for (at, (name, value)) in list.iter().enumerate() {
            match at % 2 {
                0 => fields.push(name, value),
                _ => fields.push_made(name, "", value),
            }
        }
        let mut head = head(StatusCode::from_u16(status).unwrap(), fields).unwrap();
        assert_eq!(head.status.as_u16(), status);
        // as Pingora does
        head.insert_header(header::DATE, "now").unwrap();
        head.insert_header(header::CONNECTION, "close").unwrap();
        let mut wire = BytesMut::new();
        head.header_to_h1_wire(&mut wire);
        let wire = String::from_utf8(wire.to_vec()).unwrap();
        wire.strip_suffix("Date: now\r\nConnection: close\r\n").unwrap().to_owned()
    }

    fn plain(list: List<'_>) -> String {
        list.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect()
    }

    #[test]
    fn a_head_is_its_own_list_whatever_came_before() {
        let lists: [List<'_>; 7] = [
            &[("content-length", "1"), ("content-type", "a"), ("x-a", "1"), ("llm_provider-date", "x")],
            &[("content-length", "22"), ("content-type", "a"), ("x-a", "2"), ("llm_provider-date", "y")],
            &[("content-length", "1"), ("content-type", "a"), ("x-a", "1")],
            &[("content-type", "a"), ("content-length", "1"), ("x-a", "1"), ("llm_provider-date", "x")],
            &[("x-a", "1"), ("x-b", "1"), ("x-a", "1")],
            &[("x-a", "2"), ("x-b", "2"), ("x-a", "3")],
            &[],
        ];
        for _ in 0..3 {
            for list in lists {
                let mut wanted = plain(list);
                if list.len() == 3 && list[0].0 == list[2].0 {
                    // names that occur twice stand together
                    wanted = plain(&[list[0], list[2], list[1]]);
                }
                assert_eq!(wire(200, list), wanted);
                assert_eq!(wire(429, list), wanted);
            }
        }
    }

    #[test]
    fn what_http_cannot_carry_is_left_out_and_nothing_takes_its_place() {
        let good: List<'_> = &[("content-length", "1"), ("x-a", "good"), ("x-b", "1")];
        for _ in 0..2 {
            assert_eq!(wire(200, good), plain(good));
            assert_eq!(
                wire(200, &[("content-length", "2"), ("x-a", "b\nd"), ("x-b", "2")]),
                "content-length: 2\r\nx-b: 2\r\n"
            );
            assert_eq!(wire(200, &[("x-a", "1"), ("a b", "1"), ("", "1")]), "x-a: 1\r\n");
        }
    }

    #[test]
    fn a_thread_keeps_few_and_small_heads() {
        for length in 0..40 {
            let mut fields = HeaderList::default();
            (0..length).for_each(|at| fields.push_made("x-", &at.to_string(), "1"));
            head(StatusCode::OK, fields).unwrap();
        }
        head(StatusCode::OK, [("x-large", &*"x".repeat(KEPT_BYTES + 1))].into()).unwrap();
        LAST.with_borrow(|kept| {
            assert_eq!(kept.len(), KEPT);
            assert!(kept.iter().all(|kept| kept.fields.len() >= 32 && small(&kept.fields)));
        });
    }
}
