"""Trains pico.  Runs in pieces: each call takes the schedule from where the last one stopped to --until.

  python3 train.py --state DIR --out DIR --seconds 550 --until 0.33      first third of the schedule, in 550 s
  python3 train.py --state DIR --out DIR --seconds 550 --until 1.0       the rest
  python3 train.py --weights app/demo/pico ...                           starts from a folder's weights, in one file or several (no optimiser state)
"""
import argparse
import collections
import contextlib
import math
import os
import re
import sys
import threading
import time

START = time.time()
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "../../../tests/reference"))

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

import data
import model_io
import scene
import tokenizer as tok
from deepseek_vl2 import Config, DeepSeekVL2, image_sequence

AUX_PATCHES = 160
PARTNER_PATCHES = 96  # a chart's labels and values cover about 80
LABEL_LOSSES = ("cell", "place", "partner", "known")  # the last is no loss: how often a patch names all characters of its partner
PARTNER_CLASSES = 1 + len(scene.CHARS)


def log(*words):
    print(f"[{time.time() - START:6.1f}]", *words, flush=True)


def schedule(p):
    """Progress 0..1 -> (task weights, kind weights, least longest line)."""
    if p < 0.05:
        tasks, kinds = (0.72, 0.08, 0, 0, 0, 0, 0.2), (1, 0, 0, 0, 0)
    elif p < 0.14:
        tasks, kinds = (0.42, 0.1, 0.09, 0.1, 0.06, 0.05, 0.18), (1, 0, 0, 0, 0)
    else:
        tasks = (0.3, 0.14, 0.1, 0.1, 0.09, 0.08, 0.19) if p < 0.5 else (0.12, 0.20, 0.06, 0.05, 0.42, 0.03, 0.12)  # later: what lags
        kinds = (1, 0, 0, 0, 0) if p < 0.3 else (0.86, 0.05, 0.04, 0.03, 0.02)
    return tasks, kinds, 5 + 19 * min(1, max(0, (p - 0.08) / 0.25))


def learning_rate(p, step):
    """Share of the peak: warm-up, flat to 40 %, cosine to 1 %."""
    warm = min(1.0, (step + 1) / 150)
    return warm * (1.0 if p < 0.4 else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, (p - 0.4) / 0.6))))


