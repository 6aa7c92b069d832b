#include "runtime/ops/copy_rows.h"

#include <cmath>

#include "runtime/ops/flat_groups.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

TEST_CASE("copy_rows: a grid folded over x and y has enough groups, few in vain, and neither side too long") {
  CHECK(flat_groups(0).x * flat_groups(0).y == 0);
  for (const uint64_t count : {1ull, 2ull, 65535ull, 65536ull, 65537ull, 131070ull, 131071ull, 16777216ull, 4294836225ull}) {
    CAPTURE(count);
    const Groups groups = flat_groups(count);
    CHECK(uint64_t{groups.x} * groups.y >= count);
    CHECK(uint64_t{groups.x} * groups.y < count + groups.y);
    CHECK(std::max(groups.x, groups.y) <= 65535);
    CHECK(groups.z == 1);
  }
}

TEST_SUITE_END();

TEST_CASE_FIXTURE(GpuTest, "copy_rows: gives every element once, in any pair of types") {
  for (const DType from : act_types())
    for (const DType to : act_types())
      for (const uint32_t width : {1u, 7u, 64u, 255u, 256u, 257u, 1152u}) {
        CAPTURE(width);
        const auto x = random_floats(3 * width, width);
        const TensorView y = tensor({3, width}, to);
        REQUIRE(copy_rows(rec, upload({3, width}, x, from), y).ok());
        CHECK(download(y) == rounded(rounded(x, from), to));
      }
}

TEST_CASE_FIXTURE(GpuTest, "copy_rows: honours strides and any offset, and writes nothing between the rows") {
  for (const DType from : act_types())
    for (const DType to : act_types()) {
      const auto x = rounded(random_floats(5 + 4 * 50, 1), from);
      const TensorView source = window(upload({205}, x, from), {4, 3, 5}, {50, 9, 1}, 5);
      const TensorView target = tensor({4 * 40 + 1}, to);
      REQUIRE(copy_rows(rec, source, window(target, {4, 3, 5}, {40, 6, 1}, 1)).ok());
      const auto y = download(target);
      std::vector<float> wanted(4 * 40 + 1, NAN);
      for (size_t row = 0; row < 4; ++row)
        for (size_t head = 0; head < 3; ++head)
          for (size_t i = 0; i < 5; ++i)
            wanted[1 + row * 40 + head * 6 + i] = x[5 + row * 50 + head * 9 + i];
      wanted = rounded(wanted, to);
      size_t wrong = 0;
      for (size_t i = 0; i < y.size(); ++i)
        wrong += std::isnan(wanted[i]) ? !std::isnan(y[i]) : y[i] != wanted[i];
      CHECK(wrong == 0);
    }
}

TEST_CASE_FIXTURE(GpuTest, "copy_rows: copies more elements than one dimension of a grid has groups for") {
  const uint32_t rows = 65535 * 256 / 4096 + 1;
  const auto x = random_floats(size_t{rows} * 4096, 4);
  const TensorView y = tensor({rows, 4096});
  REQUIRE(copy_rows(rec, upload({rows, 4096}, x), y).ok());
  CHECK(download(y) == x);
}

TEST_CASE_FIXTURE(GpuTest, "copy_rows: refuses what does not fit together") {
  const TensorView x = tensor({2, 64});
  CHECK(copy_rows(rec, x, tensor({2, 63})).message() ==
        "copy_rows: x [2, 64] f32 and y [2, 63] f32 must be the same [rows, width] or [rows, heads, width], elements of the last "
        "axis adjacent");
  CHECK(copy_rows(rec, tensor({64}), tensor({64})).code() == Code::BadShape);
  CHECK(copy_rows(rec, window(tensor({128}), {2, 32}, {64, 2}), tensor({2, 32})).code() == Code::BadShape);
  CHECK(copy_rows(rec, x, tensor({2, 64}, DType::U32)).code() == Code::BadDType);
  CHECK(copy_rows(rec, tensor({0, 64}), tensor({0, 64})).ok());
  CHECK(rec.dispatch_count() == 0);
}
