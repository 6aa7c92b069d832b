#include "runtime/tuning.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numeric>

#include "runtime/shader.h"
#include "shaders/interface/gemm.h"

namespace vl2 {

namespace {

// The cores of the card that this file's figures come from, the workgroups that it wants to be busy, and the invocations that
// keep a core busy: two subgroups of 32 for each of its four matrix units.
constexpr double kTableCores = 132, kEnoughTiles = 160;
constexpr uint64_t kBusyLanes = 256;
// H200, driver 580.159, 2026-11-23, 7290 x 4304 x 1152, x 1152 x 4304 and x 3456 x 1152: 240, 276 and 256 TFLOP/s with a step's
// loads at once, 244, 288 and 265 in two parts.
constexpr uint32_t kFetchParts = 2;
// Slices of K: of matrix tiles; elements that are worth one; and tiles and slices that a f32 product is to have (the router's:
// H200, driver 580.159, 2026-11-23, 2048 x 64 x 2048 by 64 x 64 tiles in 4, 8 and 16 slices 38, 35 and 36 us; by 16 x 64 ones
// without slices 91).
constexpr uint32_t kMatrixSlices = 4, kLeastSlice = 256;
constexpr double kEnoughSlices = 256;

// So many workgroups of that card, on one with other cores.
uint64_t enough(double of_table, const DeviceTuning& tuning) {
  return static_cast<uint64_t>(std::max(1.0, std::round(of_table * tuning.cores / kTableCores)));
}

// Devices whose figures somebody measured; the first is DeviceTuning's default, and what this file's other figures come from.
struct KnownDevice {
  const char* name;  // a part of DeviceCaps::name
  double cores, dispatch_us, cache_bytes_per_us;
};
constexpr KnownDevice kKnownDevices[] = {
    {"H200", 132, 2, 4e6},  // driver 580.159, 2026-11-23
};

uint64_t tiles_of(uint32_t rows, uint32_t tile_rows, uint32_t columns, uint32_t tile_columns) {
  return (uint64_t{rows} + tile_rows - 1) / tile_rows * ((uint64_t{columns} + tile_columns - 1) / tile_columns);
}

bool multiplies_directly(const DeviceCaps& caps, const Quirks& quirks) {
  return quirks.barriers_are_slow && caps.subgroup_ballot;
}

MatmulKernel tile_kernel(const DeviceCaps& caps, const Quirks& quirks) {
  return multiplies_directly(caps, quirks) ? MatmulKernel::GemmDirect : MatmulKernel::GemmTiled;
}

// CPU drivers run a subgroup as one SIMD vector and spread workgroups over cores: one subgroup a workgroup, its lanes side by
// side along the columns, no shared memory. 16 rows, so that a load of x serves 8 lanes and a load of the weight 16 rows.
// llvmpipe of Mesa 25.0.7, 729 x 648 x 216, GFLOP/s a core by CPU time, the best of 14 runs on two busy cores: f16 weights,
// vectors of rows x of columns 2 x 4 19, 3 x 4 12 and 16, 1 x 4 12 and 15, 2 x 2 13 and 15; 2 x 4 in steps of 8 elements of K 8
// and 10 (the loop outgrows the cache for instructions); f32 weights 2 x 4 14. Without broadcasts, each lane loading all rows, 4
// x 4 sums a lane: 4.9. GPUs: 64 x 64 results by 256 invocations, the usual compromise between reuse and occupancy at f32.
//
// Where that makes too few workgroups to fill a card (the router: 64 columns), fewer rows each.
constexpr GemmTile kGemmTile{
    .threads_along_columns = 16, .threads_along_rows = 16, .rows_per_thread = 4, .columns_per_thread = 4};

GemmTile gemm_tile(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows, uint32_t columns, const DeviceTuning& tuning) {
  if (multiplies_directly(caps, quirks))
    return {.threads_along_columns = std::max(caps.subgroup_size, 4u),
            .threads_along_rows = 1,
            .rows_per_thread = std::max(caps.subgroup_size, 4u) * (caps.subgroup_size > 8 ? 1 : 2),
            .columns_per_thread = 4};
  GemmTile tile = tuning.gemm_tile.value_or(kGemmTile);
  while (tile.rows_per_thread > 1 && tiles_of(rows, tile.rows(), columns, tile.columns()) < enough(kEnoughTiles, tuning))
    tile.rows_per_thread /= 2;
  return tile;
}

// Instead of fewer rows each: the whole tile, and slices of K.
void slice_tiles(const MatmulProblem& problem, const DeviceTuning& tuning, MatmulPlan& plan) {
  const GemmTile whole = tuning.gemm_tile.value_or(kGemmTile);
  const uint64_t tiles = tiles_of(problem.rows, whole.rows(), problem.columns, whole.columns());
  const uint64_t slices = std::min<uint64_t>((enough(kEnoughSlices, tuning) + tiles - 1) / tiles, problem.k / kLeastSlice);
  if (tiles >= enough(kEnoughTiles, tuning) || slices < 2)
    return;
  plan.tile = whole;
  plan.slices = static_cast<uint32_t>(slices);
}

// 64 x 64 results by 128 invocations of 32 sums each, so that a load from shared memory serves eight products or more: not measured
// yet. A CPU driver, which gets here only when it is asked to, takes seconds to compile the larger.
constexpr GemmTile kDotTile{
    .threads_along_columns = 16, .threads_along_rows = 8, .rows_per_thread = 8, .columns_per_thread = 4, .k = 64};
constexpr GemmTile kCpuDotTile{
    .threads_along_columns = 8, .threads_along_rows = 8, .rows_per_thread = 2, .columns_per_thread = 2, .k = 64};

// As gemm_tile(); `rows` of x share a weight. Columns are no more than rows (shaders/matmul/gemm_dot.glsl).
GemmTile dot_tile(const Quirks& quirks, const MatmulProblem& problem, uint32_t rows, const DeviceTuning& tuning) {
  GemmTile tile = tuning.dot_tile.value_or(quirks.barriers_are_slow ? kCpuDotTile : kDotTile);
  while (tile.rows_per_thread > 1 &&
         (tiles_of(problem.rows, tile.rows(), problem.columns, tile.columns()) < enough(kEnoughTiles, tuning) ||
          2 * rows <= tile.rows()))
    tile.rows_per_thread /= 2;
  return tile;
}

// Blocks of 32 elements of x are scaled together.
bool has_byte_products(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier, const MatmulProblem& problem,
                       const DeviceTuning& tuning) {
  return tier >= 2 && caps.integer_dot && !quirks.byte_products_are_slow && tuning.dots && problem.bytes && problem.blocks &&
         problem.k % 32 == 0;
}

// A CPU driver compiles every load to a gather, so 8 rows at once take seconds to compile and win nothing.
GemvGroup gemv_group(const DeviceCaps& caps, const Quirks& quirks, uint32_t rows, const DeviceTuning& tuning) {
  if (quirks.barriers_are_slow)
    return {.threads = std::max(caps.subgroup_size, 4u), .columns = 16, .rows = std::min(rows, 2u)};
  GemvGroup group = tuning.gemv_group.value_or(GemvGroup{.threads = 64, .columns = 4, .rows = 1});
  group.rows = rows;
  return group;
}

// Sums a lane may keep in registers beside the fragments that it multiplies: 64 x 64 of a subgroup of 32.
constexpr uint32_t kSumsPerLane = 128;
constexpr uint32_t kMatrixThreads = 256;

struct RatedTile {
  MatrixTile tile;
  uint32_t rate;  // TFLOP/s with the table's card full of them
};

// Larger first; of one size, the first is the experts'. CPU drivers get the last: they take seconds to compile more.
//
// Rates: H200, driver 580.159, 2026-11-23, at 7290 x 3456 x 1152 and 7290 x 4304 x 1152; those of 64 x 64 and 32 x 128 from 1458
// x 4304 x 1152. Four subgroups of 64 x 64 win because two workgroups (248 registers an invocation) fit a core, and one
// multiplies while the other waits at a barrier; steps of 64, because the next one has longer to arrive: in steps of 32, 24 % of
// the time is waiting for loads. Two stages of 32 are no faster than one (237 and 234), a store straight from registers is slower
// (215 and 254; the residual's loads too), and neighbouring tiles for the two workgroups of a core win 0 to 0.9 %. For 64 experts
// with 192 rows each, swiglu and down, the first three of 128 x 128: 221 and 220, 177 and 177, 185 and 168. Tiles of 64 x 32, and
// of 32 x 32 by subgroups of 16 x 16, have a guess.
constexpr RatedTile kMatrixTiles[] = {
    {{.rows = 256, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 64, .k = 32, .stages = 1}, 210},
    {{.rows = 128, .columns = 256, .subgroup_rows = 64, .subgroup_columns = 64, .k = 32, .stages = 1}, 200},
    {{.rows = 128, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 64, .k = 64, .stages = 1}, 254},
    {{.rows = 128, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 32, .k = 64, .stages = 1}, 210},
    {{.rows = 128, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 64, .k = 32, .stages = 1}, 230},
    {{.rows = 128, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 32, .k = 16, .stages = 2}, 169},
    {{.rows = 128, .columns = 128, .subgroup_rows = 64, .subgroup_columns = 32, .k = 32, .stages = 1}, 159},
    {{.rows = 64, .columns = 128, .subgroup_rows = 32, .subgroup_columns = 32, .k = 64, .stages = 1}, 201},
    {{.rows = 64, .columns = 128, .subgroup_rows = 32, .subgroup_columns = 64, .k = 64, .stages = 1}, 198},
    {{.rows = 128, .columns = 64, .subgroup_rows = 64, .subgroup_columns = 32, .k = 64, .stages = 1}, 194},
    {{.rows = 64, .columns = 64, .subgroup_rows = 32, .subgroup_columns = 32, .k = 64, .stages = 1}, 178},
    {{.rows = 64, .columns = 64, .subgroup_rows = 32, .subgroup_columns = 32, .k = 32, .stages = 2}, 97},
    {{.rows = 32, .columns = 128, .subgroup_rows = 32, .subgroup_columns = 32, .k = 64, .stages = 1}, 162},
    {{.rows = 32, .columns = 64, .subgroup_rows = 32, .subgroup_columns = 32, .k = 64, .stages = 1}, 130},
    {{.rows = 32, .columns = 64, .subgroup_rows = 32, .subgroup_columns = 32, .k = 32, .stages = 2}, 77},
    {{.rows = 64, .columns = 32, .subgroup_rows = 32, .subgroup_columns = 16, .k = 16, .stages = 2}, 70},
    {{.rows = 32, .columns = 32, .subgroup_rows = 16, .subgroup_columns = 32, .k = 32, .stages = 1}, 92},
    {{.rows = 32, .columns = 32, .subgroup_rows = 16, .subgroup_columns = 16, .k = 16, .stages = 2}, 70},
};

bool fits(const MatrixTile& tile, const DeviceCaps& caps) {
  const MatrixShape& shape = tile.shape;
  const uint32_t threads = tile.threads(), chunks = tile.k / 8;
  return tile.subgroup_rows % shape.m == 0 && tile.subgroup_columns % (2 * shape.n) == 0 && shape.k % 8 == 0 &&
         tile.k % shape.k == 0 && tile.subgroup_rows * tile.subgroup_columns <= kSumsPerLane * tile.subgroup_size &&
         threads <= std::min(kMatrixThreads, caps.max_workgroup_invocations) && threads % chunks == 0 &&
         tile.rows * chunks % threads == 0 && tile.columns * chunks % threads == 0 &&
         tile.shared_bytes() <= caps.max_shared_bytes;
}

// Where both are there. H200, driver 580.159, 2026-11-22: the best workgroup tile (128 x 256, k 64) reaches 191 TFLOP/s at 4096^3
// and 145 at 7290 x 4304 x 1152, subgroup matrices 248 and 211. Their errors are the same.
constexpr bool kWorkgroupMatricesFirst = false;

constexpr WorkgroupTile kWorkgroupTiles[] = {
    {.rows = 256, .columns = 256, .k = 32, .threads = 256}, {.rows = 256, .columns = 128, .k = 32, .threads = 256},
    {.rows = 128, .columns = 256, .k = 32, .threads = 256}, {.rows = 128, .columns = 256, .k = 64, .threads = 256},
    {.rows = 128, .columns = 128, .k = 32, .threads = 256}, {.rows = 128, .columns = 128, .k = 64, .threads = 256},
    {.rows = 128, .columns = 128, .k = 64, .threads = 128}, {.rows = 64, .columns = 128, .k = 64, .threads = 128},
    {.rows = 64, .columns = 64, .k = 64, .threads = 128},   {.rows = 32, .columns = 64, .k = 64, .threads = 128},
};

bool fits(const WorkgroupTile& tile, const DeviceCaps& caps) {
  return std::any_of(caps.workgroup_matrix.begin(), caps.workgroup_matrix.end(), [&](const WorkgroupMatrix& matrix) {
    return matrix.f32_sum && matrix.invocations == tile.threads && tile.rows % matrix.m == 0 &&
           tile.columns % (2 * matrix.n) == 0 && tile.k % matrix.k == 0;
  });
}

// Larger tiles are for measurements.
bool is_default(const WorkgroupTile& tile, const DeviceCaps&) {
  return tile.rows <= 128 && tile.columns <= 128;
}

// RDNA3 (RADV, Mesa 25.0.7) keeps 128 sums of each of 32 lanes in scratch memory, 64 in registers: its subgroups may have 64
// lanes too.
bool is_default(const MatrixTile& tile, const DeviceCaps& caps) {
  const bool scratch =
      caps.min_subgroup_size == 32 && caps.max_subgroup_size > 32 && tile.subgroup_rows * tile.subgroup_columns > 64 * 32;
  return tile.rows <= 128 && tile.columns <= 128 && !scratch;
}

// The largest tile that makes enough workgroups; if none does, the one that makes the most.
WorkgroupTile filling_tile(const DeviceCaps& caps, const MatmulProblem& problem) {
  WorkgroupTile best{};
  uint64_t most = 0;
  for (const WorkgroupTile& tile : workgroup_tiles(caps)) {
    const uint64_t tiles = tiles_of(problem.rows, tile.rows, problem.columns, tile.columns);
    if (!is_default(tile, caps) || tiles <= most)
      continue;
    best = tile;
    most = tiles;
    if (most >= enough(kEnoughTiles, {}))
      break;
  }
  return best;
}

// The table's tiles that fit, in a shape.
std::vector<TileRate> table_tiles(const DeviceCaps& caps, const MatrixShape& shape, const DeviceTuning& tuning) {
  std::vector<TileRate> tiles;
  for (const RatedTile& rated : kMatrixTiles) {
    TileRate rate{rated.tile, kFetchParts, rated.rate * tuning.cores / kTableCores};
    rate.tile.shape = shape;
    rate.tile.subgroup_size = matrix_subgroup_size(caps);
    if (fits(rate.tile, caps))
      tiles.push_back(rate);
  }
  return tiles;
}

// What there is to choose from: the tiles that were measured and were right, else the table's that suit a device by what is known
// of others.
std::vector<TileRate> rated_tiles(const DeviceCaps& caps, const DeviceTuning& tuning) {
  std::vector<TileRate> tiles;
  if (!tuning.matrix_tiles.empty()) {
    std::copy_if(tuning.matrix_tiles.begin(), tuning.matrix_tiles.end(), std::back_inserter(tiles),
                 [&](const TileRate& rate) { return rate.tflop_s > 0 && tile_fits(caps, rate.tile); });
    return tiles;
  }
  if (const std::vector<MatrixShape> shapes = gemm_shapes(caps); !shapes.empty())
    tiles = table_tiles(caps, shapes[0], tuning);
  if (std::any_of(tiles.begin(), tiles.end(), [&](const TileRate& rate) { return is_default(rate.tile, caps); }))
    std::erase_if(tiles, [&](const TileRate& rate) { return !is_default(rate.tile, caps); });
  return tiles;
}

// How many times longer `lanes` invocations of a core take than their share of a busy one (a guess).
double alone(uint64_t lanes) {
  return lanes == 0 || lanes >= kBusyLanes ? 1
                                           : 1 + 0.6 * std::log2(static_cast<double>(kBusyLanes) / static_cast<double>(lanes));
}

// Microseconds that a problem takes by a tile with K in slices: the busiest core's tiles, as many at once as keep it busy; fewer
// take longer (a guess). To cut K costs the slices' way to memory and back, which holds them in its cache, and a dispatch.
double estimated_time(const TileRate& rated, const MatmulProblem& problem, uint32_t slices, const DeviceTuning& tuning) {
  const MatrixTile& tile = rated.tile;
  const uint64_t tiles = slices * tiles_of(problem.rows, tile.rows, problem.columns, tile.columns);
  const auto a_core = static_cast<uint64_t>(std::ceil(static_cast<double>(tiles) / tuning.cores));
  const uint64_t at_once = std::max<uint64_t>(kBusyLanes / tile.threads(), 1), rest = a_core % at_once;
  const double tile_time = 2e-6 * tile.rows * tile.columns * problem.k / slices * tuning.cores / rated.tflop_s;
  const double products =
      (static_cast<double>(a_core - rest) + static_cast<double>(rest) * alone(rest * tile.threads())) * tile_time;
  const double results = static_cast<double>(problem.rows) * problem.columns;
  return products + (slices == 1 ? 0 : tuning.dispatch_us + 8 * slices * results / tuning.cache_bytes_per_us);
}

// The fastest tile, and the slices of K.
void choose_matrix_tile(const DeviceCaps& caps, const MatmulProblem& problem, const DeviceTuning& tuning, MatmulPlan& plan) {
  double least = 0;
  for (const TileRate& rated : rated_tiles(caps, tuning))
    for (uint32_t slices = 1; slices == 1 || (problem.sliced && slices <= kMatrixSlices && problem.k >= slices * kLeastSlice);
         ++slices) {
      const double time = estimated_time(rated, problem, slices, tuning);
      if (least > 0 && time >= least)
        continue;
      least = time;
      plan.matrix_tile = rated.tile;
      plan.fetch_parts = rated.fetch_parts;
      plan.slices = slices;
    }
}

// Experts: the fastest of the tiles with as many rows as an expert gets on average, and no more than twice; as many as 128.
MatrixTile expert_matrix_tile(const DeviceCaps& caps, uint32_t rows_an_expert, const DeviceTuning& tuning) {
  constexpr uint32_t kMostRows = 128;
  const std::vector<TileRate> tiles = rated_tiles(caps, tuning);
  const auto most_rows_below = [&](uint32_t limit) {
    uint32_t most = 0;
    for (const TileRate& rated : tiles)
      most = rated.tile.rows < limit ? std::max(most, rated.tile.rows) : most;
    return most;
  };
  uint32_t rows = most_rows_below(kMostRows + 1);
  if (rows == 0)
    rows = most_rows_below(UINT32_MAX);
  for (uint32_t fewer = most_rows_below(rows); fewer > 0 && 2 * rows_an_expert <= rows; fewer = most_rows_below(rows))
    rows = fewer;
  TileRate best{};
  for (const TileRate& rated : tiles)
    if (rated.tile.rows == rows && rated.tflop_s > best.tflop_s)
      best = rated;
  return best.tile;
}

bool has_matrices(const DeviceCaps& caps, uint32_t tier, const MatmulProblem& problem, const DeviceTuning& tuning) {
  return tier >= 3 && problem.f16 && !rated_tiles(caps, tuning).empty();
}

bool has_workgroup_matrices(const DeviceCaps& caps, uint32_t tier, const MatmulProblem& problem) {
  return kWorkgroupMatricesFirst && tier >= 4 && problem.f16 && !problem.blocks && shader_built(ShaderId::gemm_coopmat2) &&
         !workgroup_tiles(caps).empty();
}

// Vectors of sums of the values that a subgroup of attention_direct keeps, on the stack mostly: 16 queries of 72 columns.
// llvmpipe of Mesa 25.0.7, 729 queries, 3 heads of 72, one busy core: 8 queries 85 to 109 ms, 16 74 to 121, 24 102 to 123, 32 91
// (and seconds to compile); through shared memory (attention.comp) 108 to 150.
constexpr uint32_t kDirectAttentionSums = 160;

}  // namespace

uint32_t GemmTile::shared_bytes() const {
  // As shaders/matmul/gemm_tile.glsl lays it out: a step of x and of the weight, and the rows' starts.
  return 4 * (k * (rows() + columns() + 2) + rows());
}

uint32_t GemmTile::dot_shared_bytes() const {
  // As shaders/matmul/gemm_dot.glsl lays it out: parts of 16 bytes with a number, and the rows' starts.
  const uint32_t parts = k / 16;
  return 20 * parts * (rows() + columns() + 2 * (8 / parts)) + 4 * rows();
}

uint32_t MatrixTile::shared_bytes() const {
  const uint32_t steps = stages * (rows + columns) * (k / 8 + 1), strips = subgroups() * shape.m * (subgroup_columns / 4 + 1);
  return 16 * std::max(steps, strips);
}

// The narrowest comes last. H200, driver 580.159, 2026-11-23, 16 x 16 x 16 and 16 x 8 x 16, 128 x 128 tiles, TFLOP/s at 7290 x
// 4304 x 1152 and 7290 x 1152 x 4304: 213 and 210, 248 and 235. Attention is 2 to 2.5 times as fast with it (attention_tile).
std::vector<MatrixShape> gemm_shapes(const DeviceCaps& caps) {
  std::vector<MatrixShape> shapes;
  const MatrixShape* narrowest = nullptr;
  for (const MatrixShape& s : caps.matrix_shapes) {
    if (!s.f32_sum || s.k % 8 != 0 || s.n % 8 != 0)
      continue;
    if (shapes.empty())
      shapes.push_back(s);
    if (narrowest == nullptr || s.n < narrowest->n || (s.n == narrowest->n && s.k > narrowest->k))
      narrowest = &s;
  }
  if (narrowest != nullptr && !(*narrowest == shapes[0]))
    shapes.push_back(*narrowest);
  return shapes;
}

std::vector<MatrixTile> matrix_tiles(const DeviceCaps& caps, const MatrixShape& shape) {
  std::vector<MatrixTile> tiles;
  for (const TileRate& rated : table_tiles(caps, shape, {}))
    tiles.push_back(rated.tile);
  return tiles;
}

std::vector<MatrixTile> matrix_tiles(const DeviceCaps& caps) {
  const std::vector<MatrixShape> shapes = gemm_shapes(caps);
  return shapes.empty() ? std::vector<MatrixTile>{} : matrix_tiles(caps, shapes[0]);
}

std::vector<WorkgroupTile> workgroup_tiles(const DeviceCaps& caps) {
  std::vector<WorkgroupTile> tiles;
  std::copy_if(std::begin(kWorkgroupTiles), std::end(kWorkgroupTiles), std::back_inserter(tiles),
               [&](const WorkgroupTile& tile) { return fits(tile, caps); });
  return tiles;
}

DeviceTuning known_tuning(const DeviceCaps& caps) {
  for (const KnownDevice& known : kKnownDevices)
    if (caps.name.find(known.name) != std::string::npos)
      return {.cores = known.cores, .dispatch_us = known.dispatch_us, .cache_bytes_per_us = known.cache_bytes_per_us};
  DeviceTuning tuning;
  if (caps.cores > 0)
    tuning.cores = caps.cores;
  return tuning;
}

bool tile_fits(const DeviceCaps& caps, const MatrixTile& tile) {
  const auto& shapes = caps.matrix_shapes;
  const auto divides = [](uint32_t part, uint32_t whole) { return part > 0 && whole > 0 && whole % part == 0; };
  return tile.shape.f32_sum && std::find(shapes.begin(), shapes.end(), tile.shape) != shapes.end() &&
         tile.subgroup_size == matrix_subgroup_size(caps) && tile.subgroup_size > 0 && tile.rows <= 1024 &&
         tile.columns <= 1024 && tile.k <= 1024 && divides(tile.subgroup_rows, tile.rows) &&
         divides(tile.subgroup_columns, tile.columns) && divides(8, tile.k) && (tile.stages == 1 || tile.stages == 2) &&
         fits(tile, caps);
}

bool tile_fits(const DeviceCaps& caps, const GemmTile& tile) {
  for (const uint32_t part : {tile.threads_along_columns, tile.threads_along_rows, tile.rows_per_thread, tile.columns_per_thread})
    if (part == 0 || part > 64)
      return false;
  return tile.k > 0 && tile.k % 4 == 0 && tile.k <= 256 && tile.threads() <= caps.max_workgroup_invocations &&
         tile.shared_bytes() <= caps.max_shared_bytes && tile.rows_per_thread * tile.columns_per_thread <= 64;
}

std::vector<GemmTile> gemm_tile_candidates(const DeviceCaps& caps) {
  std::vector<GemmTile> tiles;
  for (const uint32_t threads : {16u, 8u})
    for (const uint32_t results : {4u, 8u})
      for (const uint32_t k : {16u, 32u, 64u})
        tiles.push_back({threads, threads, results, results == 8 && threads == 16 ? 4 : results, k});
  std::erase_if(tiles, [&](const GemmTile& tile) { return !tile_fits(caps, tile); });
  return tiles;
}

bool dot_tile_fits(const DeviceCaps& caps, const GemmTile& tile) {
  const bool whole_blocks = tile.k == 32 || tile.k == 64 || tile.k == 128;
  return whole_blocks &&
         tile_fits(caps, GemmTile{tile.threads_along_columns, tile.threads_along_rows, tile.rows_per_thread,
                                  tile.columns_per_thread, 4}) &&
         tile.dot_shared_bytes() <= caps.max_shared_bytes;
}

std::vector<GemmTile> dot_tile_candidates(const DeviceCaps& caps) {
  std::vector<GemmTile> tiles = {kDotTile};
  for (const uint32_t k : {64u, 32u})
    for (const auto& [along_columns, along_rows] : {std::pair{16u, 8u}, {16u, 16u}, {8u, 8u}})
      for (const auto& [rows, columns] : {std::pair{8u, 4u}, {4u, 4u}, {8u, 8u}})
        if (const GemmTile tile{along_columns, along_rows, rows, columns, k}; tile != kDotTile)
          tiles.push_back(tile);
  std::erase_if(tiles, [&](const GemmTile& tile) { return !dot_tile_fits(caps, tile); });
  return tiles;
}

std::vector<GemvGroup> gemv_group_candidates(const DeviceCaps& caps) {
  std::vector<GemvGroup> groups = {{.threads = 64, .columns = 4, .rows = 1}};
  for (const uint32_t threads : {32u, 64u, 128u, 256u})
    for (const uint32_t columns : {2u, 4u, 8u, 16u})
      if (const GemvGroup group{threads, columns, 1};
          threads <= caps.max_workgroup_invocations && threads >= caps.subgroup_size && !(group == groups[0]))
        groups.push_back(group);
  return groups;
}

double matrix_tile_rate(const MatrixTile& tile, const MatmulProblem& problem, double us, const DeviceTuning& tuning) {
  return us > 0 ? estimated_time({tile, kFetchParts, 1}, problem, 1, tuning) / us : 0;
}

double matrix_tile_alone(const MatrixTile& tile) {
  return alone(tile.threads());
}

MatmulPlan plan_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier, const MatmulProblem& problem,
                       const DeviceTuning& tuning) {
  MatmulPlan plan{problem.rows <= GEMV_MAX_ROWS ? MatmulKernel::Gemv : tile_kernel(caps, quirks),
                  gemm_tile(caps, quirks, problem.rows, problem.columns, tuning),
                  gemv_group(caps, quirks, std::min(problem.rows, GEMV_MAX_ROWS), tuning)};
  if (plan.kernel == MatmulKernel::Gemv)
    return plan;
  if (has_workgroup_matrices(caps, tier, problem)) {
    plan.kernel = MatmulKernel::GemmCoopmat2;
    plan.workgroup_tile = filling_tile(caps, problem);
  } else if (has_matrices(caps, tier, problem, tuning)) {
    plan.kernel = MatmulKernel::GemmCoopmat;
    if (quirks.barriers_are_slow)
      plan.matrix_tile = matrix_tiles(caps).back();
    else
      choose_matrix_tile(caps, problem, tuning, plan);
  } else if (has_byte_products(caps, quirks, tier, problem, tuning)) {
    plan.kernel = MatmulKernel::GemmDot;
    plan.tile = dot_tile(quirks, problem, problem.rows, tuning);
  } else if (plan.kernel == MatmulKernel::GemmTiled && problem.sliced && !quirks.barriers_are_slow) {
    slice_tiles(problem, tuning, plan);
  }
  return plan;
}