class Trainer(nn.Module):
    """The reference model with a fast path: patches as one matrix product, compiled blocks, and the heads that training alone has."""

    def __init__(self, config, t):
        super().__init__()
        self.model = DeepSeekVL2(Config(config))
        self.cells = nn.Linear(config["vision_config"]["width"], 4 * scene.CLASS_COUNT)
        self.places = nn.Linear(config["vision_config"]["width"], scene.PLACE_COUNT)
        self.partners = nn.Linear(config["vision_config"]["width"], scene.PARTNER_CHARS * PARTNER_CLASSES)
        self.cells_teach = self.bars_teach = True  # off while fresh heads follow trained features
        for layer in self.model.language.model.layers:
            layer.mlp.dense = True
        self.register_buffer("prefix", torch.tensor([t.bos] + t.encode("<|User|>: ")), persistent=False)
        self.register_buffer("between", torch.tensor(t.encode("\n")), persistent=False)
        self.register_buffer("cell_weight", torch.tensor([0.06] + [1.0] * (scene.CLASS_COUNT - 1)), persistent=False)

    def vision(self, pixels):
        """pixels [V, 378, 378, 3] in -1..1 -> [V, 729, width], and the same before the last two blocks."""
        v = self.model.vision
        weight = v.patch_embed.proj.weight
        patches = pixels.view(-1, 27, 14, 27, 14, 3).permute(0, 1, 3, 5, 2, 4).reshape(-1, 729, 588)
        x = F.linear(patches, weight.view(weight.shape[0], -1), v.patch_embed.proj.bias) + v.pos_embed
        early = x
        for index, block in enumerate(v.blocks):
            early = x if index == len(v.blocks) - 2 else early
            x = block(x)
        return v.norm(x), F.layer_norm(early, early.shape[-1:])

    def compiled_modules(self):
        """What torch.compile may have: not the decoder's attention, which it gets wrong (torch 2.11: logits saw later tokens, then NaN)."""
        return list(self.model.vision.blocks) + [layer.mlp for layer in self.model.language.model.layers]

    def cell_loss(self, features, cells):
        """Which character or shape covers the centre of each 7-pixel cell, on the patches that hold most.  cells [V, 54, 54]."""
        features = features if self.cells_teach else features.detach()
        labels = cells.reshape(-1, 27, 2, 27, 2).permute(0, 1, 3, 2, 4).reshape(-1, 729, 4).long()
        pick = ((labels > 0).any(-1).float() + torch.rand(labels.shape[:2], device=labels.device)).topk(AUX_PATCHES, dim=1).indices
        chosen = features.gather(1, pick[..., None].expand(-1, -1, features.shape[-1]))
        logits = self.cells(chosen).view(-1, scene.CLASS_COUNT)
        target = labels.gather(1, pick[..., None].expand(-1, -1, 4)).reshape(-1)
        return F.cross_entropy(logits.float(), target, weight=self.cell_weight)

    def place_loss(self, features, cells, words):
        """Where the bar is that a patch belongs to: one code for a bar's label and its value, which the decoder can match.

        cells, words [V, 54, 54]: places, characters.  The few patches with characters weigh as much as all the bars' own.
        """
        features = features if self.bars_teach else features.detach()
        target, written = (c.reshape(-1, 27, 2, 27, 2).amax((2, 4)).reshape(-1).long() for c in (cells, words))
        losses = F.cross_entropy(self.places(features).view(-1, scene.PLACE_COUNT).float(), target, reduction="none")
        parts = [((target > 0) & ((written > 0) == text)).float() for text in (True, False)]
        return sum((losses * part).sum() / part.sum().clamp(min=1) for part in parts) / 2

    def partner_loss(self, features, cells):
        """What stands at the other end: a bar's label carries the digits of its value, the value the end of its label.

        cells [V, PARTNER_CHARS, 54, 54]; patches that touch two labels or two values are left out.  -> loss, share of patches all right.
        """
        features = features if self.bars_teach else features.detach()
        codes = sum(cells[:, k].long() << 8 * k for k in range(scene.PARTNER_CHARS))  # the last character highest: it alone is never 0
        codes = codes.reshape(-1, 27, 2, 27, 2).permute(0, 1, 3, 2, 4).reshape(-1, 729, 4)
        code = codes.amax(-1)
        code = code * ((codes == code[..., None]) | (codes == 0)).all(-1)
        pick = ((code > 0).float() + torch.rand(code.shape, device=code.device)).topk(PARTNER_PATCHES, dim=1).indices
        chosen = features.gather(1, pick[..., None].expand(-1, -1, features.shape[-1]))
        logits = self.partners(chosen).view(-1, scene.PARTNER_CHARS, PARTNER_CLASSES).float()
        code = code.gather(1, pick).reshape(-1)
        target, known = torch.stack([code >> 8 * k & 255 for k in range(scene.PARTNER_CHARS)], 1), (code > 0).float()
        losses = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape).mean(1)
        hit = (logits.detach().argmax(-1) == target).all(1).float()
        return [(x * known).sum() / known.sum().clamp(min=1) for x in (losses, hit)]

    def answer_logits(self, features, ids, kind):
        """-> logits of the text positions [B, TEXT, vocabulary], mean balance loss."""
        m = self.model
        tokens = m.projector(features)
        views, _, wide, high = data.KINDS[kind]
        if kind in ("one", "pair"):
            tokens = tokens[:, None].expand(-1, 2, -1, -1)  # one tile: the whole picture and its tile are the same pixels
        else:
            tokens = tokens.view(-1, views, *tokens.shape[1:])
        images = image_sequence(tokens, wide, high, m.image_newline, m.view_seperator)
        embed = m.language.model.embed_tokens
        batch, text = ids.shape[0], embed(ids)
        head = embed(self.prefix).expand(batch, -1, -1)
        if kind == "pair":
            images = images.view(batch, 2, *images.shape[1:])
            parts = [head, images[:, 0], embed(self.between).expand(batch, -1, -1), images[:, 1], text]
        else:
            parts = [head, images, text]
        x = torch.cat([part.float() for part in parts], dim=1)
        positions = torch.arange(x.shape[1], device=x.device)
        balance = 0.0
        for layer in m.language.model.layers:
            x, extra = layer(x, positions)
            balance = balance + extra
        x = m.language.model.norm(x[:, -ids.shape[1]:])
        return m.language.lm_head(x).float(), balance / len(m.language.model.layers)

    def forward(self, pixels, cells, ids, mask, kind):
        features, early = self.vision(pixels)
        cell = torch.zeros(len(LABEL_LOSSES), device=features.device)
        if cells is not None:
            # places where the last blocks can still match them, and at the end, where the decoder can
            place = (self.place_loss(early, cells[:, 1], cells[:, 0]) + self.place_loss(features, cells[:, 1], cells[:, 0])) / 2
            cell = torch.stack([self.cell_loss(features, cells[:, 0]), place, *self.partner_loss(features, cells[:, 2:])])
        logits, balance = self.answer_logits(features, ids, kind)
        target, weight = ids[:, 1:], mask[:, 1:].float()
        losses = F.cross_entropy(logits[:, :-1].flatten(0, 1), target.flatten(), reduction="none").view(target.shape) * weight
        return losses, weight, cell, balance, logits


