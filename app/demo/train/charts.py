"""Bar charts, tables, and the columns of names and numbers that training alone has."""
from scene import COLOURS, GOODS, PEOPLE, PLACES, face


class Charts:
    """The chart and table scenes of `render.Maker`."""

    def label_pools(self):
        return (list("ABCDEFGH"), [g for g in GOODS if len(g) <= 6], ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"],
                [str(y) for y in range(2010, 2030)], ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul"], [p for p in PEOPLE if len(p) <= 5])

    def chart_scene(self, wide=None):
        rng = self.rng
        if not self.held_out and rng.random() < 0.25:
            return self.columns_scene(wide)
        width, height = wide or (rng.randint(300, 384), rng.randint(240, 384))
        scene, ink = self.paper(width, height)
        scene.has_colours = True
        name = rng.choice(self.fonts)
        f = face(name, rng.randint(13, 18))
        count = rng.randint(3, 6)
        pool = rng.choice(self.label_pools())
        names = rng.sample(pool, count)
        top = rng.choice((10, 50, 100, 100, 500))
        values = rng.sample(range(1, top), count)
        many = rng.random() < 0.4
        inks = [COLOURS[c] for c in rng.sample(list(COLOURS), count)] if many else [COLOURS[rng.choice(list(COLOURS))]] * count
        y0 = 6
        if rng.random() < 0.4:
            title = rng.choice(("Sales", "Visitors", "Results", "Points", "Orders", "Rainfall"))
            scene.text(rng.randint(8, width // 2), 4, title, ink, face(name, f.size + 3))
            y0 = int(f.size * 1.8) + 4
        vertical = rng.random() < 0.7
        draw = self.vertical_bars if vertical else self.horizontal_bars
        draw(scene, list(zip(names, values, inks)), ink, name, f, y0)
        for label, value in zip(names, values):
            scene.ask(f"What is the value of {label}?", str(value), "vbar" if vertical else "hbar")
        scene.ask("Which bar is the highest?", names[values.index(max(values))], "extreme")
        scene.ask("Which bar is the lowest?", names[values.index(min(values))], "extreme")
        return scene

    def vertical_bars(self, scene, bars, ink, name, f, y0):
        """bars: [(label, value, colour)]; y0: where the title ends."""
        rng, width, height = self.rng, scene.width, scene.height
        base, left = height - int(f.size * 1.5) - 4, rng.randint(8, 30)
        slot = (width - left - 6) / len(bars)
        scale = (base - y0 - f.size * 1.6) / max(value for _, value, _ in bars)
        scene.draw.line((left, base, width - 4, base), fill=ink)
        scene.draw.line((left, y0, left, base), fill=ink)
        hollow = not self.held_out and rng.random() < 0.3  # in training alone: the value inside its bar, often near the label
        for i, (label, value, colour) in enumerate(bars):
            x0, x1 = left + slot * (i + 0.2), left + slot * (i + 0.8)
            bar = base - max(1, value * scale)
            scene.draw.rectangle((x0, bar, x1, base - 1), fill=None if hollow else colour, outline=colour)
            lf = self.fit(name, f.size, label, slot) or f
            under = scene.text(int((x0 + x1 - lf.width(label)) / 2), base + 3, label, ink, lf)
            shown, y, lowest = str(value), bar - f.size * 1.35, base - f.size * 1.4
            if hollow and lowest > bar + 2 and f.width(shown) < x1 - x0 - 4:
                y = lowest - rng.random() ** 2 * (lowest - bar - 2)
            over = scene.text(int((x0 + x1 - f.width(shown)) / 2), int(y), shown, ink, f)
            scene.places += [(*box, 0, (x0 + x1) / 2) for box in ((x0, bar, x1, base), under, over)]
            scene.pairs.append((under, label, over, shown))

    def horizontal_bars(self, scene, bars, ink, name, f, y0):
        """As vertical_bars."""
        width, height = scene.width, scene.height
        left = 8 + int(max(f.width(label) for label, _, _ in bars))
        slot = (height - y0 - 6) / len(bars)
        scale = (width - left - 12 - f.width("000")) / max(value for _, value, _ in bars)
        scene.draw.line((left, y0, left, height - 4), fill=ink)
        for i, (label, value, colour) in enumerate(bars):
            a, b = y0 + slot * (i + 0.2), y0 + slot * (i + 0.8)
            end = left + max(1, value * scale)
            scene.draw.rectangle((left + 1, a, end, b), fill=colour)
            yy = int((a + b) / 2 - f.size * 0.65)
            before, after = scene.text(int(left - 4 - f.width(label)), yy, label, ink, f), scene.text(int(end + 5), yy, str(value), ink, f)
            scene.places += [(*box, 1, (a + b) / 2) for box in ((left, a, end, b), before, after)]
            scene.pairs.append((before, label, after, str(value)))

    def columns_scene(self, wide=None):
        """In training alone: a row of names and, some rows of text above or below, their numbers; what a chart of vertical bars is without bars."""
        rng = self.rng
        width, height = wide or (rng.randint(300, 384), rng.randint(240, 384))
        scene, ink = self.paper(width, height)
        name = rng.choice(self.fonts)
        f = face(name, rng.randint(13, 18))
        count, row = rng.randint(3, 6), int(f.size * 1.35)
        names = rng.sample(rng.choice(self.label_pools()), count)
        values = rng.sample(range(1, rng.choice((10, 50, 100, 100, 500, 1000))), count)
        below = rng.random() < 0.3  # the numbers
        most = min(12, (height - 2 * row - 8) // row)
        together, steps = rng.random() < 0.5, [rng.randint(1, most) for _ in names]
        steps = [steps[0]] * count if together else steps
        start = rng.randint(4, height - (max(steps) + 1) * row - 4) + (0 if below else max(steps) * row)
        left = rng.randint(4, 30)
        slot = (width - left - 6) / count
        joined, ruled = rng.random() < 0.3, rng.random() < 0.3
        for i, (label, value) in enumerate(zip(names, values)):
            middle, shown = left + slot * (i + 0.5), str(value)
            lf = self.fit(name, f.size, label, slot - 4) or f
            here = scene.text(int(middle - lf.width(label) / 2), start, label, ink, lf)
            y = start + (steps[i] if below else -steps[i]) * row
            there = scene.text(int(middle - f.width(shown) / 2), y, shown, ink, f)
            top, bottom = (here, there) if below else (there, here)
            if joined and bottom[1] - top[3] > 6:
                scene.draw.line((middle, top[3] + 3, middle, bottom[1] - 3), fill=ink)
            scene.places += [(*box, 0, middle) for box in (here, there)]
            scene.pairs.append((here, label, there, shown))
            scene.ask(f"What is the value of {label}?", shown, "vbar")
        if ruled:
            y = start - 2 if below else start + row
            scene.draw.line((2, y, width - 2, y), fill=ink)
        return scene

    def table_scene(self, wide=None):
        rng = self.rng
        width, height = wide or (rng.randint(320, 384), rng.randint(160, 384))
        scene, ink = self.paper(width, height)
        name = rng.choice(self.fonts)
        size = rng.randint(13, 18)
        f = face(name, size)
        columns = rng.sample(("Price", "Count", "Size", "Year", "Score", "Code", "Rank"), rng.randint(1, 3))
        rows = rng.sample(rng.choice((GOODS, PEOPLE, PLACES)), rng.randint(2, 6))
        first = rng.choice(("Item", "Name", ""))
        slot = width / (len(columns) + 1.4)
        step = min(int(size * 2.4), int((height - 8) / (len(rows) + 1)))
        if step < size * 1.3:
            return self.table_scene(wide)
        y, ruled = rng.randint(3, 8), rng.random() < 0.6
        left = rng.randint(4, 10)
        xs = [int(left + slot * (i + 1.3)) for i in range(len(columns))]
        if first:
            scene.text(left, y, first, ink, f)
        for x, column in zip(xs, columns):
            scene.text(x, y, column, ink, f)
        scene.draw.line((2, y + step - 3, width - 2, y + step - 3), fill=ink)
        for row in rows:
            y += step
            scene.text(left, y, row, ink, f)
            if ruled:
                scene.draw.line((2, y + step - 3, width - 2, y + step - 3), fill=(150,) * 3)
            for x, column in zip(xs, columns):
                cell = {"Price": self.money(), "Count": str(rng.randint(0, 999)), "Size": rng.choice(("S", "M", "L", "XL", str(rng.randint(20, 50)))),
                        "Year": str(rng.randint(1950, 2029)), "Score": f"{rng.randint(0, 9)}.{rng.randint(0, 9)}", "Code": self.code_word()[:4],
                        "Rank": str(rng.randint(1, 20))}[column]
                scene.text(x, y, cell, ink, f)
                scene.ask(f"What is the {column.lower()} of {row}?", cell, "table")
        return scene
