#include "model/language_model.h"

#include "model/attention_mha.h"
#include "model/attention_mla.h"
#include "model/matmul_scratch.h"
#include "model/moe.h"
#include "runtime/device.h"
#include "runtime/ops/rms_norm.h"

namespace vl2 {

uint32_t rope_width(const LanguageConfig& config) {
  return config.use_mla ? config.qk_rope_head_dim : config.hidden_size / config.num_attention_heads;
}

Status run_layers(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LanguageWeights& weights, KvCache& cache,
                  const TensorView& rope_table, const TensorView& residual) {
  const uint32_t token_count = residual.dim(0), first = cache.length;
  if (token_count > cache.capacity - first)
    return fail(Code::ContextFull, "context: ", first, " tokens are in it and ", token_count, " more were given, it holds ",
                cache.capacity);
  VL2_ASSIGN(const TensorView x, scratch.get("normed", rec.device().act(), {token_count, config.hidden_size}));
  for (uint32_t i = 0; i < config.num_hidden_layers; ++i) {
    const LayerWeights& layer = weights.layers[i];
    VL2_TRY(rms_norm(rec, residual, layer.input_norm, x, config.rms_norm_eps));
    const auto attend = config.use_mla ? attention_mla : attention_mha;
    VL2_TRY(attend(rec, scratch, config, layer, cache.layers[i], rope_table, first, x, residual));
    const auto feed_forward = layer.is_moe ? moe_feed_forward : dense_feed_forward;
    VL2_TRY(feed_forward(rec, scratch, config, layer, residual));
  }
  cache.length += token_count;
  return {};
}

Status compute_logits(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LanguageWeights& weights,
                      const TensorView& residual, const TensorView& logits) {
  VL2_ASSIGN(const TensorView x, scratch.get("normed", rec.device().act(), {residual.dim(0), config.hidden_size}));
  VL2_TRY(rms_norm(rec, residual, weights.norm, x, config.rms_norm_eps));
  return matmul_in_bytes(rec, scratch, x, weights.lm_head, logits);
}

}  // namespace vl2
