// Rows of the embedding table by token id.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records y[t] = table[ids[t]]; an id past the table gives zeros.
///
/// table   [vocabulary, width], any weight format; rows may be padded. Cut by rows into several dispatches where larger than a binding
/// ids     u32 [token_count], at any offset and stride
/// y       [token_count, width] f32; rows may be strided and start anywhere
/// Errors  BadShape, BadDType; Unsupported when one row of the table is larger than a binding: nothing is recorded, and the message
///         names the tensor
/// Cost    reads a row of the table a token, writes y once
Status embed_tokens(Recorder& rec, const TensorView& table, const TensorView& ids, const TensorView& y);

}  // namespace vl2
