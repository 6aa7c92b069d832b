#include "runtime/ops/decode_router.h"

#include "runtime/ops/weight_matrix.h"
#include "shaders/interface/decode_router.h"

namespace vl2 {

Status decode_router(Recorder& rec, const TensorView& x, const TensorView& norm, float eps, const TensorView& weight,
                     const TensorView& bias, const RouterOptions& options, const TensorView& logits, const TensorView& counter,
                     const TensorView& ids, const TensorView& weights, const DecodeGemvGroup& group) {
  VL2_TRY(check_weight("decode_router", weight, 2));
  const uint32_t experts = weight.dim(0), k = weight.dim(1), tokens = x.rank() == 2 ? x.dim(0) : 1;
  const auto is_vector = [](const TensorView& view, DType dtype, uint64_t count) {
    return view.dtype == dtype && view.contiguous() && view.element_count() == count;
  };
  if (weight.dtype != DType::F32 || k % 8 != 0 || experts > DECODE_ROUTER_MAX_EXPERTS)
    return fail(Code::BadShape, "decode_router: weight ", weight, " must be f32, at most [", DECODE_ROUTER_MAX_EXPERTS,
                ", a multiple of 8]");
  const bool x_fits = x.rank() == 2
                          ? x.dtype == DType::F32 && tokens > 0 && x.dim(1) == k && x.stride(1) == 1 && x.stride(0) % 8 == 0
                          : is_vector(x, DType::F32, k);
  if (!x_fits || !is_vector(norm, DType::F32, k))
    return fail(Code::BadShape, "decode_router: x ", x, " and norm ", norm, " must be [", k, "] f32");
  if (options.top_k == 0 || options.top_k > experts || options.top_k > DECODE_ROUTER_MAX_TOP_K)
    return fail(Code::BadShape, "decode_router: top_k ", options.top_k, " must be 1 .. ", DECODE_ROUTER_MAX_TOP_K, " of ",
                experts, " experts");
  if ((!bias.empty() && !is_vector(bias, DType::F32, experts)) || !is_vector(logits, DType::F32, uint64_t{tokens} * experts))
    return fail(Code::BadShape, "decode_router: bias ", bias, " and logits ", logits, " must be [", experts, "] f32");
  if (!is_vector(counter, DType::U32, tokens) || !is_vector(ids, DType::U32, uint64_t{tokens} * options.top_k) ||
      !is_vector(weights, DType::F32, uint64_t{tokens} * options.top_k))
    return fail(Code::BadShape, "decode_router: counter ", counter, ", ids ", ids, " and weights ", weights,
                " must be [1] u32, [top_k] u32 and [top_k] f32");
  const DecodeRouterParams params{.expert_count = experts,
                                  .top_k = options.top_k,
                                  .row_chunks = weight.stride(0) / 8,
                                  .has_bias = !bias.empty(),
                                  .sigmoid = options.scoring == Scoring::Sigmoid,
                                  .normalise = options.norm_topk_prob,
                                  .factor = options.routed_scaling_factor,
                                  .eps = eps,
                                  .x_token_eights = x.rank() == 2 ? x.stride(0) / 8 : 0};
  const uint64_t count = uint64_t{experts} * k;
  return rec.dispatch(
      ShaderId::decode_router, {x, norm, weight_piece(weight, 0, experts).codes, bias, logits, counter, ids, weights}, params,
      {.x = (experts + group.rows - 1) / group.rows, .z = tokens}, {.bytes = 4 * count * tokens, .flops = 2 * count * tokens},
      {group.threads, group.rows, group.unroll, group.one_subgroup, k / 8, 1u});
}

}  // namespace vl2
