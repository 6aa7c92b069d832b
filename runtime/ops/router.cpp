#include "runtime/ops/router.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "shaders/interface/router.h"

namespace vl2 {

static_assert(kRouterMaxExperts == ROUTER_MAX_EXPERTS && kRouterMaxTopK == ROUTER_MAX_TOP_K);

Status router(Recorder& rec, const TensorView& logits, const TensorView& bias, const RouterOptions& options,
              const TensorView& ids, const TensorView& weights) {
  if (logits.rank() != 2 || logits.stride(1) != 1 || logits.dim(1) == 0 || logits.dim(1) > kRouterMaxExperts)
    return fail(Code::BadShape, "router: logits ", logits, " must be [tokens, experts], experts adjacent and 1 .. ",
                kRouterMaxExperts);
  const uint32_t token_count = logits.dim(0), expert_count = logits.dim(1);
  if (options.top_k == 0 || options.top_k > kRouterMaxTopK || options.top_k > expert_count)
    return fail(Code::BadArgument, "router: top_k ", options.top_k, " must be 1 .. ", std::min(kRouterMaxTopK, expert_count));
  if (!std::isfinite(options.routed_scaling_factor))
    return fail(Code::BadArgument, "router: routed_scaling_factor ", options.routed_scaling_factor, " must be finite");
  if (!bias.empty() && (bias.rank() != 1 || bias.dim(0) != expert_count || !bias.contiguous()))
    return fail(Code::BadShape, "router: bias ", bias, " must be [", expert_count, "], a value an expert");
  for (const auto& [name, view] : {std::pair{"ids", &ids}, std::pair{"weights", &weights}})
    if (view->rank() != 2 || view->dim(0) != token_count || view->dim(1) != options.top_k || !view->contiguous())
      return fail(Code::BadShape, "router: ", name, " ", *view, " must be [", token_count, ", ", options.top_k, "], contiguous");
  if (logits.dtype != DType::F32 || (!bias.empty() && bias.dtype != DType::F32) || ids.dtype != DType::U32 ||
      weights.dtype != DType::F32)
    return fail(Code::BadDType, "router: logits, bias and weights must be f32 and ids u32, got logits ", logits, ", ids ", ids,
                ", weights ", weights);
  if (token_count == 0)
    return {};

  const AlignedView logits_bound = rec.aligned(logits), bias_bound = rec.aligned(bias), ids_bound = rec.aligned(ids),
                    weights_bound = rec.aligned(weights);
  const RouterParams params{.expert_count = expert_count,
                            .top_k = options.top_k,
                            .logits_row_stride = logits.stride(0),
                            .logits_offset = logits_bound.remainder,
                            .bias_offset = bias_bound.remainder,
                            .ids_offset = ids_bound.remainder,
                            .weights_offset = weights_bound.remainder,
                            .has_bias = bias.empty() ? 0u : 1u,
                            .sigmoid = options.scoring == Scoring::Sigmoid ? 1u : 0u,
                            .normalise = options.norm_topk_prob ? 1u : 0u,
                            .factor = options.routed_scaling_factor};
  const Cost cost{.bytes = 4 * logits.element_count() + 8 * ids.element_count(),
                  .flops = logits.element_count() * (expert_count + 8)};  // ranks are counted against every other expert
  return rec.dispatch(ShaderId::router, {logits_bound.view, bias_bound.view, ids_bound.view, weights_bound.view}, params,
                      Groups{.x = token_count}, cost);
}

}  // namespace vl2
