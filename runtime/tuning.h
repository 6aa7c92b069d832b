// Which kernel and which tile for a problem on a device: plain data in, choice out.
#pragma once

#include <cstdint>

#include "runtime/device_caps.h"
#include "runtime/quirks.h"

namespace vl2 {

/// How gemm_tiled and expert_gemm_tiled divide the work: a workgroup's invocations, and what each of them computes.
struct GemmTile {
  uint32_t threads_along_columns;
  uint32_t threads_along_rows;
  uint32_t rows_per_thread;
  uint32_t columns_per_thread;
  bool through_shared;  ///< tiles of x and of the weight are copied to shared memory first

  uint32_t rows() const { return threads_along_rows * rows_per_thread; }
  uint32_t columns() const { return threads_along_columns * columns_per_thread; }
  uint32_t threads() const { return threads_along_columns * threads_along_rows; }
  bool operator==(const GemmTile&) const = default;
};

/// How gemv and expert_gemv divide the work.
struct GemvGroup {
  uint32_t threads;  ///< invocations of a workgroup
  uint32_t columns;  ///< columns of y that a workgroup makes
  uint32_t rows;     ///< rows of x that it multiplies at once; expert_gemv: 1
  bool operator==(const GemvGroup&) const = default;
};

enum class MatmulKernel { GemmTiled, Gemv };

struct MatmulPlan {
  MatmulKernel kernel;
  GemmTile tile;    ///< for GemmTiled
  GemvGroup group;  ///< for Gemv
  bool operator==(const MatmulPlan&) const = default;
};

/// The plan for y = x W^T with `rows` rows of x.
MatmulPlan plan_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows);

/// The plan for `pairs` rows spread over `experts` weights; nobody knows on the host how evenly.
MatmulPlan plan_expert_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t pairs, uint32_t experts);

/// How many pieces of `piece_bytes` one binding may span so that the next piece can begin another: at most `max_bytes` in all,
/// the sum a multiple of `alignment`. All `pieces` of them when they fit; 0 when not even the fewest that keep the alignment do.
uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment);

}  // namespace vl2
