#include "runtime/ops/matmul.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/flat_groups.h"
#include "runtime/ops/matmul_launch.h"
#include "runtime/ops/swiglu.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/tuning.h"
#include "runtime/weight_format.h"
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

constexpr MatmulShaders kShaders{ShaderId::gemv_f32_f32,     ShaderId::gemm_tiled_f32_f32, ShaderId::gemm_direct_f32_f32,
                                 ShaderId::gemm_coopmat_f16, ShaderId::gemm_dot_q8_0,      ShaderId::gemm_coopmat2};

// What there is scratch for.
struct Room {
  bool slices = false, bytes = false;
};

MatmulPlan choose_plan(Recorder& rec, const TensorView& x, const TensorView& weight, bool gated, Room room = {}) {
  const Device& device = rec.device();
  MatmulProblem problem = matmul_problem(x, weight, x.dim(0), gated);
  problem.sliced = room.slices;
  problem.bytes = room.bytes;
  return plan_matmul(device.caps(), device.quirks(), device.tier(), problem, device.tuning());
}

// A row of the slices' sums: at a multiple of 16 bytes.
uint32_t slices_pitch(uint32_t columns) {
  return (columns + 3) / 4 * 4;
}

uint64_t slices_elements(const MatmulPlan& plan, const TensorView& x, const TensorView& weight) {
  const uint32_t k = x.dim(1), slices = groups_of(k, slice_width(plan, k));
  return slices < 2 ? 0 : uint64_t{slices} * x.dim(0) * slices_pitch(weight.dim(0));
}

// y = activation(x W^T + bias) + residual; with a k_slice below k, y holds the products of the slices, one below the other; gated:
// y = silu(x W_gate^T) * (x W_up^T), the weight holding gate's rows, then up's.
Status record(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y, const MatmulOptions& options,
              const MatmulPlan& plan, bool gated, uint32_t k_slice) {
  const DeviceCaps& caps = rec.device().caps();
  const uint32_t rows = x.dim(0), columns = y.dim(1), k = x.dim(1), slices = groups_of(k, k_slice);
  const auto [group_columns, group_rows] = matmul_group(plan, gated);
  const uint32_t groups_y = groups_of(rows, group_rows);
  if (groups_y > caps.max_groups[1])
    return fail(Code::BadShape, "matmul: x ", x, " has more rows than one dispatch takes here: ", caps.max_groups[1], " times ",
                group_rows);
  const uint32_t piece_columns =
      gated ? columns : weight_piece_entries(rec, weight, uint64_t{group_columns} * caps.max_groups[0]);
  if (piece_columns == 0)
    return fail(Code::BadShape, "matmul: weight ", weight, ": one binding takes ", rec.max_binding_bytes(),
                " bytes, too few for its rows");

  const AlignedView y_bound = rec.aligned(y);
  const AlignedView bias = options.bias.empty() ? AlignedView{} : rec.aligned(options.bias);
  const AlignedView residual = options.residual.empty() ? AlignedView{} : rec.aligned(options.residual);
  VL2_ASSIGN(const MatmulInput input, matmul_input(rec, plan, x, weight, options.bytes));
  MatmulParams params{.rows = rows,
                      .columns = 0,
                      .k = k,
                      .first_column = 0,
                      .x_row_stride = input.row_stride,
                      .x_offset = input.offset,
                      .weight_row_stride = weight.stride(0),
                      .y_row_stride = y.stride(0),
                      .y_offset = y_bound.remainder,
                      .y_is_f32 = y.dtype == DType::F32,
                      .has_bias = !options.bias.empty(),
                      .bias_offset = bias.remainder,
                      .has_residual = !options.residual.empty(),
                      .residual_row_stride = options.residual.empty() ? 0 : options.residual.stride(0),
                      .residual_offset = residual.remainder,
                      .k_slice = k_slice,
                      .up_offset = gated ? columns * weight.stride(0) : 0};
  const MatmulLaunch launch{.plan = plan,
                            .x = x.dtype,
                            .weight = weight.dtype,
                            .activation = static_cast<uint32_t>(options.activation),
                            .x_alignment = row_alignment(x, input.offset),
                            .y_quads = (piece_columns == columns || piece_columns % 4 == 0) &&
                                       starts_quads(y, y_bound.remainder) &&
                                       (options.residual.empty() || starts_quads(options.residual, residual.remainder)),
                            .gated = gated,
                            .whole_steps = has_whole_steps(plan, k, k_slice)};
  for (uint32_t first = 0; first < columns; first += piece_columns) {
    const uint32_t count = std::min(piece_columns, columns - first), weight_rows = gated ? 2 * count : count;
    params.first_column = first;
    params.columns = count;
    const uint64_t results = uint64_t{rows} * slices * count;
    const Cost cost{.bytes = weight_cost_bytes(weight, uint64_t{weight.stride(0)} * weight_rows) +
                             x.element_count() * dtype_bytes(x.dtype) +
                             results * (dtype_bytes(y.dtype) + (options.residual.empty() ? 0 : 4)),
                    .flops = 2 * uint64_t{rows} * weight_rows * k};
    const WeightPiece piece = weight_piece(weight, first, weight_rows);
    VL2_TRY(dispatch_matmul(rec, kShaders, launch, params,
                            {input.x, piece.codes, bias.view, residual.view, y_bound.view, piece.scales, input.numbers},
                            Groups{.x = groups_of(count, group_columns), .y = groups_y, .z = slices}, cost));
  }
  return {};
}

