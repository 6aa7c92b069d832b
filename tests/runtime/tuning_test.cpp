#include "runtime/tuning.h"

#include <doctest/doctest.h>
#include <utility>

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

namespace {
DeviceCaps caps_of(DeviceType type, uint32_t subgroup_size) {
  DeviceCaps caps;
  caps.type = type;
  caps.subgroup_size = subgroup_size;
  return caps;
}

MatmulPlan matmul_plan(const DeviceCaps& caps, uint32_t rows) {
  return plan_matmul(caps, find_quirks(caps, "").value(), rows);
}

MatmulPlan expert_matmul_plan(const DeviceCaps& caps, uint32_t pairs, uint32_t experts) {
  return plan_expert_matmul(caps, find_quirks(caps, "").value(), pairs, experts);
}
}  // namespace

TEST_CASE("tuning: up to 8 rows of x are multiplied by gemv, more by tiles") {
  for (const DeviceType type : {DeviceType::Cpu, DeviceType::Discrete}) {
    CHECK(matmul_plan(caps_of(type, 32), 1).kernel == MatmulKernel::Gemv);
    CHECK(matmul_plan(caps_of(type, 32), 8).kernel == MatmulKernel::Gemv);
    CHECK(matmul_plan(caps_of(type, 32), 9).kernel == MatmulKernel::GemmTiled);
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
  CHECK_FALSE(matmul_plan(caps_of(DeviceType::Cpu, 8), 100).tile.through_shared);
  CHECK(matmul_plan(caps_of(DeviceType::Cpu, 8), 100).tile.threads() == 8);
  CHECK(matmul_plan(caps_of(DeviceType::Discrete, 32), 100).tile.through_shared);
}

TEST_CASE("tuning: attention on matrix units fits 32 KiB, and is left out where its weights have no way through f16 sums") {
  DeviceCaps caps = caps_of(DeviceType::Discrete, 32);
  caps.max_workgroup_invocations = 1024;
  caps.max_shared_bytes = 32 * 1024;
  caps.matrix_shapes = {{16, 16, 16, true}, {16, 8, 16, false}, {16, 8, 16, true}};
  const Quirks quirks = find_quirks(caps, "").value();
  for (const auto& [depth, value_width] : {std::pair{72u, 72u}, {128u, 128u}, {192u, 128u}}) {
    const auto tile = attention_tile(caps, quirks, depth, value_width);
    REQUIRE(tile);
    CHECK(tile->shape == caps.matrix_shapes[2]);  // the first one has no f16 sums
    CHECK(tile->subgroups == 4);
    CHECK(tile->shared_bytes(depth, value_width) <= 32 * 1024);
  }
  CHECK(attention_tile(caps, quirks, 72, 72)->keys == 64);
  caps.max_shared_bytes = 4 * 1024;
  CHECK(!attention_tile(caps, quirks, 192, 128));
  caps.max_shared_bytes = 32 * 1024;
  caps.matrix_shapes = {{16, 16, 16, true}};
  CHECK(!attention_tile(caps, quirks, 72, 72));
}

TEST_CASE("tuning: pieces fill a binding up to the last that keeps the alignment") {
  CHECK(pieces_per_binding(10, 100, 1000, 256) == 10);  // all fit: nothing begins behind them
  CHECK(pieces_per_binding(10, 100, 999, 4) == 9);
  CHECK(pieces_per_binding(100, 48, 1000, 64) == 20);  // 4 pieces of 48 bytes are the fewest that end on 64
  CHECK(pieces_per_binding(100, 48, 100, 64) == 0);
  CHECK(pieces_per_binding(129280, 2 * 2048, 128u << 20, 256) == 32768);
}

TEST_SUITE_END();
