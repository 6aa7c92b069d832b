#include "model/grammar_states.h"

#include <algorithm>

namespace vl2 {

namespace {

uint64_t mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0x9e3779b97f4a7c15u;
  return hash ^ (hash >> 29);
}

}  // namespace

size_t GrammarStates::Hash::operator()(const StackEntry& stack) const {
  return mix(mix(mix(1, stack.beneath), stack.frame.node), stack.frame.count);
}

size_t GrammarStates::Hash::operator()(const std::vector<Stack>& stacks) const {
  uint64_t hash = stacks.size();
  for (const Stack stack : stacks)
    hash = mix(hash, stack);
  return hash;
}

GrammarStates::GrammarStates(const JsonGrammar& grammar) : grammar_(grammar) {
  clear();
}

void GrammarStates::clear() {
  stacks_.assign(1, {});  // the bottom
  stack_ids_.clear();
  entries_.clear();
  state_ids_.clear();
  visited_.assign(1, 0);
  visit_ = 0;
}

GrammarStates::State GrammarStates::start() {
  return state_of({push(0, {grammar_.root, 0})});
}

GrammarStates::Stack GrammarStates::push(Stack beneath, GrammarFrame frame) {
  const auto [known, is_new] = stack_ids_.try_emplace({beneath, frame}, static_cast<Stack>(stacks_.size()));
  if (is_new) {
    stacks_.push_back({beneath, frame});
    visited_.push_back(0);
  }
  return known->second;
}

bool GrammarStates::lets(GrammarNode::When when, const GrammarNode& node, uint32_t count) const {
  return when == GrammarNode::When::Always || (when == GrammarNode::When::IfRoom ? count < node.most : count >= node.least);
}

// The state of some stacks: followed wherever no byte is needed.
GrammarStates::State GrammarStates::state_of(std::vector<Stack> open) {
  std::vector<Stack> stacks;
  bool complete = false;
  ++visit_;
  while (!open.empty()) {
    const Stack stack = open.back();
    open.pop_back();
    if (stack == 0) {
      complete = true;
      continue;
    }
    if (visited_[stack] == visit_)
      continue;
    visited_[stack] = visit_;
    const auto [beneath, frame] = stacks_[stack];
    const GrammarNode& node = grammar_.nodes[frame.node];
    if (!node.edges.empty())
      stacks.push_back(stack);
    if (node.returns)
      open.push_back(beneath);
    for (const uint32_t jump : node.jumps)
      open.push_back(push(beneath, {jump, frame.count}));
    if (node.calls.empty() || !lets(node.call_when, node, frame.count))
      continue;
    const Stack after = push(beneath, {node.after, frame.count});
    for (const uint32_t part : node.calls)
      open.push_back(push(after, {part, 0}));
  }
  if (stacks.empty() && !complete)
    return kDead;
  std::sort(stacks.begin(), stacks.end());
  std::vector<Stack> key = stacks;
  key.push_back(complete ? 1 : 0);
  const auto [known, is_new] = state_ids_.try_emplace(std::move(key), static_cast<State>(entries_.size()));
  if (is_new) {
    Entry& entry = entries_.emplace_back();
    entry.stacks = std::move(stacks);
    entry.complete = complete;
    entry.next = std::make_unique<std::array<int32_t, 256>>();
    entry.next->fill(kUnknown);
  }
  return known->second;
}

GrammarStates::State GrammarStates::find_step(State state, uint8_t byte) {
  std::vector<Stack> open;
  for (const Stack stack : entries_[static_cast<size_t>(state)].stacks) {
    const auto [beneath, frame] = stacks_[stack];
    const GrammarNode& node = grammar_.nodes[frame.node];
    for (const GrammarNode::Edge& edge : node.edges) {
      if (byte < edge.first || byte > edge.last || !lets(edge.when, node, frame.count))
        continue;
      // Without an upper bound a count beyond the lower one says nothing more.
      const uint32_t counted = node.most == kNoSchemaLimit ? std::min(frame.count + 1, node.least) : frame.count + 1;
      open.push_back(push(beneath, {edge.next, edge.counts ? counted : frame.count}));
    }
  }
  const State next = open.empty() ? kDead : state_of(std::move(open));
  (*entries_[static_cast<size_t>(state)].next)[byte] = next;
  return next;
}

std::vector<GrammarStates::Group> GrammarStates::groups(State state) const {
  std::vector<Group> groups;
  for (const Stack stack : entries_[static_cast<size_t>(state)].stacks) {
    const StackEntry& entry = stacks_[stack];
    auto group = std::find_if(groups.begin(), groups.end(), [&](const Group& one) { return one.beneath == entry.beneath; });
    if (group == groups.end())
      group = groups.insert(groups.end(), {entry.beneath, {}});
    group->tops.push_back(entry.frame);
  }
  return groups;
}

GrammarStates::State GrammarStates::above_nothing(std::span<const GrammarFrame> tops) {
  std::vector<Stack> open;
  for (const GrammarFrame& frame : tops)
    open.push_back(push(0, frame));
  // Only their edges count: where a frame may return or call at once, other stacks of the state say so.
  std::sort(open.begin(), open.end());
  std::vector<Stack> key = open;
  key.push_back(0);
  const auto [known, is_new] = state_ids_.try_emplace(std::move(key), static_cast<State>(entries_.size()));
  if (is_new) {
    Entry& entry = entries_.emplace_back();
    entry.stacks = std::move(open);
    entry.next = std::make_unique<std::array<int32_t, 256>>();
    entry.next->fill(kUnknown);
  }
  return known->second;
}

GrammarStates::State GrammarStates::returned(Stack stack) {
  return state_of({stack});
}

std::array<uint32_t, 2> GrammarStates::distances(const GrammarFrame& frame, uint32_t far) const {
  const GrammarNode& node = grammar_.nodes[frame.node];
  const uint32_t lack = node.least > frame.count ? node.least - frame.count : 0;
  const uint32_t room = node.most == kNoSchemaLimit ? far : node.most - std::min(frame.count, node.most);
  return {std::min(lack, far), std::min(room, far)};
}

GrammarStates::State GrammarStates::forget_all_but(State state) {
  std::vector<std::vector<GrammarFrame>> kept;  // of each stack, the top first
  for (Stack stack : entries_[static_cast<size_t>(state)].stacks)
    for (kept.emplace_back(); stack != 0; stack = stacks_[stack].beneath)
      kept.back().push_back(stacks_[stack].frame);
  const bool complete = entries_[static_cast<size_t>(state)].complete;
  clear();
  std::vector<Stack> open;
  if (complete)
    open.push_back(0);
  for (const auto& frames : kept) {
    Stack stack = 0;
    for (size_t i = frames.size(); i-- > 0;)
      stack = push(stack, frames[i]);
    open.push_back(stack);
  }
  return state_of(std::move(open));
}

}  // namespace vl2