MatmulPlan plan_expert_matmul(const DeviceCaps& caps, const Quirks& quirks, uint32_t tier, const MatmulProblem& problem,
                              uint32_t experts, const DeviceTuning& tuning) {
  // Gemv reads an expert once a pair, tiles once a tile; with about two pairs an expert the tiles are nearly empty.
  const bool few = problem.rows <= GEMV_MAX_ROWS || problem.rows <= 2 * uint64_t{experts};
  MatmulPlan plan{few ? MatmulKernel::Gemv : tile_kernel(caps, quirks),
                  gemm_tile(caps, quirks, problem.rows, problem.columns, tuning), gemv_group(caps, quirks, 1, tuning)};
  if (!few && has_matrices(caps, tier, problem, tuning)) {
    plan.kernel = MatmulKernel::GemmCoopmat;
    plan.matrix_tile =
        quirks.barriers_are_slow ? matrix_tiles(caps).back() : expert_matrix_tile(caps, problem.rows / experts, tuning);
  } else if (!few && has_byte_products(caps, quirks, tier, problem, tuning)) {
    plan.kernel = MatmulKernel::GemmDot;
    plan.tile = dot_tile(quirks, problem, problem.rows / experts, tuning);
  }
  return plan;
}

uint32_t prefill_chunk(const DeviceCaps& caps) {
  return caps.type == DeviceType::Cpu ? 512 : 2048;
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

std::optional<AttentionTile> attention_tile(const DeviceCaps& caps, const Quirks& quirks, const AttentionProblem& problem,
                                            const DeviceTuning& tuning) {
  const uint32_t depth = problem.depth, value_width = problem.value_width;
  // The narrowest tile of scores: H200, driver 580.159, 2026-11-22, 16 x 8 x 16 against 16 x 16 x 16, both with 32 keys and
  // prefetch (ms): vision of 10 views 0.18 and 0.49, MLA of 2048 queries after 2048 more 0.57 and 0.99.
  const MatrixShape* shape = nullptr;
  for (const MatrixShape& s : caps.matrix_shapes)
    if (attention_shape_fits(caps, s) && (shape == nullptr || s.n < shape->n))
      shape = &s;
  if (shape == nullptr)
    return {};
  // 16 queries a subgroup and 32 keys a block keep queries (up to 48 registers of 32 lanes), values (64) and scores (16) in
  // registers with room for three workgroups of four subgroups on a multiprocessor of 64 Ki registers. Same card: 64 keys instead
  // of 32 0.32 and 0.20 ms for vision; without prefetch MLA 0.70 instead of 0.57. RDNA3 (RADV, Mesa 25.0.7), whose tiles of
  // scores are 16 x 16, spills with it in MLA.
  AttentionTile tile{.shape = *shape,
                     .subgroup_size = matrix_subgroup_size(caps),
                     .subgroups = 4,
                     .row_tiles = shape->m < 16 ? 2u : 1u,
                     .keys = std::lcm(std::lcm(shape->n, shape->k), 32u),
                     .prefetch = value_width <= 80 || shape->n < 16};
  // Narrow heads leave registers for 32 queries a subgroup, which load keys and values half as often: 0.155 instead of 0.180 ms
  // for vision of 10 views (2026-11-23; 3, 2 and 8 subgroups of them 0.179, 0.189 and 0.169). Only where tiles fill a card as
  // they did there.
  const uint32_t least_row_tiles = tile.row_tiles;
  tile.row_tiles = 2;
  if (value_width > 80 || shape->n >= 16 || problem.queries < 2 * enough(kEnoughTiles, tuning) * tile.queries())
    tile.row_tiles = least_row_tiles;
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
  if (!fits())
    tile.row_tiles = std::min(tile.row_tiles, least_row_tiles);
  while (!fits() && tile.subgroups > 1)
    tile.subgroups /= 2;
  if (!fits())
    return {};
  return tile;
}

std::optional<DirectAttentionTile> direct_attention_tile(const DeviceCaps& caps, const Quirks& quirks, uint32_t value_width) {
  if (!multiplies_directly(caps, quirks))
    return {};
  const uint32_t lanes = std::max(caps.subgroup_size, 4u), left = value_width % (4 * lanes);
  DirectAttentionTile tile{
      .threads = lanes, .query_vectors = 1, .value_quads = value_width / (4 * lanes), .value_tail = (left + lanes - 1) / lanes};
  const uint32_t vectors = 4 * tile.value_quads + tile.value_tail;
  tile.query_vectors = std::clamp(kDirectAttentionSums / (lanes * vectors), 1u, 4u);
  return tile;
}

uint32_t pieces_per_binding(uint32_t pieces, uint64_t piece_bytes, uint64_t max_bytes, uint32_t alignment) {
  if (piece_bytes * pieces <= max_bytes)
    return pieces;
  const uint64_t step = alignment / std::gcd(piece_bytes, uint64_t{alignment});
  return static_cast<uint32_t>(max_bytes / piece_bytes / step * step);
}

}  // namespace vl2
