#!/bin/sh
# Sets up and builds when needed, then runs every test. Arguments go to ctest: sh tests/run.sh -R tokenizer
set -eu
cd "$(dirname "$0")/.."
sh third_party/build.sh --tests
echo 'tests: running'
exec ctest --preset release -j 2 "$@"
