#include "runtime/ops/attention_direct.h"

#include <algorithm>

#include "runtime/device.h"

namespace vl2 {

std::optional<DirectAttentionTile> direct_attention(Recorder& rec, uint32_t value_width,
                                                    std::initializer_list<std::pair<const TensorView*, const AlignedView*>> views,
                                                    std::initializer_list<uint32_t> widths) {
  for (const auto& [view, bound] : views) {
    if (bound->remainder % 4 != 0)
      return {};
    for (uint32_t axis = 0; axis + 1 < view->rank(); ++axis)
      if (view->dim(axis) > 1 && view->stride(axis) % 4 != 0)
        return {};
  }
  if (std::any_of(widths.begin(), widths.end(), [](uint32_t width) { return width % 4 != 0; }))
    return {};
  return direct_attention_tile(rec.device().caps(), rec.device().quirks(), value_width);
}

}  // namespace vl2
