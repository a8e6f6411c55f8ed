# Training text made on the fly: every batch is a pure function of (seed, stage, batch number).
# SPDX-License-Identifier: Apache-2.0
"""Prompts as sala's tasks print them, followed by the answers, on haystacks of generated prose.

`python3 data.py --check` tests purity, sizes and (where the `tokenizers` library is installed) the
token ids, prints one sample of each task and the speed of one process.
"""
import argparse
import json
import random
import re
import string
import time
import uuid
from pathlib import Path

import numpy as np

import prompts
from bpe import Bpe, check_against_library

BOS, EOS, PAD = 0, 1, 2
MAX_ANSWERS = 8  # per sequence
DATA = Path(__file__).resolve().parents[2] / "data"

TASKS = [
    "niah_single_1", "niah_single_2", "niah_single_3", "niah_multikey_1", "niah_multikey_2",
    "niah_multikey_3", "niah_multivalue", "niah_multiquery", "vt", "cwe", "fwe", "passkey", "prose",
]
EASY_MIX = {
    "niah_single_1": 20, "niah_single_2": 30, "niah_single_3": 8, "niah_multikey_1": 30,
    "passkey": 8, "prose": 4,
}
FULL_MIX = {
    "niah_single_1": 8, "niah_single_2": 12, "niah_single_3": 9, "niah_multikey_1": 12,
    "niah_multikey_2": 9, "niah_multikey_3": 7, "niah_multivalue": 12, "niah_multiquery": 11,
    "vt": 7, "cwe": 4, "fwe": 3, "passkey": 4, "prose": 2,
}


def join_and(items):
    """a / a, and b / a, b, and c."""
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + ", and " + items[-1]


class Prose:
    """Sentences of data/text/prose.json: a template chosen uniformly, each slot filled uniformly."""

    def __init__(self, path):
        content = json.loads(Path(path).read_text())
        self.lists = content["lists"]
        self.templates = [re.split(r"{(\w+)}", text) for text in content["sentences"]]

    def sentence(self, rng):
        parts = list(self.templates[int(rng.random() * len(self.templates))])
        for slot in range(1, len(parts), 2):
            words = self.lists[parts[slot]]
            parts[slot] = words[int(rng.random() * len(words))]
        text = "".join(parts)
        return text[0].upper() + text[1:]


