# Trains small tokenizers of every supported style and writes what the tokenizers library makes of many strings.
# SPDX-License-Identifier: Apache-2.0
"""Usage: small_tokenizers.py --out DIR

Needs the packages tokenizers and sentencepiece. Writes into DIR:
  gpt2.json llama3.json qwen.json llama2.json   tokenizer.json files of about a thousand tokens
  llama2.model                                  the same style, trained by sentencepiece
  strings.json                                  what the strings are made of; see make_string
  goldens.json                                  for every case the hash of each string's ids
A case is one of the files, some with top-level members replaced ("changes").
"""
import argparse
import base64
import json
import random
import unicodedata
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

STRINGS = 10240
STRINGS_OF_VARIANTS = 4096
FULL_LISTS = 40
RANDOM_DECODES = 100
VOCAB = 1000

LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", r"\p{N}")
META = "\u2581"

ENGLISH = (
    "the of and to in is it that was for on are with as his they be at one have this from or had by hot word but "
    "what some we can out other were all there when up use your how said an each she which do their time if will "
    "way about many then them write would like so these her long make thing see him two has look more day could go "
    "come did number sound no most people my over know water than call first who may down side been now find "
    "it's we'll they're I've don't he'd I'm WE'LL It'S"
).split()
LETTERS = {
    "latin": "aeiouàéèêëïôùüßñçåøæœşğıłżźčšžđțăʼ",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊΰ",
    "cyrillic": "абвгдеёжзийклмнопрстуфхцчшщъыьэюяіїєґ",
    "armenian": "աբգդեզէըթժիլխծկհձղճմյնշոչպջռսվտրցւփք",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשתםןץךף",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئةى",
    "devanagari": "कखगघचछजझटठडढणतथदधनपफबभमयरलवशषसहािीुूेैोौ्ंं",
    "bengali": "কখগঘচছজঝটঠডঢণতথদধনপফবভমযরলশষসহািীুূেৈোৌ্",
    "tamil": "கஙசஞடணதநபமயரலவழளறனாிீுூெேைொோௌ்",
    "thai": "กขคงจฉชซญณดตถทธนบปผพฟภมยรลวศสหอฮะาิีึืุู่้",
    "georgian": "აბგდევზთიკლმნოპჟრსტუფქღყშჩცძწჭხჯჰ",
    "ethiopic": "ሀሁሂሃሄህሆለሉሊላሌልሎመሙሚማሜምሞሰሱሲሳሴስሶ",
    "hangul": "가나다라마바사아자차카타파하고노도로모보소오조초코토포호",
    "hiragana": "あいうえおかきくけこさしすせそたちつてとなにぬねのはひふへほまみむめも",
    "katakana": "アイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモー",
    "han": "的一是不了人我在有他这中大来上个国到说们为子和你地出道也时年得就那要下以生会自着去之过家学对可",
}
# Where single code points are drawn from; only those assigned since Unicode 3.2, which every library knows alike.
BLOCKS = [
    (0x0000, 0x007F), (0x0080, 0x024F), (0x0250, 0x036F), (0x0370, 0x052F), (0x0530, 0x06FF), (0x0700, 0x07BF),
    (0x0900, 0x0DFF), (0x0E00, 0x0FFF), (0x1000, 0x13FF), (0x1400, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1FFF),
    (0x2000, 0x22FF), (0x2300, 0x2BFF), (0x2E80, 0x33FF), (0x3400, 0x34FF), (0x4E00, 0x50FF), (0x9000, 0x90FF),
    (0xA000, 0xA4CF), (0xAC00, 0xADFF), (0xD700, 0xD7A3), (0xF900, 0xFAFF), (0xFB00, 0xFDFF), (0xFE20, 0xFFFD),
    (0x10300, 0x1044F), (0x1D000, 0x1D7FF), (0x20000, 0x200FF), (0x2F800, 0x2FA1F),
]
FRAGMENTS = [
    # white space, controls and what only looks like them
    " ", "  ", "\n", "\r\n", "\r", "\t", "\n\n", " \n", "\t\t", "\x0b", "\x0c", "\x85", "\xa0", "\u1680", "\u180e",
    "\u2003", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff",
    "\x00", "\x01", "\x07", "\x08", "\x1b[0m", "\x1c", "\x1f", "\x7f", "\x80", "\x9f", "\ufffd", "\uffff", "\ue000",
    "\U0010ffff", "\u202e", "\u2066", "\xad",
    # numbers, punctuation, code
    "0", "7", "42", "365", "1234", "3.14159", "1,000,000", "٣٤٥", "०१२", "Ⅷ", "½", "²", "①", "!", "...", "?!", "--", "—",
    "«»", "。", "、", "！", "()", "{}", "[0]", "==", "=>", "#include <x>", "if (x == 0) {", "    return x;\n", "\\n", "$%^&*",
    "https://example.org/a?b=c", "it's", "we'll", "'S", "'LL", "'re", "'ſ", "'d've", "’s", "'", "''", "\"", "`", "_", "a_b",
    # marks: composed, decomposed, in the wrong order, alone, singletons, jamo
    "é", "e\u0301", "e\u0301\u0323", "e\u0323\u0301", "\u0301", "a\u0308\u0304", "\u0344", "\u212b", "\u2126", "\u1e9b\u0323",
    "\u0958", "\u0f73\u0f71", "\u1100\u1161\u11a8", "\uac00\u11a8", "\u1161", "\u09c7\u09be", "\u0b47\u0b3e", "\ufb01", "ｆｕｌｌ",
    "ﷺ", "İ", "ı", "ß", "ẞ", "\u1112\u1161\u11ab\u1100\u1173\u11af",
    # emoji
    "😀", "👍🏽", "👩‍👩‍👧‍👦", "🇩🇪", "❤️", "☃", "🏴\U000e0067\U000e0062\U000e007f", "🤷🏿‍♀️", "1️⃣",
    # younger or rarer scripts
    "ⵜⵉⴼⵉⵏⴰⵖ", "ߒߞߏ", "ꕙꔤ", "ᬩᬮᬶ", "𐐷", "𝔘𝔫𝔦", "𠜎", "ꦗꦮ",
    # special tokens, their halves, and what stands for bytes inside vocabularies
    "<s>", "</s>", "<s", "s>", "<unk>", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|im_start", "im_end|>", "<think>",
    "</think>", "<|begin_of_text|>", "<|eot_id|>", "<mask>", " <mask>", "<mask> ", "<sep>", " <sep> ", "<sep>\n", "word",
    "swords", "word word", "<tok>", " <tok>", "<0x41>", "<0x0A>", "Ġ", "Ċ", META, META + META, META + "the",
]
BROKEN = ["ff", "c3", "e697", "f09f98", "80", "c0af", "eda080", "f4908080", "fe", "e28281ff"]


