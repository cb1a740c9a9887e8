#!/usr/bin/env python3
"""Asks the installed LiteLLM which endpoint serves which request target, and writes or checks the golden table.

    golden_paths.py                 # writes tests/golden/routing/paths.txt.gz
    golden_paths.py --check         # exit 1 where the installed LiteLLM says something else
    golden_paths.py --router 1      # every single row through the real router (minutes), not every 50th

Run with the Python of the reference (LiteLLM and its proxy importable). The route table is the real one of the running
app, with every optional feature loaded. A target goes the way it goes in uvicorn: h11 says whether it is one, the path
is what uvicorn makes of it. Matching is a model of two lines (the first route that takes path and method, else the first
that takes the path) over the routes' own regular expressions; the model is held to the real router and to the real
uvicorn protocol by `--router N` (every Nth row, and all rows where a native endpoint is at stake).

The table (`paths.txt.gz`):
    # litellm 1.106.2 routes <sha256 of the table of routes>
    # methods GET HEAD ...
    # native <paths>                             native paths of the manifests it was made for
    = e<number> <module>.<endpoint> <pattern>  an endpoint
    @ <number> <outcome for each method>       an outcome: 400, 404, 405, 307, or e<number>
    <outcome number> TAB <target>              targets as latin-1, in order of their making
"""
import argparse
import asyncio
import gzip
import hashlib
import os
import pathlib
import re
import sys
from urllib.parse import unquote

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
for name in ("SERVER_ROOT_PATH", "SERVER_ROOT_PATHS", "DOCS_URL", "REDOC_URL", "OPENAPI_URL", "NO_DOCS", "NO_REDOC", "NO_OPENAPI", "ROOT_REDIRECT_URL", "DATABASE_URL"):
    os.environ.pop(name, None)

import h11

import path_tricks

ROOT = pathlib.Path(__file__).resolve().parents[2]
TABLE = ROOT / "tests/golden/routing/paths.txt.gz"
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get", "Post"]


def native_patterns():
    """Of the shipped routes.toml and the suite's: the paths of entries that are not Python's."""
    import tomllib

    found = {}
    for file in ("routes.toml", "parity-tests/routes.toml"):
        for route in tomllib.loads((ROOT / file).read_text()).get("route", []):
            if route.get("mode", "python") != "python":
                for path in route["match"]["paths"]:
                    found[path] = None
    return list(found)


class Leaf:
    """One route that can serve: pattern, methods (None: all), endpoint's name."""

    def __init__(self, kind, pattern, regex, methods, endpoint):
        self.kind, self.pattern, self.regex, self.methods = kind, pattern, regex, methods
        module = getattr(endpoint, "__module__", None) or type(endpoint).__module__
        self.name = f"{module}.{getattr(endpoint, '__name__', type(endpoint).__name__)}"

    def line(self):
        return f"{self.name} {self.pattern} {self.kind} {' '.join(sorted(self.methods or []))}"


def leaves(app):
    """The app's routes in order of matching, routers unfolded. WebSocket routes serve no HTTP."""
    from fastapi.routing import _IncludedRouter
    from starlette.routing import Mount, WebSocketRoute

    out = []

    def add(route, original):
        if isinstance(original, WebSocketRoute) or type(original).__name__ == "APIWebSocketRoute":
            return
        if isinstance(original, Mount):
            out.append(Leaf("mount", route.path, route.path_regex, None, original.app))
        else:
            out.append(Leaf("route", route.path_format, route.path_regex, route.methods, route.endpoint))

    for route in app.router.routes:
        if isinstance(route, _IncludedRouter):
            for context in route.effective_route_contexts():
                add(context.starlette_route or context, context.original_route)
        else:
            add(route, route)
    return out


def scope_path(target):
    """What uvicorn (h11) makes of a target; None: refused with 400."""
    try:
        event = h11.Request(method="GET", target=target, headers=[("host", "x")])
    except h11.LocalProtocolError:
        return None
    raw, _, _ = event.target.partition(b"?")
    return unquote(raw.decode("ascii"))


