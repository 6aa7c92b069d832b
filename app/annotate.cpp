#include "app/annotate.h"

#include <algorithm>
#include <array>
#include <vector>

#include "app/small_font.h"

namespace vl2 {
namespace {

using Colour = std::array<uint8_t, 3>;

constexpr int64_t kLineWidth = 3;
constexpr std::array<Colour, 13> kColours = {{{255, 0, 0},
                                              {0, 255, 0},
                                              {0, 0, 255},
                                              {0, 255, 255},
                                              {255, 255, 0},
                                              {255, 0, 255},
                                              {127, 127, 127},
                                              {255, 127, 0},
                                              {127, 0, 255},
                                              {0, 127, 0},
                                              {127, 63, 0},
                                              {255, 127, 191},
                                              {0, 63, 127}}};

// All coordinates here are 64 bits wide, so that no box can make one overflow; x2 and y2 are one past the end.
struct Rectangle {
  int64_t x1, y1, x2, y2;
};

void fill(Image& image, const Rectangle& r, const Colour& colour) {
  const int64_t x1 = std::max<int64_t>(r.x1, 0), x2 = std::min<int64_t>(r.x2, image.width);
  const int64_t y1 = std::max<int64_t>(r.y1, 0), y2 = std::min<int64_t>(r.y2, image.height);
  for (int64_t y = y1; y < y2; ++y) {
    for (int64_t x = x1; x < x2; ++x)
      std::copy(colour.begin(), colour.end(), image.rgb.begin() + (y * image.width + x) * 3);
  }
}

// The frame lies inside the box, whose corner pixels belong to it.
void draw_frame(Image& image, const Rectangle& r, const Colour& colour) {
  fill(image, {r.x1, r.y1, r.x2, std::min(r.y1 + kLineWidth, r.y2)}, colour);
  fill(image, {r.x1, std::max(r.y2 - kLineWidth, r.y1), r.x2, r.y2}, colour);
  fill(image, {r.x1, r.y1, std::min(r.x1 + kLineWidth, r.x2), r.y2}, colour);
  fill(image, {std::max(r.x2 - kLineWidth, r.x1), r.y1, r.x2, r.y2}, colour);
}

// One number a character: ASCII as it is, anything longer as 0, whatever bytes it has.
std::vector<unsigned> characters(const std::string& utf8) {
  std::vector<unsigned> result;
  for (const char c : utf8) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x80)
      result.push_back(byte);
    else if (byte >= 0xC0 || result.empty())
      result.push_back(0);
  }
  return result;
}

void draw_text(Image& image, const std::vector<unsigned>& text, int64_t x, int64_t y, int64_t scale, const Colour& ink) {
  for (const unsigned character : text) {
    const std::string_view rows = glyph(character);
    for (int64_t i = 0; i < kGlyphWidth * kGlyphHeight; ++i) {
      const int64_t left = x + i % kGlyphWidth * scale, top = y + i / kGlyphWidth * scale;
      if (rows[static_cast<size_t>(i)] == '#')
        fill(image, {left, top, left + scale, top + scale}, ink);
    }
    x += (kGlyphWidth + 1) * scale;
  }
}

void draw_label(Image& image, const std::string& label, const Rectangle& box, const Colour& colour) {
  const std::vector<unsigned> text = characters(label);
  if (text.empty())
    return;
  const int64_t scale = std::clamp<int64_t>(std::min(image.width, image.height) / 300, 2, 8);
  const int64_t height = (kGlyphHeight + 2) * scale;
  const int64_t width = static_cast<int64_t>(text.size()) * (kGlyphWidth + 1) * scale + scale;
  const int64_t x = std::clamp<int64_t>(box.x1, 0, std::max<int64_t>(0, image.width - width));
  const int64_t y = box.y1 >= height ? std::min<int64_t>(box.y1, image.height) - height : std::max<int64_t>(box.y1, 0);
  const bool light = 299 * colour[0] + 587 * colour[1] + 114 * colour[2] > 128 * 1000;  // the usual weights of brightness
  fill(image, {x, y, x + width, y + height}, colour);
  draw_text(image, text, x + scale, y + scale, scale, light ? Colour{0, 0, 0} : Colour{255, 255, 255});
}

}  // namespace

void draw_boxes(Image& image, std::span<const LabelledBox> boxes) {
  const auto rectangle = [](const LabelledBox& box) {
    return Rectangle{std::min(box.x1, box.x2), std::min(box.y1, box.y2), int64_t{std::max(box.x1, box.x2)} + 1,
                     int64_t{std::max(box.y1, box.y2)} + 1};
  };
  for (size_t i = 0; i < boxes.size(); ++i)
    draw_frame(image, rectangle(boxes[i]), kColours[i % kColours.size()]);
  for (size_t i = 0; i < boxes.size(); ++i)
    draw_label(image, boxes[i].label, rectangle(boxes[i]), kColours[i % kColours.size()]);
}

}  // namespace vl2
