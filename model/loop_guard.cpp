#include "model/loop_guard.h"

#include <algorithm>

namespace vl2 {

namespace {

// Tokens that a stretch of blocks of so many must have.
constexpr uint32_t tokens_wanted(uint32_t block) {
  return std::max(kLoopTokens, kLoopBlocks * block);
}

}  // namespace

bool LoopGuard::push(uint32_t id) {
  bool loops = false;
  const auto longest = static_cast<uint32_t>(std::min<uint64_t>(count_, kLongestLoopBlock));
  for (uint32_t block = 1; block <= longest; ++block) {
    const bool same = last_[(count_ - block) % kLongestLoopBlock] == id;
    same_[block] = same ? same_[block] + 1 : 0;
    loops = loops || same_[block] + block >= tokens_wanted(block);  // the first block counts, too
  }
  last_[count_ % kLongestLoopBlock] = id;
  ++count_;
  return loops;
}

}  // namespace vl2
