// How large a picture file says it is, before anything is decoded.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace vl2::server {

struct PictureSize {
  uint32_t width = 0, height = 0;

  uint64_t pixels() const { return uint64_t{width} * height; }
};

/// Width and height from the header of a PNG, JPEG, WebP or BMP file; nothing for anything else, and for a header that is cut off.
std::optional<PictureSize> picture_size(std::string_view file);

}  // namespace vl2::server
