#!/bin/sh
# Sets up and builds when needed, then answers the questions about the bundled pictures with the bundled model.
#
#   sh app/demo/run.sh [--check] [OPTION...]    --check: fail when an answer is not the expected one
#                                               OPTION: anything else goes to `vl2 run`, say --device 1
#
# Reads pictures/questions.tsv: picture or pictures (comma between them), question, expected answer; a tab between columns.
set -eu
cd "$(dirname "$0")/../.."
check=no
if [ "${1-}" = --check ]; then
  check=yes
  shift
fi
demo=app/demo
vl2=${VL2_PROGRAM:-build/release/vl2}  # the tests name another one
[ -n "${VL2_PROGRAM-}" ] || sh third_party/build.sh vl2

tab=$(printf '\t')
asked=0
wrong=0
# Descriptor 3, so that nothing below can swallow the questions.
while IFS=$tab read -r images question expected <&3 || [ -n "${images-}" ]; do
  case $images in '' | '#'* | images) continue ;; esac
  asked=$((asked + 1))
  picture_options=
  old_ifs=$IFS
  IFS=,
  for image in $images; do picture_options="$picture_options --image $demo/pictures/$image"; done
  IFS=$old_ifs
  printf '\n%s\n  question  %s\n  answer    ' "$images" "$question"
  started=$(date +%s)
  # shellcheck disable=SC2086  # a list of options; the pictures' names hold no spaces
  if [ $check = yes ]; then
    answer=$("$vl2" run -m $demo/pico $picture_options -p "$question" -q "$@" </dev/null)
    printf '%s\n' "$answer"
    if [ "$answer" != "$expected" ]; then
      wrong=$((wrong + 1))
      printf '  expected  %s\n' "$expected"
    fi
  else
    "$vl2" run -m $demo/pico $picture_options -p "$question" "$@" </dev/null
  fi
  printf '  took      %s s\n' "$(($(date +%s) - started))"
done 3<$demo/pictures/questions.tsv

if [ $asked = 0 ]; then
  printf 'demo: no question in %s/pictures/questions.tsv\n' "$demo" >&2
  exit 1
fi
[ $wrong = 0 ] || printf 'demo: %s of %s answers are not the expected ones\n' "$wrong" "$asked" >&2
[ $wrong = 0 ]