def words_of(letters, rng, n):
    return ["".join(rng.choice(letters) for _ in range(rng.randint(1, 5))) for _ in range(n)]


def make_corpus():
    rng = random.Random(7)
    vocabulary = {name: words_of(letters, rng, 40) for name, letters in LETTERS.items()}
    vocabulary["english"] = ENGLISH
    names = sorted(vocabulary)
    lines = []
    for _ in range(6000):
        words = vocabulary[rng.choice(names) if rng.random() < 0.6 else "english"]
        sentence = [words[min(int(rng.expovariate(6 / len(words))), len(words) - 1)] for _ in range(rng.randint(3, 14))]
        glue = "" if rng.random() < 0.1 else " "
        line = " " * rng.choice([0, 0, 0, 2, 4, 8, 16]) + glue.join(sentence)
        line += rng.choice([".", "!", "?", ";", " 12", " 2024", ", 365.", "...", "\n\n", " {", "});", "!!"])
        lines.append(line)
    return vocabulary, lines


def assigned_ranges():
    """[first, last] pairs over BLOCKS without what Unicode 3.2 leaves open."""
    found = []
    for first, last in BLOCKS:
        for c in range(first, last + 1):
            if unicodedata.ucd_3_2_0.category(chr(c)) in ("Cn", "Cs"):
                continue
            if found and found[-1][1] == c - 1 and found[-1][0] >= first:
                found[-1][1] = c
            else:
                found.append([c, c])
    return found


class SplitMix:
    """SplitMix64; the reader of the goldens has the same."""

    MASK = (1 << 64) - 1

    def __init__(self, seed):
        self.state = seed

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) & self.MASK
        z = self.state
        z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & self.MASK
        z = ((z ^ z >> 27) * 0x94D049BB133111EB) & self.MASK
        return (z ^ z >> 31) % n


def make_string(index, strings):
    """Bytes of string `index`; every 32nd holds broken UTF-8, every 64th is long."""
    rng = SplitMix(index)
    out = bytearray()
    for _ in range(1 + rng.below(100 if index % 64 == 1 else 10)):
        kind = rng.below(8)
        if kind == 0:
            first, last = strings["ranges"][rng.below(len(strings["ranges"]))]
            for _ in range(1 + rng.below(3)):
                out += chr(first + rng.below(last - first + 1)).encode()
        elif kind == 1:
            out += b" " * (1 + rng.below(24))
        else:
            out += strings["fragments"][rng.below(len(strings["fragments"]))].encode()
            if kind < 5:
                out += b" "
    if index % 32 == 0:
        at = rng.below(len(out) + 1)
        out[at:at] = bytes.fromhex(strings["broken"][rng.below(len(strings["broken"]))])
    return bytes(out)