class Generator:
    """Makes token sequences of one exact length. Constant after construction but for caches."""

    def __init__(self, data=DATA, model="needle-hybrid"):
        self.prose = Prose(Path(data) / "text" / "prose.json")
        self.bpe = Bpe(Path(data) / "models" / model / "tokenizer.json")
        lists = self.prose.lists
        self.common = sorted(set(lists["noun"]) | set(lists["adjective"]) | set(lists["verb"]))
        self.n_noise = self.count(prompts.NOISE + "\n")

    def count(self, text):
        return len(self.bpe.encode(text))

    # --- words -----------------------------------------------------------------------------------

    def pseudo_word(self, rng):
        """A word that is in no list: syllables, or plain letters."""
        if rng.random() < 0.6:
            word = ""
            for _ in range(rng.randint(1, 3)):
                word += rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou")
                if rng.random() < 0.4:
                    word += rng.choice("lmnrstk")
            return word
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(3, 7)))

    def key(self, rng, kind, plain):
        if kind == "uuids":
            return self.value(rng, "uuids")
        if not plain and rng.random() < 0.25:
            words = [self.pseudo_word(rng) for _ in range(1 if rng.random() < 0.2 else 2)]
            return "-".join(words)
        lists = self.prose.lists
        return rng.choice(lists["adjective"]) + "-" + rng.choice(lists["noun"])

    def value(self, rng, kind):
        if kind == "uuids":
            return str(uuid.UUID(int=rng.getrandbits(128), version=4))
        return str(rng.randint(1000000, 9999999))

    def sentence(self, rng, kind):
        if kind == "prose":
            return self.prose.sentence(rng)
        words = " ".join(self.pseudo_word(rng) for _ in range(rng.randint(4, 14)))
        return words.capitalize() + "."

    # --- assembly --------------------------------------------------------------------------------

    def sequence(self, prompt, turns):
        """Ids of <s> prompt question answer </s> LF question answer </s> …, and the answers' spans.

        turns: (question with answer prefix, answer). The first question directly follows prompt.
        """
        ids, spans = [BOS], []
        for i, (question, answer) in enumerate(turns):
            ids += self.bpe.encode((prompt if i == 0 else "\n") + question)
            start = len(ids)
            ids += self.bpe.encode(answer)
            ids.append(EOS)
            spans.append((start, len(ids)))
        return ids, spans

    def room(self, length, head, turns, others=()):
        """Tokens left for the haystack."""
        used = 1 + self.count(head) + sum(self.count(t) + 1 for t in others)
        for question, answer in turns:
            used += self.count(question) + self.count(answer) + 2
        return length - used

    def haystack(self, rng, kind, room):
        """Units of haystack text (sentences or lines) of at most `room` tokens together."""
        units = []
        if kind == "noise":
            return [prompts.NOISE] * max(0, room // self.n_noise)
        while True:
            unit = self.sentence(rng, kind)
            room -= self.count(" " + unit)
            if room < 0:
                return units
            units.append(unit)

    def place(self, rng, units, needles):
        """Puts the needles between the units at uniform depths, in a uniform order."""
        slots = sorted(rng.randint(0, len(units)) for _ in needles)
        out, previous = [], 0
        for slot, needle in zip(slots, needles):
            out += units[previous:slot]
            out.append(needle)
            previous = slot
        return out + units[previous:]

    # --- tasks -----------------------------------------------------------------------------------

    def niah(self, rng, length, plain, haystack, keys="words", values="numbers", k=1, v=1, q=1):
        """One needle prompt; None when `length` is too small for it."""
        if haystack == "essay":
            haystack = "prose"
            if not plain and rng.random() < 0.15:
                haystack = "babble" if rng.random() < 0.7 else "noise"
        table = {}
        while len(table) < k:
            table.setdefault(self.key(rng, keys, plain), [self.value(rng, values) for _ in range(v)])
        pairs = [(key, value) for key, all_values in table.items() for value in all_values]
        rng.shuffle(pairs)

        def needle(key, value):
            return prompts.NEEDLE.format(type=values, key=key, value=value)

        def turn(asked):
            single = v * len(asked) == 1
            template, prefix = prompts.NIAH_ONE if single else prompts.NIAH
            text = template.split("{context}")[1].lstrip("\n") + prefix
            found = [value for key in asked for value in in_order[key]]
            return (text.format(type=values[:-1] if single else values, query=join_and(asked)),
                    " " + join_and(found) + ".")

        in_order = {key: [value for other, value in pairs if other == key] for key in table}
        asked = rng.sample(list(table), q)
        turns = [turn(asked)]
        template = (prompts.NIAH_ONE if v * q == 1 else prompts.NIAH)[0]
        head = template.split("{context}")[0].format(type=values[:-1] if v * q == 1 else values)
        several = not plain and rng.random() < 0.4
        if haystack == "needle":
            # Every line is a needle: the one asked for first stands anywhere among them.
            extra = rng.randint(1, 4) if several else 0
            spare = extra * (self.count(turns[0][0]) + self.count(turns[0][1]) + 8)
            lines = [needle(*pairs[0])]
            room = self.room(length, head, turns, lines) - spare
            while True:
                key, value = self.key(rng, keys, plain), self.value(rng, values)
                if key in table:
                    continue
                line = needle(key, value)
                room -= self.count(line + "\n")
                if room < 0:
                    break
                table[key] = in_order[key] = [value]
                lines.append(line)
            rng.shuffle(lines)
            for key in rng.sample(list(table), min(extra, len(table))):
                if len(turns) < MAX_ANSWERS:
                    turns.append(turn([key]))
        else:
            needles = [needle(key, value) for key, value in pairs]
            if several and len(table) > 1:
                for _ in range(rng.randint(1, 4)):
                    more = rng.sample(list(table), rng.choice([1, 1, len(asked)]))
                    grown = turns + [turn(more)]
                    if self.room(length, head, grown, needles) > 0.3 * length:
                        turns = grown
            room = self.room(length, head, turns, needles)
            if room < 0:
                return None
            lines = self.place(rng, self.haystack(rng, haystack, room), needles)
        if haystack in ("noise", "needle"):
            context = "\n".join(lines)
        else:
            # RULER joins empty essay segments too: a space is left before a first needle, behind a
            # last one and between two neighbours. Half of the samples have these spaces.
            pieces, after_needle = [], True
            empty = rng.random() < 0.5
            for line in lines:
                if empty and after_needle and line in needles:
                    pieces.append("")
                pieces.append(line)
                after_needle = line in needles
            if empty and after_needle:
                pieces.append("")
            context = " ".join(pieces)
        return self.sequence(head + context + "\n", turns)

    def vt(self, rng, length, plain, example=False):
        size = 3 if example else 5
        hops = 5 if plain or example or rng.random() < 0.6 else rng.randint(2, 5)
        chains = 2 if not plain and not example and length >= 512 and rng.random() < 0.25 else 1
        names = []
        while len(names) < hops * chains:
            name = "".join(rng.choices(string.ascii_uppercase, k=size))
            if name not in names:
                names.append(name)
        values = rng.sample(range(10000, 100000), chains)
        needles = [[] for _ in range(chains)]
        for c in range(chains):
            chain = names[c * hops:(c + 1) * hops]
            needles[c].append(prompts.VT_FIRST.format(name=chain[0], value=values[c]))
            for name, previous in zip(chain[1:], chain):
                needles[c].append(prompts.VT_NEXT.format(name=name, previous=previous))
        order = [c for c in range(chains) for _ in range(hops)]
        rng.shuffle(order)
        merged = [needles[c].pop(0) for c in order]
        head, question = prompts.VT[0].split("{context}")
        question = (question + prompts.VT[1]).format(query=values[0], num=hops)
        answer = " ".join(names[:hops])
        if example:
            lines = self.place(rng, [prompts.NOISE] * rng.randint(5, 12), merged)
            return head + "\n".join(lines) + question + " " + answer + "\n"
        before = ""
        if length >= 2048 and (plain or rng.random() < 0.5):
            before = self.vt(rng, length, plain, example=True)
        turns = [(question, answer + ".")]
        room = self.room(length, before + head, turns, merged)
        if room < 0:
            return None
        lines = self.place(rng, self.haystack(rng, "noise", room), merged)
        return self.sequence(before + head + "\n".join(lines), turns)

    def cwe_list(self, rng, n_words, high, low):
        """(numbered list, the ten frequent words in order of first appearance)."""
        pool = rng.sample(self.common, min(n_words, len(self.common)))
        while len(pool) < n_words:
            pool.append(self.pseudo_word(rng))
        items = pool[:10] * high + pool[10:] * low
        rng.shuffle(items)
        frequent = set(pool[:10])
        seen = [w for w in dict.fromkeys(items) if w in frequent]
        return " ".join(f"{i}. {w}" for i, w in enumerate(items, 1)), seen

    def cwe(self, rng, length, plain):
        head, question = prompts.CWE[0].split("{context}")
        question += prompts.CWE[1]

        def numbered(words):
            return " " + " ".join(f"{i}. {w}" for i, w in enumerate(words, 1))

        before = ""
        if length >= 2048 and (plain or rng.random() < 0.5):
            context, seen = self.cwe_list(rng, *((40, 10, 3) if length >= 4096 else (20, 3, 1)))
            before = head + context + question + numbered(seen) + "\n"
        room = self.room(length, before + head, [(question, " ")]) - 45
        n_items = room * 10 // 43
        for _ in range(20):
            highest = max(2, min(30, n_items // 14))
            high = highest if plain else rng.randint(max(2, highest // 2), highest)
            low = max(1, high // 10)
            n_words = 10 + (n_items - 10 * high) // low
            if n_words < 12:
                return None
            context, seen = self.cwe_list(rng, n_words, high, low)
            made = self.sequence(before + head + context, [(question, numbered(seen))])
            if len(made[0]) <= length:
                return made
            n_items -= max(2, (len(made[0]) - length) // 4 + 1)
        return None

    def fwe(self, rng, length, plain):
        head, question = prompts.FWE[0].split("{context}")
        question += prompts.FWE[1]
        room = self.room(length, head, [(question, " ")]) - 24
        n_items = room * 10 // 22
        for _ in range(20):
            size = max(8, (length - 50) // 50)
            vocabulary = []
            while len(vocabulary) < size:
                word = "".join(rng.choices(string.ascii_lowercase, k=6))
                if word not in vocabulary:
                    vocabulary.append(word)
            vocabulary[0] = "..."
            counts = [int(n_items * (r ** -2.0) / 1.6449340668482264) for r in range(1, size + 1)]
            if counts[3] <= counts[4] or counts[3] < 2:
                counts = [max(2, n_items - 14), 6, 4, 3, 1] + [0] * (size - 5)
            items = [w for w, n in zip(vocabulary, counts) for _ in range(n)]
            rng.shuffle(items)
            answer = " " + " ".join(vocabulary[1:4]) + "."
            made = self.sequence(head + " ".join(items), [(question, answer)])
            if len(made[0]) <= length:
                return made
            n_items -= max(2, (len(made[0]) - length) // 3 + 1)
        return None

    def passkey(self, rng, length, plain):
        value = str(rng.randint(1, 50000))
        needle = prompts.PASSKEY_NEEDLE.format(value=value)
        turns = [(prompts.PASSKEY_QUESTION, f" {value}.")]
        room = self.room(length, prompts.PASSKEY_TASK, turns, [needle]) - 8
        n_chars = room * (len(prompts.NOISE) + 1) // self.n_noise
        while n_chars > 0:
            text = " ".join([prompts.NOISE] * (n_chars // len(prompts.NOISE) + 1))
            p = rng.randint(0, n_chars)
            made = self.sequence(
                "\n".join([prompts.PASSKEY_TASK, text[:p], needle, text[: n_chars - p], ""]), turns)
            if len(made[0]) <= length:
                return made
            n_chars -= 4 * (len(made[0]) - length) + 1
        return None

    def plain_prose(self, rng, length):
        units = self.haystack(rng, "prose", length - 1)
        return [BOS] + self.bpe.encode(" ".join(units)), []

    def sample(self, rng, task, length, easy=False, plain=False):
        """(ids, answer spans) of at most `length` tokens, as near to it as the task's units allow."""
        for attempt in range(8):
            made = self.try_sample(rng, task, length, easy, plain, shrink=attempt)
            if made is not None and len(made[0]) <= length and len(made[1]) <= MAX_ANSWERS:
                return made
        raise ValueError(f"{task} does not fit into {length} tokens")

    def try_sample(self, rng, task, length, easy, plain, shrink):
        def some(n):
            """n needles, sometimes fewer; fewer again after every failed try."""
            least = 2 if n > 1 else 1
            n = max(least, n - shrink)
            return n if plain or rng.random() < 0.6 else rng.randint(least, n)

        if task == "niah_single_1":
            return self.niah(rng, length, plain, "noise")
        if task == "niah_single_2":
            return self.niah(rng, length, plain, "essay")
        if task == "niah_single_3":
            return self.niah(rng, length, plain, "essay", values="uuids")
        if task == "niah_multikey_1":
            k = 2 if easy else some(4 if length < 1024 or plain else rng.choice([4, 4, 8]))
            return self.niah(rng, length, plain, "essay", k=k)
        if task == "niah_multikey_2":
            return self.niah(rng, length, plain, "needle")
        if task == "niah_multikey_3":
            return self.niah(rng, length, plain, "needle", keys="uuids", values="uuids")
        if task == "niah_multivalue":
            return self.niah(rng, length, plain, "essay", v=some(4))
        if task == "niah_multiquery":
            k = some(4)
            return self.niah(rng, length, plain, "essay", k=k, q=k if plain else rng.randint(2, k))
        if task == "vt":
            return self.vt(rng, length, plain)
        if task == "cwe":
            return self.cwe(rng, length, plain)
        if task == "fwe":
            return self.fwe(rng, length, plain)
        if task == "passkey":
            return self.passkey(rng, length, plain)
        if task == "prose":
            return self.plain_prose(rng, length)
        raise ValueError(f"no task {task!r}; known: {', '.join(TASKS)}")


def pack(samples, tasks, length):
    """Arrays of one batch: tokens (B, L), number of the answer a token belongs to (0: none), task."""
    tokens = np.full((len(samples), length), PAD, np.int16)
    answer = np.zeros((len(samples), length), np.int8)
    for row, (ids, spans) in enumerate(samples):
        tokens[row, : len(ids)] = ids
        for number, (start, end) in enumerate(spans, 1):
            answer[row, start:end] = number
    return {
        "tokens": tokens,
        "answer": answer,
        "task": np.array([TASKS.index(task) for task in tasks], np.int64),
    }


class StageData:
    """Map-style data set: item i is the i-th batch of a stage.

    stage: {"name", "lengths": {length: weight}, "easy": bool}. Every batch has one length and
    tokens_per_step // length sequences.
    """

    def __init__(self, stage, seed, tokens_per_step, data=DATA):
        self.stage, self.seed, self.tokens_per_step, self.data = stage, seed, tokens_per_step, data
        self.generator = None

    def __getitem__(self, index):
        if self.generator is None:
            self.generator = Generator(self.data)
        rng = random.Random(f"{self.seed}/{self.stage['name']}/{index}")
        lengths = {int(length): weight for length, weight in self.stage["lengths"].items()}
        length = rng.choices(list(lengths), list(lengths.values()))[0]
        mix = EASY_MIX if self.stage.get("easy") else FULL_MIX
        tasks = rng.choices(list(mix), list(mix.values()), k=max(1, self.tokens_per_step // length))
        samples = []
        for row, task in enumerate(tasks):
            try:
                samples.append(self.generator.sample(rng, task, length, self.stage.get("easy", False)))
            except ValueError:  # long values do not always fit into the shortest length
                tasks[row] = "niah_single_2"
                samples.append(self.generator.sample(rng, tasks[row], length, easy=True))
        return pack(samples, tasks, length)


class EvalData:
    """Map-style data set of held-out batches: item i is `rows` plain prompts of cells[i]."""

    def __init__(self, cells, seed, data=DATA):
        self.cells, self.seed, self.data = cells, seed, data
        self.generator = None

    def __len__(self):
        return len(self.cells)

    def __getitem__(self, index):
        if self.generator is None:
            self.generator = Generator(self.data)
        task, length, rows, number = self.cells[index]
        rng = random.Random(f"held-out/{self.seed}/{task}/{length}/{number}")
        samples = [self.generator.sample(rng, task, length, plain=True) for _ in range(rows)]
        return pack(samples, [task] * rows, length)


def check():
    generator = Generator()
    texts = []
    for easy in (True, False):
        for length in (256, 512, 1024, 4096, 8192):
            for task in EASY_MIX if easy else FULL_MIX:
                rng = random.Random(f"{task}/{length}/{easy}")
                fill, answers, start = [], [], time.perf_counter()
                for number in range(max(2, 20_000 // length)):
                    ids, spans = generator.sample(rng, task, length, easy, plain=number % 3 == 2)
                    assert len(ids) <= length and all(ids[end - 1] == EOS for _, end in spans)
                    fill.append(len(ids) / length)
                    answers.append(len(spans))
                    if length <= 1024:
                        cut = spans[0][0] if spans else len(ids)
                        texts.append(generator.bpe.decode(ids[1:cut]))
                        assert generator.bpe.encode(texts[-1]) == ids[1:cut], texts[-1]
                speed = sum(fill) * length / (time.perf_counter() - start)
                print(f"{task:16} {length:5} {'easy' if easy else 'full'}  filled {min(fill):.3f}"
                      f" mean {sum(fill) / len(fill):.3f}  answers {sum(answers) / len(answers):.2f}"
                      f"  {speed / 1e6:.2f}M tokens/s")
    for task in TASKS:
        ids, spans = generator.sample(random.Random(task), task, 256)
        print(f"--- {task}: {len(ids)} tokens, answers at {spans}")
        print(generator.bpe.decode(ids))
    stage = {"name": "check", "lengths": {"256": 1, "1024": 1}}
    first, second = StageData(stage, 5, 8192), StageData(stage, 5, 8192)
    for index in (3, 0, 7):
        one, two = first[index], second[index]
        assert all((one[name] == two[name]).all() for name in one), "a batch is not reproducible"
    assert first[0]["tokens"].tobytes() != first[1]["tokens"].tobytes()
    for length in (256, 1024, 8192):
        data = StageData({"name": "speed", "lengths": {str(length): 1}}, 1, 65536)
        data[0]
        start = time.perf_counter()
        filled = sum((data[index]["tokens"] != PAD).mean() for index in range(1, 4)) / 3
        rate = 3 * 65536 / (time.perf_counter() - start)
        print(f"length {length}: {rate / 1e6:.2f}M tokens/s in one process, {filled:.1%} filled")
    compared = check_against_library(DATA / "models" / "needle-hybrid" / "tokenizer.json", texts)
    print(f"{compared} prompts compared with the tokenizers library" if compared
          else "tokenizers library not installed: ids compared with a second encoding only")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", required=True)
    parser.parse_args()
    check()
