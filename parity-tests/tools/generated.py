#!/usr/bin/env python3
"""Generated requests against both sides: tricky targets, and requests out of LiteLLM's OpenAPI. Exit 1 where any differs.

    litellm-rust parity run --keep --state DIR ...          # leaves the Python gateway running
    generated.py --binary litellm-rust --state DIR --targets 150 --openapi 400
    litellm-rust parity down --state DIR

Starts an edge of its own in front of that gateway and stops it at the end. Nothing runs in parallel; every exchange
has a time limit. Only the standard library is used.
"""
import argparse
import asyncio
import sys
import time

import both
import fuzz_both
import openapi_both
import tricky_targets


async def run(args, stack):
    provider = fuzz_both.Provider()
    server = await asyncio.start_server(provider.serve, "127.0.0.1", stack.provider_port, limit=1 << 26)
    bad = []
    config = both.CONFIG.read_bytes()
    async with server:
        await both.prove(stack)
        if args.targets:
            started = time.monotonic()
            asked, found = await tricky_targets.run(stack, args.targets, args.seed)
            bad += found
            print(f"tricky targets: {asked} requests, {len(found)} with differences, {time.monotonic() - started:.0f} s")
        if args.openapi:
            started = time.monotonic()
            say = (lambda line: print(line, flush=True)) if args.verbose else (lambda line: None)
            asked, found, statuses, moving = await openapi_both.run(stack, args.openapi, args.seed, say)
            bad += found
            print(f"openapi: {asked} requests, {len(found)} with differences, {time.monotonic() - started:.0f} s; "
                  f"answers {dict(sorted(statuses.items()))}; {moving} times Python differed from itself")
        await both.prove(stack)  # what was asked for must have changed nothing for what was asked later
        if both.CONFIG.read_bytes() != config:
            both.CONFIG.write_bytes(config)
            raise SystemExit(f"a request made LiteLLM write {both.CONFIG}: put back; it must not be sent (EXCLUDED)")
    for name, found in bad:
        print(f"DIFF {name}")
        for line in found[: args.lines]:
            print(f"     {line:.300}")
    return 1 if bad else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--binary", required=True, help="the edge")
    parser.add_argument("--state", required=True, help="the kept reference's state folder")
    parser.add_argument("--targets", type=int, default=0, help="how many tricky targets")
    parser.add_argument("--openapi", type=int, default=0, help="how many requests out of OpenAPI")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--lines", type=int, default=6, help="differences shown of a request")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    with both.Stack(args.binary, args.state) as stack:
        return asyncio.run(run(args, stack))


if __name__ == "__main__":
    sys.exit(main())
