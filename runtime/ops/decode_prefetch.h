// Weights of a later level, brought into the cache beside a level that leaves the memory idle.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records reads of bytes first_byte .. first_byte + byte_count - 1 of `weight`; nothing is computed.
///
/// weight      as check_weight() wants it, rank 2, small enough for one binding
/// first_byte  a multiple of 16
/// sink        u32 [1], which no other dispatch of the level writes or reads
/// Errors      BadShape, BadDType: nothing is recorded
/// Cost        reads the bytes once
Status decode_prefetch(Recorder& rec, const TensorView& weight, uint64_t first_byte, uint64_t byte_count, const TensorView& sink);

}  // namespace vl2
