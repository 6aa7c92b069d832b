"""Held-out pictures and questions for pico, and their scores.

  python3 evaluate.py make DIR [--per-task 100] [--seed WORD]    writes DIR/NNNN.png and DIR/questions.jsonl (fonts never trained on)
  python3 evaluate.py reference DIR --model FOLDER               answers with the PyTorch reference (float32, greedy; on CUDA where there is
                                                                 one, or --device), writes DIR/reference.jsonl, scores
  python3 evaluate.py program DIR --vl2 PATH --model FOLDER      answers with the program, --jobs of it at a time, writes DIR/program.jsonl, scores
  python3 evaluate.py compare DIR                                reference.jsonl beside program.jsonl: both scores and equal answers, task by task
  python3 evaluate.py score DIR ANSWERS.jsonl                    scores answers made elsewhere: one {"id": N, "answer": "..."} a line

questions.jsonl has one {"id", "task", "kind", "degraded", "images", "question", "answer"} a line.  "pair" asks about one of two pictures,
"tiled" about a picture wider or higher than 384 pixels; their questions are of any kind.  A box counts at IoU >= 0.5, anything else when it
is exactly right.  The program is asked as `vl2 run -m FOLDER --image PICTURE [--image SECOND] --special -q -n 64 -p QUESTION`.
"""
import argparse
import collections
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "../../../tests/reference"))
LONGEST = 64  # tokens of an answer
PARTS = ("clean", "degraded", "all")


def box_of(text):
    found = re.search(r"\[\[(\d+), *(\d+), *(\d+), *(\d+)\]", text)
    return [int(n) for n in found.groups()] if found else None


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0, w) * max(0, h)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / both if both > 0 else 0.0


def right(answer, truth):
    if "<|det|>" not in truth:
        return answer.strip() == truth.strip()
    got = box_of(answer)
    return got is not None and iou(got, box_of(truth)) >= 0.5


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def read_questions(folder):
    return read_lines(os.path.join(folder, "questions.jsonl"))


def read_answers(path):
    return {line["id"]: line["answer"] for line in read_lines(path)}


def write_answer(file, index, answer):
    file.write(json.dumps(dict(id=index, answer=answer), ensure_ascii=False) + "\n")
    file.flush()


def tally(questions, answers):
    """-> {(row, part): [right, seen]}; a row is a task, or a task and a kind of its questions where it has two to four."""
    kinds = collections.defaultdict(set)
    for q in questions:
        kinds[q["task"]].add(q["kind"])
    counts = {}
    for task in dict.fromkeys(q["task"] for q in questions):
        rows = [task] + [f"{task}: {kind}" for kind in sorted(kinds[task]) if 1 < len(kinds[task]) < 5]
        counts.update({(row, part): [0, 0] for row in rows for part in PARTS})
    for q in questions:
        if q["id"] not in answers:
            continue
        ok = right(answers[q["id"]], q["answer"])
        for row in (q["task"], f"{q['task']}: {q['kind']}"):
            for part in ("degraded" if q["degraded"] else "clean", "all"):
                if (row, part) in counts:
                    counts[(row, part)][0] += ok
                    counts[(row, part)][1] += 1
    return counts


def percent(count):
    return f"{100 * count[0] / count[1]:.1f} %" if count[1] else "-"


def report(questions, answers):
    """Prints a table: task, clean and degraded pictures, all."""
    counts = tally(questions, answers)
    print("| task | clean | degraded | all | questions |\n| --- | --- | --- | --- | --- |")
    for row in dict.fromkeys(row for row, _ in counts):
        print(f"| {row} | " + " | ".join(percent(counts[(row, part)]) for part in PARTS) + f" | {counts[(row, 'all')][1]} |")
    missing = sum(q["id"] not in answers for q in questions)
    if missing:
        print(f"{missing} questions have no answer")


def compare(folder):
    """Prints both scores of every task, how far they are apart, and on how many questions the answers are the same bytes."""
    questions = read_questions(folder)
    answers = [read_answers(os.path.join(folder, name + ".jsonl")) for name in ("reference", "program")]
    both = [q for q in questions if all(q["id"] in a for a in answers)]
    counts = [tally(both, a) for a in answers]
    print("| task | program: clean | degraded | all | reference: all | apart, points | equal answers |\n| --- | --- | --- | --- | --- | --- | --- |")
    worst = 0.0
    for row in dict.fromkeys(row for row, _ in counts[0]):
        seen = counts[0][(row, "all")][1]
        if not seen:
            continue
        mine = [q["id"] for q in both if row in (q["task"], f"{q['task']}: {q['kind']}")]
        same = sum(answers[0][index] == answers[1][index] for index in mine)
        apart = 100 * (counts[1][(row, "all")][0] - counts[0][(row, "all")][0]) / seen
        worst = max(worst, abs(apart)) if ":" not in row else worst
        cells = [percent(counts[1][(row, part)]) for part in PARTS] + [percent(counts[0][(row, "all")]), f"{apart:+.1f}", f"{same} of {seen}"]
        print(f"| {row} | " + " | ".join(cells) + " |")
    same = sum(answers[0][q["id"]] == answers[1][q["id"]] for q in both)
    print(f"equal answers: {same} of {len(both)}; largest distance of a task: {worst:.1f} points ({'within' if worst <= 1 else 'beyond'} 1)")
    for q in [q for q in both if answers[0][q["id"]] != answers[1][q["id"]]][:20]:
        print(f"  {q['id']} {q['question']!r}: reference {answers[0][q['id']]!r}, program {answers[1][q['id']]!r}")
    if len(both) < len(questions):
        sys.exit(f"compare: {len(questions) - len(both)} of {len(questions)} questions lack an answer of the reference or the program")


