#include "runtime/tuning.h"

#include <algorithm>
#include <doctest/doctest.h>
#include <utility>

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

namespace {
DeviceCaps caps_of(DeviceType type, uint32_t subgroup_size) {
  DeviceCaps caps;
  caps.type = type;
  caps.subgroup_size = subgroup_size;
  caps.subgroup_ballot = true;
  return caps;
}

MatmulPlan matmul_plan(const DeviceCaps& caps, uint32_t rows, uint32_t columns = 2048) {
  return plan_matmul(caps, find_quirks(caps, "").value(), 1, {.rows = rows, .columns = columns});
}

MatmulPlan expert_matmul_plan(const DeviceCaps& caps, uint32_t pairs, uint32_t experts) {
  return plan_expert_matmul(caps, find_quirks(caps, "").value(), 1, {.rows = pairs, .columns = 2048}, experts);
}

// Devices with matrix units: shape, subgroup sizes that a pipeline may ask for, shared memory, largest workgroup.
DeviceCaps matrix_caps(MatrixShape shape, uint32_t smallest, uint32_t largest, uint32_t shared_bytes = 49152) {
  DeviceCaps caps = caps_of(DeviceType::Discrete, largest);
  shape.f32_sum = true;
  caps.matrix_shapes = {shape};
  caps.min_subgroup_size = smallest;
  caps.max_subgroup_size = largest;
  caps.max_shared_bytes = shared_bytes;
  caps.max_workgroup_invocations = 1024;
  caps.float16 = caps.storage16 = true;
  return caps;
}

MatmulPlan matrix_plan(const DeviceCaps& caps, uint32_t rows, uint32_t columns) {
  return plan_matmul(caps, Quirks{}, 3, {.rows = rows, .columns = columns, .f16 = true});
}

uint64_t tile_count(const MatrixTile& tile, uint32_t rows, uint32_t columns) {
  return uint64_t{(rows + tile.rows - 1) / tile.rows} * ((columns + tile.columns - 1) / tile.columns);
}
}  // namespace

TEST_CASE("tuning: up to 8 rows of x are multiplied by gemv, more by tiles") {
  for (const DeviceType type : {DeviceType::Cpu, DeviceType::Discrete}) {
    CHECK(matmul_plan(caps_of(type, 32), 1).kernel == MatmulKernel::Gemv);
    CHECK(matmul_plan(caps_of(type, 32), 8).kernel == MatmulKernel::Gemv);
    CHECK(matmul_plan(caps_of(type, 32), 9).kernel ==
          (type == DeviceType::Cpu ? MatmulKernel::GemmDirect : MatmulKernel::GemmTiled));
  }
}

TEST_CASE("tuning: a decoded token's experts go through gemv, a prompt's through tiles") {
  const DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  CHECK(expert_matmul_plan(caps, 6, 64).kernel == MatmulKernel::Gemv);
  CHECK(expert_matmul_plan(caps, 8, 1).kernel == MatmulKernel::Gemv);
  CHECK(expert_matmul_plan(caps, 128, 64).kernel == MatmulKernel::Gemv);
  CHECK(expert_matmul_plan(caps, 129, 64).kernel == MatmulKernel::GemmTiled);
  CHECK(expert_matmul_plan(caps, 6 * 2048, 64).kernel == MatmulKernel::GemmTiled);
}

TEST_CASE("tuning: tiles fit tier 0 on every device") {
  for (const DeviceType type : {DeviceType::Cpu, DeviceType::Integrated, DeviceType::Discrete, DeviceType::Other})
    for (const uint32_t subgroup_size : {4u, 8u, 32u, 64u}) {
      const MatmulPlan plan = matmul_plan(caps_of(type, subgroup_size), 100);
      CHECK(plan.tile.threads() <= 256);
      CHECK(plan.tile.rows() == plan.tile.threads_along_rows * plan.tile.rows_per_thread);
      // One tile of x, one of the weight (16 steps of K, a word of padding) and the rows' starts.
      CHECK(4 * (16 * (plan.tile.rows() + 1) + 16 * (plan.tile.columns() + 1) + plan.tile.rows()) <= 32768);
      CHECK(plan.group.threads <= 256);
      CHECK(plan.group.columns % 2 == 0);  // a subgroup makes two columns at a time
    }
}

