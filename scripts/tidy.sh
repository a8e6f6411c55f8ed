#!/usr/bin/env bash
# clang-tidy over files, each once per content: scripts/tidy.sh BUILD_DIR FILE...
set -euo pipefail
build=$1
shift
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy-19 --quiet -p "$build" 2>/tmp/tidy.$$.err ||
  { grep -E 'error|warning' /tmp/tidy.$$.err >&2 || true; rm -f /tmp/tidy.$$.err; exit 1; }
rm -f /tmp/tidy.$$.err
