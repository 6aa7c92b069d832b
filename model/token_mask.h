// Which tokens may come next, so that an answer is always the beginning of a JSON text of a schema.
//
// Design: the vocabulary is a tree of bytes that is walked along the automaton. What a part of the grammar says of the tokens does
// not depend on what called it, but for the tokens in which the part ends: so for each place in a part the tokens are found once,
// with the branches of the tree where the part ended, and only those few branches are walked again for each caller. The inside of
// a string, which nearly every token may follow, is so walked once in a conversation and not once for each property.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/grammar_states.h"
#include "model/tokenizer.h"
#include "runtime/status.h"

namespace vl2 {

/// The tokens that are text, as a tree of their bytes. Const after making, so any number of threads may use it.
class TokenTree {
 public:
  /// vocab_size  ids from there on are left out; so are tokens that are special, or written like control tokens, or of no bytes
  /// Errors      Unsupported: no token for a byte that a JSON text may need
  /// Cost        some 50 ms for 130 000 tokens
  static Result<std::shared_ptr<const TokenTree>> create(const Tokenizer& tokenizer, uint32_t vocab_size);
  /// Of bytes by id; the empty ones are left out, and nothing is checked.
  static std::shared_ptr<const TokenTree> of_bytes(std::span<const std::string_view> tokens);

  uint32_t vocab_size() const { return vocab_size_; }
  std::string_view bytes(TokenId id) const { return id < bytes_.size() ? std::string_view(bytes_[id]) : std::string_view(); }
  uint32_t longest() const { return longest_; }

  /// A node and all beneath it are neighbours, parents first.
  struct Node {
    uint8_t byte;
    uint16_t depth;        ///< bytes from the root: 1 or more
    uint32_t end;          ///< one past the last node beneath
    uint32_t first_token;  ///< into ids(); those of this node end where the next one's begin
  };
  std::span<const Node> nodes() const { return nodes_; }
  std::span<const TokenId> ids(uint32_t node) const {
    const uint32_t first = nodes_[node].first_token;
    const size_t end = node + 1 < nodes_.size() ? nodes_[node + 1].first_token : ids_.size();
    return std::span(ids_).subspan(first, end - first);
  }

 private:
  void build();

  std::vector<std::string> bytes_;
  std::vector<Node> nodes_;
  std::vector<TokenId> ids_;
  uint32_t vocab_size_ = 0, longest_ = 0;
};

/// What a schema lets an answer be; may be used for many answers, by any number of threads.
struct AnswerSchema {
  std::shared_ptr<const TokenTree> tokens;
  JsonGrammar grammar;

  /// text    a schema: parse_json_schema()
  static Result<std::shared_ptr<const AnswerSchema>> create(std::string_view text, std::shared_ptr<const TokenTree> tokens);
};

/// Follows one answer. One thread at a time.
class TokenMask {
 public:
  /// end  the token that ends an answer: allowed where the text is complete
  TokenMask(std::shared_ptr<const AnswerSchema> schema, TokenId end);

  /// A bit a token, id i in bit i % 32 of word i / 32; at least one is set. Until the next call.
  std::span<const uint32_t> allowed();
  /// Whether the text is complete, so that it may end.
  bool complete() const { return states_.complete(state_); }
  /// Whether nothing but the end may follow.
  bool finished();
  /// Goes on by one token; false, and nothing happened, where it is not allowed. The end token changes nothing.
  bool advance(TokenId id);

 private:
  using Words = std::vector<uint32_t>;
  struct Inside {
    Words allowed;               // tokens that fit into the part, ending with it or in it
    std::vector<uint32_t> ends;  // nodes of the tree with which the part may end
  };
  template <typename Reached>
  void walk(uint32_t first, uint32_t end, GrammarStates::State state, const Reached& reached);
  const Inside& inside(const std::vector<GrammarFrame>& tops);
  void allow(Words& words, uint32_t node) const;
  void limit_memory();

  std::shared_ptr<const AnswerSchema> schema_;
  const TokenTree& tree_;
  TokenId end_;
  GrammarStates states_;
  GrammarStates::State state_;
  std::vector<GrammarStates::State> path_;  // by depth, of walk()
  std::map<std::vector<uint32_t>, Inside> insides_;
  std::unordered_map<GrammarStates::State, Words> masks_;
};

}  // namespace vl2
