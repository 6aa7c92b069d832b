"""Draws the demo's pictures with fonts never trained on: python3 pictures.py DIR [SEED ...]; also writes DIR/questions.json, from which questions.tsv is chosen."""
import json
import os
import random
import sys

import render

KINDS = (("receipt", "receipt"), ("scene", "shapes"), ("form", "form"))


def main():
    folder, seeds = sys.argv[1], [int(s) for s in sys.argv[2:]] or [1, 1, 1]
    os.makedirs(folder, exist_ok=True)
    out = []
    for (name, task), seed in zip(KINDS, seeds):
        rng = random.Random(f"demo-{task}-{seed}")
        scene = render.Maker(rng, held_out=True).scene(task)
        scene.image.save(os.path.join(folder, name + ".png"), optimize=True)
        out += [{"image": name + ".png", "question": q, "answer": a} for q, a, _ in scene.qas]
    with open(os.path.join(folder, "questions.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, indent=1, ensure_ascii=False)
        file.write("\n")


if __name__ == "__main__":
    main()
