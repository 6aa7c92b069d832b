#include "model/token_mask.h"

#include <algorithm>
#include <numeric>

namespace vl2 {

namespace {

constexpr size_t kMostStates = 8192;  // 1 KiB each
constexpr size_t kMostMasks = 64;     // 16 KiB each with 129 280 tokens, here and below
constexpr size_t kMostInsides = 512;

}  // namespace

// ---- The tree of tokens ------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<const TokenTree>> TokenTree::create(const Tokenizer& tokenizer, uint32_t vocab_size) {
  const uint32_t count = std::min(tokenizer.id_count(), vocab_size);
  std::vector<std::string_view> texts(vocab_size);
  for (TokenId id = 0; id < count; ++id)
    if (!tokenizer.is_special(id))
      texts[id] = tokenizer.token_bytes(id);
  for (const AddedToken& token : tokenizer.added_tokens())
    if (token.is_control() && token.id < vocab_size)
      texts[token.id] = {};
  std::shared_ptr<const TokenTree> tree = of_bytes(texts);
  // Every byte of a text must have a token of its own, or an answer could get into a corner.
  std::array<bool, 256> alone{};
  for (const std::string_view text : texts)
    if (text.size() == 1)
      alone[static_cast<uint8_t>(text[0])] = true;
  for (uint32_t byte = 0x20; byte <= 0xF4; ++byte)
    if (byte != 0xC0 && byte != 0xC1 && !alone[byte])
      return fail(Code::Unsupported, "schema: the tokenizer has no token for byte ", byte, ", which JSON may need");
  return tree;
}

std::shared_ptr<const TokenTree> TokenTree::of_bytes(std::span<const std::string_view> tokens) {
  auto tree = std::make_shared<TokenTree>();
  tree->vocab_size_ = static_cast<uint32_t>(tokens.size());
  tree->bytes_.assign(tokens.begin(), tokens.end());
  tree->build();
  return tree;
}

void TokenTree::build() {
  std::vector<TokenId> order(bytes_.size());
  std::iota(order.begin(), order.end(), 0u);
  std::sort(order.begin(), order.end(), [&](TokenId a, TokenId b) { return bytes_[a] < bytes_[b]; });
  std::vector<uint32_t> path;  // nodes from the root to the last token
  const auto close = [&](size_t depth) {
    for (; path.size() > depth; path.pop_back())
      nodes_[path.back()].end = static_cast<uint32_t>(nodes_.size());
  };
  std::string_view before;
  for (const TokenId id : order) {
    const std::string_view text = bytes_[id];
    if (text.empty() || text.size() > UINT16_MAX)
      continue;
    const auto [same, unused] = std::mismatch(text.begin(), text.end(), before.begin(), before.end());
    close(static_cast<size_t>(same - text.begin()));
    for (size_t depth = path.size(); depth < text.size(); ++depth) {
      path.push_back(static_cast<uint32_t>(nodes_.size()));
      nodes_.push_back(
          {static_cast<uint8_t>(text[depth]), static_cast<uint16_t>(depth + 1), 0, static_cast<uint32_t>(ids_.size())});
    }
    ids_.push_back(id);
    longest_ = std::max(longest_, static_cast<uint32_t>(text.size()));
    before = text;
  }
  close(0);
}

// ---- Schema ------------------------------------------------------------------------------------------------------------------

Result<std::shared_ptr<const AnswerSchema>> AnswerSchema::create(std::string_view text, std::shared_ptr<const TokenTree> tokens) {
  VL2_ASSIGN(const JsonSchema schema, parse_json_schema(text));
  auto made = std::make_shared<AnswerSchema>();
  VL2_ASSIGN(made->grammar, make_json_grammar(schema));
  made->tokens = std::move(tokens);
  return std::shared_ptr<const AnswerSchema>(std::move(made));
}

// ---- Mask --------------------------------------------------------------------------------------------------------------------

