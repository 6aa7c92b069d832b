#include "model/attention_mha.h"

#include <cmath>

#include "model/matmul_scratch.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/cache_rows.h"
#include "runtime/ops/copy_rows.h"
#include "runtime/ops/rope.h"

namespace vl2 {

namespace {

// Columns first..first + heads * head_dim of a matrix as [rows, heads, head_dim].
TensorView heads_of(const TensorView& matrix, uint32_t first_column, uint32_t heads, uint32_t head_dim) {
  TensorView view = matrix;
  view.offset += first_column;
  view.rank_ = 3;
  view.dims = {matrix.dim(0), heads, head_dim};
  view.strides = {matrix.stride(0), head_dim, 1};
  return view;
}

// Columns first .. first + count - 1 of a matrix.
TensorView columns(const TensorView& matrix, uint32_t first, uint32_t count) {
  TensorView view = matrix;
  view.offset += first;
  view.dims[1] = count;
  return view;
}

// [T, heads, d] as [1, T, heads, d].
TensorView batch_of_one(const TensorView& view) {
  TensorView batched = view;
  batched.rank_ = 4;
  batched.dims = {1, view.dim(0), view.dim(1), view.dim(2)};
  batched.strides = {view.dim(0) * view.stride(0), view.stride(0), view.stride(1), view.stride(2)};
  return batched;
}

}  // namespace

Status attention_mha(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                     const LayerCache& cache, const TensorView& rope_table, uint32_t first_position, const TensorView& x,
                     const TensorView& residual) {
  const uint32_t token_count = x.dim(0), hidden = config.hidden_size, heads = config.num_attention_heads,
                 head_dim = hidden / heads;
  VL2_ASSIGN(const TensorView qkv, scratch.get("qkv", x.dtype, {token_count, 3 * hidden}));
  VL2_ASSIGN(const TensorView attended, scratch.get("attended", x.dtype, {token_count, hidden}));
  VL2_TRY(matmul_in_bytes(rec, scratch, x, layer.qkv, qkv));

  const TensorView q = heads_of(qkv, 0, heads, head_dim), k = heads_of(qkv, hidden, heads, head_dim);
  const TensorView v = heads_of(qkv, 2 * hidden, heads, head_dim);
  const bool in_8_bits = cache.keys.dtype == DType::U8;
  const TensorView new_keys = in_8_bits ? k : heads_of(cache.keys.rows(first_position, token_count), 0, heads, head_dim);
  const RopeOptions rope_options{.first_position = first_position, .layout = RopeLayout::HalfSplit};
  VL2_TRY(rope(rec, q, rope_table, q, rope_options));
  VL2_TRY(rope(rec, k, rope_table, new_keys, rope_options));
  if (in_8_bits) {
    VL2_TRY(cache_quantize(rec, columns(qkv, hidden, hidden), cache.keys, heads, first_position));
    VL2_TRY(cache_quantize(rec, columns(qkv, 2 * hidden, hidden), cache.values, heads, first_position));
  } else {
    VL2_TRY(copy_rows(rec, v, heads_of(cache.values.rows(first_position, token_count), 0, heads, head_dim)));
  }

  const uint32_t seen = first_position + token_count;
  VL2_ASSIGN(const TensorView keys, cached_rows(rec, scratch, kCachedKeys, cache.keys, heads, seen));
  VL2_ASSIGN(const TensorView values, cached_rows(rec, scratch, kCachedValues, cache.values, heads, seen));
  const AttentionOptions options{
      .scale = 1.0f / std::sqrt(static_cast<float>(head_dim)), .causal = true, .first_position = first_position};
  VL2_TRY(attention(rec, batch_of_one(q), batch_of_one(heads_of(keys, 0, heads, head_dim)),
                    batch_of_one(heads_of(values, 0, heads, head_dim)), batch_of_one(heads_of(attended, 0, heads, head_dim)),
                    options));
  return matmul_in_bytes(rec, scratch, attended, layer.o, residual, residual);
}

}  // namespace vl2
