// Ways to divide a multiplication through shared memory, for tests and measurements.
#pragma once

#include <string>
#include <vector>

#include "runtime/tuning.h"

namespace vl2 {

/// What gemm_tiled is tested and measured with: as many as the device runs.
inline std::vector<GemmTile> shared_gemm_tiles(const DeviceCaps& caps) {
  std::vector<GemmTile> tiles;
  for (const uint32_t k : {16u, 64u})
    for (const uint32_t rows : {4u, 2u, 1u})
      for (const uint32_t columns : {4u, 2u}) {
        const GemmTile tile{.threads_along_columns = 16,
                            .threads_along_rows = 16,
                            .rows_per_thread = rows,
                            .columns_per_thread = columns,
                            .k = k};
        if (tile.threads() <= caps.max_workgroup_invocations && tile.shared_bytes() <= caps.max_shared_bytes)
          tiles.push_back(tile);
      }
  return tiles;
}

/// What gemm_dot is tested with: as many as the device runs; of a CPU driver, which takes seconds to compile the larger, three.
inline std::vector<GemmTile> dot_tiles_to_test(const DeviceCaps& caps, const Quirks& quirks) {
  if (!quirks.barriers_are_slow)
    return dot_tile_candidates(caps);
  return {{8, 8, 2, 2, 64}, {4, 4, 4, 2, 32}, {8, 4, 1, 2, 128}};
}

/// "tiled 32 32 4 4 64": rows, columns, of an invocation, k.
inline std::string gemm_tile_name(const GemmTile& tile, std::string name = "tiled") {
  for (const uint32_t part : {tile.rows(), tile.columns(), tile.rows_per_thread, tile.columns_per_thread, tile.k})
    name += " " + std::to_string(part);
  return name;
}

}  // namespace vl2
