// What the operators that multiply by a weight matrix share: its checks, and its pieces that one binding can hold.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Checks a weight [N, K] or [E, N, K]: format, padding (row stride a multiple of 8), and that its buffer reaches to the last
/// row's padding.
///
/// op      for the message
/// rank    2 or 3
/// Errors  BadShape, BadDType
Status check_weight(const char* op, const TensorView& weight, uint32_t rank);

/// Entries first .. first + count - 1 of the first axis (rows, or experts) as a view to bind, the padding of the last row
/// included.
TensorView weight_piece(const TensorView& weight, uint32_t first, uint32_t count);

}  // namespace vl2
