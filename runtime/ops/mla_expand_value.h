// Multi-head latent attention, absorbed, last step: attended latents turned into values.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y[t, h, i] = sum over c of kv_b[h * (nope + v) + nope + i, c] * u[t, h, c].
/// v follows from y, nope from kv_b's rows.
///
/// u       [T, heads, r] f32 or f16: what mla_decode_attention gives; any strides but the last, which is 1, and any offset
/// kv_b    weight [heads * (nope + v), r], any weight format
/// y       [T, heads, v], dtype and strides as u; must not overlap u
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads the value rows of kv_b once per token: for few tokens
/// Source  DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention.forward (W_UV times the attended latent)
Status mla_expand_value(Recorder& rec, const TensorView& u, const TensorView& kv_b, const TensorView& y);

}  // namespace vl2
