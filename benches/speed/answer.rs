//! One HTTP/1.1 answer, taken apart as its bytes come in. It does no I/O, so the client of free-running connections and
//! the one of a fixed rate share it. It never guesses: an answer without a length, or with bytes after it, is an error.

/// Reads one answer after the other from one connection.
#[derive(Default)]
pub(crate) struct Answer {
    input: Vec<u8>,
    at: usize,
    state: State,
    body: Vec<u8>,
}

#[derive(Default, Clone, Copy, PartialEq)]
enum State {
    #[default]
    Head,
    /// bytes of the body that are still to come
    Length(usize),
    ChunkSize,
    /// bytes of this chunk that are still to come
    Chunk(usize),
    ChunkEnd,
    Trailers,
    Whole,
}

impl Answer {
    /// Forgets the last answer and keeps the memory.
    pub(crate) fn clear(&mut self) {
        self.input.clear();
        self.body.clear();
        (self.at, self.state) = (0, State::Head);
    }

    /// Where the next bytes of the connection are to be appended.
    pub(crate) fn input(&mut self) -> &mut Vec<u8> {
        &mut self.input
    }

    /// The body as far as it is there, chunks taken out.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// True once the answer is whole. A status other than 200 is an error: it must never count as a fast answer.
    pub(crate) fn advance(&mut self) -> Result<bool, String> {
        loop {
            let rest = &self.input[self.at..];
            self.state = match self.state {
                State::Head => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n\r\n") else { return Ok(false) };
                    let head = &rest[..end];
                    if !head.starts_with(b"HTTP/1.1 200 ") {
                        return Err(excerpt(rest));
                    }
                    self.at += end + 4;
                    framing(head).ok_or_else(|| format!("neither length nor chunks: {}", excerpt(head)))?
                }
                State::Length(left) => match self.take(left) {
                    0 => State::Whole,
                    left => return self.waits(State::Length(left)),
                },
                State::ChunkSize => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return Ok(false) };
                    let size = rest[..end].split(|byte| *byte == b';').next().unwrap_or_default();
                    let size = std::str::from_utf8(size).ok().and_then(|size| usize::from_str_radix(size, 16).ok());
                    self.at += end + 2;
                    match size.ok_or("a chunk without a size")? {
                        0 => State::Trailers,
                        size => State::Chunk(size),
                    }
                }
                State::Chunk(left) => match self.take(left) {
                    0 => State::ChunkEnd,
                    left => return self.waits(State::Chunk(left)),
                },
                State::ChunkEnd => match rest {
                    [b'\r', b'\n', ..] => {
                        self.at += 2;
                        State::ChunkSize
                    }
                    [] | [b'\r'] => return Ok(false),
                    _ => return Err("a chunk longer than its size".into()),
                },
                State::Trailers => {
                    let Some(end) = memchr::memmem::find(rest, b"\r\n") else { return Ok(false) };
                    self.at += end + 2;
                    if end == 0 { State::Whole } else { State::Trailers }
                }
                State::Whole if rest.is_empty() => return Ok(true),
                State::Whole => return Err("bytes after the end of the answer".into()),
            };
        }
    }

    fn waits(&mut self, state: State) -> Result<bool, String> {
        self.state = state;
        Ok(false)
    }

    /// Moves up to `wanted` bytes of the input into the body; what is still missing.
    fn take(&mut self, wanted: usize) -> usize {
        let rest = &self.input[self.at..];
        let taken = wanted.min(rest.len());
        self.body.extend_from_slice(&rest[..taken]);
        self.at += taken;
        wanted - taken
    }
}

fn framing(head: &[u8]) -> Option<State> {
    if header(head, "transfer-encoding").is_some_and(|value| value.eq_ignore_ascii_case("chunked")) {
        return Some(State::ChunkSize);
    }
    header(head, "content-length")?.parse().ok().map(State::Length)
}

/// The value of a header; `head` without its empty line.
pub(crate) fn header<'a>(head: &'a [u8], wanted: &str) -> Option<&'a str> {
    head.split(|byte| *byte == b'\n').find_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case(wanted).then(|| value.trim())
    })
}

/// Enough of an unexpected answer to see what went wrong.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(400)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the bytes in pieces of `size`.
    fn read(bytes: &[u8], size: usize) -> Result<(bool, String), String> {
        let mut answer = Answer::default();
        let mut whole = false;
        for piece in bytes.chunks(size) {
            answer.input().extend_from_slice(piece);
            whole = answer.advance()?;
        }
        Ok((whole, String::from_utf8_lossy(answer.body()).into_owned()))
    }

    #[test]
    fn an_answer_is_whole_however_it_is_cut() {
        let by_length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
        let chunked =
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\nt: 1\r\n\r\n";
        for size in 1..60 {
            assert_eq!(read(by_length, size), Ok((true, "hello".into())), "{size}");
            assert_eq!(read(chunked, size), Ok((true, "hello".into())), "{size}");
        }
        assert_eq!(read(&chunked[..chunked.len() - 2], 7), Ok((false, "hello".into())));
    }

    #[test]
    fn errors_and_bad_framing_are_no_answers() {
        assert!(read(b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n", 99).is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\n\r\nhello", 99).is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nhello", 99).is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nhello\r\n", 99).is_err());
        assert!(read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 99).is_err());
    }
}
