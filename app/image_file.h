// Picture files to pixels, exactly as Pillow's Image.open(file).convert("RGB") gives them, and pixels to PNG.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

/// A picture in memory.
struct Image {
  uint32_t width = 0;
  uint32_t height = 0;
  std::vector<uint8_t> rgb;  ///< [height, width, 3], 8-bit sRGB, rows top to bottom without padding
};

constexpr uint64_t kMaxImagePixels = uint64_t{1} << 28;  ///< 16384 x 16384; checked in the header, before anything is allocated
constexpr uint64_t kMaxImageFileBytes = uint64_t{512} << 20;

/// The pixels of a PNG, JPEG, WebP or BMP file.
///
/// As Pillow: no rotation by EXIF; alpha is dropped, not composited; a palette is looked up; 16-bit grey is clipped to 255
/// (not scaled), every other 16-bit channel keeps its high byte; CMYK is turned to RGB without a profile. Measured with
/// Pillow 9.4.0 and 11.1.0, which agree on all of this.
/// file    the whole file
/// Errors  BadFile: none of these formats, truncated, corrupt (never a partly decoded picture); Unsupported: too many pixels,
///         an animated WebP, a format this build leaves out
/// Memory  at most 8 bytes a pixel beside the result
Result<Image> decode_image(std::span<const uint8_t> file);

/// Reads and decodes a picture file; messages begin with the path.
///
/// Errors  NotFound, IoError; Unsupported for a file over kMaxImageFileBytes; those of decode_image
Result<Image> read_image_file(const std::filesystem::path& path);

/// Writes a PNG: beside the target first, then renamed over it, so that the target is never half a picture.
///
/// Errors  BadArgument for an empty image or one whose rgb has the wrong size; IoError, and nothing is left behind
Status write_png(const std::filesystem::path& path, const Image& image);

}  // namespace vl2
