#!/usr/bin/env bash
# clang-tidy over files: scripts/tidy.sh BUILD_DIR FILE...
set -euo pipefail
build=$1
shift
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 4 clang-tidy-19 --quiet -p "$build" 2>"$errors" ||
  { grep -E 'error|warning' "$errors" >&2 || true; exit 1; }
