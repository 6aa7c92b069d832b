#!/usr/bin/env python3
"""Writes cases.txt and the .rgb files beside this script: what Pillow makes of the pictures of tests/support/pictures.h.

A line of cases.txt:  width height seed canvas_width canvas_height fit_width fit_height x y hash file
  hash  FNV-1a (64 bits) of the canvas's bytes
  file  the bytes themselves, or - where they are large
Needs Pillow 9.1 or newer and numpy. Written with Pillow 9.4.0.
"""
import pathlib

import numpy as np
from PIL import Image, ImageOps

HERE = pathlib.Path(__file__).resolve().parent
PADDED = [  # picture, canvas: ImageOps.pad with the background 127
    (100, 80, 96, 96), (37, 53, 96, 96), (7, 5, 64, 64), (1, 1, 48, 48), (1, 40, 64, 64), (90, 1, 90, 30), (3, 2, 33, 65),
    (64, 64, 64, 64), (640, 480, 384, 384), (1000, 631, 384, 384), (1000, 631, 1152, 768), (724, 1086, 768, 1152), (1654, 2339, 384, 384),
    (450, 308, 384, 384), (333, 1777, 384, 1920), (2500, 40, 1536, 384), (385, 384, 768, 384), (383, 384, 384, 384), (1280, 720, 1536, 768),
]
STRETCHED = [  # picture, size: Image.resize, so that the axes differ in kind
    (100, 20, 30, 70), (64, 48, 64, 31), (64, 48, 21, 48), (64, 48, 64, 48), (1, 50, 17, 3), (50, 1, 3, 17), (13, 101, 14, 100),
    (400, 300, 399, 301), (2000, 3, 1, 5),
]


def picture(width, height, seed):
    x, y, c = (a.astype(np.uint32) for a in np.meshgrid(np.arange(width), np.arange(height), np.arange(3), indexing="ij"))
    with np.errstate(over="ignore"):
        h = np.uint32(seed) * np.uint32(0x27D4EB2F) + x * np.uint32(0x9E3779B1) + y * np.uint32(0x85EBCA77) + c * np.uint32(0xC2B2AE3D)
        h = (h ^ (h >> 15)) * np.uint32(0x2C1B3C6D)
        h = (h ^ (h >> 12)) * np.uint32(0x297A2D39)
    h ^= h >> 15
    noise = np.where(h & 1, np.where(h & 2, 255, 0), h >> 24)
    across, down = 255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1)
    gradient = np.where(c == 0, across, np.where(c == 1, down, 255 - (across + down) // 2))
    smooth = np.minimum(gradient + (h >> 29), 255)
    pixels = np.where((x // 16 + y // 16) % 3 == 0, noise, smooth).astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(pixels.transpose(1, 0, 2)), "RGB")


def fnv1a(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return value


def main():
    lines = []
    for index, (w, h, canvas_w, canvas_h) in enumerate(PADDED + STRETCHED):
        source = picture(w, h, seed=index)
        if index < len(PADDED):
            fitted = ImageOps.contain(source, (canvas_w, canvas_h), Image.Resampling.BICUBIC)
            canvas = ImageOps.pad(source, (canvas_w, canvas_h), Image.Resampling.BICUBIC, color=(127, 127, 127))
            fit_w, fit_h = fitted.size
            x, y = round((canvas_w - fit_w) * 0.5), round((canvas_h - fit_h) * 0.5)
        else:
            canvas = source.resize((canvas_w, canvas_h), Image.Resampling.BICUBIC)
            (fit_w, fit_h), x, y = canvas.size, 0, 0
        data = canvas.tobytes()
        name = "-"
        if len(data) <= 30000:
            name = f"{w}x{h}_{canvas_w}x{canvas_h}.rgb"
            (HERE / name).write_bytes(data)
        lines.append(f"{w} {h} {index} {canvas_w} {canvas_h} {fit_w} {fit_h} {x} {y} {fnv1a(data):016x} {name}\n")
    (HERE / "cases.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