TEST_CASE("tuning: a CPU gets small groups that share nothing, a GPU tiles in shared memory") {
  CHECK(matmul_plan(caps_of(DeviceType::Cpu, 8), 100).kernel == MatmulKernel::GemmDirect);
  CHECK(matmul_plan(caps_of(DeviceType::Cpu, 8), 100).tile.threads() == 8);
  CHECK(matmul_plan(caps_of(DeviceType::Discrete, 32), 100).kernel == MatmulKernel::GemmTiled);
}

TEST_CASE("tuning: attention on a CPU owns every column of the values once, and is not for GPUs") {
  const Quirks slow{.barriers_are_slow = true};
  for (const uint32_t lanes : {4u, 8u, 16u})
    for (const uint32_t width : {1u, 31u, 64u, 72u, 128u}) {
      CAPTURE(lanes);
      CAPTURE(width);
      const auto tile = direct_attention_tile(caps_of(DeviceType::Cpu, lanes), slow, width);
      REQUIRE(tile.has_value());
      CHECK(tile->threads == lanes);
      CHECK(tile->queries() >= lanes);
      const uint32_t columns = lanes * (4 * tile->value_quads + tile->value_tail);
      CHECK(columns >= width);
      CHECK(columns < width + lanes);
      CHECK(4 * lanes * tile->value_quads <= width);  // a load of four never starts beyond the row
    }
  CHECK_FALSE(direct_attention_tile(caps_of(DeviceType::Discrete, 32), Quirks{}, 72).has_value());
  DeviceCaps no_ballot = caps_of(DeviceType::Cpu, 8);
  no_ballot.subgroup_ballot = false;
  CHECK_FALSE(direct_attention_tile(no_ballot, slow, 72).has_value());
  CHECK(plan_matmul(no_ballot, slow, 0, {.rows = 100, .columns = 64}).kernel == MatmulKernel::GemmTiled);
}

TEST_CASE("tuning: few columns get smaller tiles, so that a card has work for its cores") {
  const DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  CHECK(matmul_plan(caps, 2048, 2048).tile.rows() == 64);
  CHECK(matmul_plan(caps, 2048, 64).tile.rows() == 16);  // the router
  CHECK(matmul_plan(caps, 100, 64).tile.rows() == 16);
}

TEST_CASE("tuning: matrix units multiply f16 by f16 from tier 3 on, when there are more rows than gemv takes") {
  const DeviceCaps caps = matrix_caps({16, 16, 16}, 32, 32);
  const MatmulProblem f16{.rows = 100, .columns = 2048, .f16 = true}, f32{.rows = 100, .columns = 2048};
  CHECK(plan_matmul(caps, Quirks{}, 3, f16).kernel == MatmulKernel::GemmCoopmat);
  CHECK(plan_matmul(caps, Quirks{}, 2, f16).kernel == MatmulKernel::GemmTiled);
  CHECK(plan_matmul(caps, Quirks{}, 3, f32).kernel == MatmulKernel::GemmTiled);
  CHECK(plan_matmul(caps, Quirks{}, 3, {.rows = 8, .columns = 2048, .f16 = true}).kernel == MatmulKernel::Gemv);
  CHECK(plan_expert_matmul(caps, Quirks{}, 3, f16, 64).kernel == MatmulKernel::Gemv);
  CHECK(plan_expert_matmul(caps, Quirks{}, 3, {.rows = 1000, .columns = 2048, .f16 = true}, 64).kernel ==
        MatmulKernel::GemmCoopmat);
  CHECK(plan_matmul(caps_of(DeviceType::Discrete, 32), Quirks{}, 3, f16).kernel == MatmulKernel::GemmTiled);  // no units
}

