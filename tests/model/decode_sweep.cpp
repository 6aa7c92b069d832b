// Measurements, not tests: which division of the work is fastest on a device. Run by hand:
//   VL2_BENCH_MODEL=FOLDER VL2_CACHE_DIR= vl2_tests --no-skip -tc="measure: decode*"
// VL2_BENCH_MODEL may also be tiny, small or base: random weights of those shapes.
// VL2_BENCH_DEPTHS (default "0") and VL2_BENCH_TUNINGS (candidates as in VL2_DECODE_TUNING or "plain", split by ';') choose what
// is tried; VL2_BENCH_TYPE (a type of `vl2 quantize`, for random weights) and VL2_BENCH_FORMAT (default F16, of the second case) what the
// weights are; VL2_BENCH_SECONDS (default 1.5) is what a shape of the second case may take, VL2_BENCH_SHAPE a part of its name,
// VL2_BENCH_TOKENS (default 1) the conversations, of which with weights in blocks the bytes are made once, outside of what is timed.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "model/quantize_mix.h"
#include "model/session.h"
#include "model/variants.h"
#include "runtime/clock.h"
#include "runtime/ops/decode_gemv.h"
#include "runtime/weight_format.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

std::string setting(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> words;
  std::istringstream in(text);
  for (std::string word; std::getline(in, word, at);)
    words.push_back(word);
  return words;
}

// Milliseconds: the median of the last five of 0.4 seconds at least, since fast cards idle at a fifth of their clock.
double median_ms(const std::function<void()>& prepare, const std::function<void()>& work) {
  std::vector<double> times;
  double total = 0;
  while (total < 400 || times.size() < 5) {
    prepare();
    const auto begin = Clock::now();
    work();
    times.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    total += times.back();
  }
  times.erase(times.begin(), times.end() - 5);
  std::sort(times.begin(), times.end());
  return times[times.size() / 2];
}

}  // namespace

TEST_CASE("measure: decode of a whole model, plans and tunings" * doctest::skip()) {
  const std::string folder = setting("VL2_BENCH_MODEL", "");
  REQUIRE_MESSAGE(!folder.empty(), "VL2_BENCH_MODEL names a variant or the folder of a model");
  const auto candidates =
      split(setting("VL2_BENCH_TUNINGS", ";threads=128,rows=2;matrix=1;matrix=2;matrix=2,heads=1;apart=1"), ';');
  EngineOptions options;
  auto device = device_options_from_environment();
  REQUIRE(device.ok());
  options.device = device.take();
  const std::string type = setting("VL2_BENCH_TYPE", "");
  options.mix = find_quantize_mix(type);
  REQUIRE_MESSAGE((type.empty() || options.mix != nullptr), "VL2_BENCH_TYPE: no such type");
  const Variant* variant = find_variant(folder);
  auto engine = variant == nullptr ? Engine::load(folder, options) : Engine::synthetic(folder, variant->config, options);
  REQUIRE_MESSAGE(engine.ok(), engine.message());
  const uint32_t vocabulary = (*engine)->config().language.vocab_size;
  constexpr uint32_t kTokens = 64;
  for (const std::string& word : split(setting("VL2_BENCH_DEPTHS", "0"), ',')) {
    const uint32_t depth = std::max(1u, static_cast<uint32_t>(std::atoi(word.c_str())));
    std::vector<uint32_t> ids(depth);
    for (uint32_t i = 0; i < depth; ++i)
      ids[i] = (i * 2654435761u) % vocabulary;
    for (const std::string& candidate : candidates) {
      setenv("VL2_DECODE_TUNING", candidate == "plain" ? "" : candidate.c_str(), 1);
      auto session = Session::create(**engine, candidate == "plain" ? PlanChoice::Plain : PlanChoice::Fused);
      REQUIRE_MESSAGE(session.ok(), session.message());
      REQUIRE((*session)->prefill(ids, {}).ok());
      const uint32_t tokens = std::min(kTokens, (*session)->capacity() - depth);
      const double ms = median_ms(
          [&] {
            (*session)->rewind(depth - 1);
            REQUIRE((*session)->prefill(std::span(ids).last(1), {}).ok());
          },
          [&] { REQUIRE((*session)->decode(tokens, {}).ok()); });
      std::printf("| %6u | %-32s | %9.3f ms a token | %8.1f tok/s |\n", depth, candidate.empty() ? "chosen" : candidate.c_str(),
                  ms / tokens, 1e3 * tokens / ms);
      std::fflush(stdout);
    }
  }
  unsetenv("VL2_DECODE_TUNING");
}