def augment(views, colourless):
    """u8 [V, 384, 384, 3] -> [V, 378, 378, 3] in -1..1 with contrast, inversion, blur and noise, a share of the pictures each."""
    count, device = len(views), views.device
    x = views[:, :378, :378].to(torch.bfloat16 if views.is_cuda else torch.float32) / 127.5 - 1

    def some(share):
        return (torch.rand(count, 1, 1, 1, device=device) < share).to(x.dtype)

    blur = some(0.2) * torch.rand(count, 1, 1, 1, device=device).to(x.dtype)
    smooth = F.avg_pool2d(x.permute(0, 3, 1, 2), 3, 1, 1, count_include_pad=False).permute(0, 2, 3, 1)
    x = x + blur * (smooth - x)
    low = some(0.35)
    gain = 1 - low * torch.rand(count, 1, 1, 1, device=device).to(x.dtype) * 0.5
    x = x * gain + low * (torch.rand(count, 1, 1, 1, device=device).to(x.dtype) - 0.5) * 0.35
    x = x * (1 - 2 * some(0.12) * colourless.view(-1, 1, 1, 1).to(x.dtype))
    sigma = some(0.4) * torch.rand(count, 1, 1, 1, device=device).to(x.dtype) * 0.13
    return (x + sigma * torch.randn_like(x)).clamp(-1, 1)


@contextlib.contextmanager
def plain(trainer):
    """Everything as written, nothing compiled."""
    compiled = [(m, m._compiled_call_impl) for m in trainer.compiled_modules()]
    for module, _ in compiled:
        module._compiled_call_impl = None
    try:
        yield
    finally:
        for module, call in compiled:
            module._compiled_call_impl = call


def compiled_agrees(trainer, batch, cast):
    """Logits and gradients of the compiled modules against the plain ones on a few pictures of `batch`."""
    kind, views, cells, _, ids, mask, _ = batch
    count = min(32, len(ids))
    pixels = views[:count, :378, :378].float() / 127.5 - 1

    def both():
        trainer.zero_grad(set_to_none=True)
        with cast():
            losses, weight, _, balance, logits = trainer(pixels, None, ids[:count], mask[:count], kind)
        (losses.sum() / weight.sum().clamp(min=1) + 0.003 * balance).backward()
        grads = torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])
        trainer.zero_grad(set_to_none=True)
        return logits.detach(), grads

    with plain(trainer):
        wanted = both()
    apart = [float((a - b).norm() / b.norm()) for a, b in zip(both(), wanted)]
    log("compiled against plain, relative: logits %.4f gradients %.4f" % tuple(apart))
    return apart[0] < 0.05 and apart[1] < 0.15  # bf16 in another order: 0.01 and 0.02; the decoder's attention compiled: NaN


