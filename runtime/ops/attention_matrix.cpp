#include "runtime/ops/attention_matrix.h"

#include "runtime/device.h"
#include "shaders/interface/attention_matrix.h"

namespace vl2 {

// The order of the constants in dispatch_matrix_attention().
static_assert(ATTENTION_MATRIX_THREADS == 0 && ATTENTION_MATRIX_M == 1 && ATTENTION_MATRIX_N == 2 && ATTENTION_MATRIX_K == 3 &&
              ATTENTION_MATRIX_ROW_TILES == 4 && ATTENTION_MATRIX_KEYS == 5 && ATTENTION_MATRIX_DEPTH == 6 &&
              ATTENTION_MATRIX_VALUE_WIDTH == 7 && ATTENTION_MATRIX_PREFETCH == 8);

namespace {

// Whether every row of a view, and the first element of its binding and of itself, start at multiples of 16 bytes.
bool rows_in_16_bytes(const TensorView& view, const AlignedView& bound) {
  constexpr uint32_t kStep = 8;  // elements of f16
  bool aligned = bound.view.offset % kStep == 0 && bound.remainder % kStep == 0;
  for (uint32_t axis = 0; axis + 1 < view.rank(); ++axis)
    aligned = aligned && (view.dim(axis) == 1 || view.stride(axis) % kStep == 0);
  return aligned;
}

}  // namespace

std::optional<AttentionTile> matrix_attention(Recorder& rec, const AttentionProblem& problem, float scale,
                                              const AttentionTile* wanted,
                                              std::initializer_list<std::pair<const TensorView*, const AlignedView*>> views) {
  constexpr float kLeastScale = 1e-20f;  // a negative one would make minima of maxima, a tiny one weigh a masked score
  if (rec.device().tier() < 3 || problem.depth % 8 != 0 || problem.value_width % 8 != 0 || !(scale > kLeastScale))
    return {};
  for (const auto& [view, bound] : views)
    if (view->dtype != DType::F16 || !rows_in_16_bytes(*view, *bound))
      return {};
  return wanted != nullptr ? *wanted : attention_tile(rec.device().caps(), rec.device().quirks(), problem, rec.device().tuning());
}

}  // namespace vl2