TEST_CASE("tuning: every device with matrix units gets tiles that its shape, subgroups and shared memory can do") {
  for (const MatrixShape& shape : {MatrixShape{16, 16, 16}, {16, 8, 16}, {8, 16, 16}, {8, 8, 8}, {16, 8, 8}})
    for (const auto& [smallest, largest] :
         {std::pair{8u, 8u}, {8u, 32u}, {16u, 32u}, {32u, 32u}, {32u, 64u}, {64u, 64u}, {64u, 128u}})
      for (const uint32_t shared_bytes : {32768u, 49152u, 65536u}) {
        CAPTURE(shape.m);
        CAPTURE(shape.n);
        CAPTURE(smallest);
        CAPTURE(shared_bytes);
        const auto tiles = matrix_tiles(matrix_caps(shape, smallest, largest, shared_bytes));
        CHECK(tiles.size() >= 3);  // large problems and small ones
        for (const MatrixTile& tile : tiles) {
          CHECK(tile.subgroup_size == smallest);
          CHECK(tile.threads() <= 256);
          CHECK(tile.shared_bytes() <= shared_bytes);
          CHECK(tile.rows % tile.subgroup_rows == 0);
          CHECK(tile.columns % tile.subgroup_columns == 0);
          CHECK(tile.subgroup_rows % shape.m == 0);
          CHECK(tile.subgroup_columns % (2 * shape.n) == 0);  // gate and up, a matrix each
          CHECK(tile.k % shape.k == 0);
          CHECK(tile.rows * tile.k / 8 % tile.threads() == 0);  // an invocation loads 8 elements at a time
          CHECK(tile.columns * tile.k / 8 % tile.threads() == 0);
        }
      }
}

TEST_CASE("tuning: a matrix tile is as large as the problem fills a card with") {
  const DeviceCaps caps = matrix_caps({16, 16, 16}, 32, 32);
  CHECK(matrix_plan(caps, 7290, 4304).matrix_tile.rows == 128);
  CHECK(matrix_plan(caps, 7290, 4304).matrix_tile.columns == 128);
  // Where large tiles leave cores without one, more of smaller ones, or large ones by more subgroups.
  for (const auto& [rows, columns] : {std::pair{729u, 1152u}, {2048u, 512u}, {1458u, 1152u}}) {
    const MatrixTile tile = matrix_plan(caps, rows, columns).matrix_tile;
    CHECK(tile.threads() * tile_count(tile, rows, columns) >= 132 * 200);  // the cores of an H200
    CHECK((tile.rows * tile.columns < 128 * 128 || tile.threads() == 256));
  }
  const MatrixTile least = matrix_plan(caps, 9, 64).matrix_tile;
  CHECK(least.rows * least.columns <= 32 * 64);
}

TEST_CASE("tuning: K is cut where tiles alone leave cores without one, K is long and there is memory") {
  const DeviceCaps caps = matrix_caps({16, 16, 16}, 32, 32);
  const auto slices = [&](uint32_t rows, uint32_t columns, uint32_t k, bool memory, bool f16 = true) {
    return plan_matmul(caps, Quirks{}, 3, {.rows = rows, .columns = columns, .f16 = f16, .k = k, .sliced = memory}).slices;
  };
  CHECK(slices(1458, 1152, 4304, true) == 2);  // measured: tuning.cpp
  CHECK(slices(1458, 1152, 4304, false) == 1);
  CHECK(slices(1458, 1152, 1152, true) == 1);
  CHECK(slices(1458, 3456, 1152, true) == 1);
  CHECK(slices(7290, 1152, 4304, true) == 1);
  CHECK(slices(2048, 64, 2048, true, false) == 8);  // the router
  CHECK(slices(2048, 64, 2048, false, false) == 1);
  CHECK(slices(2048, 64, 256, true, false) == 1);
  CHECK(slices(1, 64, 2048, true, false) == 1);
  CHECK(
      plan_matmul(caps, Quirks{.barriers_are_slow = true}, 3, {.rows = 2048, .columns = 64, .k = 2048, .sliced = true}).slices ==
      1);
}

