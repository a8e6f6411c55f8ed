#!/usr/bin/env python3
"""Compares what the CPU and the GPU answered: gpu_compare.py logits CPU.npy GPU.npy, or
gpu_compare.py answers SALA CPU.jsonl GPU.jsonl (two exports of `sala report`). Exit 0: equal within bf16."""
import hashlib
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np

ALL_ROWS = 0.05  # relative size of the difference of all logits: a dozen layers in bf16
SAME_TOP = 0.97  # share of positions with the same largest logit; the others are near-ties
NEAR_TIE = 0.02  # gap between two logits, as a share of the spread of their row


def compare_logits(cpu_file, gpu_file):
    cpu, gpu = np.load(cpu_file), np.load(gpu_file)
    if cpu.shape != gpu.shape or not np.isfinite(gpu).all():
        sys.exit(f"shapes {cpu.shape} and {gpu.shape}, or values that are not finite")
    difference = float(np.linalg.norm(gpu - cpu) / np.linalg.norm(cpu))
    same = float((gpu.argmax(axis=1) == cpu.argmax(axis=1)).mean())
    print(f"difference {difference:.2e}, same largest logit {same:.4f}")
    return difference <= ALL_ROWS and same >= SAME_TOP


class Sala:
    """The program, on token ids."""

    def __init__(self, binary):
        self.binary = binary
        self.folder = tempfile.TemporaryDirectory()

    def run(self, *arguments, **options):
        return subprocess.run([self.binary, *arguments], check=True, capture_output=True, **options).stdout

    def file_of(self, ids):
        path = pathlib.Path(self.folder.name) / "ids.json"
        path.write_text(json.dumps(ids))
        return str(path)

    def prompt_ids(self, row):
        """The ids of a row's prompt, made again and checked by their hash."""
        lines = self.run("tasks", "emit", "--task", row["task"], "--length", str(row["length_tokens"]),
                         "--samples", str(row["sample_index"] + 1), "--seed", str(row["seed"]),
                         "--tokenizer", row["model"], "--format", "ruler-jsonl").splitlines()
        text = json.loads(lines[-1])["input"]
        ids = json.loads(self.run("tokenize", "--model", row["model"], input=text.encode()))
        for candidate in (ids, [0] + ids):
            if hashlib.sha256(np.array(candidate, "<i4").tobytes()).hexdigest() == row["prompt_sha256"]:
                return candidate
        raise ValueError(f"the prompt of {row['task']} sample {row['sample_index']} could not be made again")

    def tokens(self, row, ids, device):
        return json.loads(self.run("generate", "--model", row["model"], "--tokens", self.file_of(ids), "--max-tokens",
                                   str(row["output_tokens"] + 16), "--device", device, "--json"))["tokens"]

    def gap(self, row, ids, a, b):
        """How far apart the CPU's logits of two continuations are, as a share of their spread."""
        out = str(pathlib.Path(self.folder.name) / "last.npy")
        self.run("logits", "--model", row["model"], "--tokens", self.file_of(ids), "--last", "1", "--device", "cpu",
                 "--out", out)
        logits = np.load(out)[0]
        return abs(float(logits[a] - logits[b])) / float(logits.max() - logits.min())

    def is_near_tie(self, row):
        ids = self.prompt_ids(row)
        cpu, gpu = self.tokens(row, ids, "cpu"), self.tokens(row, ids, "cuda")
        for i, (a, b) in enumerate(zip(cpu, gpu)):
            if a != b:
                return self.gap(row, ids + cpu[:i], a, b) <= NEAR_TIE
        return len(cpu) == len(gpu)  # equal after all, or one of them ended early


def compare_answers(binary, cpu_file, gpu_file):
    def rows(path):
        parsed = map(json.loads, pathlib.Path(path).read_text(encoding="utf-8").splitlines())
        return {(r["model"], r["task"], r["length_tokens"], r["sample_index"], r["prompt_sha256"]): r
                for r in parsed if r["output"] is not None}

    cpu, gpu = rows(cpu_file), rows(gpu_file)
    if not cpu or cpu.keys() != gpu.keys():
        print(f"the samples are not the same: {len(cpu)} and {len(gpu)}, {len(cpu.keys() & gpu.keys())} in common")
        return False
    differing = [cpu[key] for key in cpu if (cpu[key]["output"], cpu[key]["finish"]) !=
                 (gpu[key]["output"], gpu[key]["finish"])]
    sala = Sala(binary)
    unexplained = [row for row in differing if not sala.is_near_tie(row)]
    score = [np.mean([row["score"] for row in side.values()]) for side in (cpu, gpu)]
    print(f"{len(cpu)} answers, {len(differing)} differ, {len(differing) - len(unexplained)} of them on near-ties; "
          f"mean score {score[0]:.4f} and {score[1]:.4f}")
    for row in unexplained:
        print(f"  {row['model']} {row['task']} {row['length_tokens']} sample {row['sample_index']}")
    return not unexplained


if __name__ == "__main__":
    check = {"logits": compare_logits, "answers": compare_answers}[sys.argv[1]]
    sys.exit(0 if check(*sys.argv[2:]) else 1)
