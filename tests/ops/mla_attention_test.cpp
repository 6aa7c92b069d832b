#include "runtime/ops/mla_attention.h"

#include <cmath>

#include "runtime/ops/mla_absorb_query.h"
#include "runtime/ops/mla_decode_attention.h"
#include "runtime/ops/mla_expand_value.h"
#include "tests/reference/mla.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

namespace {

using Sizes = reference::MlaSizes;

std::vector<float> to_float(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "mla_attention: agrees with the reference at the sizes of the demo, golden and published models") {
  struct Case {
    uint32_t queries, keys, first_position, heads, nope, rope, value_width;
  };
  constexpr Case kCases[] = {{1, 1, 0, 1, 1, 2, 9},         {5, 9, 3, 4, 16, 8, 16},        {33, 33, 0, 4, 64, 32, 64},
                             {70, 200, 130, 4, 64, 32, 64}, {40, 129, 89, 2, 128, 64, 128}, {20, 20, 0, 2, 7, 6, 13},
                             {3, 3, 0, 1, 5, 0, 10}};
  for (const DType act : act_types())
    for (const Case& c : kCases) {
      CAPTURE(c.queries);
      CAPTURE(c.nope);
      const Sizes n{c.queries, c.keys, c.heads, c.nope, c.rope, c.value_width, 0};
      const uint32_t width = c.nope + c.rope, kv_width = c.nope + c.value_width, tail = 3;
      const auto q = rounded(random_floats(c.queries * c.heads * width, 1, 2), act);
      const auto kv = rounded(random_floats(c.keys * c.heads * kv_width, 2, 2), act);
      const auto cache = rounded(random_floats(c.keys * (tail + c.rope), 3, 2), act);  // k_rope lies behind something else
      const TensorView k_rope =
          window(upload({c.keys * (tail + c.rope)}, cache, act), {c.keys, c.rope}, {tail + c.rope, 1}, tail);
      const TensorView y = tensor({c.queries, c.heads, c.value_width}, act);
      const float scale = 1 / std::sqrt(static_cast<float>(width));
      const Status status =
          mla_attention(rec, upload({c.queries, c.heads, width}, q, act), upload({c.keys, c.heads, kv_width}, kv, act), k_rope, y,
                        {.scale = scale, .first_position = c.first_position});
      REQUIRE_MESSAGE(status.ok(), status.message());
      const auto wanted = reference::mla_attention(q, kv, download(k_rope), n, scale, c.first_position);
      // Seen: 1.2e-6 in f32, 4.9e-4 in f16. Planted fault: each query sees one key too many 3.0.
      CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 4e-6 : 1.2e-3));
    }
}

TEST_CASE_FIXTURE(GpuTest, "mla_attention: absorbed and un-absorbed agree with one reference, and so with each other") {
  for (const Sizes n : {Sizes{5, 40, 4, 16, 8, 16, 32}, Sizes{12, 300, 4, 64, 32, 64, 128}, Sizes{2, 70, 2, 128, 64, 128, 512}}) {
    CAPTURE(n.latent);
    const auto u = [](size_t size) { return static_cast<uint32_t>(size); };
    const uint32_t queries = u(n.queries), keys = u(n.keys), heads = u(n.heads), nope = u(n.nope), rope = u(n.rope),
                   latent = u(n.latent);
    const uint32_t value_width = u(n.value_width), first = keys - queries;
    const float scale = 1 / std::sqrt(static_cast<float>(nope + rope));
    const auto q = random_floats(queries * heads * (nope + rope), 1, 2);
    const auto kv_b = random_floats(heads * (nope + value_width) * latent, 2, 2 / std::sqrt(static_cast<float>(latent)));
    const auto cache = random_floats(keys * (latent + rope), 3, 2);
    const TensorView cached = upload({keys, latent + rope}, cache), query = upload({queries, heads, nope + rope}, q);
    const TensorView k_rope = window(cached, {keys, rope}, {latent + rope, 1}, latent);
    const auto latents = download(window(cached, {keys, latent}, {latent + rope, 1}));
    const auto kv = reference::mla_expand(latents, kv_b, n);
    const auto wanted = reference::mla_attention(q, kv, download(k_rope), n, scale, first);

    const TensorView naive = tensor({queries, heads, value_width});
    REQUIRE(mla_attention(rec, query, upload({keys, heads, nope + value_width}, to_float(kv)), k_rope, naive,
                          {.scale = scale, .first_position = first})
                .ok());
    const TensorView weight = upload_weight({heads * (nope + value_width), latent}, kv_b, DType::F32);
    const TensorView absorbed = tensor({queries, heads, latent + rope}), attended = tensor({queries, heads, latent});
    const TensorView y = tensor({queries, heads, value_width});
    REQUIRE(mla_absorb_query(rec, query, weight, absorbed).ok());
    REQUIRE(mla_decode_attention(rec, absorbed, cached, attended, {.scale = scale, .first_position = first}).ok());
    REQUIRE(mla_expand_value(rec, attended, weight, y).ok());

    // Seen: 1.0e-6, 7.0e-7, 1.6e-6. Planted faults: one key too many (first) 0.40, too few (second) 0.48.
    CHECK(max_abs_diff(download(naive), wanted) < 4e-6);
    CHECK(max_abs_diff(download(y), wanted) < 4e-6);
    CHECK(max_abs_diff(download(y), download(naive)) < 4e-6);
  }
}