TEST_CASE("tuning: an expert's tile has about as many rows as an expert gets") {
  DeviceCaps caps = matrix_caps({16, 16, 16}, 32, 32);
  const auto rows = [&](uint32_t pairs) {
    return plan_expert_matmul(caps, Quirks{}, 3, {.rows = pairs, .columns = 2816, .f16 = true}, 64).matrix_tile.rows;
  };
  CHECK(rows(2048 * 6) == 128);
  CHECK(rows(512 * 6) == 64);
  CHECK(rows(257 * 6) == 32);
  CHECK(rows(64 * 6) == 32);
  // Large tiles by the fewest subgroups, and by the longest steps that shared memory holds.
  const auto large = [&] {
    return plan_expert_matmul(caps, Quirks{}, 3, {.rows = 2048 * 6, .columns = 2816, .f16 = true}, 64).matrix_tile;
  };
  CHECK(large().threads() == 128);
  CHECK(large().k == 64);
  caps.max_shared_bytes = 32 * 1024;
  CHECK(large().threads() == 128);
  CHECK(large().k == 32);
  caps = matrix_caps({16, 16, 16}, 32, 64);  // a subgroup's sums of 64 x 64 would be in scratch memory
  CHECK(large().threads() == 256);
}

namespace {
MatrixTile tile_of(uint32_t rows, uint32_t columns, uint32_t subgroup_rows, uint32_t subgroup_columns) {
  return {.rows = rows,
          .columns = columns,
          .subgroup_rows = subgroup_rows,
          .subgroup_columns = subgroup_columns,
          .k = 32,
          .stages = 1,
          .shape = {16, 16, 16, true},
          .subgroup_size = 32};
}
}  // namespace

TEST_CASE("tuning: measured rates decide, and a tile whose results were wrong is never chosen") {
  const DeviceCaps caps = matrix_caps({16, 16, 16}, 32, 32);
  const MatrixTile large = tile_of(128, 128, 64, 32), small = tile_of(64, 64, 32, 32), odd = tile_of(64, 128, 32, 64);
  DeviceTuning tuning{.cores = 20, .matrix_tiles = {{large, 4, 40}, {small, 1, 20}}};
  const auto plan = [&](uint32_t rows, uint32_t columns) {
    return plan_matmul(caps, Quirks{}, 3, {.rows = rows, .columns = columns, .f16 = true}, tuning);
  };
  const auto expert_tile = [&](uint32_t pairs) {
    return plan_expert_matmul(caps, Quirks{}, 3, {.rows = pairs, .columns = 2816, .f16 = true}, 64, tuning).matrix_tile;
  };
  CHECK(plan(4096, 4096).matrix_tile == large);
  CHECK(plan(4096, 4096).fetch_parts == 4);
  CHECK(plan(256, 256).matrix_tile == small);  // 4 of the large ones, twice as fast, keep 4 cores of 20 busy
  CHECK(plan(256, 256).fetch_parts == 1);
  CHECK(expert_tile(2048 * 6) == large);
  CHECK(expert_tile(512 * 6) == small);

  tuning.matrix_tiles[0].tflop_s = 19;
  CHECK(plan(4096, 4096).matrix_tile == small);
  tuning.matrix_tiles[1].tflop_s = 0;
  CHECK(plan(4096, 4096).matrix_tile == large);
  CHECK(plan(256, 256).matrix_tile == large);
  CHECK(expert_tile(512 * 6) == large);
  tuning.matrix_tiles[0].tflop_s = 0;
  CHECK(plan(4096, 4096).kernel == MatmulKernel::GemmTiled);  // no kernel on matrix units was right
  CHECK(plan_expert_matmul(caps, Quirks{}, 3, {.rows = 12288, .columns = 2816, .f16 = true}, 64, tuning).kernel ==
        MatmulKernel::GemmTiled);

  tuning.matrix_tiles = {{odd, 2, 30}};  // no tile of the table: what was measured counts
  CHECK(plan(4096, 4096).matrix_tile == odd);
  tuning.matrix_tiles[0].tile.shape.n = 8;  // but not a shape that the device has not
  CHECK(plan(4096, 4096).kernel == MatmulKernel::GemmTiled);
}

