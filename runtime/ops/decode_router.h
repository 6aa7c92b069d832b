// One token's choice of experts, from the residual on.
#pragma once

#include "runtime/decode_tuning.h"
#include "runtime/ops/router.h"
#include "runtime/recorder.h"

namespace vl2 {

/// Records what router() does with the logits weight * rms_norm(x), in one dispatch.
///
/// x        f32 [K], K a multiple of 8; or [tokens, K], rows a multiple of 8 apart: logits, counter, ids and weights then are as
///          many, one below the other
/// norm     f32 [K]
/// weight   f32 [experts, K], at most 256 experts
/// bias     f32 [experts], or empty
/// logits   f32 [experts]: on the way
/// counter  u32 [1]: 0 before and after
/// ids      u32 [top_k]    weights  f32 [top_k]
/// Errors   BadShape, BadDType: nothing is recorded
Status decode_router(Recorder& rec, const TensorView& x, const TensorView& norm, float eps, const TensorView& weight,
                     const TensorView& bias, const RouterOptions& options, const TensorView& logits, const TensorView& counter,
                     const TensorView& ids, const TensorView& weights, const DecodeGemvGroup& group);

}  // namespace vl2
