// The files of app/web/, embedded while building.
#pragma once

#include <span>
#include <string_view>

namespace vl2::server {

struct PageFile {
  std::string_view path;  ///< "/", "/app.js", ...
  std::string_view type;  ///< for Content-Type
  std::string_view bytes;
};

std::span<const PageFile> page_files();

/// The Content-Security-Policy that the page is made for.
std::string_view page_policy();

}  // namespace vl2::server
