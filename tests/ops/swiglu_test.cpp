#include "runtime/ops/swiglu.h"

#include "tests/reference/swiglu.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {
// Seen on lavapipe: 1.7e-6 in f32 (results up to 16), 3.9e-3 in f16 (half a unit in the last place of 8 to 16).
// Planted fault: a sigmoid that is 1e-5 too large 1.6e-4.
constexpr double kF32Tolerance = 5e-6, kF16Tolerance = 4.5e-3;
}  // namespace

TEST_CASE_FIXTURE(GpuTest, "swiglu: agrees with the reference at awkward sizes, strides and offsets") {
  for (const DType act : act_types())
    for (const DType x_type : {DType::F32, act})
      for (const auto& [rows, width] : {std::pair{1u, 1u}, {3u, 63u}, {2u, 65u}, {5u, 896u}, {2u, 6848u}, {400u, 11u}}) {
        CAPTURE(rows);
        CAPTURE(width);
        const uint32_t x_stride = 2 * width + 3, y_stride = width + 1;
        const auto all = rounded(random_floats(1 + rows * x_stride, width, 4), x_type);
        std::vector<float> x;
        for (uint32_t row = 0; row < rows; ++row)
          x.insert(x.end(), &all[1 + row * x_stride], &all[1 + row * x_stride] + 2 * width);
        const TensorView flat = upload({1 + rows * x_stride}, all, x_type), y_flat = tensor({3 + rows * y_stride}, act);
        const TensorView y = make_strided_view(*y_flat.buffer, act, {rows, width}, y_stride, 3);
        REQUIRE(swiglu(rec, make_strided_view(*flat.buffer, x_type, {rows, 2 * width}, x_stride, 1), y).ok());
        CHECK(max_abs_diff(download(y), reference::swiglu(x, width)) < (act == DType::F32 ? kF32Tolerance : kF16Tolerance));
        for (uint32_t row = 0; row < rows; ++row)
          CHECK(std::isnan(download(y_flat)[3 + row * y_stride + width]));  // the gap between the rows
      }
}

TEST_CASE_FIXTURE(GpuTest, "swiglu: far gates neither overflow nor become NaN, and f16 stores saturate") {
  const TensorView x = upload({4, 2}, {1e4f, 2.0f, -1e4f, 2.0f, -1e30f, 3.0f, 1e3f, 1e3f});
  for (const DType act : act_types()) {
    const TensorView y = tensor({4, 1}, act);
    REQUIRE(swiglu(rec, x, y).ok());
    const auto got = download(y);
    CHECK(got[0] == doctest::Approx(2e4).epsilon(1e-3));
    CHECK(std::abs(got[1]) < 1e-20f);
    CHECK(std::abs(got[2]) < 1e-20f);
    CHECK(got[3] == (act == DType::F32 ? 1e6f : 65504.0f));
  }
}

TEST_CASE_FIXTURE(GpuTest, "swiglu: takes more rows than one dimension of the grid has groups") {
  const uint32_t rows = 70000, width = 64;
  const auto x = random_floats(size_t{rows} * 2 * width, 5);
  const TensorView y = tensor({rows, width});
  REQUIRE(swiglu(rec, upload({rows, 2 * width}, x), y).ok());
  CHECK(max_abs_diff(download(y), reference::swiglu(x, width)) < kF32Tolerance);
}

TEST_CASE_FIXTURE(GpuTest, "swiglu: refuses an x that is not twice as wide as y") {
  const Status s = swiglu(rec, tensor({2, 15}), tensor({2, 8}));
  CHECK(s.code() == Code::BadShape);
  CHECK(s.message() == "swiglu: x [2, 15] f32 must be [rows, 2 I] and y [2, 8] f32 [rows, I], the elements of a row adjacent");
  CHECK(swiglu(rec, tensor({2, 16}, DType::F16), tensor({2, 8})).code() == Code::BadDType);
  CHECK(rec.dispatch_count() == 0);
}
