#!/usr/bin/env python3
"""What a key costs that was not seen before, with many of them in Postgres: the edge beside the Python gateway.

    many_keys.py --binary BINARY --state DIR [--keys 10000] [--python-keys 2000]

DIR is the state folder of a reference that `parity run --keep --state DIR` left; BINARY the edge, a release build. Keys are
written into its Postgres and taken out again. Each is presented once to `GET /v1/models` (cold: the key is looked up) and once
more (warm), on one connection, one request after the other: the time is a look-up's, not a queue's. A Python gateway is asked
fewer keys where that is said. Memory is VmRSS of the process. Only the standard library.
"""
import argparse
import glob
import hashlib
import http.client
import os
import pathlib
import statistics
import subprocess
import sys
import time

import both

PREFIX = "sk-many-"
MODELS = "gpt-4o"


def name(at):
    return f"{PREFIX}{at:06d}-abcdefghij"


def psql(venv, port, statement):
    program = glob.glob(f"{venv}/lib/python3*/site-packages/*/pginstall/bin/psql")[0]
    command = [program, "-qAtX", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", str(port), "-U", "litellm", "litellm"]
    subprocess.run(command, input=statement.encode(), check=True, stdout=subprocess.DEVNULL)


def write(venv, port, count):
    """A team and a user for every hundred keys: rows that a look-up joins."""
    rows = []
    for at in range(count):
        token, of = hashlib.sha256(name(at).encode()).hexdigest(), f"many-{at // 100}"
        rows.append(f"('{token}','sk-...ghij','many-{at}','{{{MODELS}}}'::text[],'{of}','{of}')")
    owners = [f"many-{at // 100}" for at in range(0, count, 100)]
    psql(venv, port, "\n".join([
        'INSERT INTO "LiteLLM_TeamTable" (team_id, models) VALUES ' + ",".join(f"('{of}','{{{MODELS}}}')" for of in owners) + ";",
        'INSERT INTO "LiteLLM_UserTable" (user_id) VALUES ' + ",".join(f"('{of}')" for of in owners) + ";",
        'INSERT INTO "LiteLLM_VerificationToken" (token, key_name, key_alias, models, user_id, team_id) VALUES ' + ",".join(rows) + ";",
        "ANALYZE;",
    ]))


def remove(venv, port):
    psql(venv, port, """
        DELETE FROM "LiteLLM_VerificationToken" WHERE key_alias LIKE 'many-%';
        DELETE FROM "LiteLLM_TeamTable" WHERE team_id LIKE 'many-%';
        DELETE FROM "LiteLLM_UserTable" WHERE user_id LIKE 'many-%';""")


def memory(pid):
    """MiB"""
    line = next(line for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def ask_all(address, count, side):
    """Milliseconds of each key's request."""
    connection, times = http.client.HTTPConnection(*address, timeout=60), []
    for at in range(count):
        headers = {"authorization": f"Bearer {name(at)}"}
        start = time.perf_counter()
        connection.request("GET", "/v1/models", headers=headers)
        answer = connection.getresponse()
        body = answer.read()
        times.append((time.perf_counter() - start) * 1000)
        if answer.status != 200 or MODELS.encode() not in body or answer.getheader("x-litellm-edge") != side:
            raise SystemExit(f"key {at}: {answer.status} {answer.getheader('x-litellm-edge')} {body[:200]}")
    connection.close()
    return times


def line(what, times):
    ordered = sorted(times)
    p99 = ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]
    print(f"{what:32} {len(times):6} keys   p50 {statistics.median(ordered):8.2f} ms   p99 {p99:8.2f} ms", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the edge")
    parser.add_argument("--state", required=True, help="the kept reference's state folder")
    parser.add_argument("--venv", default=os.environ.get("REFERENCE_VENV"), help="LiteLLM's Python environment")
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--python-keys", type=int, default=2_000, help="how many of them the Python gateway is asked")
    args = parser.parse_args()
    with both.Stack(args.binary, args.state) as stack:
        postgres = stack.ports["postgres"]
        remove(args.venv, postgres)
        write(args.venv, postgres, args.keys)
        try:
            python = int((pathlib.Path(args.state) / "proxy.pid").read_text())
            for who, address, pid, count, side in (
                ("edge", stack.edge, stack.child.pid, args.keys, "native"),
                ("python", stack.python, python, min(args.keys, args.python_keys), None),
            ):
                before = memory(pid)
                line(f"{who}, cold", ask_all(address, count, side))
                line(f"{who}, warm", ask_all(address, count, side))
                after = memory(pid)
                each = (after - before) * 1024 / count
                print(f"{who:32} memory {before:.0f} -> {after:.0f} MiB with {count} keys ({each:.1f} KiB a key)", flush=True)
            print("load of the machine (1 minute): %.1f of %d cores" % (os.getloadavg()[0], os.cpu_count()))
        finally:
            remove(args.venv, postgres)


if __name__ == "__main__":
    sys.exit(main())
