// Which kernel and which tile for a problem on a device: plain data in, choice out.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "runtime/device_caps.h"
#include "runtime/quirks.h"

namespace vl2 {

/// How gemm_tiled, gemm_direct and gemm_dot (and those of experts) divide the work: a workgroup's invocations, and what each of
/// them computes.
struct GemmTile {
  uint32_t threads_along_columns;
  uint32_t threads_along_rows;
  uint32_t rows_per_thread;
  uint32_t columns_per_thread;
  uint32_t k = 16;  ///< elements of K a step through shared memory: a multiple of 4; gemm_dot: 32, 64 or 128

  uint32_t rows() const { return threads_along_rows * rows_per_thread; }
  uint32_t columns() const { return threads_along_columns * columns_per_thread; }
  uint32_t threads() const { return threads_along_columns * threads_along_rows; }
  uint32_t shared_bytes() const;      ///< of gemm_tiled
  uint32_t dot_shared_bytes() const;  ///< of gemm_dot
  bool operator==(const GemmTile&) const = default;
};

/// How gemv and expert_gemv divide the work.
struct GemvGroup {
  uint32_t threads;  ///< invocations of a workgroup
  uint32_t columns;  ///< columns of y that a workgroup makes
  uint32_t rows;     ///< rows of x that it multiplies at once; expert_gemv: 1
  bool operator==(const GemvGroup&) const = default;
};

/// How gemm_coopmat and expert_gemm_coopmat divide the work: see shaders/matmul/gemm_matrix.glsl.
struct MatrixTile {
  uint32_t rows, columns;                    ///< results of a workgroup (gated: half as many columns of y)
  uint32_t subgroup_rows, subgroup_columns;  ///< of them, of a subgroup: multiples of the shape
  uint32_t k;                                ///< elements of K a step through shared memory: a multiple of 8 and of the shape's
  uint32_t stages;                           ///< steps in shared memory: 1 or 2
  MatrixShape shape{};
  uint32_t subgroup_size = 0;

  uint32_t subgroups() const { return rows / subgroup_rows * (columns / subgroup_columns); }
  uint32_t threads() const { return subgroups() * subgroup_size; }
  uint32_t shared_bytes() const;
  bool operator==(const MatrixTile&) const = default;
};

/// How gemm_coopmat2 divides the work: multiples of one of the device's granularities.
struct WorkgroupTile {
  uint32_t rows, columns;  ///< results of a workgroup (gated: half as many columns of y)
  uint32_t k;              ///< elements of K a step
  uint32_t threads;
  bool operator==(const WorkgroupTile&) const = default;
};

enum class MatmulKernel { GemmTiled, GemmDirect, Gemv, GemmCoopmat, GemmCoopmat2, GemmDot };

struct MatmulPlan {
  MatmulKernel kernel;
  GemmTile tile;                   ///< for GemmTiled and GemmDot; for GemmDirect, which has one thread along the rows
  GemvGroup group;                 ///< for Gemv
  MatrixTile matrix_tile{};        ///< for GemmCoopmat
  WorkgroupTile workgroup_tile{};  ///< for GemmCoopmat2
  uint32_t slices = 1;             ///< GemmTiled, GemmCoopmat: of K, each multiplied by workgroups of its own, and then added
  uint32_t fetch_parts = 1;        ///< GemmCoopmat: products of a step between which the next one's loads are spread
  bool operator==(const MatmulPlan&) const = default;
};

struct MatmulProblem {
  uint32_t rows = 0;     ///< of x; experts: pairs of token and expert in all
  uint32_t columns = 0;  ///< rows of the weight; experts: of one of them
  bool f16 = false;      ///< x is, and the weight is or becomes f16 on the way to matrix units
  bool blocks = false;   ///< the weight is in blocks
  bool gated = false;    ///< the weight's second half multiplies the first (swiglu)
  uint32_t k = 1024;     ///< elements of a row
  bool sliced = false;   ///< there is memory for slices of K
  bool bytes = false;    ///< there is memory for x in bytes
};

/// What a device full of a matrix tile does.
struct TileRate {
  MatrixTile tile;
  uint32_t fetch_parts;  ///< MatmulPlan::fetch_parts, the best for it
  double tflop_s;        ///< 0: its results were wrong, and it is never chosen
  bool operator==(const TileRate&) const = default;
};

/// What the choices below know of a device beside its caps. The defaults are an H200's; `vl2 tune` measures a device's own.
struct DeviceTuning {
  double cores = 132;                     ///< that each run workgroups of their own
  double dispatch_us = 2;                 ///< a dispatch behind a barrier, with next to nothing in it
  double cache_bytes_per_us = 4e6;        ///< of results on their way to memory and back
  std::vector<TileRate> matrix_tiles{};   ///< measured on this device, right or wrong; empty: tuning.cpp's table
  std::optional<GemmTile> gemm_tile{};    ///< the best for large problems; empty: tuning.cpp's
  std::optional<GemmTile> dot_tile{};     ///< the same of gemm_dot
  bool dots = true;                       ///< gemm_dot is right, and faster than gemm_tiled
  std::optional<GemvGroup> gemv_group{};  ///< for one row; empty: tuning.cpp's
  bool operator==(const DeviceTuning&) const = default;
};

/// For a device that nobody tuned: the figures of the same model where it is known, else of the first that is, with as many cores
/// as this one says it has.
DeviceTuning known_tuning(const DeviceCaps& caps);

/// The shapes worth trying: that sum in f32, have sides that the kernels' loads allow, and are the device's first, or the
/// narrowest. The preferred one first; empty without matrix units.
std::vector<MatrixShape> gemm_shapes(const DeviceCaps& caps);

/// All tiles of this device's matrix units that fit it, for any problem, in a shape (by default the preferred one); the larger
/// first. Empty without such units.
std::vector<MatrixTile> matrix_tiles(const DeviceCaps& caps);
std::vector<MatrixTile> matrix_tiles(const DeviceCaps& caps, const MatrixShape& shape);

/// The same for workgroup matrices.
std::vector<WorkgroupTile> workgroup_tiles(const DeviceCaps& caps);

/// Whether a tile can run on a device: its matrix units have the shape, and its memory and workgroups the room. For tiles from
/// files.
bool tile_fits(const DeviceCaps& caps, const MatrixTile& tile);
bool tile_fits(const DeviceCaps& caps, const GemmTile& tile);
bool dot_tile_fits(const DeviceCaps& caps, const GemmTile& tile);

/// The GemmTiles worth a measurement, tuning.cpp's default first; of gemm_dot likewise.
std::vector<GemmTile> gemm_tile_candidates(const DeviceCaps& caps);
std::vector<GemmTile> dot_tile_candidates(const DeviceCaps& caps);

/// The GemvGroups likewise, of one row.
std::vector<GemvGroup> gemv_group_candidates(const DeviceCaps& caps);

/// The rate by which the plans' estimate for a problem, K uncut, is `us` microseconds.
double matrix_tile_rate(const MatrixTile& tile, const MatmulProblem& problem, double us, const DeviceTuning& tuning);

/// How many times longer one workgroup of a tile takes alone on a core than its share of a core full of them, by that estimate.
double matrix_tile_alone(const MatrixTile& tile);

/// The plan for y = x W^T in a tier (choose_tier).
MatmulPlan plan_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier, const MatmulProblem& problem,
                       const DeviceTuning& tuning = {});

