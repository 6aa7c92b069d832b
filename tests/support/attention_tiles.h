// Ways to divide attention on matrix units, for tests and measurements.
#pragma once

#include <numeric>
#include <string>
#include <vector>

#include "runtime/tuning.h"

namespace vl2 {

/// Every combination that a device can run, of its shapes and of the numbers that the tuning chooses from.
inline std::vector<AttentionTile> attention_tiles(const DeviceCaps& caps, uint32_t depth, uint32_t value_width) {
  std::vector<AttentionTile> tiles;
  for (const MatrixShape& shape : caps.matrix_shapes) {
    if (!attention_shape_fits(caps, shape))
      continue;
    for (const uint32_t subgroups : {1u, 4u, 8u})
      for (const uint32_t row_tiles : {1u, 2u})
        for (const uint32_t keys : {16u, 32u, 64u})
          for (const bool prefetch : {false, true}) {
            // A CPU driver takes seconds for each, and a minute for large ones.
            if (caps.type == DeviceType::Cpu ? keys != 16 * row_tiles || subgroups != 4 || prefetch != (row_tiles == 2)
                                             : keys == 16)
              continue;
            const AttentionTile tile{
                shape, matrix_subgroup_size(caps), subgroups, row_tiles, std::lcm(std::lcm(shape.n, shape.k), keys), prefetch};
            if (tile.threads() <= caps.max_workgroup_invocations &&
                tile.shared_bytes(depth, value_width) <= caps.max_shared_bytes)
              tiles.push_back(tile);
          }
  }
  return tiles;
}

/// "16x8x16, 4 x 1 tiles, 64 keys, prefetch"
inline std::string attention_tile_name(const AttentionTile& tile) {
  const auto text = [](uint32_t number) { return std::to_string(number); };
  return text(tile.shape.m) + "x" + text(tile.shape.n) + "x" + text(tile.shape.k) + ", " + text(tile.subgroups) + " x " +
         text(tile.row_tiles) + " tiles, " + text(tile.keys) + " keys" + (tile.prefetch ? ", prefetch" : "");
}

}  // namespace vl2
