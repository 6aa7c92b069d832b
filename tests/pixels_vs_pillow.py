#!/usr/bin/env python3
"""Compares the views that `vl2 tiles` makes with Pillow's, byte for byte.

Makes pictures of awkward sizes in every mode that a PNG can have (and some JPEG, WebP and BMP), lets vl2 cut them, and does
the same with Pillow: Image.open, convert("RGB"), the choice of canvas, ImageOps.pad, crops. Every byte of every view has to
agree, and a size that Pillow cannot do has to be refused by vl2 with exit status 2 and one line.

    pixels_vs_pillow.py PATH/TO/vl2 [--keep FOLDER]

Relies on: vl2 tiles A.png B.png ... [--images N] --npy-dir DIR writes DIR/views_0.npy, DIR/views_1.npy, ... in order, each
u8 [views, 384, 384, 3], the whole picture first and then its tiles row by row.
"""
import argparse
import math
import os
import struct
import subprocess
import sys
import tempfile
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image, ImageFile, ImageOps

VIEW = 384
BACKGROUND = (127, 127, 127)
# Every grid of up to 9 views, in the order of the published configuration: it decides ties.
CANVASES = [
    (384, 384), (384, 768), (768, 384), (384, 1152), (1152, 384), (384, 1536), (1536, 384), (768, 768), (384, 1920),
    (1920, 384), (384, 2304), (2304, 384), (768, 1152), (1152, 768), (384, 2688), (2688, 384), (384, 3072), (3072, 384),
    (768, 1536), (1536, 768), (384, 3456), (3456, 384), (1152, 1152)]  # fmt: skip


def best_canvas(width, height, images):
    """The canvas that keeps most pixels, then wastes least; one view when a conversation has more than two pictures."""
    if images > 2:
        return VIEW, VIEW
    best, best_kept, best_waste = None, 0, math.inf
    for canvas_width, canvas_height in CANVASES:
        scale = min(canvas_width / width, canvas_height / height)
        kept = min(int(width * scale) * int(height * scale), width * height)
        waste = canvas_width * canvas_height - kept
        if kept > best_kept or (kept == best_kept and waste < best_waste):
            best, best_kept, best_waste = (canvas_width, canvas_height), kept, waste
    return best


def pillow_views(path, images=1):
    """u8 [views, 384, 384, 3]; ValueError where Pillow refuses the size."""
    image = Image.open(path).convert("RGB")
    canvas = best_canvas(*image.size, images)
    if canvas is None:
        raise ValueError("no canvas keeps a pixel")
    local = ImageOps.pad(image, canvas, method=Image.Resampling.BICUBIC, color=BACKGROUND)
    views = [ImageOps.pad(image, (VIEW, VIEW), method=Image.Resampling.BICUBIC, color=BACKGROUND)]
    for y in range(0, canvas[1], VIEW):
        for x in range(0, canvas[0], VIEW):
            views.append(local.crop((x, y, x + VIEW, y + VIEW)))
    return np.stack([np.asarray(view) for view in views])


