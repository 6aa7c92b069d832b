#include "model/vision_encoder.h"

#include <cmath>

#include "model/matmul_scratch.h"
#include "runtime/ops/add_rows.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/layer_norm.h"
#include "runtime/ops/matmul.h"
#include "runtime/ops/patchify.h"

namespace vl2 {

namespace {

constexpr float kLayerNormEps = 1e-6f;  // siglip_vit.py; not in config.json

// Columns first.. of [views * tokens, n * width] as [views, tokens, heads, head_dim].
TensorView heads_of(const TensorView& matrix, uint32_t first_column, uint32_t views, const VisionConfig& config) {
  TensorView view = matrix;
  const uint32_t head_dim = config.width / config.heads;
  view.offset += first_column;
  view.rank_ = 4;
  view.dims = {views, config.tokens(), config.heads, head_dim};
  view.strides = {config.tokens() * matrix.stride(0), matrix.stride(0), head_dim, 1};
  return view;
}

Status embed_patches(Recorder& rec, Scratch& scratch, const VisionConfig& config, const VisionWeights& weights,
                     const std::vector<Canvas>& canvases, DType act, const TensorView& x) {
  VL2_ASSIGN(const TensorView patches, scratch.get("patches", act, {x.dim(0), 3 * config.patch_size * config.patch_size}));
  uint32_t first = 0;
  for (const Canvas& canvas : canvases) {
    const uint32_t rows = canvas.views * config.tokens();
    VL2_TRY(patchify(rec, canvas.pixels, patches.rows(first, rows),
                     {.view_size = config.image_size, .patch_size = config.patch_size}));
    first += rows;
  }
  VL2_TRY(matmul(rec, patches, weights.patch_embed, x, {.bias = weights.patch_embed_bias}));
  return add_rows(rec, x, weights.pos_embed);
}

// Products of floats in every tier: x rounded to bytes before each moves the features by 7.6e-3 of their length (worked out on the
// host for 27 random layers of SigLIP's shape; features may be 5e-3 off, and f16 makes 5e-4 of that).
Status block(Recorder& rec, Scratch& scratch, const VisionConfig& config, const VisionBlockWeights& weights, uint32_t views,
             DType act, const TensorView& x, const std::function<Status()>& ask) {
  const uint32_t rows = x.dim(0), width = config.width;
  VL2_ASSIGN(const TensorView normed, scratch.get("vision normed", act, {rows, width}));
  VL2_ASSIGN(const TensorView qkv, scratch.get("vision qkv", act, {rows, 3 * width}));
  VL2_ASSIGN(const TensorView attended, scratch.get("vision attended", act, {rows, width}));
  VL2_ASSIGN(const TensorView inner, scratch.get("vision inner", act, {rows, config.mlp_width()}));
  VL2_TRY(ask());
  VL2_TRY(layer_norm(rec, x, weights.norm1.weight, weights.norm1.bias, normed, kLayerNormEps));
  VL2_TRY(matmul(rec, normed, weights.qkv, qkv, {.bias = weights.qkv_bias}));
  VL2_TRY(ask());
  const float scale = 1.0f / std::sqrt(static_cast<float>(width / config.heads));
  VL2_TRY(attention(rec, heads_of(qkv, 0, views, config), heads_of(qkv, width, views, config),
                    heads_of(qkv, 2 * width, views, config), heads_of(attended, 0, views, config), {.scale = scale}));
  VL2_TRY(ask());
  VL2_ASSIGN(const TensorView proj_slices, matmul_slices(rec, scratch, attended, weights.proj));
  VL2_TRY(matmul(rec, attended, weights.proj, x, {.bias = weights.proj_bias, .residual = x, .slices = proj_slices}));
  VL2_TRY(ask());
  VL2_TRY(layer_norm(rec, x, weights.norm2.weight, weights.norm2.bias, normed, kLayerNormEps));
  VL2_TRY(matmul(rec, normed, weights.fc1, inner, {.bias = weights.fc1_bias, .activation = Activation::GeluTanh}));
  VL2_TRY(ask());
  VL2_ASSIGN(const TensorView fc2_slices, matmul_slices(rec, scratch, inner, weights.fc2));
  return matmul(rec, inner, weights.fc2, x, {.bias = weights.fc2_bias, .residual = x, .slices = fc2_slices});
}

}  // namespace

Status vision_encoder(Recorder& rec, Scratch& scratch, const VisionConfig& config, const VisionWeights& weights,
                      const std::vector<Canvas>& canvases, const TensorView& features, const BetweenBlocks& between) {
  uint32_t views = 0;
  for (const Canvas& canvas : canvases)
    views += canvas.views;
  const uint32_t rows = views * config.tokens();
  VL2_ASSIGN(const TensorView x, scratch.get("vision residual", DType::F32, {rows, config.width}));
  VL2_TRY(embed_patches(rec, scratch, config, weights, canvases, features.dtype, x));
  const auto blocks = static_cast<uint32_t>(weights.blocks.size());
  for (uint32_t i = 0; i < blocks; ++i) {
    const auto ask = [&] { return between ? between(i, blocks) : Status{}; };
    VL2_TRY(block(rec, scratch, config, weights.blocks[i], views, features.dtype, x, ask));
  }
  return layer_norm(rec, x, weights.norm.weight, weights.norm.bias, features.reshaped({rows, config.width}), kLayerNormEps);
}

}  // namespace vl2