TokenMask::TokenMask(std::shared_ptr<const AnswerSchema> schema, TokenId end)
    : schema_(std::move(schema)),
      tree_(*schema_->tokens),
      end_(end),
      states_(schema_->grammar),
      state_(states_.start()),
      path_(tree_.longest() + 1) {}

// Walks the nodes first .. end, which are a node's children and all beneath them, from `state` on; dead branches are left out.
template <typename Reached>
void TokenMask::walk(uint32_t first, uint32_t end, GrammarStates::State state, const Reached& reached) {
  if (first >= end)
    return;
  const std::span<const TokenTree::Node> nodes = tree_.nodes();
  path_[nodes[first].depth - 1u] = state;
  for (uint32_t i = first; i < end;) {
    const TokenTree::Node& node = nodes[i];
    const GrammarStates::State next = states_.step(path_[node.depth - 1u], node.byte);
    path_[node.depth] = next;
    if (next == GrammarStates::kDead) {
      i = node.end;
      continue;
    }
    reached(i, next);
    ++i;
  }
}

void TokenMask::allow(Words& words, uint32_t node) const {
  for (const TokenId id : tree_.ids(node))
    words[id / 32] |= 1u << (id % 32);
}

const TokenMask::Inside& TokenMask::inside(const std::vector<GrammarFrame>& tops) {
  std::vector<uint32_t> key;
  for (const GrammarFrame& frame : tops) {
    const auto [lack, room] = states_.distances(frame, tree_.longest() + 1);
    key.insert(key.end(), {frame.node, lack, room});
  }
  const auto known = insides_.find(key);
  if (known != insides_.end())
    return known->second;
  if (insides_.size() >= kMostInsides)
    insides_.clear();
  Inside& made = insides_[std::move(key)];
  made.allowed.assign((tree_.vocab_size() + 31) / 32, 0);
  walk(0, static_cast<uint32_t>(tree_.nodes().size()), states_.above_nothing(tops),
       [&](uint32_t node, GrammarStates::State state) {
         allow(made.allowed, node);
         if (states_.complete(state) && tree_.nodes()[node].end > node + 1)
           made.ends.push_back(node);
       });
  return made;
}

std::span<const uint32_t> TokenMask::allowed() {
  limit_memory();
  const auto known = masks_.find(state_);
  if (known != masks_.end())
    return known->second;
  Words words((tree_.vocab_size() + 31) / 32);
  for (const GrammarStates::Group& group : states_.groups(state_)) {
    const Inside& part = inside(group.tops);
    for (size_t i = 0; i < words.size(); ++i)
      words[i] |= part.allowed[i];
    if (group.beneath == 0 || part.ends.empty())
      continue;
    const GrammarStates::State caller = states_.returned(group.beneath);
    for (const uint32_t node : part.ends)
      walk(node + 1, tree_.nodes()[node].end, caller, [&](uint32_t reached, GrammarStates::State) { allow(words, reached); });
  }
  if (states_.complete(state_) && end_ < tree_.vocab_size())
    words[end_ / 32] |= 1u << (end_ % 32);
  return masks_[state_] = std::move(words);
}

bool TokenMask::finished() {
  return complete() && states_.groups(state_).empty();
}

bool TokenMask::advance(TokenId id) {
  if (id == end_)
    return complete();
  const std::string_view bytes = tree_.bytes(id);
  GrammarStates::State state = bytes.empty() ? GrammarStates::kDead : state_;
  for (size_t i = 0; i < bytes.size() && state != GrammarStates::kDead; ++i)
    state = states_.step(state, static_cast<uint8_t>(bytes[i]));
  if (state == GrammarStates::kDead)
    return false;
  state_ = state;
  return true;
}

// What an answer of any length leaves behind is bounded.
void TokenMask::limit_memory() {
  if (masks_.size() >= kMostMasks)
    masks_.clear();
  if (states_.size() < kMostStates)
    return;
  masks_.clear();
  state_ = states_.forget_all_but(state_);
}

}  // namespace vl2
