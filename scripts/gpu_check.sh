#!/usr/bin/env bash
# Everything that needs a GPU: tests, sanitizers, CPU against GPU, benchmarks, speed. Last line: N passed, M failed.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
# shellcheck source=scripts/lib.sh
source scripts/lib.sh

usage() {
  cat <<'TEXT'
usage: scripts/gpu_check.sh [--bin DIR] [--only STEPS] [--lengths "N ..."] [--help]
       scripts/gpu_check.sh [--bin DIR] --pack FILE.tar.xz
  --bin DIR        use the programs in DIR (any depth) instead of building the preset cuda
  --only STEPS     of tests,sanitizers,compare,bench,speed; comma-separated, all without it
  --lengths "N..." prompt lengths of the speed step, in tokens; 4096 131072 without it
  --pack FILE      only gather in an archive what --bin needs on a machine without the packages; there:
                   mkdir DIR && tar -xf FILE -C DIR && scripts/gpu_check.sh --bin DIR
TEXT
}
bin=
pack=
steps=tests,sanitizers,compare,bench,speed
lengths="4096 131072"
while (($#)); do
  case $1 in
    --bin) bin=${2:?}; shift ;;
    --only) steps=${2:?}; shift ;;
    --lengths) lengths=${2:?}; shift ;;
    --pack) pack=${2:?}; shift ;;
    --help | -h) usage; exit 0 ;;
    *) usage >&2; die "unknown option $1" ;;
  esac
  shift
done

# Names of the GPU's test programs, from their sources.
test_names() { find tests/kernel/cuda -name '*_test.c*' -printf '%f\n' | sed 's/\..*//' | sort; }

if [[ -z $bin ]]; then
  step cmake --preset cuda || die "configuring failed"
  step cmake --build --preset cuda -j "$(cores)" || die "the build failed"
  bin=build/cuda
fi
program() { find "$bin" -type f -name "$1" -perm -u+x | head -n 1; }
sala=$(program sala)
[[ -n $sala ]] || die "$bin holds no program sala"
if [[ -d $bin/lib ]]; then
  LD_LIBRARY_PATH=$(realpath "$bin/lib"):/usr/local/cuda/lib64${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  export LD_LIBRARY_PATH
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [[ -n $pack ]]; then
  mkdir "$work/lib"
  for name in sala $(test_names); do
    file=$(program "$name")
    [[ -n $file ]] || die "$bin holds no program $name"
    strip -o "$work/$name" "$file"
    # The compiler's, the C and NVIDIA's libraries belong to the machine that runs them.
    ldd "$file" | awk '$3 ~ /^\// {print $3}' | grep -vE '/(libc|libm|libdl|librt|libpthread|libstdc\+\+|libgcc_s|libgomp|libcu[a-zA-Z]*)\.so' |
      xargs -r cp -Lnt "$work/lib"
  done
  tar -cJf "$pack" -C "$work" . || die "$pack could not be written"
  ls -sh "$pack"
  exit 0
fi

export SALA_DATA_DIR=$PWD/data
export OMP_WAIT_POLICY=passive
passed=0
failed=0
table=
row() { # row NAME STATUS SECONDS DETAIL
  if [[ $2 == passed ]]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
  table+=$(printf '%-44s %-7s %5s s  %s' "$1" "$2" "$3" "$4")$'\n'
}
# check NAME FILTER COMMAND...: passes when the command does; FILTER picks the detail from its output.
check() {
  local name=$1 filter=$2 start=$SECONDS status=passed
  shift 2
  step "$@" >"$work/log" 2>&1 || status=FAILED
  cat "$work/log"
  row "$name" $status $((SECONDS - start)) "$(grep -E "$filter" "$work/log" | tail -n 1)"
}
wants() { [[ ,$steps, == *,$1,* ]]; }

if ! nvidia-smi --query-gpu=name,memory.total,driver_version,clocks.sm --format=csv,noheader; then
  die "no GPU answers: nvidia-smi failed"
fi
step "$sala" doctor

if wants tests; then
  for name in $(test_names); do
    # A test that skips here has not run: the device it asks for is what this script is for.
    start=$SECONDS
    "$(program "$name")" >"$work/log" 2>&1
    status=$?
    cat "$work/log"
    skipped=$(grep -cE '^\[  SKIPPED \] [A-Za-z].* \(' "$work/log")
    detail="$(grep -cE '^\[       OK \]' "$work/log") ok, $(grep -cE '^\[  FAILED  \] .* \(' "$work/log") failed, $skipped skipped"
    if ((status == 0)); then row "$name" passed $((SECONDS - start)) "$detail"; else row "$name" FAILED $((SECONDS - start)) "$detail"; fi
  done
fi

if wants sanitizers; then
  sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
  # Left out: long sequences, sizes behind 2^32, calls that fail on purpose; and with racecheck and
  # initcheck products of cuBLASLt: the one crashes in its kernels, the other misses what they write.
  slow='*two_to_the*:*long*:*million*:*beyond_memory*:*throws_while_recorded*:*WithoutDevice*'
  products='*matmul*:*product*:*number_of_rows*'
  for name in $(test_names); do
    tools="memcheck racecheck initcheck"
    case $name in
      engine_* | *_cuda_test | sensors_test | upload_test) continue ;; # whole models; no kernel
      *_layer_test) tools=memcheck ;;                                 # kernels that have tests of their own
    esac
    for tool in $tools; do
      flags=(--tool "$tool" --error-exitcode 9 --print-limit 5)
      filter="-$slow"
      [[ $tool == memcheck ]] && flags+=(--report-api-errors no)
      [[ $tool == racecheck ]] && flags+=(--kernel-name kernel_substring=sala)
      [[ $tool != memcheck && $name == cuda_backend_test ]] && filter+=":$products"
      check "$tool $name" '=+ (ERROR|RACECHECK) SUMMARY' timeout 300 "$sanitizer" "${flags[@]}" \
        "$(program "$name")" --gtest_filter="$filter"
    done
  done
