#!/bin/sh
# Runs what app/docs/batch.sbatch and app/docs/batch-job.yaml would have Slurm and Kubernetes run, task after task, on this machine; what
# the shards make together has to be what one run makes.
#
#   sh tests/app/batch_jobs.sh SOURCE_FOLDER VL2_PROGRAM
set -eu
cd "$1"
export VL2="$2" MODEL=app/demo/pico PROMPT="What is the total?"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/in"
cp app/demo/pictures/receipt.png app/demo/pictures/form.png "$work/in"
printf 'no picture' >"$work/in/zzz.png" # status 1, which a pod must not be started again for
export INPUT="$work/in"
die() {
  printf 'batch_jobs: %s\n' "$*" >&2
  exit 1
}

# merge FILE SHARD...: exit status 1, since one page is bad
merge() {
  status=0
  "$VL2" batch --merge "$@" || status=$?
  [ $status = 1 ] || die "merging $1: exit status $status, wanted 1"
}

status=0
"$VL2" batch -m $MODEL -p "$PROMPT" -o "$work/whole.jsonl" "$INPUT" || status=$?
[ $status = 1 ] || die "one run: exit status $status, wanted 1"
[ "$(wc -l <"$work/whole.jsonl")" = 3 ] || die "one run: wanted 3 results"

export SHARDS=2 OUT="$work/slurm"
for task in 1 2; do
  SLURM_ARRAY_TASK_ID=$task sh app/docs/batch.sbatch || [ $task = 1 ] || die "task $task of Slurm failed" # page 3 is of task 1
done
merge "$work/slurm.jsonl" "$OUT".shard*.jsonl
cmp "$work/slurm.jsonl" "$work/whole.jsonl"

# The block of text below "args:", and as many pods as the file asks for.
export OUT="$work/kubernetes"
yaml=app/docs/batch-job.yaml
awk '/^ +- \|$/ { inside = 1; next } inside && !/^              / { inside = 0 } inside' $yaml >"$work/pod.sh"
[ -s "$work/pod.sh" ] || die "$yaml: its script was not found"
SHARDS=$(sed -n 's/.*name: SHARDS, value: "\([0-9]*\)".*/\1/p' $yaml)
[ "$SHARDS" = "$(sed -n 's/^  completions: //p' $yaml)" ] || die "$yaml: SHARDS and completions differ"
export SHARDS
index=0
while [ $index -lt "$SHARDS" ]; do # most have no page
  JOB_COMPLETION_INDEX=$index sh "$work/pod.sh" || die "pod $index failed"
  index=$((index + 1))
done
merge "$work/kubernetes.jsonl" "$OUT".shard*.jsonl
cmp "$work/kubernetes.jsonl" "$work/whole.jsonl"
echo 'batch_jobs: all the same'
