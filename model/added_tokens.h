// Tokens that are found in the text before byte-pair encoding: the longest at the leftmost place.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/bpe.h"

namespace vl2 {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;     ///< left out when text without special tokens is wanted
  bool normalized = false;  ///< looked for in a second pass, between the tokens that are not
  /// Special, or written like markup: <...>. The published files flag some of their control tokens as not special.
  bool is_control() const { return special || (content.size() > 2 && content.front() == '<' && content.back() == '>'); }
};

/// A set of token texts that finds the longest one at a place.
class TokenTrie {
 public:
  /// `index` is what longest_match returns for this text, which is not empty and not in the set yet.
  void insert(std::string_view content, uint32_t index);

  struct Match {
    uint32_t index;
    size_t bytes;
  };
  /// The longest text at the front of `text` whose index is `allowed`; nothing where there is none.
  std::optional<Match> longest_match(std::string_view text, const std::vector<bool>& allowed) const;

 private:
  static constexpr uint32_t kNoToken = UINT32_MAX;
  struct Node {
    std::vector<std::pair<char, uint32_t>> children;
    uint32_t index = kNoToken;
  };
  const Node* child(const Node& node, char c) const;

  std::vector<Node> nodes_{1};
};

}  // namespace vl2