def make(folder, per_task, seed):
    import data
    os.makedirs(folder, exist_ok=True)
    items = data.held_out_items({task: per_task for task in data.HELD_OUT}, seed)
    with open(os.path.join(folder, "questions.jsonl"), "w", encoding="utf-8") as file:
        for index, item in enumerate(items):
            names = [f"{index:04d}{'ab'[k] if len(item.images) > 1 else ''}.png" for k in range(len(item.images))]
            for name, image in zip(names, item.images):
                image.save(os.path.join(folder, name))
            line = dict(id=index, task=item.task, kind=item.kind, degraded=item.damaged, images=names, question=item.question, answer=item.answer)
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    print(len(items), "questions in", folder)


def reference(folder, model_folder, device):
    import torch
    import deepseek_vl2 as vl2
    import tokenizer as tok
    from PIL import Image
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    model = vl2.load_folder(model_folder).to(device)
    t = tok.Tokenizer(os.path.join(model_folder, "tokenizer.json"))
    questions, answers = read_questions(folder), {}
    begin = time.time()
    with open(os.path.join(folder, "reference.jsonl"), "w", encoding="utf-8") as file, torch.no_grad():
        for q in questions:
            pictures = [Image.open(os.path.join(folder, name)) for name in q["images"]]
            sequences = [model.encode_picture(*vl2.picture_views(p, model.config, len(pictures)))[2] for p in pictures]
            ids = vl2.prompt_ids([("<image>\n" * len(pictures) + q["question"], None)], t.encode, t.bos, t.eos, t.image, [len(s) for s in sequences])
            out = model.greedy(ids, sequences, t.image, LONGEST, stop=t.eos)[1]
            answers[q["id"]] = t.decode([i for i in out if i != t.eos])
            write_answer(file, q["id"], answers[q["id"]])
    print(f"reference on {device}: {(time.time() - begin) / max(1, len(questions)):.2f} s a question")
    report(questions, answers)


def program(folder, vl2, model_folder, jobs):
    questions, answers = read_questions(folder), {}

    def ask(q):
        command = [vl2, "run", "-m", model_folder, "--special", "-q", "-n", str(LONGEST), "-p", q["question"]]
        for name in q["images"]:
            command += ["--image", os.path.join(folder, name)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True)
        if done.returncode != 0:
            raise RuntimeError(f"question {q['id']}: exit status {done.returncode}: {done.stderr.decode(errors='replace').strip()}")
        return done.stdout.decode(errors="replace").removesuffix("\n")  # the line's end is not the answer's

    begin = time.time()
    with open(os.path.join(folder, "program.jsonl"), "w", encoding="utf-8") as file, concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        try:
            for q, answer in zip(questions, pool.map(ask, questions)):
                answers[q["id"]] = answer
                write_answer(file, q["id"], answer)
        except (RuntimeError, OSError) as error:
            pool.shutdown(cancel_futures=True)
            sys.exit(f"program: {error}")
    print(f"program: {len(questions)} questions, {jobs} at a time, {time.time() - begin:.0f} s")
    report(questions, answers)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "reference", "program", "compare", "score"))
    parser.add_argument("folder")
    parser.add_argument("answers", nargs="?")
    parser.add_argument("--per-task", type=int, default=100)
    parser.add_argument("--seed", default="evaluation", help="another word draws other pictures and questions")
    parser.add_argument("--model", default=os.path.join(HERE, "../pico"))
    parser.add_argument("--vl2", default=os.path.join(HERE, "../../../build/release/vl2"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--device", help="the reference's: cuda or cpu")
    args = parser.parse_args()
    if args.what == "make":
        make(args.folder, args.per_task, args.seed)
    elif args.what == "reference":
        reference(args.folder, args.model, args.device)
    elif args.what == "program":
        program(args.folder, args.vl2, args.model, args.jobs)
    elif args.what == "compare":
        compare(args.folder)
    elif args.answers is None:
        parser.error("score needs ANSWERS.jsonl")
    else:
        report(read_questions(args.folder), read_answers(args.answers))


if __name__ == "__main__":
    main()
