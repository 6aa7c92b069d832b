// The gate of a mixture of experts: which experts a token goes to, and with what weight.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// How logits become scores.
enum class Scoring : uint8_t {
  Softmax,  ///< over all experts of the token
  Sigmoid,  ///< each expert by itself
};

struct RouterOptions {
  uint32_t top_k = 1;
  Scoring scoring = Scoring::Softmax;
  bool norm_topk_prob = false;  ///< divide the chosen scores by their sum
  float routed_scaling_factor = 1.0f;
};

constexpr uint32_t kRouterMaxExperts = 256;
constexpr uint32_t kRouterMaxTopK = 16;

/// Records the choice of top_k experts for each token.
///
///   choice  = score + bias
///   ids     = the top_k experts of highest choice, descending; equal choices: lower expert first; NaN comes last
///   weights = score[ids] (without bias) / (sum of them + 1e-20 if norm_topk_prob, else 1) * routed_scaling_factor
///
/// logits   [token_count, expert_count] f32; rows may be strided; expert_count <= 256
/// bias     [expert_count] f32 (e_score_correction_bias), or an empty view
/// ids      [token_count, top_k] u32, contiguous; top_k <= 16; always below expert_count, all different, whatever the logits
/// weights  [token_count, top_k] f32, contiguous; NaN where a logit of the token was NaN and the scoring spreads it
/// Errors   BadShape, BadDType, BadArgument: nothing is recorded
/// Cost     one dispatch, a workgroup a token
/// Source   DeepSeek-VL2 modeling_deepseek.py, MoEGate.forward (greedy and noaux_tc with one group)
Status router(Recorder& rec, const TensorView& logits, const TensorView& bias, const RouterOptions& options,
              const TensorView& ids, const TensorView& weights);

}  // namespace vl2
