#!/usr/bin/env python3
"""Writes essay.sents.json for a haystack text: where NLTK's Punkt model begins its sentences.

Usage: scripts/make_sentence_starts.py DIR/essay.json > DIR/essay.sents.json

Needs the nltk package and its English Punkt model (nltk.download("punkt_tab")). The model has no clear licence, which
is why sala ships none and reads this file instead; docs/ruler.md describes its fields.
"""
import hashlib
import itertools
import json
import re
import sys

import nltk

SEAM_WORDS = 60  # Punkt looks at the neighbourhood of a break only


def sentence_starts(text):
    """Code point offsets of the sentences of a text."""
    starts, end = [], 0
    for sentence in nltk.sent_tokenize(text):
        starts.append(text.index(sentence, end))
        end = starts[-1] + len(sentence)
    return starts


def breaks_at_the_seam(words):
    """Whether a sentence begins with the text when it follows on itself."""
    tail, head = " ".join(words[-SEAM_WORDS:]), " ".join(words[:SEAM_WORDS])
    return len(tail) + 1 in sentence_starts(f"{tail} {head}")


def describe(raw):
    text = re.sub(r"\s+", " ", json.loads(raw)["text"])
    leading = len(text) - len(text.lstrip())
    bytes_before = list(itertools.accumulate((len(c.encode()) for c in text), initial=0))
    starts = [bytes_before[leading + start] for start in sentence_starts(text.strip())]
    return {
        "format": "sala-sentence-starts-1",
        "essay_sha256": hashlib.sha256(raw).hexdigest(),
        "normalized_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "normalized_bytes": bytes_before[-1],
        "words": len(text.split(" ")),
        "sentences": len(starts),
        "seam_break": breaks_at_the_seam(text.split()),
        "splitter": f"NLTK {nltk.__version__} sent_tokenize",
        "starts": starts,
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as essay:
        json.dump(describe(essay.read()), sys.stdout, separators=(",", ":"))
    print()
