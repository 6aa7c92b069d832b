// Rows of activations as signed bytes, for products with weights in blocks.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// x [rows, K] in bytes: two parts of one buffer of words.
struct ByteRows {
  TensorView codes;    ///< u32 [rows * K / 4]: signed bytes, eight elements in the order of runtime/weight_format.h
  TensorView numbers;  ///< f32 [rows, K / 32, 2]: of 32 elements the scale, and that times the sum of their codes
};

/// Words of memory for `rows` rows of `k` elements, a multiple of 32.
uint64_t byte_rows_words(uint32_t rows, uint32_t k);

/// The parts of `words`, u32 and contiguous, from a multiple of 256 bytes on, byte_rows_words() or more.
ByteRows byte_rows(const TensorView& words, uint32_t rows, uint32_t k);

/// Records codes = round(x / scale), scale = max |x| / 127, of every 32 elements of a row. Below 1e-30 all codes are 0.
///
/// x       [M, K] f32 or f16, K a multiple of 32; rows may be strided and start anywhere
/// words   see byte_rows()
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x once, writes a byte and a quarter an element
Status quantize_rows(Recorder& rec, const TensorView& x, const TensorView& words);

}  // namespace vl2
