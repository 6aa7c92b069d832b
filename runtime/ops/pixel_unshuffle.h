// The projector's unfold: neighbouring patch features become one longer row.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y[view * side^2 + py * side + px][c * factor^2 + dy * factor + dx] = x[view][(factor * py + dy) * grid + factor * px +
/// dx][c], zero where that is past the right or the bottom of the grid; side = ceil(grid / factor). The channel is outermost.
///
/// x       [views, grid^2, channels] f32 or f16, contiguous, at any offset
/// y       [views * side^2, channels * factor^2], dtype of x; rows may be strided and start anywhere; must not overlap x
/// Errors  BadShape, BadDType, BadArgument: nothing is recorded, and the message names the tensor
/// Cost    reads x once, writes y once
/// Source  DeepSeek-VL2 modeling_deepseek_vl_v2.py, MlpProjector.forward
Status pixel_unshuffle(Recorder& rec, const TensorView& x, const TensorView& y, uint32_t grid, uint32_t factor = 2);

}  // namespace vl2
