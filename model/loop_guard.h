// Notices that an answer repeats itself and would do so until its limit.
//
// Two rules on tokens. The first: the last tokens are one block over and over, word for word, with nothing in between; vLLM's
// repetition detection has the same form (block sizes, and how often in a row). The second: a block over and over in which nothing
// but numbers differs, and each of them counts by a step of its own, "1. a 2. a 3. a" or the rows of a table that are the same but
// for their number. A page has honest repetitions, and losing what stands behind one is worse than a few seconds of a loop, so a lot
// of it is wanted: kLoopTokens tokens, kLoopBlocks blocks; of blocks that count, which pages have more of, kCountedTokens and
// kCountedBlocks. What has numbers in it that do not count is data, however alike its rows are; and where nothing stands between the
// numbers that has a letter, it is counting itself, as somebody may have asked for: both are left to the limit.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace vl2 {

/// Tokens of the longest block; a limit of 2048 tokens would hold no ten of a longer one.
inline constexpr uint32_t kLongestLoopBlock = 200;
/// All blocks together have at least so many tokens, and there are at least so many of them. What the tests hold honest comes near:
/// in DeepSeek-V3's vocabulary nine rows of twelve zeros to 0.87 of both, 14 empty rows of eight columns to 0.62 (22 are cut off), a
/// rule of 40 columns to 0.05; in `pico`'s, which spells most things, to 0.95.
inline constexpr uint32_t kLoopTokens = 384, kLoopBlocks = 10;

/// The same of blocks that count; a number is one token here, however many it has. A limit of 4096 tokens holds no 64 of a longer one.
/// Honest: 60 chapters that count by sevens beside their numbers, 0.94 of a loop in `pico`'s vocabulary and 0.41 in DeepSeek-V3's, and
/// 52 weeks of the same, 0.81 and 0.46.
inline constexpr uint32_t kLongestCountedBlock = 64;
inline constexpr uint32_t kCountedTokens = 1024, kCountedBlocks = 64;

/// The first rule.
class RepetitionGuard {
 public:
  /// True if the tokens up to and with this one end in a loop.
  bool push(uint32_t id);

 private:
  std::array<uint32_t, kLongestLoopBlock> last_{};      // ring: token i stands at i % size
  std::array<uint32_t, kLongestLoopBlock + 1> same_{};  // [block]: how many tokens in a row were the one `block` before
  uint64_t count_ = 0;
};

/// The second rule.
class CountingGuard {
 public:
  /// True if the tokens up to and with this one end in a loop. A number is looked at when the token behind it comes.
  bool push(uint32_t id, std::string_view bytes);

 private:
  struct Symbol {
    uint64_t value = 0;  // of a number, modulo 2^64; else the id
    bool number = false;
  };
  bool push(Symbol symbol, bool has_letter);
  const Symbol& before(uint32_t back) const { return last_[(count_ - back) % last_.size()]; }

  Symbol number_;                                        // the digits since the last other token; none: not a number
  std::array<Symbol, 2 * kLongestCountedBlock> last_{};  // ring
  std::array<uint32_t, kLongestCountedBlock + 1>
      same_{};                        // [block]: how many in a row were the one `block` before, or counted on
  uint64_t count_ = 0, letters_ = 0;  // symbols; those up to and with the last that has a letter
};

/// Takes the tokens of one answer.
class LoopGuard {
 public:
  /// True if the answer up to and with this token ends in a loop, by either rule.
  ///
  /// bytes  what the token stands for
  /// Cost   a comparison for each length of a block: a microsecond or two
  bool push(uint32_t id, std::string_view bytes) {
    const bool repeats = repetition_.push(id), counts = counting_.push(id, bytes);
    return repeats || counts;
  }

 private:
  RepetitionGuard repetition_;
  CountingGuard counting_;
};

}  // namespace vl2
