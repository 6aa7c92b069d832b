#!/bin/sh
# Brings a clean clone to a built program: sets up what is missing, configures the preset `release`, builds.
#
#   sh third_party/build.sh [--tests] [TARGET]    --tests: also what the tests need; TARGET: all when left out
#
# Says each step in one line. What cmake and ninja print goes to the terminal when there is one, otherwise to
# build/release/build.log, whose end is shown when a step fails.
set -eu
cd "$(dirname "$0")/.."
setup_arguments=
configure_arguments=
if [ "${1-}" = --tests ]; then
  setup_arguments=--tests
  configure_arguments=-DVL2_TESTS=ON
  shift
fi
target=${1-all}
folder=build/release
cores=$(nproc 2>/dev/null || echo 2)

# shellcheck disable=SC2086  # no argument when empty
sh third_party/setup.sh $setup_arguments
mkdir -p $folder
log=$folder/build.log
: >$log

# step TEXT COMMAND...
step() {
  printf 'build: %s\n' "$1"
  shift
  if [ -t 1 ]; then
    "$@"
  elif ! "$@" >>$log 2>&1; then
    tail -n 60 $log >&2
    printf 'build: failed: %s (the whole log: %s)\n' "$*" "$PWD/$log" >&2
    exit 1
  fi
}

# A configured folder reconfigures itself when a CMake file changes; one whose first configuration failed does not, and neither
# does one that was configured before what the tests need was there.
if [ ! -e $folder/build.ninja ] || { [ -n "$configure_arguments" ] && ! grep -q '^VL2_TESTS:[A-Z]*=ON$' $folder/CMakeCache.txt; }; then
  # shellcheck disable=SC2086  # no argument when empty
  step "configuring $folder" cmake --preset release -DVL2_PRECOMPILE=ON $configure_arguments
fi
step "building $target with $cores jobs" cmake --build --preset release -j "$cores" --target "$target"
