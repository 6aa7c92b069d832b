#include "runtime/ops/mla_absorb_query.h"

#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/mla_absorb_query.h"

namespace vl2 {
namespace {

Status check(const TensorView& q, const TensorView& kv_b, const TensorView& y) {
  if (q.rank() != 3 || q.stride(2) != 1)
    return fail(Code::BadShape, "mla_absorb_query: q ", q, " must be [rows, heads, nope + rope], elements of a head adjacent");
  VL2_TRY(check_weight("mla_absorb_query", kv_b, 2));
  if (kv_b.dim(1) == 0 || q.dim(1) == 0 || kv_b.dim(0) % q.dim(1) != 0)
    return fail(Code::BadShape, "mla_absorb_query: kv_b ", kv_b, " must be [heads * (nope + v), r] for q ", q);
  if (y.rank() != 3 || y.stride(2) != 1 || y.dim(0) != q.dim(0) || y.dim(1) != q.dim(1) || y.dim(2) < kv_b.dim(1) ||
      y.dim(2) - kv_b.dim(1) > q.dim(2))
    return fail(Code::BadShape, "mla_absorb_query: y ", y, " must be [rows, heads, r + rope] for q ", q, " and kv_b ", kv_b);
  const uint32_t nope = q.dim(2) - (y.dim(2) - kv_b.dim(1));
  if (nope > kv_b.dim(0) / q.dim(1))
    return fail(Code::BadShape, "mla_absorb_query: kv_b ", kv_b, " must have at least ", nope, " rows a head for q ", q,
                " and y ", y);
  if ((q.dtype != DType::F32 && q.dtype != DType::F16) || y.dtype != q.dtype)
    return fail(Code::BadDType, "mla_absorb_query: q and y must be both f32 or both f16, got ", q, ", ", y);
  return {};
}

}  // namespace

Status mla_absorb_query(Recorder& rec, const TensorView& q, const TensorView& kv_b, const TensorView& y) {
  VL2_TRY(check(q, kv_b, y));
  if (q.dim(0) == 0)
    return {};
  const uint32_t tokens = q.dim(0), heads = q.dim(1), latent = kv_b.dim(1), rope = y.dim(2) - latent, nope = q.dim(2) - rope;
  const uint32_t rows_per_head = kv_b.dim(0) / heads;
  const AlignedView q_bound = rec.aligned(q), y_bound = rec.aligned(y);
  for (uint32_t first = 0, count = heads; first < heads; first += count) {
    count = heads - first;
    AlignedView weight;
    for (;; --count) {
      weight = rec.aligned(weight_piece(kv_b, first * rows_per_head, count * rows_per_head).codes);
      if (count == 1 || weight.view.span_bytes() <= rec.max_binding_bytes())
        break;
    }
    const MlaAbsorbQueryParams params{.first_head = first,
                                      .nope = nope,
                                      .rope = rope,
                                      .latent = latent,
                                      .rows_per_head = rows_per_head,
                                      .q_row_stride = q.stride(0),
                                      .q_head_stride = q.stride(1),
                                      .q_offset = q_bound.remainder,
                                      .kv_b_row_stride = kv_b.stride(0),
                                      .kv_b_offset = weight.remainder,
                                      .y_row_stride = y.stride(0),
                                      .y_head_stride = y.stride(1),
                                      .y_offset = y_bound.remainder};
    constexpr uint32_t kColumns = MLA_ABSORB_QUERY_QUADS * 4;
    const uint64_t products = uint64_t{tokens} * count * nope * latent;
    const Cost cost{
        .bytes = products * dtype_bytes(kv_b.dtype) + uint64_t{tokens} * count * (q.dim(2) + y.dim(2)) * dtype_bytes(q.dtype),
        .flops = 2 * products};
    VL2_TRY(rec.dispatch(act_weight_variant(ShaderId::mla_absorb_query_f32_f32, q.dtype, kv_b.dtype),
                         {q_bound.view, weight.view, y_bound.view}, params,
                         Groups{.x = (latent + kColumns - 1) / kColumns, .y = count, .z = tokens}, cost));
  }
  return {};
}

}  // namespace vl2
