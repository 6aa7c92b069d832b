// Memory for matmul to cut K in slices.
#pragma once

#include "model/scratch.h"
#include "runtime/ops/matmul.h"

namespace vl2 {

/// MatmulOptions::slices for y = x W^T: empty where K is better left whole. One buffer for all: the next call may overwrite it.
///
/// Errors  OutOfMemory
inline Result<TensorView> matmul_slices(Recorder& rec, Scratch& scratch, const TensorView& x, const TensorView& weight) {
  const uint32_t elements = matmul_slices_elements(rec, x, weight);
  if (elements == 0)
    return TensorView{};
  return scratch.get("slices of K", DType::F32, {elements});
}

}  // namespace vl2
