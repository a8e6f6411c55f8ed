#!/usr/bin/env python3
"""Prints the JSON of `sala bench --json` as a table: bench_table.py FILE.json. Exit 1 when a benchmark failed."""
import json
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    content = json.load(file)
context, rows = content["context"], content["benchmarks"]
print(f"{'kernel':<34} {'us':>10} {'TFLOP/s':>8} {'GB/s':>7} {'of bound':>8}")
for row in rows:
    name = row["name"].rsplit("/", 1)[0]  # without the kind of clock
    if row.get("error_occurred"):
        print(f"{name:<34} {row['error_message']}")
        continue
    seconds = row["real_time"] * 1e-6
    print(f"{name:<34} {row['real_time']:>10.1f} {row['flops'] / seconds / 1e12:>8.1f} "
          f"{row['bytes'] / seconds / 1e9:>7.0f} {row['bound_frac']:>8.1%}")
failed = sum(bool(row.get("error_occurred")) for row in rows)
print(f"ceilings of {context['device']}: {float(context['gemm_flops_per_s']) / 1e12:.1f} TFLOP/s, "
      f"{float(context['copy_bytes_per_s']) / 1e9:.0f} GB/s; {len(rows)} benchmarks, {failed} failed")
sys.exit(1 if failed else 0)
