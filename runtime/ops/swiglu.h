// The gated activation of DeepSeek's MLPs.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y[r, i] = silu(x[r, i]) * x[r, I + i], with silu(v) = v / (1 + exp(-v)).
///
/// x       [rows, 2 I] f32 or the dtype of y: the gate's columns, then up's; rows strided, any offset
/// y       [rows, I] f32 or f16, rows strided, any offset; f16 saturates; must not overlap x
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x once, writes y once
/// Source  DeepSeek-VL2 modeling_deepseek.py, DeepseekV2MLP.forward
Status swiglu(Recorder& rec, const TensorView& x, const TensorView& y);

}  // namespace vl2
