#include "runtime/ops/layer_norm.h"

#include "tests/reference/layer_norm.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

TEST_CASE_FIXTURE(GpuTest, "layer_norm: agrees with the reference at every awkward width") {
  for (const DType act : act_types()) {
    for (const uint32_t width :
         {1u, 4u, 31u, 127u, 128u, 129u, 216u, 1152u, 3076u}) {  // around the group size, real ones, more than is kept
      CAPTURE(width);
      const auto x = random_floats(3 * width, /*seed=*/width);
      const auto weight = random_floats(width, /*seed=*/7), bias = random_floats(width, /*seed=*/8);
      const TensorView y = tensor({3, width}, act);
      REQUIRE(layer_norm(rec, upload({3, width}, x), upload({width}, weight), upload({width}, bias), y, 1e-6f).ok());
      const double tolerance = act == DType::F32 ? 4e-6 : 2e-3;
      // Seen: 3.3e-7 in f32, 9.8e-4 in f16 (rounding of y). Planted fault: the variance of a sample (width - 1) 0.024.
      // Where a thread keeps its quads, those beyond the row counted in the variance: 0.0032 at 216.
      CHECK(max_abs_diff(download(y), reference::layer_norm(x, weight, bias, 1e-6)) < tolerance);
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "layer_norm: keeps its digits where the mean is a thousand times the deviation") {
  const uint32_t width = 1152;
  auto x = random_floats(width, 3);
  for (float& value : x)
    value += 1000;
  const std::vector<float> weight(width, 1.0f), bias(width, 0.0f);
  const TensorView y = tensor({1, width});
  REQUIRE(layer_norm(rec, upload({1, width}, x), upload({width}, weight), upload({width}, bias), y, 1e-6f).ok());
  // Seen: 2.2e-4 on lavapipe, 4.3e-4 on SwiftShader: a sum of a million has steps of 0.1.
  // Planted fault: mean of squares less square of the mean 0.50.
  CHECK(max_abs_diff(download(y), reference::layer_norm(x, weight, bias, 1e-6)) < 2e-3);
}

TEST_CASE_FIXTURE(GpuTest, "layer_norm: honours strides, any offset, and y being x") {
  const auto x = random_floats(2 * 100 + 3, 1), weight = random_floats(41, 2), bias = random_floats(43, 3);
  const TensorView flat = upload({203}, x);
  const TensorView strided = window(flat, {2, 40}, {100, 1}, 3);
  const TensorView w = window(upload({41}, weight), {40}, {1}, 1), b = window(upload({43}, bias), {40}, {1}, 3);
  std::vector<float> dense;
  for (const size_t row : {0u, 1u})
    dense.insert(dense.end(), x.begin() + 3 + static_cast<long>(row) * 100, x.begin() + 43 + static_cast<long>(row) * 100);
  const auto wanted = reference::layer_norm(dense, {weight.begin() + 1, weight.end()}, {bias.begin() + 3, bias.end()}, 1e-6);
  REQUIRE(layer_norm(rec, strided, w, b, strided, 1e-6f).ok());
  // Seen: 1.9e-7. Planted fault: the variance of a sample 0.015.
  CHECK(max_abs_diff(download(strided), wanted) < 4e-6);
  CHECK(download(flat)[43] == x[43]);  // the gap between the rows
}

TEST_CASE_FIXTURE(GpuTest, "layer_norm: refuses what does not fit together") {
  const TensorView x = tensor({2, 64}), w = tensor({64}), narrow = tensor({63});
  CHECK(layer_norm(rec, x, narrow, w, x, 1e-6f).message() == "layer_norm: weight [63] f32 must be [64], the width of x");
  CHECK(layer_norm(rec, x, w, narrow, x, 1e-6f).message() == "layer_norm: bias [63] f32 must be [64], the width of x");
  CHECK(layer_norm(rec, x, w, w, tensor({3, 64}), 1e-6f).code() == Code::BadShape);
  CHECK(layer_norm(rec, x, w, w, tensor({2, 64}, DType::U32), 1e-6f).code() == Code::BadDType);
  CHECK(rec.dispatch_count() == 0);
  CHECK(layer_norm(rec, tensor({0, 64}), w, w, tensor({0, 64}), 1e-6f).ok());
  CHECK(rec.dispatch_count() == 0);
}
