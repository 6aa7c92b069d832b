// Copies rows from one place to another, converting between f32 and f16.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y = x, element by element; a value that does not fit f16 saturates.
///
/// x       [rows, width] or [rows, heads, width], f32 or f16; any strides but the last, which is 1, and any offset
/// y       the same shape, f32 or f16; must not overlap x
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x once, writes y once
Status copy_rows(Recorder& rec, const TensorView& x, const TensorView& y);

}  // namespace vl2