TEST_CASE("tuning: a device with fewer cores is content with fewer workgroups") {
  const DeviceCaps caps = caps_of(DeviceType::Integrated, 32);
  const auto tile = [&](double cores) {
    return plan_matmul(caps, Quirks{}, 1, {.rows = 512, .columns = 512}, {.cores = cores}).tile;
  };
  CHECK(tile(132).rows() == 16);  // 256 workgroups
  CHECK(tile(12).rows() == 64);   // 64
  const auto slices = [&](double cores) {
    return plan_matmul(caps, Quirks{}, 1, {.rows = 2048, .columns = 64, .k = 2048, .sliced = true}, {.cores = cores}).slices;
  };
  CHECK(slices(132) == 8);
  CHECK(slices(33) == 2);
  CHECK(slices(12) == 1);
  // Matrix tiles too: the larger ones again where there are few cores.
  const DeviceCaps matrix = matrix_caps({16, 16, 16}, 32, 32);
  const auto results = [&](double cores) {
    const MatrixTile t =
        plan_matmul(matrix, Quirks{}, 3, {.rows = 512, .columns = 512, .f16 = true}, {.cores = cores}).matrix_tile;
    return t.rows * t.columns;
  };
  CHECK(results(132) < 64 * 128);
  CHECK(results(8) == 128 * 128);
}

TEST_CASE("tuning: measured tiles and groups are taken where there are no matrix units") {
  DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  caps.max_workgroup_invocations = 256;
  caps.max_shared_bytes = 32768;
  const DeviceTuning tuning{.gemm_tile = GemmTile{8, 8, 8, 8, 32}, .gemv_group = GemvGroup{128, 8, 1}};
  CHECK(plan_matmul(caps, Quirks{}, 1, {.rows = 4096, .columns = 4096}, tuning).tile == *tuning.gemm_tile);
  CHECK(plan_matmul(caps, Quirks{}, 1, {.rows = 3, .columns = 4096}, tuning).group == GemvGroup{128, 8, 3});
  CHECK(plan_expert_matmul(caps, Quirks{}, 1, {.rows = 6, .columns = 4096}, 64, tuning).group == GemvGroup{128, 8, 1});
  const Quirks slow{.barriers_are_slow = true};  // a CPU driver has its own, whatever a file says
  CHECK(plan_matmul(caps, slow, 1, {.rows = 4096, .columns = 4096}, tuning) ==
        plan_matmul(caps, slow, 1, {.rows = 4096, .columns = 4096}));
  CHECK(gemm_tile_candidates(caps).size() >= 6);
  CHECK(gemm_tile_candidates(caps)[0] == plan_matmul(caps, Quirks{}, 1, {.rows = 4096, .columns = 4096}).tile);
  CHECK(gemv_group_candidates(caps)[0] == plan_matmul(caps, Quirks{}, 1, {.rows = 1, .columns = 4096}).group);
}