fi

if wants compare; then
  # At 12k the hybrid chooses blocks.
  for subject in needle-hybrid/4k needle-hybrid/12k needle-full/4k; do
    model=${subject%/*}
    "$sala" tasks emit --task niah_single_2 --length "${subject#*/}" --samples 1 --seed 5 --tokenizer "$model" --format ruler-jsonl |
      python3 -c 'import json,sys; sys.stdout.write(json.loads(sys.stdin.readline())["input"])' >"$work/prompt.txt"
    for device in cpu cuda; do
      "$sala" logits --model "$model" --prompt "$work/prompt.txt" --device $device --out "$work/$device.npy"
    done
    "$sala" logits --model "$model" --prompt "$work/prompt.txt" --device cuda --out "$work/again.npy"
    check "logits $subject, once more" '' cmp "$work/cuda.npy" "$work/again.npy"
    check "logits $subject" 'difference' python3 scripts/gpu_compare.py logits "$work/cpu.npy" "$work/cuda.npy"
  done
  for device in cpu cuda; do
    check "prompts to 4k on $device" 'minus baseline' "$sala" run --suite scripts/gpu_compare.toml --device $device \
      --db "$work/$device.db" --no-progress
    check "prompts at 16k on $device" '^niah' "$sala" run --suite scripts/gpu_compare.toml --tasks niah_single_2 \
      --lengths 16k --samples 8 --baseline none --model needle-hybrid --device $device --db "$work/$device.db" --no-progress
    "$sala" report --db "$work/$device.db" --format jsonl -o "$work/$device.jsonl"
  done
  check "answers" 'answers|not the same' python3 scripts/gpu_compare.py answers "$sala" "$work/cpu.jsonl" "$work/cuda.jsonl"
fi

benchmarks() {
  local status=0
  "$sala" bench --device cuda --filter "-^prompt/" --json >"$work/bench.json" || status=1
  python3 scripts/bench_table.py "$work/bench.json" >"$work/bench.txt" || status=1
  cat "$work/bench.txt"
  return $status
}
if wants bench; then
  check "benchmarks" '^ceilings|rror' benchmarks
  [[ -s $work/bench.txt ]] && table+=$(sed 's/^/    /' "$work/bench.txt")$'\n'
fi

# speed MODEL LENGTH: one request with random weights and random tokens.
speed() {
  python3 -c 'import json,random,sys; random.seed(1); json.dump([random.randrange(3, 70000) for _ in range(int(sys.argv[1]))], open(sys.argv[2], "w"))' "$2" "$work/ids.json"
  "$sala" generate --model "$1" --weights random --device cuda --tokens "$work/ids.json" --max-tokens 64 --json |
    python3 -c 'import json,sys; r=json.load(sys.stdin); d=r["decode_ms_median"] or 0; print("speed: TTFT %.3f s, %.0f tokens/s, decode %.2f ms per token (median), peak %.2f GiB" % (r["ttft_s"], r["prompt_tokens"] / r["ttft_s"], d, r["peak_bytes"] / 2**30))'
}
if wants speed; then
  for length in $lengths; do
    for model in minicpm-sala-9b qwen3-8b; do
      check "$model at $length" '^speed|rror' speed "$model" "$length"
    done
  done
fi

printf '\n%s' "$table"
printf '%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
