"""The ways of writing a path that two readers may read differently. Pure; only the standard library.

`targets(patterns, native)` gives request targets as bytes: every route of LiteLLM x every trick. `patterns` are
LiteLLM's own (`/engines/{model:path}/chat/completions`), `native` the paths the edge may serve itself.
"""
import re

VARIABLE = re.compile(r"\{[^{}]*\}")
HOST = "gateway.parity"

# what stands in for a slash
SLASHES = ["//", "/./", "/x/../", "/%2e/", "/%2E%2e/", "%2f", "%2F", "%5c", "\\", "/\\", ";/", "/;x/", "%252f", "%c0%af", "/%00/", "/%20/"]
# what may follow a path
TAILS = [
    "/", "//", "/.", "/..", "/./", "/../", "/x/..", "/%2e", "/%2e%2e", "/%2e%2e/x", "/..;/", "/;", "/%00", "/x",
    ";", ";x", ";a=b", "%3b", "%3Bx", "%00", "%0a", "%0d%0a", "%20", "%09", "+", "%2b", ".", "..", ".json", ":", ":x", "~", ",", "&a=b",
    "%2f", "%2F", "%5c", "\\", "%", "%zz", "%2", "%u0041", "%c0%ae", "%c0%af", "%e0%80%af", "%ff", "%ef%bc%8f", "%e2%80%8b", "%cc%81", "%25", "%2500",
    "?", "?x", "?a=b#c", "?/../x", "??", "%3f", "%3Fx", "#", "#x", "#/../x", "%23", "|", "^", "`", '"', "<", "{", "}", "[", "@x", "*", "(", "'", "!", "$", "=",
]
# what may stand before it
HEADS = ["/", "/.", "/..", "/x/..", "/%2e", "/%2e%2e", "/\\", "\\", "/;", "/;x", "/%2f", "/%5c", "/%00", "/litellm", "/v1", "/V1", "/*", "*", ".", "x", "%2f",
         "//" + HOST, "http://" + HOST, "HTTP://" + HOST, "https://user@" + HOST + ":4000", "http:", "http:/", "http://", "ws://" + HOST]


def every(text, old, new):
    """`text` with `old` replaced at one place each, and at all of them."""
    found = [i for i in range(len(text)) if text.startswith(old, i)]
    out = [text[:i] + new + text[i + len(old):] for i in found]
    return out + ([text.replace(old, new)] if len(found) > 1 else [])


def spellings(path):
    """Other spellings of the same letters: case, escapes, double escapes, letters that fold to ASCII."""
    letters = [i for i, c in enumerate(path) if c.isalpha() and (i == 0 or path[i - 1] != "%")]
    out = [path.upper(), path.title(), path.swapcase(), "".join("%%%02x" % ord(c) for c in path), "/" + "".join("%%%02X" % ord(c) for c in path[1:])]
    for i in [letters[0], letters[len(letters) // 2], letters[-1]] if letters else []:
        c = path[i]
        forms = [c.upper(), "%%%02x" % ord(c), "%%%02X" % ord(c.upper()), "%%25%02x" % ord(c), "%c1%" + "%02x" % (0x80 | ord(c) & 0x3F), "%ef%bd%" + "%02x" % (0x81 + ord(c.lower()) - 97), chr(ord(c) | 0x80)]
        out += [path[:i] + form + path[i + 1:] for form in forms]
    out += every(path, "s", "%c5%bf") + every(path, "k", "%e2%84%aa") + every(path, "_", "-") + every(path, "-", "_")
    return out + every(path, ".", "%2e") + every(path, "-", "%2d") + every(path, "_", "%5f")


def tricks(path):
    """The path itself and every trick on it."""
    out = [path] + [path + tail for tail in TAILS] + [head + path for head in HEADS] + [path[1:]] + spellings(path)
    for slash in SLASHES:
        out += every(path, "/", slash)
    return out


def concrete(pattern, native):
    """Paths of a pattern: its variables as plain words, and as parts of native paths."""
    values = ["a", "v1", "chat"]
    if ":path}" in pattern:
        values += ["a/b"] + [path[1:] for path in native if "{" not in path]
        values += ["deployments/a/chat/completions", "a/chat/completions", "x/v1/messages"]
    return [VARIABLE.sub(lambda _: value, pattern) for value in values] if "{" in pattern else [pattern]


def targets(patterns, native):
    """All targets, each once, as bytes."""
    seen = {}
    paths = []
    for pattern in patterns:
        found = concrete(pattern, native)
        paths += found[:1]
        for path in found[1:]:
            seen[path] = None
        for path in tricks(found[0]):
            seen[path] = None
    for pattern in native:
        for value in ["gpt-4o", "a/b", "a%2Fb", "a%2f..%2fb", "..", ".", "", "%00", "a;b", "chat/completions", "é", "a//b", "a b"] if "{" in pattern else [""]:
            for path in tricks(VARIABLE.sub(lambda _: value, pattern)):
                seen[path] = None
        # every route of LiteLLM as the variable of a native one, before it and behind it
        for path in paths:
            if "{" in pattern:
                seen[VARIABLE.sub(lambda _: path[1:], pattern)] = None
                seen[VARIABLE.sub(lambda _: "x" + path, pattern)] = None
            else:
                seen[path + pattern] = None
                seen[pattern + path] = None
    for text in ["", "/", "*", "//", "/?", "/#", "/edge", "/edge/ready"]:
        seen[text] = None
    return [text.encode("latin-1") for text in seen]
