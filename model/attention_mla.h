// Multi-head latent attention: DeepSeek-VL2-Small and Base.
#pragma once

#include "model/config.h"
#include "model/kv_cache.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Whether the absorbed form takes fewer multiplications than expanding the whole latent cache again. Pure.
///
/// token_count  new tokens
/// seen         tokens in the cache, the new ones included
bool absorbed_is_cheaper(const LanguageConfig& config, uint32_t token_count, uint32_t seen);

/// Records residual += o_proj(attention) for tokens at positions first_position .. first_position + T - 1, and caches their
/// latents. Few tokens take the absorbed form, many the un-absorbed one; both compute the same function.
///
/// x           act [T, hidden]: the normalised input
/// rope_table  f32 [capacity, qk_rope_head_dim / 2, 2]: rope_table()
/// residual    f32 [T, hidden], updated in place
/// Source      DeepSeek-VL2 modeling_deepseek.py, DeepseekV2Attention
Status attention_mla(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                     const LayerCache& cache, const TensorView& rope_table, uint32_t first_position, const TensorView& x,
                     const TensorView& residual);

/// Takes the scratch that attention_mla will want of a prompt of `total` tokens run in chunks, all of it at once: asked for chunk
/// by chunk it would grow with each, and what it outgrew lives as long as the prompt runs.
///
/// first  tokens in the cache before the prompt
/// Errors  OutOfMemory
Status reserve_attention_mla(Scratch& scratch, const LanguageConfig& config, DType act, uint32_t first, uint32_t total,
                             uint32_t chunk);

}  // namespace vl2
