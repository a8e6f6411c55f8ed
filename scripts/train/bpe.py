# Text to token ids for the data generator: a cached byte-level BPE over tokenizer.json.
# SPDX-License-Identifier: Apache-2.0
"""Every generated text is ASCII and made of few distinct pre-tokens, so a dictionary of pre-token ids
in front of plain Python BPE is faster than calling a library per text. `check_against_library`
compares it with Hugging Face `tokenizers` where that is installed."""
import json

from make_tokenizer import ASCII_PATTERN, byte_symbols


class Bpe:
    """encode(text) equals Hugging Face tokenizers' ids for ASCII text without special tokens."""

    def __init__(self, path):
        self.path = str(path)
        model = json.load(open(path, encoding="utf-8"))["model"]
        self.vocab = model["vocab"]
        self.rank = {tuple(merge.split(" ")): i for i, merge in enumerate(model["merges"])}
        self.symbols = byte_symbols()
        self.cache = {}

    def piece(self, piece):
        """Ids of one pre-token."""
        word = [self.symbols[b] for b in piece.encode("ascii")]
        while len(word) > 1:
            best = min(
                range(len(word) - 1),
                key=lambda k: self.rank.get((word[k], word[k + 1]), 1 << 30),
            )
            pair = (word[best], word[best + 1])
            if pair not in self.rank:
                break
            out, k = [], 0
            while k < len(word):
                if k + 1 < len(word) and (word[k], word[k + 1]) == pair:
                    out.append(pair[0] + pair[1])
                    k += 2
                else:
                    out.append(word[k])
                    k += 1
            word = out
        return [self.vocab[symbol] for symbol in word]

    def encode(self, text):
        """Ids of an ASCII text, no BOS."""
        ids, cache = [], self.cache
        for piece in ASCII_PATTERN.findall(text):
            found = cache.get(piece)
            if found is None:
                found = self.piece(piece)
                if len(cache) > 200_000:
                    cache.clear()
                cache[piece] = found
            ids += found
        return ids

    def decode(self, ids):
        """Text of ids; special tokens appear as their names."""
        names = {i: text for text, i in self.vocab.items()}
        back = {symbol: byte for byte, symbol in self.symbols.items()}
        out = b"".join(
            names[i].encode() if i < 3 else bytes(back[c] for c in names[i]) for i in ids
        )
        return out.decode("utf-8", "replace")


def check_against_library(path, texts):
    """Number of texts compared; raises on the first difference. 0 when the library is missing."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        return 0
    ours, theirs = Bpe(path), Tokenizer.from_file(str(path))
    for text in texts:
        expected = theirs.encode(text, add_special_tokens=False).ids
        if ours.encode(text) != expected:
            raise AssertionError(f"token ids differ for {text[:80]!r}")
    return len(texts)
