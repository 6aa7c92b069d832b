#!/bin/sh
# How good pico is: fresh held-out questions, answered by the PyTorch reference (on a GPU where there is one) and by the program.
#
#   sh app/demo/train/score.sh DIR [N] [SEED]    N questions a task (100) go into DIR; another SEED (evaluation) draws others
#
# Wants Python with torch, safetensors and Pillow, the fonts of fetch_fonts.sh, and a built program.  The table comes last.
# PICO: the model's folder; VL2_PROGRAM: the program; JOBS: how many of it at a time (8); PYTHON: python3.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
if [ $# -lt 1 ]; then
  echo "score.sh: which folder? usage: sh score.sh DIR [N] [SEED]" >&2
  exit 2
fi
folder=$1
model=${PICO:-$here/../pico}
evaluate() { "${PYTHON:-python3}" "$here/evaluate.py" "$@"; }
evaluate make "$folder" --per-task "${2:-100}" --seed "${3:-evaluation}"
evaluate reference "$folder" --model "$model"
evaluate program "$folder" --model "$model" --vl2 "${VL2_PROGRAM:-$here/../../../build/release/vl2}" --jobs "${JOBS:-8}"
evaluate compare "$folder"
