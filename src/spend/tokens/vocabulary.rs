//! LiteLLM's vocabularies and how a text is cut before pairs are merged. Unpacked when first counted with, in the io
//! runtime; the data is made by `parity-tests/tools/golden_tokens.py` out of the files LiteLLM ships.
use std::{
    borrow::Cow,
    collections::HashMap,
    io::Read,
    sync::{LazyLock, OnceLock},
};

use regex::Regex;
use unicode_normalization::UnicodeNormalization;

use super::bpe::Merges;

/// What a text is counted with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Encoding {
    Cl100k,
    O200k,
    Claude,
}

/// A vocabulary, ready to count.
pub(super) struct Vocabulary {
    pub merges: Merges,
    /// cuts a text into pieces; a run of whitespace is what its last alternative matches
    pub pieces: Regex,
}

// tiktoken's patterns without their look-ahead `\s+(?!\S)`: `pieces` in bpe.rs does what that does
const CL100K: &str =
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+";
const O200K: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|",
    r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+",
);
const CLAUDE: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";

/// Tokens of Anthropic's vocabulary that are found before anything else.
const CLAUDE_ADDED: &str = "<EOT>|<META>|<META_START>|<META_END>|<SOS>";

/// Model names with another vocabulary than cl100k_base; null: one that is not here.
static MODELS: LazyLock<HashMap<String, Option<String>>> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../data/tokenizers/models.json")).unwrap_or_default());

impl Encoding {
    /// The one LiteLLM counts with for a model named so (litellm_core_utils/token_counter.py `_get_exact_count_function`,
    /// utils.py `_select_tokenizer`). `None`: one that it would download, or a count by other rules.
    pub fn of(model: &str) -> Option<Self> {
        let lower = model.to_lowercase();
        if ["llama-2", "replicate", "llama-3"].iter().any(|part| lower.contains(part)) {
            return None;
        }
        match MODELS.get(model) {
            Some(Some(name)) if name == "o200k_base" => Some(Encoding::O200k),
            Some(Some(name)) if name == "claude" => Some(Encoding::Claude),
            Some(_) => None,
            // LiteLLM adds the names of deployments with prices of their own to its lists
            None if model.contains('/') => None,
            None => Some(Encoding::Cl100k),
        }
    }

    /// Loaded when it is first asked for.
    pub(super) fn vocabulary(self) -> &'static Vocabulary {
        static LOADED: [OnceLock<Vocabulary>; 3] = [const { OnceLock::new() }; 3];
        let [cl100k, o200k, claude] = &LOADED;
        match self {
            Encoding::Cl100k => cl100k.get_or_init(|| {
                let data = include_bytes!("../../../data/tokenizers/cl100k_base.bin.gz");
                Vocabulary { merges: Merges::ranked(&unpack(data)), pieces: pattern(CL100K) }
            }),
            Encoding::O200k => o200k.get_or_init(|| {
                let data = include_bytes!("../../../data/tokenizers/o200k_base.bin.gz");
                Vocabulary { merges: Merges::ranked(&unpack(data)), pieces: pattern(O200K) }
            }),
            Encoding::Claude => claude.get_or_init(|| {
                let data = include_bytes!("../../../data/tokenizers/claude.bin.gz");
                Vocabulary { merges: Merges::paired(&unpack(data)), pieces: pattern(CLAUDE) }
            }),
        }
    }
}

/// The texts between Anthropic's added tokens, normalised, and how many of those there were.
pub(super) fn claude_parts(text: &str) -> (Vec<Cow<'_, str>>, usize) {
    static ADDED: LazyLock<Regex> = LazyLock::new(|| pattern(CLAUDE_ADDED));
    let parts = ADDED.split(text).filter(|part| !part.is_empty());
    let parts =
        parts.map(|part| if part.is_ascii() { Cow::Borrowed(part) } else { part.nfkc().collect::<String>().into() });
    (parts.collect(), ADDED.find_iter(text).count())
}

/// The patterns are constants, and compile: a test loads each.
fn pattern(text: &str) -> Regex {
    Regex::new(text).unwrap_or_else(|error| unreachable!("{error}"))
}

fn unpack(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    // data of this build: a test counts with each
    let _ = flate2::read::GzDecoder::new(data).read_to_end(&mut out);
    out
}
