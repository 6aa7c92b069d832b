// The feed-forward half of a layer: one dense MLP, or routed experts beside shared ones.
#pragma once

#include "model/config.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Records residual += mlp(rms_norm(residual)) of a dense layer.
///
/// residual  f32 [T, hidden], updated in place
/// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP
Status dense_feed_forward(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                          const TensorView& residual);

/// Records residual += shared experts + weighted routed experts of rms_norm(residual). The device decides alone where tokens go;
/// the router reads an f32 input whatever the tier, since its near-ties decide which experts run.
///
/// residual  f32 [T, hidden], updated in place
/// Source    DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MoE
Status moe_feed_forward(Recorder& rec, Scratch& scratch, const LanguageConfig& config, const LayerWeights& layer,
                        const TensorView& residual);

}  // namespace vl2
