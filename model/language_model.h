// The decoder: embeddings in, logits out, one operator a dispatch.
#pragma once

#include "model/config.h"
#include "model/kv_cache.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Records the layers over `residual`, the embeddings of tokens that follow what the cache holds, and lengthens the cache by
/// them.
///
/// rope_table  f32 [at least cache.capacity, rope width / 2, 2]
/// residual    f32 [T, hidden], updated in place: afterwards the last layer's output, before the final norm
/// Errors      ContextFull: the cache has no room for T tokens; whatever the operators give. Nothing is recorded when the context
/// is full. Source      DeepSeek-VL2 modeling_deepseek.py, DeepseekV2DecoderLayer
Status run_layers(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LanguageWeights& weights, KvCache& cache,
                  const TensorView& rope_table, const TensorView& residual);

/// Records logits = lm_head(rms_norm(residual)).
///
/// residual  f32 [N, hidden]
/// logits    f32 [N, vocab_size]
Status compute_logits(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LanguageWeights& weights,
                      const TensorView& residual, const TensorView& logits);

/// Width of the part of a head that is rotated.
uint32_t rope_width(const LanguageConfig& config);

}  // namespace vl2
