#!/bin/sh
# Installs what building vl2 needs, and says what it installs. Does nothing, quickly, when all of it is there.
#
#   sh third_party/setup.sh            what the build and the demo need
#   sh third_party/setup.sh --tests    and what the tests need
#   sh third_party/setup.sh --list     only prints what is missing (exit status 1 when something is)
#
# Debian 13, Ubuntu 24.04 and newer have it all in their own packages. Debian 12's shader compiler and Vulkan headers are
# too old, so there one more apt source is added, for the suite trixie, copied from the machine's own entry for bookworm
# (same mirror, same key), with a priority so low that nothing comes from it unless asked for by name. Files that are
# there already are left as they are, and no package is removed unless VL2_SETUP_REMOVE=yes.
set -eu

say() { printf 'setup: %s\n' "$*"; }
die() {
  printf 'setup: %s\n' "$*" >&2
  exit 1
}

want_tests=no
list_only=no
for argument in "$@"; do
  case $argument in
    --tests) want_tests=yes ;;
    --list) list_only=yes ;;
    *) die "unknown argument $argument, wanted --tests or --list" ;;
  esac
done

# Programs: it does not matter where they came from.   command=package
programs='c++=g++ cmake=cmake ninja=ninja-build'
# Packages that any supported release has new enough.
libraries='doctest-dev libstb-dev libcli11-dev nlohmann-json3-dev libwebp-dev'
# Packages that Debian 12 takes from trixie, each with the version it must have at least.
recent='glslc:2023.8 spirv-tools:2023.6 libvulkan-dev:1.3.275 libvulkan-volk-dev:1.3.268
  libvulkan-memory-allocator-dev:3.0.1 vulkan-validationlayers:1.3.275 mesa-vulkan-drivers:24.0'
test_libraries='libpcre2-dev python3-numpy python3-pil'
test_programs='ccache=ccache curl=curl npm=npm pkg-config=pkg-config pdftoppm=poppler-utils'

system=unknown
if [ -r /etc/os-release ]; then
  # shellcheck source=/dev/null
  system=$(. /etc/os-release && printf '%s-%s' "${ID:-unknown}" "${VERSION_ID:-0}")
fi
apt_folder=/etc/apt
our_pin=$apt_folder/preferences.d/vl2-trixie
case $system in
  # trixie's C library brings trixie's os-release along, so a Debian 12 set up earlier calls itself 13: the pin remembers.
  debian-13) [ -e "$our_pin" ] && system=debian-12 ;;
esac
case $system in
  debian-*) libraries="$libraries libjpeg62-turbo-dev" test_libraries="$test_libraries chromium" ;;
  *) libraries="$libraries libjpeg-dev" ;;  # Ubuntu's name for it; its chromium is a snap, without the driver we want
esac
# For `vl2 serve`, which is left out where the library is older: Ubuntu 24.04.
case $system in
  ubuntu-24.*) ;;
  *) recent="$recent libcpp-httplib-dev:0.18" ;;
esac
if [ "$want_tests" = yes ]; then
  libraries="$libraries $test_libraries"
  programs="$programs $test_programs"
fi

# Prints the version of an installed package, nothing when it is not installed.
installed_version() {
  printf '%s\n' "$installed" | sed -n "s/^installed $1 //p" | head -n 1
}

