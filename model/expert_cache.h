// Routed experts that stay in host memory, and the slots of device memory that a layer keeps the lately used ones in.
#pragma once

#include <cstdint>
#include <vector>

#include "model/weights.h"
#include "runtime/ops/expert_cache.h"
#include "runtime/status.h"

namespace vl2 {

class Device;
class Recorder;

/// Makes empty caches of `slots` experts for all layers of `weights`, whose experts are in host memory, and the room in which
/// prefill gathers a layer's experts.
///
/// Errors  OutOfMemory, naming the layer; BadArgument: fewer slots than a token chooses experts, or more than there are
Status add_expert_cache(Device& device, const LanguageConfig& config, uint32_t slots, Weights& weights);

/// Records the copies of the experts that a schedule has slots of to where products read them, and gives that: the weights
/// themselves where they are on the device.
///
/// offsets  u32 [n_routed_experts + 1]: ExpertSchedule::offsets
Result<MlpWeights> gather_experts(Recorder& rec, const LayerWeights& layer, const TensorView& offsets);

/// Of every layer with a cache, in order; waits for the device.
Result<std::vector<ExpertCacheState>> read_expert_caches(Recorder& rec, const LanguageWeights& weights);

/// What all caches together have done since loading.
struct ExpertCacheCounts {
  uint64_t hits = 0, misses = 0;
};
Result<ExpertCacheCounts> count_expert_cache(Recorder& rec, const LanguageWeights& weights);

}  // namespace vl2
