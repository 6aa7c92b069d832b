"""Held-out pictures and questions for pico, and their scores.

  python3 evaluate.py make DIR [--per-task 100]         writes DIR/NNNN.png and DIR/questions.jsonl (fixed seeds, fonts never trained on)
  python3 evaluate.py reference DIR --model FOLDER      answers with the PyTorch reference (float32, greedy), writes DIR/reference.jsonl, scores
  python3 evaluate.py score DIR ANSWERS.jsonl           scores answers made elsewhere: one {"id": N, "answer": "..."} a line

questions.jsonl has one {"id", "task", "degraded", "image", "question", "answer"} a line.  A box counts at IoU >= 0.5, anything else when
it is exactly right.  With the program, the question of a line is asked as `vl2 run -m FOLDER --image PICTURE --special -p "<image>\\n" + question`.
"""
import argparse
import collections
import json
import os
import re
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "../../../tests/reference"))


def box_of(text):
    found = re.search(r"\[\[(\d+), *(\d+), *(\d+), *(\d+)\]", text)
    return [int(n) for n in found.groups()] if found else None


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0, w) * max(0, h)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / both if both > 0 else 0.0


def right(task, answer, truth):
    if task != "box":
        return answer.strip() == truth.strip()
    got = box_of(answer)
    return got is not None and iou(got, box_of(truth)) >= 0.5


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def report(questions, answers):
    """Prints a table: task, clean and degraded pictures, all."""
    counts = collections.Counter()
    for q in questions:
        if q["id"] not in answers:
            continue
        ok = right(q["task"], answers[q["id"]], q["answer"])
        for part in ("degraded" if q["degraded"] else "clean", "all"):
            counts[(q["task"], part, "seen")] += 1
            counts[(q["task"], part, "right")] += ok
    missing = len(questions) - sum(1 for q in questions if q["id"] in answers)
    print("| task | clean | degraded | all | questions |\n| --- | --- | --- | --- | --- |")
    for task in dict.fromkeys(q["task"] for q in questions):
        cells = []
        for part in ("clean", "degraded", "all"):
            seen = counts[(task, part, "seen")]
            cells.append(f"{100 * counts[(task, part, 'right')] / seen:.1f} %" if seen else "-")
        print(f"| {task} | " + " | ".join(cells) + f" | {counts[(task, 'all', 'seen')]} |")
    if missing:
        print(f"{missing} questions have no answer")


def make(folder, per_task):
    import data
    os.makedirs(folder, exist_ok=True)
    items = data.held_out_items({task: per_task for task in ("text", "field", "chart", "shape", "box")}, seed="evaluation")
    with open(os.path.join(folder, "questions.jsonl"), "w", encoding="utf-8") as file:
        for index, (task, degraded, image, question, answer) in enumerate(items):
            image.save(os.path.join(folder, f"{index:04d}.png"))
            line = dict(id=index, task=task, degraded=degraded, image=f"{index:04d}.png", question=question, answer=answer)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(len(items), "questions in", folder)


def reference(folder, model_folder, first, last):
    import torch
    import deepseek_vl2 as vl2
    import tokenizer as tok
    from PIL import Image
    model = vl2.load_folder(model_folder)
    t = tok.Tokenizer(os.path.join(model_folder, "tokenizer.json"))
    questions, answers = read_lines(os.path.join(folder, "questions.jsonl"))[first:last], {}
    begin = time.time()
    with open(os.path.join(folder, "reference.jsonl"), "w", encoding="utf-8") as file, torch.no_grad():
        for q in questions:
            views, wide, high = vl2.picture_views(Image.open(os.path.join(folder, q["image"])), model.config)
            sequence = model.encode_picture(views, wide, high)[2]
            ids = vl2.prompt_ids([("<image>\n" + q["question"], None)], t.encode, t.bos, t.eos, t.image, [len(sequence)])
            out = model.greedy(ids, [sequence], t.image, 64, stop=t.eos)[1]
            answers[q["id"]] = t.decode([i for i in out if i != t.eos])
            file.write(json.dumps(dict(id=q["id"], answer=answers[q["id"]]), ensure_ascii=False) + "\n")
            file.flush()
    print(f"{(time.time() - begin) / max(1, len(questions)):.2f} s a question")
    report(questions, answers)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("make", "reference", "score"))
    parser.add_argument("folder")
    parser.add_argument("answers", nargs="?")
    parser.add_argument("--per-task", type=int, default=100)
    parser.add_argument("--model", default=os.path.join(HERE, "../pico"))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--last", type=int, default=1 << 30)
    args = parser.parse_args()
    if args.what == "make":
        make(args.folder, args.per_task)
    elif args.what == "reference":
        reference(args.folder, args.model, args.first, args.last)
    else:
        report(read_lines(os.path.join(args.folder, "questions.jsonl")), {a["id"]: a["answer"] for a in read_lines(args.answers)})


if __name__ == "__main__":
    main()
