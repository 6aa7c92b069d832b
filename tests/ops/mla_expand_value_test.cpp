#include "runtime/ops/mla_expand_value.h"

#include <cmath>

#include "tests/reference/mla.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

namespace {
constexpr DType kFormats[] = {DType::F32, DType::F16, DType::BF16};
}

TEST_CASE_FIXTURE(GpuTest, "mla_expand_value: agrees with the reference at awkward sizes, in every weight format") {
  struct Case {
    uint32_t tokens, heads, nope, value_width, latent;
  };
  constexpr Case kCases[] = {{1, 1, 0, 1, 1},    {2, 3, 5, 7, 63},    {1, 2, 16, 15, 66},   {1, 2, 3, 17, 61},
                             {3, 4, 16, 16, 32}, {1, 4, 64, 64, 128}, {1, 2, 128, 128, 512}};
  for (const DType act : act_types())
    for (const DType format : kFormats)
      for (const Case& c : kCases) {
        CAPTURE(c.latent);
        const uint32_t rows = c.heads * (c.nope + c.value_width);
        const auto u = rounded(random_floats(c.tokens * c.heads * c.latent, 1), act);
        const auto kv_b = rounded(random_floats(rows * c.latent, 2, 1 / std::sqrt(static_cast<float>(c.latent))), format);
        const TensorView y = tensor({c.tokens, c.heads, c.value_width}, act);
        const Status status = mla_expand_value(rec, upload({c.tokens, c.heads, c.latent}, u, act),
                                               upload_weight({rows, c.latent}, kv_b, format), y);
        REQUIRE_MESSAGE(status.ok(), status.message());
        const auto wanted = reference::mla_expand_value(u, kv_b, {c.tokens, 0, c.heads, c.nope, 0, c.value_width, c.latent});
        // Seen: 1.9e-7 in f32, 2.7e-4 in f16. Planted fault: the last of three left-over columns left out 0.12.
        CHECK(max_abs_diff(download(y), wanted) < (act == DType::F32 ? 2e-6 : 1e-3));
      }
}

TEST_CASE_FIXTURE(GpuTest, "mla_expand_value: honours strides and offsets, and cuts a weight larger than a binding by heads") {
  constexpr uint32_t kTokens = 2, kHeads = 5, kNope = 6, kValue = 3, kLatent = 19;
  for (const DType format : kFormats) {
    const auto flat_u = random_floats(300, 1), kv_b = rounded(random_floats(kHeads * (kNope + kValue) * kLatent, 2), format);
    const TensorView u = window(upload({300}, flat_u), {kTokens, kHeads, kLatent}, {140, 21, 1}, 5);
    const TensorView weight = upload_weight({kHeads * (kNope + kValue), kLatent}, kv_b, format);
    const TensorView flat = tensor({100});
    const TensorView y = window(flat, {kTokens, kHeads, kValue}, {50, 5, 1}, 3);
    const uint64_t usual = rec.max_binding_bytes(), before = rec.dispatch_count();
    rec.set_max_binding_bytes(300 * 4);  // u just fits, and one, two or four heads of the weight
    REQUIRE(mla_expand_value(rec, u, weight, y).ok());
    rec.set_max_binding_bytes(usual);
    CHECK(rec.dispatch_count() > before + 1);
    const auto wanted = reference::mla_expand_value(download(u), kv_b, {kTokens, 0, kHeads, kNope, 0, kValue, kLatent});
    // Seen: 2.4e-7. Planted fault: the last of three left-over columns left out 0.80.
    CHECK(max_abs_diff(download(y), wanted) < 4e-6);
    size_t written = 0;
    for (const float value : download(flat))
      written += !std::isnan(value);
    CHECK(written == kTokens * kHeads * kValue);
  }
}

TEST_CASE_FIXTURE(GpuTest, "mla_expand_value: refuses what does not fit together") {
  const TensorView u = tensor({3, 2, 16}), kv_b = tensor({30, 16}), y = tensor({3, 2, 7});
  CHECK(mla_expand_value(rec, u, tensor({31, 16}), y).message() ==
        "mla_expand_value: kv_b [31, 16] f32 must be [heads * (nope + v), r] for u [3, 2, 16] f32");
  CHECK(mla_expand_value(rec, tensor({3, 2, 15}), kv_b, y).code() == Code::BadShape);
  CHECK(mla_expand_value(rec, u, kv_b, tensor({3, 2, 16})).message() ==
        "mla_expand_value: y [3, 2, 16] f32 must be [rows, heads, v] for u [3, 2, 16] f32 and kv_b [30, 16] f32");
  CHECK(mla_expand_value(rec, u, kv_b, tensor({2, 2, 7})).code() == Code::BadShape);
  CHECK(mla_expand_value(rec, u, kv_b, tensor({3, 2, 7}, DType::F16)).code() == Code::BadDType);
  CHECK(mla_expand_value(rec, u, tensor({30, 16}, DType::U32), y).code() == Code::BadDType);
  CHECK(mla_expand_value(rec, tensor({0, 2, 16}), kv_b, tensor({0, 2, 7})).ok());
  CHECK(rec.dispatch_count() == 0);
}
