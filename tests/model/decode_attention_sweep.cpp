// Measurements, not tests: which division of one token's attention is fastest on a device. Run by hand:
//   VL2_CACHE_DIR= vl2_tests --no-skip -tc="measure: decode attention*"
// VL2_BENCH_TUNINGS replaces the candidates (as in VL2_DECODE_TUNING, split by ';').
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <sstream>

#include "runtime/clock.h"
#include "runtime/ops/decode_attention.h"
#include "runtime/ops/decode_gemv.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

constexpr uint32_t kDepths[] = {1, 512, 2048, 4000};
constexpr uint32_t kCapacity = 4096;
constexpr uint32_t kHalves = 0x1c001c00u;  // f16 0.0039, twice

std::vector<std::string> candidates(const char* otherwise) {
  const char* value = std::getenv("VL2_BENCH_TUNINGS");
  std::vector<std::string> words;
  std::istringstream in(value == nullptr ? otherwise : value);
  for (std::string word; std::getline(in, word, ';');)
    words.push_back(word);
  return words;
}

// Microseconds a layer: the median of seven runs of a chain of layers, each of which waits for the one before.
double median_us(GpuTest& test, Replay& chain, uint32_t layers, const TensorView& sink) {
  constexpr uint32_t kTimes = 8;
  std::vector<double> all;
  for (int i = 0; i < 8; ++i) {
    REQUIRE(test.rec.finish().ok());
    const auto begin = Clock::now();
    REQUIRE(test.rec.replay(chain, kTimes).ok());
    test.download(sink);
    if (i > 0)
      all.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count() / (layers * kTimes));
  }
  std::sort(all.begin(), all.end());
  return all[all.size() / 2];
}

void warm_up(GpuTest& test, const TensorView& work) {  // fast cards idle at a fifth of their clock
  const auto begin = Clock::now();
  while (Clock::now() - begin < std::chrono::milliseconds(600)) {
    REQUIRE(test.rec.fill(work, kHalves).ok());
    REQUIRE(test.rec.finish().ok());
  }
}

