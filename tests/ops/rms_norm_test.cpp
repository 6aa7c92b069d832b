#include "runtime/ops/rms_norm.h"

#include "tests/reference/rms_norm.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

TEST_CASE_FIXTURE(GpuTest, "rms_norm: agrees with the reference at every awkward width") {
  for (const DType act : act_types()) {
    for (const uint32_t width : {1u, 31u, 255u, 256u, 257u, 1280u, 2560u}) {  // around the group size, then real ones
      CAPTURE(width);
      const auto x = random_floats(3 * width, /*seed=*/width);
      const auto weight = random_floats(width, /*seed=*/7);
      const TensorView y = tensor({3, width}, act);
      REQUIRE(rms_norm(rec, upload({3, width}, x), upload({width}, weight), y, 1e-6f).ok());
      const double tolerance = act == DType::F32 ? 2e-6 : 2e-3;
      CHECK(max_abs_diff(download(y), reference::rms_norm(x, weight, 1e-6)) < tolerance);
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "rms_norm: honours strides, any offset, and y being x") {
  const auto x = random_floats(2 * 100 + 3, 1), weight = random_floats(40, 2);
  const TensorView flat = upload({203}, x), w = upload({40}, weight);
  TensorView strided = make_strided_view(*flat.buffer, DType::F32, {2, 40}, 100, /*offset=*/3);
  std::vector<float> dense;
  for (const size_t row : {0u, 1u})
    dense.insert(dense.end(), x.begin() + 3 + static_cast<long>(row) * 100, x.begin() + 43 + static_cast<long>(row) * 100);
  REQUIRE(rms_norm(rec, strided, w, strided, 1e-6f).ok());
  CHECK(max_abs_diff(download(strided), reference::rms_norm(dense, weight, 1e-6)) < 2e-6);
  CHECK(download(flat)[43] == x[43]);  // the gap between the rows
}

TEST_CASE_FIXTURE(GpuTest, "rms_norm: refuses a weight that is not as wide as x") {
  const Status s = rms_norm(rec, tensor({2, 64}), tensor({63}), tensor({2, 64}), 1e-6f);
  CHECK(s.code() == Code::BadShape);
  CHECK(s.message() == "rms_norm: weight [63] f32 must be [64], the width of x");
}