# Sets missing_plain and missing_recent to the packages that have to be installed.
find_missing() {
  missing_plain=
  missing_recent=
  # shellcheck disable=SC2086  # lists of words, here and below
  names="$libraries $(printf '%s ' $recent | sed 's/:[^ ]*//g')"
  # shellcheck disable=SC2086
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package} ${Version}\n' $names 2>/dev/null || true)
  for pair in $programs; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing_plain="$missing_plain ${pair#*=}"
  done
  for package in $libraries; do
    [ -n "$(installed_version "$package")" ] || missing_plain="$missing_plain $package"
  done
  for pair in $recent; do
    version=$(installed_version "${pair%%:*}")
    if [ -z "$version" ] || dpkg --compare-versions "$version" lt "${pair#*:}"; then
      missing_recent="$missing_recent ${pair%%:*}"
    fi
  done
  missing_plain=${missing_plain# }
  missing_recent=${missing_recent# }
}

# On a system without apt: succeeds when a compiler finds every program and header anyway.
have_everything_without_packages() {
  for program in c++ cmake ninja glslc spirv-val; do
    command -v $program >/dev/null 2>&1 || return 1
  done
  printf '#include <%s>\n' volk.h vk_mem_alloc.h doctest/doctest.h nlohmann/json.hpp CLI/CLI.hpp stb/stb_image.h |
    c++ -std=c++20 -fsyntax-only -x c++ - >/dev/null 2>&1
}

explain_by_hand() {
  cat >&2 <<END
setup: this script installs on Debian 12, Debian 13 and Ubuntu 24.04 or newer; this system is "$system".
Please install, under the names your system has for them:
  programs   a C++20 compiler (g++ 12 or newer), cmake 3.25, ninja, glslc (shaderc 2023.8), spirv-val (SPIRV-Tools)
  Vulkan     headers and loader 1.3.275, volk, Vulkan Memory Allocator 3, validation layers, a driver (Mesa's lavapipe runs anywhere)
  libraries  doctest, stb, CLI11, nlohmann-json 3; libjpeg-turbo and libwebp for those two picture formats; cpp-httplib 0.18 for the server
  tests      PCRE2, Python 3 with NumPy and Pillow, npm, poppler-utils
and run this script again: it stops asking as soon as it finds them.
END
  exit 1
}

supported=no
case $system in
  debian-12 | debian-1[3-9] | debian-[2-9][0-9]) supported=yes ;;
  ubuntu-2[4-9].* | ubuntu-[3-9][0-9].*) supported=yes ;;
  debian-*) grep -qs 'testing\|unstable\|sid\|forky' /etc/os-release /etc/debian_version && supported=yes ;;
esac
if [ $supported = no ] || ! command -v apt-get >/dev/null 2>&1; then
  if have_everything_without_packages; then
    say "everything is there"
    exit 0
  fi
  explain_by_hand
fi

find_missing
if [ -z "$missing_plain$missing_recent" ]; then
  say "everything is there"
  exit 0
fi
if [ $list_only = yes ]; then
  say "missing:${missing_recent:+ $missing_recent}${missing_plain:+ $missing_plain}"
  exit 1
fi

if [ "$(id -u)" = 0 ]; then
  as_root() { "$@"; }
elif command -v sudo >/dev/null 2>&1; then
  as_root() { sudo "$@"; }
else
  die "installing needs root and there is no sudo; as root, run: sh third_party/setup.sh$([ $want_tests = no ] || echo ' --tests')"
fi

# The machine's own apt entries for Debian 12, rewritten for trixie. Prints nothing when there are none.
trixie_from_deb822() {
  awk '
    function flush() {
      if (types ~ /(^| )deb( |$)/ && suites ~ /(^| )(bookworm|oldstable)( |$)/ && enabled !~ /^(no|false|0|off)$/) {
        printf "%s%sTypes: deb\nSuites: trixie\nComponents: main\n", (printed++ ? "\n" : ""), kept
      }
      types = ""; suites = ""; enabled = ""; kept = ""; field = ""
    }
    /^#/ { next }
    /^[ \t]*$/ { flush(); next }
    /^[ \t]/ {  # a field goes on
      if (field == "suites") suites = suites " " $0
      else if (field != "types" && field != "components" && field != "enabled") kept = kept $0 "\n"
      next
    }
    {
      field = tolower($0); sub(/:.*/, "", field)
      value = $0; sub(/^[^:]*:[ \t]*/, "", value)
      if (field == "types") types = value
      else if (field == "suites") { gsub(/[ \t]+/, " ", value); suites = value }
      else if (field == "enabled") enabled = tolower(value)
      else if (field != "components") kept = kept $0 "\n"
    }
    END { flush() }' "$1"
}
trixie_from_one_line() {
  sed -nE 's#^[[:space:]]*deb[[:space:]]+((\[[^]]*\][[:space:]]+)?[^[:space:]]+)[[:space:]]+(bookworm|oldstable)[[:space:]].*#deb \1 trixie main#p' "$1"
}

