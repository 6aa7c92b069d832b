#include "runtime/ops/mla_attention.h"

#include <tuple>

#include "runtime/ops/attention_direct.h"
#include "runtime/ops/attention_matrix.h"
#include "runtime/ops/causal_pairs.h"
#include "shaders/interface/attention_tiled.h"
#include "shaders/interface/mla_attention.h"

namespace vl2 {
namespace {

Status check(const TensorView& q, const TensorView& kv, const TensorView& k_rope, const TensorView& y,
             const MlaAttentionOptions& options) {
  for (const auto& [name, view, widest] : {std::tuple{"q", &q, ATTENTION_MAX_WIDTH}, {"y", &y, ATTENTION_MAX_VALUE_WIDTH}})
    if (view->rank() != 3 || view->stride(2) != 1 || view->dim(2) == 0 || view->dim(2) > widest)
      return fail(Code::BadShape, "mla_attention: ", name, " ", *view, " must be [rows, heads, 1..", widest,
                  "], elements of a head adjacent");
  if (kv.rank() != 3 || kv.stride(2) != 1)
    return fail(Code::BadShape, "mla_attention: kv ", kv, " must be [rows, heads, nope + v], elements of a head adjacent");
  if (k_rope.rank() != 2 || k_rope.stride(1) != 1 || k_rope.dim(0) != kv.dim(0) || k_rope.dim(1) > q.dim(2))
    return fail(Code::BadShape, "mla_attention: k_rope ", k_rope, " must be [rows of kv, 0..", q.dim(2), "] for q ", q,
                " and kv ", kv);
  if (y.dim(0) != q.dim(0) || y.dim(1) != q.dim(1))
    return fail(Code::BadShape, "mla_attention: y ", y, " must have the rows and heads of q ", q);
  const uint32_t nope = q.dim(2) - k_rope.dim(1);
  if (kv.dim(1) != q.dim(1) || kv.dim(2) != nope + y.dim(2))
    return fail(Code::BadShape, "mla_attention: kv ", kv, " must be [rows, ", q.dim(1), ", ", nope + y.dim(2), "] for q ", q,
                ", k_rope ", k_rope, " and y ", y);
  if (uint64_t{options.first_position} + q.dim(0) > kv.dim(0))
    return fail(Code::BadShape, "mla_attention: kv ", kv, " must have at least ", uint64_t{options.first_position} + q.dim(0),
                " rows for q ", q, " at position ", options.first_position);
  const DType act = q.dtype;
  if ((act != DType::F32 && act != DType::F16) || kv.dtype != act || k_rope.dtype != act || y.dtype != act)
    return fail(Code::BadDType, "mla_attention: q, kv, k_rope and y must be all f32 or all f16, got ", q, ", ", kv, ", ", k_rope,
                ", ", y);
  return {};
}

}  // namespace

Status mla_attention(Recorder& rec, const TensorView& q, const TensorView& kv, const TensorView& k_rope, const TensorView& y,
                     const MlaAttentionOptions& options) {
  VL2_TRY(check(q, kv, k_rope, y, options));
  if (q.element_count() == 0)
    return {};
  const uint32_t query_count = q.dim(0), heads = q.dim(1), rope = k_rope.dim(1), value_width = y.dim(2);
  const AlignedView q_bound = rec.aligned(q), kv_bound = rec.aligned(kv), k_rope_bound = rec.aligned(k_rope),
                    y_bound = rec.aligned(y);
  const MlaAttentionParams params{.query_count = query_count,
                                  .key_count = options.first_position + query_count,
                                  .nope = q.dim(2) - rope,
                                  .rope = rope,
                                  .value_width = value_width,
                                  .first_position = options.first_position,
                                  .q_row_stride = q.stride(0),
                                  .q_head_stride = q.stride(1),
                                  .q_offset = q_bound.remainder,
                                  .kv_row_stride = kv.stride(0),
                                  .kv_head_stride = kv.stride(1),
                                  .kv_offset = kv_bound.remainder,
                                  .k_rope_row_stride = k_rope.stride(0),
                                  .k_rope_offset = k_rope_bound.remainder,
                                  .y_row_stride = y.stride(0),
                                  .y_head_stride = y.stride(1),
                                  .y_offset = y_bound.remainder,
                                  .scale = options.scale};
  const uint32_t depth = q.dim(2);
  const auto cost = [&](uint32_t blocks) {
    const uint64_t widths = depth + value_width;
    return Cost{.bytes = heads * (query_count + uint64_t{blocks} * params.key_count) * widths * dtype_bytes(q.dtype),
                .flops = 2 * heads * causal_pairs(query_count, options.first_position) * widths};
  };
  const auto tile = params.nope % 8 != 0
                        ? std::nullopt
                        : matrix_attention(rec, {depth, value_width, uint64_t{heads} * query_count}, options.scale, options.tile,
                                           {{&q, &q_bound}, {&kv, &kv_bound}, {&k_rope, &k_rope_bound}, {&y, &y_bound}});
  if (tile)
    return dispatch_matrix_attention(rec, ShaderId::mla_attention_matrix,
                                     {q_bound.view, kv_bound.view, k_rope_bound.view, y_bound.view}, params, *tile, depth,
                                     value_width, heads, 1, cost((query_count + tile->queries() - 1) / tile->queries()));
  if (const auto direct = direct_attention(rec, value_width, {{&q, &q_bound}, {&kv, &kv_bound}, {&k_rope, &k_rope_bound}},
                                           {params.nope, rope, value_width}))
    return dispatch_direct_attention(rec, act_variant(ShaderId::mla_attention_direct_f32, q.dtype),
                                     {q_bound.view, kv_bound.view, k_rope_bound.view, y_bound.view}, params, *direct, heads, 1,
                                     cost((query_count + direct->queries() - 1) / direct->queries()));
  const uint32_t blocks = (query_count + ATTENTION_TILED_QUERIES - 1) / ATTENTION_TILED_QUERIES;
  return rec.dispatch(act_variant(ShaderId::mla_attention_f32, q.dtype),
                      {q_bound.view, kv_bound.view, k_rope_bound.view, y_bound.view}, params, Groups{.x = blocks, .y = heads},
                      cost(blocks), {(value_width + ATTENTION_TILED_COLUMNS - 1) / ATTENTION_TILED_COLUMNS});
}

}  // namespace vl2
