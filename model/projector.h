// Patch features -> vision tokens of the language model's width.
#pragma once

#include "model/config.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Records the 2 x 2 unfold and the two-layer MLP with exact GELU.
///
/// features  act [views, 729, width], contiguous
/// tokens    f32 [views, 196, n_embed], contiguous
/// Source    DeepSeek-VL2 modeling_deepseek_vl_v2.py, MlpProjector
Status projector(Recorder& rec, Scratch& scratch, const Config& config, const ProjectorWeights& weights,
                 const TensorView& features, const TensorView& tokens);

}  // namespace vl2
