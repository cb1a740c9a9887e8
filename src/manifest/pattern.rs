//! Path patterns: LiteLLM's own words (`{x}`, `{x:path}`) and the family `/*` of routes.toml. A pattern says what a
//! raw path is; it never decodes one.
use std::fmt;

/// One piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    /// these very characters
    Literal(String),
    /// `{x}`: one or more characters, none of them `/` (Starlette `[^/]+`)
    Segment(String),
    /// `{x:path}`: any characters, also none (Starlette `.*`)
    Path(String),
    /// the closing `/*`: nothing, or `/` and anything
    Family,
}

/// A compiled path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pub(super) pieces: Vec<Piece>,
}

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.starts_with('/') {
            return Err("a path starts with `/`".to_owned());
        }
        if text == "/*" {
            return Err("`/*` would be every path: an unlisted path is Python's already".to_owned());
        }
        if let Some(bad) = text.bytes().find(|byte| !byte.is_ascii_graphic() || b"%?#;\\".contains(byte)) {
            return Err(format!("`{}` cannot stand in a path pattern", char::from(bad).escape_default()));
        }
        let mut pieces = Vec::new();
        let (mut rest, family) = match text.strip_suffix("/*") {
            Some(rest) => (rest, true),
            None => (text, false),
        };
        if rest.contains('*') {
            return Err("`*` can only be the whole last segment: `/key/*`".to_owned());
        }
        if rest.contains("//") {
            return Err("a path with `//` is never matched".to_owned());
        }
        if rest.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err("a path with a dot segment is never matched".to_owned());
        }
        while let Some(open) = rest.find('{') {
            let (literal, tail) = rest.split_at(open);
            push_literal(&mut pieces, literal)?;
            let tail = tail.get(1..).unwrap_or_default();
            let Some((name, after)) = tail.split_once('}') else {
                return Err("`{` without `}`".to_owned());
            };
            let (name, path) = match name.split_once(':') {
                None => (name, false),
                Some((name, "path")) => (name, true),
                Some((_, other)) => return Err(format!("`:{other}` is unknown, only `:path` is")),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err("a variable needs a name of letters, digits and `_`".to_owned());
            }
            if matches!(pieces.last(), Some(Piece::Segment(_) | Piece::Path(_))) {
                return Err("two variables need something between them".to_owned());
            }
            // two of them could be matched in as many ways as a client likes
            if path && pieces.iter().any(|piece| matches!(piece, Piece::Path(_))) {
                return Err("only one `{x:path}` in a pattern".to_owned());
            }
            pieces.push(if path { Piece::Path(name.to_owned()) } else { Piece::Segment(name.to_owned()) });
            rest = after;
        }
        push_literal(&mut pieces, rest)?;
        if family {
            pieces.push(Piece::Family);
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path it stands for, where it stands for one only.
    pub fn exact(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether it ends in `/*`.
    pub fn is_family(&self) -> bool {
        matches!(self.pieces.last(), Some(Piece::Family))
    }

    /// The first segment where it is literal: the bucket of the matcher.
    pub(super) fn first_segment(&self) -> Option<&str> {
        let Some(Piece::Literal(text)) = self.pieces.first() else { return None };
        let inner = text.get(1..)?;
        match inner.split_once('/') {
            Some((segment, _)) => Some(segment),
            // `/key/*`: the literal ends where the segment does. `/a{x}`: it does not
            None => matches!(self.pieces.get(1), None | Some(Piece::Family)).then_some(inner),
        }
    }

    /// Whether the raw path is one of this pattern's.
    pub fn matches(&self, path: &str) -> bool {
        search(&self.pieces, path, &mut |_| {})
    }

    /// The variables' raw values, in order of the pattern; greedy as Starlette's expressions are.
    pub fn captures<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let mut values = Vec::new();
        // called innermost first
        if !search(&self.pieces, path, &mut |value| values.push(value)) {
            return None;
        }
        let names = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Segment(name) | Piece::Path(name) => Some(name.as_str()),
            _ => None,
        });
        Some(names.zip(values.into_iter().rev()).collect())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn push_literal(pieces: &mut Vec<Piece>, text: &str) -> Result<(), String> {
    if text.contains('}') {
        return Err("`}` without `{`".to_owned());
    }
    if !text.is_empty() {
        pieces.push(Piece::Literal(text.to_owned()));
    }
    Ok(())
}

