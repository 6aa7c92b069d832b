#include "runtime/ops/expert_combine.h"

#include "shaders/interface/expert_combine.h"

namespace vl2 {

namespace {

bool is_act(const TensorView& view) {
  return view.dtype == DType::F32 || view.dtype == DType::F16;
}

Status check(const TensorView& x, const TensorView& pair_slot, const TensorView& weights, const TensorView& shared,
             const TensorView& residual) {
  if (residual.rank() != 2 || residual.stride(1) != 1 || residual.dim(1) == 0)
    return fail(Code::BadShape, "expert_combine: residual ", residual, " must be [tokens, width], rows adjacent inside");
  const uint32_t token_count = residual.dim(0), width = residual.dim(1);
  if (weights.rank() != 2 || weights.dim(0) != token_count || weights.dim(1) == 0 || !weights.contiguous())
    return fail(Code::BadShape, "expert_combine: weights ", weights, " must be [", token_count, ", top_k], contiguous");
  const uint64_t pair_count = weights.element_count();
  if (x.rank() != 2 || x.dim(0) != pair_count || x.dim(1) != width || x.stride(1) != 1)
    return fail(Code::BadShape, "expert_combine: x ", x, " must be [", pair_count, ", ", width,
                "], tokens * top_k rows as wide as residual");
  if (x.span_elements() >= uint64_t{1} << 32)
    return fail(Code::BadShape, "expert_combine: x ", x, " must span less than 2^32 elements");
  if (pair_slot.rank() != 1 || pair_slot.dim(0) != pair_count || !pair_slot.contiguous())
    return fail(Code::BadShape, "expert_combine: pair_slot ", pair_slot, " must be [", pair_count, "], tokens * top_k");
  if (!shared.empty() && (!same_shape(shared, residual) || shared.stride(1) != 1))
    return fail(Code::BadShape, "expert_combine: shared ", shared, " must be ", residual, "'s shape, rows adjacent inside");
  if (!is_act(x) || (!shared.empty() && !is_act(shared)))
    return fail(Code::BadDType, "expert_combine: x ", x, " and shared ", shared, " must be f32 or f16");
  if (pair_slot.dtype != DType::U32 || weights.dtype != DType::F32 || residual.dtype != DType::F32)
    return fail(Code::BadDType, "expert_combine: pair_slot must be u32, weights and residual f32, got ", pair_slot, ", ", weights,
                ", ", residual);
  return {};
}

}  // namespace

Status expert_combine(Recorder& rec, const TensorView& x, const TensorView& pair_slot, const TensorView& weights,
                      const TensorView& shared, const TensorView& residual) {
  VL2_TRY(check(x, pair_slot, weights, shared, residual));
  const uint32_t token_count = residual.dim(0), width = residual.dim(1);
  if (token_count == 0)
    return {};

  const AlignedView x_bound = rec.aligned(x), pair_slot_bound = rec.aligned(pair_slot), weights_bound = rec.aligned(weights),
                    shared_bound = rec.aligned(shared), residual_bound = rec.aligned(residual);
  const ExpertCombineParams params{.width = width,
                                   .top_k = weights.dim(1),
                                   .x_row_stride = x.stride(0),
                                   .shared_row_stride = shared.empty() ? 0 : shared.stride(0),
                                   .residual_row_stride = residual.stride(0),
                                   .x_offset = x_bound.remainder,
                                   .pair_slot_offset = pair_slot_bound.remainder,
                                   .weights_offset = weights_bound.remainder,
                                   .shared_offset = shared_bound.remainder,
                                   .residual_offset = residual_bound.remainder,
                                   .x_is_f32 = x.dtype == DType::F32 ? 1u : 0u,
                                   .shared_is_f32 = shared.dtype == DType::F32 ? 1u : 0u,
                                   .has_shared = shared.empty() ? 0u : 1u};
  const bool any_f16 = x.dtype == DType::F16 || (!shared.empty() && shared.dtype == DType::F16);
  const uint64_t shared_bytes = shared.empty() ? 0 : shared.element_count() * dtype_bytes(shared.dtype);
  const Cost cost{.bytes = x.element_count() * dtype_bytes(x.dtype) + shared_bytes + 8 * residual.element_count(),
                  .flops = 2 * x.element_count()};
  return rec.dispatch(act_variant(ShaderId::expert_combine_f32, any_f16 ? DType::F16 : DType::F32),
                      {x_bound.view, pair_slot_bound.view, weights_bound.view, shared_bound.view, residual_bound.view}, params,
                      Groups{.x = (width + EXPERT_COMBINE_THREADS - 1) / EXPERT_COMBINE_THREADS, .y = token_count}, cost);
}

}  // namespace vl2
