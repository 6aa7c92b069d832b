// Random text of mixed scripts for tokenizer tests.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "model/utf8.h"

namespace vl2 {

/// Draws strings in which runs of one kind (words of a script, digits, spaces, newlines, signs, emoji, anything) follow one
/// another.
class RandomText {
 public:
  /// anything  code points for the runs of no kind; empty: none
  RandomText(uint32_t seed, std::vector<uint32_t> anything) : random_(seed), anything_(std::move(anything)) {}

  std::string next(uint32_t most_runs) {
    std::string text;
    for (uint32_t runs = below(most_runs) + 1; runs > 0; --runs) {
      const uint32_t kind = below(kKindCount + 3);
      for (uint32_t length = below(below(4) == 0 ? 12 : 4) + 1; length > 0; --length)
        append_utf8(text, draw(kind));
    }
    return text;
  }

  uint32_t below(uint32_t limit) { return static_cast<uint32_t>(random_() % limit); }

 private:
  struct Range {
    uint32_t first, last;
  };
  static constexpr uint32_t kKindCount = 26;

  uint32_t draw(uint32_t kind) {
    static constexpr Range kKinds[kKindCount] = {
        {'a', 'z'},       {'A', 'Z'},         {'0', '9'},         {' ', ' '},       {'\n', '\n'},     {'!', '/'},
        {'[', '`'},       {'\t', '\r'},       {0xC0, 0x17F},      {0x391, 0x3C9},   {0x410, 0x44F},   {0x5D0, 0x5EA},
        {0x621, 0x652},   {0x905, 0x94D},     {0xE01, 0xE39},     {0x3041, 0x3096}, {0x30A1, 0x30FE}, {0x4E00, 0x9FFF},
        {0xAC00, 0xD7A3}, {0x1F300, 0x1F64F}, {0x1F900, 0x1F9FF}, {0x2000, 0x206F}, {0x2150, 0x218B}, {0x3000, 0x301F},
        {0xFF00, 0xFFEF}, {0x300, 0x36F},
    };
    static constexpr uint32_t kOdd[] = {' ',    '\r',   '\n',   0x85,   0xA0,    0x200B,   0x200D, 0xFE0F, 0x3000,
                                        0x2028, 0xFEFF, 0xFFFD, 0,      0x1F,    0x7F,     0xAD,   0xB2,   0xBD,
                                        0x180E, 0x9FA5, 0x9FA6, 0x20E3, 0xE0061, 0x10FFFF, '\'',   '<',    '|'};
    if (kind < kKindCount)
      return kKinds[kind].first + below(kKinds[kind].last - kKinds[kind].first + 1);
    if (kind == kKindCount || anything_.empty())
      return kOdd[below(sizeof(kOdd) / sizeof(kOdd[0]))];
    return anything_[below(static_cast<uint32_t>(anything_.size()))];
  }

  std::mt19937 random_;
  std::vector<uint32_t> anything_;
};

}  // namespace vl2
