// Which rows go to which expert, built on the device from the router's choices.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// The pairs (token, choice) sorted by expert, and by pair index within an expert. A pair's index is token * top_k + choice.
struct ExpertSchedule {
  TensorView slot_pair;  ///< u32 [token_count * top_k]: slot -> pair
  TensorView pair_slot;  ///< u32 [token_count * top_k]: pair -> slot, the inverse
  TensorView offsets;    ///< u32 [expert_count + 1]: an expert's slots are offsets[e] .. offsets[e + 1] - 1
};

/// Records the counting sort of `expert_ids` into `schedule`.
///
/// expert_ids  u32 [token_count, top_k], contiguous, each below expert_count
/// schedule    its three views, preallocated
/// Errors      BadShape, BadDType: nothing is recorded
/// Source      a counting sort: count, scan, permute; stable, so the result does not depend on timing
Status expert_schedule(Recorder& rec, const TensorView& expert_ids, uint32_t expert_count, const ExpertSchedule& schedule);

}  // namespace vl2