def fnv16(data):
    """FNV-1a of 32 bits, its halves folded together."""
    h = 0x811C9DC5
    for byte in data:
        h = ((h ^ byte) * 0x01000193) & 0xFFFFFFFF
    return h >> 16 ^ h & 0xFFFF


def hash_ids(ids):
    return fnv16(b"".join(i.to_bytes(4, "little") for i in ids))


def added(token_id, content, **flags):
    token = {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
             "normalized": False, "special": True}
    return token | flags


def with_added(tokenizer, tokens):
    """tokenizer.json's added tokens and more, as (content, flags); one that the vocabulary has keeps its id."""
    document = json.loads(tokenizer.to_str())
    vocab = document["model"]["vocab"]
    result = document["added_tokens"]
    next_id = max([token["id"] for token in result] + list(vocab.values())) + 1
    for content, flags in tokens:
        result.append(added(vocab.get(content, next_id), content, **flags))
        next_id += content not in vocab
    return result


def byte_level(lines, pre_tokenizer, specials, normalizer=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                  special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def split_then_bytes(pattern):
    return pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])


def sentencepiece_style(lines):
    """Llama 2's layout: three special tokens, 256 bytes, then what was learned."""
    learned = Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Metaspace(replacement=META, prepend_scheme="always", split=True)
    learned.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=VOCAB, limit_alphabet=300, show_progress=False))
    model = json.loads(learned.to_str())["model"]
    names = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    names += [token for token, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    # Runs of spaces are learned from text that is not cut at spaces.
    merges = [list(pair) if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]]
    for n in (1, 2, 4, 8):
        merges.append([META * n, META * n])
        names.append(META * 2 * n)
    # Tokens across words: no real vocabulary of this style has them, but its format could.
    for pair in ((META + "of", META + "the"), (META + "in", META + "the"), (META + "to", META + "be")):
        if pair[0] in names and pair[1] in names:
            merges.append(list(pair))
            names.append("".join(pair))
    names = list(dict.fromkeys(names))
    document = {
        "version": "1.0", "truncation": None, "padding": None,
        "added_tokens": [added(i, names[i]) for i in range(3)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": META}, {"type": "Replace", "pattern": {"String": " "}, "content": META}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": META}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True, "ignore_merges": False,
                  "vocab": {name: i for i, name in enumerate(names)}, "merges": [" ".join(pair) for pair in merges]},
    }
    return Tokenizer.from_str(json.dumps(document))


def make_tokenizers(lines):
    gpt2 = byte_level(lines, pre_tokenizers.ByteLevel(add_prefix_space=False), ["<|endoftext|>"])
    llama3 = byte_level(lines, split_then_bytes(LLAMA3_PATTERN), ["<|begin_of_text|>", "<|eot_id|>"],
                        ignore_merges=True)
    llama3.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(single="<|begin_of_text|> $A", special_tokens=[("<|begin_of_text|>", 0)])])
    qwen = byte_level(lines, split_then_bytes(QWEN_PATTERN), ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
                      normalizer=normalizers.NFC())
    document = json.loads(qwen.to_str())
    document["added_tokens"] = with_added(qwen, [("<think>", {"special": False}), ("</think>", {"special": False})])
    qwen = Tokenizer.from_str(json.dumps(document))
    return {"gpt2.json": gpt2, "llama3.json": llama3, "qwen.json": qwen, "llama2.json": sentencepiece_style(lines)}