class Model:
    """Path and method -> outcome."""

    def __init__(self, table):
        self.table = table
        unnamed = [re.sub(r"\(\?P<[^>]*>", "(?:", leaf.regex.pattern) for leaf in table]
        self.any = re.compile("|".join(f"(?:{text})" for text in unnamed))
        self.memo = {}

    def takers(self, path):
        if not self.any.match(path):
            return []
        return [i for i, leaf in enumerate(self.table) if leaf.regex.match(path)]

    def outcome(self, path):
        """One word per method."""
        if path is None:
            return ("400",) * len(METHODS)
        if path not in self.memo:
            self.memo[path] = self.work_out(path)
        return self.memo[path]

    def work_out(self, path):
        takers = self.takers(path)
        if not takers:
            other = path.rstrip("/") if path.endswith("/") else path + "/"
            found = path != "/" and self.takers(other)
            return ("307" if found else "404",) * len(METHODS)
        full = lambda method: next((f"e{i}" for i in takers if self.table[i].methods is None or method in self.table[i].methods), "405")
        return tuple(full(method) for method in METHODS)


class Router:
    """The real thing: uvicorn's protocol in front of the app's own router, endpoints replaced by a note of who was asked."""

    def __init__(self, app):
        from uvicorn.config import Config
        from uvicorn.protocols.http.h11_impl import H11Protocol
        from uvicorn.server import ServerState

        self.app, self.said, self.Protocol, self.state = app, None, H11Protocol, ServerState()
        self.config = Config(self.asgi, log_config=None, log_level="critical", lifespan="off", http="h11", interface="asgi3", proxy_headers=False)
        self.config.load()

    async def asgi(self, scope, receive, send):
        self.scope = scope

    async def ask(self, target, method):
        """(outcome, path of the scope)"""
        self.scope = None
        protocol = self.Protocol(self.config, self.state, {})
        protocol.connection_made(Transport())
        protocol.data_received(method.encode() + b" " + target + b" HTTP/1.1\r\nhost: x\r\n\r\n")
        for _ in range(3):
            await asyncio.sleep(0)
        if self.scope is None:
            return "400", None
        scope = {**self.scope, "app": self.app}
        found = Found()
        status = []

        async def send(message):
            status.append(message.get("status"))

        try:
            CURRENT[0] = found
            await self.app.router(scope, None, send)
        except Exception as error:  # the router says 404 and 405 by exceptions
            if getattr(error, "status_code", None) not in (404, 405):
                raise
            return str(error.status_code), scope["path"]
        return (str(status[0]) if status and found.who is None else found.who), scope["path"]


class Transport:
    def get_extra_info(self, name, default=None):
        return default

    def write(self, data):
        pass

    def is_closing(self):
        return False

    def close(self):
        pass

    pause_reading = resume_reading = close


class Found:
    who = None


CURRENT = [None]


def listen(app, table):
    """Every endpoint's ASGI app, in the running route table, becomes a note."""
    from fastapi.routing import _IncludedRouter
    from starlette.routing import Mount, WebSocketRoute

    number = iter(range(len(table)))

    def note(i):
        async def app(scope, receive, send):
            CURRENT[0].who = f"e{i}"

        return app

    for route in app.router.routes:
        inner = list(route.effective_route_contexts()) if isinstance(route, _IncludedRouter) else [route]
        for one in inner:
            original = getattr(one, "original_route", one)
            if isinstance(original, WebSocketRoute) or type(original).__name__ == "APIWebSocketRoute":
                continue
            i = next(number)
            target = getattr(one, "starlette_route", None) or one
            object.__setattr__(target, "app", note(i))
            if isinstance(original, Mount) and target is not original:
                original.app = target.app


