// Matrix multiplication of every (token, expert) pair with its expert's weight.
#pragma once

#include "runtime/ops/expert_schedule.h"
#include "runtime/recorder.h"
#include "runtime/tuning.h"

namespace vl2 {

/// Which row of x a slot multiplies.
enum class ExpertRows : uint32_t {
  Tokens,  ///< its pair's token: slot_pair[slot] / top_k (gate and up, whose input is the token itself)
  Slots,   ///< its own: slot (down, whose input is what gate and up made of the slot)
};

/// Records y[s, :] = weight[e(s)] x[row(s), :] for every slot s of the schedule.
///
/// x         [rows, K] f32 or f16 (the activation type), rows strided, any offset; rows is token_count (Tokens) or token_count *
///           top_k (Slots)
/// weight    [E, N, K] of any weight format; row stride a multiple of 8, zeros beyond K; offset aligned; may be larger than one
///           binding, as long as one expert is not
/// schedule  of these tokens; E = offsets.dim(0) - 1; with a command for expert_tiles(), only workgroups that have a tile run
/// top_k     choices a token
/// y         [token_count * top_k, N] f32 or the dtype of x, rows strided, any offset; f16 saturates
/// plan      for measurements: instead of what tuning.h chooses
/// bytes     scratch: at least expert_bytes_words() u32 from a 256-byte boundary, or empty: x is not rounded to bytes
/// Errors    BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost      2 token_count top_k N K flops; reads the weight of every expert that was chosen at least once
/// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
Status expert_matmul(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     ExpertRows rows, const TensorView& y, const MatmulPlan* plan = nullptr, const TensorView& bytes = {});

/// The tiles that expert_matmul (gated: expert_swiglu) divides such a product into, for ExpertSchedule::tiles; none where it uses
/// none. It is to get as many `bytes` as it wants.
ExpertTiles expert_tiles(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots, bool gated,
                         const MatmulPlan* plan = nullptr);

/// u32 elements of scratch with which expert_matmul and expert_swiglu round x to bytes where products of those are faster: 0 where
/// they are not.
uint32_t expert_bytes_words(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots);

/// Records y[s, :] = silu(gate) * up with (gate, up) = weight[e(s)] x[token of s, :] for every slot s: in one dispatch on matrix
/// units, else as expert_matmul and swiglu.
///
/// x        [token_count, K] as in expert_matmul
/// weight   [E, 2 I, K] as in expert_matmul: an expert's rows of gate, then those of up
/// gate_up  [token_count * top_k, 2 I] f32 or the dtype of x: scratch, touched only if expert_swiglu_needs_gate_up(); else it may
///          be empty
/// y        [token_count * top_k, I] as in expert_matmul; plan and bytes, too
/// Errors   BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Source   DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward of every expert
Status expert_swiglu(Recorder& rec, const TensorView& x, const TensorView& weight, const ExpertSchedule& schedule, uint32_t top_k,
                     const TensorView& gate_up, const TensorView& y, const MatmulPlan* plan = nullptr,
                     const TensorView& bytes = {});
bool expert_swiglu_needs_gate_up(Recorder& rec, const TensorView& x, const TensorView& weight, uint32_t slots);

}  // namespace vl2
