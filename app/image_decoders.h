// One decoder a format, behind image_file.cpp: file bytes to pixels.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "app/image_file.h"

namespace vl2 {

using Bytes = std::span<const uint8_t>;

Result<Image> decode_png(Bytes file);
Result<Image> decode_jpeg(Bytes file);
Result<Image> decode_webp(Bytes file);
Result<Image> decode_bmp(Bytes file);

/// An image of this size, its pixels 0; Unsupported when it has more than kMaxImagePixels, BadFile when a side is 0.
Result<Image> new_image(const char* format, uint64_t width, uint64_t height);

/// Unpacks a zlib stream into exactly `out`; false when it is corrupt or holds more or less than that.
bool inflate_exactly(Bytes zlib_stream, std::span<uint8_t> out);

/// The bytes of a PNG file; empty when memory ran out. `rgb` is [height, width, 3].
std::vector<uint8_t> encode_png(const Image& image);

}  // namespace vl2
