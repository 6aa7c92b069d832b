#!/bin/sh
# Random checkpoints with the exact shapes of the published models: each loads, is timed, and answers one 1000 x 1000 picture.
#
#   sh tests/real_shapes.sh VL2 WORK [VARIANT...]     VL2: the program; WORK: a folder with room for the largest (tiny 7, small 32, base 55 GB)
#
# Needs a python3 with torch, NumPy and Pillow. One checkpoint at a time is on the disk, read back from the page cache. Checked: the
# picture's 2017 tokens and 64 greedy ids come out, logits are finite, device memory stays below 1.1 x (weights + cache), and loading
# reaches 1 GB/s. A short table comes last.
set -u
program=$1
work=$2
shift 2
[ $# -gt 0 ] || set -- tiny small base
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$work"
failed=0
table='| model | load GB/s | peak / (weights + cache) | answer |'

python3 - "$work" <<'PYTHON' || exit 1
import sys
import numpy as np
from PIL import Image
work = sys.argv[1]
y, x = np.mgrid[0:1000, 0:1000]
Image.fromarray(np.stack([x * 255 // 999, y * 255 // 999, (x ^ y) & 255], -1).astype(np.uint8)).save(work + "/picture.png")
np.save(work + "/ids.npy", np.array([0, 100, 101] + [5] * 2017 + [200, 201, 202], np.int32))
PYTHON

check() {
  python3 - "$work" "$1" <<'PYTHON'
import re
import sys
import numpy as np
work, variant = sys.argv[1:]
text = open(work + "/bench.txt").read()
gigabytes, seconds = map(float, re.search(r"loaded ([\d.]+) GB in ([\d.]+) s", text).groups())
peak, weights, cache = map(float, re.search(r"peak ([\d.]+) GB, weights ([\d.]+) GB, cache of \d+ tokens ([\d.]+) GB", text).groups())
logits, ids = np.load(work + "/logits.npy"), np.load(work + "/greedy.npy")
ratio, speed = peak / (weights + cache), gigabytes / seconds
fine = np.isfinite(logits).all() and logits.std() > 0 and len(ids) == 64 and len(set(ids.tolist())) > 1
print(f"| {variant} | {speed:.2f} | {ratio:.3f} | {'finite, 64 ids' if fine else 'WRONG'} |")
sys.exit(not (fine and ratio <= 1.1 and speed >= 1.0))
PYTHON
}

for variant in "$@"; do
  model=$work/$variant
  rm -rf "$model" "$work"/logits.npy "$work"/greedy.npy
  row="| $variant | - | - | FAILED |"
  if python3 "$here/reference/random_checkpoint.py" --variant "$variant" --out "$model" ${VL2_LAYERS:+--layers $VL2_LAYERS} &&
    "$program" bench -m "$model" -c 4096 -p 2048 -n 64 --views 10 --first-token 1152 --ops >"$work/bench.txt" &&
    "$program" logits -m "$model" -c 4096 --ids "$work/ids.npy" --image "$work/picture.png" --image-token-id 5 --out "$work/logits.npy" --greedy 64 \
      --greedy-out "$work/greedy.npy"; then
    cat "$work/bench.txt"
    row=$(check "$variant") || failed=1
  else
    failed=1
  fi
  table="$table
$row"
  rm -rf "$model"
done
printf '%s\n' "$table"
exit $failed
