#include "runtime/ops/mla_decode_attention.h"

#include <cmath>

#include "tests/reference/mla.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

TEST_CASE_FIXTURE(GpuTest,
                  "mla_decode_attention: agrees with the reference at the sizes of the demo, golden and published models") {
  struct Case {
    uint32_t queries, keys, first_position, heads, latent, rope;
  };
  constexpr Case kCases[] = {{1, 1, 0, 1, 1, 0},        {1, 255, 254, 4, 32, 8},   {2, 257, 255, 4, 32, 8},
                             {3, 30, 10, 2, 63, 6},     {1, 300, 256, 4, 128, 32}, {1, 700, 600, 2, 512, 64},
                             {1, 4096, 4095, 1, 33, 6}, {2, 3, 1, 1, 501, 24}};
  for (const DType act : act_types())
    for (const Case& c : kCases) {
      CAPTURE(c.keys);
      CAPTURE(c.latent);
      const uint32_t width = c.latent + c.rope;
      const float scale = 1 / std::sqrt(static_cast<float>(width));
      const auto q = rounded(random_floats(c.queries * c.heads * width, 1, 2), act),
                 cache = rounded(random_floats(c.keys * width, 2, 2), act);
      const TensorView y = tensor({c.queries, c.heads, c.latent}, act);
      const Status status =
          mla_decode_attention(rec, upload({c.queries, c.heads, width}, q, act), upload({c.keys, width}, cache, act), y,
                               {.scale = scale, .first_position = c.first_position});
      REQUIRE_MESSAGE(status.ok(), status.message());
      const auto wanted = reference::mla_decode_attention(q, cache, {c.queries, c.keys, c.heads, 0, c.rope, 0, c.latent}, scale,
                                                          c.first_position);
      // Seen: 3.3e-7 in f32, 4.9e-4 in f16. Planted faults: the last row not seen 2.0; values not scaled down when the maximum
      // rises 0.79.
      CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 4e-6 : 1.2e-3));
    }
}

TEST_CASE_FIXTURE(GpuTest, "mla_decode_attention: honours strides, and reads no row of the cache beyond the last query's") {
  constexpr uint32_t kQueries = 3, kHeads = 2, kLatent = 9, kRope = 4, kWidth = kLatent + kRope, kKeys = 25, kFirst = 17;
  for (const DType act : act_types()) {
    auto rows = random_floats(3 + kKeys * 20, 1);
    std::fill(rows.begin() + 3 + (kFirst + kQueries) * 20, rows.end(), NAN);
    const TensorView cache = window(upload({3 + kKeys * 20}, rows, act), {kKeys, kWidth}, {20, 1}, 3);
    const TensorView q = window(upload({300}, random_floats(300, 2), act), {kQueries, kHeads, kWidth}, {80, 30, 1}, 5);
    const TensorView flat = tensor({200}, act);
    const TensorView y = window(flat, {kQueries, kHeads, kLatent}, {60, 25, 1}, 7);
    REQUIRE(mla_decode_attention(rec, q, cache, y, {.scale = 1, .first_position = kFirst}).ok());
    const auto wanted =
        reference::mla_decode_attention(download(q), download(cache), {kQueries, kKeys, kHeads, 0, kRope, 0, kLatent}, 1, kFirst);
    // Seen: 7.6e-8 in f32, 1.9e-4 in f16. Planted fault: the last row not seen 0.10.
    CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 4e-6 : 1.2e-3));
    size_t written = 0;
    for (const float value : download(flat))
      written += !std::isnan(value);
    CHECK(written == kQueries * kHeads * kLatent);
  }
}

TEST_CASE_FIXTURE(GpuTest, "mla_decode_attention: no query sees a later row, and every query sees its own") {
  constexpr uint32_t kQueries = 4, kKeys = 300, kFirst = kKeys - kQueries, kLatent = 5, kRope = 2;
  const auto q = random_floats(kQueries * (kLatent + kRope), 1), cache = random_floats(kKeys * (kLatent + kRope), 2);
  const auto run = [&](const std::vector<float>& rows) {
    const TensorView y = tensor({kQueries, 1, kLatent});
    REQUIRE(mla_decode_attention(rec, upload({kQueries, 1, kLatent + kRope}, q), upload({kKeys, kLatent + kRope}, rows), y,
                                 {.scale = 0.3f, .first_position = kFirst})
                .ok());
    return download(y);
  };
  const auto plain = run(cache);
  for (const uint32_t changed : {kFirst, kFirst + 1, kKeys - 1}) {
    auto other = cache;
    for (uint32_t d = 0; d < kLatent + kRope; ++d)
      other[changed * (kLatent + kRope) + d] += 10;
    const auto y = run(other);
    for (uint32_t t = 0; t < kQueries; ++t)
      CHECK(std::equal(&y[t * kLatent], &y[t * kLatent] + kLatent, &plain[t * kLatent]) == (kFirst + t < changed));
  }
}

TEST_CASE_FIXTURE(GpuTest, "mla_decode_attention: scores of ten thousand do not overflow") {
  constexpr uint32_t kKeys = 600;
  std::vector<float> cache(kKeys * 4);
  const auto values = random_floats(kKeys * 4, 3);
  for (uint32_t s = 0; s < kKeys; ++s) {
    cache[s * 4] = values[s];
    cache[s * 4 + 3] = -100.0f + static_cast<float>(s) / 64;  // the rope part alone decides: scores about 1.5 apart, exact in f32
  }
  const TensorView y = tensor({1, 2, 2});
  const std::vector<float> q{0, 0, 0, 100, 0, 0, 0, -100};
  REQUIRE(mla_decode_attention(rec, upload({1, 2, 4}, q), upload({kKeys, 4}, cache), y, {.scale = 1, .first_position = kKeys - 1})
              .ok());
  // Seen: 3.8e-8. Planted faults: the last row not seen 0.18; values not scaled down when the maximum rises 0.76.
  CHECK(max_abs_diff(download(y), reference::mla_decode_attention(q, cache, {1, kKeys, 2, 0, 2, 0, 2}, 1, kKeys - 1)) < 2e-6);
}

TEST_CASE_FIXTURE(GpuTest, "mla_decode_attention: refuses what does not fit together") {
  const TensorView q = tensor({3, 2, 12}), cache = tensor({5, 12}), y = tensor({3, 2, 8});
  CHECK(mla_decode_attention(rec, q, tensor({5, 11}), y, {}).message() ==
        "mla_decode_attention: cache [5, 11] f32 must be [rows, 12], the width of q [3, 2, 12] f32");
  CHECK(mla_decode_attention(rec, q, cache, y, {.first_position = 3}).message() ==
        "mla_decode_attention: cache [5, 12] f32 must have at least 6 rows for q [3, 2, 12] f32 at position 3");
  CHECK(mla_decode_attention(rec, q, cache, tensor({3, 2, 13}), {}).code() == Code::BadShape);
  CHECK(mla_decode_attention(rec, q, cache, tensor({2, 2, 8}), {}).code() == Code::BadShape);
  CHECK(mla_decode_attention(rec, tensor({3, 2, 1025}), tensor({5, 1025}), y, {}).code() == Code::BadShape);
  CHECK(mla_decode_attention(rec, q, cache, tensor({3, 2, 8}, DType::F16), {}).code() == Code::BadDType);
  CHECK(mla_decode_attention(rec, tensor({0, 2, 12}), cache, tensor({0, 2, 8}), {}).ok());
  CHECK(rec.dispatch_count() == 0);
}
