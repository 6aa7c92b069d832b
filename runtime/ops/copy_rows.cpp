#include "runtime/ops/copy_rows.h"

#include "runtime/ops/flat_groups.h"
#include "shaders/interface/copy_rows.h"

namespace vl2 {

Status copy_rows(Recorder& rec, const TensorView& x, const TensorView& y) {
  const uint32_t rank = x.rank();
  if ((rank != 2 && rank != 3) || !same_shape(x, y) || x.stride(rank - 1) != 1 || y.stride(rank - 1) != 1)
    return fail(Code::BadShape, "copy_rows: x ", x, " and y ", y,
                " must be the same [rows, width] or [rows, heads, width], elements of the last axis adjacent");
  if ((x.dtype != DType::F32 && x.dtype != DType::F16) || (y.dtype != DType::F32 && y.dtype != DType::F16))
    return fail(Code::BadDType, "copy_rows: x and y must be f32 or f16, got ", x, ", ", y);
  if (x.element_count() > UINT32_MAX)
    return fail(Code::BadShape, "copy_rows: x ", x, " must have fewer than 2^32 elements");
  if (x.element_count() == 0)
    return {};

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const bool any_f16 = x.dtype == DType::F16 || y.dtype == DType::F16;
  const CopyRowsParams params{.count = static_cast<uint32_t>(x.element_count()),
                              .heads = rank == 3 ? x.dim(1) : 1,
                              .width = x.dim(rank - 1),
                              .x_row_stride = x.stride(0),
                              .x_head_stride = rank == 3 ? x.stride(1) : 0,
                              .y_row_stride = y.stride(0),
                              .y_head_stride = rank == 3 ? y.stride(1) : 0,
                              .x_offset = x_bound.remainder,
                              .y_offset = y_bound.remainder,
                              .x_is_f32 = x.dtype == DType::F32,
                              .y_is_f32 = y.dtype == DType::F32};
  const Cost cost{.bytes = x.element_count() * (dtype_bytes(x.dtype) + dtype_bytes(y.dtype))};
  return rec.dispatch(act_variant(ShaderId::copy_rows_f32, any_f16 ? DType::F16 : DType::F32), {x_bound.view, y_bound.view},
                      params, flat_groups((x.element_count() + COPY_ROWS_THREADS - 1) / COPY_ROWS_THREADS), cost);
}

}  // namespace vl2
