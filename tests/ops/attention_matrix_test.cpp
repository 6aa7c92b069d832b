// The kernel on matrix units, through attention and mla_attention: every way to divide the work, on devices that have such units.
// On the others the same cases run on the kernels of lower tiers.
#include "runtime/ops/attention_matrix.h"

#include <cmath>

#include "runtime/ops/attention.h"
#include "runtime/ops/mla_attention.h"
#include "tests/reference/attention.h"
#include "tests/reference/mla.h"
#include "tests/support/attention_tiles.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

namespace {

struct Case {
  uint32_t batch, queries, keys, heads, width, value_width;
  bool causal;
  uint32_t first_position;
};

struct Tensors {
  std::vector<float> q, k, v;
};

Tensors random_tensors(const Case& c) {
  return {rounded(random_floats(c.batch * c.queries * c.heads * c.width, 1, 2), DType::F16),
          rounded(random_floats(c.batch * c.keys * c.heads * c.width, 2, 2), DType::F16),
          rounded(random_floats(c.batch * c.keys * c.heads * c.value_width, 3), DType::F16)};
}

std::vector<double> wanted_of(const Case& c, const Tensors& in, float scale) {
  return reference::attention(in.q, in.k, in.v, {c.batch, c.queries, c.keys, c.heads, c.width, c.value_width}, scale, c.causal,
                              c.first_position);
}

class MatrixTest : public GpuTest {
 public:
  // f16, which the kernel takes; a device without it runs the lower tiers' kernels on f32.
  DType act() const { return act_types().back(); }

  // y of attention(), and a check that the kernel under test ran where the device has matrix units.
  std::vector<float> run(const Case& c, const Tensors& in, float scale, const AttentionTile* tile) {
    rec.enable_timing(true);
    const TensorView y = tensor({c.batch, c.queries, c.heads, c.value_width}, act());
    const Status status = attention(rec, upload({c.batch, c.queries, c.heads, c.width}, in.q, act()),
                                    upload({c.batch, c.keys, c.heads, c.width}, in.k, act()),
                                    upload({c.batch, c.keys, c.heads, c.value_width}, in.v, act()), y,
                                    {.scale = scale, .causal = c.causal, .first_position = c.first_position, .tile = tile});
    REQUIRE_MESSAGE(status.ok(), status.message());
    REQUIRE(rec.finish().ok());
    const auto times = rec.take_times();
    const bool expected =
        device.tier() >= 3 && attention_tile(device.caps(), device.quirks(), {c.width, c.value_width}).has_value();
    if (device.caps().timestamp_period_ns > 0) {
      REQUIRE(times.size() == 1);
      CHECK((times[0].shader == ShaderId::attention_matrix) == expected);
    }
    return download(y);
  }
};

}  // namespace

TEST_CASE_FIXTURE(MatrixTest, "attention_matrix: agrees with the reference at awkward sizes, causal and not") {
  constexpr Case kCases[] = {{1, 5, 1, 1, 8, 8, false, 0},        {1, 7, 7, 2, 72, 72, false, 0},
                             {2, 63, 63, 2, 24, 40, false, 0},    {1, 64, 64, 1, 72, 72, false, 0},
                             {1, 65, 65, 3, 72, 72, false, 0},    {1, 129, 31, 1, 16, 8, false, 0},
                             {1, 17, 129, 2, 128, 128, false, 0}, {1, 40, 130, 1, 192, 128, false, 0},
                             {1, 5, 5, 2, 128, 128, true, 0},     {1, 1 + 4, 600, 2, 128, 128, true, 511},
                             {2, 129, 300, 2, 64, 64, true, 171}, {1, 130, 130, 2, 128, 128, true, 0},
                             {1, 64, 128, 1, 128, 128, true, 64}, {1, 63, 64, 1, 192, 128, true, 1},
                             {1, 100, 4096, 1, 16, 8, true, 3900}};
  for (const Case& c : kCases) {
    CAPTURE(c.queries);
    CAPTURE(c.keys);
    CAPTURE(c.width);
    const Tensors in = random_tensors(c);
    const float scale = 1 / std::sqrt(static_cast<float>(c.width));
    // As below.
    CHECK(max_abs_diff(run(c, in, scale, nullptr), wanted_of(c, in, scale)) < 6e-4);
  }
}

