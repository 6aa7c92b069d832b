// The 8-bit cache of keys and values: how it lies in memory, rows into it, and rows out of it.
//
// A cache [capacity, segments * width] is a view of dtype U8 with a plane of scales: codes, a signed byte an element, then, at
// `scales` bytes of the buffer, an f16 for every 32 elements of a segment. A segment is what one kernel writes at a time: a head
// of MHA, a row of MLA. Blocks do not reach over segments, and a segment begins with a new word of scales, so a row has
// segments * ceil(width / 64) words. Eight elements as bytes have the order that runtime/weight_format.h gives them in weights.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Bytes of the two planes of one row: 8.5 bits an element where the width is a multiple of 64.
uint64_t quantized_cache_row_bytes(uint32_t segments, uint32_t width);

/// Bytes of a buffer for such a cache.
uint64_t quantized_cache_bytes(uint32_t capacity, uint32_t segments, uint32_t width);

/// The cache as a view, [capacity, segments * width] u8 with scales, of a buffer of quantized_cache_bytes().
TensorView quantized_cache_view(const Buffer& buffer, uint32_t capacity, uint32_t segments, uint32_t width);

/// Its scales as words: u32 [capacity, segments * ceil(width / 64)].
TensorView cache_scales(const TensorView& cache, uint32_t segments);

/// Whether `view` is a whole cache: of f32 or f16, or of 8 bits with its scales inside its buffer.
bool is_cache(const TensorView& view, uint32_t segments, uint32_t width);

/// Records cache[first_row + t] = x[t].
///
/// x       f32 or f16 [T, segments * width], elements of a row adjacent; offset and row stride multiples of 8
/// cache   8-bit, all of it; width a multiple of 8
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost    reads x once, writes a good half or quarter of that
Status cache_quantize(Recorder& rec, const TensorView& x, const TensorView& cache, uint32_t segments, uint32_t first_row);

/// Records y[s] = cache[s] for the rows that y has.
///
/// cache   8-bit, all of it
/// y       f32 or f16 [S, segments * width], contiguous
/// Errors  BadShape, BadDType: nothing is recorded, and the message names the tensor
Status cache_dequantize(Recorder& rec, const TensorView& cache, const TensorView& y, uint32_t segments);

}  // namespace vl2
