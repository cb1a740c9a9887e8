"""Writes the golden files beside this script: snippets as PyYAML 6 loads them (`yaml.safe_load`).

Run with a Python that has PyYAML: python tests/yaml/generate.py
"""

import datetime
import json
import math
import pathlib

import yaml

HERE = pathlib.Path(__file__).parent
SNIPPETS = {
    "booleans": "a: yes\nb: No\nc: ON\nd: off\ne: True\nf: FALSE\ng: y\nh: n\ni: yEs\nj: oN\nk: 'yes'\nl: \"on\"\n",
    "nulls": "a: ~\nb: null\nc: Null\nd: NULL\ne:\nf: nULL\ng: ''\nh: none\n- : x\n",
    "null_values": "a: ~\nb: null\nc: Null\nd: NULL\ne:\nf: nULL\ng: ''\nh: none\n",
    "ints": "- 0\n- 010\n- 08\n- 0o10\n- 0x1F\n- 0b101\n- 1_000\n- -12\n- +7\n- 0_\n- 00\n- 9223372036854775808\n- -0x10\n- 1__2\n- _1\n",
    "huge_int": "a: 0xffffffffffffffffffff\nb: 123456789012345678901234567890\n",
    "sexagesimal": "a: 1:30\nb: 1:60\nc: 190:20:30\nd: 190:20:30.15\ne: -1:30\nf: 0:30\ng: 1:5\nh: 12:34:56.\n",
    "floats": "- 1e3\n- 1.0e3\n- 1.0e+3\n- 1.5\n- .5\n- +.5\n- 5.\n- 1_0.5\n- .inf\n- -.Inf\n- 1e-6\n- 1.e+3\n- 0.1e-5\n- 1.2.3\n- '.5'\n- -.5\n- .5e+2\n- .e3\n- 6.02E+23\n- 0.0000025\n",
    "timestamps": "a: 2024-01-02\nb: 2024-01-02T03:04:05Z\nc: 2024-1-2\nd: 2024-01-02 03:04:05.678 +01:30\ne: 2001-12-14t21:59:43.10-05:00\nf: '2024-01-02'\ng: 2024-01-02 3:04:05\n",
    "bad_date": "a: 2024-13-45\n",
    "bad_binary_int": "a: 0b_\n",
    "strings": "a: plain text\nb: 'it''s'\nc: \"tab\\tnew\\nline \\u00e9 \\x41\"\nd: text # comment\ne: text#no comment\nf: a:b\ng: http://x/y?z=1\n",
    "folded": "a: >\n  one\n  two\n\n  three\nb: |\n  one\n    two\nc: |-\n  end\nd: >+\n  keep\n\ne: x\n",
    "multiline_plain": "a: one\n  two\n\n  three\nb: 'x\n  y'\n",
    "flow": "a: {b: 1, c: [1, two, {d: e}], }\nf: [a, b, ]\ng: {}\nh: []\ni: {a, b: }\n",
    "flow_urls": "a: [http://x/y, 'b']\nb: {u: http://x:80/y}\n",
    "flow_tight": "a: {\"b\":1}\n",
    "flow_colon": "a: {b:1}\n",
    "anchors": "a: &x {k: 1}\nb: *x\nc: [*x, *x]\n",
    "anchor_scalar": "a: &n 5\nb: *n\n",
    "merge": "base: &b {x: 1, y: 2}\nd:\n  <<: *b\n  y: 3\n  z: 4\n",
    "merge_order": "base: &b {x: 1, y: 2}\nd:\n  y: 3\n  <<: *b\n  z: 4\n",
    "merge_list": "a: &a {x: 1, y: 1}\nb: &b {y: 2, z: 2}\nd:\n  <<: [*a, *b]\n  w: 0\n",
    "merge_nested": "a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, z: 3}\n",
    "merge_twice": "a: &a {x: 1}\nb: &b {y: 2}\nc:\n  <<: *a\n  <<: *b\n",
    "merge_scalar": "d:\n  <<: 5\n",
    "merge_quoted": "d:\n  '<<': {a: 1}\n",
    "merge_value": "a: <<\n",
    "equals_value": "a: =\n",
    "equals_key": "=: 1\n",
    "duplicates": "a: 1\nb: 2\na: 3\n",
    "duplicate_numbers": "1: a\n1.0: b\ntrue: c\n",
    "duplicate_sections": "model_list:\n- a\nmodel_list:\n- b\n",
    "keys": "1: a\ntrue: b\nnull: c\n1.5: d\n2024-01-02: e\n? f\n: g\n",
    "complex_key": "? [a, b]\n: c\n",
    "map_key": "? {a: 1}\n: c\n",
    "tags": "a: !!str 12\nb: !!int '12'\nc: !!float 1\nd: !!bool 'yes'\ne: !!null x\nf: !!seq [1]\ng: !!map {a: 1}\nh: ! 12\ni: ! '12'\n",
    "tag_wrong_kind": "a: !!str [x]\n",
    "tag_python": "a: !!python/object:os.system {}\n",
    "tag_custom": "a: !env X\n",
    "tag_bad_bool": "a: !!bool maybe\n",
    "tag_bad_int": "a: !!int abc\n",
    "two_documents": "a: 1\n---\nb: 2\n",
    "document_markers": "---\na: 1\n...\n",
    "directive": "%YAML 1.1\n---\na: 1\n",
    "empty": "",
    "comment_only": "# nothing\n",
    "scalar_document": "just text\n",
    "list_document": "- 1\n- 2\n",
    "tab_indent": "a:\n\tb: 1\n",
    "tab_after_colon": "a:\t1\nb: x\ty\n",
    "tab_in_plain": "b: x\ty\n",
    "tab_in_quotes": "b: \"x\ty\"\nc: 'x\ty'\nd: |\n  x\ty\n",
    "tab_in_comment": "a: 1 # x\ty\n#\t\nb: 2\n",
    "tab_before_comment": "a: 1\t# x\n",
    "tab_only_line": "a: 1\n\t\nb: 2\n",
    "tab_after_quoted": "a: 'x'\t\nb: 2\n",
    "tab_dash": "-\ta\n- b\n",
    "bom": "\ufeffa: 1\n",
    "crlf": "a: 1\r\nb: |\r\n  x\r\n  y\r\n",
    "lone_cr": "a: 1\rb: 2\r",
    "control_character": "a: \"x\u0001y\"\n",
    "nel": "a: x\u0085b: y\n",
    "emoji": "a: \U0001f600\nb: \"\\U0001F600\"\n",
    "indented_list": "a:\n- 1\n- 2\nb:\n  - 3\n",
    "nested_dash": "- - 1\n  - 2\n- a: 1\n  b: 2\n-\n  c: 3\n",
    "undefined_alias": "a: *x\n",
    "duplicate_anchor": "a: &x 1\nb: &x 2\nc: *x\n",
    "bad_indent": "a: 1\n b: 2\n",
    "unclosed": "a: [1, 2\n",
    "unclosed_quote": "a: 'x\n",
    "colon_space": "a: b: c\n",
    "at_sign": "a: @x\n",
    "backtick": "a: `x`\n",
    "percent": "a: %x\n",
    "star_name": "model_name: \"*\"\nx: '*'\n",
    "bare_star": "model_name: *\n",
    "question": "a: ?x\nb: -x\nc: :x\n",
    "hash_in_key": "a#b: 1\n'c #d': 2\n",
    "long_key": "%s: 1\n" % ("k" * 1100),
    "env_reference": "api_key: os.environ/OPENAI_API_KEY\n",
    "secret_like": "k: 1234e5678\nk2: 0123456789\nk3: 12e03\nk4: 1_2_3\nk5: 0777\nk6: 1.2e34\n",
    "set": "a: !!set {x, y}\nb: 1\n",
    "binary": "a: !!binary aGVsbG8=\nb: 1\n",
    "explicit_indent": "a: |2\n    x\n   y\n",
    "empty_flow_entry": "a: [1, , 2]\n",
    "quoted_escapes": "a: \"\\a\\b\\e\\0\\\\ \\/ \\_ \\N \\L\"\n",
    "quoted_bad_escape": "a: \"\\q\"\n",
    "multiline_quoted": "a: \"one\n  two \\\n  three\"\n",
    "key_no_space": "a:1\nb:2\n",
    "dash_in_flow": "a: [-1, - 2]\n",
    "document_end_extra": "a: 1\n... \n# c\n",
}


def plain(value):
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, (datetime.date, datetime.datetime)):
        return str(value)
    if isinstance(value, (set, bytes)):
        return None
    return value


def main():
    for old in HERE.glob("*.yaml"):
        old.unlink()
    for old in HERE.glob("*.json"):
        old.unlink()
    for name, text in SNIPPETS.items():
        # newlines as they are: LiteLLM opens the file in text mode, so they are translated before PyYAML sees them
        (HERE / f"{name}.yaml").write_bytes(text.encode())
        with open(HERE / f"{name}.yaml") as file:
            try:
                golden = {"value": plain(yaml.safe_load(file))}
            except Exception:
                golden = {"error": True}
        (HERE / f"{name}.json").write_text(json.dumps(golden, indent=1) + "\n")
    print(len(SNIPPETS), "snippets")


main()
