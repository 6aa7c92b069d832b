#!/bin/sh
# Builds a program that uses the library in one of three ways, and runs it.
#
#   sh consume.sh find_package|pkg_config|add_subdirectory SOURCE BUILD
#
# SOURCE is the checkout, BUILD its build folder, everything in it built. Works in BUILD/consumers, which stays for the next run.
set -eu
kind=$1 source=$2 build=$3
here=$source/tests/consumers work=$build/consumers/$kind
prefix=$work/prefix
mkdir -p "$work"

die() {
  printf 'consumers: %s\n' "$*" >&2
  exit 1
}

install_library() {
  rm -rf "$prefix"
  cmake --install "$build" --prefix "$prefix" > "$work/install.log"
}

# Configures and builds a CMake project; arguments go to cmake.
build_project() {
  cmake -S "$here/$kind" -B "$work/build" -DCMAKE_BUILD_TYPE=Release "$@" > "$work/configure.log" 2>&1 ||
    die "$kind: cmake failed: $(tail -n 20 "$work/configure.log")"
  cmake --build "$work/build" -j 2 > "$work/build.log" 2>&1 || die "$kind: the build failed: $(tail -n 20 "$work/build.log")"
}

check_answer() {
  answer=$("$@" "$source/app/demo/pico" "$source/app/demo/pictures/receipt.png" 'What is the total?')
  # shellcheck disable=SC2016
  [ "$answer" = '$641.56' ] || die "$1: answered \"$answer\", wanted \"\$641.56\""
}

case $kind in
  find_package)
    install_library
    build_project -DCMAKE_PREFIX_PATH="$prefix"
    check_answer "$work/build/shared"
    check_answer "$work/build/static"
    [ "$("$prefix/bin/vl2" --version)" = "$("$build/vl2" --version)" ] || die 'the installed program does not start'
    for page in 'man/man1/vl2.1 man' 'bash-completion/completions/vl2 completion bash' 'zsh/site-functions/_vl2 completion zsh' \
      'fish/vendor_completions.d/vl2.fish completion fish'; do
      # shellcheck disable=SC2086
      "$prefix/bin/vl2" ${page#* } | cmp -s - "$prefix/share/${page%% *}" || die "share/${page%% *} is not what the program prints"
    done
    ;;
  pkg_config)
    install_library
    library=$(dirname "$(find "$prefix" -name vl2.pc)")
    PKG_CONFIG_PATH=$library
    export PKG_CONFIG_PATH
    library=$(dirname "$library")
    # shellcheck disable=SC2046
    cc -std=c99 -Wall -Wextra -pedantic -Werror "$here/main.c" -o "$work/consumer" $(pkg-config --cflags --libs vl2)
    check_answer env LD_LIBRARY_PATH="$library" "$work/consumer"
    # Nothing but vl2_* may be seen from outside.
    others=$(nm -D --defined-only "$library/libvl2.so" | awk '{print $NF}' | grep -v '^vl2_' || true)
    [ -z "$others" ] || die "libvl2.so shows $others"
    [ "$(nm -D --defined-only "$library/libvl2.so" | wc -l)" -eq "$(grep -c '^VL2_API' "$source/app/vl2.h")" ] ||
      die "libvl2.so does not show every function of vl2.h"
    [ -e "$library/libvl2.so.0" ] || die 'there is no libvl2.so.0'
    ;;
  add_subdirectory)  # not optimised: the compiler would take most of the test
    build_project -DCMAKE_CXX_FLAGS_RELEASE=-O0 -DVL2_SOURCE_DIR="$source" -DVL2_SHADERS_FROM="$build"
    check_answer "$work/build/consumer"
    ;;
  *) die "unknown kind $kind" ;;
esac
