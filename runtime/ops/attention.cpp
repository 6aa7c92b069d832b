#include "runtime/ops/attention.h"

#include <algorithm>
#include <tuple>

#include "runtime/ops/attention_direct.h"
#include "runtime/ops/attention_matrix.h"
#include "runtime/ops/causal_pairs.h"
#include "shaders/interface/attention.h"
#include "shaders/interface/attention_row.h"
#include "shaders/interface/attention_tiled.h"

namespace vl2 {
namespace {

constexpr uint32_t kMaxWidth = ATTENTION_MAX_WIDTH, kMaxValueWidth = ATTENTION_MAX_VALUE_WIDTH;
static_assert(kMaxWidth <= ATTENTION_ROW_MAX_DEPTH);

// Up to this many queries, a workgroup each beats blocks of 64 that are mostly empty.
constexpr uint32_t kFewQueries = 4;

bool is_act(const TensorView& view, DType act) {
  return view.dtype == act && (act == DType::F32 || act == DType::F16);
}

Status check(const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& y,
             const AttentionOptions& options) {
  for (const auto& [name, view, widest] :
       {std::tuple{"q", &q, kMaxWidth}, {"k", &k, kMaxWidth}, {"v", &v, kMaxValueWidth}, {"y", &y, kMaxValueWidth}})
    if (view->rank() != 4 || view->stride(3) != 1 || view->dim(3) == 0 || view->dim(3) > widest)
      return fail(Code::BadShape, "attention: ", name, " ", *view, " must be [batch, rows, heads, 1..", widest,
                  "], elements of a head adjacent");
  if (k.dim(0) != q.dim(0) || k.dim(2) != q.dim(2) || k.dim(3) != q.dim(3))
    return fail(Code::BadShape, "attention: k ", k, " must have the batch, heads and width of q ", q);
  if (v.dim(0) != k.dim(0) || v.dim(1) != k.dim(1) || v.dim(2) != k.dim(2))
    return fail(Code::BadShape, "attention: v ", v, " must have the batch, rows and heads of k ", k);
  if (y.dim(0) != q.dim(0) || y.dim(1) != q.dim(1) || y.dim(2) != q.dim(2) || y.dim(3) != v.dim(3))
    return fail(Code::BadShape, "attention: y ", y, " must have the batch, rows and heads of q ", q, " and the width of v ", v);
  const uint64_t wanted = options.causal ? uint64_t{options.first_position} + q.dim(1) : 1;
  if (q.dim(1) != 0 && k.dim(1) < wanted)
    return fail(Code::BadShape, "attention: k ", k, " must have at least ", wanted, " rows for q ", q, " at position ",
                options.causal ? options.first_position : 0);
  if (!is_act(q, q.dtype) || !is_act(k, q.dtype) || !is_act(v, q.dtype) || !is_act(y, q.dtype))
    return fail(Code::BadDType, "attention: q, k, v and y must be all f32 or all f16, got ", q, ", ", k, ", ", v, ", ", y);
  return {};
}

TensorView batches(const TensorView& view, uint32_t first, uint32_t count) {
  return view.rows(first, count);
}

// One dispatch: all of a batch that one binding can hold.
Status record(Recorder& rec, const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& y,
              const AttentionOptions& options) {
  const AlignedView q_bound = rec.aligned(q), k_bound = rec.aligned(k), v_bound = rec.aligned(v), y_bound = rec.aligned(y);
  const uint32_t batch = q.dim(0), query_count = q.dim(1), heads = q.dim(2), depth = q.dim(3), value_width = v.dim(3);
  const AttentionParams params{.query_count = query_count,
                               .key_count = k.dim(1),
                               .depth = depth,
                               .value_width = value_width,
                               .causal = options.causal,
                               .first_position = options.first_position,
                               .q_batch_stride = q.stride(0),
                               .q_row_stride = q.stride(1),
                               .q_head_stride = q.stride(2),
                               .q_offset = q_bound.remainder,
                               .k_batch_stride = k.stride(0),
                               .k_row_stride = k.stride(1),
                               .k_head_stride = k.stride(2),
                               .k_offset = k_bound.remainder,
                               .v_batch_stride = v.stride(0),
                               .v_row_stride = v.stride(1),
                               .v_head_stride = v.stride(2),
                               .v_offset = v_bound.remainder,
                               .y_batch_stride = y.stride(0),
                               .y_row_stride = y.stride(1),
                               .y_head_stride = y.stride(2),
                               .y_offset = y_bound.remainder,
                               .scale = options.scale};
  const uint64_t keys = options.causal ? uint64_t{options.first_position} + query_count : k.dim(1);
  const uint64_t pairs = options.causal ? causal_pairs(query_count, options.first_position) : keys * query_count;
  const uint64_t heads_in_all = uint64_t{batch} * heads, widths = depth + value_width;
  const auto cost = [&](uint32_t blocks) {
    return Cost{.bytes = heads_in_all * (query_count + blocks * keys) * widths * dtype_bytes(q.dtype),
                .flops = 2 * heads_in_all * pairs * widths};
  };
  const bool few = query_count <= kFewQueries;
  const auto tile = few ? std::nullopt
                        : matrix_attention(rec, {depth, value_width, heads_in_all * query_count}, options.scale, options.tile,
                                           {{&q, &q_bound}, {&k, &k_bound}, {&v, &v_bound}, {&y, &y_bound}});
  if (tile)
    return dispatch_matrix_attention(rec, ShaderId::attention_matrix, {q_bound.view, k_bound.view, v_bound.view, y_bound.view},
                                     params, *tile, depth, value_width, heads, batch,
                                     cost((query_count + tile->queries() - 1) / tile->queries()));
  const auto direct =
      few ? std::nullopt
          : direct_attention(rec, value_width, {{&q, &q_bound}, {&k, &k_bound}, {&v, &v_bound}}, {depth, value_width});
  if (direct)
    return dispatch_direct_attention(rec, act_variant(ShaderId::attention_direct_f32, q.dtype),
                                     {q_bound.view, k_bound.view, v_bound.view, y_bound.view}, params, *direct, heads, batch,
                                     cost((query_count + direct->queries() - 1) / direct->queries()));
  const uint32_t blocks = few ? query_count : (query_count + ATTENTION_TILED_QUERIES - 1) / ATTENTION_TILED_QUERIES;
  const uint32_t columns = few ? ATTENTION_ROW_COLUMNS : ATTENTION_TILED_COLUMNS;
  return rec.dispatch(act_variant(few ? ShaderId::attention_row_f32 : ShaderId::attention_f32, q.dtype),
                      {q_bound.view, k_bound.view, v_bound.view, y_bound.view}, params,
                      Groups{.x = blocks, .y = heads, .z = batch}, cost(blocks), {(value_width + columns - 1) / columns});
}

}  // namespace

Status attention(Recorder& rec, const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& y,
                 const AttentionOptions& options) {
  VL2_TRY(check(q, k, v, y, options));
  if (q.dim(0) == 0 || q.dim(1) == 0 || q.dim(2) == 0)
    return {};
  for (uint32_t first = 0, count = q.dim(0); first < q.dim(0); first += count) {
    count = q.dim(0) - first;
    const auto largest = [&] {
      uint64_t bytes = 0;
      for (const TensorView* view : {&q, &k, &v, &y})
        bytes = std::max(bytes, rec.aligned(batches(*view, first, count)).view.span_bytes());
      return bytes;
    };
    while (count > 1 && largest() > rec.max_binding_bytes())
      --count;
    VL2_TRY(record(rec, batches(q, first, count), batches(k, first, count), batches(v, first, count), batches(y, first, count),
                   options));
  }
  return {};
}

}  // namespace vl2
