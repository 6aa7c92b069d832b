#include "runtime/ops/image_sequence.h"

#include "tests/reference/image_sequence.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

// Copies: equal to the bit. Planted faults: zeros for the newline 0.45 to 1.0, tiles column by column 0.99 to 1.99.
TEST_CASE_FIXTURE(GpuTest, "image_sequence: agrees with the reference for one tile, panoramas and squares") {
  for (const DType act : act_types())
    for (const ImageGrid& grid : {ImageGrid{1, 1, 14}, ImageGrid{9, 1, 14}, ImageGrid{1, 3, 14}, ImageGrid{3, 2, 14},
                                  ImageGrid{2, 3, 1}, ImageGrid{2, 2, 3}})
      for (const uint32_t width : {1u, 33u, 216u}) {
        CAPTURE(grid.tiles_w);
        CAPTURE(grid.tiles_h);
        CAPTURE(width);
        const uint32_t views = 1 + grid.tiles_w * grid.tiles_h, tokens = grid.side * grid.side;
        const auto features = rounded(random_floats(size_t{views} * tokens * width, width), act);
        const auto newline = random_floats(width, 1), separator = random_floats(width, 2);
        const TensorView y = tensor({static_cast<uint32_t>(grid.row_count()), width});
        REQUIRE(image_sequence(rec, upload({views, tokens, width}, features, act), upload({width}, newline),
                               upload({width}, separator), grid, y)
                    .ok());
        CHECK(max_abs_diff(download(y),
                           reference::image_sequence(features, newline, separator, grid.tiles_w, grid.tiles_h, grid.side)) == 0);
      }
}

TEST_CASE_FIXTURE(GpuTest, "image_sequence: has as many rows as the model's table says") {
  // Facts of the model, section 3.2.
  CHECK(ImageGrid{1, 1, 14}.row_count() == 421);
  CHECK(ImageGrid{2, 1, 14}.row_count() == 617);
  CHECK(ImageGrid{1, 2, 14}.row_count() == 631);
  CHECK(ImageGrid{3, 2, 14}.row_count() == 1415);
  CHECK(ImageGrid{2, 3, 14}.row_count() == 1429);
  CHECK(ImageGrid{1, 9, 14}.row_count() == 2101);
  CHECK(ImageGrid{3, 3, 14}.row_count() == 2017);
}

TEST_CASE_FIXTURE(GpuTest, "image_sequence: honours strides and any offset at the width of Small") {
  constexpr uint32_t kWidth = 2048, kStride = 2056;
  const ImageGrid grid{2, 1, 2};
  const auto features = random_floats(3 * 4 * kStride + 9, 1), vectors = random_floats(2 * kWidth + 3, 2);
  const TensorView flat = upload({3 * 4 * kStride + 9}, features), flat_vectors = upload({2 * kWidth + 3}, vectors);
  const TensorView x = make_strided_view(*flat.buffer, DType::F32, {3, 4, kWidth}, kStride, 9);
  const TensorView newline = make_view(*flat_vectors.buffer, DType::F32, {kWidth}, 1);
  const TensorView separator = make_view(*flat_vectors.buffer, DType::F32, {kWidth}, kWidth + 3);
  const TensorView room = tensor({30, kStride});
  const TensorView y = make_strided_view(*room.buffer, DType::F32, {17, kWidth}, kStride, 3 * kStride + 1);
  REQUIRE(image_sequence(rec, x, newline, separator, grid, y).ok());
  std::vector<float> dense;
  for (size_t row = 0; row < 12; ++row)
    dense.insert(dense.end(), &features[9 + row * kStride], &features[9 + row * kStride] + kWidth);
  const std::vector<float> newline_values(&vectors[1], &vectors[1] + kWidth);
  const std::vector<float> separator_values(&vectors[kWidth + 3], &vectors[kWidth + 3] + kWidth);
  CHECK(max_abs_diff(download(y), reference::image_sequence(dense, newline_values, separator_values, 2, 1, 2)) == 0);
  const auto all = download(room);
  for (size_t i = 0; i < all.size(); ++i)
    if (i < 3 * kStride + 1 || i >= 20 * kStride + 1 || (i - 1) % kStride >= kWidth)
      REQUIRE(std::isnan(all[i]));
}

TEST_CASE_FIXTURE(GpuTest, "image_sequence: refuses too few views, and rows that are not the grid's") {
  const TensorView vector = tensor({8});
  CHECK(image_sequence(rec, tensor({2, 196, 8}), vector, vector, {2, 1, 14}, tensor({617, 8})).message() ==
        "image_sequence: features [2, 196, 8] f32 must be [3, 196, width], rows adjacent inside");
  CHECK(image_sequence(rec, tensor({2, 196, 8}), vector, vector, {1, 1, 14}, tensor({420, 8})).message() ==
        "image_sequence: y [420, 8] f32 must be [421, 8], rows adjacent inside");
  CHECK(image_sequence(rec, tensor({2, 196, 8}), tensor({7}), vector, {1, 1, 14}, tensor({421, 8})).code() == Code::BadShape);
  CHECK(image_sequence(rec, tensor({2, 196, 8}), vector, tensor({9}), {1, 1, 14}, tensor({421, 8})).code() == Code::BadShape);
  CHECK(image_sequence(rec, tensor({2, 196, 8}), vector, vector, {1, 0, 14}, tensor({421, 8})).code() == Code::BadArgument);
  CHECK(image_sequence(rec, tensor({2, 196, 8}), vector, vector, {1, 1, 14}, tensor({421, 8}, DType::F16)).code() ==
        Code::BadDType);
  CHECK(rec.dispatch_count() == 0);
}