TEST_CASE_FIXTURE(GpuTest, "measure: decode_gemv at the shapes of the models" * doctest::skip()) {
  struct Shape {
    const char* what;
    uint32_t rows, k;
    bool norm, pairs;
    uint32_t experts = 0;  // 6 are chosen of so many
  };
  constexpr uint32_t kChosen = 6;
  constexpr Shape kShapes[] = {{"small q", 3072, 2048, true, false},
                               {"small kv_a", 576, 2048, true, false},
                               {"small o", 2048, 2048, false, false},
                               {"small experts gate_up", 16896, 2048, true, true},
                               {"small shared gate_up", 5632, 2048, true, true},
                               {"small experts down", 2048, 8448, false, false},
                               {"small shared down", 2048, 2816, false, false},
                               {"small lm_head", 102400, 2048, true, false},
                               {"small 64 experts, gate_up", 2816, 2048, true, true, 64},
                               {"small 64 experts, down", 2048, 1408, false, false, 64},
                               {"tiny qkv", 3840, 1280, true, false},
                               {"tiny o", 1280, 1280, false, false},
                               {"tiny experts gate_up", 10752, 1280, true, true},
                               {"tiny experts down", 1280, 5376, false, false},
                               {"tiny lm_head", 129280, 1280, true, false}};
  const uint64_t pool_bytes = std::strtoull(setting("VL2_BENCH_POOL_MB", "1024").c_str(), nullptr, 10) << 20;
  auto pool = device.memory().allocate(pool_bytes, MemoryKind::Device, "weights");
  REQUIRE_MESSAGE(pool.ok(), pool.message());
  const TensorView everything = make_view(**pool, DType::U32, {static_cast<uint32_t>(pool_bytes / 4)});
  REQUIRE(rec.fill(everything, 0x1c001c00u).ok());  // f16 0.0039
  const WeightFormat* format = find_weight_format(setting("VL2_BENCH_FORMAT", "F16"));
  REQUIRE_MESSAGE(format != nullptr, "VL2_BENCH_FORMAT: no such format");
  const auto tokens = static_cast<uint32_t>(std::max(1, std::atoi(setting("VL2_BENCH_TOKENS", "1").c_str())));
  const double seconds = std::atof(setting("VL2_BENCH_SECONDS", "1.5").c_str());
  const std::string only = setting("VL2_BENCH_SHAPE", "");
  for (const Shape& shape : kShapes) {
    if (std::string(shape.what).find(only) == std::string::npos)
      continue;
    // What a product of all chosen experts has: gate_up their rows below each other, down their columns side by side.
    const uint32_t chosen_experts = shape.experts == 0 ? 1 : kChosen, all_experts = std::max(shape.experts, 1u);
    const uint32_t all_rows = shape.rows * (shape.pairs ? chosen_experts : 1);
    const uint32_t all_k = shape.k * (shape.pairs ? 1 : chosen_experts);
    const uint64_t count = uint64_t{all_experts} * shape.rows * shape.k, bytes = device_bytes(format->dtype, count);
    const uint64_t copies = std::min<uint64_t>(pool_bytes / bytes, 64);
    REQUIRE(copies > 0);
    const uint32_t results = shape.pairs ? shape.rows / 2 : shape.rows, all_results = shape.pairs ? all_rows / 2 : results;
    const TensorView x = upload({tokens, all_k}, random_floats(size_t{tokens} * all_k, 1));
    const TensorView norm = upload({shape.k}, random_floats(shape.k, 2));
    const TensorView y = upload({tokens, all_results}, std::vector<float>(size_t{tokens} * all_results, 0.0f)),
                     sink = tensor({1});
    TensorView ids, expert_weights;
    if (shape.experts != 0) {
      std::vector<uint32_t> chosen;
      for (uint32_t i = 0; i < tokens * kChosen; ++i)
        chosen.push_back((i * 2654435761u >> 16) % shape.experts);
      ids = upload_u32({tokens, kChosen}, chosen);
      if (shape.pairs)
        expert_weights = upload({tokens, kChosen}, std::vector<float>(size_t{tokens} * kChosen, 0.5f));
    }
    auto groups = decode_gemv_candidates(device.caps(), all_rows, all_k, format->dtype, shape.pairs);
    DecodeBytes given;
    if (const auto dot = decode_dot_group(device.caps(), device.tier(), all_rows, all_k, format->dtype, shape.pairs)) {
      if (tokens > 1) {
        given = {tensor({tokens, all_k / 4}, DType::U32), tensor({tokens, all_k / 32 + 1, 2})};
        REQUIRE(decode_bytes(rec, x, shape.norm ? norm : TensorView{}, 1e-6f, dot->threads, given).ok());
      }
      groups = {*dot};
      if (tokens > 1)
        groups[0] = with_tokens(device.caps(), *dot, all_rows, all_k, shape.pairs,
                                {.count = tokens, .given = true, .experts = shape.experts != 0});
      for (const uint32_t group_rows : {1u, 2u, 4u})
        for (const uint32_t unroll : {1u, 2u, 3u, 4u})
          for (const uint32_t threads : {64u, 128u, 256u, 512u})
            for (const uint32_t turns : {1u, 2u, 4u, 8u})
              for (uint32_t together = 1; together <= (shape.experts == 0 ? std::min(tokens, 8u) : 1); together *= 2)
                if ((tokens == 1 || (unroll <= 2 && turns <= 2 && threads <= 256)) && group_rows >= (shape.pairs ? 2u : 1u) &&
                    group_rows * unroll <= 8 && group_rows * together <= 32 &&
                    group_rows * turns * threads * 8 <= all_rows * 32 && (unroll - 1) * 32 < all_k / weight_chunk(format->dtype))
                  groups.push_back({.threads = threads,
                                    .rows = group_rows,
                                    .unroll = unroll,
                                    .one_subgroup = false,
                                    .sets = threads / 32 * turns,
                                    .tokens = together});
    }
    // us a dispatch of a chain in which each waits for the one before; `product` records the one with a weight.
    const auto us_each = [&](const std::function<Status(const TensorView&)>& product, bool one_weight) {
      REQUIRE(rec.begin_capture().ok());
      for (uint64_t i = 0; i < copies; ++i) {
        const uint64_t offset = one_weight ? 0 : i * count;
        TensorView weight = shape.experts == 0 ? make_view(**pool, format->dtype, {shape.rows, shape.k}, offset)
                                               : make_view(**pool, format->dtype, {shape.experts, shape.rows, shape.k}, offset);
        weight.scales = device_scales_offset(format->dtype, copies * count);
        REQUIRE(product(weight).ok());
      }
      auto replay = rec.end_capture();
      REQUIRE(replay.ok());
      const uint32_t times = std::max<uint32_t>(1, static_cast<uint32_t>(256 / copies));
      std::vector<double> all;
      for (int i = 0; i < 7; ++i) {
        REQUIRE(rec.finish().ok());
        const auto begin = Clock::now();
        REQUIRE(rec.replay(**replay, times).ok());
        download(sink);
        all.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count() /
                      static_cast<double>(copies * times));
      }
      std::sort(all.begin(), all.end());
      return all[all.size() / 2];
    };
    const auto time_of = [&](const DecodeGemvGroup& group, bool one_weight = false, bool bare = false) {
      return us_each(
          [&](const TensorView& weight) {
            return decode_gemv(rec,
                               {.x = x,
                                .norm = shape.norm && !bare ? norm : TensorView{},
                                .weight = weight,
                                .ids = ids,
                                .expert_weights = expert_weights,
                                .y = y,
                                .pairs = shape.pairs,
                                .accumulate = !bare && !shape.norm,
                                .eps = 1e-6f,
                                .tokens = tokens,
                                .bytes = given},
                               group);
          },
          one_weight);
    };
    struct Row {
      DecodeGemvGroup group;
      double us;
    };
    std::vector<Row> table;
    const auto shape_begin = Clock::now();
    for (int i = 0; i < 5; ++i)
      time_of(groups[0]);  // the clocks, and what was not in the caches of the machine
    for (const DecodeGemvGroup& group : groups)
      if (table.empty() || std::chrono::duration<double>(Clock::now() - shape_begin).count() < seconds)
        table.push_back({group, time_of(group)});
    const DecodeGemvGroup chosen = groups[0];
    const double of_chosen = table[0].us, hot = time_of(chosen, true), bare = time_of(chosen, false, true);
    std::sort(table.begin(), table.end(), [](const Row& a, const Row& b) { return a.us < b.us; });
    std::printf("%-22s %6u x %5u, %6.2f MB: chosen %u threads %u rows %u unroll %u sets %u tokens: %.2f us, %.0f GB/s, of %zu\n",
                shape.what, shape.rows, shape.k, static_cast<double>(bytes) * 1e-6, chosen.threads, chosen.rows, chosen.unroll,
                chosen.sets, chosen.tokens, of_chosen, static_cast<double>(bytes) * 1e-3 / of_chosen, table.size());
    std::printf("    without norm and accumulation %.2f us; the same weight again and again %.2f us\n", bare, hot);
    for (size_t i = 0; i < std::min<size_t>(table.size(), 6); ++i)
      std::printf("    %3u threads %u rows %u unroll %3u sets %u tokens: %8.2f us %7.0f GB/s\n", table[i].group.threads,
                  table[i].group.rows, table[i].group.unroll, table[i].group.sets, table[i].group.tokens, table[i].us,
                  static_cast<double>(bytes) * 1e-3 / table[i].us);
    std::fflush(stdout);
  }
}
