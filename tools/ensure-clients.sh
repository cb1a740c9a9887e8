#!/usr/bin/env bash
# Installs the SDKs that the parity suite drives (parity-tests/clients), once, outside the checkout: a stamp of all
# inputs says whether they are there.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source=$root/parity-tests/clients
cache=${LITELLM_RUST_CACHE:-$HOME/.cache/litellm-rust}
: "${PARITY_CLIENTS:=$cache/clients}"
# where Node came as a wheel with the reference
export PATH="$PATH:${REFERENCE_VENV:-$cache/reference-venv}/bin"

stamp=$(cat "$source/requirements.txt" "$source/package.json" "$source/package-lock.json" "${BASH_SOURCE[0]}" | sha256sum | cut -c1-16)
[ "$(cat "$PARITY_CLIENTS/.ready" 2>/dev/null)" != "$stamp" ] || exit 0
echo "litellm-rust: installing the SDKs of OpenAI, Anthropic and LangChain into $PARITY_CLIENTS"
rm -rf "$PARITY_CLIENTS"
mkdir -p "$PARITY_CLIENTS"
python3 -m venv "$PARITY_CLIENTS/venv"
"$PARITY_CLIENTS/venv/bin/pip" install --quiet --disable-pip-version-check --requirement "$source/requirements.txt"
cp "$source/package.json" "$source/package-lock.json" "$PARITY_CLIENTS/"
(cd "$PARITY_CLIENTS" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error)
echo "$stamp" >"$PARITY_CLIENTS/.ready"
