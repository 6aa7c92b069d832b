#include "model/added_tokens.h"

#include <utility>

namespace vl2 {

void TokenTrie::insert(std::string_view content, uint32_t index) {
  uint32_t at = 0;
  for (const char c : content) {
    uint32_t next = 0;
    for (const auto& [letter, child_index] : nodes_[at].children)
      if (letter == c)
        next = child_index;
    if (next == 0) {
      next = static_cast<uint32_t>(nodes_.size());
      nodes_[at].children.emplace_back(c, next);
      nodes_.emplace_back();
    }
    at = next;
  }
  nodes_[at].index = index;
}

const TokenTrie::Node* TokenTrie::child(const Node& node, char c) const {
  for (const auto& [letter, index] : node.children)
    if (letter == c)
      return &nodes_[index];
  return nullptr;
}

std::optional<TokenTrie::Match> TokenTrie::longest_match(std::string_view text, const std::vector<bool>& allowed) const {
  std::optional<Match> best;
  const Node* node = &nodes_[0];
  for (size_t i = 0; i < text.size(); ++i) {
    node = child(*node, text[i]);
    if (node == nullptr)
      break;
    if (node->index != kNoToken && allowed[node->index])
      best = Match{node->index, i + 1};
  }
  return best;
}

}  // namespace vl2
