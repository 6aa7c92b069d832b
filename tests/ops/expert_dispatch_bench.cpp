// Times the experts of a layer with the grid for the most tiles there can be, and with the tiles counted on the device (an indirect
// dispatch): does it pay?
//
//   VL2_VALIDATION=0 vl2_tests --no-skip --test-case="bench: expert dispatch"
//
// Chains of schedule, gate and up, and down, as a prompt's layers are, each dispatch behind a barrier; wall time of a submission, the two
// ways in turn. Two models' experts, two prompts.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <doctest/doctest.h>
#include <vector>

#include "runtime/clock.h"
#include "runtime/half.h"
#include "runtime/ops/expert_matmul.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

struct Layer {
  const char* name;
  uint32_t tokens, experts, hidden, width;
};

constexpr uint32_t kTopK = 6;

// Lower experts more often, as routers have it.
std::vector<uint32_t> skewed_ids(uint32_t count, uint32_t experts) {
  std::vector<uint32_t> ids;
  for (const float value : random_floats(count, 5))
    ids.push_back(std::min(
        experts - 1, static_cast<uint32_t>(std::abs(value) * (0.6f + 0.4f * std::abs(value)) * static_cast<float>(experts))));
  return ids;
}

double middle(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "bench: expert dispatch" * doctest::skip()) {
  const bool small = std::getenv("VL2_BENCH_SMALL") != nullptr;  // does it run at all: for a CPU driver
  const uint32_t chain = small ? 2 : 26;
  const std::vector<Layer> layers = small ? std::vector<Layer>{{"toy", 64, 8, 64, 64}}
                                          : std::vector<Layer>{{"Small, 2048 tokens", 2048, 64, 2048, 1408},
                                                               {"Small, 512 tokens", 512, 64, 2048, 1408},
                                                               {"Small, 77 tokens", 77, 64, 2048, 1408},
                                                               {"Tiny, 2048 tokens", 2048, 64, 1280, 896}};
  for (const Layer& layer : layers) {
    const uint32_t slots = layer.tokens * kTopK;
    const DType act = device.act();
    const auto noise = [&](std::initializer_list<uint32_t> dims, DType dtype) {
      size_t count = 1;
      for (const uint32_t dim : dims)
        count *= dim;
      return upload(dims, random_floats(count, 3, 0.05f), dtype);
    };
    const TensorView x = noise({layer.tokens, layer.hidden}, act),
                     up = noise({layer.experts, 2 * layer.width, layer.hidden}, DType::F16),
                     down = noise({layer.experts, layer.hidden, layer.width}, DType::F16),
                     ids = upload_u32({layer.tokens, kTopK}, skewed_ids(slots, layer.experts)),
                     gated = tensor({slots, layer.width}, act), routed = tensor({slots, layer.hidden}),
                     gate_up = tensor({slots, 2 * layer.width}, act);
    const ExpertSchedule direct{tensor({slots}, DType::U32), tensor({slots}, DType::U32),
                                tensor({layer.experts + 1}, DType::U32)};
    ExpertSchedule indirect = direct;
    indirect.commands = tensor({2, 3}, DType::U32);
    indirect.tiles = {expert_tiles(rec, x, up, slots, true), expert_tiles(rec, gated, down, slots, false)};
    std::vector<double> us[2];
    const auto start = Clock::now();
    for (int round = 0; round < 4 || (seconds_since(start) < 2.5 && !small); ++round)
      for (const int way : {round % 2, 1 - round % 2}) {
        const ExpertSchedule& schedule = way == 0 ? direct : indirect;
        for (uint32_t i = 0; i < chain; ++i) {
          REQUIRE(expert_schedule(rec, ids, layer.experts, schedule).ok());
          REQUIRE(expert_swiglu(rec, x, up, schedule, kTopK, gate_up, gated).ok());
          REQUIRE(expert_matmul(rec, gated, down, schedule, kTopK, ExpertRows::Slots, routed).ok());
        }
        const auto begin = Clock::now();
        REQUIRE(rec.finish().ok());
        us[way].push_back(1e6 * seconds_since(begin) / chain);
      }
    for (std::vector<double>& all : us)
      all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 3));  // the clocks were not up
    const std::vector<uint32_t> commands = download_u32(indirect.commands);
    std::printf("%-20s tiles %u x %u of %u rows, at most %u: direct %.1f us, indirect %.1f us a layer (%+.1f %%), %zu times\n",
                layer.name, commands[0], commands[1], indirect.tiles[0].rows, slots / indirect.tiles[0].rows + layer.experts,
                middle(us[0]), middle(us[1]), 100 * (middle(us[1]) / middle(us[0]) - 1), us[0].size());
    std::fflush(stdout);
  }
}