def the_app():
    """LiteLLM's app with all of its routes, as after the first request to each feature."""
    from litellm.proxy._lazy_features import LAZY_FEATURES, register_all_features
    from litellm.proxy.proxy_server import app

    register_all_features(app)
    if len(app.state.lazy_loaded) != len(LAZY_FEATURES):
        raise SystemExit("not every optional feature of LiteLLM could be loaded")
    return app


def render(version, table, targets, model, native):
    digest = hashlib.sha256("\n".join(leaf.line() for leaf in table).encode()).hexdigest()
    kinds, rows = {}, []
    for target in targets:
        outcome = model.outcome(scope_path(target))
        rows.append((kinds.setdefault(outcome, len(kinds)), target))
    used = sorted({int(word[1:]) for outcome in kinds for word in outcome if word.startswith("e")})
    lines = [f"# litellm {version} routes {digest}".encode(), b"# methods " + " ".join(METHODS).encode()]
    lines.append(f"# native {' '.join(native)}".encode())
    lines += [f"= e{i} {table[i].name} {table[i].pattern}".encode() for i in used]
    lines += [f"@ {number} {' '.join(outcome)}".encode() for outcome, number in kinds.items()]
    lines += [b"%d\t%s" % row for row in rows]
    return b"\n".join(lines) + b"\n"


async def hold_to_router(app, table, targets, model, every, native):
    """Rows through the real protocol and the real router; the number of rows asked."""
    listen(app, table)
    router = Router(app)
    bare = {pattern.replace(":path}", "}") for pattern in native}
    stakes = {f"e{i}" for i, leaf in enumerate(table) if leaf.pattern in bare}
    asked, bad = 0, 0
    for n, target in enumerate(targets):
        expected = model.outcome(scope_path(target))
        for m, method in enumerate(METHODS):
            if (n + m) % (min(every, 5) if expected[m] in stakes else every):
                continue
            asked += 1
            said, path = await router.ask(target, method)
            if said != expected[m] or path != scope_path(target):
                bad += 1
                if bad <= 20:
                    print(f"the router says {said} ({path!r}), the model {expected[m]} ({scope_path(target)!r}): {method} {target!r}", file=sys.stderr)
    if bad:
        raise SystemExit(f"{bad} of {asked} rows: the model is not the router")
    return asked


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with the table there is")
    parser.add_argument("--router", type=int, default=50, help="every Nth row through the real router")
    args = parser.parse_args()
    import importlib.metadata

    app = the_app()
    table = leaves(app)
    native = native_patterns()
    patterns = list(dict.fromkeys(map(pattern_of, table)))
    targets = path_tricks.targets(patterns, native)
    model = Model(table)
    text = render(importlib.metadata.version("litellm"), table, targets, model, native)
    asked = asyncio.run(hold_to_router(app, table, targets, model, args.router, native))
    print(f"{len(table)} routes, {len(targets)} targets x {len(METHODS)} methods; {asked} rows held to the real router")
    if args.check:
        if gzip.decompress(TABLE.read_bytes()) != text:
            was, now = (set(content.split(b"\n")) for content in (gzip.decompress(TABLE.read_bytes()), text))
            print(f"{TABLE.relative_to(ROOT)} is not what the installed LiteLLM says", file=sys.stderr)
            for word, lines in (("gone", was - now), ("new", now - was)):
                print(f"{len(lines)} lines {word}, such as {sorted(lines)[:3]}", file=sys.stderr)
            return 1
        return 0
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_bytes(gzip.compress(text, 9, mtime=0))
    print(f"{TABLE.relative_to(ROOT)}: {TABLE.stat().st_size} bytes")
    return 0


def pattern_of(leaf):
    """LiteLLM's pattern, with `:path` where the regular expression takes slashes."""
    wide = set(re.findall(r"\(\?P<([^>]+)>\.\*\)", leaf.regex.pattern))
    text = re.sub(r"\{([^}:]+)\}", lambda m: "{%s:path}" % m.group(1) if m.group(1) in wide else m.group(0), leaf.pattern)
    return text + "/{path:path}" if leaf.kind == "mount" else text


if __name__ == "__main__":
    sys.exit(main())
