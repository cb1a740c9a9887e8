"""LiteLLM's tokenizers as data for src/spend/tokens, and golden counts of its own `token_counter`.

    LITELLM_LOCAL_MODEL_COST_MAP=True <python with litellm> parity-tests/tools/golden_tokens.py

Writes data/tokenizers/ (vocabularies out of the files LiteLLM ships, and which model names have which) and
tests/golden/tokens/counts.json. Run it again after a new LiteLLM.
"""
import base64
import gzip
import json
import pathlib
import random
import struct

import litellm
from litellm.litellm_core_utils import token_counter as counter
from litellm.utils import huggingface_tokenizer_kind

root = pathlib.Path(__file__).resolve().parents[2]
shipped = pathlib.Path(counter.__file__).parent / "tokenizers"
data = root / "data" / "tokenizers"
golden = root / "tests" / "golden" / "tokens"
data.mkdir(parents=True, exist_ok=True)
golden.mkdir(parents=True, exist_ok=True)


def pack(name, raw):
    (data / name).write_bytes(gzip.compress(raw, 9, mtime=0))


# tiktoken: the bytes of each token in the order of their ranks, each behind its length
for name, file in {
    "cl100k_base": "9b5ad71b2ce5302211f9c61530b329a4922fc6a4",
    "o200k_base": "fb374d419588a4632f3f557e76b4b70aebbca790",
}.items():
    out = bytearray()
    for rank, line in enumerate((shipped / file).read_bytes().splitlines()):
        token, number = line.split()
        token = base64.b64decode(token)
        assert int(number) == rank and len(token) < 256
        out += bytes([len(token)]) + token
    pack(f"{name}.bin.gz", bytes(out))

# Anthropic's: the merges in order; a token is 0..255 for a byte, 256 + n for what merge n made
tokenizer = json.loads((shipped / "anthropic_tokenizer.json").read_text())
assert tokenizer["normalizer"] == {"type": "NFKC"} and tokenizer["pre_tokenizer"]["type"] == "ByteLevel"
assert [token["content"] for token in tokenizer["added_tokens"]] == ["<EOT>", "<META>", "<META_START>", "<META_END>", "<SOS>"]
printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
shown = {byte: chr(byte) for byte in printable}
shown |= {byte: chr(256 + at) for at, byte in enumerate(byte for byte in range(256) if byte not in shown)}
ids = {text: byte for byte, text in shown.items()}
out = bytearray()
for at, merge in enumerate(tokenizer["model"]["merges"]):
    left, right = merge.split(" ")
    out += struct.pack("<HH", ids[left], ids[right])
    assert left + right not in ids
    ids[left + right] = 256 + at
pack("claude.bin.gz", bytes(out))

# which name has which; names that are not here have cl100k_base. null: not counted here
names = {}
for name in sorted(set(litellm.open_ai_chat_completion_models) | set(litellm.azure_llms) | set(litellm.anthropic_models)
                   | set(litellm.cohere_models)):
    kind = huggingface_tokenizer_kind(name)
    if kind is None:
        kind = None if counter.uses_legacy_message_accounting(name) else counter.openai_tokenizer_encoding_name(name)
    else:
        kind = "claude" if kind == "anthropic" else None
    if kind not in ("claude", "o200k_base", "cl100k_base"):
        kind = None
    if kind != "cl100k_base":
        names[name] = kind
(data / "models.json").write_text(json.dumps(names, indent=0) + "\n")

