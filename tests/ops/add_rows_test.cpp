#include "runtime/ops/add_rows.h"

#include "tests/reference/add_rows.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

// One f32 addition. Seen: 6.0e-8. Planted fault: always the first row added 0.14 to 0.59.
TEST_CASE_FIXTURE(GpuTest, "add_rows: agrees with the reference for whole and broken periods") {
  for (const uint32_t width : {1u, 31u, 256u, 257u, 1152u})
    for (const auto& [rows, period] : {std::pair{1u, 1u}, {6u, 3u}, {7u, 3u}, {2u, 5u}}) {
      CAPTURE(width);
      CAPTURE(rows);
      const auto x = random_floats(rows * size_t{width}, width), added = random_floats(period * size_t{width}, 7, 0.3f);
      const TensorView y = upload({rows, width}, x);
      REQUIRE(add_rows(rec, y, upload({period, width}, added)).ok());
      CHECK(max_abs_diff(download(y), reference::add_rows(x, added)) < 1.5e-7);
    }
}

TEST_CASE_FIXTURE(GpuTest, "add_rows: honours strides and any offset") {
  const auto x = random_floats(3 + 5 * 50, 1), added = random_floats(2 + 2 * 40, 2, 0.3f);
  const TensorView room = upload({3 + 5 * 50}, x), block = upload({2 + 2 * 40}, added);
  const TensorView y = make_strided_view(*room.buffer, DType::F32, {5, 33}, 50, 3);
  REQUIRE(add_rows(rec, y, make_strided_view(*block.buffer, DType::F32, {2, 33}, 40, 2)).ok());
  const auto all = download(room);
  for (size_t i = 0; i < all.size(); ++i) {
    const size_t row = (i - 3) / 50, column = (i - 3) % 50;
    const bool inside = i >= 3 && column < 33;
    const double wanted = inside ? double{x[i]} + added[2 + row % 2 * 40 + column] : x[i];
    REQUIRE(std::abs(all[i] - wanted) <= (inside ? 1.5e-7 : 0));
  }
}

TEST_CASE_FIXTURE(GpuTest, "add_rows: refuses a block of another width") {
  const TensorView x = tensor({4, 8});
  CHECK(add_rows(rec, x, tensor({2, 7})).message() == "add_rows: rows_to_add [2, 7] f32 must be [at least 1, 8], the width of x");
  CHECK(add_rows(rec, x, tensor({0, 8})).code() == Code::BadShape);
  CHECK(add_rows(rec, x, tensor({2, 8}, DType::F16)).code() == Code::BadDType);
  CHECK(add_rows(rec, tensor({0, 8}), tensor({2, 8})).ok());
  CHECK(rec.dispatch_count() == 0);
}
