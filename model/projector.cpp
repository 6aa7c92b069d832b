#include "model/projector.h"

#include "runtime/ops/matmul.h"
#include "runtime/ops/pixel_unshuffle.h"

namespace vl2 {

Status projector(Recorder& rec, Scratch& scratch, const Config& config, const ProjectorWeights& weights,
                 const TensorView& features, const TensorView& tokens) {
  const uint32_t rows = tokens.dim(0) * tokens.dim(1), n_embed = config.projector.n_embed;
  VL2_ASSIGN(const TensorView unfolded, scratch.get("unfolded", features.dtype, {rows, 4 * config.projector.input_dim}));
  VL2_ASSIGN(const TensorView inner, scratch.get("projector inner", features.dtype, {rows, n_embed}));
  VL2_TRY(pixel_unshuffle(rec, features, unfolded, config.vision.grid()));
  VL2_TRY(matmul(rec, unfolded, weights.layer0, inner, {.bias = weights.layer0_bias, .activation = Activation::GeluErf}));
  return matmul(rec, inner, weights.layer2, tokens.reshaped({rows, n_embed}), {.bias = weights.layer2_bias});
}

}  // namespace vl2