# Adds the source and the pin that Debian 12 needs, each only when it is not there.
add_trixie() {
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  found=
  for file in "$apt_folder"/sources.list "$apt_folder"/sources.list.d/*.list "$apt_folder"/sources.list.d/*.sources; do
    [ -r "$file" ] || continue
    case $file in
      *.sources) kind=sources && trixie_from_deb822 "$file" >"$work/part" ;;
      *) kind=list && trixie_from_one_line "$file" >"$work/part" ;;
    esac
    if [ -s "$work/part" ]; then
      found=$kind
      sort -u "$work/part" >"$work/sorted"
      [ $kind = list ] && cp "$work/sorted" "$work/part"
      break
    fi
  done
  [ -n "$found" ] || die "found no apt source for Debian 12 (suite bookworm) in $apt_folder to copy the mirror and key from;
  add one for the suite trixie and run this again"

  if [ ! -e "$our_pin" ]; then
    say "adding $our_pin: trixie at priority 100, so that nothing comes from it unasked"
    printf 'Package: *\nPin: release n=trixie\nPin-Priority: 100\n' >"$work/pin"
    as_root install -m 644 "$work/pin" "$our_pin"
  fi
  our_source=$apt_folder/sources.list.d/vl2-trixie.$found
  if [ ! -e "$apt_folder/sources.list.d/vl2-trixie.sources" ] && [ ! -e "$apt_folder/sources.list.d/vl2-trixie.list" ]; then
    say "adding $our_source: Debian 13 (trixie) from this machine's own mirror"
    as_root install -m 644 "$work/part" "$our_source"
  fi
}

# apt-get install with what an unattended run needs. Old configuration files stay when a package brings new ones. Continuous
# integration starts over when its machine dies, so there dpkg need not wait for the disk after every file.
apt_install() {
  [ "${CI-}" != true ] || set -- -o Dpkg::Options::=--force-unsafe-io "$@"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null
}

# Succeeds when installing would remove packages, and every one of them only to come back under the name that Debian 13
# gave it: libelf1 as libelf1t64, which stands in for it.
only_renames() {
  apt_install --simulate "$@" >"$log" 2>&1 || return 1
  removed=$(sed -n 's/^Remv \([^ ]*\).*/\1/p' "$log" | sort -u)
  [ -n "$removed" ] || return 1
  lost=
  for package in $removed; do
    grep -q "^Inst ${package}t64 " "$log" || lost="$lost $package"
  done
  [ -z "$lost" ] || return 1
  say "renamed by Debian 13, same library: $(printf '%s\n' "$removed" | sed 's/.*/& -> &t64/' | paste -sd, -)"
}

# Rather fails than takes a package away, unless VL2_SETUP_REMOVE=yes allows it: Debian 12's gdb and trixie's Mesa, for
# one, want different versions of libelf, and a machine that lives for one run of the tests can do without gdb.
install_packages() {
  apt_install --no-remove "$@" >"$log" 2>&1 && return
  tail -n 25 "$log" >"$log.first"
  lost=
  if only_renames "$@" && apt_install "$@" >"$log" 2>&1; then
    return
  fi
  if [ -n "$lost" ]; then
    [ "${VL2_SETUP_REMOVE-}" = yes ] || die "installing $* would remove$lost; VL2_SETUP_REMOVE=yes allows it"
    say "removing what stands in the way:$lost"
    apt_install "$@" >"$log" 2>&1 && return
    tail -n 25 "$log" >"$log.first"
  fi
  cat "$log.first" >&2
  die "apt-get could not install: $* (its last words are above)"
}

[ "$system" != debian-12 ] || [ -z "$missing_recent" ] || add_trixie
log=$(mktemp)
trap 'rm -rf "$log" "$log.first" ${work:+"$work"}' EXIT
say "apt-get update"
as_root apt-get update -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 </dev/null >"$log" 2>&1 || {
  tail -n 5 "$log" >&2
  say "some package lists could not be fetched (above); going on with those that could"
}
# shellcheck disable=SC2086  # lists of words
if [ -n "$missing_recent" ]; then
  if [ "$system" = debian-12 ]; then
    # Python first, from Debian 12: trixie's would pull half of the base system along.
    if [ -z "$(dpkg-query -W -f '${Version}' python3 2>/dev/null)" ]; then
      say "installing python3"
      install_packages python3
    fi
    say "installing from trixie: $missing_recent"
    install_packages -t trixie $missing_recent
  else
    say "installing $missing_recent"
    install_packages $missing_recent
  fi
fi
# shellcheck disable=SC2086
if [ -n "$missing_plain" ]; then
  say "installing $missing_plain"
  install_packages $missing_plain
fi

hash -r 2>/dev/null || true
find_missing
[ -z "$missing_plain$missing_recent" ] || die "still missing or too old after installing: $missing_recent $missing_plain"
say "done"
