#!/usr/bin/env bash
# Everything a merge needs: installs, checks, builds, tests. Last line: N passed, M failed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

INSTALL=yes
quick=no
usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--no-install] [--quick] [--help]
  --no-install  touch nothing outside the build folders; say what is missing
  --quick       stop after the release build and its tests: no lint, sanitizers or CUDA
TEXT
}
for argument in "$@"; do
  case $argument in
    --no-install) INSTALL=no ;;
    --quick) quick=yes ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $argument" ;;
  esac
done

passed=0
failed=0
table=
# record NAME STATUS SECONDS: one row of the closing table.
record() {
  case $2 in
    passed) passed=$((passed + 1)) ;;
    FAILED) failed=$((failed + 1)) ;;
  esac
  table+=$(printf '%-34s %-9s %6s s' "$1" "$2" "$3")$'\n'
}
# check NAME COMMAND...: a step that counts as one test and does not end the run when it fails.
check() {
  local name=$1 start=$SECONDS
  shift
  if step "$@"; then record "$name" passed $((SECONDS - start)); else record "$name" FAILED $((SECONDS - start)); fi
}
skip() { record "$1" "skipped" "0"; table+="    because $2"$'\n'; }
# suite NAME PRESET: runs CTest and counts each of its tests.
suite() {
  local log=build/$2/ctest.log start=$SECONDS status=passed
  printf '\n$ ctest --preset %s\n' "$2"
  ctest --preset "$2" -j "$(cores)" 2>&1 | tee "$log" || status=FAILED
  local run fail
  run=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#' "$log" || true)
  skipped=$(grep -cE '\*\*\*Skipped' "$log" || true)
  fail=$(grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log" || true)
  passed=$((passed + run - fail - skipped))
  failed=$((failed + fail))
  [[ $status == FAILED && $fail -eq 0 ]] && failed=$((failed + 1))
  [[ $run -eq 0 ]] && failed=$((failed + 1))
  table+=$(printf '%-34s %-9s %6s s  (%d tests, %d skipped)' "$1" "$status" $((SECONDS - start)) "$run" "$skipped")$'\n'
  grep -E '\*\*\*Skipped' "$log" | awk '{print "    skipped: " $4}' >>build/skipped.txt || true
}

install_packages scripts/packages/build.txt scripts/packages/test.txt || exit 2
npm_packages reports/web || exit 2
npm_packages tests/browser || exit 2
mkdir -p build
: >build/skipped.txt

mapfile -t sources < <(git ls-files --cached --others --exclude-standard -- '*.h' '*.cpp' '*.cu' '*.cuh')
check format clang-format-19 --dry-run --Werror "${sources[@]}"
check shellcheck shellcheck -x scripts/*.sh .ci/run

if step cmake --preset ci && step cmake --build --preset ci -j "$(cores)"; then
  record "build ci" passed "$SECONDS"
  ln -sfn ci/harness/cli/sala build/sala
  suite "tests ci" ci
else
  record "build ci" FAILED "$SECONDS"
fi

if [[ $quick == no ]]; then
  mapfile -t units < <(git ls-files --cached --others --exclude-standard -- '*.cpp' ':!*/cuda/*')
  check clang-tidy scripts/tidy.sh build/ci "${units[@]}"
  start=$SECONDS
  if step cmake --preset asan && step cmake --build --preset asan -j "$(cores)"; then
    record "build asan" passed $((SECONDS - start))
    suite "tests asan" asan
  else
    record "build asan" FAILED $((SECONDS - start))
  fi
  if command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then
    check "configure cuda" cmake --preset cuda -DSALA_TESTS=ON # quickstart.sh turns them off there
    check "build cuda" cmake --build --preset cuda -j "$(cores)"
    suite "tests gpu" cuda
    mapfile -t units < <(git ls-files --cached --others --exclude-standard -- '*/cuda/*.cpp')
    check "clang-tidy cuda" scripts/tidy.sh build/cuda "${units[@]}"
  else
    skip "build cuda" "no nvcc was found"
  fi
fi

printf '\n%s' "$table"
sort -u build/skipped.txt
printf 'the program: build/sala; try: build/sala run --suite quick\n'
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
