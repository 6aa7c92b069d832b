// Boxes in what the model says: <|ref|>label<|/ref|><|det|>[[x1, y1, x2, y2], [..]]<|/det|>.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace vl2 {

struct GroundedBox {
  std::string label;
  std::array<uint32_t, 4> box;  ///< left, top, right, bottom; 0..999 of the original picture's width and height
  std::array<uint32_t, 4>
      pixels;  ///< the same in pixels of the original picture: trunc(v / 999 * side), so the far edge is the side
  size_t first_byte = 0, end_byte = 0;  ///< where the box stands in the text, brackets included
};

struct Grounding {
  std::vector<GroundedBox> boxes;  ///< in the order of the text
  std::vector<std::string>
      problems;      ///< what could not be read, a line each, with its byte counted from 1; such parts give no boxes
  std::string text;  ///< the answer for reading: labels stay, tags and boxes are gone
};

/// Reads the boxes of an answer about a picture of width x height. As many labels as box lists are paired in their order; else a
/// list gets the label that stands last before it. Neither labels nor box lists reach over the end of a line or hold another tag.
///
/// text  generated text, with its special tokens; anything is accepted
/// Source  DeepSeek-VL2 serve/app_modules/utils.py, parse_ref_bbox
Grounding parse_grounding(std::string_view text, uint32_t width, uint32_t height);

}  // namespace vl2
