// What the operators that multiply by a weight matrix share: its checks, its pieces that one binding can hold, and the alignment
// of rows.
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

/// How the rows of x [M, K] lie for vector loads: the largest of 8, 4 and 1 that divides the first element's place in its binding
/// (`remainder`), the stride and K.
uint32_t row_alignment(const TensorView& x, uint32_t remainder);

/// Whether every row of y begins at a multiple of 4 elements of its binding.
bool starts_quads(const TensorView& y, uint32_t remainder);

}  // namespace vl2
