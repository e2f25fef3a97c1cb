#!/usr/bin/env bash
# Provide Chromium for the browser tests: the one on PATH, else Debian's package.
set -euo pipefail
for name in chromium chromium-browser google-chrome "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
  if command -v "$name" >/dev/null; then exit 0; fi
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing Debian's chromium for the browser tests"
  install() { DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }
  if install 2>/dev/null || { apt-get update -qq >/dev/null && install; }; then exit 0; fi
fi
echo "no Chromium on PATH: the browser tests will fail; install it, for example with 'apt-get install chromium'" >&2