class Batches:
    """Collects chunks of one kind into batches on the GPU in a thread; repeats a recent batch when rendering falls behind."""

    def __init__(self, pool, free, ready, per_batch, device, keep):
        self.pool, self.free, self.ready, self.per_batch, self.device = pool, free, ready, per_batch, device
        self.queue, self.recent = collections.deque(), collections.deque(maxlen=keep)
        self.lock = threading.Condition()
        self.fresh = self.repeated = 0
        stream = torch.cuda.Stream() if device == "cuda" else None
        self.side = lambda: torch.cuda.stream(stream)
        threading.Thread(target=self.collect, daemon=True).start()

    def collect(self):
        bins = collections.defaultdict(list)
        while True:
            chunk, kind = self.ready.get()
            bins[kind].append(chunk)
            if len(bins[kind]) == self.per_batch:
                with self.side():
                    batch = self.upload(data.NAMES[kind], bins.pop(kind))
                with self.lock:
                    while len(self.queue) >= 3:
                        self.lock.wait()
                    self.queue.append(batch)
                    self.lock.notify_all()

    def upload(self, kind, chunks):
        views, sequences, _, _ = data.KINDS[kind]

        def take(array, count):
            rows = np.concatenate([array[c, :count] for c in chunks])
            tensor = torch.from_numpy(rows)
            return (tensor.pin_memory() if self.device == "cuda" else tensor).to(self.device, non_blocking=True)

        used = views * sequences
        p = self.pool
        batch = (kind, take(p.views, used), take(p.cells, used), take(p.plain, used), take(p.ids, sequences).long(), take(p.mask, sequences),
                 take(p.task, sequences).long())
        if self.device == "cuda":
            torch.cuda.current_stream().synchronize()
        for chunk in chunks:
            self.free.put(chunk)
        return batch

    def next(self):
        with self.lock:
            while not self.queue and len(self.recent) < self.recent.maxlen:
                self.lock.wait()
            if self.queue:
                batch = self.queue.popleft()
                self.lock.notify_all()
                self.recent.append(batch)
                self.fresh += 1
            else:
                batch = self.recent[np.random.randint(len(self.recent))]
                self.repeated += 1
        if self.device == "cuda":
            for tensor in batch[1:]:
                tensor.record_stream(torch.cuda.current_stream())
        return batch


class Guard:
    """Clips gradients, drops those that are no numbers, and goes back to the last good weights when that keeps happening."""

    def __init__(self, matrices, others, average):
        self.params = [p for p, _ in matrices] + list(others)
        self.average = average
        self.bad = torch.zeros(len(data.NAMES), device=self.params[0].device)
        self.largest = torch.zeros((), device=self.params[0].device)
        self.slower = 1.0
        self.keep()

    def keep(self):
        self.good = [p.detach().clone() for p in self.params], [a.clone() for a in self.average]

    @torch.no_grad()
    def tame(self, loss, kind):
        grads = [p.grad for p in self.params]
        norm = torch.stack(torch._foreach_norm(grads)).norm()
        fine = torch.isfinite(norm) & torch.isfinite(loss)
        self.bad[data.NAMES.index(kind)] += (~fine).float()
        self.largest.copy_(torch.maximum(self.largest, norm.nan_to_num()))
        torch._foreach_mul_(grads, torch.where(fine, 2.0 / norm.clamp(min=2.0), torch.zeros_like(norm)))
        for grad in grads:
            grad.nan_to_num_(0.0, 0.0, 0.0)

    @torch.no_grad()
    def watch(self, muon, adam):
        """Every 20 steps."""
        each = [int(count) for count in self.bad.tolist()]
        bad = sum(each)
        if bad:
            log(f"{bad} of 20 steps without a finite gradient:", " ".join(f"{n} {c}" for n, c in zip(data.NAMES, each) if c))
        if bad > 5:
            self.slower *= 0.6
            torch._foreach_copy_(self.params, self.good[0])
            torch._foreach_copy_(self.average, self.good[1])
            for buffer in muon.buffers.values():
                buffer.zero_()
            adam.state.clear()
            log(f"went back to the last good weights, slower {self.slower:.2f}")
        elif not bad and all(bool(v) for v in (torch.stack([torch.isfinite(n) for n in torch._foreach_norm(self.params)]).all(),)):
            self.keep()
        self.bad.zero_()


def box_of(text):
    numbers = re.search(r"\[\[(\d+), (\d+), (\d+), (\d+)", text)
    return [int(n) for n in numbers.groups()] if numbers else None


def iou(a, b):
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    inner = max(0, w) * max(0, h)
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inner
    return inner / both if both > 0 else 0.0


