// Ways to divide a multiplication through shared memory, for tests and measurements.
#pragma once

#include <string>
#include <vector>

#include "runtime/tuning.h"

namespace vl2 {

/// What gemm_tiled is measured with where the plan's own tile fills too little of a card: as many as the device runs.
inline std::vector<GemmTile> shared_gemm_tiles(const DeviceCaps& caps) {
  std::vector<GemmTile> tiles;
  const auto add = [&](uint32_t threads, uint32_t slices, uint32_t rows, uint32_t columns, uint32_t k) {
    const GemmTile tile{.threads_along_columns = threads,
                        .threads_along_rows = threads,
                        .rows_per_thread = rows,
                        .columns_per_thread = columns,
                        .k = k,
                        .slices = slices};
    if (tile.threads() <= caps.max_workgroup_invocations && tile.shared_bytes() <= caps.max_shared_bytes)
      tiles.push_back(tile);
  };
  for (const uint32_t k : {16u, 64u})
    for (const uint32_t rows : {4u, 2u, 1u})
      add(16, 1, rows, 2, k);
  for (const uint32_t k : {32u, 64u, 96u})
    for (const uint32_t rows : {4u, 2u})
      for (const uint32_t columns : {4u, 2u})
        add(8, 4, rows, columns, k);
  for (const uint32_t rows : {4u, 2u})
    add(8, 8, rows, 4, 64);
  return tiles;
}

/// "tiled 32 32 4 4 64 4": rows, columns, of an invocation, k, slices.
inline std::string gemm_tile_name(const GemmTile& tile) {
  std::string name = "tiled";
  for (const uint32_t part : {tile.rows(), tile.columns(), tile.rows_per_thread, tile.columns_per_thread, tile.k, tile.slices})
    name += " " + std::to_string(part);
  return name;
}

}  // namespace vl2
