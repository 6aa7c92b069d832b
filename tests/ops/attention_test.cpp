#include "runtime/ops/attention.h"

#include <cmath>

#include "tests/reference/attention.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

namespace {

struct Case {
  uint32_t batch, queries, keys, heads, width, value_width;
  bool causal;
  uint32_t first_position;
};

float scale_of(uint32_t width) {
  return 1 / std::sqrt(static_cast<float>(width));
}

reference::AttentionSizes sizes_of(const Case& c) {
  return {c.batch, c.queries, c.keys, c.heads, c.width, c.value_width};
}

}  // namespace

// 1 to 4 queries go to one kernel, more to the other.
TEST_CASE_FIXTURE(GpuTest,
                  "attention: agrees with the reference at awkward sizes, causal and not, with few queries and with many") {
  constexpr Case kCases[] = {
      {1, 1, 1, 1, 1, 1, false, 0},        {2, 3, 5, 2, 7, 3, false, 0},       {1, 4, 255, 2, 72, 72, false, 0},
      {1, 4, 256, 1, 128, 128, false, 0},  {1, 2, 257, 1, 192, 128, false, 0}, {1, 5, 1, 1, 1, 1, false, 0},
      {2, 63, 63, 2, 33, 7, false, 0},     {1, 64, 64, 1, 24, 8, false, 0},    {1, 65, 65, 3, 72, 72, false, 0},
      {1, 40, 130, 1, 192, 128, false, 0}, {1, 10, 20, 1, 191, 127, false, 0}, {1, 1, 1, 2, 128, 128, true, 0},
      {1, 1, 600, 2, 128, 128, true, 511}, {1, 5, 5, 2, 128, 128, true, 0},    {2, 4, 300, 2, 64, 64, true, 250},
      {1, 130, 130, 2, 128, 128, true, 0}, {2, 33, 200, 2, 25, 71, true, 100}, {1, 64, 128, 1, 128, 128, true, 64},
      {1, 100, 4096, 1, 16, 8, true, 3900}};
  for (const DType act : act_types())
    for (const Case& c : kCases) {
      CAPTURE(c.queries);
      CAPTURE(c.keys);
      CAPTURE(c.width);
      const auto q = rounded(random_floats(c.batch * c.queries * c.heads * c.width, 1, 2), act);
      const auto k = rounded(random_floats(c.batch * c.keys * c.heads * c.width, 2, 2), act);
      const auto v = rounded(random_floats(c.batch * c.keys * c.heads * c.value_width, 3), act);
      const TensorView y = tensor({c.batch, c.queries, c.heads, c.value_width}, act);
      const Status status = attention(rec, upload({c.batch, c.queries, c.heads, c.width}, q, act),
                                      upload({c.batch, c.keys, c.heads, c.width}, k, act),
                                      upload({c.batch, c.keys, c.heads, c.value_width}, v, act), y,
                                      {.scale = scale_of(c.width), .causal = c.causal, .first_position = c.first_position});
      REQUIRE_MESSAGE(status.ok(), status.message());
      const auto wanted = reference::attention(q, k, v, sizes_of(c), scale_of(c.width), c.causal, c.first_position);
      // Seen: 4.9e-7 in f32, 2.5e-4 in f16. Planted faults: each query sees one key too many (tiles) or too few (rows) 1.1; one
      // thread's sum lost 2e38.
      CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 2e-6 : 6e-4));
    }
}

TEST_CASE_FIXTURE(
    GpuTest, "attention: takes q, k and v out of one matrix, as SigLIP has them, in as many parts as a binding's size asks for") {
  constexpr uint32_t kViews = 3, kTokens = 41, kHeads = 2, kWidth = 72, kRow = 3 * kHeads * kWidth;
  for (const DType act : act_types()) {
    const auto all = rounded(random_floats(1 + kViews * kTokens * kRow, 5), act);
    const TensorView flat = upload({1 + kViews * kTokens * kRow}, all, act);
    TensorView part[3];
    std::vector<float> dense[3];
    for (uint32_t i = 0; i < 3; ++i) {
      part[i] = window(flat, {kViews, kTokens, kHeads, kWidth}, {kTokens * kRow, kRow, kWidth, 1}, 1 + i * kHeads * kWidth);
      dense[i] = download(part[i]);
    }
    const auto wanted = reference::attention(dense[0], dense[1], dense[2], {kViews, kTokens, kTokens, kHeads, kWidth, kWidth},
                                             scale_of(kWidth), false, 0);
    const TensorView whole = tensor({kViews, kTokens, kHeads, kWidth}, act), cut = tensor({kViews, kTokens, kHeads, kWidth}, act);
    const uint64_t usual = rec.max_binding_bytes(), before = rec.dispatch_count();
    REQUIRE(attention(rec, part[0], part[1], part[2], whole, {.scale = scale_of(kWidth)}).ok());
    CHECK(rec.dispatch_count() == before + 1);
    // Seen: 1.1e-7 in f32, 1.3e-4 in f16. Planted fault: one thread's sum lost 0.10.
    CHECK(max_abs_diff(download(whole), wanted) < (act == DType::F32 ? 2e-6 : 6e-4));

    rec.set_max_binding_bytes(kTokens * kRow * dtype_bytes(act) * 2 + 512);  // two views
    REQUIRE(attention(rec, part[0], part[1], part[2], cut, {.scale = scale_of(kWidth)}).ok());
    CHECK(rec.dispatch_count() == before + 3);
    rec.set_max_binding_bytes(usual);
    CHECK(download(cut) == download(whole));
  }
}

