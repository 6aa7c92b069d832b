#include "runtime/ops/patchify.h"

#include "tests/reference/patchify.h"
#include "tests/support/gpu_test.h"
#include "tests/support/pictures.h"

using namespace vl2;

namespace {
double tolerance(DType act) {
  return act == DType::F32 ? 2.5e-7 : 5e-4;
}
}  // namespace

// Seen: 1.5e-7 in f32, 2.4e-4 in f16 (half a step at 1). Planted faults: 256 for 255 0.0078, the channel innermost 2.
TEST_CASE_FIXTURE(GpuTest, "patchify: agrees with the reference for one view, a tall and a wide canvas") {
  for (const DType act : act_types())
    for (const auto& [tiles_h, tiles_w] : {std::pair{1u, 1u}, {2u, 1u}, {1u, 3u}}) {
      CAPTURE(tiles_h);
      CAPTURE(tiles_w);
      const auto canvas = test_picture(384 * tiles_w, 384 * tiles_h, tiles_w);
      const TensorView y = tensor({tiles_h * tiles_w * 729, 588}, act);
      REQUIRE(patchify(rec, upload_u8({384 * tiles_h, 384 * tiles_w, 3}, canvas), y).ok());
      CHECK(max_abs_diff(download(y), reference::patchify(canvas, 384 * tiles_h, 384 * tiles_w, 384, 14)) < tolerance(act));
    }
}

TEST_CASE_FIXTURE(GpuTest, "patchify: other view and patch sizes, padded rows, any offset, and tiles one by one") {
  for (const DType act : act_types()) {
    const auto canvas = test_picture(40, 60, 3);  // 2 x 3 tiles of 20: patches of 6, 2 pixels left over
    auto shifted = canvas;
    shifted.insert(shifted.begin(), 5, uint8_t{9});
    const TensorView bytes = upload_u8({static_cast<uint32_t>(shifted.size())}, shifted);
    const TensorView source = make_view(*bytes.buffer, DType::U8, {60, 40, 3}, 5);
    const TensorView room = tensor({7 + 54 * 120}, act);
    const TensorView y = make_strided_view(*room.buffer, act, {54, 108}, 120, /*offset=*/7);
    for (uint32_t first = 0; first < 6; first += 2)
      REQUIRE(patchify(rec, source, y.rows(first * 9, 18), {.view_size = 20, .patch_size = 6, .first_tile = first}).ok());
    CHECK(max_abs_diff(download(y), reference::patchify(canvas, 60, 40, 20, 6)) < tolerance(act));
    const auto all = download(room);
    for (size_t i = 0; i < all.size(); ++i)
      if (i < 7 || (i - 7) % 120 >= 108)
        REQUIRE(std::isnan(all[i]));
  }
}

TEST_CASE_FIXTURE(GpuTest, "patchify: the last six rows and columns of a view change nothing, those before them do") {
  const auto canvas = test_picture(768, 384, 8);
  const auto patches = [&](const std::vector<uint8_t>& bytes) {
    const TensorView y = tensor({2 * 729, 588});
    REQUIRE(patchify(rec, upload_u8({384, 768, 3}, bytes), y).ok());
    return download(y);
  };
  auto edges = canvas, inside = canvas;
  for (size_t y = 0; y < 384; ++y)
    for (size_t x = 0; x < 768; ++x)
      for (size_t i = (y * 768 + x) * 3; i < (y * 768 + x) * 3 + 3; ++i) {
        edges[i] = y >= 378 || x % 384 >= 378 ? static_cast<uint8_t>(255 - canvas[i]) : canvas[i];
        inside[i] = y == 377 || x % 384 == 377 ? static_cast<uint8_t>(255 - canvas[i]) : canvas[i];
      }
  const auto plain = patches(canvas);
  CHECK(max_abs_diff(patches(edges), plain) == 0);
  CHECK(max_abs_diff(patches(inside), plain) > 1);
}

TEST_CASE_FIXTURE(GpuTest, "patchify: refuses a canvas that is not whole tiles and rows that are not whole patches") {
  const TensorView canvas = tensor({384, 384, 3}, DType::U8), y = tensor({729, 588});
  CHECK(patchify(rec, tensor({384, 400, 3}, DType::U8), y).message() ==
        "patchify: canvas [384, 400, 3] u8 must be [height, width, 3] with sides that are multiples of 384, contiguous, below "
        "2^31 bytes");
  CHECK(patchify(rec, canvas, tensor({729, 587})).message() ==
        "patchify: y [729, 587] f32 must be [tiles * 729, 588], rows adjacent inside");
  CHECK(patchify(rec, canvas, tensor({700, 588})).code() == Code::BadShape);
  CHECK(patchify(rec, canvas, tensor({2 * 729, 588})).code() == Code::BadArgument);
  CHECK(patchify(rec, canvas, y, {.first_tile = 1}).code() == Code::BadArgument);
  CHECK(patchify(rec, canvas, y, {.patch_size = 0}).code() == Code::BadArgument);
  CHECK(patchify(rec, canvas, tensor({729, 588}, DType::U32)).code() == Code::BadDType);
  CHECK(patchify(rec, canvas, make_strided_view(*y.buffer, DType::F32, {729, 588}, 100)).code() == Code::BadShape);
  CHECK(rec.dispatch_count() == 0);
}
