// Notices that an answer repeats itself and would do so until its limit.
//
// The rule is on token ids alone: the last tokens are one block over and over, word for word, with nothing in between. vLLM's
// repetition detection has the same form (block sizes, and how often in a row). A page has honest repetitions, and losing what stands
// behind one is worse than a few seconds of a loop, so a lot of it is wanted: kLoopTokens tokens, kLoopBlocks blocks. Loops that
// count, "1. a 2. a 3. a", are not of this form and are left to the limit.
#pragma once

#include <array>
#include <cstdint>

namespace vl2 {

/// Tokens of the longest block; a limit of 2048 tokens would hold no ten of a longer one.
inline constexpr uint32_t kLongestLoopBlock = 200;
/// All blocks together have at least so many tokens, and there are at least so many of them. What the tests hold honest comes near:
/// in DeepSeek-V3's vocabulary nine rows of twelve zeros to 0.87 of both, 14 empty rows of eight columns to 0.62 (22 are cut off), a
/// rule of 40 columns to 0.05; in `pico`'s, which spells most things, to 0.95.
inline constexpr uint32_t kLoopTokens = 384, kLoopBlocks = 10;

/// Takes the tokens of one answer.
class LoopGuard {
 public:
  /// True if the answer up to and with this token ends in a loop.
  ///
  /// Cost  a comparison for each length of a block: a tenth of a microsecond
  bool push(uint32_t id);

 private:
  std::array<uint32_t, kLongestLoopBlock> last_{};      // ring: token i stands at i % size
  std::array<uint32_t, kLongestLoopBlock + 1> same_{};  // [block]: how many tokens in a row were the one `block` before
  uint64_t count_ = 0;
};

}  // namespace vl2
