#include "model/kv_cache.h"

#include "runtime/device.h"

namespace vl2 {

namespace {
uint32_t latent_width(const LanguageConfig& config) {
  return config.kv_lora_rank + config.qk_rope_head_dim;
}
}  // namespace

uint64_t kv_cache_bytes_per_token(const LanguageConfig& config, DType act) {
  const uint64_t elements = config.use_mla ? latent_width(config) : 2 * uint64_t{config.hidden_size};
  return elements * config.num_hidden_layers * dtype_bytes(act);
}

Result<KvCache> make_kv_cache(Device& device, const LanguageConfig& config, uint32_t capacity) {
  KvCache cache;
  cache.capacity = capacity;
  const DType act = device.act();
  const auto allocate = [&](uint32_t width, TensorView& view) -> Status {
    VL2_ASSIGN(auto buffer,
               device.memory().allocate(uint64_t{capacity} * width * dtype_bytes(act), MemoryKind::Device, "kv cache"));
    view = make_view(*buffer, act, {capacity, width});
    cache.buffers.push_back(std::move(buffer));
    return {};
  };
  cache.layers.resize(config.num_hidden_layers);
  for (LayerCache& layer : cache.layers) {
    if (config.use_mla) {
      VL2_TRY(allocate(latent_width(config), layer.latent));
      continue;
    }
    VL2_TRY(allocate(config.hidden_size, layer.keys));
    VL2_TRY(allocate(config.hidden_size, layer.values));
  }
  return cache;
}

}  // namespace vl2
