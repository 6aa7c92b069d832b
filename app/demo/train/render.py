"""Rendered pictures with questions and answers: lines of text, receipts, forms, charts, tables, scenes of shapes.

A `Scene` holds the picture, boxes with a class for the training-only labels, and (question, answer, task) triples.
Everything comes from the `random.Random` handed in, so a seed names a picture.
"""
import math

import numpy as np
from PIL import Image, ImageFilter

from charts import Charts
from scene import (CHAR_CLASS, CHARS, CODE_ALPHABETS, COLOURS, GOODS, INKS, LABELS, PARTNER_CHARS, PEOPLE, PLACES, PLACES_A_SIDE, SHAPE_CLASS, SHAPES, SURNAMES,
                   SYLLABLES, WORDS, Scene, colour_pair, face, font_files)

_lists = {}


class Maker(Charts):
    """Draws scenes with one set of fonts."""

    def __init__(self, rng, held_out=False, max_length=24):
        key = held_out
        if key not in _lists:
            _lists[key] = font_files(held_out)
        self.rng, self.fonts, self.max_length, self.held_out = rng, _lists[key], max_length, held_out

    def font(self, size):
        return face(self.rng.choice(self.fonts), size)

    def fit(self, name, size, text, width):
        """The largest even size <= size at which text fits, or None under 12."""
        while size >= 12:
            f = face(name, size)
            if f.width(text) <= width:
                return f
            size -= 1 if size < 20 else 2
        return None

    # -- contents

    def word(self):
        rng = self.rng
        w = rng.choice(WORDS) if rng.random() < 0.5 else "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))
        k = rng.random()
        return w if k < 0.5 else w.capitalize() if k < 0.8 else w.upper()

    def number(self):
        rng = self.rng
        k = rng.random()
        if k < 0.3:
            return str(rng.randint(0, 10 ** rng.randint(1, 8)))
        if k < 0.6:
            return f"{rng.choice(('', '$', '-', '+'))}{rng.randint(0, 9999)}.{rng.randint(0, 99):02d}"
        if k < 0.75:
            return f"{rng.randint(1, 28):02d}{rng.choice('/-.')}{rng.randint(1, 12):02d}{rng.choice('/-.')}{rng.randint(1980, 2039)}"
        if k < 0.85:
            return f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"
        return f"{rng.randint(1, 999):,}{rng.choice(('%', ' kg', ' km', '', ',000'))}"

    def code(self, length):
        rng = self.rng
        alphabet = rng.choice(CODE_ALPHABETS)
        return " ".join("".join(rng.choice(alphabet) for _ in range(length)).split())

    def line(self):
        rng = self.rng
        length = rng.randint(1, self.max_length)
        if rng.random() < 0.25:
            length = self.max_length - rng.randint(0, self.max_length // 3)
        k = rng.random()
        if k < 0.45:
            text = self.code(length)
        else:
            text = self.word() if k < 0.85 else self.number()
            while True:
                more = text + rng.choice((" ", " ", " ", " ", ", ", "-", ": ")) + (self.word() if rng.random() < 0.75 else self.number())
                if len(more) > length:
                    break
                text = more
        text = text[:length].strip()
        return text or rng.choice(CHARS)

    def size(self, wide=None):
        rng = self.rng
        if wide:
            return wide
        if rng.random() < 0.6:
            return 384, 384
        return rng.randint(200, 384), rng.randint(100, 384)

    # -- scenes

    def text_scene(self, wide=None, single=False):
        rng = self.rng
        width, height = self.size(wide)
        back, ink = colour_pair(rng)
        scene = Scene(width, height, back)
        # single: one line, as the reading score has it
        count = 1 if single else rng.choice((1, 2, 3, 4, 5, 6, 7, 8))
        coloured = count > 1 and rng.random() < 0.15
        inks = rng.sample(INKS, min(count, len(INKS)))
        if coloured:
            count, scene.has_colours = len(inks), True
            g = rng.randint(225, 255)
            scene.draw.rectangle((0, 0, width, height), fill=(g, g, g))
        one_font = rng.choice(self.fonts) if rng.random() < 0.5 else None
        y, lines = rng.randint(0, 12), []
        room = height / count
        for index in range(count):
            text = self.line()
            f = self.fit(one_font or rng.choice(self.fonts), rng.randint(13, 22) if rng.random() < 0.5 else rng.randint(16, 40), text, width - 8)
            if f is None:
                continue
            need = f.size * 1.3
            if y + need > height - 2:
                break
            spare = int(max(0, min(room - need, height - y - need)))
            y += rng.randint(0, spare) if spare else 0
            x = rng.randint(2, max(2, int(width - 4 - f.width(text))))
            fill = COLOURS[inks[index]] if coloured else ink
            scene.text(x, y, text, fill, f)
            lines.append((text, inks[index] if coloured else None))
            y += int(need) + rng.randint(0, 4)
        if not lines:
            return self.text_scene(wide, single)
        if rng.random() < 0.1:
            yy = rng.randint(0, height - 1)
            scene.draw.line((0, yy, width, yy), fill=ink)
        if len(lines) == 1:
            scene.ask(rng.choice(("Read the text.", "What does the text say?", "What is written here?")), lines[0][0], "text")
        else:
            for index, (text, colour) in enumerate(lines):
                if colour and rng.random() < 0.5:
                    scene.ask(f"Read the {colour} line.", text, "line")
                else:
                    scene.ask(f"Read line {index + 1}.", text, "line")
            if rng.random() < 0.2:
                scene.ask("How many lines of text are there?", str(len(lines)), "count")
        return scene

    def money(self):
        return f"{self.rng.randint(0, 99) if self.rng.random() < 0.8 else self.rng.randint(100, 999)}.{self.rng.randint(0, 99):02d}"

    def date(self):
        rng = self.rng
        d, m, y = rng.randint(1, 28), rng.randint(1, 12), rng.randint(2000, 2029)
        return rng.choice((f"{d:02d}/{m:02d}/{y}", f"{y}-{m:02d}-{d:02d}", f"{d:02d}.{m:02d}.{y}"))

    def paper(self, width, height):
        g = self.rng.randint(215, 255)
        return Scene(width, height, (g, g, self.rng.randint(max(200, g - 20), g))), (self.rng.randint(0, 70),) * 3

    def receipt_scene(self, wide=None):
        rng = self.rng
        width, height = wide or (rng.randint(240, 384), 384)
        scene, ink = self.paper(width, height)
        name = rng.choice(self.fonts)
        f = face(name, rng.randint(14, 21))
        step = int(f.size * rng.uniform(1.3, 1.6))
        left, right = rng.randint(6, 20), width - rng.randint(6, 20)
        store = f"{self.word().capitalize()} {rng.choice(('Shop', 'Market', 'Cafe', 'Store', 'Bar', 'Foods', 'Deli'))}"
        head = self.fit(name, f.size + rng.randint(0, 8), store, right - left) or f
        y = rng.randint(4, 16)
        scene.text(int((width - head.width(store)) / 2), y, store, ink, head)
        y += int(head.size * 1.5)
        scene.ask("What is the store name?", store, "field")
        currency = rng.choice(("", "$", "$"))
        extras = []
        if rng.random() < 0.8:
            extras.append(("Date", self.date(), "What is the date?"))
        if rng.random() < 0.5:
            extras.append(("No.", str(rng.randint(1, 99999)), "What is the receipt number?"))
        if rng.random() < 0.4:
            extras.append(("Table", str(rng.randint(1, 60)), "What is the table?"))
        for label, value, question in extras:
            scene.text(left, y, f"{label}{rng.choice((':', ''))} {value}", ink, f)
            scene.ask(question, value, "field")
            y += step
        y += rng.randint(2, 10)
        items = rng.sample(GOODS, rng.randint(2, 6))
        for item in items:
            if y + 3 * step > height:
                break
            price = currency + self.money()
            scene.text(left, y, item, ink, f)
            scene.text(int(right - f.width(price)), y, price, ink, f)
            scene.ask(rng.choice((f"What is the price of {item}?", f"How much is {item}?")), price, "field")
            y += step
        y += rng.randint(2, 8)
        scene.draw.line((left, y, right, y), fill=ink)
        y += rng.randint(3, 8)
        big = face(name, min(f.size + rng.randint(0, 5), 24))
        total = currency + self.money()
        scene.text(left, y, rng.choice(("TOTAL", "Total", "Total:")), ink, big)
        scene.text(int(right - big.width(total)), y, total, ink, big)
        scene.ask("What is the total?", total, "field")
        return scene

    def value(self, label):
        rng = self.rng
        person = f"{rng.choice(PEOPLE)} {rng.choice(SURNAMES)}"
        return {"name": person, "date": self.date(), "city": rng.choice(PLACES), "phone": f"{rng.randint(100, 999)}-{rng.randint(1000, 9999)}",
                "code": self.code_word(), "amount": "$" + self.money(), "order": str(rng.randint(1000, 999999)), "room": str(rng.randint(1, 999)),
                "age": str(rng.randint(1, 99)), "email": f"{rng.choice(PEOPLE).lower()}@{rng.choice(WORDS)}.com", "country": self.word().capitalize(),
                "table": str(rng.randint(1, 60)), "weight": f"{rng.randint(1, 99)}.{rng.randint(0, 9)} kg",
                "time": f"{rng.randint(0, 23):02d}:{rng.randint(0, 59):02d}"}[label]

    def code_word(self):
        return "".join(self.rng.choice(CODE_ALPHABETS[2]) for _ in range(self.rng.randint(4, 8)))

    def form_scene(self, wide=None):
        rng = self.rng
        width, height = wide or (rng.randint(300, 384), rng.randint(240, 384))
        scene, ink = self.paper(width, height)
        if rng.random() < 0.15:
            scene = Scene(width, height, (rng.randint(0, 40),) * 3)
            ink = (rng.randint(200, 255),) * 3
        name = rng.choice(self.fonts)
        labels = rng.sample(LABELS, rng.randint(3, 8))
        size = rng.randint(13, 22)
        left, gap = rng.randint(6, 24), rng.randint(8, 24)
        column = rng.random() < 0.5
        boxed, ruled = rng.random() < 0.3, rng.random() < 0.3
        label_font = rng.choice(self.fonts) if rng.random() < 0.3 else name
        y = rng.randint(4, 16)
        if rng.random() < 0.5:
            title = rng.choice(("Order Form", "Registration", "Booking", "Invoice", "Member Card", "Delivery Note", "Visitor Pass"))
            f = self.fit(name, size + rng.randint(2, 8), title, width - 16)
            scene.text(rng.randint(6, max(6, int(width - 8 - f.width(title)))), y, title, ink, f)
            scene.ask("What is the title?", title, "field")
            y += int(f.size * 1.7)
        step = int(max(size * 1.35, min(size * 2.4, (height - y) / len(labels))))
        at = left + int(max(face(label_font, size).width(label.capitalize() + ":") for label in labels)) + gap
        for label in labels:
            if y + size * 1.4 > height:
                break
            value = self.value(label)
            shown = label.capitalize() + (":" if rng.random() < 0.8 else "")
            lf = face(label_font, size)
            x0 = at if column else left + int(lf.width(shown)) + 8
            f = self.fit(name, size, value, width - x0 - 4)
            if f is None:
                break
            scene.text(left, y, shown, ink, lf)
            if boxed:
                scene.draw.rectangle((x0 - 4, y - 2, min(width - 2, x0 + f.width(value) + 12), y + int(size * 1.3)), outline=ink)
            scene.text(x0, y, value, ink, f)
            if ruled:
                scene.draw.line((x0, y + int(size * 1.35), width - 8, y + int(size * 1.35)), fill=ink)
            scene.ask(f"What is the {label}?", value, "field")
            y += step
        return scene

    def shape(self, scene, kind, fill, x, y, r):
        """Draws a shape of radius r about (x, y), returns its box."""
        d = scene.draw
        if kind == "circle":
            d.ellipse((x - r, y - r, x + r, y + r), fill=fill)
            return x - r, y - r, x + r, y + r
        if kind == "square":
            s = r * 0.86
            d.rectangle((x - s, y - s, x + s, y + s), fill=fill)
            return x - s, y - s, x + s, y + s
        if kind == "cross":
            t = r * 0.33
            points = [(-t, -r), (t, -r), (t, -t), (r, -t), (r, t), (t, t), (t, r), (-t, r), (-t, t), (-r, t), (-r, -t), (-t, -t)]
        elif kind == "triangle":
            points = [(0, -r), (r, r * 0.8), (-r, r * 0.8)]
        elif kind == "diamond":
            points = [(0, -r), (r * 0.7, 0), (0, r), (-r * 0.7, 0)]
        else:
            points = [((r if i % 2 == 0 else r * 0.42) * math.sin(i * math.pi / 5), -(r if i % 2 == 0 else r * 0.42) * math.cos(i * math.pi / 5))
                      for i in range(10)]
        points = [(x + a, y + b) for a, b in points]
        d.polygon(points, fill=fill)
        xs, ys = [p[0] for p in points], [p[1] for p in points]
        return min(xs), min(ys), max(xs), max(ys)

    def shapes_scene(self, wide=None):
        rng = self.rng
        width, height = self.size(wide)
        back = tuple(rng.randint(225, 255) for _ in range(3)) if rng.random() < 0.8 else (rng.randint(120, 200),) * 3
        scene = Scene(width, height, back)
        scene.has_colours = True
        placed, colours = [], rng.sample(list(COLOURS), rng.randint(2, len(COLOURS)))
        kinds = rng.sample(SHAPES, rng.randint(1, len(SHAPES)))
        biggest = min(width, height) / rng.choice((3.2, 4.5, 6, 8))
        for _ in range(rng.randint(1, 8)):
            for _ in range(12):
                r = rng.uniform(11, max(14, biggest))
                if 2 * r + 4 > min(width, height):
                    continue
                x, y = rng.uniform(r + 1, width - r - 1), rng.uniform(r + 1, height - r - 1)
                if all(math.hypot(x - px, y - py) > r + pr + 3 for px, py, pr, *_ in placed):
                    kind, colour = rng.choice(kinds), rng.choice(colours)
                    box = self.shape(scene, kind, COLOURS[colour], x, y, r)
                    placed.append((x, y, r, kind, colour, box))
                    scene.cells.append((*box, SHAPE_CLASS[(kind, colour)]))
                    break
        if not placed:
            return self.shapes_scene(wide)
        self.ask_shapes(scene, placed)
        return scene

    def ask_shapes(self, scene, placed):
        rng = self.rng
        by_both, by_kind, by_colour = {}, {}, {}
        for p in placed:
            by_both.setdefault((p[4], p[3]), []).append(p)
            by_kind.setdefault(p[3], []).append(p)
            by_colour.setdefault(p[4], []).append(p)
        for (colour, kind), group in by_both.items():
            if len(group) == 1:
                self.ask_box(scene, f"the {colour} {kind}", group[0])
        for kind, group in by_kind.items():
            if len(group) == 1:
                if rng.random() < 0.5:
                    self.ask_box(scene, f"the {kind}", group[0])
                scene.ask(f"What color is the {kind}?", group[0][4], "shape")
        for colour, group in by_colour.items():
            if len(group) == 1:
                scene.ask(f"What shape is {colour}?", group[0][3], "shape")
        scene.ask("How many shapes are there?", str(len(placed)), "count")
        kind, colour = rng.choice(SHAPES), rng.choice(list(COLOURS))
        if rng.random() < 0.7:
            kind, colour = rng.choice(list(by_kind)), rng.choice(list(by_colour))
        scene.ask(f"How many {kind}s are there?" if kind != "cross" else "How many crosses are there?", str(len(by_kind.get(kind, []))), "count")
        scene.ask(f"How many {colour} shapes are there?", str(len(by_colour.get(colour, []))), "count")

    def ask_box(self, scene, label, p):
        w, h = scene.width, scene.height
        x0, y0, x1, y1 = p[5]
        box = [min(999, max(0, round(v / s * 999))) for v, s in ((x0, w), (y0, h), (x1, w), (y1, h))]
        scene.ask(f"<|ref|>{label}<|/ref|>.", f"<|ref|>{label}<|/ref|><|det|>[[{box[0]}, {box[1]}, {box[2]}, {box[3]}]]<|/det|>", "box")

    def scene(self, task, wide=None):
        if task == "single":
            return self.text_scene(wide, single=True)
        return getattr(self, task + "_scene")(wide)


def tilt(scene, rng):
    """A slight turn about the middle; boxes follow their centres (only for scenes without box answers), the bars' places stay."""
    angle = rng.uniform(-3, 3)
    fill = scene.image.getpixel((0, 0))
    scene.image = scene.image.rotate(angle, Image.BILINEAR, fillcolor=fill)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    mx, my = scene.width / 2, scene.height / 2

    def turned(x0, y0, x1, y1, *rest):
        dx, dy = (x0 + x1) / 2 - mx, (y0 + y1) / 2 - my
        sx, sy = mx + dx * c + dy * s - (x0 + x1) / 2, my - dx * s + dy * c - (y0 + y1) / 2
        return (x0 + sx, y0 + sy, x1 + sx, y1 + sy, *rest)

    scene.cells = [turned(*box) for box in scene.cells]
    scene.places = [turned(*box) for box in scene.places]
    scene.pairs = [(turned(*a), label, turned(*b), value) for a, label, b, value in scene.pairs]


def degrade(image, rng):
    """Mild damage for held-out pictures: noise, blur, low contrast (training does the same on the GPU)."""
    kind = rng.choice(("noise", "blur", "contrast", "noise+contrast"))
    if kind == "blur":
        return image.filter(ImageFilter.GaussianBlur(rng.uniform(0.4, 0.8)))
    data = np.asarray(image).astype(np.float32)
    if "contrast" in kind:
        data = 127 + (data - 127) * rng.uniform(0.55, 0.8) + rng.uniform(-20, 20)
    if "noise" in kind:
        data = data + np.random.default_rng(rng.getrandbits(32)).normal(0, rng.uniform(4, 14), data.shape)
    return Image.fromarray(np.clip(data, 0, 255).astype(np.uint8))


def place_in_view(width, height, side=384, canvas=None):
    """How a picture lands on a canvas: (scale_x, scale_y, offset_x, offset_y), as ImageOps.pad has it."""
    cw, ch = canvas or (side, side)
    if width / height > cw / ch:
        w, h = cw, round(height / width * cw)
    elif width / height < cw / ch:
        w, h = round(width / height * ch), ch
    else:
        w, h = cw, ch
    return w / width, h / height, round((cw - w) * 0.5), round((ch - h) * 0.5)


def cell_labels(scene, out, canvas=None, view=(0, 0)):
    """Fills out u8 [2 + PARTNER_CHARS, 54, 54] for the 7-pixel cells of one view: which class covers the centre, the place of the bar it
    belongs to, and of a label or value the last characters of the other one (right-aligned, 0 before the first) if this view shows both."""
    out[:] = 0
    sx, sy, ox, oy = place_in_view(scene.width, scene.height, canvas=canvas)
    ox, oy = ox - view[0] * 384, oy - view[1] * 384

    def paint(cells, x0, y0, x1, y1, k):
        a, b = math.ceil((x0 * sx + ox) / 7 - 0.5), math.ceil((x1 * sx + ox) / 7 - 0.5)
        c, d = math.ceil((y0 * sy + oy) / 7 - 0.5), math.ceil((y1 * sy + oy) / 7 - 0.5)
        if b > 0 and d > 0 and a < 54 and c < 54:
            cells[..., max(c, 0):d, max(a, 0):b] = k

    def inside(x0, y0, x1, y1):
        return x0 * sx + ox >= 0 and y0 * sy + oy >= 0 and x1 * sx + ox <= 378 and y1 * sy + oy <= 378

    for box in scene.cells:
        paint(out[0], *box)
    for x0, y0, x1, y1, axis, centre in scene.places:
        strip = math.floor((centre * sy + oy if axis else centre * sx + ox) * PLACES_A_SIDE / 384)
        if 0 <= strip < PLACES_A_SIDE:
            paint(out[1], x0, y0, x1, y1, 1 + axis * PLACES_A_SIDE + strip)
    for label_box, label, value_box, value in scene.pairs:
        if inside(*label_box) and inside(*value_box):
            for box, partner in ((label_box, value), (value_box, label)):
                codes = [CHAR_CLASS[c] for c in partner[-PARTNER_CHARS:]]
                paint(out[2:], *box, np.array([0] * (PARTNER_CHARS - len(codes)) + codes, np.uint8)[:, None, None])


def question_corpus():
    """The questions' fixed words, for the tokenizer's merges."""
    out = ["\nRead the text.\n\n", "\nWhat does the text say?\n\n", "\nWhat is written here?\n\n", "\nRead line 1.\n\n", "How many lines of text are there?\n\n",
           "What is the store name?", "What is the receipt number?", "What is the title?", "What is the price of", "How much is", "What is the total?",
           "What is the value of", "Which bar is the highest?", "Which bar is the lowest?", "What is the count size year score code rank of",
           "How many shapes are there?", "In the first picture: What is", "In the second picture: What is", "Find the largest", "What shape is", "What color is the"] * 3
    out += [f"Read the {c} line." for c in INKS] + [f"What is the {label}?" for label in LABELS]
    out += [f"the {c} {s}" for c in COLOURS for s in SHAPES] + [f"How many {s}s are there?" for s in SHAPES] + ["How many crosses are there?"]
    out += [f"How many {c} shapes are there?" for c in COLOURS]
    return out
