// Which kernel and which tile for a problem on a device: plain data in, choice out.
#pragma once

#include <cstdint>
#include <optional>

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

/// How attention_matrix and mla_attention_matrix divide the work.
struct AttentionTile {
  MatrixShape shape;       ///< m queries, n keys or columns of the values, k deep
  uint32_t subgroup_size;  ///< matrix_subgroup_size()
  uint32_t subgroups;      ///< of a workgroup
  uint32_t row_tiles;      ///< of m queries that a subgroup owns
  uint32_t keys;           ///< of a block: a multiple of n, of k and of 8
  bool prefetch;           ///< the next block is loaded into registers while this one is multiplied

  uint32_t threads() const { return subgroups * subgroup_size; }
  uint32_t queries() const { return subgroups * row_tiles * shape.m; }
  /// Bytes of shared memory for queries and keys of `depth` elements and values of `value_width`.
  uint32_t shared_bytes(uint32_t depth, uint32_t value_width) const;
  bool operator==(const AttentionTile&) const = default;
};

/// Whether attention can multiply by a shape: it sums in f32, also exists with f16 sums, which the weights pass through, and has
/// sides of multiples of 8.
bool attention_shape_fits(const DeviceCaps& caps, const MatrixShape& shape);

/// The tile for attention on matrix units; nothing when the device has no shape for it or not enough shared memory.
std::optional<AttentionTile> attention_tile(const DeviceCaps& caps, const Quirks& quirks, uint32_t depth, uint32_t value_width);

/// How many pieces of `piece_bytes` one binding may span so that the next piece can begin another: at most `max_bytes` in all,
/// the sum a multiple of `alignment`. All `pieces` of them when they fit; 0 when not even the fewest that keep the alignment do.
uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment);

}  // namespace vl2
