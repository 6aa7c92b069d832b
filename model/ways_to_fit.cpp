// What to name when a model does not fit: plans for less, the cheapest first.
#include <algorithm>
#include <functional>
#include <set>

#include "model/memory_plan.h"
#include "model/quantize_mix.h"
#include "model/variants.h"
#include "runtime/device.h"

namespace vl2 {

namespace {

constexpr size_t kMostWays = 3;
constexpr uint32_t kLeastContext = 512, kContextStep = 64;  // a picture of one tile takes 421 tokens
constexpr uint32_t kLeastChunk = 64;

// Plans for changed models and uses. A plan that cannot be made is one that does not fit.
struct Search {
  const Device& device;
  const PlannedModel& model;
  const MemoryUse& use;
  uint64_t available;
  std::vector<WayOut> ways;

  uint64_t needed(const PlannedModel& changed, const MemoryUse& changed_use) const {
    const auto plan = plan_memory(device, changed, changed_use);
    return plan.ok() ? plan->needed_bytes() : UINT64_MAX;
  }
  bool add(const std::string& change, uint64_t bytes) {
    if (bytes > available || ways.size() == kMostWays)
      return false;
    ways.push_back({change, bytes});
    return true;
  }

  void no_kept_pictures() {
    MemoryUse changed = use;
    changed.picture_cache = 0;
    if (use.picture_cache != 0 && use.picture_cache != kSparePictureCache)
      add("--picture-cache 0", needed(model, changed));
  }

  void smaller_chunk() {
    MemoryUse changed = use;
    const uint32_t whole = std::min(use.context, use.chunk);
    for (changed.chunk = whole / 2; changed.chunk >= kLeastChunk; changed.chunk /= 2)
      if (add("--chunk " + std::to_string(changed.chunk), needed(model, changed)))
        return;
  }

  void smaller_cache() {
    MemoryUse changed = use;
    changed.cache_type = CacheType::Q8_0;
    if (use.cache_type == CacheType::F16)
      add(std::string("--cache-type ") + cache_type_name(changed.cache_type), needed(model, changed));
  }

  // The longest context that fits: the plan grows with the context, but for pictures that a shorter one has no room for.
  bool smaller_context(const PlannedModel& of, uint32_t chunk, const std::string& also) {
    MemoryUse changed = use;
    changed.chunk = chunk;
    const auto fits = [&](uint32_t steps) {
      changed.context = steps * kContextStep;
      return needed(of, changed) <= available;
    };
    uint32_t low = kLeastContext / kContextStep, high = (use.context - 1) / kContextStep;
    if (high < low || !fits(low))
      return false;
    while (low < high) {
      const uint32_t middle = low + (high - low + 1) / 2;
      fits(middle) ? low = middle : high = middle - 1;
    }
    changed.context = low * kContextStep;
    return add(also + "-c " + std::to_string(changed.context), needed(of, changed));
  }

  void fewer_tiles() {
    if (!model.config.has_vision || (use.pictures && use.pictures->empty()))
      return;
    std::set<uint32_t, std::greater<>> counts;
    for (const auto& canvas : model.config.candidate_resolutions)
      counts.insert(canvas[0] / model.config.vision.image_size * (canvas[1] / model.config.vision.image_size));
    for (const uint32_t tiles : counts) {
      Config config = model.config;
      if (tiles > 0 && tiles < *counts.begin() && limit_tiles(config, tiles).ok() &&
          add("--tiles " + std::to_string(tiles), needed({config, model.checkpoint, model.mix}, use)))
        return;
    }
  }

  // The first type that fits, of those that need less than what was asked for; if none does, the smallest with a shorter context.
  void smaller_type() {
    const uint64_t needed_now = needed(model, use);
    const QuantizeMix* smallest = nullptr;
    uint64_t least = needed_now;
    for (const QuantizeMix& mix : quantize_mixes()) {
      const PlannedModel changed{model.config, model.checkpoint, &mix};
      const uint64_t bytes = needed(changed, use);
      if (bytes < needed_now && add(std::string("--type ") + mix.name, bytes))
        return;
      if (bytes < least) {
        least = bytes;
        smallest = &mix;
      }
    }
    if (smallest != nullptr)
      smaller_context({model.config, model.checkpoint, smallest}, use.chunk, std::string("--type ") + smallest->name + " with ");
  }

  // Slower than all before it, so it is named beside them and not in the place of one.
  void experts_elsewhere(uint64_t host_limit, bool no_cache) {
    const auto plan = plan_with_cached_experts(device, model, use, available, host_limit);
    if (!plan.ok() || !plan->fits())
      return;
    const uint64_t megabytes = (plan->host_bytes + (1u << 20) - 1) >> 20;
    ways.push_back({no_cache ? "without --no-expert-cache" : "--ram " + std::to_string(megabytes) + "M", plan->needed_bytes()});
  }

  void smaller_model() {
    const std::span<const Variant> all = variants();
    for (size_t i = all.size(); i-- > 0;) {
      Config config = all[i].config;
      if (config.language.hidden_size >= model.config.language.hidden_size)
        continue;
      config.has_vision = model.config.has_vision;
      MemoryUse changed = use;
      changed.context = std::min(use.context, config.language.max_position_embeddings);
      if (add("a smaller model: " + std::string(all[i].name) + " in 16 bits", needed({config}, changed)))
        return;
    }
  }
};

}  // namespace

std::vector<WayOut> ways_to_fit(const Device& device, const PlannedModel& model, const MemoryUse& use, uint64_t available_bytes,
                                uint64_t host_limit, bool no_cache) {
  Search search{device, model, use, available_bytes, {}};
  search.no_kept_pictures();
  search.smaller_chunk();
  search.smaller_cache();
  if (!search.smaller_context(model, use.chunk, "") && use.chunk > kLeastChunk)
    search.smaller_context(model, kLeastChunk, "--chunk " + std::to_string(kLeastChunk) + " with ");
  search.fewer_tiles();
  search.smaller_type();
  search.smaller_model();
  if (model.expert_slots == 0)
    search.experts_elsewhere(host_limit, no_cache);
  return std::move(search.ways);
}

std::string does_not_fit_text(const MemoryPlan& plan, const std::string& name, const std::string& device_name) {
  const uint64_t needed = plan.needed_bytes(), weights = plan.weight_bytes(), cache = plan.cache_bytes();
  return name + ": needs " + memory_size_text(needed) + " (weights " + memory_size_text(weights) + ", cache of " +
         std::to_string(plan.context) + " tokens " + memory_size_text(cache) + ", the rest " +
         memory_size_text(needed - weights - cache) + "), " + device_name + " has " + memory_size_text(plan.available_bytes);
}

std::string ways_out_text(std::span<const WayOut> ways) {
  if (ways.empty())
    return "; neither a shorter context nor fewer bits nor a smaller model of the family fits";
  std::string text = "; what would fit: ";
  for (size_t i = 0; i < ways.size(); ++i)
    text += (i == 0                 ? ""
             : i + 1 == ways.size() ? " or "
                                    : ", ") +
            ways[i].change + " (" + memory_size_text(ways[i].needed_bytes) + ")";
  return text;
}

}  // namespace vl2