void row(GpuTest& test, const std::string& name, uint32_t layers, const TensorView& state, const TensorView& sink,
         const std::function<Status(uint32_t)>& layer) {
  REQUIRE(test.rec.begin_capture().ok());
  for (uint32_t i = 0; i < layers; ++i) {
    const Status status = layer(i);
    REQUIRE_MESSAGE(status.ok(), status.message());
  }
  auto chain = test.rec.end_capture();
  REQUIRE(chain.ok());
  std::printf("| %-44s |", name.c_str());
  for (const uint32_t depth : kDepths) {
    REQUIRE(test.rec.fill(state.rows(0, 1), depth - 1).ok());
    std::printf(" %7.2f |", median_us(test, **chain, layers, sink));
  }
  std::printf("\n");
  std::fflush(stdout);
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "measure: decode attention of the models" * doctest::skip()) {
  const TensorView state = upload_u32({2}, {0, 0}), sink = tensor({1});
  auto pool = device.memory().allocate(uint64_t{1} << 30, MemoryKind::Device, "caches and weights");
  REQUIRE_MESSAGE(pool.ok(), pool.message());
  const TensorView everything = make_view(**pool, DType::U32, {1u << 28});
  warm_up(*this, everything);
  std::printf("us a layer at depth                            |");
  for (const uint32_t depth : kDepths)
    std::printf(" %7u |", depth);
  std::printf("\n");
  const auto piece = [&](uint64_t& at, std::initializer_list<uint32_t> dims) {
    const TensorView view = make_view(**pool, DType::F16, dims, at);
    at += (view.element_count() + 127) / 128 * 128;
    return view;
  };

  {
    constexpr uint32_t kLayers = 48, kHeads = 16, kNope = 128, kRope = 64, kValue = 128, kLatent = 512, kWidth = kLatent + kRope;
    const float scale = 0.07f;
    uint64_t at = 0;
    std::vector<TensorView> caches, kv_bs;
    for (uint32_t i = 0; i < kLayers; ++i) {
      caches.push_back(piece(at, {kCapacity, kWidth}));
      kv_bs.push_back(piece(at, {kHeads * (kNope + kValue), kLatent}));
    }
    const TensorView q = upload({kHeads, kWidth}, random_floats(kHeads * kWidth, 1));
    const TensorView half_q = upload({32, kWidth}, random_floats(32 * kWidth, 1), DType::F16);
    const TensorView y = tensor({kHeads, kValue}), latents = tensor({kHeads, kLatent});
    const TensorView raw_q = upload({kHeads, kNope + kRope}, random_floats(kHeads * (kNope + kRope), 1));
    const TensorView table = upload({kCapacity, kRope / 2, 2}, random_floats(kCapacity * kRope, 3)),
                     kv_a = upload({kWidth}, random_floats(kWidth, 1)), norm = upload({kLatent}, random_floats(kLatent, 1));
    const DecodeGemvGroup group = decode_gemv_group(device.caps(), device.quirks(), kHeads * kValue, kLatent, DType::F16, false);
    const TensorView token = upload_u32({1}, {0}), counting = upload_u32({2}, {0, 0}), ring = upload_u32({4}, {0, 0, 0, 0});
    row(*this, "a dispatch that does next to nothing", kLayers, state, sink,
        [&](uint32_t) { return decode_advance(rec, token, counting, ring); });
    row(*this, "MLA query and latent, one level", kLayers, state, sink, [&](uint32_t i) -> Status {
      const Status status = decode_latent(rec, kv_a, norm, 1e-6f, table, state, caches[i]);
      return status.ok() ? decode_mla_query(rec, raw_q, kv_bs[i], table, state, half_q.rows(0, kHeads)) : status;
    });
    for (const std::string& text : candidates(
             "matrix=2,heads=1;matrix=2,heads=1,splits=32;matrix=2,heads=1,splits=64;matrix=2,heads=1,splits=32,apart=1;"
             "matrix=1;matrix=1,tiles=1;matrix=1,tiles=4;matrix=1,splits=32;matrix=1,splits=48;matrix=1,splits=128,tiles=1;"
             "matrix=1,keys=16,splits=64;matrix=1,keys=16,splits=128;matrix=1,subgroups=4;"
             "matrix=1,values=8;matrix=1,values=32;matrix=1,values=64")) {
      const auto tuning = parse_decode_tuning(text);
      REQUIRE_MESSAGE(tuning.ok(), tuning.message());
      const auto matrix =
          decode_matrix_shape(device.caps(), device.quirks(), device.tier(), kCapacity, kWidth, kHeads, kLatent, *tuning);
      if (tuning->matrix == 1 && !matrix)
        continue;
      const DecodeAttentionShape shape =
          decode_attention_shape(device.caps(), kCapacity, kWidth, kHeads, kHeads, kLatent, kValue, *tuning);
      const uint32_t splits = matrix ? matrix->splits : shape.splits;
      const DecodeAttentionScratch scratch{tensor({kHeads, splits, kLatent}, matrix ? DType::F16 : DType::F32),
                                           tensor({kHeads, splits, 2}), upload_u32({kHeads}, std::vector<uint32_t>(kHeads, 0))};
      row(*this, "MLA " + text, kLayers, state, sink, [&](uint32_t i) -> Status {
        if (matrix)
          return decode_mla_matrix(rec, half_q.rows(0, matrix->head_tiles(kHeads) * matrix->shape.m), caches[i], kv_bs[i], state,
                                   scratch, y, scale, *matrix);
        const bool apart = tuning->apart != 0;
        const Status status =
            decode_mla_attention(rec, q, caches[i], kv_bs[i], state, scratch, apart ? latents : y, scale, shape, apart);
        return status.ok() && apart ? decode_head_values(rec, latents, kv_bs[i], y, group) : status;
      });
    }
  }

  constexpr uint32_t kLayers = 24, kHeads = 10, kWidth = 128, kAll = kHeads * kWidth;
  uint64_t at = 0;
  std::vector<TensorView> keys, values;
  for (uint32_t i = 0; i < kLayers; ++i) {
    keys.push_back(piece(at, {kCapacity, kAll}));
    values.push_back(piece(at, {kCapacity, kAll}));
  }
  const TensorView qkv = upload({3 * kAll}, random_floats(3 * kAll, 1)),
                   table = upload({kCapacity, kWidth / 2, 2}, random_floats(kCapacity * kWidth, 3));
  const TensorView y = tensor({kHeads, kWidth});
  for (const std::string& text : candidates(";splits=8;splits=16;splits=21;splits=32;splits=48;splits=64;splits=32,keys=8;splits="
                                            "16,keys=8;splits=64,keys=2,tiles=2;"
                                            "splits=32,groups=8;splits=64,groups=8;splits=32,tiles=2")) {
    const auto tuning = parse_decode_tuning(text);
    REQUIRE_MESSAGE(tuning.ok(), tuning.message());
    const DecodeAttentionShape shape = decode_attention_shape(device.caps(), kCapacity, kWidth, kHeads, 1, kWidth, 0, *tuning);
    const DecodeAttentionScratch scratch{tensor({kHeads, shape.splits, kWidth}), tensor({kHeads, shape.splits, 2}),
                                         upload_u32({kHeads}, std::vector<uint32_t>(kHeads, 0))};
    row(*this, "MHA " + (text.empty() ? "chosen, splits=" + std::to_string(shape.splits) : text), kLayers, state, sink,
        [&](uint32_t i) { return decode_mha_attention(rec, qkv, keys[i], values[i], table, state, scratch, y, 0.09f, shape); });
  }
}
