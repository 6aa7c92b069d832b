// Multi-head latent attention, absorbed, second step: attention of all heads over the one cache of latents. For decode.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

struct MlaDecodeOptions {
  float scale = 1;              ///< of the scores, before the softmax: (nope + rope)^-0.5, not (r + rope)^-0.5
  uint32_t first_position = 0;  ///< position of query 0: query t sees rows 0 .. first_position + t of the cache
};

/// Records y = softmax(q cache^T * scale) cache[:, :r], for each head.
///
/// q       [T, heads, r + rope] f32 or f16, r + rope <= 1024: what mla_absorb_query gives; any strides but the last, which is 1,
/// any offset cache   [S, r + rope] like q, rows of normalised latent and rotated key; S >= first_position + T, and later rows
/// are not read y       [T, heads, r] like q; must not overlap the inputs Errors  BadShape, BadDType: nothing is recorded, and
/// the message names the tensor Cost    reads the cache once per query and head: for few tokens Source  DeepSeek-VL2
/// modeling_deepseek.py, DeepseekV2Attention.forward
Status mla_decode_attention(Recorder& rec, const TensorView& q, const TensorView& cache, const TensorView& y,
                            const MlaDecodeOptions& options);

}  // namespace vl2
