"""Sends the same bytes straight to the Python gateway and through an edge in front of the very same gateway, and says
where the answers differ. Only the standard library.

A difference is one that Python does not have with itself: the request goes to Python, to the edge, and where these two
differ once more to Python. An edge that answers like either of Python's answers is right (a second "create" answers
otherwise than the first). Status, the set of headers with their values, and the body's tree are compared; ids, clocks
and measured times are renamed first, status and error type, param and code never are.
"""
import asyncio
import collections
import json
import os
import pathlib
import re
import socket
import subprocess
import time
import urllib.parse

import fuzz_both

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = ROOT / "parity-tests/config.yaml"
HOST = "gateway.parity"
ISO = re.compile(r"20[2-9]\d-[01]\d-[0-3]\d[T ][0-2]\d:[0-5]\d:[0-5]\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?")
DAY = re.compile(r"\b20[2-9]\d-[01]\d-[0-3]\d\b")
# ids and keys that LiteLLM makes up: a known prefix and a long tail with a digit
MADE_UP = re.compile(r"\b(sk-|chatcmpl-|resp_|call_|lens-trace-|batch_|file-|cmpl-|msg_)(?=[\w-]*\d)[\w-]{12,}")
HEX = re.compile(r"\b[0-9a-f]{64}\b|\b[0-9a-f]{32}\b")
CLOCK = re.compile(r"(?<!\d)1[789]\d{8}(\.\d+)?(?!\d)")  # seconds since 1970, this decade
EPHEMERAL = re.compile(r"127\.0\.0\.1:\d{4,5}")
# the hop's own; x-litellm-edge is looked at separately
VOLATILE = fuzz_both.VOLATILE | {"x-litellm-call-id"}


class Stack:
    """What a kept reference (`parity run --keep --state DIR`) runs, an edge in front of it, and the scripted provider."""

    def __init__(self, binary, state):
        ports = json.loads((pathlib.Path(state) / "ports.json").read_text())
        self.python = ("127.0.0.1", ports["proxy"])
        self.provider_port, self.ports = ports["provider"], ports
        self.key, self.binary, self.state = "sk-parity-master", binary, pathlib.Path(state)
        self.edge = self.child = None

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        base = f"http://127.0.0.1:{self.provider_port}"
        dead = f"http://127.0.0.1:{self.ports['dead']}"
        env = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "TMPDIR", "LANG")}
        env.update(
            LITELLM_MASTER_KEY=self.key, LITELLM_SALT_KEY="sk-parity-salt", LITELLM_EDGE_UNGATED="1", REDIS_HOST="127.0.0.1",
            REDIS_PORT=str(self.ports["redis"]), DATABASE_URL=f"postgresql://litellm@127.0.0.1:{self.ports['postgres']}/litellm",
            PARITY_PROVIDER_KEY="sk-parity-provider", PARITY_OPENAI_BASE=base + "/v1", PARITY_ANTHROPIC_BASE=base,
            PARITY_DEAD_OPENAI_BASE=dead + "/v1", PARITY_DEAD_ANTHROPIC_BASE=dead)
        command = [self.binary, "--config", str(CONFIG), "--host", "127.0.0.1", "--port", str(port),
                   "--python", "http://%s:%d" % self.python, "--routes", str(ROOT / "parity-tests/routes.toml")]
        self.log = open(self.state / "generated-edge.log", "wb")
        self.child = subprocess.Popen(command, env=env, stdout=self.log, stderr=self.log)
        self.edge = ("127.0.0.1", port)
        for _ in range(200):
            if self.child.poll() is not None:
                raise SystemExit(f"the edge stopped by itself, see {self.log.name}")
            with socket.socket() as probe:
                if probe.connect_ex(self.edge) == 0:
                    return self
            time.sleep(0.05)
        raise SystemExit("the edge does not listen")

    def __exit__(self, *_):
        self.child.terminate()
        try:
            self.child.wait(10)
        except subprocess.TimeoutExpired:
            self.child.kill()
        self.log.close()


class Answer:
    def __init__(self, status, headers, body, how):
        self.status, self.headers, self.body, self.how = status, headers, body, how

    def side(self):
        return next((value for name, value in self.headers if name.lower() == "x-litellm-edge"), None)


