// Multi-head latent attention, absorbed, first step: queries moved into the space of the latent.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y[t, h, :r] = sum over n of q[t, h, n] * kv_b[h * (nope + v) + n, :] for n < nope, and y[t, h, r:] = q[t, h, nope:].
/// rope follows from y's width less r, nope from q's width less rope, v from kv_b's rows.
///
/// q       [T, heads, nope + rope] f32 or f16; any strides but the last, which is 1, and any offset
/// kv_b    weight [heads * (nope + v), r], any weight format
/// y       [T, heads, r + rope], dtype and strides as q; must not overlap q
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads the nope rows of kv_b once per token: for few tokens
/// Source  DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (q_nope times W_UK)
Status mla_absorb_query(Recorder& rec, const TensorView& q, const TensorView& kv_b, const TensorView& y);

}  // namespace vl2
