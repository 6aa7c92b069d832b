// Rotary position embedding.
#pragma once

#include <span>
#include <vector>

#include "runtime/recorder.h"

namespace vl2 {

/// Which elements of a head form the pairs that are rotated.
enum class RopeLayout {
  HalfSplit,    ///< (i, i + D/2): Tiny's heads
  Interleaved,  ///< (2i, 2i + 1): MLA's rope part; pairs stay where they are
};

struct RopeOptions {
  uint32_t first_position = 0;  ///< position of row 0
  RopeLayout layout = RopeLayout::HalfSplit;
};

/// cos and sin of position * theta^(-2i / dims), for positions 0..capacity-1 and i 0..dims/2-1: [capacity, dims / 2, 2]
/// row-major. Computed in double, because the sines of a GPU need not be exact at arguments in the thousands.
std::vector<float> rope_table(uint32_t capacity, uint32_t dims, double theta);

/// The same of position * frequencies[i], cos and sin times `scale`: [capacity, frequencies, 2].
std::vector<float> rope_table(uint32_t capacity, std::span<const double> frequencies, double scale);

/// Records the rotation of every pair (a, b) of x: (a cos - b sin, b cos + a sin) at position first_position + t.
///
/// x       [T, heads, D] f32 or f16, D even; any strides but the last, which is 1, and any offset
/// table   f32 [capacity, D / 2, 2], contiguous: what rope_table() gives; capacity >= first_position + T
/// y       [T, heads, D] f32 or f16, strides as x; may be x itself
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x, writes y, reads T rows of the table
/// Source  DeepSeek-VL2 modeling_deepseek.py, apply_rotary_pos_emb; transformers 4.38.2 modeling_llama.py for Tiny
Status rope(Recorder& rec, const TensorView& x, const TensorView& table, const TensorView& y, const RopeOptions& options);

}  // namespace vl2
