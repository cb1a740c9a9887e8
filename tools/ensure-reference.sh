#!/usr/bin/env bash
# Installs the reference gateway (the real LiteLLM with Postgres and Redis) and the public SDKs the demo uses, once:
# a stamp of all inputs says whether it is there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
reference=$root/parity-tests/reference
: "${REFERENCE_VENV:=${LITELLM_RUST_CACHE:-$HOME/.cache/litellm-rust}/reference-venv}"
export REFERENCE_VENV

stamp=$(cat "$reference/requirements.txt" "$reference/setup.sh" "$root/demo/requirements.txt" "$reference/prisma-engine/package.json" | sha256sum | cut -c1-16)
if [ "$(cat "$REFERENCE_VENV/.ready" 2>/dev/null)" = "$stamp" ] && [ -d "$reference/prisma-engine/node_modules/prisma" ]; then
  exit 0
fi
echo "litellm-rust: installing the reference gateway (LiteLLM 1.106.2, Postgres, Redis) into $REFERENCE_VENV; minutes, once"
mkdir -p "$(dirname "$REFERENCE_VENV")"
"$reference/setup.sh"
"$REFERENCE_VENV/bin/pip" install --quiet --disable-pip-version-check --requirement "$root/demo/requirements.txt"
echo "$stamp" >"$REFERENCE_VENV/.ready"