class HeldOut:
    """Held-out questions; an answer counts when every token of it is the likeliest one given those before (what greedy decoding does)."""

    def __init__(self, t, per_task):
        self.t, self.items = t, data.held_out_items(per_task)
        self.views = np.stack([data.pad_view(i.images[0], 384, 384) for i in self.items])
        self.ids = np.full((len(self.items), data.TEXT), t.pad, np.int64)
        self.mask = np.zeros((len(self.items), data.TEXT), np.uint8)
        for row, item in enumerate(self.items):
            ids, mask = data.encode_turns(t, [(item.question, item.answer)])
            self.ids[row, :len(ids)], self.mask[row, :len(ids)] = ids, mask

    @torch.no_grad()
    def score(self, trainer, device, batch, cast):
        right, seen = collections.Counter(), collections.Counter()
        for at in range(0, len(self.items), batch):
            views = torch.from_numpy(self.views[at:at + batch]).to(device)
            ids, mask = torch.from_numpy(self.ids[at:at + batch]).to(device), torch.from_numpy(self.mask[at:at + batch]).to(device)
            with cast():
                pixels = views[:, :378, :378].float() / 127.5 - 1
                with plain(trainer):
                    logits = trainer(pixels, None, ids, mask, "one")[4]
            guess = logits[:, :-1].argmax(-1)
            fine = ((guess == ids[:, 1:]) | (mask[:, 1:] == 0)).all(1).tolist()
            guess = guess.cpu().numpy()
            for row, ok in enumerate(fine):
                item = self.items[at + row]
                task, damaged, answer = item.task, item.damaged, item.answer
                if task == "box":
                    where = self.mask[at + row, 1:] > 0
                    got, want = box_of(self.t.decode(guess[row][where])), box_of(answer)
                    ok = got is not None and iou(got, want) >= 0.5
                keys = (task, task + ("-" if damaged else "+")) + ((f"of {item.kind}s",) if task == "chart" else ())
                for key in keys:
                    right[key] += bool(ok)
                    seen[key] += 1
        return " ".join(f"{k} {100 * right[k] / seen[k]:.0f}" for k in sorted(seen))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--state", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--weights")
    parser.add_argument("--seconds", type=float, default=550)
    parser.add_argument("--until", type=float, default=1.0)
    parser.add_argument("--progress", type=float, default=0.0, help="where the schedule starts without a state")
    parser.add_argument("--workers", type=int, default=15)
    parser.add_argument("--batch-chunks", type=int, default=8)
    parser.add_argument("--chunks", type=int, default=160)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--adam-lr", type=float, default=1.5e-3)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--smoke", action="store_true", help="a tiny model, to test the script on a CPU")
    args = parser.parse_args()
    os.makedirs(args.state, exist_ok=True)
    os.makedirs(args.out, exist_ok=True)
    t = tok.Tokenizer(tok.build())
    path = os.path.join(args.state, "state.pt")
    saved = torch.load(path, map_location="cpu", weights_only=False) if os.path.exists(path) else {}
    progress, step, longest = saved.get("progress", args.progress), saved.get("step", 0), saved.get("longest", 5.0 if args.progress == 0 else 24.0)

    pool = data.Pool(args.chunks)

    def set_mix(p):
        tasks, kinds, floor = schedule(p)
        pool.mix[:] = (*tasks, *kinds, min(24, max(longest, floor)))

    set_mix(progress)
    free, ready, processes = data.start_workers(pool, args.chunks, args.workers, f"train-{step}")
    smoke = args.smoke
    held_out = HeldOut(t, dict(text=128, field=96, chart=96, shape=64, box=128) if not smoke else dict(text=4, field=4, chart=4, shape=4, box=4))
    log("held-out set ready")

    torch.manual_seed(step + 7)
    trainer = Trainer(model_io.pico_config(smoke=smoke), t)
    model_io.first_values(trainer.model)
    if args.weights:
        trainer.model.load_state_dict(model_io.load_weights(args.weights))
    if saved:
        trainer.load_state_dict(saved["trainer"])
    trainer.to(args.device)
    cuda = args.device == "cuda"
    cast = (lambda: torch.autocast("cuda", dtype=torch.bfloat16)) if cuda else (lambda: torch.autocast("cpu", enabled=False))
    matrices, others = model_io.split_parameters(trainer.model, [p for head in (trainer.cells, trainer.places, trainer.partners) for p in head.parameters()])
    muon = model_io.Muon(matrices, 0.05)
    adam = torch.optim.AdamW(others, lr=args.adam_lr, betas=(0.9, 0.98), weight_decay=0.01, fused=cuda)
    params = list(trainer.model.parameters())
    average = [p.detach().clone() for p in params]
    if saved:
        adam.load_state_dict(saved["adam"])
        for shape, buffer in saved["muon"].items():
            muon.buffers[shape].copy_(buffer)
        average = [a.to(args.device) for a in saved["average"]]
    log("parameters", sum(p.numel() for p in params), "progress", progress, "step", step)
    if cuda:
        torch.backends.cuda.enable_cudnn_sdp(False)
    fast = cuda and not args.no_compile
    if fast:
        import torch._dynamo as dynamo
        dynamo.config.suppress_errors = True
        for module in trainer.compiled_modules():
            module.compile()

    guard = Guard(matrices, others, average)
    batches = Batches(pool, free, ready, args.batch_chunks, args.device, 40 if cuda else 4)
    begin, first, last_eval, last_log = time.time(), progress, time.time(), time.time()
    checked = False
    text_loss, seen, sums, cell_mean = None, 0, torch.zeros(2, len(data.TASKS), device=args.device), torch.zeros(len(LABEL_LOSSES), device=args.device)
    log_steps = 0

    def averaged(fn):
        current = [p.detach().clone() for p in params]
        with torch.no_grad():
            torch._foreach_copy_(params, average)
        result = fn()
        with torch.no_grad():
            torch._foreach_copy_(params, current)
        return result

    while time.time() - START < args.seconds:
        p = first + (args.until - first) * (time.time() - begin) / max(1.0, args.seconds - (begin - START))
        progress = min(p, args.until)
        share = learning_rate(progress, step)
        taught = bool(saved) or not args.weights
        trainer.cells_teach, trainer.bars_teach = taught or step >= 300, taught or step >= 150  # the rate is still warming up until 150
        batch = batches.next()
        kind, views, cells, colourless, ids, mask, task = batch
        if fast and not checked and kind == "one":
            checked = True
            if not compiled_agrees(trainer, batch, cast):
                log("the compiled modules are wrong here: going on without them")
                fast = False
        with cast():
            with contextlib.nullcontext() if fast and kind == "one" else plain(trainer):
                losses, weight, cell, balance, _ = trainer(augment(views, colourless), cells, ids, mask, kind)
        loss = losses.sum() / weight.sum().clamp(min=1) + (0.5 if progress < 0.5 else 0.2) * cell[0] + 0.3 * cell[1] + 0.4 * cell[2] + 0.003 * balance
        loss.backward()
        guard.tame(loss, kind)
        muon.step(args.lr * share * guard.slower)
        adam.param_groups[0]["lr"] = args.adam_lr * share * guard.slower
        adam.step()
        trainer.zero_grad(set_to_none=True)
        with torch.no_grad():
            sums[0].index_add_(0, task, losses.detach().sum(1).nan_to_num())
            sums[1].index_add_(0, task, weight.sum(1))
            cell_mean += cell.detach().nan_to_num()
            if step % 4 == 0:
                torch._foreach_lerp_(average, params, 1 - min(0.996, (step + 1) / (step + 40)))
        step, seen, log_steps = step + 1, seen + len(views), log_steps + 1
        if step <= 3 or step == 10:
            log("step", step, "loss", round(loss.item(), 3))
        if step % 20 == 0:
            per_task = (sums[0] / sums[1].clamp(min=1)).tolist()
            if per_task[0] > 0:
                text_loss = per_task[0]
            guard.watch(muon, adam)
            if text_loss is not None and text_loss < 0.6 and longest < 24:
                longest = min(24.0, longest * 1.05)
            set_mix(progress)
            if time.time() - last_log > 15:
                span, last_log = time.time() - last_log, time.time()
                words = " ".join(f"{name} {value:.3f}" for name, value in zip(data.TASKS, per_task))
                labels = " ".join(f"{name} {value / log_steps:.3f}" for name, value in zip(LABEL_LOSSES, cell_mean.tolist()))
                log(f"p {progress:.3f} step {step} lr {share:.2f} longest {pool.mix[-1]:.0f} {labels} norm {guard.largest.item():.2f} | {words}"
                    f" | {log_steps / span:.1f} steps/s fresh {batches.fresh} repeated {batches.repeated}")
                log_steps = 0
                guard.largest.zero_()
                cell_mean.zero_()
            sums.zero_()
        if time.time() - last_eval > 60:
            log("HELD OUT", averaged(lambda: held_out.score(trainer, args.device, 128, cast)))
            last_eval = time.time()
    log("views", seen, "fresh batches", batches.fresh, "repeated", batches.repeated)
    log("last weights:", held_out.score(trainer, args.device, 128, cast))
    log("averaged    :", averaged(lambda: held_out.score(trainer, args.device, 128, cast)))
    state = dict(zip([n for n, _ in trainer.model.named_parameters()], average))
    model_io.export(state, args.out, 2)
    torch.save(dict(trainer=trainer.state_dict(), adam=adam.state_dict(), muon=muon.buffers, average=average, progress=progress, step=step,
                    longest=longest), path)
    log("saved; progress", round(progress, 4), "step", step)
    sys.stdout.flush()
    for process in processes:
        process.kill()
    os._exit(0)


if __name__ == "__main__":
    main()