TEST_CASE_FIXTURE(MatrixTest, "attention_matrix: agrees with the reference however the work is divided") {
  // Narrow, because a CPU driver takes a minute to compile a kernel for wide ones.
  constexpr Case kCases[] = {{1, 75, 70, 2, 16, 8, false, 0},
                             {1, 70, 171, 2, 8, 16, true, 101},
                             {1, 5, 130, 1, 8, 16, true, 2},
                             {1, 64, 16, 1, 8, 16, false, 0}};
  for (const Case& c : kCases) {
    const Tensors in = random_tensors(c);
    const float scale = 1 / std::sqrt(static_cast<float>(c.width));
    const auto wanted = wanted_of(c, in, scale);
    for (const AttentionTile& tile : attention_tiles(device.caps(), c.width, c.value_width)) {
      CAPTURE(attention_tile_name(tile));
      // Seen: 3.3e-4. Planted faults: each query sees one key too many 3.4e-3 to 0.28; the second block of keys lost 0.26.
      CHECK(max_abs_diff(run(c, in, scale, &tile), wanted) < 6e-4);
    }
  }
}

TEST_CASE_FIXTURE(MatrixTest, "attention_matrix: a picture of 729 patches agrees with the reference") {
  const Case c{1, 729, 729, 1, 72, 72, false, 0};
  const Tensors in = random_tensors(c);
  const float scale = 1 / std::sqrt(72.0f);
  // As above.
  CHECK(max_abs_diff(run(c, in, scale, nullptr), wanted_of(c, in, scale)) < 6e-4);
}

// Scores of 9e4 and -9e4, which f16 has no numbers for, rising by 6.25 a key, falling, or far apart; every one exact in f32.
TEST_CASE_FIXTURE(MatrixTest, "attention_matrix: scores beyond the range of f16 and rising maxima do not overflow") {
  const Case c{1, 40, 300, 1, 8, 8, false, 0};
  Tensors in = random_tensors(c);
  std::fill(in.q.begin(), in.q.end(), 0.0f);
  std::fill(in.k.begin(), in.k.end(), 0.0f);
  for (uint32_t t = 0; t < c.queries; ++t) {
    in.q[t * 8] = t % 4 < 2 ? 300.0f : -300.0f;
    in.q[t * 8 + 1] = t % 2 == 0 ? 100.0f : -100.0f;
    in.q[t * 8 + 2] = t < 4 ? 0.0f : static_cast<float>(t) / 64;  // otherwise alike: up to 0.6 a key more
  }
  for (uint32_t s = 0; s < c.keys; ++s) {
    in.k[s * 8] = 300;
    in.k[s * 8 + 1] = static_cast<float>(s) / 256;  // 0.39 a key: many keys weigh
    in.k[s * 8 + 2] = static_cast<float>(s % 7);
  }
  // Seen: 1.3e-3, because a driver may round score * scale (2^-8 of an exponent at 1.3e5) before it adds the bias. Planted fault:
  // values not scaled down when the maximum rises 14.
  CHECK(max_abs_diff(run(c, in, 1, nullptr), wanted_of(c, in, 1)) < 5e-3);
  for (uint32_t s = 0; s < c.keys; ++s)
    in.k[s * 8 + 1] = static_cast<float>(s) / 16;  // 6.25 a key: a query sees one or two keys
  // Seen: 2.5e-4. The same planted fault 7.5.
  CHECK(max_abs_diff(run(c, in, 1, nullptr), wanted_of(c, in, 1)) < 6e-4);
}

