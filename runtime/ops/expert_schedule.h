// Which rows go to which expert, built on the device from the router's choices.
#pragma once

#include <array>

#include "runtime/recorder.h"

namespace vl2 {

/// How a grouped product divides the work: tiles of one expert's slots, and workgroups a tile, along the columns.
struct ExpertTiles {
  uint32_t rows = 0;  ///< slots of a tile; 0: it is not done by tiles
  uint32_t groups_x = 0;
  bool operator==(const ExpertTiles&) const = default;
};

/// The pairs (token, choice) sorted by expert, and by pair index within an expert. A pair's index is token * top_k + choice.
struct ExpertSchedule {
  TensorView slot_pair;  ///< u32 [token_count * top_k]: slot -> pair
  TensorView pair_slot;  ///< u32 [token_count * top_k]: pair -> slot, the inverse
  TensorView offsets;    ///< u32 [expert_count + 1]: an expert's slots are offsets[e] .. offsets[e + 1] - 1
  /// u32 [2, 3], or empty: the workgroups of an indirect dispatch over the tiles that there are, for each of `tiles`.
  TensorView commands{};
  std::array<ExpertTiles, 2> tiles{};

  /// The command for a product by such tiles; empty if there is none.
  TensorView command(const ExpertTiles& wanted) const;
};

/// Records the counting sort of `expert_ids` into `schedule`.
///
/// expert_ids  u32 [token_count, top_k], contiguous, each below expert_count
/// schedule    its views, preallocated; commands need tiles[0], and at most 1024 experts
/// Errors      BadShape, BadDType: nothing is recorded
/// Source      a counting sort: count, scan, permute; stable, so the result does not depend on timing
Status expert_schedule(Recorder& rec, const TensorView& expert_ids, uint32_t expert_count, const ExpertSchedule& schedule);

}  // namespace vl2