TEST_CASE_FIXTURE(GpuTest, "attention: honours a strided y, one set of keys for all heads, and writes nothing else") {
  constexpr uint32_t kHeads = 3, kWidth = 7, kKeys = 70;
  for (const DType act : act_types())
    for (const uint32_t queries : {2u, 75u}) {
      const auto q = rounded(random_floats(queries * kHeads * kWidth, 1), act),
                 kv = rounded(random_floats(kKeys * kWidth, 2), act);
      const TensorView flat = tensor({queries * 100 + 1}, act);
      const TensorView y = window(flat, {1, queries, kHeads, kWidth}, {0, 100, 30, 1}, 1);
      const TensorView shared = window(upload({kKeys * kWidth}, kv, act), {1, kKeys, kHeads, kWidth}, {0, kWidth, 0, 1});
      REQUIRE(attention(rec, upload({1, queries, kHeads, kWidth}, q, act), shared, shared, y, {.scale = 0.3f}).ok());
      std::vector<float> repeated;
      for (uint32_t s = 0; s < kKeys; ++s)
        for (uint32_t h = 0; h < kHeads; ++h)
          repeated.insert(repeated.end(), kv.begin() + s * kWidth, kv.begin() + (s + 1) * kWidth);
      const auto wanted =
          reference::attention(q, repeated, repeated, {1, queries, kKeys, kHeads, kWidth, kWidth}, 0.3f, false, 0);
      // Seen: 7.8e-8 in f32, 6.2e-5 in f16. Planted faults: the last key not seen (rows) 0.013; one thread's sum lost (tiles)
      // 0.051.
      CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 2e-6 : 6e-4));
      size_t written = 0;
      for (const float value : download(flat))
        written += !std::isnan(value);
      CHECK(written == queries * kHeads * kWidth);
    }
}

