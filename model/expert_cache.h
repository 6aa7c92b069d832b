// Routed experts that stay in host memory, and the slots of device memory that a layer keeps the lately used ones in.
#pragma once

#include <cstdint>
#include <vector>

#include "model/weight_source.h"
#include "model/weights.h"
#include "runtime/ops/expert_cache.h"
#include "runtime/status.h"

namespace vl2 {

class Device;
class Recorder;

/// Leaves the experts of all layers of `weights` in the checkpoint's files: an ExpertFile, with the layers' views as shapes for
/// add_expert_cache(), which is called next.
///
/// sources       of all experts' matrices
/// window_bytes  of host memory for those used last
/// Errors        those of ExpertFile::create()
Status add_expert_file(Device& device, const Checkpoint& checkpoint, const LanguageConfig& config,
                       std::vector<WeightSource> sources, uint32_t slots, uint64_t window_bytes, Weights& weights);

/// Makes empty caches of `slots` experts for all layers of `weights`, whose experts are in host memory, and the room in which
/// prefill gathers a layer's experts.
///
/// Errors  OutOfMemory, naming the layer; BadArgument: fewer slots than a token chooses experts, or more than there are
Status add_expert_cache(Device& device, const LanguageConfig& config, uint32_t slots, Weights& weights);

/// Records the copies of the experts that a schedule has slots of to where products read them, and gives that: the weights
/// themselves where they are on the device. Where they are in the file, waits for the device.
///
/// offsets  u32 [n_routed_experts + 1]: ExpertSchedule::offsets
/// Errors   those of ExpertFile::gather()
Result<MlpWeights> gather_experts(Recorder& rec, const LayerWeights& layer, const TensorView& offsets);

/// Of every layer with a cache that the device keeps, in order; waits for the device.
Result<std::vector<ExpertCacheState>> read_expert_caches(Recorder& rec, const LanguageWeights& weights);

/// What all caches together have done since loading.
struct ExpertCacheCounts {
  uint64_t hits = 0, misses = 0;
};
Result<ExpertCacheCounts> count_expert_cache(Recorder& rec, const LanguageWeights& weights);

}  // namespace vl2
