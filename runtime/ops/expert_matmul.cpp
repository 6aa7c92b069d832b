#include "runtime/ops/expert_matmul.h"

#include <algorithm>

#include "runtime/device.h"
#include "runtime/ops/matmul_launch.h"
#include "runtime/ops/swiglu.h"
#include "runtime/ops/weight_matrix.h"
#include "runtime/tuning.h"
#include "shaders/interface/expert_matmul.h"

namespace vl2 {

namespace {

bool is_u32_list(const TensorView& view) {
  return view.dtype == DType::U32 && view.rank() == 1 && view.stride(0) == 1;
}

Status check_shapes(const TensorView& x, const TensorView& weight, uint32_t columns, const ExpertSchedule& schedule,
                    uint32_t top_k, ExpertRows rows, const TensorView& y) {
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
  if (y.rank() != 2 || y.dim(0) != slots || y.dim(1) != columns || y.stride(1) != 1)
    return fail(Code::BadShape, "expert_matmul: y ", y, " must be [", slots, ", ", columns, "], the elements of a row adjacent");
  if (x.dtype != DType::F32 && x.dtype != DType::F16)
    return fail(Code::BadDType, "expert_matmul: x ", x, " must be f32 or f16");
  if (y.dtype != DType::F32 && y.dtype != x.dtype)
    return fail(Code::BadDType, "expert_matmul: y ", y, " must be f32 or have the dtype of x ", x);
  return {};
}

constexpr MatmulShaders kShaders{ShaderId::expert_gemv_f32_f32,        ShaderId::expert_gemm_tiled_f32_f32,
                                 ShaderId::expert_gemm_direct_f32_f32, ShaderId::expert_gemm_coopmat_f16,
                                 ShaderId::expert_gemm_dot_q8_0,       {}};

MatmulPlan choose_plan(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots, bool gated, bool bytes) {
  const Device& device = rec.device();
  MatmulProblem problem = matmul_problem(x, weight, slots, gated);
  problem.bytes = bytes;
  return plan_expert_matmul(device.caps(), device.quirks(), device.tier(), problem, weight.dim(0), device.tuning());
}

// Gated: an expert's weight holds gate's rows, then up's, and y = silu(gate) * up.
Status record(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
              ExpertRows rows, const TensorView& y, const MatmulPlan& plan, bool gated, const TensorView& bytes) {
  const uint32_t slots = y.dim(0), experts = weight.dim(0), columns = y.dim(1), k = x.dim(1);
  const DeviceCaps& caps = rec.device().caps();
  const auto [group_columns, group_rows] = matmul_group(plan, gated);
  const bool gemv = plan.kernel == MatmulKernel::Gemv;
  const uint32_t piece_experts = weight_piece_entries(rec, weight, experts);
  if (piece_experts == 0)
    return fail(Code::BadShape, "expert_matmul: weight ", weight, ": one binding takes ", rec.max_binding_bytes(),
                " bytes, too few for its experts");
  const uint32_t groups_x = groups_of(columns, group_columns);
  // Tiles at worst: the whole ones, and an incomplete one an expert.
  const uint64_t groups_y = gemv ? slots : uint64_t{slots} / group_rows + piece_experts;
  if (groups_x > caps.max_groups[0] || groups_y > caps.max_groups[1])
    return fail(Code::BadShape, "expert_matmul: y ", y, " is more than one dispatch takes here");

  VL2_ASSIGN(const MatmulInput input, matmul_input(rec, plan, x, weight, bytes));
  const AlignedView y_bound = rec.aligned(y);
  const AlignedView slot_pair = rec.aligned(schedule.slot_pair), offsets = rec.aligned(schedule.offsets);
  ExpertMatmulParams params{.first_expert = 0,
                            .end_expert = 0,
                            .columns = columns,
                            .k = k,
                            .row_divisor = rows == ExpertRows::Tokens ? top_k : 0,
                            .x_row_stride = input.row_stride,
                            .x_offset = input.offset,
                            .weight_row_stride = weight.stride(1),
                            .weight_expert_stride = weight.stride(0),
                            .y_row_stride = y.stride(0),
                            .y_offset = y_bound.remainder,
                            .y_is_f32 = y.dtype == DType::F32,
                            .slot_pair_offset = slot_pair.remainder,
                            .offsets_offset = offsets.remainder,
                            .up_offset = gated ? columns * weight.stride(1) : 0};
  const MatmulLaunch launch{.plan = plan,
                            .x = x.dtype,
                            .weight = weight.dtype,
                            .activation = 0,
                            .x_alignment = row_alignment(x, input.offset),
                            .y_quads = starts_quads(y, y_bound.remainder),
                            .gated = gated,
                            .whole_steps = has_whole_steps(plan, k, k)};
  for (uint32_t first = 0; first < experts; first += piece_experts) {
    const uint32_t count = std::min(piece_experts, experts - first);
    params.first_expert = first;
    params.end_expert = first + count;
    Groups groups{.x = groups_x, .y = gemv ? slots : slots / group_rows + count};
    if (!gemv && count == experts)
      groups.command = schedule.command({group_rows, groups_x});
    // As if the slots were spread evenly; at most as many experts are read as there are slots.
    const uint64_t results = uint64_t{slots} * columns * count / experts;
    const Cost cost{.bytes = weight_cost_bytes(weight, weight.stride(0)) * std::min(slots, experts) * count / experts +
                             x.element_count() * dtype_bytes(x.dtype) + results * dtype_bytes(y.dtype),
                    .flops = 2 * results * k * (gated ? 2 : 1)};
    const WeightPiece piece = weight_piece(weight, first, count);
    VL2_TRY(dispatch_matmul(rec, kShaders, launch, params,
                            {input.x, piece.codes, slot_pair.view, offsets.view, y_bound.view, piece.scales, input.numbers},
                            groups, cost));
  }
  return {};
}

}  // namespace

Status expert_matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     ExpertRows rows, const TensorView& y, const MatmulPlan* plan, const TensorView& bytes) {
  VL2_TRY(check_weight("expert_matmul", weight, 3, Blocks::Yes));
  VL2_TRY(check_shapes(x, weight, weight.dim(1), schedule, top_k, rows, y));
  if (y.dim(0) == 0)
    return {};
  const MatmulPlan chosen = plan != nullptr ? *plan : choose_plan(rec, x, weight, y.dim(0), false, holds_bytes(rec, bytes, x));
  return record(rec, x, weight, schedule, top_k, rows, y, chosen, false, bytes);
}

