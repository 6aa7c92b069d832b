// Which canvas a picture goes on, where, and the coefficients of the resize: the arithmetic that has to agree with Pillow and
// Python exactly.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/status.h"

namespace vl2 {

/// Tiles of a picture's local canvas.
struct TileGrid {
  uint32_t width = 1, height = 1;
  bool operator==(const TileGrid&) const = default;
};

inline constexpr uint64_t kMaxPicturePixels = uint64_t{1} << 28;

/// Errors  BadArgument: a side of 0, or more than kMaxPicturePixels
Status check_picture_size(uint32_t width, uint32_t height);

/// The canvas (width, height) of `candidates` that keeps most pixels of the picture, of those the one that wastes least, of those
/// the first. Doubles, in the order of the reference's operations. Neither side of the picture is 0; candidates are not empty.
///
/// Source  DeepSeek-VL2 processing_deepseek_vl_v2.py, select_best_resolution
std::array<uint32_t, 2> select_best_resolution(uint32_t width, uint32_t height,
                                               std::span<const std::array<uint32_t, 2>> candidates);

/// The tiles of a picture: its best canvas in units of image_size, or 1 x 1 when the conversation has more than two pictures.
///
/// Errors  BadArgument: a side of 0, or a picture so narrow that a resized side would be 0
Result<TileGrid> tile_grid(uint32_t width, uint32_t height, std::span<const std::array<uint32_t, 2>> candidates,
                           uint32_t image_size, uint32_t pictures_in_conversation);

/// Tokens of a picture: side * (side + 1) + 1 + side * grid.height * (side * grid.width + 1), with side = 14 in the published
/// models.
uint64_t image_token_count(TileGrid grid, uint32_t side);

/// A picture's place on a canvas.
struct FitRect {
  uint32_t width = 0, height = 0;  ///< of the resized picture
  uint32_t x = 0, y = 0;           ///< of its top left pixel
};

/// Where PIL.ImageOps.pad puts a picture of width x height on a canvas.
///
/// Errors  BadArgument: a resized side would be 0 (Pillow raises there)
/// Source  PIL.ImageOps.contain and pad: Python's round() is half to even
Result<FitRect> pad_fit(uint32_t width, uint32_t height, uint32_t canvas_width, uint32_t canvas_height);

/// Pillow's bicubic coefficients along one axis.
struct ResampleTable {
  uint32_t taps = 0;             ///< weights per output pixel
  std::vector<int32_t> bounds;   ///< [out, 2]: first source pixel, count
  std::vector<int32_t> weights;  ///< [out, taps], 22 fractional bits; zero from the count on
};

/// Source  Pillow src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc
ResampleTable precompute_bicubic(uint32_t in, uint32_t out);

}  // namespace vl2
