// Windows on the rows of a weight matrix, as shaders bind them.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Rows first..first+count-1 of a weight matrix [rows, K] with the padding of the last one, which shaders may read: they take
/// four elements at a time.
inline TensorView padded_rows(const TensorView& weight, uint32_t first, uint32_t count) {
  TensorView view = weight.rows(first, count);
  view.dims[1] = view.strides[0];
  return view;
}

}  // namespace vl2
