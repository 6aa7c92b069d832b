#include "runtime/ops/rope.h"

#include <cmath>

#include "tests/reference/rope.h"
#include "tests/support/gpu_test.h"
#include "tests/support/views.h"

using namespace vl2;

TEST_SUITE_BEGIN("cpu");

TEST_CASE("rope: the table is exact to f32 at every position, angles in the thousands included") {
  for (const uint32_t dims : {64u, 128u}) {
    const auto table = rope_table(4096, dims, 10000);
    REQUIRE(table.size() == size_t{4096} * dims);
    double worst = 0;
    for (uint32_t position = 0; position < 4096; ++position)
      for (uint32_t i = 0; i < dims / 2; ++i) {
        const long double angle = position * std::pow(10000.0L, -2.0L * i / dims);
        const size_t at = (size_t{position} * dims / 2 + i) * 2;
        worst = std::fmax(worst, static_cast<double>(std::fabs(table[at] - std::cos(angle))));
        worst = std::fmax(worst, static_cast<double>(std::fabs(table[at + 1] - std::sin(angle))));
      }
    // Seen: 3.0e-8, half a unit in the last place. Planted fault: angles in f32 2.4e-4.
    CHECK(worst < 1e-7);
  }
}

TEST_SUITE_END();

namespace {
constexpr RopeLayout kLayouts[] = {RopeLayout::HalfSplit, RopeLayout::Interleaved};
bool interleaved(RopeLayout layout) {
  return layout == RopeLayout::Interleaved;
}
}  // namespace

TEST_CASE_FIXTURE(GpuTest, "rope: agrees with the reference in both layouts, all types, early and late positions") {
  for (const RopeLayout layout : kLayouts)
    for (const DType from : act_types())
      for (const DType to : act_types())
        for (const uint32_t width : {2u, 8u, 32u, 64u, 70u, 128u})
          for (const uint32_t first : {0u, 4093u}) {
            CAPTURE(width);
            CAPTURE(first);
            const auto x = random_floats(3 * 5 * width, width);
            const TensorView table = upload({4096, width / 2, 2}, rope_table(4096, width, 10000));
            const TensorView y = tensor({3, 5, width}, to);
            REQUIRE(rope(rec, upload({3, 5, width}, x, from), table, y, {.first_position = first, .layout = layout}).ok());
            const auto wanted = reference::rope(rounded(x, from), 5, width, first, 10000, interleaved(layout));
            const double tolerance = to == DType::F32 ? 4e-7 : 1e-3;
            // Seen: 1.5e-7 in f32, 4.9e-4 in f16. Planted faults: one position too early 1.2; angles in f32 1.8e-4.
            CHECK(max_abs_diff(download(y), wanted) < tolerance);
          }
}

TEST_CASE_FIXTURE(GpuTest, "rope: rotates the tail of every head in place and leaves the rest alone") {
  const uint32_t rows = 4, heads = 3, nope = 5, width = 8, stride = 50;
  for (const DType act : act_types())
    for (const RopeLayout layout : kLayouts) {
      const auto before = rounded(random_floats(rows * stride + 1, 2), act);
      const TensorView flat = upload({rows * stride + 1}, before, act);
      const TensorView tail = window(flat, {rows, heads, width}, {stride, nope + width, 1}, 1 + nope);
      const auto x = download(tail);
      REQUIRE(
          rope(rec, tail, upload({20, 4, 2}, rope_table(20, width, 10000)), tail, {.first_position = 9, .layout = layout}).ok());
      const double tolerance = act == DType::F32 ? 4e-7 : 1e-3;
      // Seen: 9.8e-8 in f32, 4.6e-4 in f16. Planted fault: one position too early 1.1.
      CHECK(max_abs_diff(download(tail), reference::rope(x, heads, width, 9, 10000, interleaved(layout))) < tolerance);
      const auto after = download(flat);
      size_t changed_elsewhere = 0;
      for (size_t i = 0; i < after.size(); ++i) {
        const size_t in_row = (i + stride - 1) % stride;
        const bool rotated = i > 0 && in_row < heads * (nope + width) && in_row % (nope + width) >= nope;
        changed_elsewhere += !rotated && after[i] != before[i];
      }
      CHECK(changed_elsewhere == 0);
    }
}

TEST_CASE_FIXTURE(GpuTest, "rope: a row gets the same values in whichever chunk it comes") {
  const auto x = random_floats(10 * 2 * 64, 3);
  const TensorView table = upload({10, 32, 2}, rope_table(10, 64, 10000)), source = upload({10, 2, 64}, x);
  const TensorView whole = tensor({10, 2, 64}), chunked = tensor({10, 2, 64});
  REQUIRE(rope(rec, source, table, whole, {}).ok());
  REQUIRE(rope(rec, source.rows(0, 7), table, chunked.rows(0, 7), {}).ok());
  REQUIRE(rope(rec, source.rows(7, 3), table, chunked.rows(7, 3), {.first_position = 7}).ok());
  CHECK(download(whole) == download(chunked));
}

TEST_CASE_FIXTURE(GpuTest, "rope: refuses odd widths, short tables and wrong types") {
  const TensorView x = tensor({3, 2, 8}), table = tensor({10, 4, 2});
  CHECK(rope(rec, tensor({3, 2, 7}), table, tensor({3, 2, 7}), {}).message() ==
        "rope: x [3, 2, 7] f32 must have an even number of elements a head");
  CHECK(rope(rec, x, tensor({10, 8, 2}), x, {}).message() ==
        "rope: table [10, 8, 2] f32 must be a contiguous [positions, 4, 2] for x [3, 2, 8] f32");
  CHECK(rope(rec, x, table, x, {.first_position = 8}).message() ==
        "rope: table [10, 4, 2] f32 must reach 11 positions, the first position 8 and the rows of x [3, 2, 8] f32");
  CHECK(rope(rec, x, table, x, {.first_position = UINT32_MAX}).code() == Code::BadShape);
  CHECK(rope(rec, x, tensor({10, 4, 2}, DType::U32), x, {}).code() == Code::BadDType);
  CHECK(rope(rec, x, table, tensor({3, 2, 8}, DType::BF16), {}).code() == Code::BadDType);
  CHECK(rope(rec, tensor({0, 2, 8}), table, tensor({0, 2, 8}), {}).ok());
  CHECK(rec.dispatch_count() == 0);
}
