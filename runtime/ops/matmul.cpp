#include "runtime/ops/matmul.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/tuning.h"
#include "shaders/interface/matmul.h"

namespace vl2 {

namespace {

static_assert(MATMUL_GELU_TANH == static_cast<uint32_t>(Activation::GeluTanh));
static_assert(MATMUL_GELU_ERF == static_cast<uint32_t>(Activation::GeluErf));

Status check_shapes(const TensorView& x, const TensorView& weight, const TensorView& y, const MatmulOptions& options) {
  if (x.rank() != 2 || x.stride(1) != 1)
    return fail(Code::BadShape, "matmul: x ", x, " must be [M, K], the elements of a row adjacent");
  if (weight.dim(1) != x.dim(1))
    return fail(Code::BadShape, "matmul: weight ", weight, " must be [N, ", x.dim(1), "], as wide as x");
  if (y.rank() != 2 || y.dim(0) != x.dim(0) || y.dim(1) != weight.dim(0) || y.stride(1) != 1)
    return fail(Code::BadShape, "matmul: y ", y, " must be [", x.dim(0), ", ", weight.dim(0),
                "], the elements of a row adjacent");
  if (x.dtype != DType::F32 && x.dtype != DType::F16)
    return fail(Code::BadDType, "matmul: x ", x, " must be f32 or f16");
  if (y.dtype != DType::F32 && y.dtype != x.dtype)
    return fail(Code::BadDType, "matmul: y ", y, " must be f32 or have the dtype of x ", x);
  const TensorView& bias = options.bias;
  if (!bias.empty() && (bias.rank() != 1 || bias.dim(0) != weight.dim(0) || bias.stride(0) != 1))
    return fail(Code::BadShape, "matmul: bias ", bias, " must be [", weight.dim(0), "]");
  const TensorView& residual = options.residual;
  if (!residual.empty() && (!same_shape(residual, y) || residual.stride(1) != 1))
    return fail(Code::BadShape, "matmul: residual ", residual, " must be [", y.dim(0), ", ", y.dim(1), "] like y");
  if ((!bias.empty() && bias.dtype != DType::F32) || (!residual.empty() && residual.dtype != DType::F32))
    return fail(Code::BadDType, "matmul: bias and residual must be f32");
  return {};
}

uint32_t groups_of(uint32_t count, uint32_t size) {
  return (count + size - 1) / size;
}

}  // namespace

Status matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y, const MatmulOptions& options) {
  VL2_TRY(check_weight("matmul", weight, 2));
  VL2_TRY(check_shapes(x, weight, y, options));
  if (x.dim(0) == 0)
    return {};
  const DeviceCaps& caps = rec.device().caps();
  const uint32_t rows = x.dim(0), columns = weight.dim(0), k = x.dim(1);
  const MatmulPlan plan = plan_matmul(caps, rec.device().quirks(), rows);
  const bool gemv = plan.kernel == MatmulKernel::Gemv;
  const uint32_t group_columns = gemv ? plan.group.columns : plan.tile.columns();
  const uint32_t groups_y = groups_of(rows, gemv ? plan.group.rows : plan.tile.rows());
  if (groups_y > caps.max_groups[1])
    return fail(Code::BadShape, "matmul: x ", x, " has more rows than one dispatch takes here: ", caps.max_groups[1], " times ",
                plan.tile.rows());
  const uint64_t row_bytes = uint64_t{weight.stride(0)} * dtype_bytes(weight.dtype);
  const uint64_t piece_bytes = std::min(rec.max_binding_bytes(), row_bytes * group_columns * caps.max_groups[0]);
  const uint32_t piece_columns = pieces_per_binding(columns, row_bytes, piece_bytes, caps.storage_buffer_alignment);
  if (piece_columns == 0)
    return fail(Code::BadShape, "matmul: weight ", weight, ": one binding takes ", rec.max_binding_bytes(),
                " bytes, too few for its rows");

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const AlignedView bias = options.bias.empty() ? AlignedView{} : rec.aligned(options.bias);
  const AlignedView residual = options.residual.empty() ? AlignedView{} : rec.aligned(options.residual);
  MatmulParams params{.rows = rows,
                      .columns = 0,
                      .k = k,
                      .first_column = 0,
                      .x_row_stride = x.stride(0),
                      .x_offset = x_bound.remainder,
                      .weight_row_stride = weight.stride(0),
                      .y_row_stride = y.stride(0),
                      .y_offset = y_bound.remainder,
                      .y_is_f32 = y.dtype == DType::F32,
                      .has_bias = !options.bias.empty(),
                      .bias_offset = bias.remainder,
                      .has_residual = !options.residual.empty(),
                      .residual_row_stride = options.residual.empty() ? 0 : options.residual.stride(0),
                      .residual_offset = residual.remainder};
  const uint32_t activation = static_cast<uint32_t>(options.activation);
  const uint32_t x_rows_aligned = x_bound.remainder % 4 == 0 && k % 4 == 0 && (rows == 1 || x.stride(0) % 4 == 0);
  const ShaderId shader = act_weight_variant(gemv ? ShaderId::gemv_f32_f32 : ShaderId::gemm_tiled_f32_f32, x.dtype, weight.dtype);
  for (uint32_t first = 0; first < columns; first += piece_columns) {
    params.first_column = first;
    params.columns = std::min(piece_columns, columns - first);
    const std::initializer_list<TensorView> tensors = {x_bound.view, weight_piece(weight, first, params.columns), bias.view,
                                                       residual.view, y_bound.view};
    const Groups groups{.x = groups_of(params.columns, group_columns), .y = groups_y};
    const uint64_t results = uint64_t{rows} * params.columns;
    const Cost cost{.bytes = row_bytes * params.columns + x.element_count() * dtype_bytes(x.dtype) +
                             results * (dtype_bytes(y.dtype) + (params.has_residual != 0 ? 4 : 0)),
                    .flops = 2 * results * k};
    VL2_TRY(gemv ? rec.dispatch(shader, tensors, params, groups, cost,
                                {plan.group.threads, plan.group.columns, plan.group.rows, 0, x_rows_aligned, 0, activation})
                 : rec.dispatch(shader, tensors, params, groups, cost,
                                {plan.tile.threads_along_columns, plan.tile.threads_along_rows, plan.tile.rows_per_thread,
                                 plan.tile.columns_per_thread, x_rows_aligned, plan.tile.through_shared, activation}));
  }
  return {};
}

}  // namespace vl2
