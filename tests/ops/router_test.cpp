#include "runtime/ops/router.h"

#include <limits>
#include <set>

#include "tests/reference/router.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

struct Gate {
  uint32_t token_count, expert_count;
  RouterOptions options;
  bool with_bias;
};

constexpr RouterOptions kSoftmax{.top_k = 6};
constexpr RouterOptions kSigmoid{.top_k = 6, .scoring = Scoring::Sigmoid, .norm_topk_prob = true, .routed_scaling_factor = 2.0f};
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

RouterOptions with_top_k(RouterOptions options, uint32_t top_k) {
  options.top_k = top_k;
  return options;
}

bool all_valid(const std::vector<uint32_t>& ids, uint32_t top_k, uint32_t expert_count) {
  for (size_t row = 0; row < ids.size(); row += top_k) {
    const std::set<uint32_t> different(ids.begin() + static_cast<long>(row), ids.begin() + static_cast<long>(row + top_k));
    if (different.size() != top_k || *different.rbegin() >= expert_count)
      return false;
  }
  return true;
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "router: agrees with the reference for the gates of all variants and at awkward sizes") {
  const Gate gates[] = {{1, 64, kSoftmax, false},
                        {5, 72, kSigmoid, true},  // Base
                        {3, 72, with_top_k(kSigmoid, 8), false},
                        {7, 63, kSoftmax, false},
                        {4, 65, with_top_k(kSoftmax, 8), true},
                        {3, 256, with_top_k(kSoftmax, 16), false},
                        {3, 256, with_top_k(kSigmoid, 16), true},
                        {2, 8, with_top_k(kSoftmax, 2), false},
                        {2, 16, with_top_k(kSigmoid, 16), true},
                        {300, 1, with_top_k(kSoftmax, 1), false}};
  for (const Gate& gate : gates) {
    CAPTURE(gate.token_count);
    CAPTURE(gate.expert_count);
    const auto [token_count, expert_count, options, with_bias] = gate;
    const auto logits = random_floats(size_t{token_count} * expert_count, /*seed=*/expert_count, 4);
    const auto bias = with_bias ? random_floats(expert_count, /*seed=*/9, 0.5f) : std::vector<float>{};
    const TensorView ids = tensor({token_count, options.top_k}, DType::U32), weights = tensor({token_count, options.top_k});
    const TensorView bias_view = with_bias ? upload({expert_count}, bias) : TensorView{};
    REQUIRE(router(rec, upload({token_count, expert_count}, logits), bias_view, options, ids, weights).ok());
    const auto wanted = reference::router(logits, expert_count, bias, options.top_k, options.scoring == Scoring::Sigmoid,
                                          options.norm_topk_prob, options.routed_scaling_factor);
    CHECK(download_u32(ids) == wanted.ids);
    // Seen: 5.3e-8. Planted faults: the bias in the weights 0.02 to 0.5; 0.001 on each score 6.5e-6 where normalising hides most
    // of it.
    CHECK(max_abs_diff(download(weights), wanted.weights) < 1e-6);
  }
}

TEST_CASE_FIXTURE(GpuTest, "router: equal choices go to the lower expert, also across the bias") {
  std::vector<float> logits(4 * 64, 0.5f);
  logits[64 + 63] = 1.0f;                             // one higher than all the rest
  logits[2 * 64 + 10] = logits[2 * 64 + 11] = -1.0f;  // two lower
  for (uint32_t e = 0; e < 64; ++e)
    logits[3 * 64 + e] = static_cast<float>(e / 4);  // descending by fours from the end
  const TensorView ids = tensor({4, 6}, DType::U32), weights = tensor({4, 6});
  REQUIRE(router(rec, upload({4, 64}, logits), {}, kSoftmax, ids, weights).ok());
  const std::vector<uint32_t> wanted = {0, 1, 2, 3, 4, 5, 63, 0, 1, 2, 3, 4, 0, 1, 2, 3, 4, 5, 60, 61, 62, 63, 56, 57};
  CHECK(download_u32(ids) == wanted);

  // sigmoid(0) + 0.25 = 0.75: exact in f32, so experts 1 and 2 tie at 0.75 and expert 0 leads with 1.
  const TensorView two_ids = tensor({1, 3}, DType::U32), two_weights = tensor({1, 3});
  REQUIRE(router(rec, upload({1, 4}, {0, 0, 0, 0}), upload({4}, {0.5f, 0.25f, 0.25f, 0}),
                 RouterOptions{.top_k = 3, .scoring = Scoring::Sigmoid, .norm_topk_prob = false, .routed_scaling_factor = 3},
                 two_ids, two_weights)
              .ok());
  CHECK(download_u32(two_ids) == std::vector<uint32_t>{0, 1, 2});
  CHECK(download(two_weights) == std::vector<float>{1.5f, 1.5f, 1.5f});  // the scores alone: the bias must not show
}

