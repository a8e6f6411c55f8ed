#!/usr/bin/env bash
# Everything a merge needs: installs, checks, builds, tests. Last line: N passed, M failed.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

INSTALL=yes
quick=no
deadline=
usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--no-install] [--quick] [--minutes N] [--help]
  --no-install  touch nothing outside the build folders; say what is missing
  --quick       stop after the release build and its tests: no lint, sanitizers or CUDA
  --minutes N   what comes after the release build's tests ends then and counts as skipped, on slow machines
TEXT
}
while (($#)); do
  case $1 in
    --no-install) INSTALL=no ;;
    --quick) quick=yes ;;
    --minutes)
      [[ ${2:-} =~ ^[0-9]+$ ]] || die "--minutes: expected a whole number, got '${2:-}'"
      deadline=$((SECONDS + 60 * $2))
      shift
      ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
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
# in_time COMMAND...: ends it at the deadline, if there is one; then the status is 124.
in_time() {
  [[ -n $deadline ]] || { "$@"; return; }
  local left=$((deadline - SECONDS))
  ((left > 0)) || return 124
  timeout "$left" "$@"
}
# check_in_time NAME COMMAND...: a check that is skipped where the deadline ends it. Status: whether it passed.
check_in_time() {
  local name=$1 start=$SECONDS status=0
  shift
  printf '\n$ %s\n' "$*"
  in_time "$@" || status=$?
  case $status in
    0) record "$name" passed $((SECONDS - start)) ;;
    124) skip "$name" "the time was over after $((SECONDS - start)) s of it" ;;
    *) record "$name" FAILED $((SECONDS - start)) ;;
  esac
  return "$status"
}
# suite NAME PRESET [in_time]: runs CTest and counts each of its tests.
suite() {
  local log=build/$2/ctest.log start=$SECONDS status=passed
  printf '\n$ ctest --preset %s\n' "$2"
  "${@:3}" ctest --preset "$2" -j "$(cores)" 2>&1 | tee "$log" || status=FAILED
  [[ $status == FAILED && -n $deadline && $SECONDS -ge $deadline ]] && ! grep -q '^Total Test time' "$log" && status=stopped
  local run fail
  run=$(grep -cE '^ *[0-9]+/[0-9]+ Test +#' "$log" || true)
  skipped=$(grep -cE '\*\*\*Skipped' "$log" || true)
  fail=$(grep -cE '\*\*\*(Failed|Timeout|Exception|Not Run)' "$log" || true)
  passed=$((passed + run - fail - skipped))
  failed=$((failed + fail))
  [[ $status == FAILED && $fail -eq 0 ]] && failed=$((failed + 1))
  [[ $run -eq 0 && $status != stopped ]] && failed=$((failed + 1))
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

# Files whose last change is youngest come first, so that a deadline leaves out the others.
youngest_first() {
  { git log --format= --name-only -- "$@"; git ls-files --others --exclude-standard -- "$@"; git ls-files -- "$@"; } |
    awk 'NF && !seen[$0]++' | while read -r file; do [[ -f $file ]] && printf '%s\n' "$file"; done
}

if [[ $quick == no ]]; then
  with_cuda=no
  if command -v nvcc >/dev/null || [[ -x /usr/local/cuda/bin/nvcc ]]; then
    check "configure cuda" cmake --preset cuda -DSALA_TESTS=ON # quickstart.sh turns them off there
    if check_in_time "build cuda" cmake --build --preset cuda -j "$(cores)"; then
      with_cuda=yes
      suite "tests gpu" cuda in_time
    fi
  else
    skip "build cuda" "no nvcc was found"
  fi
  check "configure asan" cmake --preset asan
  if check_in_time "build asan" cmake --build --preset asan -j "$(cores)"; then
    suite "tests asan" asan in_time
  fi
  if [[ $with_cuda == yes ]]; then
    mapfile -t units < <(youngest_first '*/cuda/*.cpp')
    check_in_time "clang-tidy cuda" scripts/tidy.sh build/cuda "${units[@]}" || true
  fi
  mapfile -t units < <(youngest_first '*.cpp' ':!*/cuda/*')
  check_in_time clang-tidy scripts/tidy.sh build/ci "${units[@]}" || true
fi

printf '\n%s' "$table"
sort -u build/skipped.txt
printf 'the program: build/sala; try: build/sala run --suite quick\n'
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