# golden counts
rng = random.Random(7)
alphabets = [
    "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789", " \t\n\r", " ", "\n", "'.,;:!?-_/\\\"#$%&()[]{}<>=+*@^`|~",
    "éüñçßøåæœ", "漢字仮名交じり文한국어", "абвгд", "🙂🚀👩‍💻🇩🇪", "\u200b\u00a0\u2028\u0301\u0345", "ﬁ①²㌔Å", "'s't're've'm'll'd'S'LL",
    "\x00\x07\x7f\x85\x1c", "अआइ",
]
texts = ["", "a", "Hello, world!", "a prompt of the suite", "  leading", "trailing  ", "\n\n\n", " \n x \n\n  y", "I'm sure they'll've 'S it's",
         "0123456789", "3.14159 1,000,000", "<|endoftext|>", "<EOT>x<META>y<META_START><SOS", "naïve café", "ﬁne ① ㌔", "a" * 3000,
         " " * 3000, "ab" * 2000, "🙂" * 600, "=" * 2500, "def f(x):\n    return x\n" * 60, "漢字" * 700, "\r\n\r\n\r\n" * 300,
         "The quick brown fox jumps over the lazy dog. " * 120, "camelCaseWordsHTTPServerID" * 10, "HELLO World hELLO", "x/\n/y//\r\n",
         "{\"a\": [1, 2, {\"b\": \"c\"}]}", "Ünïcödé ẞharp", "e\u0301", "\u1e9b\u0323"]
for _ in range(700):
    parts = []
    for _ in range(rng.randint(1, 12)):
        alphabet = rng.choice(alphabets)
        parts.append("".join(rng.choice(alphabet) for _ in range(rng.choice([1, 1, 2, 3, 5, 8, 20]))))
    texts.append("".join(parts))
for _ in range(6):
    texts.append("".join(rng.choice(rng.choice(alphabets)) for _ in range(1500)))
models = ["gpt-4o", "gpt-4", "claude-sonnet-4-5-20250929", "my-model"]
counts = {"texts": [[text, *(litellm.token_counter(model=m, text=text) for m in models[:3])] for text in texts]}

picture = "data:image/png;base64,iVBORw0KGgo="
lists = [
    [], [{"role": "user", "content": "a prompt of the suite"}], [{"role": "user", "content": None}],
    [{"role": "system", "content": "be brief"}, {"role": "user", "name": "ann", "content": "hi"}],
    [{"role": "user", "content": [{"type": "text", "text": "what is this?"}, {"type": "image_url", "image_url": {"url": picture}}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": picture}, "bare text"]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture, "detail": "low"}}]}],
    [{"role": "user", "content": [{"type": "text"}, {"type": "text", "text": 5}]}],
    [{"role": "assistant", "content": None, "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{\"a\": 1}"}}]},
     {"role": "tool", "tool_call_id": "call_1", "content": "done"}],
    [{"role": "assistant", "content": "", "tool_calls": [{"id": "c", "type": "function", "function": {"name": "f"}}]}],
    [{"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}"}}],
    [{"role": "developer", "content": "rules"}, {"role": "user", "content": "go", "extra": "more text", "number": 5, "list": ["x"]}],
    [{"role": "user", "content": 5}], [{"role": "user", "content": {"a": "b"}}], [{"role": "user", "content": []}],
    [{"role": "user", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}],
    [{"role": "assistant", "content": "x", "reasoning_content": "thought", "refusal": "no", "audio": {"id": "a"}}],
    # refused by LiteLLM's counter
    [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA==", "format": "wav"}}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "", "detail": "low"}}]}],
    [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": picture, "detail": "odd"}}]}],
    [{"role": "user", "content": [{"text": "no type"}]}], [{"role": "user", "content": [7]}],
    [{"role": "assistant", "content": "", "tool_calls": [{"id": "c"}]}], [{"role": "assistant", "content": "", "tool_calls": "x"}],
]


def attempt(model, messages):
    try:
        return litellm.token_counter(model=model, messages=messages)
    except Exception:
        return None


counts["messages"] = [[messages, *(attempt(model, messages) for model in models)] for messages in lists]
counts["models"] = models
# texts that are too long to count, with a bound of 1600 characters
sampled = counter._get_extrapolating_count_function(counter._get_exact_count_function("gpt-4"), 1600)
counts["sampled"] = [[text, sampled(text)] for text in (
    "".join(rng.choice(rng.choice(alphabets[:8])) for _ in range(length)) for length in (1600, 1601, 2500, 7777))]
(golden / "counts.json").write_text(json.dumps(counts, indent=None, separators=(",", ":")) + "\n")
print(len(texts), "texts", len(lists), "lists", len(names), "names")
