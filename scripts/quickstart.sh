#!/usr/bin/env bash
# From a clone to a report to look at: installs, builds, runs the quick suite, writes the report.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

INSTALL=yes
preset=
usage() {
  cat <<'TEXT'
usage: scripts/quickstart.sh [--no-install] [--cpu] [--help]
  --no-install  touch nothing outside the build folder; say what is missing
  --cpu         build without CUDA even where a toolkit is
TEXT
}
for argument in "$@"; do
  case $argument in
    --no-install) INSTALL=no ;;
    --cpu) preset=cpu ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $argument" ;;
  esac
done

nvcc=$(command -v nvcc || ls /usr/local/cuda/bin/nvcc 2>/dev/null || true)
gpu=$(nvidia-smi --query-gpu=name --format=csv,noheader 2>/dev/null | head -1 || true)
if [[ -z $preset ]]; then
  preset=cpu
  [[ -n $nvcc && -n $gpu ]] && preset=cuda
fi
printf 'found: %s cores, CUDA compiler %s, GPU %s\n' "$(cores)" "${nvcc:-none}" "${gpu:-none}"
printf 'will:  install packages (%s), build preset %s, run the quick suite, write the report\n' "$INSTALL" "$preset"

install_packages scripts/packages/build.txt
npm_packages reports/web || printf 'going on without charts: the report will carry tables only\n'
step cmake --preset "$preset" -DSALA_TESTS=OFF
step cmake --build --preset "$preset" --target sala -j "$(cores)"
step ln -sfn "$preset/harness/cli/sala" build/sala

mkdir -p out
step build/sala run --suite quick --db out/quick.db
step build/sala report --db out/quick.db -o out/quick.html
step build/sala report --db out/quick.db -o out/quick.md
cat <<TEXT

The report:    file://$PWD/out/quick.html
The database:  $PWD/out/quick.db
Again, or on:  build/sala run --suite quick --db out/quick.db
               build/sala report --db out/quick.db -o out/quick.html
               build/sala --help
TEXT