TEST_CASE("tuning: products of bytes are for weights in blocks in tier 2, where there is memory for x in bytes") {
  DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  caps.max_workgroup_invocations = 256;
  caps.max_shared_bytes = 32768;
  caps.integer_dot = true;
  const MatmulProblem fits{.rows = 2048, .columns = 2048, .f16 = true, .blocks = true, .k = 1408, .bytes = true};
  const auto kernel = [&](const MatmulProblem& problem, uint32_t tier = 2, const DeviceTuning& tuning = {}, Quirks quirks = {}) {
    const MatmulKernel dense = plan_matmul(caps, quirks, tier, problem, tuning).kernel;
    CHECK((plan_expert_matmul(caps, quirks, tier, problem, 8, tuning).kernel == MatmulKernel::GemmDot) ==
          (dense == MatmulKernel::GemmDot));
    return dense;
  };
  CHECK(kernel(fits) == MatmulKernel::GemmDot);
  CHECK(kernel(fits, 1) == MatmulKernel::GemmTiled);
  CHECK(kernel(fits, 2, {.dots = false}) == MatmulKernel::GemmTiled);
  CHECK(kernel(fits, 2, {}, {.byte_products_are_slow = true}) == MatmulKernel::GemmTiled);
  MatmulProblem other = fits;
  other.blocks = false;
  CHECK(kernel(other) == MatmulKernel::GemmTiled);
  other = fits;
  other.bytes = false;
  CHECK(kernel(other) == MatmulKernel::GemmTiled);
  other = fits;
  other.k = 1416;
  CHECK(kernel(other) == MatmulKernel::GemmTiled);
  other = fits;
  other.rows = 8;
  CHECK(kernel(other) == MatmulKernel::Gemv);
  other.rows = 9;
  CHECK(plan_matmul(caps, Quirks{}, 2, other).kernel == MatmulKernel::GemmDot);
  CHECK(plan_expert_matmul(caps, Quirks{}, 2, other, 8).kernel == MatmulKernel::Gemv);  // about one an expert
  caps.integer_dot = false;
  CHECK(kernel(fits) == MatmulKernel::GemmTiled);
  caps.integer_dot = true;
  DeviceCaps matrix = matrix_caps({16, 16, 16}, 32, 32);
  matrix.integer_dot = true;
  CHECK(plan_matmul(matrix, Quirks{}, 3, fits).kernel == MatmulKernel::GemmCoopmat);
}

TEST_CASE("tuning: tiles of bytes fit 32 KiB, shrink with the problem and with an expert's rows, and are taken from a file") {
  DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  caps.max_workgroup_invocations = 256;
  caps.max_shared_bytes = 32768;
  caps.integer_dot = true;
  const auto candidates = dot_tile_candidates(caps);
  CHECK(candidates.size() >= 12);
  for (const GemmTile& tile : candidates) {
    CHECK(tile.dot_shared_bytes() <= 32768);
    CHECK(tile.threads() <= 256);
    CHECK(tile.columns_per_thread <= tile.rows_per_thread);
    CHECK(std::count(candidates.begin(), candidates.end(), tile) == 1);
  }
  MatmulProblem problem{.rows = 2048, .columns = 2048, .f16 = true, .blocks = true, .k = 2048, .bytes = true};
  const auto tile = [&](const DeviceTuning& tuning = {}) { return plan_matmul(caps, Quirks{}, 2, problem, tuning).tile; };
  CHECK(tile() == candidates[0]);
  CHECK(tile({.dot_tile = candidates[3]}) == candidates[3]);
  problem.columns = 64;
  CHECK(tile().rows() == 8);
  const auto expert_rows = [&](uint32_t tokens) {
    problem.rows = 6 * tokens;
    problem.columns = 2816;
    return plan_expert_matmul(caps, Quirks{}, 2, problem, 64).tile.rows();
  };
  CHECK(expert_rows(2048) == 64);  // 192 each
  CHECK(expert_rows(256) == 32);   // 24
  GemmTile odd = candidates[0];
  for (const uint32_t k : {16u, 48u, 256u}) {
    odd.k = k;
    CHECK_FALSE(dot_tile_fits(caps, odd));
  }
}

TEST_CASE("tuning: a rate is the one by which the estimate is what was measured") {
  // 20 cores, 128 x 128 by 256 invocations: 2048 x 2560 makes 320 tiles, 16 a core, one after the other, none left over: then the
  // plain flops by time are the rate.
  const MatrixTile tile = tile_of(128, 128, 64, 32);
  const DeviceTuning tuning{.cores = 20};
  const double flops = 2.0 * 2048 * 2560 * 1024;
  CHECK(matrix_tile_rate(tile, {.rows = 2048, .columns = 2560, .k = 1024}, 500, tuning) == doctest::Approx(1e-6 * flops / 500));
  // 321 tiles keep a core busy for 17: what was measured is that much slower than the rate.
  const double more = matrix_tile_rate(tile, {.rows = 2049, .columns = 2432, .k = 1024}, 500, tuning);  // 17 x 19 = 323
  CHECK(more == doctest::Approx(1e-6 * 2 * 128 * 128 * 1024 * 17 * 20 / 500));
  CHECK(matrix_tile_alone(tile) == doctest::Approx(1));
  CHECK(matrix_tile_alone(tile_of(64, 64, 32, 32)) == doctest::Approx(1.6));  // 128 invocations
}

