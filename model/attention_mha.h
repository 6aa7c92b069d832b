// Plain multi-head attention with rotary positions: DeepSeek-VL2-Tiny.
#pragma once

#include "model/config.h"
#include "model/kv_cache.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Records residual += o_proj(attention(q, k, v)) for tokens at positions first_position .. first_position + T - 1, and caches
/// their keys and values. Positions below first_position are in the cache.
///
/// x           act [T, hidden]: the normalised input
/// rope        f32 [capacity, head_dim / 2, 2]: rope_table()
/// residual    f32 [T, hidden], updated in place
/// Source      transformers 4.38.2 modeling_llama.py, LlamaAttention
Status attention_mha(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                     const LayerCache& cache, const TensorView& rope_table, uint32_t first_position, const TensorView& x,
                     const TensorView& residual);

}  // namespace vl2