def make_variants(files):
    """(name, file, top-level members to replace)."""
    flags = [("<mask>", {"lstrip": True}), ("<sep>", {"rstrip": True}), ("<tok>", {"normalized": True}),
             ("word", {"single_word": True, "special": False}), ("the", {"single_word": True, "special": False,
                                                                     "normalized": True})]
    fallback = json.loads(files["llama2.json"].to_str())["decoder"]

    def metaspace(scheme, split):
        return {"type": "Metaspace", "replacement": META, "prepend_scheme": scheme, "split": split}

    return [
        ("gpt2 flags", "gpt2.json", {
            "added_tokens": with_added(files["gpt2.json"], flags + [("  ", {"normalized": True, "special": False})]),
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}}),
        ("qwen flags", "qwen.json", {"added_tokens": with_added(
            files["qwen.json"], flags + [("e\u0301", {"normalized": True, "special": False})])}),
        ("llama2 flags", "llama2.json", {"added_tokens": with_added(files["llama2.json"], flags)}),
        ("metaspace first", "llama2.json", {
            "normalizer": None, "pre_tokenizer": metaspace("first", False), "decoder": fallback}),
        ("metaspace always", "llama2.json", {
            "normalizer": None, "pre_tokenizer": metaspace("always", True),
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace("always", True)]}}),
        ("metaspace never", "llama2.json", {
            "normalizer": None, "pre_tokenizer": metaspace("never", True),
            "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, metaspace("never", True)]}}),
    ]


class SentencePiece:
    """A tokenizer.model with its control pieces cut out of the text first."""

    def __init__(self, path):
        self.model = sentencepiece.SentencePieceProcessor(model_file=str(path))
        self.specials = {self.model.id_to_piece(i): i for i in range(3)}

    def encode(self, text):
        ids, begin, at = [], 0, 0
        while at < len(text):
            special = next((s for s in self.specials if text.startswith(s, at)), None)
            if special is None:
                at += 1
                continue
            ids += self.model.encode(text[begin:at]) + [self.specials[special]]
            at = begin = at + len(special)
        return ids + self.model.encode(text[begin:])

    def decode(self, ids):
        """Control pieces as their text, and what is between them as the library has it."""
        contents = {i: s for s, i in self.specials.items()}
        out, run = "", []
        for i in ids + [-1]:
            if i >= 0 and i not in contents:
                run.append(i)
                continue
            out += self.model.decode(run) if run else ""
            out += contents.get(i, "")
            run = []
        return out


def train_sentencepiece(lines, out):
    corpus = out / "corpus.txt"
    corpus.write_text("\n".join(line.replace("\n", " ") for line in lines), encoding="utf-8")
    prefix = out / "llama2"
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(prefix), vocab_size=1400, model_type="bpe", byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_digits=True, character_coverage=0.99,
        allow_whitespace_only_pieces=True, user_defined_symbols=["<think>"], num_threads=1, minloglevel=2)
    corpus.unlink()
    (out / "llama2.vocab").unlink()
    return prefix.with_suffix(".model")


def goldens_of(name, file, changes, encode, decode, vocab, texts):
    hashes, decoded = bytearray(), {}
    full = []
    for index, text in enumerate(texts):
        if text is None:
            hashes += b"\0\0"
            continue
        ids = encode(text)
        hashes += hash_ids(ids).to_bytes(2, "little")
        if len(full) < FULL_LISTS:
            full.append([index, ids])
        back = decode(ids)
        if back != text:  # null: the library may have put U+FFFD for bytes
            decoded[str(index)] = None if "\ufffd" in back else fnv16(back.encode())
    rng = random.Random(11)
    decodes = []
    while len(decodes) < RANDOM_DECODES:
        ids = [rng.randrange(vocab) for _ in range(rng.randint(1, 6))]
        back = decode(ids)
        if "\ufffd" not in back:
            decodes.append([ids, back])
    return {"name": name, "file": file, "changes": changes, "hashes": base64.b64encode(hashes).decode(), "ids": full,
            "decoded": decoded, "decodes": decodes}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    vocabulary, lines = make_corpus()
    fragments = FRAGMENTS + [word for name in sorted(vocabulary) for word in vocabulary[name][:12]]
    strings = {"count": STRINGS, "fragments": fragments, "ranges": assigned_ranges(), "broken": BROKEN, "invalid": {}}
    texts = []
    for index in range(STRINGS):
        data = make_string(index, strings)
        try:
            texts.append(data.decode())
        except UnicodeDecodeError as error:
            texts.append(None)
            strings["invalid"][str(index)] = error.start

    files = make_tokenizers(lines)
    cases = []

    def add_case(name, file, changes, document, n):
        tokenizer = Tokenizer.from_str(json.dumps(document))
        cases.append(goldens_of(
            name, file, changes, lambda text: tokenizer.encode(text, add_special_tokens=False).ids,
            lambda ids: tokenizer.decode(ids, skip_special_tokens=False), tokenizer.get_vocab_size(), texts[:n]))

    for file, tokenizer in files.items():
        document = json.loads(tokenizer.to_str())
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":"))
        (out / file).write_text(text + "\n", encoding="utf-8")
        add_case(file.split(".")[0], file, {}, document, STRINGS)
    for name, file, changes in make_variants(files):
        add_case(name, file, changes, json.loads(files[file].to_str()) | changes, STRINGS_OF_VARIANTS)
    piece = SentencePiece(train_sentencepiece(lines, out))
    cases.append(goldens_of("sentencepiece", "llama2.model", {}, piece.encode, piece.decode,
                            piece.model.get_piece_size(), texts))

    source = f"tokenizers {tokenizers.__version__}, sentencepiece {sentencepiece.__version__}"
    for file, value in (("strings.json", strings), ("goldens.json", {"source": source, "cases": cases})):
        (out / file).write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")
    total = sum(path.stat().st_size for path in out.iterdir())
    print(f"{source}: {len(cases)} cases, {STRINGS} strings, {len(strings['invalid'])} invalid, {total} bytes")


if __name__ == "__main__":
    main()
