// Times the experts of a layer with the grid for the most tiles there can be, and with the tiles counted on the device (an indirect
// dispatch): does it pay?
//
//   VL2_VALIDATION=0 vl2_tests --no-skip --test-case="bench: expert dispatch"
//
// Chains of schedule, gate and up, and down, as a prompt's layers are, each dispatch behind a barrier; wall time of a submission, the two
// ways in turn. Some 15 s.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>
#include <memory>
#include <vector>

#include "runtime/clock.h"
#include "runtime/half.h"
#include "runtime/ops/expert_matmul.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

struct Model {
  const char* name;
  uint32_t experts, hidden, width;
  std::vector<uint32_t> tokens;
};

constexpr uint32_t kTopK = 6, kNoise = 1u << 22;  // halves of random numbers, which the weights repeat

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

class ExpertBench : public GpuTest {
 public:
  TensorView noise(std::initializer_list<uint32_t> dims, DType dtype) {
    uint64_t bytes = dtype_bytes(dtype);
    for (const uint32_t dim : dims)
      bytes *= dim;
    if (source_.empty())
      source_ = upload({kNoise}, random_floats(kNoise, 3, 0.05f), DType::F16);
    auto buffer = device.memory().allocate((bytes + 3) / 4 * 4, MemoryKind::Device, "bench");
    REQUIRE_MESSAGE(buffer.ok(), buffer.message());
    buffers_.push_back(buffer.take());
    for (uint64_t at = 0; at < bytes / 2; at += kNoise) {
      const auto count = static_cast<uint32_t>(std::min<uint64_t>(kNoise, bytes / 2 - at));
      REQUIRE(
          rec.copy(make_view(*source_.buffer, DType::F16, {count}), make_view(*buffers_.back(), DType::F16, {count}, at)).ok());
    }
    REQUIRE(rec.finish().ok());
    return make_view(*buffers_.back(), dtype, dims);
  }

  // Prints microseconds a layer both ways.
  void compare(const Model& model, uint32_t tokens, const TensorView& up, const TensorView& down, bool small) {
    const uint32_t slots = tokens * kTopK, chain = small ? 2 : 26;
    const DType act = device.act();
    const TensorView x = act == DType::F16 ? noise({tokens, model.hidden}, act)
                                           : upload({tokens, model.hidden}, random_floats(size_t{tokens} * model.hidden, 4)),
                     ids = upload_u32({tokens, kTopK}, skewed_ids(slots, model.experts)),
                     gated = tensor({slots, model.width}, act), routed = tensor({slots, model.hidden}),
                     gate_up = tensor({slots, 2 * model.width}, act);
    const ExpertSchedule direct{tensor({slots}, DType::U32), tensor({slots}, DType::U32),
                                tensor({model.experts + 1}, DType::U32)};
    ExpertSchedule indirect = direct;
    indirect.commands = tensor({2, 3}, DType::U32);
    indirect.tiles = {expert_tiles(rec, x, up, slots, true), expert_tiles(rec, gated, down, slots, false)};
    if (indirect.tiles[0].rows == 0) {
      std::printf("%s, %u tokens: no tiles\n", model.name, tokens);
      return;
    }
    std::vector<double> us[2];
    const auto start = Clock::now();
    for (int round = 0; round < 4 || (seconds_since(start) < 2 && !small); ++round)
      for (const int way : {round % 2, 1 - round % 2}) {
        const ExpertSchedule& schedule = way == 0 ? direct : indirect;
        const auto begin = Clock::now();
        for (uint32_t i = 0; i < chain; ++i) {
          REQUIRE(expert_schedule(rec, ids, model.experts, schedule).ok());
          REQUIRE(expert_swiglu(rec, x, up, schedule, kTopK, gate_up, gated).ok());
          REQUIRE(expert_matmul(rec, gated, down, schedule, kTopK, ExpertRows::Slots, routed).ok());
        }
        REQUIRE(rec.finish().ok());
        us[way].push_back(1e6 * seconds_since(begin) / chain);
      }
    for (std::vector<double>& all : us)
      all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(all.size() / 3));  // the clocks were not up
    const std::vector<uint32_t> commands = download_u32(indirect.commands);
    const uint32_t rows = indirect.tiles[0].rows;
    std::printf(
        "%-6s %4u tokens, %3u tiles of %3u rows, at most %3u: direct %7.1f us, indirect %7.1f us a layer (%+.1f %%), %zu times\n",
        model.name, tokens, commands[1], rows, slots / rows + model.experts, middle(us[0]), middle(us[1]),
        100 * (middle(us[1]) / middle(us[0]) - 1), us[0].size());
    std::fflush(stdout);
  }

 private:
  TensorView source_;
  std::vector<std::unique_ptr<Buffer>> buffers_;
};

}  // namespace

TEST_CASE_FIXTURE(ExpertBench, "bench: expert dispatch" * doctest::skip()) {
  const bool small = std::getenv("VL2_BENCH_SMALL") != nullptr;  // does it run at all: for a CPU driver
  const std::vector<Model> models =
      small ? std::vector<Model>{{"toy", 8, 64, 64, {64}}}
            : std::vector<Model>{{"Small", 64, 2048, 1408, {2048, 512, 77}}, {"Tiny", 64, 1280, 896, {2048, 512}}};
  for (const Model& model : models) {
    const TensorView up = noise({model.experts, 2 * model.width, model.hidden}, DType::F16),
                     down = noise({model.experts, model.hidden, model.width}, DType::F16);
    for (const uint32_t tokens : model.tokens)
      compare(model, tokens, up, down, small);
  }
}
