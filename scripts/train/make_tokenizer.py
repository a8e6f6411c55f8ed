# Learns the 4096-entry byte-level BPE of the reference pair and writes it into every model folder.
# SPDX-License-Identifier: Apache-2.0
"""Usage: make_tokenizer.py [--data DATA_DIR]

Standard library only and deterministic: the same data/text/prose.json gives the same files.
Digits never mix with letters (pre-tokenizer), so the merges of numbers are made, not learned: every
run of one to three digits is exactly one token whichever of its pairs is merged first.
"""
import argparse
import json
import random
import re
from collections import Counter, defaultdict
from pathlib import Path

import prompts

VOCAB_SIZE = 4096
SPECIALS = ["<s>", "</s>", "<pad>"]
MODELS = ["needle-hybrid", "needle-full"]
PATTERN = (
    r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
# The same pattern for ASCII text, in the dialect of Python's re.
ASCII_PATTERN = re.compile(
    r"[^\r\nA-Za-z0-9]?[A-Za-z]+|[0-9]{1,3}| ?[^\sA-Za-z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_symbols():
    """The printable character that stands for each of the 256 bytes, as in GPT-2."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, extra = {}, 0
    for byte in range(256):
        if byte in plain:
            table[byte] = chr(byte)
        else:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


def number_merges():
    """Merges that turn any two or three digits into one token, whatever pair comes first."""
    digits = "0123456789"
    two = [(a, b) for a in digits for b in digits]
    three = [pair for a in digits for b in digits for c in digits for pair in ((a + b, c), (a, b + c))]
    return two + three


def corpus(prose):
    """Counts of pre-tokens: how much each is worth being short."""
    counts = Counter()

    def add(text, weight):
        for piece in ASCII_PATTERN.findall(text):
            if not piece[-1].isdigit():
                counts[piece] += weight

    rng = random.Random(20260101)
    for pair in (prompts.NIAH, prompts.NIAH_ONE, prompts.VT, prompts.CWE, prompts.FWE):
        for text in pair:
            add(re.sub(r"{\w+}", "", text), 400)
    add(" numbers uuids number uuid words word", 400)
    for text in (prompts.NEEDLE, prompts.NOISE, prompts.PASSKEY_TASK, prompts.PASSKEY_NEEDLE,
                 prompts.PASSKEY_QUESTION, prompts.VT_FIRST, prompts.VT_NEXT):
        add(re.sub(r"{\w+}", "", text), 400)
    for label, words in prose["lists"].items():
        for word in words:
            add(" " + word, 160 if label in ("name", "place", "weekday") else 100)
    for noun in prose["lists"]["noun"]:
        add("-" + noun, 80)
    for template in prose["sentences"]:
        start = template[0].upper() + template[1:]
        add(" " + re.sub(r"{\w+}", "", start), 40)
    for word in prose["lists"]["adjective"] + prose["lists"]["food"] + prose["lists"]["count"]:
        add(" " + word.capitalize(), 2)
    for _ in range(400):
        add(" " + "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=5)), 1)
        add(" " + "".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)), 1)
        add("".join(rng.choice("0123456789abcdef") if c == "x" else c
                    for c in " xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx"), 1)
    return counts


def learn(counts, tokens, size):
    """Plain BPE over unique pre-tokens until `tokens` holds `size` entries; returns the merges."""
    symbols = byte_symbols()
    words = [[symbols[b] for b in piece.encode()] for piece in counts]
    weight = list(counts.values())
    pairs, where = Counter(), defaultdict(set)
    for i, word in enumerate(words):
        for pair in zip(word, word[1:]):
            pairs[pair] += weight[i]
            where[pair].add(i)
    merges = []
    while len(tokens) < size:
        best = max(pairs.items(), key=lambda item: (item[1], item[0]))[0]
        merges.append(best)
        joined = best[0] + best[1]
        if joined not in tokens:
            tokens[joined] = len(tokens)
        for i in sorted(where.pop(best)):
            word = words[i]
            for pair in zip(word, word[1:]):
                pairs[pair] -= weight[i]
            out, k = [], 0
            while k < len(word):
                if k + 1 < len(word) and (word[k], word[k + 1]) == best:
                    out.append(joined)
                    k += 2
                else:
                    out.append(word[k])
                    k += 1
            words[i] = out
            for pair in zip(out, out[1:]):
                pairs[pair] += weight[i]
                where[pair].add(i)
        del pairs[best]
    return merges


def build(prose):
    """The content of tokenizer.json."""
    tokens = {text: i for i, text in enumerate(SPECIALS)}
    for symbol in byte_symbols().values():
        tokens[symbol] = len(tokens)
    merges = number_merges()
    for left, right in merges:
        tokens.setdefault(left + right, len(tokens))
    merges = merges + learn(corpus(prose), tokens, VOCAB_SIZE)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
            for i, text in enumerate(SPECIALS)
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated",
                 "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                 "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                    "use_regex": False},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
            "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
            "ignore_merges": False, "vocab": tokens,
            "merges": [f"{left} {right}" for left, right in merges],
        },
    }


CONFIG = {
    "add_bos_token": True,
    "add_eos_token": False,
    "bos_token": "<s>",
    "eos_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": None,
    "clean_up_tokenization_spaces": False,
    "model_max_length": 1000000000,
    "tokenizer_class": "PreTrainedTokenizerFast",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path(__file__).resolve().parents[2] / "data")
    args = parser.parse_args()
    prose = json.loads((args.data / "text" / "prose.json").read_text())
    tokenizer = json.dumps(build(prose), ensure_ascii=False, indent=0, separators=(",", ":"))
    for name in MODELS:
        folder = args.data / "models" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(tokenizer + "\n", encoding="utf-8")
        (folder / "tokenizer_config.json").write_text(json.dumps(CONFIG, indent=1) + "\n")
        print(folder / "tokenizer.json")


if __name__ == "__main__":
    main()
