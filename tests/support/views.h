// Windows on test tensors, with whatever strides a test needs.
#pragma once

#include <initializer_list>

#include "runtime/tensor.h"

namespace vl2 {

/// A view of `flat` with its own dimensions and strides, from `offset` elements after its first.
inline TensorView window(const TensorView& flat, std::initializer_list<uint32_t> dims, std::initializer_list<uint32_t> strides,
                         uint64_t offset = 0) {
  TensorView view = flat;
  view.offset += offset;
  view.rank_ = static_cast<uint32_t>(dims.size());
  view.dims = {};
  view.strides = {};
  for (uint32_t axis = 0; axis < view.rank_; ++axis) {
    view.dims[axis] = *(dims.begin() + axis);
    view.strides[axis] = *(strides.begin() + axis);
  }
  return view;
}

}  // namespace vl2
