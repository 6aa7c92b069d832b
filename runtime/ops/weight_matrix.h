// What the operators that multiply by a weight matrix share: its checks, its pieces that one binding can hold, and the alignment
// of rows.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Whether an operator has kernels for weights in blocks.
enum class Blocks { No, Yes };

/// Checks a weight [N, K] or [E, N, K]: format, padding (row stride a multiple of 8, or of a block), and that its buffer reaches
/// to the last row's padding.
///
/// op      for the message
/// rank    2 or 3
/// Errors  BadShape, BadDType
Status check_weight(const char* op, const TensorView& weight, uint32_t rank, Blocks blocks = Blocks::No);

/// A part of a weight as views to bind.
struct WeightPiece {
  TensorView codes;   ///< the weights themselves; of a block format the plane of codes, in words
  TensorView scales;  ///< of a block format the plane of scales, in words; else empty
};

/// Entries first .. first + count - 1 of the first axis (rows, or experts), the padding of the last row included.
WeightPiece weight_piece(const TensorView& weight, uint32_t first, uint32_t count);

/// How many entries of the first axis one dispatch may bind, so that the next piece can be bound as well: all of them when they
/// fit; 0 when not even the fewest that keep the alignment do.
///
/// max_entries  that the dispatch can take
uint32_t weight_piece_entries(const Recorder& rec, const TensorView& weight, uint64_t max_entries);

/// Bytes that a kernel reads of `count` elements of a weight, for Cost.
uint64_t weight_cost_bytes(const TensorView& weight, uint64_t count);

/// How the rows of x [M, K] lie for vector loads: the largest of 8, 4 and 1 that divides the first element's place in its binding
/// (`remainder`), the stride and K.
uint32_t row_alignment(const TensorView& x, uint32_t remainder);

/// Whether every row of y begins at a multiple of 4 elements of its binding.
bool starts_quads(const TensorView& y, uint32_t remainder);

}  // namespace vl2
