// A grid for many workgroups that are counted in one number; the shader unfolds it with flat_group() of common/flat_grid.glsl.
#pragma once

#include <algorithm>

#include "runtime/recorder.h"

namespace vl2 {

/// At least `count` workgroups as x by y, since a dimension of a grid may not exceed 65535: a shader leaves where its number is
/// too large.
inline Groups flat_groups(uint64_t count) {
  constexpr uint64_t kLargest = 65535;
  const uint64_t y = (count + kLargest - 1) / kLargest;
  return Groups{.x = static_cast<uint32_t>(y == 0 ? 0 : (count + y - 1) / y),
                .y = static_cast<uint32_t>(std::max<uint64_t>(y, 1))};
}

}  // namespace vl2
