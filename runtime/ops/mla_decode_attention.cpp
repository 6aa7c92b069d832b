#include "runtime/ops/mla_decode_attention.h"

#include "runtime/ops/causal_pairs.h"
#include "shaders/interface/attention_row.h"
#include "shaders/interface/mla_decode_attention.h"

namespace vl2 {

Status mla_decode_attention(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& y,
                            const MlaDecodeOptions& options) {
  if (q.rank() != 3 || q.stride(2) != 1 || q.dim(2) == 0 || q.dim(2) > ATTENTION_ROW_MAX_DEPTH)
    return fail(Code::BadShape, "mla_decode_attention: q ", q, " must be [rows, heads, 1..", ATTENTION_ROW_MAX_DEPTH,
                "], elements of a head adjacent");
  if (cache.rank() != 2 || cache.stride(1) != 1 || cache.dim(1) != q.dim(2))
    return fail(Code::BadShape, "mla_decode_attention: cache ", cache, " must be [rows, ", q.dim(2), "], the width of q ", q);
  if (y.rank() != 3 || y.stride(2) != 1 || y.dim(0) != q.dim(0) || y.dim(1) != q.dim(1) || y.dim(2) == 0 || y.dim(2) > q.dim(2))
    return fail(Code::BadShape, "mla_decode_attention: y ", y, " must be [rows, heads of q, 1..", q.dim(2), "] for q ", q);
  if (uint64_t{options.first_position} + q.dim(0) > cache.dim(0))
    return fail(Code::BadShape, "mla_decode_attention: cache ", cache, " must have at least ",
                uint64_t{options.first_position} + q.dim(0), " rows for q ", q, " at position ", options.first_position);
  const DType act = q.dtype;
  if ((act != DType::F32 && act != DType::F16) || cache.dtype != act || y.dtype != act)
    return fail(Code::BadDType, "mla_decode_attention: q, cache and y must be all f32 or all f16, got ", q, ", ", cache, ", ", y);
  if (q.element_count() == 0)
    return {};

  const uint32_t query_count = q.dim(0), heads = q.dim(1), depth = q.dim(2), value_width = y.dim(2);
  const AlignedView q_bound = rec.aligned(q), cache_bound = rec.aligned(cache), y_bound = rec.aligned(y);
  const MlaDecodeAttentionParams params{.depth = depth,
                                        .value_width = value_width,
                                        .first_position = options.first_position,
                                        .q_row_stride = q.stride(0),
                                        .q_head_stride = q.stride(1),
                                        .q_offset = q_bound.remainder,
                                        .cache_row_stride = cache.stride(0),
                                        .cache_offset = cache_bound.remainder,
                                        .y_row_stride = y.stride(0),
                                        .y_head_stride = y.stride(1),
                                        .y_offset = y_bound.remainder,
                                        .scale = options.scale};
  const uint64_t pairs = causal_pairs(query_count, options.first_position), widths = depth + value_width;
  const Cost cost{.bytes = heads * (query_count * widths + pairs * depth) * dtype_bytes(act),
                  .flops = 2 * heads * pairs * widths};
  return rec.dispatch(act_variant(ShaderId::mla_decode_attention_f32, act), {q_bound.view, cache_bound.view, y_bound.view},
                      params, Groups{.x = query_count, .y = heads}, cost,
                      {(value_width + ATTENTION_ROW_COLUMNS - 1) / ATTENTION_ROW_COLUMNS});
}

}  // namespace vl2
