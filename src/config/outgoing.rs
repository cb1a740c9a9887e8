//! Headers of a deployment's calls, kept from call to call: they are the same for each, and there are seventeen of them.
use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use http::HeaderMap;

/// One set of headers for whole answers and one for streams, made by the first call of each. There are credentials in them.
#[derive(Clone, Default)]
pub struct OutgoingHeaders([Arc<OnceLock<(String, HeaderMap)>>; 2]);

impl OutgoingHeaders {
    /// A copy of what `make` gave the first time; of what it gives now where `given`, all that it depends on besides the
    /// deployment, was another then. `None`: it gives none.
    pub fn get(&self, stream: bool, given: &str, make: impl Fn() -> Option<HeaderMap>) -> Option<HeaderMap> {
        let [whole, streamed] = &self.0;
        let kept = if stream { streamed } else { whole };
        if let Some((key, headers)) = kept.get() {
            return if key == given { Some(headers.clone()) } else { make() };
        }
        let headers = make()?;
        let _ = kept.set((given.to_owned(), headers.clone())); // another call may have been first
        Some(headers)
    }
}

impl fmt::Debug for OutgoingHeaders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutgoingHeaders")
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};

    use super::*;

    #[test]
    fn headers_are_made_once_for_what_they_depend_on() {
        let headers = OutgoingHeaders::default();
        let made = |key: &'static str| {
            let map: HeaderMap = [(header::AUTHORIZATION, HeaderValue::from_static(key))].into_iter().collect();
            move || Some(map.clone())
        };
        let of = |stream, given, key| headers.get(stream, given, made(key)).unwrap()["authorization"].clone();
        assert_eq!(headers.get(false, "30.0", || None), None);
        assert_eq!(of(false, "30.0", "first"), "first");
        assert_eq!(of(false, "30.0", "second"), "first");
        assert_eq!(of(false, "60.0", "second"), "second");
        assert_eq!(of(true, "30.0", "second"), "second");
        assert_eq!(format!("{headers:?}"), "OutgoingHeaders");
    }
}
