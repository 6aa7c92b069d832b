// Activations as signed bytes, for decode_gemv() with weights in blocks.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Tokens' x as decode_gemv_dot multiplies it. Empty: each workgroup makes its own.
struct DecodeBytes {
  TensorView codes;   ///< u32 [tokens, K / 4]
  TensorView scales;  ///< f32 [tokens, K / 32 + 1, 2]

  bool empty() const { return codes.empty(); }
};

/// Records the rounding of x, RMS-normalised if norm is not empty, to a byte an element with a scale for every 32.
///
/// x        f32 [tokens, K], K a multiple of 32; rows a multiple of 8 elements apart
/// norm     f32 [K], or empty
/// threads  of a workgroup: those of the products that would make the same bytes themselves, so that they are the same
/// Errors   BadShape: nothing is recorded
/// Cost     reads x once
Status decode_bytes(Recorder& rec, const TensorView& x, const TensorView& norm, float eps, uint32_t threads,
                    const DecodeBytes& bytes);

}  // namespace vl2
