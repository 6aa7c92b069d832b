// Draws labelled boxes on a picture: what `vl2 run --annotate` writes.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "app/image_file.h"

namespace vl2 {

/// A box in pixels of the picture; the corners may come in any order and may lie outside, only what is inside is drawn.
struct LabelledBox {
  std::string label;  ///< UTF-8; what the built-in letters lack (all but printable ASCII) shows as a small frame
  int32_t x1 = 0, y1 = 0, x2 = 0, y2 = 0;
};

/// Draws each box as a frame of 3 pixels in the next of 13 colours, its label on a strip of that colour above the box's top left
/// corner, or inside the box where there is no room above. Later boxes are drawn over earlier ones; labels over all boxes.
void draw_boxes(Image& image, std::span<const LabelledBox> boxes);

}  // namespace vl2
