// Layer normalisation of rows.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias, row by row; the variance is the biased one.
///
/// x       [rows, width] f32; rows may be strided and start anywhere, the elements of a row are adjacent
/// weight  [width] f32
/// bias    [width] f32
/// y       [rows, width] f32 or f16, as x; may be x itself when f32
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x three times (mean, variance, result), writes y once
/// Source  DeepSeek-VL2 siglip_vit.py, the LayerNorms of the blocks and the final one (eps 1e-6)
Status layer_norm(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& bias, const TensorView& y,
                  float eps);

}  // namespace vl2
