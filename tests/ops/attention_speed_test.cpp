// How fast attention is here, each way to divide the work. Left out unless asked for: vl2_tests -tc="attention speed*" --no-skip
// Takes 35 s at most; VL2_ATTENTION_SECONDS says otherwise.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <numeric>
#include <string>

#include "runtime/clock.h"
#include "runtime/ops/attention.h"
#include "runtime/ops/mla_attention.h"
#include "tests/support/attention_tiles.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

namespace {

double budget_seconds() {
  const char* text = std::getenv("VL2_ATTENTION_SECONDS");
  return text != nullptr ? std::atof(text) : 35;
}

struct Problem {
  const char* name;
  uint32_t depth, value_width;
  uint64_t queries;  // of all heads and batches
  std::function<Status(const AttentionTile*)> record;
  TensorView y;
};

// The ways worth a try, the likeliest first; all on the first shape, a few on the others.
std::vector<AttentionTile> candidates(const DeviceCaps& caps, uint32_t depth, uint32_t value_width) {
  const auto rank = [&](const AttentionTile& tile) {
    return (tile.shape == caps.matrix_shapes.front() ? 0 : 16) + (tile.row_tiles == 2 ? 8 : 0) + (tile.subgroups == 8 ? 4 : 0);
  };
  std::vector<AttentionTile> tiles = attention_tiles(caps, depth, value_width);
  std::erase_if(tiles, [&](const AttentionTile& tile) {
    return (tile.subgroups == 1 && caps.type != DeviceType::Cpu) || tile.shape.k < 16 * (caps.matrix_shapes.front().k / 16) ||
           (rank(tile) >= 16 && tile.row_tiles == 2);
  });
  std::stable_sort(tiles.begin(), tiles.end(), [&](const auto& a, const auto& b) { return rank(a) < rank(b); });
  return tiles;
}

// Ways near the one that tuning chooses, which comes first, for a problem looked at closer: VL2_ATTENTION_ONLY=vision.
std::vector<AttentionTile> close_candidates(const Device& device, const Problem& problem) {
  std::vector<AttentionTile> tiles;
  const auto chosen = attention_tile(device.caps(), device.quirks(), {problem.depth, problem.value_width, problem.queries});
  if (!chosen)
    return tiles;
  for (const uint32_t subgroups : {4u, 3u, 2u, 8u})
    for (const uint32_t row_tiles : {1u, 2u})
      for (const uint32_t keys : {32u, 16u, 48u}) {
        AttentionTile tile = *chosen;
        tile.subgroups = subgroups;
        tile.row_tiles = row_tiles;
        tile.keys = keys;
        if (keys % std::lcm(tile.shape.n, tile.shape.k) == 0 && tile.threads() <= device.caps().max_workgroup_invocations &&
            tile.shared_bytes(problem.depth, problem.value_width) <= device.caps().max_shared_bytes)
          tiles.push_back(tile);
      }
  if (const auto at = std::find(tiles.begin(), tiles.end(), *chosen); at != tiles.end())
    std::rotate(tiles.begin(), at, at + 1);
  return tiles;
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "attention speed: milliseconds and TFLOP/s of every way to divide it" * doctest::skip()) {
  const auto start = Clock::now();
  const double scale_down = device.caps().type == DeviceType::Cpu ? 16 : 1;  // a look at the table itself, not at the speed
  const auto u = [&](double size) { return static_cast<uint32_t>(size / scale_down); };
  const auto noise = [&](uint32_t count) {
    std::vector<float> values = random_floats(1 << 20, 1, 2);
    std::vector<float> all(count);
    for (uint32_t i = 0; i < count; ++i)
      all[i] = values[i & ((1 << 20) - 1)];
    return upload({count}, all, DType::F16);
  };
  const auto zeros = [&](uint32_t count) { return tensor({count}, DType::F16); };

  constexpr uint32_t kViewWidth = 16 * 72, kTokens = 729;
  const uint32_t views = std::max(u(10), 1u), vision_row = 3 * kViewWidth;
  const TensorView vision = noise(views * kTokens * vision_row), vision_y = zeros(views * kTokens * kViewWidth);
  const auto part = [&](uint32_t i) {
    return window(vision, {views, kTokens, 16, 72}, {kTokens * vision_row, vision_row, 72, 1}, i * kViewWidth);
  };
  const uint32_t tokens = u(2048), mha_row = 3 * 1280;
  const TensorView qkv = noise(tokens * mha_row), mha_y = zeros(tokens * 1280);
  const auto third = [&](uint32_t i) { return window(qkv, {1, tokens, 10, 128}, {0, mha_row, 128, 1}, i * 1280); };
  const TensorView q = noise(tokens * 16 * 192), kv = noise(2 * tokens * 16 * 256), cache = noise(2 * tokens * 576);
  const TensorView mla_y = zeros(tokens * 16 * 128);
  const auto mla = [&](uint32_t first, const AttentionTile* tile) {
    return mla_attention(rec, window(q, {tokens, 16, 192}, {16 * 192, 192, 1}),
                         window(kv, {first + tokens, 16, 256}, {16 * 256, 256, 1}),
                         window(cache, {first + tokens, 64}, {576, 1}, 512), window(mla_y, {tokens, 16, 128}, {16 * 128, 128, 1}),
                         {.scale = 1 / std::sqrt(192.0f), .first_position = first, .tile = tile});
  };
  const auto see = [&](uint32_t count, const AttentionTile* tile) {
    return attention(rec, part(0).rows(0, count), part(1).rows(0, count), part(2).rows(0, count),
                     window(vision_y, {count, kTokens, 16, 72}, {kTokens * kViewWidth, kViewWidth, 72, 1}),
                     {.scale = 1 / std::sqrt(72.0f), .tile = tile});
  };
  const uint32_t two = std::min(views, 2u);
  const Problem problems[] = {{"vision, 10 views", 72, 72, uint64_t{views} * kTokens * 16,
                               [&](const AttentionTile* tile) { return see(views, tile); }, vision_y},
                              {"vision, 2 views", 72, 72, uint64_t{two} * kTokens * 16,
                               [&](const AttentionTile* tile) { return see(two, tile); }, vision_y},
                              {"MHA, 2048 tokens, 10 heads", 128, 128, uint64_t{tokens} * 10,
                               [&](const AttentionTile* tile) {
                                 return attention(rec, third(0), third(1), third(2),
                                                  window(mha_y, {1, tokens, 10, 128}, {0, 1280, 128, 1}),
                                                  {.scale = 1 / std::sqrt(128.0f), .causal = true, .tile = tile});
                               },
                               mha_y},
                              {"MLA, 2048 tokens, 16 heads", 192, 128, uint64_t{tokens} * 16,
                               [&](const AttentionTile* tile) { return mla(0, tile); }, mla_y},
                              {"MLA, the same after 2048", 192, 128, uint64_t{tokens} * 16,
                               [&](const AttentionTile* tile) { return mla(tokens, tile); }, mla_y}};

  rec.enable_timing(true);
  REQUIRE(device.tier() >= 3);
  std::printf("| %-28s | %-36s | ms       | TFLOP/s | difference |\n", "problem", "tile");
  const char* only = std::getenv("VL2_ATTENTION_ONLY");
  const auto selected = [&](const Problem& problem) {
    return only == nullptr || std::string(problem.name).find(only) != std::string::npos;
  };
  auto left = std::count_if(std::begin(problems), std::end(problems), selected);
  for (const Problem& problem : problems) {
    if (!selected(problem))
      continue;
    std::vector<AttentionTile> tiles =
        only != nullptr ? close_candidates(device, problem) : candidates(device.caps(), problem.depth, problem.value_width);
    std::vector<std::vector<double>> times(tiles.size());
    std::vector<double> differences(tiles.size());
    std::vector<float> first;
    double flops = 0;
    const auto run = [&](size_t i, uint32_t repeats) {
      for (uint32_t n = 0; n < repeats; ++n)
        REQUIRE(problem.record(&tiles[i]).ok());
      REQUIRE(rec.finish().ok());
      for (const DispatchTime& time : rec.take_times()) {
        times[i].push_back(time.ns / 1e6);
        flops = static_cast<double>(time.cost.flops);
      }
    };
    // Every pipeline once, and what it computes; the problems share the time that is left for building them.
    const auto built = Clock::now();
    const double share = (budget_seconds() - seconds_since(start) - 4) / static_cast<double>(left--);
    size_t count = 0;
    for (; count < tiles.size() && (count == 0 || seconds_since(built) < share); ++count) {
      run(count, 1);
      const auto y = download(problem.y);
      if (first.empty())
        first = y;
      differences[count] = max_abs_diff(y, std::vector<float>(first));
    }
    if (count < tiles.size())
      std::printf("out of time: the last %zu of %zu ways left out\n", tiles.size() - count, tiles.size());
    const double warm_seconds = scale_down > 1 ? 0 : 0.6;
    for (const auto warm = Clock::now(); seconds_since(warm) < warm_seconds;)
      run(0, 20);
    for (auto& list : times)
      list.clear();
    for (uint32_t round = 0; round < (scale_down > 1 ? 1u : 7u); ++round)
      for (size_t i = 0; i < count; ++i)
        run(i, 3);
    for (size_t i = 0; i < count; ++i) {
      std::sort(times[i].begin(), times[i].end());
      const double ms = times[i][times[i].size() / 2];
      const auto chosen = attention_tile(device.caps(), device.quirks(), {problem.depth, problem.value_width, problem.queries});
      std::printf("| %-28s | %-36s | %8.4f | %7.1f | %10.2g |%s\n", problem.name, attention_tile_name(tiles[i]).c_str(), ms,
                  flops / ms / 1e9, differences[i], chosen && *chosen == tiles[i] ? " <- chosen" : "");
    }
    std::fflush(stdout);
  }
}
