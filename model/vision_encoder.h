// SigLIP: views in, patch features out.
#pragma once

#include <functional>

#include "model/config.h"
#include "model/scratch.h"
#include "model/weights.h"
#include "runtime/recorder.h"

namespace vl2 {

/// A canvas on the device and how many views it is cut into.
struct Canvas {
  TensorView pixels;  // u8 [height, width, 3], both sides multiples of image_size
  uint32_t views = 0;
};

/// Asked before each long product and attention, while those before may still run, with the blocks recorded; an error ends all.
using BetweenBlocks = std::function<Status(uint32_t done, uint32_t total)>;

/// Records the encoding of all views of `canvases` as one batch: patches, position embedding, blocks, final norm.
///
/// features  act [views, tokens, width], contiguous
/// between   may be empty
/// Source    DeepSeek-VL2 siglip_vit.py, VisionTransformer.forward_features and the final norm
Status vision_encoder(Recorder& rec, Scratch& scratch, const VisionConfig& config, const VisionWeights& weights,
                      const std::vector<Canvas>& canvases, const TensorView& features, const BetweenBlocks& between = {});

}  // namespace vl2
