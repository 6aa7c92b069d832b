# Turns the files of this folder into one C++ source.   cmake -DFOLDER=app/web -DOUT=page.cpp -P embed.cmake
set(arrays "")
set(rows "")
file(GLOB names RELATIVE "${FOLDER}" "${FOLDER}/*.html" "${FOLDER}/*.css" "${FOLDER}/*.js")
foreach(name ${names})
  file(READ "${FOLDER}/${name}" hex HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${hex}")
  string(MAKE_C_IDENTIFIER "${name}" symbol)
  string(APPEND arrays "constexpr unsigned char ${symbol}[] = {${bytes}};\n")
  get_filename_component(extension "${name}" EXT)
  set(type_.html "text/html")
  set(type_.css "text/css")
  set(type_.js "text/javascript")
  set(path "/${name}")
  if(name STREQUAL "index.html")
    set(path "/")
  endif()
  string(APPEND rows "    {\"${path}\", \"${type_${extension}}; charset=utf-8\", view(${symbol})},\n")
endforeach()
file(READ "${FOLDER}/policy.txt" policy)
string(STRIP "${policy}" policy)
string(CONFIGURE [[// Made by app/web/embed.cmake.
#include "app/server/page.h"

namespace vl2::server {
namespace {
@arrays@
template <size_t N>
std::string_view view(const unsigned char (&bytes)[N]) {
  return {reinterpret_cast<const char*>(bytes), N};
}
}  // namespace

std::span<const PageFile> page_files() {
  static const PageFile files[] = {
@rows@  };
  return files;
}

std::string_view page_policy() {
  return "@policy@";
}
}  // namespace vl2::server
]] source @ONLY)
file(WRITE "${OUT}" "${source}")
