// Pairs (token, choice) sorted by expert, with the standard library's stable sort.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

namespace vl2::reference {

struct Schedule {
  std::vector<uint32_t> slot_pair, pair_slot, offsets;
};

/// ids: an expert for each pair, each below expert_count.
inline Schedule expert_schedule(const std::vector<uint32_t>& ids, uint32_t expert_count) {
  Schedule schedule;
  schedule.slot_pair.resize(ids.size());
  std::iota(schedule.slot_pair.begin(), schedule.slot_pair.end(), 0u);
  std::stable_sort(schedule.slot_pair.begin(), schedule.slot_pair.end(), [&](uint32_t a, uint32_t b) { return ids[a] < ids[b]; });
  schedule.pair_slot.resize(ids.size());
  for (uint32_t slot = 0; slot < ids.size(); ++slot)
    schedule.pair_slot[schedule.slot_pair[slot]] = slot;
  for (uint32_t expert = 0; expert <= expert_count; ++expert)
    schedule.offsets.push_back(
        static_cast<uint32_t>(std::count_if(ids.begin(), ids.end(), [&](uint32_t id) { return id < expert; })));
  return schedule;
}

}  // namespace vl2::reference
