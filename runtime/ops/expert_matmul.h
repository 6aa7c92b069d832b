// Matrix multiplication of every (token, expert) pair with its expert's weight.
#pragma once

#include "runtime/ops/expert_schedule.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Which row of x a slot multiplies.
enum class ExpertRows : uint32_t {
  Tokens,  ///< its pair's token: slot_pair[slot] / top_k (gate and up, whose input is the token itself)
  Slots,   ///< its own: slot (down, whose input is what gate and up made of the slot)
};

/// Records y[s, :] = weight[e(s)] x[row(s), :] for every slot s of the schedule.
///
/// x         [rows, K] f32 or f16 (the activation type), rows strided, any offset; rows is token_count (Tokens) or token_count *
/// top_k (Slots) weight    [E, N, K] of any weight format; row stride a multiple of 8, zeros beyond K; offset aligned; may be
/// larger than one
///           binding, as long as one expert is not
/// schedule  of these tokens; E = offsets.dim(0) - 1
/// top_k     choices a token
/// y         [token_count * top_k, N] f32 or the dtype of x, rows strided, any offset; f16 saturates
/// Errors    BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost      2 token_count top_k N K flops; reads the weight of every expert that was chosen at least once
/// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
Status expert_matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     ExpertRows rows, const TensorView& y);

}  // namespace vl2
