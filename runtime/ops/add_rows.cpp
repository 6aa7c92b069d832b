#include "runtime/ops/add_rows.h"

#include "runtime/ops/flat_groups.h"
#include "runtime/ops/row_matrix.h"
#include "shaders/interface/add_rows.h"

namespace vl2 {

Status add_rows(Recorder& rec, const TensorView& x, const TensorView& rows_to_add) {
  if (x.dtype != DType::F32 || rows_to_add.dtype != DType::F32)
    return fail(Code::BadDType, "add_rows: x and rows_to_add must be f32, got ", x, ", ", rows_to_add);
  if (!is_row_matrix(x))
    return fail(Code::BadShape, "add_rows: x ", x, " must be [rows, width], rows adjacent inside");
  if (!is_row_matrix(rows_to_add) || rows_to_add.dim(0) == 0 || rows_to_add.dim(1) != x.dim(1))
    return fail(Code::BadShape, "add_rows: rows_to_add ", rows_to_add, " must be [at least 1, ", x.dim(1), "], the width of x");
  const uint64_t count = x.element_count();
  if (count == 0)
    return {};

  const AlignedView added_bound = rec.aligned(rows_to_add), x_bound = rec.aligned(x);
  const AddRowsParams params{.count = static_cast<uint32_t>(count),
                             .width = x.dim(1),
                             .period = rows_to_add.dim(0),
                             .added_row_stride = rows_to_add.stride(0),
                             .added_offset = added_bound.remainder,
                             .x_row_stride = x.stride(0),
                             .x_offset = x_bound.remainder};
  const Cost cost{.bytes = count * 8 + rows_to_add.element_count() * 4, .flops = count};
  return rec.dispatch(ShaderId::add_rows, {added_bound.view, x_bound.view}, params,
                      flat_groups((count + ADD_ROWS_THREADS - 1) / ADD_ROWS_THREADS), cost);
}

}  // namespace vl2
