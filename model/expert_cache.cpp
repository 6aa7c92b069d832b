#include "model/expert_cache.h"

#include <algorithm>

#include "model/expert_file.h"
#include "runtime/device.h"
#include "runtime/recorder.h"
#include "runtime/weight_format.h"

namespace vl2 {

namespace {

// `count` experts of the shape of `experts` from the start of a buffer on.
TensorView view_like(const TensorView& experts, const Buffer& buffer, uint32_t count) {
  TensorView view = experts;
  view.buffer = &buffer;
  view.offset = 0;
  view.dims[0] = count;
  view.scales = device_scales_offset(experts.dtype, uint64_t{count} * experts.stride(0));
  return view;
}

uint64_t bytes_like(const TensorView& experts, uint32_t count) {
  return device_bytes(experts.dtype, uint64_t{count} * experts.stride(0));
}

// A buffer that holds `count` experts of any layer's `matrix`.
Result<const Buffer*> room_for(Device& device, Weights& weights, TensorView MlpWeights::*matrix, uint32_t count,
                               const char* name) {
  uint64_t bytes = 0;
  for (const LayerWeights& layer : weights.language.layers)
    if (layer.is_moe)
      bytes = std::max(bytes, bytes_like(layer.experts.*matrix, count));
  VL2_ASSIGN(auto buffer, device.memory().allocate(bytes, MemoryKind::Device, name));
  weights.device_bytes += bytes;
  weights.buffers.push_back(std::move(buffer));
  return weights.buffers.back().get();
}

Status add_slots(Device& device, const std::string& name, uint32_t slots, const TensorView& experts, Weights& weights,
                 TensorView& view) {
  const uint64_t bytes = bytes_like(experts, slots);
  VL2_ASSIGN(auto buffer, device.memory().allocate(bytes, MemoryKind::Device, name));
  view = view_like(experts, *buffer, slots);
  weights.device_bytes += bytes;
  weights.buffers.push_back(std::move(buffer));
  return {};
}

Status check_slots(const LanguageConfig& config, uint32_t slots) {
  const uint32_t experts = config.n_routed_experts;
  if (slots < config.num_experts_per_tok || slots > experts)
    return fail(Code::BadArgument, "experts: got ", slots, " slots a layer, wanted ", config.num_experts_per_tok,
                ", which a token uses, to ", experts, ", which there are");
  if (experts > kExpertCacheMaxExperts || config.num_experts_per_tok > kExpertCacheMaxTopK)
    return fail(Code::Unsupported, "experts: a cache of ", experts, ", ", config.num_experts_per_tok, " a token, wanted at most ",
                kExpertCacheMaxExperts, " and ", kExpertCacheMaxTopK);
  return {};
}

}  // namespace

Status add_expert_file(Device& device, const Checkpoint& checkpoint, const LanguageConfig& config,
                       std::vector<WeightSource> sources, uint32_t slots, uint64_t window_bytes, Weights& weights) {
  VL2_TRY(check_slots(config, slots));
  std::vector<ExpertFile::Layer> layers;
  for (LayerWeights& layer : weights.language.layers) {
    if (!layer.is_moe)
      continue;
    const auto source_of = [&](const TensorView& view) {
      return std::find_if(sources.begin(), sources.end(), [&](const WeightSource& one) { return one.slot.target == &view; });
    };
    const auto gate_up = source_of(layer.experts.gate_up), down = source_of(layer.experts.down);
    assert(gate_up != sources.end() && down != sources.end());
    layer.experts = {gate_up->slot.shape_view(gate_up->dtype), down->slot.shape_view(down->dtype)};
    layer.file_layer = static_cast<uint32_t>(layers.size());
    layers.push_back({std::move(*gate_up), std::move(*down)});
  }
  VL2_ASSIGN(weights.language.file,
             ExpertFile::create(device, checkpoint, std::move(layers), slots, config.num_experts_per_tok, window_bytes));
  for (LayerWeights& layer : weights.language.layers)
    layer.file = layer.is_moe ? weights.language.file.get() : nullptr;
  weights.host_bytes = weights.language.file->window_bytes();
  weights.file_bytes = weights.language.file->file_bytes();
  return {};
}

Status add_expert_cache(Device& device, const LanguageConfig& config, uint32_t slots, Weights& weights) {
  VL2_TRY(check_slots(config, slots));
  const uint32_t experts = config.n_routed_experts;
  VL2_ASSIGN(const Buffer* gate_up_room,
             room_for(device, weights, &MlpWeights::gate_up, experts, "language.mlp.experts.gathered.gate_up"));
  VL2_ASSIGN(const Buffer* down_room,
             room_for(device, weights, &MlpWeights::down, experts, "language.mlp.experts.gathered.down"));
  Recorder rec(device);
  for (size_t i = 0; i < weights.language.layers.size(); ++i) {
    LayerWeights& layer = weights.language.layers[i];
    if (!layer.is_moe)
      continue;
    const std::string prefix = "language.model.layers." + std::to_string(i) + ".mlp.experts.slots.";
    VL2_TRY(add_slots(device, prefix + "gate_up", slots, layer.experts.gate_up, weights, layer.cached.gate_up));
    VL2_TRY(add_slots(device, prefix + "down", slots, layer.experts.down, weights, layer.cached.down));
    layer.gathered.gate_up = view_like(layer.experts.gate_up, *gate_up_room, experts);
    layer.gathered.down = view_like(layer.experts.down, *down_room, experts);
    if (layer.file != nullptr) {  // the host keeps its state
      layer.experts = layer.gathered;
      continue;
    }
    const uint32_t words = expert_cache_words(experts, slots);
    VL2_ASSIGN(auto state, device.memory().allocate(4 * uint64_t{words}, MemoryKind::Device, prefix + "state"));
    layer.cache_state = make_view(*state, DType::U32, {words});
    weights.device_bytes += 4 * uint64_t{words};
    weights.buffers.push_back(std::move(state));
    VL2_TRY(rec.fill(layer.cache_state, 0));
  }
  weights.expert_slots = slots;
  return rec.finish();
}

Result<MlpWeights> gather_experts(Recorder& rec, const LayerWeights& layer, const TensorView& offsets) {
  if (layer.cached.down.empty())
    return layer.experts;
  if (layer.file != nullptr) {
    VL2_TRY(layer.file->gather(rec, layer, offsets));
    return layer.gathered;
  }
  VL2_TRY(
      expert_cache_gather(rec, layer.experts.gate_up, layer.cached.gate_up, layer.cache_state, offsets, layer.gathered.gate_up));
  VL2_TRY(expert_cache_gather(rec, layer.experts.down, layer.cached.down, layer.cache_state, offsets, layer.gathered.down));
  return layer.gathered;
}

Result<std::vector<ExpertCacheState>> read_expert_caches(Recorder& rec, const LanguageWeights& weights) {
  std::vector<ExpertCacheState> states;
  for (const LayerWeights& layer : weights.layers) {
    if (layer.cache_state.empty())
      continue;
    std::vector<uint32_t> words(layer.cache_state.dim(0));
    VL2_TRY(rec.download(layer.cache_state, std::as_writable_bytes(std::span(words))));
    states.push_back(expert_cache_state(words, layer.experts.gate_up.dim(0), layer.cached.gate_up.dim(0)));
  }
  return states;
}

Result<ExpertCacheCounts> count_expert_cache(Recorder& rec, const LanguageWeights& weights) {
  VL2_ASSIGN(const std::vector<ExpertCacheState> states, read_expert_caches(rec, weights));
  ExpertCacheCounts counts;
  if (weights.file != nullptr) {
    counts.hits = weights.file->counts().slot_hits;
    counts.misses = weights.file->counts().slot_misses;
  }
  for (const ExpertCacheState& state : states) {
    counts.hits += state.hits;
    counts.misses += state.misses;
  }
  return counts;
}

}  // namespace vl2