// One key weighs 1, two thousand others 1e-5 each, which f16 holds with two digits only: together a fiftieth of the result.
TEST_CASE_FIXTURE(MatrixTest, "attention_matrix: many small weights are not lost") {
  const Case c{1, 20, 2049, 1, 8, 8, false, 0};
  Tensors in = random_tensors(c);
  std::fill(in.q.begin(), in.q.end(), 1.0f);
  std::fill(in.k.begin(), in.k.end(), 0.0f);
  std::fill(in.v.begin(), in.v.end(), 1.0f);
  for (uint32_t i = 0; i < 8; ++i) {
    in.k[7 * 8 + i] = 1.4375f;  // 11.5: e^-11.5 = 1.01e-5
    in.v[7 * 8 + i] = 0;
  }
  // Seen: 5.8e-8. Planted fault: eight of the keys lost 7.6e-5.
  CHECK(max_abs_diff(run(c, in, 1, nullptr), wanted_of(c, in, 1)) < 2e-5);
}

TEST_CASE_FIXTURE(
    MatrixTest,
    "mla_attention_matrix: agrees with the reference at the sizes of the published models, at offsets, however divided") {
  struct MlaCase {
    uint32_t queries, first_position, heads, nope, rope, value_width;
  };
  constexpr MlaCase kCases[] = {{37, 30, 2, 16, 8, 16}, {64, 0, 2, 128, 64, 128}, {40, 89, 2, 128, 64, 128}, {9, 0, 1, 8, 0, 24}};
  for (const MlaCase& c : kCases) {
    CAPTURE(c.queries);
    CAPTURE(c.nope);
    const uint32_t keys = c.first_position + c.queries, width = c.nope + c.rope, kv_width = c.nope + c.value_width, tail = 16;
    const auto q = rounded(random_floats(c.queries * c.heads * width, 1, 2), DType::F16);
    const auto kv = rounded(random_floats(keys * c.heads * kv_width, 2, 2), DType::F16);
    const auto cache = rounded(random_floats(keys * (tail + c.rope), 3, 2), DType::F16);  // k_rope lies behind something else
    const TensorView k_rope = window(upload({keys * (tail + c.rope)}, cache, act()), {keys, c.rope}, {tail + c.rope, 1}, tail);
    const TensorView query = upload({c.queries, c.heads, width}, q, act());
    const TensorView keys_and_values = upload({keys, c.heads, kv_width}, kv, act());
    const float scale = 1 / std::sqrt(static_cast<float>(width));
    const auto wanted = reference::mla_attention(
        q, kv, download(k_rope), {c.queries, keys, c.heads, c.nope, c.rope, c.value_width, 0}, scale, c.first_position);
    std::vector<AttentionTile> tiles = attention_tiles(device.caps(), width, c.value_width);
    for (size_t i = 0; i <= tiles.size(); ++i) {
      const AttentionTile* tile = i < tiles.size() ? &tiles[i] : nullptr;
      if (tile != nullptr && c.queries != 37)  // a CPU driver takes a minute to compile one for wide heads
        continue;
      const TensorView y = tensor({c.queries, c.heads, c.value_width}, act());
      rec.enable_timing(true);
      const Status status = mla_attention(rec, query, keys_and_values, k_rope, y,
                                          {.scale = scale, .first_position = c.first_position, .tile = tile});
      REQUIRE_MESSAGE(status.ok(), status.message());
      REQUIRE(rec.finish().ok());
      const auto times = rec.take_times();
      const bool expected =
          device.tier() >= 3 && attention_tile(device.caps(), device.quirks(), {width, c.value_width}).has_value();
      if (device.caps().timestamp_period_ns > 0)
        CHECK((times.back().shader == ShaderId::mla_attention_matrix) == expected);
      // The tolerance of mla_attention, whose planted fault (one key too many) is 3.0.
      CHECK(max_abs_diff(download(y), wanted) < 1.2e-3);
    }
  }
}
