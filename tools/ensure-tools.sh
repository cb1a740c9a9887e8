#!/usr/bin/env bash
# Finds or installs what building needs besides Rust, a C compiler and Python: cmake (Pingora's zlib is built with it).
# Takes it from PyPI, into the cache folder; needs no root. Does nothing where it is there already.
set -euo pipefail
cache=${LITELLM_RUST_CACHE:-$HOME/.cache/litellm-rust}
bin=$cache/tools/bin

for needed in cargo python3 cc; do
  command -v "$needed" >/dev/null || { echo "litellm-rust: '$needed' is needed and not on PATH" >&2; exit 3; }
done
export PATH="$bin:$PATH"
if ! command -v cmake >/dev/null; then
  echo "litellm-rust: installing cmake from PyPI into $cache/tools"
  mkdir -p "$bin"
  python3 -m venv "$cache/tools/venv"
  "$cache/tools/venv/bin/pip" install --quiet --disable-pip-version-check 'cmake>=3.25,<4'
  ln -sf "$cache/tools/venv/bin/cmake" "$bin/cmake"
fi
