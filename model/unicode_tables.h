// Character classes of the tokenizers' regular expressions: \p{L}, \p{M}, \p{N}, \p{P}, \p{S} and \s, as of Unicode 16.0.
#pragma once

#include <cstdint>

namespace vl2 {

inline constexpr uint32_t kCodePointCount = 0x110000;

/// Bits of a character's class.
enum CharClass : uint8_t {
  kLetter = 1,
  kMark = 2,
  kNumber = 4,
  kPunctuation = 8,
  kSymbol = 16,
  kSpace = 32,        ///< White_Space, which is what \s means in the regular expressions of the `tokenizers` library
  kLaterNumber = 64,  ///< a number of Unicode 17.0 and not of 16.0: only the library's Digits step knows these
};

/// The classes of every code point, one byte each: [kCodePointCount]. Built at the first call. Threads: any.
const uint8_t* char_class_table();

}  // namespace vl2
