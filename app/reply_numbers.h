// The numbers of vl2_reply_options that people give: on a command line, in a request, in the struct itself. What is refused, and in which
// words, is the same at each door.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "app/vl2.h"

namespace vl2 {

/// A number as it was given.
struct GivenNumber {
  std::string shown;              ///< for messages
  std::optional<double> value;    ///< none: it is no number
  std::optional<uint64_t> whole;  ///< where it is one from -2^63 to 2^64 - 1; negative ones modulo 2^64
};

/// What stands on a command line: "0.5", "1e-3", "-1".
GivenNumber number_of_text(const std::string& text);

/// Sets one field by its name: "max_tokens", "top_k", "seed", "temperature", "top_p", "min_p" or "repeat_penalty".
///
/// top_p 0 is set as next to nothing, which leaves the likeliest token: the struct's 0 is "off".
/// Returns what is wrong, "got 2, wanted a number from 0 to 1", and nothing is set then; "" when all is well
std::string set_reply_number(vl2_reply_options& options, std::string_view field, const GivenNumber& given);

/// The first field with a value that set_reply_number() would not set: "top_p: got 2, wanted a number from 0 to 1"; "": none.
std::string refusal_of_reply_numbers(const vl2_reply_options& options);

}  // namespace vl2
