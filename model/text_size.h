// How large the print in a picture is, from its pixels alone: to warn before a model is asked to read what the resize makes too small.
//
// Print is found as people see it from afar: specks of the size of letters, of one darkness on one ground, side by side on a line. What
// they say does not matter, nor which script they are of, as long as its letters stand apart or touch word by word.
#pragma once

#include <cstdint>

namespace vl2 {

/// Print with a size of less than this after the resize is hard to read: capitals of 5.8 pixels, of which a stroke is less than one.
inline constexpr float kLeastTextPixels = 8;

struct TextSize {
  /// Sizes are those of fonts, in pixels of the picture: capitals are 0.72 of them in most.
  float size = 0;        ///< that half of the small letters are below; 0: no small print was found
  uint32_t letters = 0;  ///< about how many
};

/// Looks for print smaller than `limit` pixels and at least 7, which is as small as letters get.
///
/// rgb     u8 [height, width, 3]; sides of at least 1
/// limit   size of font, in pixels of this picture
/// Returns size 0 unless there are several lines of it: textures make a line now and then
/// Cost    10 ns a pixel, 2 bytes a pixel of memory
TextSize find_small_text(const uint8_t* rgb, uint32_t width, uint32_t height, float limit);

/// The same for a picture that is resized from `width` to `resized_width` pixels: text that would be below kLeastTextPixels.
TextSize find_text_lost_by_resize(const uint8_t* rgb, uint32_t width, uint32_t height, uint32_t resized_width);

}  // namespace vl2
