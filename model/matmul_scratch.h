// Memory for matmul to cut K in slices, and to round x to bytes.
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

/// So many words for x in bytes: empty for none. One buffer for all: the next call may overwrite it.
///
/// Errors  OutOfMemory
inline Result<TensorView> bytes_scratch(Scratch& scratch, uint32_t words) {
  if (words == 0)
    return TensorView{};
  return scratch.get("activations in bytes", DType::U32, {words});
}

/// Records y = x W^T + residual with products of bytes where they are faster: see matmul().
inline Status matmul_in_bytes(Recorder& rec, Scratch& scratch, const TensorView& x, const TensorView& weight, const TensorView& y,
                              const TensorView& residual = {}) {
  VL2_ASSIGN(const TensorView bytes, bytes_scratch(scratch, matmul_bytes_words(rec, x, weight)));
  return matmul(rec, x, weight, y, {.residual = residual, .bytes = bytes});
}

}  // namespace vl2
