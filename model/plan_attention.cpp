#include "model/plan_attention.h"

#include <algorithm>
#include <cmath>

#include "model/language_model.h"
#include "model/rope_scaling.h"
#include "runtime/device.h"
#include "runtime/ops/decode_gemv.h"

namespace vl2 {

namespace {

constexpr uint64_t kRowBytes = 256;  // what any device's storage buffer alignment divides

// Elements of a row that a query meets, and of what comes of it.
uint32_t depth_of(const LanguageConfig& config) {
  return config.use_mla ? config.kv_lora_rank + config.qk_rope_head_dim : rope_width(config);
}
uint32_t latent_of(const LanguageConfig& config) {
  return config.use_mla ? config.kv_lora_rank : rope_width(config);
}

// One tensor of each cache: keys, values or latents.
std::vector<TensorView> caches_of(const PlanAttention::Rows& rows, uint32_t layer, TensorView LayerCache::*tensor) {
  std::vector<TensorView> views;
  for (const KvCache* const cache : rows.caches)
    views.push_back(cache->layers[layer].*tensor);
  return views;
}

// The matrix of one conversation of several.
TensorView matrix_of(const TensorView& view, uint32_t conversation) {
  return make_view(*view.buffer, view.dtype, {view.dim(1), view.dim(2)}, view.offset + uint64_t{conversation} * view.stride(0));
}

}  // namespace

PlanAttention::PlanAttention(Device& device, const LanguageConfig& config, uint32_t conversations, const DecodeTuning& tuning)
    : device_(&device), config_(&config), conversations_(conversations), tuning_(tuning) {
  // lavapipe 25.0.7, the demo model at depth 450: 25 ms a token with one group, 44 with what fills 256 invocations.
  if (device.quirks().barriers_are_slow && tuning_.groups == 0)
    tuning_.groups = 1;
  // Nothing to gain on a CPU, and more to compile: SwiftShader takes gigabytes for decode_mla_query of several.
  if (device.quirks().barriers_are_slow && tuning_.conversations == 0)
    tuning_.conversations = 1;
}

Result<PlanAttention> PlanAttention::create(Device& device, const LanguageConfig& config, CacheType type, uint32_t capacity,
                                            uint32_t conversations, const DecodeTuning& tuning) {
  PlanAttention attention(device, config, conversations, tuning);
  VL2_TRY(attention.create_room(type, capacity));
  return attention;
}

PlanAttentionShape PlanAttention::shape(uint32_t capacity) const {
  const LanguageConfig& c = *config_;
  const uint32_t heads = c.num_attention_heads, depth = depth_of(c);
  PlanAttentionShape shape{.units = decode_attention_shape(device_->caps(), capacity, depth, heads, c.use_mla ? heads : 1,
                                                           latent_of(c), c.use_mla ? c.v_head_dim : 0, tuning_)};
  if (c.use_mla && device_->act() == DType::F16)
    shape.matrix =
        decode_matrix_shape(device_->caps(), device_->quirks(), device_->tier(), capacity, depth, heads, c.kv_lora_rank, tuning_);
  return shape;
}

uint32_t PlanAttention::parts() const {
  return !config_->use_mla ? 1 : on_matrix_ || values_apart() ? 3 : 2;
}

Status PlanAttention::create_room(CacheType type, uint32_t capacity) {
  const LanguageConfig& c = *config_;
  const PlanAttentionShape largest = shape(capacity);  // of fewer tokens there are as many splits or fewer
  on_matrix_ = largest.matrix.has_value();
  const auto allocate = [&](Room& room, DType dtype, uint64_t elements, const char* name) -> Status {
    room.row_bytes = (elements * dtype_bytes(dtype) + kRowBytes - 1) / kRowBytes * kRowBytes;
    VL2_ASSIGN(room.buffer, device_->memory().allocate(conversations_ * room.row_bytes, MemoryKind::Device, name));
    return {};
  };
  const uint64_t heads = c.num_attention_heads, latent = latent_of(c);
  const uint64_t splits = on_matrix_ ? largest.matrix->splits : largest.units.splits;
  const DType act = on_matrix_ ? DType::F16 : DType::F32;
  if (c.use_mla) {
    const uint64_t rows = on_matrix_ ? largest.matrix->head_tiles(c.num_attention_heads) * largest.matrix->shape.m : heads;
    VL2_TRY(allocate(queries_, act, rows * depth_of(c), "decode q_latent"));
  }
  if (values_apart())
    VL2_TRY(allocate(latents_, DType::F32, heads * latent, "decode attended latent"));
  VL2_TRY(allocate(parts_, act, heads * splits * latent, "decode attention parts"));
  VL2_TRY(allocate(limits_, DType::F32, heads * splits * 2, "decode attention limits"));
  VL2_TRY(allocate(counters_, DType::U32, heads, "decode attention counters"));
  const uint32_t cache_bindings = (c.use_mla ? 1 : 2) * (type == CacheType::Q8_0 ? 2 : 1);
  const uint64_t bound_at_once = device_->caps().max_storage_buffer_bytes / parts_.row_bytes;
  most_ = static_cast<uint32_t>(
      std::clamp<uint64_t>(bound_at_once, 1, decode_conversations(device_->caps(), cache_bindings, tuning_)));
  return {};
}

TensorView PlanAttention::Room::view(DType dtype, uint32_t first, std::initializer_list<uint32_t> dims) const {
  return make_view(*buffer, dtype, dims, first * row_bytes / dtype_bytes(dtype));
}

// Of every head, and on matrix units what fills up their rows.
TensorView PlanAttention::queries(const Rows& rows) const {
  const uint32_t heads = config_->num_attention_heads, count = static_cast<uint32_t>(rows.caches.size());
  if (!on_matrix_)
    return queries_.view(DType::F32, rows.first, {count, heads, depth_of(*config_)});
  const uint32_t padded = rows.shape.matrix->head_tiles(heads) * rows.shape.matrix->shape.m;
  return queries_.view(DType::F16, rows.first, {count, padded, depth_of(*config_)});
}

DecodeAttentionScratch PlanAttention::scratch(const Rows& rows) const {
  const uint32_t heads = config_->num_attention_heads, count = static_cast<uint32_t>(rows.caches.size());
  const uint32_t splits = on_matrix_ ? rows.shape.matrix->splits : rows.shape.units.splits;
  return {parts_.view(on_matrix_ ? DType::F16 : DType::F32, rows.first, {count, heads, splits, latent_of(*config_)}),
          limits_.view(DType::F32, rows.first, {count, heads, splits, 2}),
          counters_.view(DType::U32, rows.first, {count, heads})};
}

Status PlanAttention::clear(Recorder& rec) const {
  return rec.fill(counters_.view(DType::U32, 0, {static_cast<uint32_t>(conversations_ * counters_.row_bytes / 4)}), 0);
}

Status PlanAttention::record(Recorder& rec, uint32_t part, const LayerWeights& layer, uint32_t layer_index,
                             const Rows& rows) const {
  assert(rows.first + rows.caches.size() <= conversations_ && rows.shape.matrix.has_value() == on_matrix_);
  return config_->use_mla ? record_mla(rec, part, layer, layer_index, rows) : record_mha(rec, layer_index, rows);
}

Status PlanAttention::record_mha(Recorder& rec, uint32_t layer_index, const Rows& rows) const {
  const float scale = 1.0f / std::sqrt(static_cast<float>(rope_width(*config_)));
  return decode_mha_attention(rec, rows.q, caches_of(rows, layer_index, &LayerCache::keys),
                              caches_of(rows, layer_index, &LayerCache::values), rows.rope_table, rows.state, scratch(rows),
                              rows.attended, scale, rows.shape.units);
}

Status PlanAttention::record_mla(Recorder& rec, uint32_t part, const LayerWeights& layer, uint32_t layer_index,
                                 const Rows& rows) const {
  const std::vector<TensorView> latents = caches_of(rows, layer_index, &LayerCache::latent);
  const TensorView q = queries(rows);
  const float scale = attention_scale(*config_);
  if (part == 0) {
    VL2_TRY(decode_latent(rec, rows.kv_a, layer.kv_a_norm, config_->rms_norm_eps, rows.rope_table, rows.state, latents));
    TensorView absorbed = q;
    absorbed.dims[1] = config_->num_attention_heads;
    return decode_mla_query(rec, rows.q, layer.kv_b, rows.rope_table, rows.state, absorbed, tuning_);
  }
  if (on_matrix_) {
    const auto record = part == 1 ? decode_mla_matrix_splits : decode_mla_matrix_values;
    return record(rec, q, latents, layer.kv_b, rows.state, scratch(rows), rows.attended, scale, *rows.shape.matrix);
  }
  if (part == 2)
    return head_values(rec, layer, rows);
  return decode_mla_attention(rec, q, latents, layer.kv_b, rows.state, scratch(rows),
                              values_apart() ? attended_latents(rows) : rows.attended, scale, rows.shape.units, values_apart());
}

TensorView PlanAttention::attended_latents(const Rows& rows) const {
  TensorView view = latents_.view(
      DType::F32, rows.first, {static_cast<uint32_t>(rows.caches.size()), config_->num_attention_heads, config_->kv_lora_rank});
  view.strides[0] = static_cast<uint32_t>(latents_.row_bytes / 4);
  return view;
}

Status PlanAttention::head_values(Recorder& rec, const LayerWeights& layer, const Rows& rows) const {
  const LanguageConfig& c = *config_;
  const uint32_t heads = c.num_attention_heads;
  const DecodeGemvGroup group = decode_gemv_group(device_->caps(), device_->quirks(), heads * c.v_head_dim, c.kv_lora_rank,
                                                  layer.kv_b.dtype, false, tuning_);
  for (uint32_t i = 0; i < rows.caches.size(); ++i)
    VL2_TRY(decode_head_values(rec, matrix_of(attended_latents(rows), i), layer.kv_b, matrix_of(rows.attended, i), group));
  return {};
}

}  // namespace vl2
