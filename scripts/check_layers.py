#!/usr/bin/env python3
"""Checks who includes whom. Usage: check_layers.py [ROOT]; with --self-test plants a violation and expects to find it.

ALLOWED maps a folder to the prefixes its files may include besides their own folder and engine/base; the longest
matching folder decides.
"""
import pathlib
import re
import sys
import tempfile

KIND = ["engine/tensor/", "engine/backend/backend.h", "engine/backend/workspace.h", "engine/attention/attention.h",
        "engine/attention/options.h", "engine/attention/reference_math.h", "engine/attention/selection.h",
        "engine/attention/dense/dense"]
ALLOWED = {
    "engine/base": [],
    "engine/tensor": ["engine/backend/backend.h"],
    "engine/backend": ["engine/tensor/"],
    "engine/attention": ["engine/tensor/", "engine/backend/backend.h", "engine/backend/workspace.h"],
    "engine/attention/dense": KIND + ["engine/backend/cpu/", "engine/backend/cuda/"],
    "engine/attention/infllm_v2": KIND + ["engine/backend/cpu/", "engine/backend/cuda/"],
    "engine/attention/lightning": KIND + ["engine/backend/cpu/", "engine/backend/cuda/"],
    "engine/text": [],
    "engine/model": ["engine/tensor/", "engine/backend/backend.h", "engine/backend/workspace.h",
                     "engine/attention/attention.h"],
    "engine/bench": ["engine/"],
    "engine": ["engine/"],
    "harness": ["engine/engine.h", "engine/request.h", "engine/text/tokenizer.h", "engine/text/chat_formats.h",
                "harness/"],
    "harness/scorers": ["harness/scorer.h"],
    "harness/compare": ["harness/store/"],
    "harness/store": ["engine/request.h"],
    "harness/cli": ["engine/", "harness/", "tasks/", "reports/"],
    "tasks": ["harness/task.h", "harness/scorer.h", "engine/text/tokenizer.h", "engine/text/chat_formats.h"],
    "reports": ["harness/store/reader.h", "harness/compare/", "harness/report.h"],
    "tests": ["engine/", "harness/", "tasks/", "reports/"],
}
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
CUDA_HEADER = re.compile(r'^\s*#\s*include\s+[<"](cuda|cublas|cudnn|nvtx)')


def folder_of(path):
    """The longest folder in ALLOWED that holds the path."""
    parts = path.split("/")[:-1]
    for n in range(len(parts), 0, -1):
        name = "/".join(parts[:n])
        if name in ALLOWED:
            return name
    return None


def violations(root):
    found = []
    for path in sorted(p for top in ("engine", "harness", "tasks", "reports", "tests")
                       for p in (root / top).rglob("*") if p.suffix in (".h", ".cpp", ".cu", ".cuh")):
        name = path.relative_to(root).as_posix()
        if "node_modules" in name:
            continue
        own = folder_of(name)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if CUDA_HEADER.match(line) and "cuda" not in name:
                found.append(f"{name}:{number}: CUDA header outside a path that names cuda")
            match = INCLUDE.match(line)
            if not match:
                continue
            target = match.group(1)
            if "/" not in target:
                found.append(f"{name}:{number}: include {target} by its path from the root")
                continue
            own_prefix = own + "/"
            allowed = [own_prefix, "engine/base/"] + ALLOWED[own]
            if not any(target.startswith(prefix) for prefix in allowed):
                found.append(f"{name}:{number}: {own} may not include {target}")
            # A parent folder's own files do not open up its separately listed children.
            elif folder_of(target) not in (own, None) and target.startswith(own_prefix) and own not in (
                    "engine", "harness", "tests", "engine/attention", "engine/bench"):
                found.append(f"{name}:{number}: {own} may not include {target}")
    return found


def self_test():
    with tempfile.TemporaryDirectory() as temporary:
        root = pathlib.Path(temporary)
        (root / "tasks").mkdir()
        (root / "tasks" / "planted.cpp").write_text('#include "engine/engine.h"\n')
        if not violations(root):
            sys.exit("check_layers: the planted violation was not found")


if __name__ == "__main__":
    self_test()
    problems = violations(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "."))
    print("\n".join(problems) or "layers: no violation")
    sys.exit(1 if problems else 0)
