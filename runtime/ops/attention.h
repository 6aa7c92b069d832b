// Softmax attention over whole heads: SigLIP (bidirectional), Tiny's prefill and decode (causal, with cache).
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

struct AttentionTile;

struct AttentionOptions {
  float scale = 1;                      ///< of the scores, before the softmax: D^-0.5
  bool causal = false;                  ///< query t sees keys 0 .. first_position + t only; otherwise all S
  uint32_t first_position = 0;          ///< position of query 0; read only when causal
  const AttentionTile* tile = nullptr;  ///< for tests and measurements: instead of the tuning's choice
};

/// Records y = softmax(q k^T * scale) v, for each batch and head by itself, with no [T, S] matrix in memory.
///
/// q       [batch, T, heads, D] f32 or f16, D <= 192; any strides but the last, which is 1, and any offset
/// k       [batch, S, heads, D] like q; when causal, S >= first_position + T, and later rows are not read
/// v       [batch, S, heads, Dv] like q, Dv <= 128
/// y       [batch, T, heads, Dv] like q; must not overlap the inputs
/// Kernel  On a device of tier 3 or 4, f16 tensors of more than a few rows whose widths, strides and offsets are multiples of 8
/// elements
///         go to matrix units.
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads q once, k and v once per block of queries, writes y once
/// Source  DeepSeek-VL2 siglip_vit.py, Attention.forward; transformers 4.38.2 modeling_llama.py, LlamaAttention.forward
Status attention(Recorder& rec, const TensorView& q, const TensorView& k, const TensorView& v, const TensorView& y,
                 const AttentionOptions& options);

}  // namespace vl2
