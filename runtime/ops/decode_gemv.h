// The products of one token with a weight, fused with what stands before and after them.
#pragma once

#include "runtime/decode_tuning.h"
#include "runtime/ops/decode_bytes.h"
#include "runtime/recorder.h"

namespace vl2 {

struct DecodeGemv {
  TensorView x;               ///< f32 [K]; for the sum over experts [top_k, K]
  TensorView norm;            ///< f32 [K]: x is RMS-normalised by it first; empty: it is not
  TensorView weight;          ///< [N, K], or [experts, N, K]
  TensorView ids;             ///< u32 [top_k]: the chosen experts; empty with a weight of rank 2
  TensorView expert_weights;  ///< f32 [top_k]: what each expert's results are multiplied by; only with pairs
  TensorView addend;          ///< f32 [results]: added to y; may be empty
  TensorView y;               ///< f32 [results]; with pairs of experts [top_k, results]
  bool pairs = false;         ///< y = silu(first half of the rows) * second half
  bool accumulate = false;    ///< y += instead of y =
  float eps = 0;
  uint32_t tokens = 1;  ///< more than 1: x, ids, expert_weights, addend and y are as many of these, one below the other
  DecodeBytes bytes;    ///< decode_bytes() of x and norm: a group of dot products reads them instead
};

/// Records, for one token, or for each of several:
///   rank 2            y = [y +] W norm(x) [+ addend], or y = silu(W[:N/2] norm(x)) * (W[N/2:] norm(x))
///   rank 3, pairs     y[j] = expert_weights[j] silu(..) * .. of expert ids[j]
///   rank 3, no pairs  y = [y +] sum over j of W[ids[j]] x[j] [+ addend]
///
/// K is a multiple of 8; all views are contiguous but the weight's rows, and, with several tokens, what is from one token to the
/// next of x (a multiple of 8 elements), addend and y.
/// Errors  BadShape, BadDType: nothing is recorded
/// Cost    reads the weight once for group.tokens tokens, and of experts those of each token
Status decode_gemv(Recorder& rec, const DecodeGemv& op, const DecodeGemvGroup& group);

/// Records y[h] = W[h] u[h], W[h] the last value_width of head h's rows in kv_b: W_UV.
///
/// u     f32 [heads, latent], latent a multiple of 8
/// kv_b  [heads * (nope + value_width), latent]
/// y     f32 [heads, value_width]
/// Errors  BadShape, BadDType: nothing is recorded
Status decode_head_values(Recorder& rec, const TensorView& u, const TensorView& kv_b, const TensorView& y,
                          const DecodeGemvGroup& group);

}  // namespace vl2
