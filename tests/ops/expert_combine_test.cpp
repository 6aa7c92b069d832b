#include "runtime/ops/expert_combine.h"

#include <numeric>

#include "tests/reference/expert_combine.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

/// A permutation far from the identity.
std::vector<uint32_t> shuffled(uint32_t count) {
  std::vector<uint32_t> slots(count);
  uint32_t step = count / 2 + 1;
  while (std::gcd(step, count) != 1)
    ++step;
  for (uint32_t i = 0; i < count; ++i)
    slots[i] = static_cast<uint32_t>((uint64_t{i} * step + 1) % count);
  return slots;
}

struct Size {
  uint32_t token_count, top_k, width;
};

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "expert_combine: agrees with the reference for every mix of types, with and without shared experts") {
  for (const Size& size :
       {Size{1, 6, 1280}, Size{3, 6, 216}, Size{5, 1, 807}, Size{2, 16, 2048}, Size{4, 2, 1}, Size{7, 3, 256}, Size{2, 6, 257}})
    for (const DType x_type : act_types())
      for (const DType shared_type : act_types())
        for (const bool with_shared : {true, false}) {
          CAPTURE(size.width);
          const auto [token_count, top_k, width] = size;
          const uint32_t pairs = token_count * top_k;
          const auto x = rounded(random_floats(size_t{pairs} * width, 1), x_type);
          const auto shared =
              with_shared ? rounded(random_floats(size_t{token_count} * width, 2), shared_type) : std::vector<float>{};
          const auto residual = random_floats(size_t{token_count} * width, 3), weights = random_floats(pairs, 4);
          const auto slots = shuffled(pairs);
          const TensorView shared_view = with_shared ? upload({token_count, width}, shared, shared_type) : TensorView{};
          const TensorView residual_view = upload({token_count, width}, residual);
          REQUIRE(expert_combine(rec, upload({pairs, width}, x, x_type), upload_u32({pairs}, slots),
                                 upload({token_count, top_k}, weights), shared_view, residual_view)
                      .ok());
          const auto wanted = reference::expert_combine(x, slots, weights, shared, residual, width);
          // Seen: 7.6e-7 (16 terms in f32). Planted fault: the last choice lost 0.45 to 0.85.
          CHECK(max_abs_diff(download(residual_view), wanted) < 2e-6);
        }
}

TEST_CASE_FIXTURE(GpuTest, "expert_combine: adds in the order of the choices, whatever the slots") {
  // 1e8 + 1 - 1e8 in f32 is 0 from left to right and 1 if the large ones meet first.
  const std::vector<float> x = {1e8f, 1.0f, -1e8f};
  for (const auto& slots : {std::vector<uint32_t>{0, 1, 2}, std::vector<uint32_t>{2, 1, 0}, std::vector<uint32_t>{0, 2, 1}}) {
    const TensorView residual = upload({1, 1}, {0.0f});
    REQUIRE(expert_combine(rec, upload({3, 1}, x), upload_u32({3}, slots), upload({1, 3}, {1, 1, 1}), {}, residual).ok());
    CHECK(download(residual)[0] == (x[slots[0]] + x[slots[1]]) + x[slots[2]]);
  }
}

TEST_CASE_FIXTURE(GpuTest, "expert_combine: honours strides and any offset") {
  const uint32_t width = 100, token_count = 2, top_k = 3;
  const auto values = random_floats(1000, 1);
  const TensorView flat_x = upload({1000}, values), flat_shared = upload({1000}, random_floats(1000, 2)),
                   flat_residual = upload({300}, random_floats(300, 3));
  const TensorView x = make_strided_view(*flat_x.buffer, DType::F32, {6, width}, 120, 5);
  const TensorView shared = make_strided_view(*flat_shared.buffer, DType::F32, {token_count, width}, 101, 7);
  const TensorView residual = make_strided_view(*flat_residual.buffer, DType::F32, {token_count, width}, 130, 9);
  const auto slots = shuffled(6);
  const auto weights = random_floats(7, 4);
  const TensorView weights_view = make_view(*upload({7}, weights).buffer, DType::F32, {token_count, top_k}, 1);
  const auto residual_before = download(residual), all_before = download(flat_residual);
  REQUIRE(expert_combine(rec, x, upload_u32({6}, slots), weights_view, shared, residual).ok());
  const auto wanted = reference::expert_combine(download(x), slots, {weights.begin() + 1, weights.end()}, download(shared),
                                                residual_before, width);
  CHECK(max_abs_diff(download(residual), wanted) < 2e-6);
  const auto all_after = download(flat_residual);
  CHECK((all_after[8] == all_before[8] && all_after[9 + width] == all_before[9 + width]));  // beside the rows
}

TEST_CASE_FIXTURE(GpuTest, "expert_combine: refuses what does not fit") {
  const TensorView x = tensor({12, 64}), slots = tensor({12}, DType::U32), weights = tensor({2, 6}), residual = tensor({2, 64});
  CHECK(expert_combine(rec, tensor({11, 64}), slots, weights, {}, residual).code() == Code::BadShape);
  CHECK(expert_combine(rec, x, tensor({11}, DType::U32), weights, {}, residual).code() == Code::BadShape);
  CHECK(expert_combine(rec, x, slots, tensor({3, 6}), {}, residual).code() == Code::BadShape);
  CHECK(expert_combine(rec, x, tensor({12}), weights, {}, residual).code() == Code::BadDType);
  CHECK(expert_combine(rec, x, slots, weights, {}, tensor({2, 64}, DType::F16)).code() == Code::BadDType);
  const Status s = expert_combine(rec, x, slots, weights, tensor({2, 63}), residual);
  CHECK(s.code() == Code::BadShape);
  CHECK(s.message() == "expert_combine: shared [2, 63] f32 must be [2, 64] f32's shape, rows adjacent inside");
  const uint64_t before = rec.dispatch_count();
  CHECK(expert_combine(rec, tensor({0, 64}), tensor({0}, DType::U32), tensor({0, 6}), {}, tensor({0, 64})).ok());
  CHECK(rec.dispatch_count() == before);
}
