// The weighted sum of the experts' outputs, added to the residual stream.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records residual[t] += weights[t, 0] * x[pair_slot[t * top_k]] + ... + weights[t, top_k - 1] * x[pair_slot[t * top_k + top_k -
/// 1]] + shared[t].
///
/// x          [token_count * top_k, width] f32 or f16: the experts' outputs by slot (ExpertSchedule); rows may be strided
/// pair_slot  [token_count * top_k] u32, each below token_count * top_k
/// weights    [token_count, top_k] f32, contiguous
/// shared     [token_count, width] f32 or f16, the shared experts' output; rows may be strided; or an empty view
/// residual   [token_count, width] f32, updated in place; rows may be strided
/// x, shared and residual may start at any offset.
/// Numbers    f32, in this order: j = 0 .. top_k - 1, then shared, then the residual
/// Errors     BadShape, BadDType: nothing is recorded
/// Cost       one dispatch; reads x, shared and residual once, writes residual once
/// Source     DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE.moe_infer
Status expert_combine(Recorder& rec, const TensorView& x, const TensorView& pair_slot, const TensorView& weights,
                      const TensorView& shared, const TensorView& residual);

}  // namespace vl2
