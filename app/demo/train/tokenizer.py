"""pico's tokenizer: byte-level BPE with the V3 pre-tokenizer, built from the questions alone so that answers stay character by character.

`python3 tokenizer.py OUT.json` writes tokenizer.json (deterministic).  `Tokenizer(path)` encodes and decodes such a file.
"""
import collections
import functools
import json
import sys

import regex

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
ADDED = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"]
PATTERNS = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
]


def byte_letters():
    """Byte -> the printable letter that stands for it in byte-level vocabularies."""
    plain = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {b: chr(b) for b in plain}, 0
    for byte in range(256):
        if byte not in table:
            table[byte] = chr(256 + extra)
            extra += 1
    return table


LETTERS = byte_letters()


def pretokenize(text, patterns):
    pieces = [text]
    for pattern in patterns:
        out = []
        for piece in pieces:
            at = 0
            for match in pattern.finditer(piece):
                if match.start() > at:
                    out.append(piece[at:match.start()])
                out.append(match.group())
                at = match.end()
            if at < len(piece):
                out.append(piece[at:])
        pieces = [p for p in out if p]
    return pieces


class Tokenizer:
    def __init__(self, source):
        data = source if isinstance(source, dict) else json.load(open(source, encoding="utf-8"))
        self.vocab = dict(data["model"]["vocab"])
        self.ranks = {tuple(m.split(" ")) if isinstance(m, str) else tuple(m): i for i, m in enumerate(data["model"]["merges"])}
        self.added = {t["content"]: t["id"] for t in data["added_tokens"]}
        self.patterns = [regex.compile(p["pattern"]["Regex"]) for p in data["pre_tokenizer"]["pretokenizers"] if p["type"] == "Split"]
        self.split = regex.compile("|".join(regex.escape(t) for t in sorted(self.added, key=len, reverse=True)))
        self.names = {i: t for t, i in self.vocab.items()}
        self.names.update({i: t for t, i in self.added.items()})
        self.bytes = {letter: byte for byte, letter in LETTERS.items()}
        self.bos, self.eos, self.pad = self.added[BOS], self.added[EOS], self.added[PAD]
        self.image = self.added["<image>"]
        self.piece_ids = functools.lru_cache(maxsize=200000)(self._piece_ids)

    def _piece_ids(self, piece):
        parts = [LETTERS[b] for b in piece.encode("utf-8")]
        while len(parts) > 1:
            rank, at = min((self.ranks.get((parts[i], parts[i + 1]), 1 << 30), i) for i in range(len(parts) - 1))
            if rank == 1 << 30:
                break
            pair, out, i = (parts[at], parts[at + 1]), [], 0
            while i < len(parts):
                if i + 1 < len(parts) and (parts[i], parts[i + 1]) == pair:
                    out.append(parts[i] + parts[i + 1])
                    i += 2
                else:
                    out.append(parts[i])
                    i += 1
            parts = out
        return tuple(self.vocab[p] for p in parts)

    def encode(self, text):
        """Text -> ids; special tokens in the text are recognised, nothing is added."""
        ids, at = [], 0
        for match in list(self.split.finditer(text)) + [None]:
            plain = text[at:match.start()] if match else text[at:]
            if plain:
                for piece in pretokenize(plain, self.patterns):
                    ids.extend(self.piece_ids(piece))
            if match:
                ids.append(self.added[match.group()])
                at = match.end()
        return ids

    def decode(self, ids):
        out, pending = [], bytearray()
        for i in ids:
            name = self.names.get(int(i), "")
            if name in self.added:
                out.append(pending.decode("utf-8", "replace") + name)
                pending = bytearray()
            else:
                pending += bytes(self.bytes[c] for c in name)
        return "".join(out) + pending.decode("utf-8", "replace")


def question_merges(limit):
    """Merges that build the questions' words from the left; words after a space first, so that a chain never breaks another."""
    import render
    patterns = [regex.compile(p) for p in PATTERNS]
    counts = collections.Counter()
    for text in render.question_corpus():
        counts.update("".join(LETTERS[b] for b in piece.encode()) for piece in pretokenize(text, patterns))
    space = LETTERS[32]
    spaced = sorted((w for w in counts if w[0] == space and w[1:].isalpha()), key=lambda w: (-counts[w], w))
    bare = [w for w in ("What", "Which", "Read", "How", "Find", "In") if w in counts]
    marks = ["?" + LETTERS[10] * 2, "." + LETTERS[10] * 2, LETTERS[10] * 2, "[[", "]]", "],"]
    merges, seen = [], set()
    for word in spaced + bare + marks:
        for end in range(1, len(word)):
            pair = (word[:end], word[end])
            if pair not in seen and len(merges) < limit:
                seen.add(pair)
                merges.append(pair)
    return merges


def build(limit=420):
    vocab = {BOS: 0, EOS: 1, PAD: 2}
    for byte in range(256):
        vocab[LETTERS[byte]] = len(vocab)
    merges = question_merges(limit)
    for a, b in merges:
        vocab.setdefault(a + b, len(vocab))

    def added(index, text):
        return dict(id=index, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)

    tokens = [added(i, t) for i, t in enumerate((BOS, EOS, PAD))] + [added(len(vocab) + i, t) for i, t in enumerate(ADDED)]
    splits = [dict(type="Split", pattern=dict(Regex=p), behavior="Isolated", invert=False) for p in PATTERNS]
    level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=False)
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": tokens, "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits + [level]}, "post_processor": None,
        "decoder": dict(level, add_prefix_space=True, use_regex=True),
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "vocab": vocab, "merges": [f"{a} {b}" for a, b in merges]},
    }


if __name__ == "__main__":
    data = build()
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(data, file, ensure_ascii=False, indent=1)
        file.write("\n")
    print(len(data["model"]["vocab"]) + len(ADDED), "ids,", len(data["model"]["merges"]), "merges")
