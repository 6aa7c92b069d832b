// A cache of experts by least recent use, as a queue of slots: who is used goes to its end. No clock, no ranks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace vl2::reference {

class ExpertCache {
 public:
  static constexpr uint32_t kNone = 0xffffffffu;
  struct Turn {
    std::vector<uint32_t> slots, loads;  // of each choice; loads: kNone where the expert was there
  };

  ExpertCache(uint32_t experts, uint32_t slots) : experts_(experts), content_(slots, kNone) {
    for (uint32_t slot = 0; slot < slots; ++slot)
      queue_.push_back(slot);
  }

  // `ids` are distinct, no more than slots.
  Turn turn(const std::vector<uint32_t>& ids) {
    Turn turn;
    std::vector<uint32_t> used;
    for (const uint32_t id : ids) {
      const auto found = std::find(content_.begin(), content_.end(), id);
      turn.slots.push_back(found == content_.end() ? kNone : static_cast<uint32_t>(found - content_.begin()));
      turn.loads.push_back(found == content_.end() ? id : kNone);
      if (found != content_.end())
        leave_queue(turn.slots.back(), used);
      ++(found == content_.end() ? misses : hits);
    }
    for (size_t i = 0; i < ids.size(); ++i)
      if (turn.slots[i] == kNone) {
        turn.slots[i] = queue_.front();
        leave_queue(turn.slots[i], used);
        content_[turn.slots[i]] = ids[i];
      }
    std::sort(used.begin(), used.end());  // those of one token are equally recent: the first slot goes first
    queue_.insert(queue_.end(), used.begin(), used.end());
    return turn;
  }

  std::vector<int> expert_of() const {
    std::vector<int> result;
    for (const uint32_t expert : content_)
      result.push_back(expert == kNone ? -1 : static_cast<int>(expert));
    return result;
  }
  std::vector<int> slot_of() const {
    std::vector<int> result(experts_, -1);
    for (size_t slot = 0; slot < content_.size(); ++slot)
      if (content_[slot] != kNone)
        result[content_[slot]] = static_cast<int>(slot);
    return result;
  }

  uint32_t hits = 0, misses = 0;

 private:
  void leave_queue(uint32_t slot, std::vector<uint32_t>& used) {
    queue_.erase(std::find(queue_.begin(), queue_.end(), slot));
    used.push_back(slot);
  }

  uint32_t experts_;
  std::vector<uint32_t> content_;  // [slots]
  std::vector<uint32_t> queue_;    // next to go first
};

}  // namespace vl2::reference
