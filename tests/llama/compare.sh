#!/bin/sh
# Whether llama.cpp and vl2 mean the same by a `vl2 quantize --text-only` file: logits of random models, by llama.cpp's CPU back end
# and by vl2 in tier 0. Run by hand; fetches llama.cpp's packages unless LLAMA names a folder that fetch.sh filled.
#   sh compare.sh DIR [KIND...]    KIND: mla mha yarn (all); DIR gets about 1 GB
# Limits of the mean KL: 1e-4 at F16, 1e-3 at Q8_0, where llama.cpp rounds activations to 8 bits, too, and vl2 does not.
# Seen at F16, Q8_0 and Q4_K_M: mla 1.6e-5, 2.9e-4, 4.2e-4; mha 1.5e-7, 1.9e-4, 3.6e-4; yarn 1.6e-5, 2.5e-4, 4.9e-4.
# Planted faults, at F16: theta a tenth too high 1.8e-4; experts scaled by 1.1 9.4e-4; their weights normalised 4.0e-2; without YaRN
# 3.5e-2, without its scale of the scores 2.1e-2, with a beta_slow of 2 1.7e-2. VL2_PROGRAM: the program. PYTHON: one with NumPy.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
[ $# -gt 0 ] || { echo "compare.sh: which folder? usage: sh compare.sh DIR [KIND...]" >&2; exit 2; }
mkdir -p "$1"
work=$(cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- mla mha yarn
vl2=${VL2_PROGRAM:-$here/../../build/release/vl2}
python=${PYTHON:-python3}
llama=${LLAMA:-$work/llama}
[ -f "$llama/usr/include/llama.h" ] || sh "$here/fetch.sh" "$llama"
libraries=$(dirname "$(find "$llama/usr/lib" -name libllama.so.0 | head -1)")
loader=$(find "$llama/usr" -name 'ld-linux-*.so.*' | head -1)
"${CC:-cc}" -std=c11 -O1 -I"$llama/usr/include" "$here/logits.c" -o "$work/logits" -L"$libraries" \
  -Wl,--allow-shlib-undefined -Wl,--unresolved-symbols=ignore-all -l:libllama.so.0 -l:libggml.so.0
backends=$(dirname "$(find "$libraries" -name 'libggml-cpu*.so' | head -1)")
peer() {
  (cd "$backends" && "$loader" --library-path "$libraries:$libraries/blas:$backends" "$work/logits" "$@")
}
echo '| model and type | mean KL | largest | same likeliest token | entropy |'
echo '| --- | --- | --- | --- | --- |'
failed=0
for kind in "$@"; do
  [ -f "$work/$kind/ids.i32" ] || "$python" "$here/toy_model.py" "$kind" "$work/$kind"
  for type in F16 Q8_0 Q4_K_M; do
    limit=
    [ $type != F16 ] || limit=1e-4
    [ $type != Q8_0 ] || limit=1e-3
    file=$work/$kind-$type.gguf
    "$vl2" quantize "$work/$kind" "$file" --type $type --text-only -q >/dev/null
    VL2_TIER=0 "$vl2" logits -m "$file" -q --ids "$work/$kind/ids.npy" --last 192 --out "$work/ours.npy" -c 256
    peer "$file" "$work/$kind/ids.i32" "$work/theirs.f32"
    "$python" "$here/kl.py" "$kind $type" "$work/ours.npy" "$work/theirs.f32" $limit || failed=1
    rm -f "$file"
  done
done
exit $failed
