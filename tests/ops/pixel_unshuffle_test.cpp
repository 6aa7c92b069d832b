#include "runtime/ops/pixel_unshuffle.h"

#include "tests/reference/pixel_unshuffle.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {
struct Shape {
  uint32_t views, grid, channels, factor;
};
}  // namespace

// Copies: equal to the bit. Planted faults: the channel innermost, as most pixel shuffles have it, 1.4 to 2.0; the edge repeated
// instead of zeros 1.0.
TEST_CASE_FIXTURE(GpuTest, "pixel_unshuffle: agrees with the reference for odd and even grids") {
  for (const DType act : act_types())
    for (const Shape& s :
         {Shape{1, 27, 1152, 2}, {3, 27, 216, 2}, {2, 4, 5, 2}, {1, 1, 1, 1}, {1, 2, 3, 2}, {2, 7, 33, 3}, {1, 27, 1, 2}}) {
      CAPTURE(s.grid);
      CAPTURE(s.channels);
      const uint32_t side = (s.grid + s.factor - 1) / s.factor;
      const auto x = rounded(random_floats(size_t{s.views} * s.grid * s.grid * s.channels, s.channels), act);
      const TensorView y = tensor({s.views * side * side, s.channels * s.factor * s.factor}, act);
      REQUIRE(pixel_unshuffle(rec, upload({s.views, s.grid * s.grid, s.channels}, x, act), y, s.grid, s.factor).ok());
      CHECK(max_abs_diff(download(y), reference::pixel_unshuffle(x, s.views, s.grid, s.channels, s.factor)) == 0);
    }
}

TEST_CASE_FIXTURE(GpuTest, "pixel_unshuffle: honours padded rows and any offset") {
  for (const DType act : act_types()) {
    const auto x = rounded(random_floats(3 + 2 * 25 * 7, 4), act);
    const TensorView source = make_view(*upload({3 + 2 * 25 * 7}, x, act).buffer, act, {2, 25, 7}, 3);
    const TensorView room = tensor({5 + 18 * 40}, act);
    const TensorView y = make_strided_view(*room.buffer, act, {18, 28}, 40, /*offset=*/5);
    REQUIRE(pixel_unshuffle(rec, source, y, 5).ok());
    CHECK(max_abs_diff(download(y), reference::pixel_unshuffle({x.begin() + 3, x.end()}, 2, 5, 7, 2)) == 0);
    const auto all = download(room);
    for (size_t i = 0; i < all.size(); ++i)
      if (i < 5 || (i - 5) % 40 >= 28)
        REQUIRE(std::isnan(all[i]));
  }
}

TEST_CASE_FIXTURE(GpuTest, "pixel_unshuffle: refuses shapes that do not belong together") {
  const TensorView x = tensor({2, 25, 8});
  CHECK(pixel_unshuffle(rec, x, tensor({18, 32}), 6).message() ==
        "pixel_unshuffle: x [2, 25, 8] f32 must be [views, 36, channels], contiguous, below 2^31 elements");
  CHECK(pixel_unshuffle(rec, x, tensor({8, 32}), 5).message() ==
        "pixel_unshuffle: y [8, 32] f32 must be [18, 32], rows adjacent inside");
  CHECK(pixel_unshuffle(rec, x, tensor({18, 32}, DType::F16), 5).code() == Code::BadDType);
  CHECK(pixel_unshuffle(rec, x, tensor({18, 32}), 5, 0).code() == Code::BadArgument);
  CHECK(pixel_unshuffle(rec, tensor({0, 25, 8}), tensor({0, 32}), 5).ok());
  CHECK(rec.dispatch_count() == 0);
}