/// Matches `pieces` against the whole of `path`. Variables are separated by literals, so each step looks for the next
/// literal from the right; patterns come from the operator's file and LiteLLM's table, never from a client.
fn search<'p>(pieces: &[Piece], path: &'p str, take: &mut dyn FnMut(&'p str)) -> bool {
    let Some((piece, rest)) = pieces.split_first() else { return path.is_empty() };
    match piece {
        Piece::Literal(text) => path.strip_prefix(text.as_str()).is_some_and(|path| search(rest, path, take)),
        Piece::Family => path.is_empty() || path.starts_with('/'),
        Piece::Segment(_) | Piece::Path(_) => {
            let segment = matches!(piece, Piece::Segment(_));
            let least = usize::from(segment);
            let most = if segment { path.find('/').unwrap_or(path.len()) } else { path.len() };
            // greedy: the longest value first
            let mut end = most;
            loop {
                if end < least {
                    return false;
                }
                if let Some((value, tail)) = path.split_at_checked(end) {
                    let plausible = match rest.first() {
                        Some(Piece::Literal(text)) => tail.starts_with(text.as_str()),
                        Some(_) => true,
                        None => tail.is_empty(),
                    };
                    if plausible && search(rest, tail, take) {
                        take(value);
                        return true;
                    }
                }
                match end.checked_sub(1) {
                    Some(less) => end = less,
                    None => return false,
                }
            }
        }
    }
}

/// Whether a raw path can be matched natively at all: only plain visible ASCII, where no two implementations can
/// disagree about decoding, and no empty or dot segments.
pub fn is_plain(path: &str) -> bool {
    let mut previous = 0u8;
    // characters since the last `/`, and whether all of them are dots
    let (mut length, mut dots) = (0usize, true);
    for byte in path.bytes() {
        if !byte.is_ascii_graphic() || matches!(byte, b'%' | b';' | b'\\' | b'?' | b'#') {
            return false;
        }
        if byte == b'/' {
            if previous == b'/' || (dots && (1..=2).contains(&length)) {
                return false;
            }
            (length, dots) = (0, true);
        } else {
            length += 1;
            dots &= byte == b'.';
        }
        previous = byte;
    }
    path.starts_with('/') && !(dots && (1..=2).contains(&length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_starlette_does() {
        let cases = [
            ("/v1/models", "/v1/models", true),
            ("/v1/models", "/v1/models/", false),
            ("/v1/models", "/v1/model", false),
            ("/models/{model_id}", "/models/a", true),
            ("/models/{model_id}", "/models/", false),
            ("/models/{model_id}", "/models/a/b", false),
            ("/engines/{model:path}/chat/completions", "/engines/a/b/chat/completions", true),
            ("/engines/{model:path}/chat/completions", "/engines/chat/completions", false),
            ("/engines/{model:path}/chat/completions", "/engines/a/chat/completions/", false),
            ("/engines/{model:path}/chat/completions", "/engines/a/chat/completions/chat/completions", true),
            ("/models/{m:path}:generateContent", "/models/a/b:generateContent", true),
            ("/key/*", "/key", true),
            ("/key/*", "/key/", true),
            ("/key/*", "/key/a/b", true),
            ("/key/*", "/keys", false),
            ("/{provider}/v1/files/*", "/azure/v1/files/x", true),
            ("/{provider}/v1/files/*", "/azure/v1/file", false),
        ];
        for (pattern, path, matches) in cases {
            assert_eq!(Pattern::parse(pattern).unwrap().matches(path), matches, "{pattern} {path}");
        }
    }

    #[test]
    fn variables_are_greedy_and_raw() {
        let pattern = Pattern::parse("/a/{x:path}/b/{y}").unwrap();
        assert_eq!(pattern.captures("/a/1/b/2/b/3").unwrap(), [("x", "1/b/2"), ("y", "3")]);
        assert_eq!(pattern.captures("/a/1/b/"), None);
    }

    #[test]
    fn tricky_paths_are_not_plain() {
        for path in ["/v1/models", "/engines/gpt-4.1/x", "/a/...", "/a/.b", "/a/b.", "/"] {
            assert!(is_plain(path), "{path}");
        }
        for path in [
            "", "*", "a", "/a%2Fb", "//a", "/a//b", "/a;b", "/a\\b", "/a/./b", "/a/../b", "/a/..", "/.", "/a b", "/é",
            "/a\u{7f}", "/a?b", "/a#", "/a/\n",
        ] {
            assert!(!is_plain(path), "{path:?}");
        }
    }

    #[test]
    fn bad_patterns_say_why() {
        for (text, why) in [
            ("v1", "starts with"),
            ("/*", "every path"),
            ("/a*b", "whole last segment"),
            ("/a/*/b", "whole last segment"),
            ("/{x", "without"),
            ("/x}", "without"),
            ("/{x:int}", "`:int` is unknown"),
            ("/{}", "name"),
            ("/{a}{b}", "between"),
            ("/{a:path}/{b:path}", "only one"),
            ("/a%20", "`%`"),
            ("/a//b", "`//`"),
            ("/a/../b", "dot segment"),
        ] {
            let error = Pattern::parse(text).unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
