#include "model/attention_mla.h"

#include <algorithm>

#include "model/matmul_scratch.h"
#include "model/rope_scaling.h"
#include "runtime/ops/cache_rows.h"
#include "runtime/ops/matmul.h"
#include "runtime/ops/mla_absorb_query.h"
#include "runtime/ops/mla_attention.h"
#include "runtime/ops/mla_decode_attention.h"
#include "runtime/ops/mla_expand_value.h"
#include "runtime/ops/rms_norm.h"
#include "runtime/ops/rope.h"

namespace vl2 {

namespace {

// Columns first..first + count - 1 of the last axis.
TensorView columns(const TensorView& view, uint32_t first, uint32_t count) {
  TensorView part = view;
  part.offset += first;
  part.dims[view.rank() - 1] = count;
  return part;
}

// [rows, width] as [rows, 1, width]: one head that all share.
TensorView one_head(const TensorView& view) {
  TensorView heads = view;
  heads.rank_ = 3;
  heads.dims = {view.dim(0), 1, view.dim(1)};
  heads.strides = {view.stride(0), view.dim(1), 1};
  return heads;
}

}  // namespace

bool absorbed_is_cheaper(const LanguageConfig& config, uint32_t token_count, uint32_t seen) {
  const double t = token_count, s = seen, rank = config.kv_lora_rank, nope = config.qk_nope_head_dim;
  const double rope = config.qk_rope_head_dim, v = config.v_head_dim;
  const double absorbed =
      t * rank * (nope + v) + t * s * (2 * rank + rope);  // a head: into the latent and back, scores and values there
  const double expanded = s * rank * (nope + v) + t * s * (nope + rope + v);
  return absorbed <= expanded;
}

namespace {

// Keys and values of all that was seen, expanded from the latents.
Result<TensorView> expanded_scratch(Scratch& scratch, const LanguageConfig& config, DType act, uint32_t seen) {
  return scratch.get("kv", act, {seen, config.num_attention_heads, config.qk_nope_head_dim + config.v_head_dim});
}

}  // namespace

Status reserve_attention_mla(Scratch& scratch, const LanguageConfig& config, DType act, uint32_t first, uint32_t total,
                             uint32_t chunk) {
  uint32_t most = 0;
  for (uint32_t begin = 0; begin < total; begin += std::min(chunk, total - begin)) {
    const uint32_t count = std::min(chunk, total - begin), seen = first + begin + count;
    if (!absorbed_is_cheaper(config, count, seen))
      most = seen;
  }
  return most == 0 ? Status{} : expanded_scratch(scratch, config, act, most).status();
}

Status attention_mla(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                     const LayerCache& cache, const TensorView& rope_table, uint32_t first_position, const TensorView& x,
                     const TensorView& residual) {
  const uint32_t token_count = x.dim(0), heads = config.num_attention_heads, seen = first_position + token_count;
  const uint32_t nope = config.qk_nope_head_dim, rope_dim = config.qk_rope_head_dim, v = config.v_head_dim,
                 rank = config.kv_lora_rank;
  const DType act = x.dtype;
  const float scale = attention_scale(config);

  VL2_ASSIGN(const TensorView q, scratch.get("q", act, {token_count, heads, nope + rope_dim}));
  VL2_ASSIGN(const TensorView kv_a, scratch.get("kv_a", DType::F32, {token_count, rank + rope_dim}));
  VL2_ASSIGN(const TensorView attended, scratch.get("attended", act, {token_count, heads, v}));
  VL2_TRY(matmul_in_bytes(rec, scratch, x, layer.q, q.reshaped({token_count, heads * (nope + rope_dim)})));
  VL2_TRY(matmul_in_bytes(rec, scratch, x, layer.kv_a, kv_a));

  const RopeOptions rope_options{.first_position = first_position, .layout = RopeLayout::Interleaved};
  const bool in_8_bits = cache.latent.dtype == DType::U8;
  TensorView new_rows;
  if (in_8_bits) {
    VL2_ASSIGN(new_rows, scratch.get("new latents", act, {token_count, rank + rope_dim}));
  } else {
    new_rows = cache.latent.rows(first_position, token_count);
  }
  const TensorView q_rope = columns(q, nope, rope_dim);
  VL2_TRY(rope(rec, q_rope, rope_table, q_rope, rope_options));
  VL2_TRY(
      rope(rec, one_head(columns(kv_a, rank, rope_dim)), rope_table, one_head(columns(new_rows, rank, rope_dim)), rope_options));
  VL2_TRY(rms_norm(rec, columns(kv_a, 0, rank), layer.kv_a_norm, columns(new_rows, 0, rank), config.rms_norm_eps));
  if (in_8_bits)
    VL2_TRY(cache_quantize(rec, new_rows, cache.latent, 1, first_position));
  VL2_ASSIGN(const TensorView rows, cached_rows(rec, scratch, kCachedLatents, cache.latent, 1, seen));

  if (absorbed_is_cheaper(config, token_count, seen)) {
    VL2_ASSIGN(const TensorView q_latent, scratch.get("q_latent", act, {token_count, heads, rank + rope_dim}));
    VL2_ASSIGN(const TensorView u, scratch.get("attended_latent", act, {token_count, heads, rank}));
    VL2_TRY(mla_absorb_query(rec, q, layer.kv_b, q_latent));
    VL2_TRY(mla_decode_attention(rec, q_latent, rows, u, {.scale = scale, .first_position = first_position}));
    VL2_TRY(mla_expand_value(rec, u, layer.kv_b, attended));
  } else {
    VL2_ASSIGN(const TensorView kv, expanded_scratch(scratch, config, act, seen));
    VL2_TRY(matmul(rec, columns(rows, 0, rank), layer.kv_b, kv.reshaped({seen, heads * (nope + v)})));
    VL2_TRY(
        mla_attention(rec, q, kv, columns(rows, rank, rope_dim), attended, {.scale = scale, .first_position = first_position}));
  }
  return matmul_in_bytes(rec, scratch, attended.reshaped({token_count, heads * v}), layer.o, residual, residual);
}

}  // namespace vl2
