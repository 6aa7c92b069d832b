"""Worker processes that fill shared memory with rendered views, their cell labels and their conversations.

A chunk holds 32 views of one kind; a kind fixes how many views a sequence has.  The trainer sets the mix of tasks as it goes.
"""
import collections
import mmap
import multiprocessing as mp
import os
import random
import sys

import numpy as np
from PIL import Image, ImageOps

import render
import tokenizer as tok
from scene import PARTNER_CHARS

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../../tests/reference"))

CHUNK, TEXT = 32, 192
TASKS = ("text", "single", "receipt", "form", "chart", "table", "shapes")
# kind: views of a sequence, sequences of a chunk, tiles wide, tiles high; "pair" is two pictures of one tile
KINDS = {"one": (1, 32, 1, 1), "pair": (2, 16, 1, 1), "wide": (3, 10, 2, 1), "high": (3, 10, 1, 2), "quad": (5, 6, 2, 2)}
NAMES = tuple(KINDS)


def shared(shape, dtype):
    """An array in memory shared with forked processes."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(mmap.mmap(-1, max(size, 1)), dtype=dtype).reshape(shape)


class Pool:
    def __init__(self, chunks):
        self.views = shared((chunks, CHUNK, 384, 384, 3), np.uint8)
        self.cells = shared((chunks, CHUNK, 2 + PARTNER_CHARS, 54, 54), np.uint8)  # what render.cell_labels writes
        self.ids = shared((chunks, CHUNK, TEXT), np.int16)
        self.mask = shared((chunks, CHUNK, TEXT), np.uint8)
        self.task = shared((chunks, CHUNK), np.uint8)
        self.plain = shared((chunks, CHUNK), np.uint8)  # 1: colours carry no answer, so the GPU may invert the picture
        self.mix = shared((len(TASKS) + len(NAMES) + 1,), np.float64)  # task weights, kind weights, longest line


def pad_view(image, width, height):
    if image.size == (width, height):
        return np.asarray(image)
    return np.asarray(ImageOps.pad(image, (width, height), method=Image.BICUBIC, color=(127, 127, 127)))


def encode_turns(t, turns, room=TEXT):
    """[(question, answer)] -> (ids, mask of answer tokens) of what follows the picture; turns that do not fit are left out."""
    ids, mask = [], []
    for index, (question, answer) in enumerate(turns):
        head = ("\n" if index == 0 else "<|User|>: ") + question + "\n\n<|Assistant|>:"
        q, a = t.encode(head), t.encode(answer) + [t.eos]
        if len(ids) + len(q) + len(a) > room:
            break
        ids += q + a
        mask += [0] * len(q) + [1] * len(a)
    return ids, mask


def pick_turns(rng, scene):
    qas = list(scene.qas)
    rng.shuffle(qas)
    boxes = [q for q in qas if q[2] == "box"]
    if boxes and rng.random() < 0.7:  # boxes first, else colours and counts crowd them out
        qas = boxes[:4] + [q for q in qas if q[2] != "box"]
    if rng.random() < 0.7:  # bars' values before the highest and lowest bar, so that every label is asked for
        qas.sort(key=lambda q: q[2] == "extreme")
    return [(q, a) for q, a, _ in (qas[:1] if rng.random() < 0.15 else qas)]


def wide_size(rng, kind):
    if kind == "wide":
        return rng.randint(400, 768), rng.randint(200, 384)
    if kind == "high":
        return rng.randint(240, 384), rng.randint(400, 768)
    return rng.randint(480, 768), rng.randint(480, 768)


def fill_view(pool, chunk, slot, scene, image=None, canvas=None, at=(0, 0)):
    if canvas is None:
        pool.views[chunk, slot] = pad_view(scene.image, 384, 384)
    else:
        pool.views[chunk, slot] = image[at[1] * 384:at[1] * 384 + 384, at[0] * 384:at[0] * 384 + 384]
    render.cell_labels(scene, pool.cells[chunk, slot], canvas=canvas, view=at)
    pool.plain[chunk, slot] = not scene.has_colours


def fill_chunk(pool, chunk, kind, rng, t):
    maker = render.Maker(rng, max_length=int(pool.mix[-1]))
    weights = list(pool.mix[:len(TASKS)])
    views, sequences, tiles_wide, tiles_high = KINDS[kind]

    def scene(size=None):
        task = rng.choices(TASKS, weights)[0]
        s = maker.scene(task, size)
        if task != "shapes" and size is None and rng.random() < 0.05:
            render.tilt(s, rng)
        return s, TASKS.index(task)

    for index in range(sequences):
        slot = index * views
        if kind == "pair":
            (a, task), (b, _) = scene(), scene()
            fill_view(pool, chunk, slot, a)
            fill_view(pool, chunk, slot + 1, b)
            turns = [(f"In the first picture: {q}", x) for q, x in pick_turns(rng, a)[:3]]
            turns += [(f"In the second picture: {q}", x) for q, x in pick_turns(rng, b)[:3]]
            rng.shuffle(turns)
        elif kind == "one":
            s, task = scene()
            fill_view(pool, chunk, slot, s)
            turns = pick_turns(rng, s)
        else:
            s, task = scene(wide_size(rng, kind))
            canvas = (tiles_wide * 384, tiles_high * 384)
            fill_view(pool, chunk, slot, s)
            image = pad_view(s.image, *canvas)
            for tile in range(tiles_wide * tiles_high):
                fill_view(pool, chunk, slot + 1 + tile, s, image, canvas, (tile % tiles_wide, tile // tiles_wide))
            turns = pick_turns(rng, s)
        ids, mask = encode_turns(t, turns)
        pool.ids[chunk, index] = t.pad
        pool.mask[chunk, index] = 0
        pool.ids[chunk, index, :len(ids)] = ids
        pool.mask[chunk, index, :len(ids)] = mask
        pool.task[chunk, index] = task


def worker(pool, free, ready, seed):
    rng = random.Random(seed)
    t = tok.Tokenizer(tok.build())
    while True:
        chunk = free.get()
        kind = rng.choices(NAMES, list(pool.mix[len(TASKS):-1]))[0]
        fill_chunk(pool, chunk, kind, rng, t)
        ready.put((chunk, NAMES.index(kind)))


def start_workers(pool, chunks, count, seed):
    free, ready = mp.SimpleQueue(), mp.SimpleQueue()
    for chunk in range(chunks):
        free.put(chunk)
    processes = [mp.Process(target=worker, args=(pool, free, ready, f"{seed}-{i}"), daemon=True) for i in range(count)]
    for process in processes:
        process.start()
    return free, ready, processes


# task: scenes its pictures are of, kinds of its questions; "pair" and "tiled" ask anything
HELD_OUT = {"text": (("single",), ("text",)), "field": (("receipt", "form"), ("field",)), "chart": (("chart", "table"), ("vbar", "hbar", "extreme", "table")),
            "shape": (("shapes",), ("shape", "count")), "box": (("shapes",), ("box",)), "pair": (TASKS, None), "tiled": (TASKS, None)}
HeldOutItem = collections.namedtuple("HeldOutItem", "task kind damaged images question answer")


def held_out_items(per_task, seed="held-out"):
    """Fixed held-out questions with unseen fonts: [HeldOutItem], one question a picture; {task: count}, a task's items the same whatever the others."""
    items = []
    for task, count in per_task.items():
        rng = random.Random(f"{seed}-{task}")
        maker = render.Maker(rng, held_out=True)
        makers, kinds = HELD_OUT[task]
        wanted = len(items) + count
        while len(items) < wanted:
            size = wide_size(rng, rng.choice(("wide", "high", "quad"))) if task == "tiled" else None
            scenes = [maker.scene(makers[rng.randrange(len(makers))], size) for _ in range(2 if task == "pair" else 1)]
            asked = rng.randrange(2) if task == "pair" else 0
            qas = [q for q in scenes[asked].qas if kinds is None or q[2] in kinds]
            if not qas:
                continue
            question, answer, kind = rng.choice(qas)
            if task == "pair":
                question = f"In the {('first', 'second')[asked]} picture: {question}"
            damaged = rng.random() < 0.5
            images = [render.degrade(s.image, rng) if damaged else s.image for s in scenes]
            items.append(HeldOutItem(task, kind, damaged, images, question, answer))
    return items
