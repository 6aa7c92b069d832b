// Byte-pair encoding of one piece of text: always the merge of lowest rank next, the leftmost among equals.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace vl2 {

/// A place in the vocabulary, as published.
using TokenId = uint32_t;

class Bpe {
 public:
  struct Merge {
    TokenId left = 0, right = 0, result = 0;
  };

  static constexpr TokenId kNoToken = UINT32_MAX;

  Bpe() = default;
  /// byte_ids  the token of every byte; kNoToken for bytes that text never holds
  /// merges    best first; no pair twice
  Bpe(const std::array<TokenId, 256>& byte_ids, std::span<const Merge> merges);

  /// Appends the tokens of `piece`, none of whose bytes may be without a token.
  ///
  /// Cost  n log n for n bytes; short pieces take a quadratic way that is faster for them. Threads: any
  void encode(std::string_view piece, std::vector<TokenId>& out) const;

 private:
  struct Slot {
    uint64_t pair;
    uint32_t rank;
    TokenId result;
  };
  static constexpr uint32_t kNoMerge = UINT32_MAX;

  const Slot* find(TokenId left, TokenId right) const;
  void encode_short(std::string_view piece, std::vector<TokenId>& out) const;
  void encode_long(std::string_view piece, std::vector<TokenId>& out) const;

  std::array<TokenId, 256> byte_ids_{};
  std::vector<Slot> slots_;  // open addressing, a power of two, at most half full
  uint64_t mask_ = 0;
};

}  // namespace vl2
