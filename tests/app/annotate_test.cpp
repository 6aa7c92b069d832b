// app/annotate.cpp: where ink goes, and where it must not.
#include "app/annotate.h"

#include <array>
#include <doctest/doctest.h>
#include <limits>
#include <set>

#include "app/small_font.h"

using namespace vl2;

namespace {

using Colour = std::array<uint8_t, 3>;
constexpr Colour kBack = {11, 22, 33};
constexpr Colour kRed = {255, 0, 0}, kGreen = {0, 255, 0};

Image blank(uint32_t width, uint32_t height) {
  Image image{width, height, {}};
  for (uint32_t i = 0; i < width * height; ++i)
    image.rgb.insert(image.rgb.end(), kBack.begin(), kBack.end());
  return image;
}

Colour at(const Image& image, uint32_t x, uint32_t y) {
  const size_t i = (size_t{y} * image.width + x) * 3;
  return {image.rgb[i], image.rgb[i + 1], image.rgb[i + 2]};
}

size_t count(const Image& image, const Colour& colour) {
  size_t n = 0;
  for (uint32_t y = 0; y < image.height; ++y) {
    for (uint32_t x = 0; x < image.width; ++x)
      n += at(image, x, y) == colour ? 1 : 0;
  }
  return n;
}

}  // namespace

TEST_SUITE("cpu") {
  TEST_CASE("annotate: a frame is three pixels wide and lies inside its corners") {
    Image image = blank(40, 30);
    draw_boxes(image, std::array{LabelledBox{"", 5, 6, 24, 20}});
    for (uint32_t y = 0; y < 30; ++y) {
      for (uint32_t x = 0; x < 40; ++x) {
        const bool in_box = x >= 5 && x <= 24 && y >= 6 && y <= 20;
        const bool in_hole = x >= 8 && x <= 21 && y >= 9 && y <= 17;
        CAPTURE(x);
        CAPTURE(y);
        CHECK(at(image, x, y) == (in_box && !in_hole ? kRed : kBack));
      }
    }
  }

  TEST_CASE("annotate: corners may be swapped, outside, equal or absurd") {
    Image straight = blank(40, 30), swapped = blank(40, 30);
    draw_boxes(straight, std::array{LabelledBox{"", 5, 6, 24, 20}});
    draw_boxes(swapped, std::array{LabelledBox{"", 24, 20, 5, 6}});
    CHECK(straight.rgb == swapped.rgb);

    Image dot = blank(40, 30);
    draw_boxes(dot, std::array{LabelledBox{"", 7, 7, 7, 7}});
    CHECK(count(dot, kRed) == 1);

    constexpr int32_t kMin = std::numeric_limits<int32_t>::min(), kMax = std::numeric_limits<int32_t>::max();
    Image image = blank(40, 30);
    const Image before = image;
    draw_boxes(image, std::array{LabelledBox{"", kMin, kMin, kMax, kMax}, LabelledBox{"", 100, 100, 200, 200},
                                 LabelledBox{"", kMax, kMax, kMax, kMax}, LabelledBox{"", kMin, 5, kMin, 9}});
    CHECK(image.rgb == before.rgb);  // every line of theirs is outside
    draw_boxes(image, std::array{LabelledBox{"far away", kMin, kMin, kMax, kMax}, LabelledBox{"x", kMax, kMax, kMax, kMax}});
    CHECK(image.rgb.size() == before.rgb.size());
  }

  TEST_CASE("annotate: the label stands above the box, or inside it at the picture's top") {
    Image above = blank(200, 100);
    draw_boxes(above, std::array{LabelledBox{"I", 50, 40, 120, 80}});
    // At scale 2: a strip of 2 * (6 + 1) by 2 * 10 pixels that ends where the box begins.
    CHECK(at(above, 50, 20) == kRed);
    CHECK(at(above, 63, 39) == kRed);
    CHECK(at(above, 64, 39) == kBack);
    CHECK(at(above, 50, 19) == kBack);
    CHECK(at(above, 56, 30) == Colour{255, 255, 255});  // the stem of the I
    Image inside = blank(200, 100);
    draw_boxes(inside, std::array{LabelledBox{"I", 50, 10, 120, 80}});
    CHECK(count(inside, kBack) > 0);
    for (uint32_t x = 0; x < 200; ++x)
      CHECK(at(inside, x, 9) == kBack);
    CHECK(at(inside, 56, 20) == Colour{255, 255, 255});
    Image right = blank(200, 100);  // pushed left, so that it can be read
    draw_boxes(right, std::array{LabelledBox{"wide label", 190, 40, 199, 80}});
    CHECK(at(right, 200 - 2 * 61, 30) == kRed);  // 10 letters of 6, and the margin, at scale 2
    CHECK(at(right, 199 - 2 * 61, 30) == kBack);
  }

  TEST_CASE("annotate: thirteen colours, then the first again") {
    std::set<Colour> seen;
    std::vector<LabelledBox> boxes;
    for (int32_t i = 0; i < 14; ++i)
      boxes.push_back({"", i * 10, 0, i * 10 + 5, 5});
    Image image = blank(140, 10);
    draw_boxes(image, boxes);
    for (uint32_t i = 0; i < 13; ++i)
      seen.insert(at(image, i * 10, 0));
    CHECK(seen.size() == 13);
    CHECK(seen.count(kBack) == 0);
    CHECK(at(image, 0, 0) == kRed);
    CHECK(at(image, 10, 0) == kGreen);
    CHECK(at(image, 130, 0) == kRed);
  }

  TEST_CASE("annotate: letters are told apart, and what has no letter shows as a frame") {
    std::set<std::string_view> shapes;
    for (unsigned c = 32; c < 127; ++c) {
      CAPTURE(c);
      CHECK(glyph(c).size() == size_t{kGlyphWidth} * kGlyphHeight);
      CHECK(shapes.insert(glyph(c)).second);
    }
    CHECK(shapes.count(glyph(0x4e2d)) == 0);
    // Two Chinese characters, a broken byte after them: two frames and no more.
    Image two = blank(100, 60), three = blank(100, 60);
    draw_boxes(two, std::array{LabelledBox{"\xe4\xb8\xad\xe6\x96\x87", 10, 40, 50, 50}});
    draw_boxes(three, std::array{LabelledBox{"\x01\x02\x80", 10, 40, 50, 50}});
    CHECK(count(two, {255, 255, 255}) == 2 * 20 * 4);  // a frame of 5 x 7 has 20 dots, of 2 x 2 pixels here
    CHECK(two.rgb == three.rgb);
  }
}
