#!/bin/sh
# Runs the whole test program on a machine with a GPU but no compiler, from a build carried along.
#
#   sh tests/gpu.sh FOLDER     FOLDER: holds vl2_tests, and vl2 (copies of build/release/...)
#
# Each tier that the device has; a short table comes last.
set -u
folder=$1
cd "$(dirname "$0")/.."
VL2_SOURCE_DIR=$PWD
export VL2_SOURCE_DIR
failed=0
table=
for tier in 4 3 2 1 0; do
  if ! VL2_TIER=$tier "$folder/vl2" devices | grep -A 1 '^\*' | grep -q ", tier $tier,"; then
    table="$table
tier $tier: this device has none"
    continue
  fi
  log=${OUT:-/tmp}/tests-tier$tier.log
  VL2_TIER=$tier VL2_CACHE_DIR= "$folder/vl2_tests" --test-suite-exclude=cpu,sweep,program >"$log" 2>&1 || failed=1
  grep -E "^tests run on|ERROR|TEST CASE:.*" "$log" | head -n 40
  table="$table
tier $tier: $(grep 'test cases:' "$log" | tail -n 1)"
done
printf '%s\n' "$table"
exit $failed