// y = activation(sums of the slices + bias) + residual.
Status add_slices(Recorder& rec, const TensorView& sums, uint32_t slices, const TensorView& y, const MatmulOptions& options) {
  const AlignedView sums_bound = rec.aligned(sums), y_bound = rec.aligned(y);
  const AlignedView bias = options.bias.empty() ? AlignedView{} : rec.aligned(options.bias);
  const AlignedView residual = options.residual.empty() ? AlignedView{} : rec.aligned(options.residual);
  const uint32_t rows = y.dim(0), columns = y.dim(1);
  const MatmulParams params{.rows = rows,
                            .columns = columns,
                            .k = slices,
                            .first_column = 0,
                            .x_row_stride = sums.stride(0),
                            .x_offset = sums_bound.remainder,
                            .weight_row_stride = 0,
                            .y_row_stride = y.stride(0),
                            .y_offset = y_bound.remainder,
                            .y_is_f32 = y.dtype == DType::F32,
                            .has_bias = !options.bias.empty(),
                            .bias_offset = bias.remainder,
                            .has_residual = !options.residual.empty(),
                            .residual_row_stride = options.residual.empty() ? 0 : options.residual.stride(0),
                            .residual_offset = residual.remainder,
                            .k_slice = 0,
                            .up_offset = 0};
  const uint32_t y_quads =
      starts_quads(y, y_bound.remainder) && (options.residual.empty() || starts_quads(options.residual, residual.remainder));
  const uint64_t results = y.element_count();
  const Cost cost{.bytes = results * (4 * slices + dtype_bytes(y.dtype) + (options.residual.empty() ? 0 : 4)),
                  .flops = results * slices};
  return rec.dispatch(y.dtype == DType::F16 ? ShaderId::add_slices_f16 : ShaderId::add_slices_f32,
                      {sums_bound.view, {}, bias.view, residual.view, y_bound.view}, params,
                      flat_groups(groups_of(rows * groups_of(columns, 4), ADD_SLICES_THREADS)), cost,
                      {0, 0, 0, 0, 0, 0, static_cast<uint32_t>(options.activation), 0, 0, 0, 0, 0, y_quads});
}

}  // namespace

Status matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y, const MatmulOptions& options) {
  VL2_TRY(check_weight("matmul", weight, 2, Blocks::Yes));
  VL2_TRY(check_shapes(x, weight, y, options));
  if (x.dim(0) == 0)
    return {};
  const uint64_t room = options.slices.empty() ? 0 : options.slices.element_count();
  const MatmulPlan plan =
      options.plan != nullptr
          ? *options.plan
          : choose_plan(rec, x, weight, false, {.slices = room > 0, .bytes = holds_bytes(rec, options.bytes, x)});
  const uint64_t elements = slices_elements(plan, x, weight);
  if (elements > room || (room > 0 && (options.slices.dtype != DType::F32 || options.slices.offset % 4 != 0)))
    return fail(Code::BadShape, "matmul: slices ", options.slices, " must be ", elements, " f32 from a 16-byte boundary");
  const uint32_t k = x.dim(1), k_slice = slice_width(plan, k), slices = groups_of(k, k_slice);
  if (slices < 2)
    return record(rec, x, weight, y, options, plan, false, k);
  // The sums of a row are a little wider than y: add_slices loads four at a time, the last ones of the last row too.
  const TensorView sums =
      make_view(*options.slices.buffer, DType::F32, {slices * x.dim(0), slices_pitch(y.dim(1))}, options.slices.offset);
  TensorView products = sums;
  products.dims[1] = y.dim(1);
  VL2_TRY(record(rec, x, weight, products, {}, plan, false, k_slice));
  return add_slices(rec, sums, slices, y, options);
}

uint32_t matmul_slices_elements(Recorder& rec, const TensorView& x, const TensorView& weight) {
  if (x.dim(0) == 0)
    return 0;
  return static_cast<uint32_t>(slices_elements(choose_plan(rec, x, weight, false, {.slices = true}), x, weight));
}

uint32_t matmul_bytes_words(Recorder& rec, const TensorView& x, const TensorView& weight) {
  if (x.dim(0) == 0 || choose_plan(rec, x, weight, false, {.bytes = true}).kernel != MatmulKernel::GemmDot)
    return 0;
  return bytes_words(rec, x);
}

bool matmul_swiglu_needs_gate_up(Recorder& rec, const TensorView& x, const TensorView& weight) {
  const MatmulPlan plan = choose_plan(rec, x, weight, true);
  const uint64_t bytes = device_code_bytes(weight.dtype, uint64_t{weight.dim(0)} * weight.stride(0));
  const bool fuses = plan.kernel == MatmulKernel::GemmCoopmat || plan.kernel == MatmulKernel::GemmCoopmat2;
  return !fuses || bytes > rec.max_binding_bytes() ||
         groups_of(weight.dim(0) / 2, matmul_group(plan, true).columns) > rec.device().caps().max_groups[0];
}

Status matmul_swiglu(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& gate_up, const TensorView& y,
                     const MatmulPlan* plan, const TensorView& bytes) {
  VL2_TRY(check_weight("matmul_swiglu", weight, 2, Blocks::Yes));
  if (weight.dim(0) % 2 != 0)
    return fail(Code::BadShape, "matmul_swiglu: weight ", weight, " must be [2 I, K], gate's rows, then up's");
  TensorView up = weight;
  up.dims[0] = weight.dim(0) / 2;
  VL2_TRY(check_shapes(x, up, y, {}));
  if (x.dim(0) == 0)
    return {};
  if (plan == nullptr && matmul_swiglu_needs_gate_up(rec, x, weight)) {
    VL2_TRY(matmul(rec, x, weight, gate_up, {.bytes = bytes}));
    return swiglu(rec, gate_up, y);
  }
  return record(rec, x, weight, y, {}, plan != nullptr ? *plan : choose_plan(rec, x, weight, true), true, x.dim(1));
}

}  // namespace vl2
