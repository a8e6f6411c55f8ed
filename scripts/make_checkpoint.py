#!/usr/bin/env python3
# Writes a checkpoint of random bf16 weights in the published layout: for trying a model's size without its download.
# SPDX-License-Identifier: Apache-2.0
"""Usage: make_checkpoint.py --config data/configs/NAME --out DIR [--shards N] [--seed N]. Needs numpy.

DIR gets config.json, model-0000i-of-0000N.safetensors and model.safetensors.index.json. Matrices have deviation
1/sqrt(inputs), norms are 1. All cores write; 19 GB take as long as the disk does.
"""
import argparse
import json
import math
import os
import struct
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy

PIECE = 1 << 24  # elements that a process makes at a time


def tensors(config):
    """(name, shape) of every weight, in the order of the layers."""
    hidden, vocab, inner = config["hidden_size"], config["vocab_size"], config["intermediate_size"]
    head = config.get("head_dim") or hidden // config["num_attention_heads"]
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    yield "model.embed_tokens.weight", (vocab, hidden)
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        attention = layer + "self_attn."
        linear = "mixer_types" in config and config["mixer_types"][i].startswith("lightning")
        n_keys = config["lightning_nkv"] * config["lightning_head_dim"] if linear else keys
        yield layer + "input_layernorm.weight", (hidden,)
        yield attention + "q_proj.weight", (queries, hidden)
        yield attention + "k_proj.weight", (n_keys, hidden)
        yield attention + "v_proj.weight", (n_keys, hidden)
        yield attention + "o_proj.weight", (hidden, queries)
        if linear:
            yield attention + "z_proj.weight", (queries, hidden)
            yield attention + "o_norm.weight", (queries,)
        elif "mixer_types" in config:
            yield attention + "o_gate.weight", (queries, hidden)
        if linear or config["model_type"] == "qwen3":
            yield attention + "q_norm.weight", (head,)
            yield attention + "k_norm.weight", (head,)
        yield layer + "post_attention_layernorm.weight", (hidden,)
        yield layer + "mlp.gate_proj.weight", (inner, hidden)
        yield layer + "mlp.up_proj.weight", (inner, hidden)
        yield layer + "mlp.down_proj.weight", (hidden, inner)
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (vocab, hidden)


def split(all_tensors, n_shards):
    """Lists of about equal size, in order."""
    total = sum(math.prod(shape) for _, shape in all_tensors)
    shards, so_far = [[] for _ in range(n_shards)], 0
    for name, shape in all_tensors:
        shards[min(so_far * n_shards // total, n_shards - 1)].append((name, shape))
        so_far += math.prod(shape)
    return shards


def write_header(path, shard):
    """Makes the file in its full size; returns where the data of each tensor begins."""
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shard:
        size = 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + offset)
    return {name: 8 + len(text) + header[name]["data_offsets"][0] for name, _ in shard}


def write_piece(path, begin, count, deviation, seed):
    """count bf16 values at byte `begin` of the file: normal, or ones for deviation 0."""
    if deviation == 0:
        values = numpy.ones(count, numpy.float32)
    else:
        values = numpy.random.default_rng(seed).standard_normal(count, numpy.float32)
        values *= numpy.float32(deviation)
    bits = values.view(numpy.uint32)
    bits += 0x8000  # to the nearest; a tie goes up
    narrow = (bits >> 16).astype("<u2")
    with open(path, "r+b", buffering=0) as file:
        file.seek(begin)
        file.write(narrow)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shards", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    text = (args.config / "config.json").read_text(encoding="utf-8")
    all_tensors = list(tensors(json.loads(text)))
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "config.json").write_text(text, encoding="utf-8")

    weight_map, pieces = {}, []
    for number, shard in enumerate(split(all_tensors, args.shards), 1):
        path = args.out / f"model-{number:05}-of-{args.shards:05}.safetensors"
        begins = write_header(path, shard)
        for name, shape in shard:
            weight_map[name] = path.name
            deviation = 0 if len(shape) == 1 else shape[1] ** -0.5
            for first in range(0, math.prod(shape), PIECE):
                count = min(PIECE, math.prod(shape) - first)
                seed = [args.seed, len(weight_map), first // PIECE]
                pieces.append((path, begins[name] + 2 * first, count, deviation, seed))
    parameters = sum(math.prod(shape) for _, shape in all_tensors)
    index = {"metadata": {"total_size": 2 * parameters}, "weight_map": weight_map}
    (args.out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n", encoding="utf-8")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for done in [pool.submit(write_piece, *piece) for piece in pieces]:
            done.result()
    print(f"{args.out}: {len(all_tensors)} tensors, {parameters} parameters, {2 * parameters} bytes")


if __name__ == "__main__":
    main()
