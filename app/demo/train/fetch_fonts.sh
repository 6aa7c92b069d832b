#!/bin/sh
# Copies the fonts of fonts.txt into fonts/ (ignored by git).  Usage: sh fetch_fonts.sh [ROOT], where ROOT/usr/share/fonts holds them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=${1:-}
mkdir -p "$here/fonts"
grep -v '^#' "$here/fonts.txt" | while read -r package file _; do
  if [ ! -f "$root/usr/share/fonts/$file" ]; then
    echo "fetch_fonts: $root/usr/share/fonts/$file is missing; install the package $package" >&2
    exit 1
  fi
  cp "$root/usr/share/fonts/$file" "$here/fonts/"
done
