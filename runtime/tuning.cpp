#include "runtime/tuning.h"

#include <algorithm>
#include <numeric>

#include "shaders/interface/gemm.h"

namespace vl2 {

namespace {

// CPU drivers run a subgroup as one SIMD vector and spread workgroups over cores: one subgroup a workgroup, its lanes side by
// side along the columns, sums in as many vector registers as there are, no shared memory. lavapipe 25.0.7, 729 x 1152 x 1152,
// f16 weights, two busy cores (GFLOP/s by CPU time, two cores): 4 x 4 sums a lane 10, 8 x 4 7.3, 8 x 8 6.3, 16 x 2 3.4; through
// shared memory 8 x 8 4.4, 4 x 4 2.9. GPUs: 64 x 64 results by 256 invocations, the usual compromise between reuse and occupancy
// at f32.
GemmTile gemm_tile(const DeviceCaps& caps, const Quirks& quirks) {
  if (quirks.barriers_are_slow)
    return {.threads_along_columns = std::max(caps.subgroup_size, 4u),
            .threads_along_rows = 1,
            .rows_per_thread = 4,
            .columns_per_thread = 4,
            .through_shared = false};
  return {.threads_along_columns = 16,
          .threads_along_rows = 16,
          .rows_per_thread = 4,
          .columns_per_thread = 4,
          .through_shared = true};
}

// A CPU driver compiles every load to a gather, so 8 rows at once take seconds to compile and win nothing.
GemvGroup gemv_group(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows) {
  if (quirks.barriers_are_slow)
    return {.threads = std::max(caps.subgroup_size, 4u), .columns = 16, .rows = std::min(rows, 2u)};
  return {.threads = 64, .columns = 4, .rows = rows};
}

}  // namespace

MatmulPlan plan_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows) {
  return {rows <= GEMV_MAX_ROWS ? MatmulKernel::Gemv : MatmulKernel::GemmTiled, gemm_tile(caps, quirks),
          gemv_group(caps, quirks, std::min(rows, GEMV_MAX_ROWS))};
}

MatmulPlan plan_expert_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t pairs, uint32_t experts) {
  // Gemv reads an expert once a pair, tiles once a tile; with about two pairs an expert the tiles are nearly empty.
  const bool few = pairs <= GEMV_MAX_ROWS || pairs <= 2 * uint64_t{experts};
  return {few ? MatmulKernel::Gemv : MatmulKernel::GemmTiled, gemm_tile(caps, quirks), gemv_group(caps, quirks, 1)};
}

uint32_t AttentionTile::shared_bytes(uint32_t depth, uint32_t value_width) const {
  // As shaders/attention/matrix.glsl lays it out, in 16 bytes.
  const auto up = [](uint32_t value, uint32_t step) { return (value + step - 1) / step * step; };
  const uint32_t key_pitch = up(depth, shape.k) / 8 | 1u, value_pitch = up(value_width, shape.n) / 8 | 1u;
  const uint32_t scratch_pitch = std::max(keys / 8 | 1u, shape.n / 4 + 1);
  return 16 * (keys * (key_pitch + value_pitch) + shape.m * shape.n / 4 + queries() * scratch_pitch);
}

bool attention_shape_fits(const DeviceCaps& caps, const MatrixShape& shape) {
  const auto& shapes = caps.matrix_shapes;
  const MatrixShape halves{shape.m, shape.n, shape.k, false};
  return shape.f32_sum && shape.m % 8 == 0 && shape.n % 8 == 0 && shape.k % 8 == 0 &&
         std::find(shapes.begin(), shapes.end(), halves) != shapes.end();
}

std::optional<AttentionTile> attention_tile(const DeviceCaps& caps, const Quirks& quirks, uint32_t depth, uint32_t value_width) {
  const auto shape = std::find_if(caps.matrix_shapes.begin(), caps.matrix_shapes.end(),
                                  [&](const MatrixShape& s) { return attention_shape_fits(caps, s); });
  if (shape == caps.matrix_shapes.end())
    return {};
  // 16 queries a subgroup and 32 keys a block keep queries (up to 48 registers of 32 lanes), values (64) and scores (16) in
  // registers with room for three workgroups of four subgroups on a multiprocessor of 64 Ki registers; 64 keys where the values
  // are narrow.
  AttentionTile tile{.shape = *shape,
                     .subgroup_size = matrix_subgroup_size(caps),
                     .subgroups = 4,
                     .row_tiles = shape->m < 16 ? 2u : 1u,
                     .keys = std::lcm(std::lcm(shape->n, shape->k), value_width <= 80 ? 64u : 32u),
                     .prefetch = value_width <= 80};
  // A CPU driver compiles every product of two tiles to hundreds of instructions, for minutes if there are many.
  // One subgroup, also because lavapipe 26.1.6 gave NaN where several of a workgroup took different ways between subgroup
  // barriers (729 keys, 4 subgroups, likely when only some rescale).
  if (quirks.barriers_are_slow) {
    tile.subgroups = tile.row_tiles = 1;
    tile.keys = std::lcm(shape->n, shape->k);
    tile.prefetch = false;
  }
  const auto fits = [&] {
    return tile.threads() <= caps.max_workgroup_invocations && tile.shared_bytes(depth, value_width) <= caps.max_shared_bytes;
  };
  while (!fits() && tile.keys % 64 == 0 && tile.keys > 32)
    tile.keys /= 2;
  while (!fits() && tile.subgroups > 1)
    tile.subgroups /= 2;
  if (!fits())
    return {};
  return tile;
}

uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment) {
  if (piece_bytes * pieces <= max_bytes)
    return pieces;
  const uint64_t step = alignment / std::gcd(piece_bytes, uint64_t{alignment});
  return static_cast<uint32_t>(max_bytes / piece_bytes / step * step);
}

}  // namespace vl2
