"""The canvas of every picture of up to 4096 x 4096, by NumPy's doubles; prints the lines that tiling_test.cpp holds."""
import zlib

import numpy as np

CANDIDATES = [(1, 1), (1, 2), (2, 1), (1, 3), (3, 1), (1, 4), (4, 1), (2, 2), (1, 5), (5, 1), (1, 6), (6, 1), (2, 3), (3, 2),
              (1, 7), (7, 1), (1, 8), (8, 1), (2, 4), (4, 2), (1, 9), (9, 1), (3, 3)]
SIDE = 4096


def best_canvas(width, heights):
    best = np.zeros(len(heights), np.uint8)
    best_kept = np.zeros(len(heights))
    best_waste = np.full(len(heights), np.inf)
    for index, (across, down) in enumerate(CANDIDATES):
        canvas_width, canvas_height = 384.0 * across, 384.0 * down
        scale = np.minimum(canvas_width / width, canvas_height / heights)
        kept = np.minimum(np.trunc(width * scale) * np.trunc(heights * scale), width * heights)
        waste = canvas_width * canvas_height - kept
        take = (kept > best_kept) | ((kept == best_kept) & (waste < best_waste))
        best[take] = index
        best_kept[take] = kept[take]
        best_waste[take] = waste[take]
    return best


heights = np.arange(1, SIDE + 1, dtype=np.float64)
crc, counts = 0, np.zeros(len(CANDIDATES), np.int64)
for width in range(1, SIDE + 1):
    row = best_canvas(np.float64(width), heights)
    crc = zlib.crc32(row.tobytes(), crc)
    counts += np.bincount(row, minlength=len(CANDIDATES))
print(f"crc32 {crc:#010x}")
print("pictures", ", ".join(str(count) for count in counts))