TEST_CASE_FIXTURE(GpuTest, "mla_attention: no query sees a later key, and every query sees its own") {
  constexpr uint32_t kQueries = 80, kKeys = 120, kFirst = kKeys - kQueries, kNope = 6, kRope = 4, kValue = 11;
  const auto q = random_floats(kQueries * (kNope + kRope), 1), kv = random_floats(kKeys * (kNope + kValue), 2);
  const auto k_rope = random_floats(kKeys * kRope, 3);
  const auto run = [&](const std::vector<float>& keys_and_values, const std::vector<float>& rope_keys) {
    const TensorView y = tensor({kQueries, 1, kValue});
    REQUIRE(mla_attention(rec, upload({kQueries, 1, kNope + kRope}, q), upload({kKeys, 1, kNope + kValue}, keys_and_values),
                          upload({kKeys, kRope}, rope_keys), y, {.scale = 0.3f, .first_position = kFirst})
                .ok());
    return download(y);
  };
  const auto plain = run(kv, k_rope);
  for (const uint32_t changed : {kFirst, kFirst + 33, kKeys - 1})
    for (const bool change_rope : {false, true}) {
      auto other = kv, other_rope = k_rope;
      for (uint32_t d = 0; d < kNope + kValue && !change_rope; ++d)
        other[changed * (kNope + kValue) + d] += 10;
      for (uint32_t d = 0; d < kRope && change_rope; ++d)
        other_rope[changed * kRope + d] += 10;
      const auto y = run(other, other_rope);
      for (uint32_t t = 0; t < kQueries; ++t)
        CHECK(std::equal(&y[t * kValue], &y[t * kValue] + kValue, &plain[t * kValue]) == (kFirst + t < changed));
    }
}

TEST_CASE_FIXTURE(GpuTest, "mla_attention: refuses what does not fit together") {
  const TensorView q = tensor({3, 2, 12}), kv = tensor({5, 2, 15}), k_rope = tensor({5, 4}), y = tensor({3, 2, 7});
  CHECK(mla_attention(rec, q, tensor({5, 2, 14}), k_rope, y, {}).message() ==
        "mla_attention: kv [5, 2, 14] f32 must be [rows, 2, 15] for q [3, 2, 12] f32, k_rope [5, 4] f32 and y [3, 2, 7] f32");
  CHECK(mla_attention(rec, q, kv, k_rope, y, {.first_position = 3}).message() ==
        "mla_attention: kv [5, 2, 15] f32 must have at least 6 rows for q [3, 2, 12] f32 at position 3");
  CHECK(mla_attention(rec, q, kv, tensor({4, 4}), y, {}).code() == Code::BadShape);
  CHECK(mla_attention(rec, q, kv, tensor({5, 13}), y, {}).code() == Code::BadShape);
  CHECK(mla_attention(rec, q, kv, k_rope, tensor({2, 2, 7}), {}).code() == Code::BadShape);
  CHECK(mla_attention(rec, q, kv, k_rope, tensor({3, 2, 7}, DType::F16), {}).code() == Code::BadDType);
  CHECK(mla_attention(rec, tensor({0, 2, 12}), kv, k_rope, tensor({0, 2, 7}), {}).ok());
  CHECK(rec.dispatch_count() == 0);
}