ExpertTiles expert_tiles(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots, bool gated,
                         const MatmulPlan* plan) {
  const bool bytes = bytes_words(rec, x) > 0;
  const MatmulPlan chosen = plan != nullptr ? *plan : choose_plan(rec, x, weight, slots, gated, bytes);
  const bool fused = gated && chosen.kernel == MatmulKernel::GemmCoopmat;  // else gate's columns and up's, one product
  const auto [columns, rows] = matmul_group(chosen, fused);
  if (chosen.kernel == MatmulKernel::Gemv)
    return {};
  return {rows, groups_of(fused ? weight.dim(1) / 2 : weight.dim(1), columns)};
}

uint32_t expert_bytes_words(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots) {
  return choose_plan(rec, x, weight, slots, false, true).kernel == MatmulKernel::GemmDot ? bytes_words(rec, x) : 0;
}

bool expert_swiglu_needs_gate_up(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots) {
  return choose_plan(rec, x, weight, slots, true, false).kernel != MatmulKernel::GemmCoopmat;
}

Status expert_swiglu(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     const TensorView& gate_up, const TensorView& y, const MatmulPlan* plan, const TensorView& bytes) {
  VL2_TRY(check_weight("expert_swiglu", weight, 3, Blocks::Yes));
  if (weight.dim(1) % 2 != 0)
    return fail(Code::BadShape, "expert_swiglu: weight ", weight, " must be [E, 2 I, K], gate's rows, then up's");
  VL2_TRY(check_shapes(x, weight, weight.dim(1) / 2, schedule, top_k, ExpertRows::Tokens, y));
  if (y.dim(0) == 0)
    return {};
  if (plan == nullptr && expert_swiglu_needs_gate_up(rec, x, weight, y.dim(0))) {
    VL2_TRY(expert_matmul(rec, x, weight, schedule, top_k, ExpertRows::Tokens, gate_up, nullptr, bytes));
    return swiglu(rec, gate_up, y);
  }
  return record(rec, x, weight, schedule, top_k, ExpertRows::Tokens, y,
                plan != nullptr ? *plan : choose_plan(rec, x, weight, y.dim(0), true, false), true, {});
}

}  // namespace vl2
