// What the tests of app/batch have in common.
#pragma once

#include <string>

#include "app/batch/result_record.h"

namespace vl2 {

/// Of page `index`, read without an error.
inline batch::PageResult result_of(uint64_t index) {
  batch::PageResult result;
  result.index = index;
  result.path = "page " + std::to_string(index) + ".png";
  result.text = result.tagged_text = "answer\n\"" + std::to_string(index) + "\" é";
  result.stop = "eos";
  result.prompt_tokens = 430;
  result.answer_tokens = 7;
  return result;
}

inline bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Nobody wants to stop.
inline bool never() {
  return false;
}

}  // namespace vl2
