"""Asks Pillow where ImageOps.pad puts pictures and what its bicubic filter does; writes pad.json and bicubic.json here."""
import json
import os

from PIL import Image, ImageOps, __version__

HERE = os.path.dirname(os.path.abspath(__file__))


class Ghost:
    """Has the size of a picture and no pixels: lets ImageOps do its arithmetic on sizes that would take gigabytes."""

    mode, palette = "L", None

    def __init__(self, size):
        self.size = size
        self.width, self.height = size

    def resize(self, size, resample=None):
        if min(size) <= 0:
            raise ValueError("a side of 0")
        return Ghost(size)

    def copy(self):
        return self

    def paste(self, picture, place):
        self.pasted = (picture.width, picture.height, *place)


def pad(width, height, canvas):
    """[resized width, resized height, x, y], or None where Pillow raises."""
    try:
        out = ImageOps.pad(Ghost((width, height)), canvas)
    except ValueError:
        return None
    return getattr(out, "pasted", (out.width, out.height, 0, 0))


def pad_cases():
    sizes = [(100, 100), (384, 384), (385, 384), (500, 375), (640, 480), (1280, 720), (1920, 1080), (1080, 1920), (1654, 2339),
             (2480, 3508), (3000, 300), (10000, 100), (724, 1086), (658, 621), (1086, 724), (1738, 1146), (868, 1160), (5014, 2004),
             (1, 1), (1, 2), (1, 767), (1, 768), (1, 769), (768, 1), (769, 1), (300, 200001), (3, 1000), (49, 7), (7, 49)]
    state = 12345
    for _ in range(150):
        pair = []
        for limit in (5000, 5000):
            state = (state * 1103515245 + 12345) % 2**31
            pair.append(1 + (state >> 8) % limit)
        sizes.append(tuple(pair))
    for width in range(1, 1200, 7):  # a height or width that ends in .5 before rounding: 384 * odd / 768
        sizes += [(768, 2 * width + 1), (2 * width + 1, 768)]
    canvases = [(384, 384), (768, 384), (1152, 768), (384, 3456), (1152, 1152)]
    cases = []
    for i, (width, height) in enumerate(sizes):
        for canvas in (canvases[0], canvases[1 + i % 4]):
            cases.append([width, height, *canvas, *(pad(width, height, canvas) or (0, 0, 0, 0))])
    return cases


def weights(size_in, size_out):
    """weights[out][in] as the float filter has them: the answers to a 1 in each place, in units of 2^-22."""
    columns = []
    for place in range(size_in):
        row = Image.new("F", (size_in, 1), 0.0)
        row.putpixel((place, 0), 1.0)
        columns.append([value * 2**22 for value in row.resize((size_out, 1), Image.Resampling.BICUBIC).getdata()])
    return [list(values) for values in zip(*columns)]


def bytes_row(count, seed):
    values = []
    for _ in range(count):
        seed = (seed * 1664525 + 1013904223) % 2**32
        values.append(seed >> 24)
    return values


def resized_bytes(size_in, size_out):
    row = Image.new("L", (size_in, 1))
    row.putdata(bytes_row(size_in, size_in))
    return bytes(row.resize((size_out, 1), Image.Resampling.BICUBIC).getdata()).hex()


def write(name, value):
    with open(os.path.join(HERE, name), "w") as out:
        json.dump(value, out, separators=(",", ":"))
        out.write("\n")


if __name__ == "__main__":
    real_new = Image.new
    ImageOps.Image.new = lambda mode, size, color=None: Ghost(size)
    cases = pad_cases()
    ImageOps.Image.new = real_new
    small = [(1, 3), (2, 5), (5, 2), (7, 3), (3, 7), (10, 4), (27, 28), (40, 3)]
    rows = [(640, 768), (1280, 1365), (1654, 815), (4000, 384), (500, 512), (5014, 384), (100, 384), (724, 256)]
    write("pad.json", {"pillow": __version__, "cases": cases})
    write("bicubic.json", {
        "pillow": __version__,
        "weights": [{"in": i, "out": o, "units": weights(i, o)} for i, o in small],
        "rows": [{"in": i, "out": o, "hex": resized_bytes(i, o)} for i, o in rows],
    })
