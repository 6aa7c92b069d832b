// Where a text may be in a JsonGrammar: sets of stacks, made when first met, with a table of what each byte leads to.
//
// Design: a text may be in several places at once (alternatives that begin alike), so a state is a set of stacks. Stacks share
// their lower frames and are known by number, states too, so that a step seen before is one look into a table. Walking the 130 000
// tokens of a vocabulary is some 400 000 steps, nearly all of them seen before.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/json_grammar.h"

namespace vl2 {

/// A place in one part of the grammar.
struct GrammarFrame {
  uint32_t node = 0, count = 0;
  bool operator==(const GrammarFrame&) const = default;
};

class GrammarStates {
 public:
  using State = int32_t;
  using Stack = uint32_t;  ///< 0: the bottom, where a text is complete
  static constexpr State kDead = -1;

  /// The grammar outlives this.
  explicit GrammarStates(const JsonGrammar& grammar);

  State start();
  /// kDead where the byte cannot follow.
  State step(State state, uint8_t byte) {
    const int32_t known = (*entries_[static_cast<size_t>(state)].next)[byte];
    return known != kUnknown ? known : find_step(state, byte);
  }
  /// Whether the text may end here.
  bool complete(State state) const { return entries_[static_cast<size_t>(state)].complete; }

  /// The topmost frames of a state by what lies beneath.
  struct Group {
    Stack beneath = 0;
    std::vector<GrammarFrame> tops;
  };
  std::vector<Group> groups(State state) const;
  /// The state with these frames and nothing beneath: it is complete where they return.
  State above_nothing(std::span<const GrammarFrame> tops);
  /// The state when the part above `stack` has returned.
  State returned(Stack stack);

  /// The two distances of a frame to its bounds, up to `far` each: with equal ones equal texts of less than `far` bytes can follow.
  std::array<uint32_t, 2> distances(const GrammarFrame& frame, uint32_t far) const;

  size_t size() const { return entries_.size(); }
  /// Forgets all states but one, whose new number comes back.
  State forget_all_but(State state);

 private:
  static constexpr int32_t kUnknown = -2;
  struct StackEntry {
    Stack beneath;
    GrammarFrame frame;
  };
  struct Entry {
    std::vector<Stack> stacks;  // ascending; on top of each a node with edges
    bool complete = false;
    std::unique_ptr<std::array<int32_t, 256>> next;
  };
  struct Hash {
    size_t operator()(const StackEntry& stack) const;
    size_t operator()(const std::vector<Stack>& stacks) const;
  };
  struct Same {
    bool operator()(const StackEntry& a, const StackEntry& b) const { return a.beneath == b.beneath && a.frame == b.frame; }
  };

  void clear();
  Stack push(Stack beneath, GrammarFrame frame);
  State find_step(State state, uint8_t byte);
  State state_of(std::vector<Stack> open);
  bool lets(GrammarNode::When when, const GrammarNode& node, uint32_t count) const;

  const JsonGrammar& grammar_;
  std::vector<StackEntry> stacks_;
  std::unordered_map<StackEntry, Stack, Hash, Same> stack_ids_;
  std::vector<Entry> entries_;
  std::unordered_map<std::vector<Stack>, State, Hash> state_ids_;  // a last element of 0 or 1: complete
  std::vector<uint32_t> visited_;                                  // by stack: the visit that came by last
  uint32_t visit_ = 0;
};

}  // namespace vl2
