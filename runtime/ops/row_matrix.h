// What operators that index by rows ask of a matrix.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// [rows, width] whose elements lie side by side in a row, whose rows do not overlap, and whose last element a 32-bit index
/// reaches.
inline bool is_row_matrix(const TensorView& view) {
  return view.rank() == 2 && view.stride(1) == 1 && (view.dim(0) < 2 || view.stride(0) >= view.dim(1)) &&
         view.span_elements() < (uint64_t{1} << 31);
}

/// [width], side by side.
inline bool is_vector(const TensorView& view, uint32_t width) {
  return view.rank() == 1 && view.dim(0) == width && view.stride(0) == 1;
}

}  // namespace vl2