async def exchange(address, data, timeout, method="GET"):
    """Sends bytes on a connection of their own and reads one answer. No answer is an answer, too: status 0."""
    try:
        reader, writer = await asyncio.open_connection(*address, limit=1 << 22)
    except OSError as error:
        return Answer(0, [], b"", f"no connection: {error}")
    try:
        writer.write(data)
        first, headers, body, cut = await asyncio.wait_for(read(reader, method), timeout)
        return Answer(int(first.split(" ")[1]), headers, body, "cut" if cut else "whole")
    except asyncio.TimeoutError:
        return Answer(0, [], b"", "silent")
    except (OSError, asyncio.IncompleteReadError, ValueError, IndexError) as error:
        return Answer(0, [], b"", type(error).__name__)
    finally:
        writer.close()


async def read(reader, method):
    return await fuzz_both.read_message(reader, head_only=method == "HEAD")


def request(method, target, headers=(), body=None):
    """The bytes of a request; `target` and values may be text or bytes (text is latin-1)."""
    raw = lambda text: text if isinstance(text, bytes) else text.encode("latin-1", "replace")
    lines = [raw(method) + b" " + raw(target) + b" HTTP/1.1", b"host: " + HOST.encode()]
    lines += [raw(name) + b": " + raw(value) for name, value in headers]
    if body is not None:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\nconnection: close\r\n\r\n" + (body or b"")


def scrub(tree, known, names=None):
    """Renames what cannot be equal twice; `known`: the request, whose own words stay."""
    if isinstance(tree, dict):
        return {scrub(name, known): scrub(value, known, name) for name, value in tree.items()}
    if isinstance(tree, list):
        return [scrub(value, known, names) for value in tree]
    if isinstance(tree, (int, float)) and not isinstance(tree, bool):
        return "<now>" if tree and abs(tree - time.time()) < 3600 else tree
    if not isinstance(tree, str):
        return tree
    keep = lambda word: lambda match: match.group(0) if match.group(0) in known else word
    text = fuzz_both.scrub_text(tree, known)
    for pattern, word in ((ISO, "<time>"), (DAY, "<day>"), (MADE_UP, "<id>"), (HEX, "<hash>"), (CLOCK, "<now>"), (EPHEMERAL, "<gateway>")):
        text = pattern.sub(keep(word), text)
    return text


def tree(answer, known):
    """What is compared of an answer."""
    headers = collections.defaultdict(list)
    for name, value in answer.headers:
        name = name.lower()
        if name in VOLATILE:
            continue
        if name.endswith("-duration-ms") and re.fullmatch(r"[0-9.e-]+", value):
            value = "<ms>"
        headers[name].append(scrub(value, known))
    if "allow" in headers:  # a Python set: in any order
        headers["allow"] = [", ".join(sorted(headers["allow"][0].split(", ")))]
    try:
        body = fuzz_both.body_tree(answer.headers, answer.body, known)
    except (OSError, EOFError):
        body = repr(answer.body)
    return {"status": answer.status, "how": answer.how, "header": dict(headers), "body": scrub(body, known)}


async def compare(stack, data, method="GET", timeout=20.0):
    """(the edge's answer, differences as texts, whether Python differs from itself)"""
    known = data.decode("latin-1")
    one = await exchange(stack.python, data, timeout, method)
    edge = await exchange(stack.edge, data, timeout, method)
    found = fuzz_both.differs(tree(edge, known), tree(one, known))
    if not found:
        return edge, [], False
    two = await exchange(stack.python, data, timeout, method)
    if not fuzz_both.differs(tree(edge, known), tree(two, known)):
        return edge, [], False
    moving = {line.split(":")[0] for line in fuzz_both.differs(tree(one, known), tree(two, known))}
    return edge, [line for line in found if line.split(":")[0] not in moving], bool(moving)


async def prove(stack):
    """Sees that the comparison can see: one answer, changed at one place each time."""
    data = request("GET", "/v1/model/info", [("authorization", f"Bearer {stack.key}")])
    answer = await exchange(stack.python, data, 20.0)
    right = tree(answer, "")
    if answer.status != 200 or not answer.body:
        raise SystemExit(f"the Python gateway does not answer: {answer.status} {answer.how}")
    wrong = [
        Answer(201, answer.headers, answer.body, answer.how),
        Answer(200, answer.headers, answer.body, "cut"),
        Answer(200, answer.headers + [("x-more", "1")], answer.body, answer.how),
        Answer(200, [pair for pair in answer.headers if pair[0].lower() != "content-type"], answer.body, answer.how),
        Answer(200, answer.headers, answer.body.replace(b"model_name", b"model_nam", 1), answer.how),
        Answer(200, answer.headers, answer.body[:-1], answer.how),
    ]
    for other in wrong:
        if not fuzz_both.differs(tree(other, ""), right):
            raise SystemExit("the comparison does not see a changed answer")
    if fuzz_both.differs(tree(answer, ""), right):
        raise SystemExit("the comparison sees a difference in the same answer")
