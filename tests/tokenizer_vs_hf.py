#!/usr/bin/env python3
"""Compares `vl2 tokenize` with the `tokenizers` library on random texts and random ids.

Usage   tests/tokenizer_vs_hf.py --vl2 build/release/vl2 -m FOLDER [--count 100000] [--seed 1] [--add-vl2-tokens]
        FOLDER holds tokenizer.json. --add-vl2-tokens: it is the public V3 vocabulary; append the eight tokens of DeepSeek-VL2.
        --npm PACKAGE_FOLDER: use the library's npm package (node_modules/tokenizers) instead of Python's
Prints  how many texts were compared in each way and the first differences; exit status 1 if there is any.
Needs   Python's `tokenizers`, or node and `npm install tokenizers`.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile

VL2_TOKENS = ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"]
# First and last character of what runs are drawn from.
KINDS = [
    ("a", "z"), ("A", "Z"), ("0", "9"), (" ", " "), ("\n", "\n"), ("!", "/"), ("[", "`"), ("{", "~"), ("\t", "\r"), ("\u00c0", "\u017f"),
    ("\u0391", "\u03c9"), ("\u0410", "\u044f"), ("\u05d0", "\u05ea"), ("\u0621", "\u0652"), ("\u0905", "\u094d"), ("\u0e01", "\u0e39"),
    ("\u3041", "\u3096"), ("\u30a1", "\u30fe"), ("\u4e00", "\u9fff"), ("\uac00", "\ud7a3"), ("\U0001f300", "\U0001f64f"),
    ("\U0001f900", "\U0001f9ff"), ("\u2000", "\u206f"), ("\u2150", "\u218b"), ("\u3000", "\u301f"), ("\uff00", "\uffef"),
    ("\u0300", "\u036f"), ("\u1f00", "\u1fff"), ("\u0000", "\uffff"), ("\u0000", "\U0010ffff"),
]
ODD = " \r\n\x85\xa0\u200b\u200d\ufe0f\u3000\u2028\ufeff\ufffd\0\x1f\x7f\xad\xb2\xbd\u180e\u9fa5\u9fa6\u20e3\U0010ffff'<|"
WORDS = ("the of and a picture total number invoice don't it's I'll 是 什么 こんにちは привет नमस्ते مرحبا สวัสดี https://example.org/a?b=1 "
         "int main() { return 0; } foo_bar FooBar x1y2 3.14 1,000,000 ... !!! --- ## | --- | \\alpha $x^2$ e\u0301 👩‍👩‍👧 🇩🇪 ½ Ⅷ").split(" ")


def draw(rng, first, last):
    while True:
        code = rng.randint(ord(first), ord(last))
        if not 0xD800 <= code < 0xE000:
            return chr(code)


def random_text(rng, control):
    parts = []
    for _ in range(rng.randint(1, rng.choice([3, 8, 25]))):
        choice = rng.random()
        if choice < 0.25:
            parts.append(rng.choice(WORDS) + rng.choice(["", " ", " ", "\n", "  "]))
        elif choice < 0.35:
            parts.append("".join(rng.choice(ODD) for _ in range(rng.randint(1, 3))))
        elif choice < 0.40:
            text = rng.choice(control)
            parts.append(text if rng.random() < 0.7 else text[:rng.randint(1, len(text))])
        else:
            first, last = rng.choice(KINDS)
            parts.append("".join(draw(rng, first, last) for _ in range(rng.randint(1, rng.choice([3, 12])))))
    return "".join(parts)


def run_lines(command, lines):
    """Gives a program JSON values, a line each, and returns those that it prints."""
    done = subprocess.run(command, input="".join(json.dumps(line) + "\n" for line in lines).encode(), stdout=subprocess.PIPE, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit status {done.returncode}")
    out = [json.loads(line) for line in done.stdout.decode().split("\n")[:-1]]
    if len(out) != len(lines):
        sys.exit(f"{' '.join(command)}: {len(out)} lines out for {len(lines)} in")
    return out


class PythonLibrary:
    def __init__(self, path, data):
        from tokenizers import Tokenizer
        del path
        self.tokenizer = Tokenizer.from_str(json.dumps(data))

    def encode(self, texts):
        return [encoding.ids for encoding in self.tokenizer.encode_batch(texts, add_special_tokens=False)]

    def decode(self, ids, skip_special):
        return self.tokenizer.decode_batch(ids, skip_special_tokens=skip_special)


class NpmLibrary:
    package = ""

    def __init__(self, path, data):
        self.path = path
        with open(path, "w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False)

    def run(self, mode, lines):
        script = os.path.join(os.path.dirname(os.path.abspath(__file__)), "hf_tokenizer.cjs")
        return run_lines(["node", script, self.package, self.path, mode], lines)

    def encode(self, texts):
        return self.run("encode", texts)

    def decode(self, ids, skip_special):
        return self.run("decode" if skip_special else "decode-special", ids)


def compare(name, inputs, ours, theirs):
    differ = [i for i in range(len(inputs)) if ours[i] != theirs[i]]
    print(f"{name}: {len(inputs)} compared, {len(differ)} differ", flush=True)
    for i in differ[:5]:
        print(f"  of   {inputs[i]!r}\n  vl2  {ours[i]!r}\n  HF   {theirs[i]!r}")
    return not differ


def is_control(token):
    return token["special"] or (token["content"].startswith("<") and token["content"].endswith(">"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--vl2", required=True)
    parser.add_argument("-m", "--model", required=True)
    parser.add_argument("--count", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--add-vl2-tokens", action="store_true")
    parser.add_argument("--npm", metavar="PACKAGE_FOLDER")
    args = parser.parse_args()
    NpmLibrary.package = args.npm
    library = NpmLibrary if args.npm else PythonLibrary

    with open(os.path.join(args.model, "tokenizer.json"), encoding="utf-8") as file:
        data = json.load(file)
    if args.add_vl2_tokens:
        for i, content in enumerate(VL2_TOKENS):
            data["added_tokens"].append(dict(id=128815 + i, content=content, single_word=False, lstrip=False, rstrip=False,
                                             normalized=False, special=True))
    # What vl2 does by default is what the library does with a file that lists no control tokens.
    without = dict(data, added_tokens=[token for token in data["added_tokens"] if not is_control(token)])
    control = [token["content"] for token in data["added_tokens"]]

    rng = random.Random(args.seed)
    texts = [random_text(rng, control[:8] + control[-24:]) for _ in range(args.count)]
    good = True
    with tempfile.TemporaryDirectory() as folder:
        with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as file:
            json.dump(data, file, ensure_ascii=False)

        recognise = library(os.path.join(folder, "recognise.json"), data)
        ignore = library(os.path.join(folder, "ignore.json"), without)

        def ours(lines, *flags):
            return run_lines([*args.vl2.split(), "tokenize", "-m", folder, "--jsonl", *flags], lines)

        expected = ignore.encode(texts)
        good &= compare("encode", texts, ours(texts), expected)
        good &= compare("encode --special", texts, ours(texts, "--special"), recognise.encode(texts))
        print(f"  {sum(map(len, texts))} characters, {sum(map(len, expected))} ids, "
              f"{len(set(c for text in texts for c in text))} different characters")

        size = 50 + max(*data["model"]["vocab"].values(), *(token["id"] for token in data["added_tokens"]))
        sequences = [[rng.randrange(rng.choice([400, size])) for _ in range(rng.randint(0, 20))] for _ in range(args.count)]
        sequences += expected[:args.count // 4]
        good &= compare("decode", sequences, ours(sequences, "--decode"), recognise.decode(sequences, True))
        good &= compare("decode --special", sequences, ours(sequences, "--decode", "--special"), recognise.decode(sequences, False))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
