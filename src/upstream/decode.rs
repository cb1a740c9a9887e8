//! Content decoding of providers' answers (`accept-encoding: gzip, deflate` is sent as LiteLLM does), whole and as
//! they arrive. It must never give more than the caller's bound, however small the compressed bytes are.
use std::io::Write;

use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};

/// The encoded bytes are no such encoding, or decode to more than the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer cannot be decoded within its bound")]
pub struct Undecodable;

/// Decodes the bytes of one body, in order.
pub struct ContentDecoder {
    kind: Kind,
    limit: usize,
    given: usize,
}

enum Kind {
    Plain,
    Gzip(MultiGzDecoder<Vec<u8>>),
    /// zlib or raw deflate: the first byte tells
    Deflate,
    Zlib(ZlibDecoder<Vec<u8>>),
    Raw(DeflateDecoder<Vec<u8>>),
}

impl ContentDecoder {
    /// By the `content-encoding` header; anything but gzip and deflate is given on as it is. `limit`: most bytes of
    /// the whole decoded body.
    pub fn new(encoding: Option<&str>, limit: usize) -> Self {
        let kind = match encoding.map(|name| name.trim().to_ascii_lowercase()).as_deref() {
            Some("gzip" | "x-gzip") => Kind::Gzip(MultiGzDecoder::new(Vec::new())),
            Some("deflate") => Kind::Deflate,
            _ => Kind::Plain,
        };
        Self { kind, limit, given: 0 }
    }

    /// Whether bytes are given on as they are.
    pub fn is_plain(&self) -> bool {
        matches!(self.kind, Kind::Plain)
    }

    /// What the bytes decode to, as far as it is known yet.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Undecodable> {
        if let (Kind::Deflate, Some(first)) = (&self.kind, bytes.first()) {
            self.kind = match first & 0x0f {
                8 => Kind::Zlib(ZlibDecoder::new(Vec::new())),
                _ => Kind::Raw(DeflateDecoder::new(Vec::new())),
            };
        }
        let mut out = Vec::new();
        // in steps, so that a small piece cannot become more than the bound before it is looked at
        for step in bytes.chunks(4096) {
            let decoded = match &mut self.kind {
                Kind::Plain | Kind::Deflate => step.to_vec(),
                Kind::Gzip(decoder) => written(decoder, step, MultiGzDecoder::get_mut)?,
                Kind::Zlib(decoder) => written(decoder, step, ZlibDecoder::get_mut)?,
                Kind::Raw(decoder) => written(decoder, step, DeflateDecoder::get_mut)?,
            };
            self.given = self.given.saturating_add(decoded.len());
            if self.given > self.limit {
                return Err(Undecodable);
            }
            out.extend_from_slice(&decoded);
        }
        Ok(out)
    }
}

fn written<W: Write>(decoder: &mut W, bytes: &[u8], inner: fn(&mut W) -> &mut Vec<u8>) -> Result<Vec<u8>, Undecodable> {
    decoder.write_all(bytes).and_then(|()| decoder.flush()).map_err(|_| Undecodable)?;
    Ok(std::mem::take(inner(decoder)))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn encoded(kind: &str, text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let level = flate2::Compression::fast();
        let read = match kind {
            "gzip" => flate2::read::GzEncoder::new(text, level).read_to_end(&mut out),
            "zlib" => flate2::read::ZlibEncoder::new(text, level).read_to_end(&mut out),
            _ => flate2::read::DeflateEncoder::new(text, level).read_to_end(&mut out),
        };
        read.unwrap();
        out
    }

    #[test]
    fn every_encoding_in_any_split() {
        let text: Vec<u8> = (0..20_000u32).flat_map(|n| n.to_string().into_bytes()).collect();
        for (kind, header) in [("gzip", "gzip"), ("zlib", "deflate"), ("raw", "Deflate")] {
            let body = encoded(kind, &text);
            for size in [1, 7, 5000, body.len()] {
                let mut decoder = ContentDecoder::new(Some(header), 1 << 20);
                let mut out = Vec::new();
                for part in body.chunks(size) {
                    out.extend(decoder.push(part).unwrap());
                }
                assert_eq!(out, text, "{kind} {size}");
            }
        }
        assert_eq!(ContentDecoder::new(None, 10).push(b"plain").unwrap(), b"plain");
        assert_eq!(ContentDecoder::new(Some("br"), 10).push(b"other").unwrap(), b"other");
    }

    #[test]
    fn bombs_and_garbage_are_refused() {
        let bomb = encoded("gzip", &vec![0; 10_000_000]);
        assert_eq!(ContentDecoder::new(Some("gzip"), 1 << 20).push(&bomb), Err(Undecodable));
        assert_eq!(ContentDecoder::new(Some("gzip"), 100).push(b"not gzip at all"), Err(Undecodable));
    }

    #[test]
    fn a_flushed_piece_is_there_at_once() {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let mut decoder = ContentDecoder::new(Some("gzip"), 1000);
        for event in ["data: 1\n\n", "data: 2\n\n"] {
            encoder.write_all(event.as_bytes()).unwrap();
            encoder.flush().unwrap();
            assert_eq!(decoder.push(&std::mem::take(encoder.get_mut())).unwrap(), event.as_bytes());
        }
    }
}