TEST_CASE("tuning: a device nobody tuned goes by the cores it tells of") {
  DeviceCaps caps;
  CHECK(known_tuning(caps) == DeviceTuning{});
  caps.cores = 40;
  CHECK(known_tuning(caps).cores == 40);
  caps.name = "NVIDIA H200";
  CHECK(known_tuning(caps) == DeviceTuning{});
}

TEST_CASE("tuning: a GPU prefills 2048 tokens at a time, a CPU 512") {
  CHECK(prefill_chunk(caps_of(DeviceType::Integrated, 32)) == 2048);
  CHECK(prefill_chunk(caps_of(DeviceType::Cpu, 8)) == 512);
}

TEST_CASE("tuning: attention on matrix units fits 32 KiB, and is left out where its weights have no way through f16 sums") {
  DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  caps.max_workgroup_invocations = 1024;
  caps.max_shared_bytes = 32 * 1024;
  caps.matrix_shapes = {{16, 16, 16, true}, {16, 8, 16, false}, {16, 8, 16, true}};
  const Quirks quirks = find_quirks(caps, "").value();
  for (const auto& [depth, value_width] : {std::pair{72u, 72u}, {128u, 128u}, {192u, 128u}}) {
    const auto tile = attention_tile(caps, quirks, {depth, value_width});
    REQUIRE(tile);
    CHECK(tile->shape == caps.matrix_shapes[2]);  // the first one has no f16 sums
    CHECK(tile->subgroups == 4);
    CHECK(tile->shared_bytes(depth, value_width) <= 32 * 1024);
  }
  CHECK(attention_tile(caps, quirks, {72, 72})->keys == 32);
  caps.matrix_shapes = {{16, 16, 16, true}, {16, 16, 16, false}, {16, 8, 16, true}, {16, 8, 16, false}};
  CHECK(attention_tile(caps, quirks, {72, 72})->shape.n == 8);
  // 32 queries a subgroup: for many of narrow heads, where shared memory has room for them.
  const auto row_tiles = [&](uint32_t width, uint32_t views) {
    return attention_tile(caps, quirks, {width, width, uint64_t{views} * 16 * 729})->row_tiles;
  };
  CHECK(row_tiles(72, 10) == 2);
  CHECK(row_tiles(72, 2) == 1);
  CHECK(row_tiles(128, 10) == 1);
  caps.max_shared_bytes = 20 * 1024;
  CHECK(row_tiles(72, 10) == 1);
  CHECK(attention_tile(caps, quirks, {72, 72, 10 * 16 * 729})->subgroups == 4);
  caps.max_shared_bytes = 32 * 1024;
  caps.matrix_shapes = {{16, 16, 16, true}, {16, 16, 16, false}};
  CHECK(row_tiles(72, 10) == 1);
  caps.max_shared_bytes = 4 * 1024;
  CHECK(!attention_tile(caps, quirks, {192, 128}));
  caps.max_shared_bytes = 32 * 1024;
  caps.matrix_shapes = {{16, 16, 16, true}};
  CHECK(!attention_tile(caps, quirks, {72, 72}));
}

TEST_CASE("tuning: pieces fill a binding up to the last that keeps the alignment") {
  CHECK(pieces_per_binding(10, 100, 1000, 256) == 10);  // all fit: nothing begins behind them
  CHECK(pieces_per_binding(10, 100, 999, 4) == 9);
  CHECK(pieces_per_binding(100, 48, 1000, 64) == 20);  // 4 pieces of 48 bytes are the fewest that end on 64
  CHECK(pieces_per_binding(100, 48, 100, 64) == 0);
  CHECK(pieces_per_binding(129280, 2 * 2048, 128u << 20, 256) == 32768);
}

TEST_SUITE_END();
