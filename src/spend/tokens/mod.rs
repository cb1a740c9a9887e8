//! LiteLLM's `token_counter` (litellm_core_utils/token_counter.py): what a call is billed by whose provider told no
//! usage. Pure and slow: counted in the io runtime, after the answer, and only where it is needed. It must never be
//! called on a request's path, and never hold a prompt longer than it counts.
mod bpe;
mod prompt;
mod vocabulary;

pub use prompt::{Prompt, is_countable, sent};
pub use vocabulary::Encoding;

/// tiktoken gets so many characters at a time (`TIKTOKEN_ENCODE_CHUNK_SIZE_CHARS`).
const CHUNK: usize = 1024;
/// A longer text is counted by samples (`TOKEN_COUNTER_MAX_EXACT_CHARS`).
const MOST_EXACT: usize = 4_000_000;
const SAMPLES: usize = 16;

impl Encoding {
    /// Tokens of a text.
    pub fn count(self, text: &str) -> u64 {
        self.sampled(text, MOST_EXACT)
    }

    /// Of a text of more than `most` characters only evenly spaced samples are counted.
    fn sampled(self, text: &str, most: usize) -> u64 {
        if text.len() <= most {
            return self.exactly(text);
        }
        let starts: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
        if starts.len() <= most {
            return self.exactly(text);
        }
        let each = most / SAMPLES;
        let last = starts.len() - each;
        let byte = |at: usize| starts.get(at).copied().unwrap_or(text.len());
        let sample = |index: usize| {
            let start = last * index / (SAMPLES - 1);
            self.exactly(text.get(byte(start)..byte(start + each)).unwrap_or_default())
        };
        let counted: u64 = (0..SAMPLES).map(sample).sum();
        (counted as f64 * starts.len() as f64 / (each * SAMPLES) as f64).round_ties_even() as u64
    }

    fn exactly(self, text: &str) -> u64 {
        let vocabulary = self.vocabulary();
        let count = match self {
            Encoding::Claude => {
                let (parts, added) = vocabulary::claude_parts(text);
                added + parts.iter().map(|part| vocabulary.count(part)).sum::<usize>()
            }
            Encoding::Cl100k | Encoding::O200k => chunks(text).map(|chunk| vocabulary.count(chunk)).sum(),
        };
        count as u64
    }
}

/// Pieces of [`CHUNK`] characters.
fn chunks(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(CHUNK).map_or(rest.len(), |(at, _)| at);
        let (chunk, after) = rest.split_at_checked(end)?;
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden() -> Value {
        serde_json::from_str(include_str!("../../../tests/golden/tokens/counts.json")).unwrap()
    }

    #[test]
    fn texts_are_counted_as_litellm_counts_them() {
        let golden = golden();
        let mut wrong = Vec::new();
        let texts = golden["texts"].as_array().unwrap();
        assert!(texts.len() > 700);
        for row in texts {
            let text = row[0].as_str().unwrap();
            for (at, encoding) in [Encoding::O200k, Encoding::Cl100k, Encoding::Claude].into_iter().enumerate() {
                let (ours, python) = (encoding.count(text), row[at + 1].as_u64().unwrap());
                if ours != python {
                    wrong.push(format!("{encoding:?} {ours}, LiteLLM {python}: {text:?}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    }

    #[test]
    fn prompts_are_counted_as_litellm_counts_them() {
        let golden = golden();
        let models: Vec<&str> = golden["models"].as_array().unwrap().iter().map(|m| m.as_str().unwrap()).collect();
        let mut wrong = Vec::new();
        for row in golden["messages"].as_array().unwrap() {
            let messages = row[0].to_string();
            assert!(is_countable(Some(messages.as_bytes())), "{messages}");
            for (at, model) in models.iter().enumerate() {
                let prompt = Prompt {
                    meter: crate::spend::Meter::EXACT,
                    encoding: Encoding::of(model).unwrap(),
                    roughly: false,
                };
                // what LiteLLM's counter refuses is billed as nothing
                let (ours, python) = (prompt.count(messages.as_bytes()), row[at + 1].as_u64().unwrap_or(0));
                if ours != python {
                    wrong.push(format!("{model} {ours}, LiteLLM {python}: {messages}"));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let unknown = [
            r#"[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://x/y.png","detail":"high"}}]}]"#,
            r#"[{"role":"user","content":[{"type":"file","file":{"file_data":"data:application/pdf;base64,AA=="}}]}]"#,
        ];
        assert!(unknown.iter().all(|messages| !is_countable(Some(messages.as_bytes()))));
    }

    #[test]
    fn models_have_litellms_encodings() {
        for (model, encoding) in [
            ("gpt-4o", Some(Encoding::O200k)),
            ("gpt-4", Some(Encoding::Cl100k)),
            ("my-model", Some(Encoding::Cl100k)),
            ("claude-sonnet-4-5-20250929", Some(Encoding::Claude)),
            ("claude-not-in-the-price-list", Some(Encoding::Cl100k)),
            ("meta-llama-3-8b", None),
            ("openai/gpt-4o", None),
        ] {
            assert_eq!(Encoding::of(model), encoding, "{model}");
        }
    }

    #[test]
    fn hostile_texts_are_bounded() {
        // one piece of a hundred thousand bytes: quadratic merging would take minutes
        assert!(Encoding::Claude.count(&"ab".repeat(50_000)) > 1000);
        for row in golden()["sampled"].as_array().unwrap() {
            let (text, python) = (row[0].as_str().unwrap(), row[1].as_u64().unwrap());
            assert_eq!(Encoding::Cl100k.sampled(text, 1600), python);
        }
    }
}
