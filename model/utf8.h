// UTF-8: checked, decoded, and repaired.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace vl2 {

/// One step through a text.
struct Utf8Step {
  uint32_t code_point = 0;
  uint32_t bytes = 0;      ///< how far to go: 1 to 4
  bool valid = false;      ///< false: these bytes are one ill-formed piece
  bool truncated = false;  ///< not valid, but the text's end cut off what may have become a character
};

/// Looks at the character at the front of a text that is not empty.
///
/// Overlong forms, surrogates and values above 10FFFF are ill-formed. An ill-formed piece is as long as the longest start of a
/// character that it holds, at least one byte: what Unicode calls a maximal subpart.
Utf8Step utf8_step(std::string_view text);

/// The offset of the first byte that is not UTF-8, or npos.
size_t find_invalid_utf8(std::string_view text);

/// Appends `code_point` to `out`.
void append_utf8(std::string& out, uint32_t code_point);

/// The text with every ill-formed piece replaced by U+FFFD.
std::string repair_utf8(std::string_view text);

}  // namespace vl2