/// The plan for rows spread over `experts` weights; nobody knows on the host how evenly.
MatmulPlan plan_expert_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier, const MatmulProblem& problem,
                              uint32_t experts, const DeviceTuning& tuning = {});

/// Tokens that prefill runs at a time: what fills a GPU's matrix units (an expert of 64 gets 192 rows of 2048 tokens); CPU
/// drivers gain nothing from more than 512, and need the memory.
uint32_t prefill_chunk(const DeviceCaps& caps);

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

/// How attention_direct and mla_attention_direct divide the work: see shaders/attention/direct.glsl.
struct DirectAttentionTile {
  uint32_t threads;        ///< of a workgroup: a subgroup
  uint32_t query_vectors;  ///< queries of a workgroup / threads
  uint32_t value_quads;    ///< columns of the values / (4 threads), rounded down
  uint32_t value_tail;     ///< the columns left / threads, rounded up

  uint32_t queries() const { return query_vectors * threads; }
  bool operator==(const DirectAttentionTile&) const = default;
};

/// The tile for attention on a CPU driver, nothing on other devices.
std::optional<DirectAttentionTile> direct_attention_tile(const DeviceCaps& caps, const Quirks& quirks, uint32_t value_width);

/// Whether attention can multiply by a shape: it sums in f32, also exists with f16 sums, which the weights pass through, and has
/// sides of multiples of 8.
bool attention_shape_fits(const DeviceCaps& caps, const MatrixShape& shape);

struct AttentionProblem {
  uint32_t depth, value_width;  ///< elements of a query or key, and of a value
  uint64_t queries = 0;         ///< of all heads and batches
};

/// The tile for attention on matrix units; nothing when the device has no shape for it or not enough shared memory, which does
/// not depend on the number of queries.
std::optional<AttentionTile> attention_tile(const DeviceCaps& caps, const Quirks& quirks, const AttentionProblem& problem,
                                            const DeviceTuning& tuning = {});

/// How many pieces of `piece_bytes` one binding may span so that the next piece can begin another: at most `max_bytes` in all,
/// the sum a multiple of `alignment`. All `pieces` of them when they fit; 0 when not even the fewest that keep the alignment do.
uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment);

}  // namespace vl2
