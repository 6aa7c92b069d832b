#!/bin/sh
# Times the published models' exact shapes with made-up weights on this machine's GPU; the README's table comes from it.
#
#   sh tests/gpu_bench.sh VL2 OUT [VARIANT...]     VL2: the program; OUT: a folder for everything printed; tiny and small, else VARIANTs
#
# PEER: a command that is given the variant's name and times another engine; it runs right after ours, in the same call. A short table of
# medians comes last. Needs python3.
set -u
program=$1
out=$2
shift 2
[ $# -gt 0 ] || set -- small tiny
mkdir -p "$out"
failed=0
for variant in "$@"; do
  "$program" bench --synthetic "$variant" -c 6144 -p 2048 -n 128 -d 0,4000 -r "${REPEATS:-5}" --views 2,10 --first-token 1152 --ops --start -o json \
    >"$out/$variant.json" || failed=1
  [ -z "${PEER-}" ] || $PEER "$variant" >"$out/$variant-peer.txt" 2>&1 || failed=1
done
for variant in "$@"; do
  python3 - "$out/$variant.json" <<'PYTHON' || failed=1
import json
import sys
report = json.load(open(sys.argv[1]))
print(f"\n{report['model']} on {report['device']}, {report['driver']}, tier {report['tier']}, peak {report['memory_gb']['peak']:.1f} GB")
print("| what | rate | median ms | least | most |")
print("| --- | --- | --- | --- | --- |")
for row in report["rows"]:
    rate = f"{row['rate']:.0f} {row['unit']}" if row["unit"] else ""
    print(f"| {row['name']} | {rate} | {row['median_ms']:.2f} | {row['least_ms']:.2f} | {row['most_ms']:.2f} |")
totals = {}
for op in report["ops"]:
    totals[op["phase"]] = totals.get(op["phase"], 0) + op["ms"]
print("| operators that take 3 % of a phase | share | us each | GB/s | TFLOP/s | of the floor |")
print("| --- | --- | --- | --- | --- | --- |")
for op in report["ops"]:
    share = op["ms"] / totals[op["phase"]]
    if share >= 0.03:
        print(f"| {op['phase']}: {op['name']} | {100 * share:.0f} % | {1e3 * op['ms'] / op['count']:.1f} | {op['gb_per_s']:.0f} | "
              f"{1e-3 * op['gflop_per_s']:.1f} | {100 * op['floor_share']:.0f} % |")
PYTHON
  [ ! -f "$out/$variant-peer.txt" ] || grep '|' "$out/$variant-peer.txt"
done
exit $failed
