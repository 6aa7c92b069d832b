// Adds a block of rows again and again: a position embedding to every view.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records x[r] += rows_to_add[r % period], in place.
///
/// x            [rows, width] f32; rows may be strided and start anywhere
/// rows_to_add  [period, width] f32; likewise; period >= 1; must not overlap x
/// Errors       BadShape, BadDType: nothing is recorded, and the message names the tensor
/// Cost         reads x and rows_to_add once, writes x once
Status add_rows(Recorder& rec, const TensorView& x, const TensorView& rows_to_add);

}  // namespace vl2
