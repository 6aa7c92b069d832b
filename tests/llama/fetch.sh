#!/bin/sh
# Fetches llama.cpp's library with its CPU back ends, and its headers, as packages of Debian's unstable distribution, into DIR/usr.
#   sh fetch.sh DIR
# Nothing is installed; its own C library comes along, so it runs where that is older.
set -eu
[ $# = 1 ] || { echo "fetch.sh: which folder? usage: sh fetch.sh DIR" >&2; exit 2; }
mkdir -p "$1"
folder=$(cd "$1" && pwd)
work=$folder/apt
uri=$(awk '/^URIs:/ { print $2; exit }' /etc/apt/sources.list.d/debian.sources)
mkdir -p "$work/etc" "$work/lists/partial" "$work/cache/archives/partial" "$work/packages"
printf 'Types: deb\nURIs: %s\nSuites: sid\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' "$uri" \
  >"$work/etc/sid.sources"
get() {
  apt-get -q -o APT::Sandbox::User=root -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/etc" \
    -o Dir::Etc::preferencesparts=/dev/null -o Dir::State::Lists="$work/lists" -o Dir::Cache="$work/cache" "$@" >/dev/null
}
get update
(cd "$work/packages" && get download libllama0 libllama-dev libggml0 libggml-dev libc6 libstdc++6 libgcc-s1 libgomp1 libblas3)
for package in "$work"/packages/*.deb; do
  dpkg -x "$package" "$folder"
done
rm -rf "$work"