TEST_CASE_FIXTURE(GpuTest, "attention: no query sees a later key, and every query sees its own") {
  constexpr uint32_t kKeys = 140, kWidth = 8;
  for (const uint32_t queries : {4u, 100u}) {
    const uint32_t first = kKeys - queries;
    const auto q = random_floats(queries * kWidth, 1), k = random_floats(kKeys * kWidth, 2), v = random_floats(kKeys * kWidth, 3);
    const TensorView query = upload({1, queries, 1, kWidth}, q);
    const AttentionOptions options{.scale = 0.25f, .causal = true, .first_position = first};
    const auto run = [&](const std::vector<float>& keys, const std::vector<float>& values) {
      const TensorView y = tensor({1, queries, 1, kWidth});
      REQUIRE(attention(rec, query, upload({1, kKeys, 1, kWidth}, keys), upload({1, kKeys, 1, kWidth}, values), y, options).ok());
      return download(y);
    };
    const auto plain = run(k, v);
    for (const uint32_t changed : {first, first + 1, first + queries / 2, kKeys - 1}) {
      auto other_k = k, other_v = v;
      for (uint32_t d = 0; d < kWidth; ++d) {
        other_k[changed * kWidth + d] = -3 * k[changed * kWidth + d];
        other_v[changed * kWidth + d] = 100;
      }
      const auto y = run(other_k, other_v);
      for (uint32_t t = 0; t < queries; ++t) {
        const bool same = std::equal(&y[t * kWidth], &y[t * kWidth] + kWidth, &plain[t * kWidth]);
        CHECK(same == (first + t < changed));
      }
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "attention: does not read cache rows beyond the last query's") {
  for (const uint32_t queries : {3u, 40u}) {
    const auto q = random_floats(queries * 8, 1), k = random_floats(queries * 8, 2), v = random_floats(queries * 8, 3);
    const TensorView keys = tensor({1, 100, 1, 8}), values = tensor({1, 100, 1, 8}), y = tensor({1, queries, 1, 8});  // NaN
    REQUIRE(rec.copy(upload({queries * 8}, k), window(keys, {queries * 8}, {1})).ok());
    REQUIRE(rec.copy(upload({queries * 8}, v), window(values, {queries * 8}, {1})).ok());
    REQUIRE(attention(rec, upload({1, queries, 1, 8}, q), keys, values, y, {.scale = 1, .causal = true}).ok());
    // Seen: 7.9e-8. Planted fault: the last key not seen 0.82.
    CHECK(max_abs_diff(download(y), reference::attention(q, k, v, {1, queries, queries, 1, 8, 8}, 1, true, 0)) < 2e-6);
  }
}

TEST_CASE_FIXTURE(GpuTest, "attention: scores of ten thousand and rising maxima do not overflow") {
  constexpr uint32_t kKeys = 300, kWidth = 4;
  for (const uint32_t queries : {2u, 40u}) {
    std::vector<float> q(queries * kWidth), k(kKeys * kWidth);
    for (uint32_t t = 0; t < queries; ++t)
      q[t * kWidth] = t % 2 == 0 ? 100.0f : -100.0f;  // falling for one, rising for the other
    for (uint32_t s = 0; s < kKeys; ++s)
      k[s * kWidth] = 100.0f - static_cast<float>(s) / 64;  // scores of 1e4 and -1e4, about 1.5 apart, exact in f32
    const auto v = random_floats(kKeys * kWidth, 3);
    const TensorView y = tensor({1, queries, 1, kWidth});
    REQUIRE(attention(rec, upload({1, queries, 1, kWidth}, q), upload({1, kKeys, 1, kWidth}, k), upload({1, kKeys, 1, kWidth}, v),
                      y, {.scale = 1})
                .ok());
    // Seen: 1.3e-7. Planted faults: the last key not seen 0.44; values not scaled down when the maximum rises 2e5.
    CHECK(max_abs_diff(download(y), reference::attention(q, k, v, {1, queries, kKeys, 1, kWidth, kWidth}, 1, false, 0)) < 2e-6);
  }
}

TEST_CASE_FIXTURE(GpuTest, "attention: a prompt in chunks gives what it gives in one pass") {
  constexpr uint32_t kTokens = 150, kHeads = 2, kWidth = 72;
  for (const DType act : act_types()) {
    const uint32_t count = kTokens * kHeads * kWidth;
    const auto q = rounded(random_floats(count, 1, 2), act), k = rounded(random_floats(count, 2, 2), act);
    const auto v = rounded(random_floats(count, 3), act);
    const TensorView query = upload({kTokens, kHeads, kWidth}, q, act);
    const TensorView keys = upload({1, kTokens, kHeads, kWidth}, k, act), values = upload({1, kTokens, kHeads, kWidth}, v, act);
    const TensorView whole = tensor({kTokens, kHeads, kWidth}, act), y = tensor({kTokens, kHeads, kWidth}, act);
    const auto attend = [&](uint32_t first, uint32_t rows, const TensorView& to) {
      const auto batched = [&](const TensorView& view) {
        return window(view.rows(first, rows), {1, rows, kHeads, kWidth}, {0, view.stride(0), view.stride(1), 1});
      };
      REQUIRE(attention(rec, batched(query), keys, values, batched(to),
                        {.scale = scale_of(kWidth), .causal = true, .first_position = first})
                  .ok());
    };
    attend(0, kTokens, whole);
    uint32_t first = 0;
    for (const uint32_t chunk : {1u, 3u, 37u, 5u, 65u, 38u, 1u}) {  // both kernels in turn
      attend(first, chunk, y);
      first += chunk;
    }
    REQUIRE(first == kTokens);
    const auto wanted = reference::attention(q, k, v, {1, kTokens, kTokens, kHeads, kWidth, kWidth}, scale_of(kWidth), true, 0);
    // Seen: 3.5e-7 in f32, 2.5e-4 in f16; between chunks and one pass 3e-7. Planted fault: one key too many or too few 1.2.
    CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 2e-6 : 6e-4));
    CHECK(max_abs_diff(download(y), download(whole)) < (act == DType::F32 ? 2e-6 : 6e-4));
  }
}

TEST_CASE_FIXTURE(GpuTest, "attention: refuses what does not fit together") {
  const TensorView q = tensor({1, 3, 2, 8}), k = tensor({1, 5, 2, 8}), y = tensor({1, 3, 2, 8});
  const AttentionOptions plain{.scale = 1}, causal{.scale = 1, .causal = true, .first_position = 3};
  CHECK(attention(rec, q, k, k, y, causal).message() ==
        "attention: k [1, 5, 2, 8] f32 must have at least 6 rows for q [1, 3, 2, 8] f32 at position 3");
  CHECK(attention(rec, q, tensor({1, 5, 2, 9}), k, y, plain).message() ==
        "attention: k [1, 5, 2, 9] f32 must have the batch, heads and width of q [1, 3, 2, 8] f32");
  CHECK(attention(rec, q, k, tensor({1, 4, 2, 8}), y, plain).code() == Code::BadShape);
  CHECK(attention(rec, q, k, k, tensor({1, 3, 2, 7}), plain).code() == Code::BadShape);
  CHECK(attention(rec, tensor({3, 2, 8}), k, k, y, plain).code() == Code::BadShape);
  CHECK(attention(rec, q, tensor({1, 0, 2, 8}), tensor({1, 0, 2, 8}), y, plain).code() == Code::BadShape);
  CHECK(attention(rec, tensor({1, 3, 2, 193}), tensor({1, 5, 2, 193}), k, y, plain).message() ==
        "attention: q [1, 3, 2, 193] f32 must be [batch, rows, heads, 1..192], elements of a head adjacent");
  CHECK(attention(rec, q, k, k, tensor({1, 3, 2, 8}, DType::F16), plain).code() == Code::BadDType);
  CHECK(attention(rec, tensor({1, 0, 2, 8}), k, k, tensor({1, 0, 2, 8}), plain).ok());
  CHECK(rec.dispatch_count() == 0);
}
