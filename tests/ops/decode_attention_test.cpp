#include "runtime/ops/decode_attention.h"

#include <cmath>

#include "runtime/ops/cache_rows.h"
#include "runtime/ops/decode_gemv.h"
#include "runtime/ops/rope.h"
#include "tests/reference/decode.h"
#include "tests/reference/mla.h"
#include "tests/support/cache_test.h"

using namespace vl2;

namespace {

constexpr double kTheta = 10000;

// CPU drivers compile a kernel of attention for seconds. There a case is done with a cache of f32 and with one of `other` type.
bool left_out(const GpuTest& test, DType act, DType other) {
  return test.device.quirks().barriers_are_slow && act != DType::F32 && act != other;
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "decode_mla_query: absorbs and rotates as the reference does") {
  struct Case {
    uint32_t heads, nope, rope, value, latent, position;
  };
  constexpr Case kCases[] = {{1, 1, 2, 1, 8, 0}, {4, 16, 8, 16, 32, 7}, {3, 130, 6, 5, 72, 100}, {2, 128, 64, 128, 512, 4000}};
  for (const DType format : {DType::F32, DType::F16, DType::BF16})
    for (const Case& c : kCases) {
      CAPTURE(c.latent);
      CAPTURE(dtype_name(format));
      const auto q = random_floats(c.heads * (c.nope + c.rope), 1);
      const auto kv_b = rounded(random_floats(c.heads * (c.nope + c.value) * c.latent, 2), format);
      const TensorView y = tensor({c.heads, c.latent + c.rope});
      const auto table = rope_table(c.position + 1, c.rope, kTheta);
      const Status status = decode_mla_query(rec, upload({c.heads, c.nope + c.rope}, q),
                                             upload_weight({c.heads * (c.nope + c.value), c.latent}, kv_b, format),
                                             upload({c.position + 1, c.rope / 2, 2}, table), upload_u32({2}, {c.position, 9}), y);
      REQUIRE_MESSAGE(status.ok(), status.message());
      auto wanted = reference::mla_absorb_query(q, kv_b, {1, 0, c.heads, c.nope, c.rope, c.value, c.latent});
      for (uint32_t h = 0; h < c.heads; ++h) {
        const auto turned =
            reference::rotated(doubles(part(q, h * (c.nope + c.rope) + c.nope, c.rope)), c.position, kTheta, true);
        std::copy(turned.begin(), turned.end(), wanted.begin() + h * (c.latent + c.rope) + c.latent);
      }
      // Seen: 2.6e-6 (lavapipe). Planted fault: turned as at the position before, 0.8.
      CHECK(max_abs_diff(download(y), wanted) < 2e-5);
    }
}

TEST_CASE_FIXTURE(DecodeAttentionTest, "decode_latent: writes the row at the position, and no other") {
  constexpr uint32_t kCapacity = 5, kLatent = 40, kRope = 8, kWidth = kLatent + kRope;
  const auto kv_a = reference::uneven(random_floats(kWidth, 1, 2)), norm = random_floats(kLatent, 2);
  for (const DType act : cache_types())
    for (const uint32_t position : {0u, 3u, 4u}) {
      const auto [cache, before] = upload_cache(kCapacity, 1, kWidth, random_floats(kCapacity * kWidth, 3), act);
      REQUIRE(decode_latent(rec, upload({kWidth}, kv_a), upload({kLatent}, norm), 1e-6f,
                            upload({kCapacity, kRope / 2, 2}, rope_table(kCapacity, kRope, kTheta)),
                            upload_u32({2}, {position, 0}), cache)
                  .ok());
      std::vector<double> wanted(before.begin(), before.end());
      const auto latent = reference::normed(part(kv_a, 0, kLatent), norm, 1e-6);
      const auto turned = reference::rotated(doubles(part(kv_a, kLatent, kRope)), position, kTheta, true);
      std::copy(latent.begin(), latent.end(), wanted.begin() + position * kWidth);
      std::copy(turned.begin(), turned.end(), wanted.begin() + position * kWidth + kLatent);
      // Seen: 1.2e-7 in f32, 8.6e-4 in f16. Planted fault: turned as at the position before, 2.
      const auto got = download_cache(cache, 1);
      if (act != DType::U8) {
        CHECK(max_abs_diff(got, wanted) < (act == DType::F32 ? 2e-6 : 2e-3));
        continue;
      }
      // In steps of the block, of which 127 are its largest: half of one, and what rounding the scale takes, 0.562. Planted fault: the
      // scale of the block before, 575.
      double worst = 0;
      for (uint32_t first = 0; first < kWidth; first += 32) {
        double largest = 0, distance = 0;
        for (uint32_t i = position * kWidth + first; i < position * kWidth + std::min(first + 32, kWidth); ++i) {
          largest = std::max(largest, std::abs(wanted[i]));
          distance = std::max(distance, std::abs(double{got[i]} - wanted[i]));
        }
        worst = std::max(worst, distance / largest * 127);
      }
      CHECK(worst < 0.7);
      std::vector<float> others = got;
      std::copy_n(before.begin() + position * kWidth, kWidth, others.begin() + position * kWidth);
      CHECK(others == before);
    }
}

TEST_CASE_FIXTURE(DecodeAttentionTest,
                  "decode_mla_attention: agrees with the reference at any position, number of splits and heads a workgroup") {
  struct Case {
    uint32_t heads, latent, rope, value, capacity;
    DType other;
    DecodeTuning tuning;
  };
  const Case kCases[] = {{4, 32, 8, 16, 70, DType::U8, {}},
                         {4, 32, 8, 16, 70, DType::F16, {.groups = 1}},  // five lanes, fewer than share a row of W_UV
                         {3, 72, 16, 5, 90, DType::U8, {.heads = 2, .keys = 2, .splits = 3, .groups = 2}},
                         {5, 128, 32, 64, 300, DType::F16, {.heads = 4, .keys = 3, .splits = 5}},
                         {3, 64, 16, 16, 300, DType::U8, {.heads = 2, .keys = 1, .splits = 64, .groups = 3, .tiles = 1}},
                         {2, 512, 64, 128, 600, DType::F16, {.heads = 1, .splits = 7}}};
  for (const DType act : cache_types())
    for (const Case& c : kCases) {
      if (left_out(*this, act, c.other))
        continue;
      const uint32_t width = c.latent + c.rope, nope = 3, rows = c.heads * (nope + c.value);
      const float scale = 1 / std::sqrt(static_cast<float>(width));
      const DecodeAttentionShape shape =
          decode_attention_shape(device.caps(), c.capacity, width, c.heads, c.heads, c.latent, c.value, c.tuning);
      const auto q = random_floats(c.heads * width, 1, 2);
      const auto [cache_view, cache] =
          upload_cache(c.capacity, 1, width, reference::uneven(random_floats(c.capacity * width, 2, 2)), act);
      const auto kv_b = rounded(random_floats(rows * c.latent, 3), DType::F16);
      const TensorView q_view = upload({c.heads, width}, q), kv_b_view = upload_weight({rows, c.latent}, kv_b, DType::F16);
      const DecodeAttentionScratch scratch{tensor({c.heads, shape.splits, c.latent}), tensor({c.heads, shape.splits, 2}),
                                           upload_u32({c.heads}, std::vector<uint32_t>(c.heads, 0))};
      for (const uint32_t position : {0u, 1u, 27u, 28u, 64u, c.capacity - 1}) {
        CAPTURE(c.latent);
        CAPTURE(position);
        const TensorView y = tensor({c.heads, c.value});
        const Status status =
            decode_mla_attention(rec, q_view, cache_view, kv_b_view, upload_u32({2}, {position, 0}), scratch, y, scale, shape);
        REQUIRE_MESSAGE(status.ok(), status.message());
        const auto u =
            reference::mla_decode_attention(q, cache, {1, c.capacity, c.heads, nope, c.rope, c.value, c.latent}, scale, position);
        const auto wanted =
            reference::mla_expand_value({u.begin(), u.end()}, kv_b, {1, 1, c.heads, nope, c.rope, c.value, c.latent});
        // Seen: 7.4e-6, before W_UV 3.8e-7 (lavapipe). Planted fault: the newest key left out, 6e-2 and 4.3e-3 at the least.
        CHECK(max_abs_diff(download(y), wanted) < 3e-5);
        CHECK(download_u32(scratch.counter) == std::vector<uint32_t>(c.heads, 0));
        if (device.quirks().barriers_are_slow && act == c.other)
          continue;  // another kernel
        const TensorView latents = tensor({c.heads, c.latent}), y_apart = tensor({c.heads, c.value});
        REQUIRE(decode_mla_attention(rec, q_view, cache_view, kv_b_view, upload_u32({2}, {position, 0}), scratch, latents, scale,
                                     shape, true)
                    .ok());
        REQUIRE(
            decode_head_values(rec, latents, kv_b_view, y_apart, {.threads = 64, .rows = 2, .unroll = 2, .one_subgroup = false})
                .ok());
        CHECK(max_abs_diff(download(latents), u) < 3e-5);
        CHECK(max_abs_diff(download(y_apart), wanted) < 3e-5);
        CHECK(download_u32(scratch.counter) == std::vector<uint32_t>(c.heads, 0));
      }
    }
}

TEST_CASE_FIXTURE(DecodeAttentionTest,
                  "decode_mla_matrix: agrees with the reference at any position, number of splits and padding of heads") {
  if (device.tier() < 3) {
    MESSAGE("this device has no matrix units");
    return;
  }
  struct Case {
    uint32_t heads, latent, rope, value, capacity;
    DecodeTuning tuning;
  };
  const Case kCases[] = {{4, 32, 16, 16, 70, {.subgroups = 1}},
                         {10, 64, 16, 5, 90, {.keys = 16, .splits = 3, .tiles = 1, .subgroups = 4, .values = 2}},
                         {16, 128, 32, 64, 600, {.keys = 16, .splits = 64, .tiles = 1, .subgroups = 4}},
                         {20, 48, 16, 24, 150, {.keys = 24, .splits = 5, .tiles = 2, .subgroups = 2, .values = 40}},
                         {16, 128, 32, 64, 600, {.keys = 16, .splits = 2, .subgroups = 4}},
                         {16, 512, 64, 128, 300, {.keys = 32, .subgroups = 8}}};
  for (const DType type : {DType::F16, DType::U8})
    for (Case c : kCases) {
      CAPTURE(c.heads);
      CAPTURE(dtype_name(type));
      const uint32_t width = c.latent + c.rope, nope = 3, rows = c.heads * (nope + c.value);
      const float scale = 1 / std::sqrt(static_cast<float>(width));
      c.tuning.matrix = 1;
      const auto shape =
          decode_matrix_shape(device.caps(), device.quirks(), device.tier(), c.capacity, width, c.heads, c.latent, c.tuning);
      REQUIRE(shape.has_value());
      const uint32_t padded = shape->head_tiles(c.heads) * shape->shape.m;
      const auto q = rounded(random_floats(padded * width, 1, 2), DType::F16);
      auto [cache_view, cache] =
          upload_cache(c.capacity, 1, width, reference::uneven(random_floats(c.capacity * width, 2, 2)), type);
      cache = rounded(cache, DType::F16);  // as it reaches the products
      const auto kv_b = rounded(random_floats(rows * c.latent, 3), DType::F16);
      const TensorView q_view = upload({padded, width}, q, DType::F16),
                       kv_b_view = upload_weight({rows, c.latent}, kv_b, DType::F16);
      const DecodeAttentionScratch scratch{tensor({c.heads, shape->splits, c.latent}, DType::F16),
                                           tensor({c.heads, shape->splits, 2}), TensorView{}};
      for (const uint32_t position : {0u, 1u, 15u, 16u, 31u, 32u, 64u, c.capacity - 1}) {
        CAPTURE(position);
        const TensorView y = tensor({c.heads, c.value});
        const Status status =
            decode_mla_matrix(rec, q_view, cache_view, kv_b_view, upload_u32({2}, {position, 0}), scratch, y, scale, *shape);
        REQUIRE_MESSAGE(status.ok(), status.message());
        const auto u = reference::mla_decode_attention(
            part(q, 0, c.heads * width), cache, {1, c.capacity, c.heads, nope, c.rope, c.value, c.latent}, scale, position);
        const auto wanted =
            reference::mla_expand_value({u.begin(), u.end()}, kv_b, {1, 1, c.heads, nope, c.rope, c.value, c.latent});
        // Seen, of y up to 48: 9.3e-3 (H200 and lavapipe alike: two keys at Small's shape, from the rounding of the parts, times 512
        // weights). Planted faults, the least of all cases and positions but the first: the newest key left out 0.12, scale too
        // large by 1/32 0.16.
        CHECK(max_abs_diff(download(y), wanted) < 2e-2);
      }
    }
}

TEST_CASE_FIXTURE(GpuTest, "decode_mla_matrix: refuses what does not fit together") {
  constexpr uint32_t kHeads = 10, kLatent = 32, kWidth = 48;
  const DecodeMatrixShape shape{.shape = {.m = 16, .n = 8, .k = 16, .f32_sum = true},
                                .subgroup_size = 32,
                                .subgroups = 1,
                                .keys = 16,
                                .splits = 2,
                                .split_tiles = 1,
                                .value_rows = 16};
  const TensorView q = tensor({16, kWidth}, DType::F16), cache = tensor({9, kWidth}, DType::F16), y = tensor({kHeads, 8}),
                   kv_b = tensor({kHeads * 16, kLatent}, DType::F16), state = tensor({2}, DType::U32);
  const DecodeAttentionScratch scratch{tensor({kHeads, 2, kLatent}, DType::F16), tensor({kHeads, 2, 2}), TensorView{}};
  const auto code = [&](const TensorView& queries, const TensorView& latents, const TensorView& weights, const TensorView& where,
                        const DecodeAttentionScratch& parts, const TensorView& out, float scale) {
    return decode_mla_matrix(rec, queries, latents, weights, where, parts, out, scale, shape).code();
  };
  CHECK(code(tensor({kHeads, kWidth}, DType::F16), cache, kv_b, state, scratch, y, 1) == Code::BadShape);  // rows not padded
  CHECK(code(tensor({16, kWidth}), cache, kv_b, state, scratch, y, 1) == Code::BadShape);
  CHECK(code(q, tensor({9, kWidth}), kv_b, state, scratch, y, 1) == Code::BadShape);
  CHECK(code(q, tensor({9, 24}, DType::F16), kv_b, state, scratch, y, 1) == Code::BadShape);
  CHECK(code(tensor({16, 56}, DType::F16), tensor({9, 56}, DType::F16), kv_b, state, scratch, y, 1) == Code::BadShape);
  CHECK(code(q, cache, tensor({kHeads * 16 + 1, kLatent}, DType::F16), state, scratch, y, 1) == Code::BadShape);
  CHECK(code(q, cache, kv_b, tensor({1}, DType::U32), scratch, y, 1) == Code::BadShape);
  CHECK(code(q, cache, kv_b, state, {tensor({kHeads, 2, kLatent}), scratch.limits, TensorView{}}, y, 1) == Code::BadShape);
  CHECK(code(q, cache, kv_b, state, {scratch.parts, tensor({kHeads, 1, 2}), TensorView{}}, y, 1) == Code::BadShape);
  CHECK(code(q, cache, kv_b, state, scratch, tensor({kHeads, 17}), 1) == Code::BadShape);
  CHECK(code(q, cache, kv_b, state, scratch, y, 0) == Code::BadShape);
  CHECK(decode_mla_matrix(rec, q, cache, kv_b, state, scratch, y, std::nanf(""), shape).message() ==
        "decode_mla_matrix: cache [9, 48] f16 and kv_b [160, 32] f16 must be as wide as multiples of 16 and 8, and scale nan "
        "above 0");
  CHECK(rec.dispatch_count() == 0);
}

TEST_CASE_FIXTURE(DecodeAttentionTest,
                  "decode_mha_attention: rotates, caches and attends as the reference does, token after token") {
  struct Case {
    uint32_t heads, width, capacity;
    DType other;
    DecodeTuning tuning;
  };
  const Case kCases[] = {{1, 8, 10, DType::F16, {}},
                         {4, 16, 150, DType::U8, {.keys = 2, .splits = 4, .groups = 3, .tiles = 1}},
                         {2, 128, 200, DType::U8, {.keys = 2, .groups = 4}},
                         {2, 32, 600, DType::F16, {.keys = 2, .splits = 64, .groups = 4, .tiles = 1}},
                         {3, 96, 40, DType::U8, {}}};  // an odd number of blocks
  for (const DType act : cache_types())
    for (const Case& c : kCases) {
      if (left_out(*this, act, c.other))
        continue;
      const uint32_t all = c.heads * c.width;
      const float scale = 1 / std::sqrt(static_cast<float>(c.width));
      const DecodeAttentionShape shape =
          decode_attention_shape(device.caps(), c.capacity, c.width, c.heads, 1, c.width, 0, c.tuning);
      auto [key_view, keys] =
          upload_cache(c.capacity, c.heads, c.width, reference::uneven(random_floats(c.capacity * all, 2, 2)), act);
      auto [value_view, values] =
          upload_cache(c.capacity, c.heads, c.width, reference::uneven(random_floats(c.capacity * all, 3, 2)), act);
      const TensorView table = upload({c.capacity, c.width / 2, 2}, rope_table(c.capacity, c.width, kTheta));
      const DecodeAttentionScratch scratch{tensor({c.heads, shape.splits, c.width}), tensor({c.heads, shape.splits, 2}),
                                           upload_u32({c.heads}, std::vector<uint32_t>(c.heads, 0))};
      for (const uint32_t position : {0u, 1u, 7u, c.capacity / 2, c.capacity / 2 + 1, c.capacity - 1}) {
        CAPTURE(c.width);
        CAPTURE(position);
        const auto qkv = reference::uneven(random_floats(3 * all, 4 + position, 2));
        const TensorView y = tensor({c.heads, c.width});
        const Status status = decode_mha_attention(rec, upload({3 * all}, qkv), key_view, value_view, table,
                                                   upload_u32({2}, {position, 0}), scratch, y, scale, shape);
        REQUIRE_MESSAGE(status.ok(), status.message());
        std::vector<double> wanted;
        for (uint32_t h = 0; h < c.heads; ++h) {
          const auto k = reference::rotated(doubles(part(qkv, all + h * c.width, c.width)), position, kTheta, false);
          for (uint32_t d = 0; d < c.width; ++d) {
            const std::vector<float> pair{static_cast<float>(k[d]), qkv[2 * all + h * c.width + d]};
            keys[position * all + h * c.width + d] = rounded(pair, act)[0];
            values[position * all + h * c.width + d] = rounded(pair, act)[1];
          }
        }
        if (act == DType::U8) {  // a tie may go either way: attention is held against what was cached, and that against the row
          CHECK(take_cached_row(key_view, c.heads, position, keys) < 0.6);
          CHECK(take_cached_row(value_view, c.heads, position, values) < 0.6);
        }
        for (uint32_t h = 0; h < c.heads; ++h) {
          const auto q = reference::rotated(doubles(part(qkv, h * c.width, c.width)), position, kTheta, false);
          std::vector<double> weights(position + 1), row(c.width);
          double maximum = -1e300, sum = 0;
          for (uint32_t s = 0; s <= position; ++s) {
            for (uint32_t d = 0; d < c.width; ++d)
              weights[s] += q[d] * keys[s * all + h * c.width + d] * scale;
            maximum = std::max(maximum, weights[s]);
          }
          for (double& weight : weights)
            sum += weight = std::exp(weight - maximum);
          for (uint32_t s = 0; s <= position; ++s)
            for (uint32_t d = 0; d < c.width; ++d)
              row[d] += weights[s] / sum * values[s * all + h * c.width + d];
          wanted.insert(wanted.end(), row.begin(), row.end());
        }
        // Seen: 3.2e-7, with keys and values rounded to f16 as the cache has them. Planted fault: the newest key left out, 8e-3
        // at the least.
        const double tolerance = act == DType::F16 ? 4e-3 : 1e-5;
        CHECK(max_abs_diff(download(y), wanted) < tolerance);
        CHECK(max_abs_diff(download_cache(key_view, c.heads), keys) < tolerance);
        CHECK(max_abs_diff(download_cache(value_view, c.heads), values) < tolerance);
        CHECK(download_u32(scratch.counter) == std::vector<uint32_t>(c.heads, 0));
      }
    }
}

TEST_CASE_FIXTURE(GpuTest, "decode_advance: keeps the token and moves on, round the ring") {
  const TensorView state = upload_u32({2}, {40, 2}), ring = upload_u32({3}, {0, 0, 0}), token = upload_u32({1}, {77});
  REQUIRE(decode_advance(rec, token, state, ring).ok());
  REQUIRE(decode_advance(rec, upload_u32({1}, {78}), state, ring).ok());
  CHECK(download_u32(state) == std::vector<uint32_t>{42, 4});
  CHECK(download_u32(ring) == std::vector<uint32_t>{78, 0, 77});
}

TEST_CASE_FIXTURE(GpuTest, "decode attention: refuses what does not fit together") {
  const TensorView q = tensor({2, 24}), cache = tensor({9, 40}), kv_b = tensor({2 * 32, 32}), state = tensor({2}, DType::U32);
  const TensorView table = tensor({9, 4, 2}), y = tensor({2, 40});
  CHECK(decode_mla_query(rec, q, kv_b, table, tensor({1}, DType::U32), y).message() ==
        "decode_mla_query: state [1] u32 must be [2] u32");
  CHECK(decode_mla_query(rec, q, tensor({2 * 8, 32}), table, state, y).code() == Code::BadShape);
  CHECK(decode_mla_query(rec, q, kv_b, tensor({9, 3, 2}), state, y).code() == Code::BadShape);
  CHECK(decode_latent(rec, tensor({40}), tensor({32}), 0, tensor({8, 4, 2}), state, cache).message() ==
        "decode_latent: rope table [8, 4, 2] f32 must be [at least 9, 4, 2] f32");
  CHECK(decode_latent(rec, tensor({39}), tensor({32}), 0, table, state, cache).code() == Code::BadShape);
  const DecodeAttentionShape shape = decode_attention_shape(device.caps(), 9, 40, 2, 2, 32, 16);
  const DecodeAttentionScratch none{tensor({1}), tensor({1}), tensor({2}, DType::U32)};
  CHECK(decode_mla_attention(rec, y, cache, kv_b, state, none, tensor({2, 16}), 1, shape).code() == Code::BadShape);
  CHECK(decode_mla_attention(rec, y, tensor({9, 41}), kv_b, state, none, tensor({2, 16}), 1, shape).code() == Code::BadShape);
  CHECK(decode_mha_attention(rec, tensor({48}), tensor({9, 16}), tensor({8, 16}), table, state, none, tensor({2, 8}), 1, shape)
            .code() == Code::BadShape);
  CHECK(decode_advance(rec, tensor({2}, DType::U32), state, tensor({4}, DType::U32)).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == 0);
}