TEST_CASE_FIXTURE(GpuTest, "router: NaN and infinite logits neither crash nor give ids out of range") {
  auto logits = random_floats(6 * 72, 3);
  logits[5] = kNan;                             // row 0: one
  std::fill_n(logits.begin() + 72, 72, kNan);   // row 1: all
  std::fill_n(logits.begin() + 144, 70, kNan);  // row 2: all but two
  logits[3 * 72 + 71] = kInfinity;
  std::fill_n(logits.begin() + 4 * 72, 72, -kInfinity);
  for (const RouterOptions& options : {kSoftmax, kSigmoid}) {
    const TensorView ids = tensor({6, 6}, DType::U32), weights = tensor({6, 6});
    REQUIRE(router(rec, upload({6, 72}, logits), {}, options, ids, weights).ok());
    const auto got = download_u32(ids);
    CHECK(all_valid(got, 6, 72));
    const std::vector<float> last_row(logits.begin() + 5 * 72, logits.end());
    const auto wanted = reference::router(last_row, 72, {}, 6, options.scoring == Scoring::Sigmoid, options.norm_topk_prob,
                                          options.routed_scaling_factor);
    CHECK(std::vector<uint32_t>(got.begin() + 30, got.end()) == wanted.ids);  // the row without any is not touched by the others
    if (options.scoring == Scoring::Sigmoid) {
      CHECK(std::set<uint32_t>(got.begin() + 12, got.begin() + 14) == std::set<uint32_t>{70, 71});  // numbers before NaN
      CHECK(std::count(got.begin(), got.begin() + 6, 5u) == 0);
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "router: honours strides and any offset") {
  const auto values = random_floats(3 + 2 * 80, 1);
  const TensorView flat = upload({163}, values), ids_flat = tensor({13}, DType::U32), weights_flat = tensor({13}),
                   bias_flat = upload({73}, random_floats(73, 5));
  const TensorView logits = make_strided_view(*flat.buffer, DType::F32, {2, 72}, 80, /*offset=*/3);
  const TensorView bias = make_view(*bias_flat.buffer, DType::F32, {72}, 1);
  const TensorView ids = make_view(*ids_flat.buffer, DType::U32, {2, 6}, 1),
                   weights = make_view(*weights_flat.buffer, DType::F32, {2, 6}, 1);
  REQUIRE(router(rec, logits, bias, kSigmoid, ids, weights).ok());
  const auto wanted = reference::router(download(logits), 72, download(bias), 6, true, true, 2);
  CHECK(download_u32(ids) == wanted.ids);
  CHECK(max_abs_diff(download(weights), wanted.weights) < 1e-6);  // as above
  CHECK(download_u32(ids_flat)[0] == 0xdeadbeefu);
}

TEST_CASE_FIXTURE(GpuTest, "router: no tokens, no work") {
  const uint64_t before = rec.dispatch_count();
  CHECK(router(rec, tensor({0, 64}), {}, kSoftmax, tensor({0, 6}, DType::U32), tensor({0, 6})).ok());
  CHECK(rec.dispatch_count() == before);
}

TEST_CASE_FIXTURE(GpuTest, "router: refuses what does not fit") {
  const TensorView logits = tensor({2, 64}), ids = tensor({2, 6}, DType::U32), weights = tensor({2, 6});
  const auto code = [&](const TensorView& l, const TensorView& bias, const RouterOptions& options, const TensorView& i,
                        const TensorView& w) { return router(rec, l, bias, options, i, w).code(); };
  CHECK(code(logits, {}, with_top_k(kSoftmax, 0), ids, weights) == Code::BadArgument);
  CHECK(code(logits, {}, with_top_k(kSoftmax, 17), ids, weights) == Code::BadArgument);
  CHECK(code(tensor({2, 4}), {}, kSoftmax, ids, weights) == Code::BadArgument);  // more chosen than there are
  CHECK(code(tensor({2, 257}), {}, kSoftmax, ids, weights) == Code::BadShape);
  CHECK(code(logits, tensor({63}), kSoftmax, ids, weights) == Code::BadShape);
  CHECK(code(logits, {}, kSoftmax, tensor({2, 5}, DType::U32), weights) == Code::BadShape);
  CHECK(code(logits, {}, kSoftmax, tensor({2, 6}), weights) == Code::BadDType);
  const Status s = router(rec, logits, {}, kSoftmax, ids, tensor({3, 6}));
  CHECK(s.message() == "router: weights [3, 6] f32 must be [2, 6], contiguous");
}
