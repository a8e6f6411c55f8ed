#!/usr/bin/env bash
# How often sala gate is wrong, with real processes: identical builds, then planted regressions. Prints a Markdown table.
set -euo pipefail
cd "$(dirname "$0")/.." || exit 2
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
  cat <<'TEXT'
usage: scripts/gate_study.sh [--source DIR] [--out DIR] [--gates N] [--pairs N] [--threads N]
  --source DIR   tree to build; this one without it
  --out DIR      where the copy, the programs and the results go; build/gate-study without it
  --gates N      gates of the program against itself; 20 without it
  --pairs N      pairs of the noise floor; 20 without it
  --threads N    of every measured process; 1 without it
A program that --out already holds is not built again; a gate that it already holds is not run again.
TEXT
}
source=$PWD
out=build/gate-study
gates=20
pairs=20
threads=1
while (($#)); do
  case $1 in
    --source) source=$(realpath "${2:?}"); shift ;;
    --out) out=${2:?}; shift ;;
    --gates) gates=${2:?}; shift ;;
    --pairs) pairs=${2:?}; shift ;;
    --threads) threads=${2:?}; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done
mkdir -p "$out"
out=$(realpath "$out")
tree=$out/tree

# The regressions exist only in the copy. Each is a function that changes it, and fails when the code to change is gone.
replace() { # FILE OLD NEW
  grep -qF -- "$2" "$tree/$1" || die "$1 no longer holds: $2"
  python3 - "$tree/$1" "$2" "$3" <<'PY'
import pathlib, sys
path, old, new = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
path.write_text(path.read_text().replace(old, new, 1))
PY
}
attend=engine/attention/dense/attend_cpu.cpp
plant_baseline() { :; }
plant_slower() { # the attention kernel takes 5 % longer, by the clock
  replace $attend 'const Span span(context.trace, "attend", cost);' 'const Span span(context.trace, "attend", cost);
  struct Slower {
    std::chrono::steady_clock::time_point begin = std::chrono::steady_clock::now();
    ~Slower() {
      const auto now = std::chrono::steady_clock::now();
      while (std::chrono::steady_clock::now() < now + (now - begin) / 20) {
      }
    }
  } slower;'
  replace $attend '#include <bit>' '#include <bit>
#include <chrono>'
}
plant_larger() { # scratch grows by a tenth, which is 2 % of the peak
  local bytes='model.scratch_bytes(max_chunk, max_tokens, backend.compute_dtype())'
  replace engine/engine.cpp "$bytes" "$bytes * 221 / 200"
}
plant_rescaled() { # scores are not divided by the root of head_dim
  replace $attend 'scale_row(query(tile, i), heads_.scale,' 'scale_row(query(tile, i), 1.0F,'
}

build() { # NAME
  [[ -x $out/bin/$1 ]] && return
  local saved=$out/saved
  rm -rf "$saved"
  mkdir -p "$saved" "$out/bin"
  cp -r "$tree/engine" "$saved/"
  "plant_$1"
  step cmake -S "$tree" -B "$out/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSALA_TESTS=OFF >&2
  step cmake --build "$out/build" --target sala -j "$(cores)" >&2
  cp "$out/build/harness/cli/sala" "$out/bin/$1"
  # What a plant touched is older than its object file now, so it has to look new.
  { diff -rq "$saved/engine" "$tree/engine" || true; } | awk '{print $4}' | while read -r file; do
    cp "$saved/${file#"$tree"/}" "$file"
    touch "$file"
  done
}
if [[ ! -d $tree ]]; then
  mkdir "$tree"
  tar -C "$source" --exclude=./build --exclude=./.git --exclude=node_modules -cf - . | tar -C "$tree" -xf -
fi
for name in baseline slower larger rescaled; do build "$name"; done

cat > "$out/speed.toml" <<'TOML'
name = "gate-speed"
kind = "perf"
new_tokens = 16
[[cells]]
tasks = ["niah_single_2"]
lengths = "1k"
samples = 5
TOML
cat > "$out/answers.toml" <<'TOML'
name = "gate-answers"
[[cells]]
tasks = ["niah_multikey_3", "vt", "fwe"]  # not saturated: single needles are found at any temperature
lengths = "1k"
samples = 30
TOML

export SALA_DATA_DIR=$tree/data
sala=$out/bin/baseline
run_options=(--model needle-hybrid --baseline none --threads "$threads")
if [[ ! -e $out/floor.json ]]; then
  "$sala" gate --db "$out/study.db" --calibrate "$pairs" --baseline-binary "$sala" --suite "$out/speed.toml" \
    --no-progress --json -- "${run_options[@]}" > "$out/floor.tmp"
  mv "$out/floor.tmp" "$out/floor.json"
fi
gate() { # NAME BINARY
  [[ -e $out/$1.json ]] && return
  local begin=$SECONDS code=0
  "$sala" gate --db "$out/study.db" --baseline-binary "$sala" --candidate-binary "$2" --suite "$out/speed.toml" \
    --suite "$out/answers.toml" --strict --no-progress --json -- "${run_options[@]}" > "$out/$1.tmp" || code=$?
  mv "$out/$1.tmp" "$out/$1.json"
  echo "$1: exit $code after $((SECONDS - begin)) s" >&2
  echo "$1 $code $((SECONDS - begin)) $(cut -d' ' -f1 /proc/loadavg)" >> "$out/gates.txt"
}
for plant in slower larger rescaled; do gate "$plant" "$out/bin/$plant"; done
for ((i = 1; i <= gates; ++i)); do gate "$(printf 'identical-%02d' "$i")" "$sala"; done

python3 - "$out" <<'PY'
import json, pathlib, sys
out = pathlib.Path(sys.argv[1])
floor = json.loads((out / "floor.json").read_text())
print(f"Noise floor, {floor['pairs']} pairs of one program:\n\n| number | spread of a pair |\n|---|--:|")
for item in floor["floors"]:
    print(f"| {item['metric']} {item['stage']} | {100 * item['sd_pair']:.2f} % |")
print("\n| gate | verdict | exit | seconds | load | pairs | worse |\n|---|---|--:|--:|--:|--:|---|")
for line in (out / "gates.txt").read_text().splitlines():
    name, code, seconds, load = line.split()
    report = json.loads((out / f"{name}.json").read_text())
    worse = [f"{i['metric']} {i['stage']} {'-' if i['metric'].endswith('accuracy') else '+'}{100 * i['change']:.2f} %"
             for i in report["items"] if i["verdict"] == "worse"]
    pairs = max((i["n"] for i in report["items"] if i["metric"].endswith("_ns")), default=0)
    print(f"| {name} | {report['verdict']} | {code} | {seconds} | {load} | {pairs} | {'; '.join(worse)} |")
PY
