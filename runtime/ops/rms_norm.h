// RMS normalisation of rows.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y = x / sqrt(mean(x^2) + eps) * weight, row by row.
///
/// x       [rows, width] f32; rows may be strided and start anywhere, the elements of a row are adjacent
/// weight  [width] f32
/// y       [rows, width] f32 or f16; may be x itself when f32
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x twice, writes y once
/// Source  DeepSeek-VL2 modeling_deepseek.py, DeepseekV2RMSNorm.forward
Status rms_norm(Recorder& rec, const TensorView& x, const TensorView& weight, const TensorView& y, float eps);

}  // namespace vl2