def content(rng, width, height, channels):
    """u8 [height, width, channels]: noise, gradients, or hard edges, where cubic weights overshoot and have to be clipped."""
    kind = rng.integers(3)
    if kind == 0:
        return rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    y, x = np.mgrid[0:height, 0:width]
    planes = []
    for channel in range(channels):
        if kind == 1:
            planes.append((x * 255 // max(1, width - 1) + y * (channel + 1)) % 256)
        else:
            planes.append(((x // (2 + channel) + y // (3 + channel)) % 2) * 255)
    return np.stack(planes, -1).astype(np.uint8)


ADAM7 = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]


def write_png(path, pixels, color_type, interlaced, depth=8):
    """A PNG of a kind that Pillow does not write: interlaced, or 16 bits in several channels. pixels [height, width, channels]."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width, _ = pixels.shape
    rows = []
    for x0, y0, dx, dy in ADAM7 if interlaced else [(0, 0, 1, 1)]:
        part = pixels[y0::dy, x0::dx]
        if part.size:
            rows += [b"\0" + row.astype(">u2" if depth == 16 else np.uint8).tobytes() for row in part]
    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, int(interlaced))
    with open(path, "wb") as out:
        out.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"".join(rows), 1)))
        out.write(chunk(b"IEND", b""))


def save(rng, path, mode, width, height):
    """Writes one picture; mode names what is in the file, not how Pillow will call it."""
    rgb = Image.fromarray(content(rng, width, height, 3))
    if mode in ("1", "L", "RGB"):
        rgb.convert(mode).save(path)
    elif mode == "LA":
        Image.merge("LA", Image.fromarray(content(rng, width, height, 4)).split()[:2]).save(path)
    elif mode == "RGBA":
        Image.fromarray(content(rng, width, height, 4)).save(path)
    elif mode == "P":
        rgb.quantize(int(rng.integers(2, 257))).save(path)
    elif mode == "P, one transparent":
        rgb.quantize(17).save(path, transparency=3)
    elif mode == "P, alpha":
        rgb.quantize(9).save(path, transparency=bytes(range(0, 180, 20)))
    elif mode == "L, 16 bits":
        scale = [1, 3, 257][int(rng.integers(3))]  # mostly within 0..255, partly clipped, mostly clipped
        Image.fromarray(content(rng, width, height, 1)[..., 0].astype(np.uint16) * np.uint16(scale)).save(path)
    elif mode in ("LA, 16 bits", "RGB, 16 bits", "RGBA, 16 bits"):
        channels, color_type = {"LA": (2, 4), "RGB": (3, 2), "RGBA": (4, 6)}[mode.split(",")[0]]
        wide = content(rng, width, height, channels).astype(np.uint16) * 256 + content(rng, width, height, channels)
        write_png(path, wide, color_type, interlaced=False, depth=16)
    elif mode == "RGB, interlaced":
        write_png(path, content(rng, width, height, 3), 2, interlaced=True)
    elif mode == "RGBA, interlaced":
        write_png(path, content(rng, width, height, 4), 6, interlaced=True)
    elif mode == "L, interlaced":
        write_png(path, content(rng, width, height, 1), 0, interlaced=True)
    else:
        raise AssertionError(mode)


MODES = [
    "RGB", "L", "RGBA", "P", "LA", "1", "P, one transparent", "P, alpha", "L, 16 bits", "LA, 16 bits", "RGB, 16 bits",
    "RGBA, 16 bits", "RGB, interlaced", "RGBA, interlaced", "L, interlaced"]  # fmt: skip

SMALL = [
    (1, 1), (1, 2), (2, 1), (1, 7), (3, 5), (13, 11), (1, 97), (89, 1), (1, 383), (384, 1), (2, 768), (127, 129), (191, 193),
    (383, 383), (383, 384), (384, 383), (384, 384), (384, 385), (385, 384), (385, 385), (100, 100), (500, 375), (333, 777)]  # fmt: skip
LARGE = [
    (767, 769), (768, 768), (769, 767), (640, 480), (800, 600), (1024, 768), (1280, 720), (1080, 1920), (1000, 1000), (1151, 1153),
    (1152, 1152), (1153, 1151), (1654, 2339), (2000, 500), (300, 3000), (3000, 300), (2999, 2003), (2111, 2999), (3000, 3000),
    (3456, 384), (384, 3456), (3457, 385), (10000, 100), (97, 8191), (3000, 4), (4, 2999), (1534, 2), (5014, 2004)]  # fmt: skip
# From 768:1 on the shorter side of the whole-picture view rounds to nothing: 0.5 goes to the even 0.
REFUSED = [(768, 1), (1, 768), (769, 1), (1, 3000), (1536, 2), (2, 1537), (3500, 4), (1, 50000)]
BARELY = [(767, 1), (1, 767), (1535, 2), (2, 1535)]


def make_pictures(folder):
    """[(path, mode, width, height)]: every mode at every small size in turn, large sizes once each."""
    rng = np.random.default_rng(20261122)
    ImageFile.MAXBLOCK = 1 << 26
    pictures = []

    def add(mode, width, height):
        path = os.path.join(folder, f"{len(pictures)}.png")
        save(rng, path, mode, width, height)
        pictures.append((path, mode, width, height))

    for index, (width, height) in enumerate(SMALL):
        for step in range(8):  # 8 of the 15 modes a size, another 8 the next time
            add(MODES[(index * 8 + step) % len(MODES)], width, height)
    for index, (width, height) in enumerate(LARGE + BARELY):
        add(MODES[index % len(MODES)], width, height)
    return pictures


def make_other_formats(folder):
    rng = np.random.default_rng(7)
    pictures = []
    for width, height in [(1, 1), (17, 33), (500, 375), (769, 401)]:
        rgb = Image.fromarray(content(rng, width, height, 3))
        rgba = Image.fromarray(content(rng, width, height, 4))
        cmyk = Image.merge("CMYK", Image.fromarray(content(rng, width, height, 4)).split())
        jobs = [("jpg", rgb, dict(quality=q, subsampling=s, progressive=p)) for q, s, p in [(75, 2, False), (90, 0, True), (40, 1, False)]]
        jobs += [("jpg", rgb.convert("L"), dict(quality=80)), ("jpg", cmyk, dict(quality=85))]
        jobs += [("webp", rgb, dict(quality=70)), ("webp", rgba, dict(quality=80)), ("webp", rgba, dict(lossless=True, exact=True))]
        jobs += [("bmp", rgb, {}), ("bmp", rgb.convert("L"), {}), ("bmp", rgb.quantize(11), {}), ("bmp", rgb.convert("1"), {})]
        for suffix, image, options in jobs:
            path = os.path.join(folder, f"other_{len(pictures)}.{suffix}")
            image.save(path, **options)
            pictures.append((path, suffix, width, height))
    return pictures


def run_tiles(vl2, paths, images, folder):
    os.makedirs(folder, exist_ok=True)
    command = [vl2, "tiles", *paths, "--images", str(images), "--npy-dir", folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"pixels: {' '.join(command[:4])} ... exited with {done.returncode}: {done.stderr.strip()}")
    return [os.path.join(folder, f"views_{index}.npy") for index in range(len(paths))]


def compare(vl2, pictures, images, folder):
    """How many of the pictures differ; says which, and how."""
    different = 0
    batch = 40
    for start in range(0, len(pictures), batch):
        part = pictures[start : start + batch]
        outputs = run_tiles(vl2, [picture[0] for picture in part], images, os.path.join(folder, f"{images}_{start}"))
        for (path, mode, width, height), output in zip(part, outputs):
            want = pillow_views(path, images)
            got = np.load(output)
            what = f"{width} x {height} {mode} ({os.path.basename(path)}, {images} images)"
            if got.dtype != np.uint8 or got.shape != want.shape:
                print(f"pixels: {what}: got {got.dtype} {got.shape}, wanted uint8 {want.shape}")
                different += 1
            elif not np.array_equal(got, want):
                off = np.abs(got.astype(int) - want)
                first = tuple(int(i) for i in np.argwhere(off)[0])
                print(f"pixels: {what}: {np.count_nonzero(off)} bytes differ, by up to {off.max()}, first at [view, y, x, channel] {first}")
                different += 1
            os.remove(output)
    return different


def check_refusals(vl2, folder):
    """(refused by both, not refused by one of them)."""
    both = wrong = 0
    for width, height in REFUSED:
        path = os.path.join(folder, f"refused_{width}x{height}.png")
        Image.new("RGB", (width, height), (9, 99, 199)).save(path)
        try:
            pillow_views(path)
            print(f"pixels: {width} x {height}: Pillow does this size; the list of refused sizes is wrong")
            wrong += 1
            continue
        except ValueError:
            pass
        output = os.path.join(folder, "refused.npy")
        done = subprocess.run([vl2, "tiles", path, "--npy", output], capture_output=True, text=True, check=False)
        lines = done.stderr.strip().splitlines()
        if done.returncode != 2 or len(lines) != 1 or os.path.exists(output):
            print(f"pixels: {width} x {height}: vl2 tiles exited with {done.returncode} (wanted 2) and said {lines}")
            wrong += 1
        else:
            both += 1
    return both, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("vl2")
    parser.add_argument("--keep", help="keep the pictures in this folder")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # Pillow's advice about palettes with alpha
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        os.makedirs(folder, exist_ok=True)
        pictures = make_pictures(folder)
        others = make_other_formats(folder)
        views = os.path.join(temporary, "views")
        different = compare(options.vl2, pictures, 1, views)
        different_few = compare(options.vl2, pictures[::9], 3, views)  # three pictures in the talk: one tile each
        different_others = compare(options.vl2, others, 2, views)
        both, wrong = check_refusals(options.vl2, temporary)
    print(f"pixels: Pillow {PIL.__version__}: {len(pictures)} PNGs in {len(MODES)} modes, {different} differ")
    print(f"pixels: {len(pictures[::9])} of them as one of three pictures, {different_few} differ")
    print(f"pixels: {len(others)} JPEG, WebP and BMP files, {different_others} differ")
    print(f"pixels: {both} sizes refused by both, {wrong} by one only")
    return 1 if different + different_few + different_others + wrong else 0


if __name__ == "__main__":
    sys.exit(main())
