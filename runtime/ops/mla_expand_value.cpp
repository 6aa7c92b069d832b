#include "runtime/ops/mla_expand_value.h"

#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/mla_expand_value.h"

namespace vl2 {
namespace {

Status check(const TensorView& u, const TensorView& kv_b, const TensorView& y) {
  if (u.rank() != 3 || u.stride(2) != 1)
    return fail(Code::BadShape, "mla_expand_value: u ", u, " must be [rows, heads, r], elements of a head adjacent");
  VL2_TRY(check_weight("mla_expand_value", kv_b, 2));
  if (kv_b.dim(1) == 0 || kv_b.dim(1) != u.dim(2) || u.dim(1) == 0 || kv_b.dim(0) % u.dim(1) != 0)
    return fail(Code::BadShape, "mla_expand_value: kv_b ", kv_b, " must be [heads * (nope + v), r] for u ", u);
  if (y.rank() != 3 || y.stride(2) != 1 || y.dim(0) != u.dim(0) || y.dim(1) != u.dim(1) || y.dim(2) > kv_b.dim(0) / u.dim(1))
    return fail(Code::BadShape, "mla_expand_value: y ", y, " must be [rows, heads, v] for u ", u, " and kv_b ", kv_b);
  if ((u.dtype != DType::F32 && u.dtype != DType::F16) || y.dtype != u.dtype)
    return fail(Code::BadDType, "mla_expand_value: u and y must be both f32 or both f16, got ", u, ", ", y);
  return {};
}

}  // namespace

Status mla_expand_value(Recorder& rec, const TensorView& u, const TensorView& kv_b, const TensorView& y) {
  VL2_TRY(check(u, kv_b, y));
  if (y.element_count() == 0)
    return {};
  const uint32_t tokens = u.dim(0), heads = u.dim(1), latent = u.dim(2), value_width = y.dim(2);
  const uint32_t rows_per_head = kv_b.dim(0) / heads;
  const AlignedView u_bound = rec.aligned(u), y_bound = rec.aligned(y);
  for (uint32_t first = 0, count = heads; first < heads; first += count) {
    count = heads - first;
    AlignedView weight;
    for (;; --count) {
      weight = rec.aligned(weight_piece(kv_b, first * rows_per_head, count * rows_per_head).codes);
      if (count == 1 || weight.view.span_bytes() <= rec.max_binding_bytes())
        break;
    }
    const MlaExpandValueParams params{.first_head = first,
                                      .nope = rows_per_head - value_width,
                                      .value_width = value_width,
                                      .latent = latent,
                                      .u_row_stride = u.stride(0),
                                      .u_head_stride = u.stride(1),
                                      .u_offset = u_bound.remainder,
                                      .kv_b_row_stride = kv_b.stride(0),
                                      .kv_b_offset = weight.remainder,
                                      .y_row_stride = y.stride(0),
                                      .y_head_stride = y.stride(1),
                                      .y_offset = y_bound.remainder};
    const uint64_t products = uint64_t{tokens} * count * value_width * latent;
    const Cost cost{
        .bytes = products * dtype_bytes(kv_b.dtype) + uint64_t{tokens} * count * (latent + value_width) * dtype_bytes(u.dtype),
        .flops = 2 * products};
    VL2_TRY(rec.dispatch(
        act_weight_variant(ShaderId::mla_expand_value_f32_f32, u.dtype, kv_b.dtype), {u_bound.view, weight.view, y_bound.view},
        params, Groups{.x = (value_width + MLA_EXPAND_VALUE_ROWS - 1) / MLA_EXPAND_VALUE_ROWS, .y = count, .z = tokens}, cost));
  }
  return {};
}

}  // namespace vl2
