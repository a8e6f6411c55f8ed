# Writes logits of an exported model, computed in fp64 straight from the definitions, as golden values.
# SPDX-License-Identifier: Apache-2.0
"""Usage: dump_goldens.py --model DIR --out FILE.json [--lengths 65,300,1000,3000]

One case per length, and per route where block selection exists: "config" (rows select blocks when the
prompt has at least dense_len tokens) and "dense". Weights are the file's bf16 values, activations fp64,
window means unrounded, block scores rounded to bf16 before ranking.
Each case: ids, positions, and for every position the logits of `vocabulary`, their logsumexp over the
whole vocabulary and the argmax.
"""
import argparse
import hashlib
import json
import random
from pathlib import Path

import torch

from data import DATA, Generator
from model import Model, load_config
from safetensors_io import read_safetensors


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--lengths", default="65,300,1000,3000")
    parser.add_argument("--data", type=Path, default=DATA)
    args = parser.parse_args()
    weights = args.model / "model.safetensors"
    net = Model(load_config(args.model / "config.json")).double().eval()
    net.load_state_dict({name: value.double() for name, value in read_safetensors(weights).items()})
    sparse = net.config.get("sparse_config")
    generator = Generator(args.data)
    vocabulary = list(range(0, net.config["vocab_size"], 127))
    cases = []
    for length in map(int, args.lengths.split(",")):
        rng = random.Random(f"golden/{length}")
        ids, spans = generator.sample(rng, "niah_multikey_1", max(length, 256), plain=True)
        ids = ids[: min(length, spans[0][0])]  # the prompt, or as much of it as was asked for
        positions = sorted({0, 1, 31, 63, 64, len(ids) // 2, len(ids) - 2, len(ids) - 1} & set(range(len(ids))))
        for route in ("config", "dense") if sparse else ("dense",):
            net.sparse = bool(sparse) and route == "config" and len(ids) >= sparse["dense_len"]
            if route == "config" and not net.sparse:
                continue
            with torch.no_grad():
                logits = net.logits(torch.tensor([ids]), torch.float64, positions)[0]
            cases.append({
                "attention": route, "ids": ids, "positions": positions,
                "logits": [[round(x, 7) for x in row] for row in logits[:, vocabulary].tolist()],
                "logsumexp": [round(x, 7) for x in logits.logsumexp(-1).tolist()],
                "argmax": logits.argmax(-1).tolist(),
            })
            print(f"{len(ids)} tokens, {route}: argmax at the end {generator.bpe.decode([cases[-1]['argmax'][-1]])!r}")
    content = {"model_sha256": hashlib.sha256(weights.read_bytes()).hexdigest(),
               "vocabulary": vocabulary, "cases": cases}
    text = json.dumps(content, separators=(",", ":")).replace('{"attention"', '\n{"attention"')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
