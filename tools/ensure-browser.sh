#!/usr/bin/env bash
# Finds or installs the browser that tests of pages need: Chromium, by apt (as root or with sudo). `CHROMIUM` names another one.
set -euo pipefail
[ -n "${CHROMIUM:-}" ] && exit 0
for name in chromium chromium-browser google-chrome google-chrome-stable; do
  command -v "$name" >/dev/null && exit 0
done
command -v apt-get >/dev/null || { echo "litellm-rust: tests of pages need Chromium: install it, or name one with CHROMIUM=/path" >&2; exit 3; }
as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo -n)
echo "litellm-rust: installing chromium by apt"
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium >/dev/null
