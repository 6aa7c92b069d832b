// Multi-head latent attention, un-absorbed: causal attention over keys and values expanded from the latent. For prefill.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

struct AttentionTile;

struct MlaAttentionOptions {
  float scale = 1;                      ///< of the scores, before the softmax: (nope + rope)^-0.5
  uint32_t first_position = 0;          ///< position of query 0: query t sees keys 0 .. first_position + t
  const AttentionTile* tile = nullptr;  ///< for tests and measurements: instead of the tuning's choice
};

/// Records y = softmax(q k^T * scale) v for each head h, where key s is [kv[s, h, :nope], k_rope[s]] and value s is kv[s, h,
/// nope:]. The widths follow from the shapes: rope from k_rope, nope from q, v from y.
///
/// q       [T, heads, nope + rope] f32 or f16, nope + rope <= 192; any strides but the last, which is 1, and any offset
/// kv      [S, heads, nope + v] like q: the latent times kv_b; S >= first_position + T, and later rows are not read
/// k_rope  [S, rope] like q: the rotated keys that all heads share (the tail of the cache's rows)
/// y       [T, heads, v] like q, v <= 128; must not overlap the inputs
/// Kernel  On a device of tier 3 or 4, f16 tensors whose widths, strides and offsets are multiples of 8 elements go to matrix
/// units. Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor Cost    reads q once, kv and k_rope
/// once per block of queries, writes y once Source  DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention, in its naive form
Status mla_attention(Recorder& rec, const TensorView& q, const TensorView& kv, const TensorView& k_rope, const TensorView& y,
                     const MlaAttentionOptions& options);

}  // namespace vl2
