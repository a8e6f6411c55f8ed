#!/usr/bin/env bash
# Trains both models of the reference pair: side by side on two GPUs, one after the other on one.
# SPDX-License-Identifier: Apache-2.0
# Usage: run_pair.sh OUT SECONDS [--background] [options of train.py ...]
# Logs: OUT/{hybrid,full}/{log.jsonl,train.log}; models: OUT/{hybrid,full}/export; OUT/finished holds
# the two exit codes. The same command again goes on from the checkpoints.
set -u
here=$(cd "$(dirname "$0")" && pwd)
out=${1:?OUT} seconds=${2:?SECONDS}
shift 2
mkdir -p "$out"
if [ "${1:-}" = --background ]; then
  shift
  rm -f "$out/finished"
  setsid nohup "$0" "$out" "$seconds" "$@" >"$out/run_pair.log" 2>&1 </dev/null &
  echo "started as process $!; watch $out/*/train.log, the end is $out/finished"
  exit 0
fi
python=${PYTHON:-python3}
gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU')
export OMP_NUM_THREADS=1 PYTHONUNBUFFERED=1

train() { # model, GPU, number of workers
  local model=$1 gpu=$2 workers=$3
  shift 3
  mkdir -p "$out/$model"
  CUDA_VISIBLE_DEVICES=$gpu "$python" "$here/train.py" --model "$model" --out "$out/$model" \
    --seconds "$seconds" --workers "$workers" --resume "$@" >>"$out/$model/train.log" 2>&1
}

cores=$(nproc)
if [ "$gpus" -ge 2 ]; then
  workers=$(( (cores - 2) / 2 > 15 ? 15 : (cores - 2) / 2 ))
  train hybrid 0 "$workers" "$@" & first=$!
  train full 1 "$workers" "$@" & second=$!
  wait "$first"; code_hybrid=$?
  wait "$second"; code_full=$?
else
  workers=$(( cores - 2 > 10 ? 10 : cores > 3 ? cores - 2 : 1 ))
  train hybrid 0 "$workers" "$@"; code_hybrid=$?
  train full 0 "$workers" "$@"; code_full=$?
fi
echo "hybrid $code_hybrid full $code_full" >"$out/finished"
[ "$code_hybrid" = 0 ] && [ "$code_full" = 0 ]
