// Notes which token ids occurred, for the repetition penalty of `sample`.
#pragma once

#include "runtime/recorder.h"

namespace vl2 {

/// Records seen[id / 32] |= 1 << id % 32 for each id.
///
/// ids     u32 [token_count], adjacent, any offset; an id that `seen` has no bit for is passed over
/// seen    u32 [seen_words(vocab_size)], adjacent; cleared by the caller at the start (Recorder::fill)
/// Errors  BadShape, BadDType: nothing is recorded
/// Cost    one dispatch
Status mark_seen(Recorder& rec, const TensorView& ids, const TensorView& seen);

}  // namespace vl2
