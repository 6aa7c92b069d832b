#include "runtime/ops/expert_matmul.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/tuning.h"
#include "shaders/interface/expert_matmul.h"

namespace vl2 {

namespace {

bool is_u32_list(const TensorView& view) {
  return view.dtype == DType::U32 && view.rank() == 1 && view.stride(0) == 1;
}

Status check_shapes(const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                    ExpertRows rows, const TensorView& y) {
  if (!is_u32_list(schedule.slot_pair) || top_k == 0 || schedule.slot_pair.dim(0) % top_k != 0)
    return fail(Code::BadShape, "expert_matmul: slot_pair ", schedule.slot_pair, " must be u32, a multiple of top_k ", top_k,
                " long");
  const uint32_t slots = schedule.slot_pair.dim(0);
  if (!is_u32_list(schedule.offsets) || schedule.offsets.dim(0) != uint64_t{weight.dim(0)} + 1)
    return fail(Code::BadShape, "expert_matmul: offsets ", schedule.offsets, " must be u32, one more than the ", weight.dim(0),
                " experts of the weight");
  const uint32_t x_rows = rows == ExpertRows::Tokens ? slots / top_k : slots;
  if (x.rank() != 2 || x.dim(0) != x_rows || x.stride(1) != 1)
    return fail(Code::BadShape, "expert_matmul: x ", x, " must be [", x_rows, ", K], the elements of a row adjacent");
  if (weight.dim(2) != x.dim(1))
    return fail(Code::BadShape, "expert_matmul: weight ", weight, " must be [E, N, ", x.dim(1), "], as wide as x");
  if (y.rank() != 2 || y.dim(0) != slots || y.dim(1) != weight.dim(1) || y.stride(1) != 1)
    return fail(Code::BadShape, "expert_matmul: y ", y, " must be [", slots, ", ", weight.dim(1),
                "], the elements of a row adjacent");
  if (x.dtype != DType::F32 && x.dtype != DType::F16)
    return fail(Code::BadDType, "expert_matmul: x ", x, " must be f32 or f16");
  if (y.dtype != DType::F32 && y.dtype != x.dtype)
    return fail(Code::BadDType, "expert_matmul: y ", y, " must be f32 or have the dtype of x ", x);
  return {};
}

uint32_t groups_of(uint32_t count, uint32_t size) {
  return (count + size - 1) / size;
}

}  // namespace

Status expert_matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     ExpertRows rows, const TensorView& y) {
  VL2_TRY(check_weight("expert_matmul", weight, 3));
  VL2_TRY(check_shapes(x, weight, schedule, top_k, rows, y));
  const uint32_t slots = y.dim(0), experts = weight.dim(0), columns = weight.dim(1), k = x.dim(1);
  if (slots == 0)
    return {};
  const DeviceCaps& caps = rec.device().caps();
  const MatmulPlan plan = plan_expert_matmul(caps, rec.device().quirks(), slots, experts);
  const bool gemv = plan.kernel == MatmulKernel::Gemv;
  const uint64_t expert_bytes = uint64_t{weight.stride(0)} * dtype_bytes(weight.dtype);
  const uint32_t piece_experts =
      pieces_per_binding(experts, expert_bytes, rec.max_binding_bytes(), caps.storage_buffer_alignment);
  if (piece_experts == 0)
    return fail(Code::BadShape, "expert_matmul: weight ", weight, ": one binding takes ", rec.max_binding_bytes(),
                " bytes, too few for its experts");
  const uint32_t groups_x = groups_of(columns, gemv ? plan.group.columns : plan.tile.columns());
  const uint64_t groups_y = gemv ? slots : uint64_t{slots} / plan.tile.rows() + piece_experts;
  if (groups_x > caps.max_groups[0] || groups_y > caps.max_groups[1])
    return fail(Code::BadShape, "expert_matmul: y ", y, " is more than one dispatch takes here");

  const AlignedView x_bound = rec.aligned(x), y_bound = rec.aligned(y);
  const AlignedView slot_pair = rec.aligned(schedule.slot_pair), offsets = rec.aligned(schedule.offsets);
  ExpertMatmulParams params{.first_expert = 0,
                            .end_expert = 0,
                            .columns = columns,
                            .k = k,
                            .row_divisor = rows == ExpertRows::Tokens ? top_k : 0,
                            .x_row_stride = x.stride(0),
                            .x_offset = x_bound.remainder,
                            .weight_row_stride = weight.stride(1),
                            .weight_expert_stride = weight.stride(0),
                            .y_row_stride = y.stride(0),
                            .y_offset = y_bound.remainder,
                            .y_is_f32 = y.dtype == DType::F32,
                            .slot_pair_offset = slot_pair.remainder,
                            .offsets_offset = offsets.remainder};
  const uint32_t x_rows_aligned = x_bound.remainder % 4 == 0 && k % 4 == 0 && (x.dim(0) == 1 || x.stride(0) % 4 == 0);
  const ShaderId shader =
      act_weight_variant(gemv ? ShaderId::expert_gemv_f32_f32 : ShaderId::expert_gemm_tiled_f32_f32, x.dtype, weight.dtype);
  for (uint32_t first = 0; first < experts; first += piece_experts) {
    const uint32_t count = std::min(piece_experts, experts - first);
    params.first_expert = first;
    params.end_expert = first + count;
    const std::initializer_list<TensorView> tensors = {x_bound.view, weight_piece(weight, first, count), slot_pair.view,
                                                       offsets.view, y_bound.view};
    const Groups groups{.x = groups_x, .y = static_cast<uint32_t>(gemv ? slots : slots / plan.tile.rows() + count)};
    // As if the slots were spread evenly; at most as many experts are read as there are slots.
    const uint64_t results = uint64_t{slots} * columns * count / experts;
    const Cost cost{.bytes = expert_bytes * std::min(slots, experts) * count / experts +
                             x.element_count() * dtype_bytes(x.dtype) + results * dtype_bytes(y.dtype),
                    .flops = 2 * results * k};
    VL2_TRY(
        gemv ? rec.dispatch(shader, tensors, params, groups, cost, {plan.group.threads, plan.group.columns, 0, 0, x_rows_aligned})
             : rec.dispatch(shader, tensors, params, groups, cost,
                            {plan.tile.threads_along_columns, plan.tile.threads_along_rows, plan.tile.rows_per_thread,
                             plan.tile.columns_per_thread, x_rows_aligned, plan.tile.through_shared}));
  }
  return {};
}

}  // namespace vl2
