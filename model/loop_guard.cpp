#include "model/loop_guard.h"

#include <algorithm>

#include "model/unicode_tables.h"
#include "model/utf8.h"

namespace vl2 {

namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}

bool any_letter(std::string_view bytes) {
  while (!bytes.empty()) {
    const Utf8Step step = utf8_step(bytes);
    if (step.valid && (char_class_table()[step.code_point] & kLetter) != 0)
      return true;
    bytes.remove_prefix(step.bytes);
  }
  return false;
}

}  // namespace

bool RepetitionGuard::push(uint32_t id) {
  bool loops = false;
  const auto longest = static_cast<uint32_t>(std::min<uint64_t>(count_, kLongestLoopBlock));
  for (uint32_t block = 1; block <= longest; ++block) {
    const bool same = last_[(count_ - block) % kLongestLoopBlock] == id;
    same_[block] = same ? same_[block] + 1 : 0;
    loops = loops || same_[block] + block >= std::max(kLoopTokens, kLoopBlocks * block);  // the first block counts, too
  }
  last_[count_ % kLongestLoopBlock] = id;
  ++count_;
  return loops;
}

bool CountingGuard::push(uint32_t id, std::string_view bytes) {
  if (!bytes.empty() && std::all_of(bytes.begin(), bytes.end(), is_digit)) {
    for (const char digit : bytes)
      number_ = {number_.value * 10 + static_cast<uint64_t>(digit - '0'), true};
    return false;
  }
  const bool counts = number_.number && push(number_, false);
  number_ = {};
  return push({id, false}, any_letter(bytes)) || counts;
}

bool CountingGuard::push(Symbol symbol, bool has_letter) {
  if (has_letter)
    letters_ = count_ + 1;
  bool loops = false;
  const auto longest = static_cast<uint32_t>(std::min<uint64_t>(count_, kLongestCountedBlock));
  for (uint32_t block = 1; block <= longest; ++block) {
    const Symbol& then = before(block);
    uint32_t& same = same_[block];
    if (symbol.number != then.number || (!symbol.number && symbol.value != then.value))
      same = 0;
    else if (symbol.number && same >= block && symbol.value - then.value != then.value - before(2 * block).value)
      same = block;  // another step: of what stands in a row nothing before the number that it leads from
    else
      ++same;
    const bool words = letters_ + block > count_ + 1;  // in the last `block` symbols, this one among them
    loops = loops || (words && same + block >= std::max(kCountedTokens, kCountedBlocks * block));
  }
  last_[count_ % last_.size()] = symbol;
  ++count_;
  return loops;
}

}  // namespace vl2
