#include "model/kv_cache.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/cache_rows.h"

namespace vl2 {

namespace {

uint32_t latent_width(const LanguageConfig& config) {
  return config.kv_lora_rank + config.qk_rope_head_dim;
}

uint32_t segment_width(const LanguageConfig& config) {
  return config.use_mla ? latent_width(config) : config.hidden_size / config.num_attention_heads;
}

constexpr uint32_t kMostQuantizedLatent = 1024;  // DECODE_LATENT_MAX_WIDTH

// A view of `rows` rows or more, which grows by steps: token by token it would be made anew for each.
Result<TensorView> rows_scratch(Scratch& scratch, const char* name, DType act, const TensorView& cache, uint32_t rows) {
  constexpr uint32_t kStep = 256;
  const uint32_t more = rows > UINT32_MAX - kStep ? rows : (rows + kStep - 1) / kStep * kStep;
  VL2_ASSIGN(const TensorView view, scratch.get(name, act, {std::min(more, cache.dim(0)), cache.dim(1)}));
  return view.rows(0, rows);
}

}  // namespace

const char* cache_type_name(CacheType type) {
  return type == CacheType::Q8_0 ? "q8_0" : "f16";
}

Result<CacheType> cache_type_of(std::string_view name, std::string_view what) {
  for (const CacheType type : {CacheType::F16, CacheType::Q8_0})
    if (name == cache_type_name(type))
      return type;
  return fail(Code::BadArgument, what, ": got \"", name.substr(0, 32), "\", wanted f16 or q8_0");
}

uint32_t cache_segments(const LanguageConfig& config) {
  return config.use_mla ? 1 : config.num_attention_heads;
}

uint64_t kv_cache_bytes_per_token(const LanguageConfig& config, DType act, CacheType type) {
  const uint64_t tensors = config.use_mla ? 1 : 2, segments = cache_segments(config), width = segment_width(config);
  const uint64_t row = type == CacheType::Q8_0
                           ? quantized_cache_row_bytes(static_cast<uint32_t>(segments), static_cast<uint32_t>(width))
                           : segments * width * dtype_bytes(act);
  return tensors * row * config.num_hidden_layers;
}

Result<KvCache> make_kv_cache(Device& device, const LanguageConfig& config, uint32_t capacity, CacheType type) {
  KvCache cache;
  cache.type = type;
  cache.capacity = capacity;
  const DType act = device.act();
  const uint32_t segments = cache_segments(config), width = segment_width(config);
  const bool in_8_bits = type == CacheType::Q8_0;
  if (in_8_bits && (width % 8 != 0 || (config.use_mla && width > kMostQuantizedLatent)))
    return fail(Code::Unsupported, "cache type q8_0: this model has ", config.use_mla ? "latents" : "heads", " of ", width,
                " elements, wanted a multiple of 8", config.use_mla ? ", at most 1024" : "");
  const auto allocate = [&](TensorView& view) -> Status {
    const uint64_t bytes =
        in_8_bits ? quantized_cache_bytes(capacity, segments, width) : uint64_t{capacity} * segments * width * dtype_bytes(act);
    VL2_ASSIGN(auto buffer, device.memory().allocate(bytes, MemoryKind::Device, "kv cache"));
    view = in_8_bits ? quantized_cache_view(*buffer, capacity, segments, width)
                     : make_view(*buffer, act, {capacity, segments * width});
    cache.planes.push_back(view);
    if (in_8_bits)
      cache.planes.push_back(cache_scales(view, segments));
    cache.buffers.push_back(std::move(buffer));
    return {};
  };
  cache.layers.resize(config.num_hidden_layers);
  for (LayerCache& layer : cache.layers) {
    if (config.use_mla) {
      VL2_TRY(allocate(layer.latent));
      continue;
    }
    VL2_TRY(allocate(layer.keys));
    VL2_TRY(allocate(layer.values));
  }
  return cache;
}

Result<TensorView> cached_rows(Recorder& rec, Scratch& scratch, const char* name, const TensorView& cache, uint32_t segments,
                               uint32_t seen) {
  if (cache.dtype != DType::U8)
    return cache.rows(0, seen);
  VL2_ASSIGN(const TensorView rows, rows_scratch(scratch, name, rec.device().act(), cache, seen));
  VL2_TRY(cache_dequantize(rec, cache, rows, segments));
  return rows;
}

Status reserve_cached_rows(Scratch& scratch, const KvCache& cache, DType act, uint32_t seen) {
  if (cache.type == CacheType::F16 || cache.layers.empty())
    return {};
  const LayerCache& layer = cache.layers[0];
  if (!layer.latent.empty())
    return rows_scratch(scratch, kCachedLatents, act, layer.latent, seen).status();
  VL2_TRY(rows_scratch(scratch, kCachedKeys, act, layer.keys, seen).status());
  return rows_scratch(scratch, kCachedValues, act, layer.values, seen).status();
}

}  // namespace vl2
