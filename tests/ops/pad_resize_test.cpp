#include "runtime/ops/pad_resize.h"

#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "tests/reference/pad_resize.h"
#include "tests/support/gpu_test.h"
#include "tests/support/paths.h"
#include "tests/support/pictures.h"

using namespace vl2;

namespace {

struct PadResizeTest : GpuTest {
  ResampleAxis axis(uint32_t in, uint32_t out) {
    if (in == out)
      return {};
    const reference::ResampleTable table = reference::resample_table(in, out);
    return {upload_i32({out, 2}, table.bounds), upload_i32({out, table.taps}, table.weights)};
  }

  PadResize options(uint32_t width, uint32_t height, const reference::Placement& place) {
    PadResize resize{.fit_width = place.fit_width, .fit_height = place.fit_height, .x = place.x, .y = place.y};
    resize.horizontal = axis(width, place.fit_width);
    resize.vertical = axis(height, place.fit_height);
    if (!resize.horizontal.empty())
      resize.scratch = tensor({height, place.fit_width, 3}, DType::U8);
    return resize;
  }

  std::vector<uint8_t> computed(const std::vector<uint8_t>& picture, uint32_t width, uint32_t height,
                                const reference::Placement& place, uint32_t canvas_width, uint32_t canvas_height) {
    const TensorView canvas = tensor({canvas_height, canvas_width, 3}, DType::U8);
    const Status status = pad_resize(rec, upload_u8({height, width, 3}, picture), options(width, height, place), canvas);
    REQUIRE_MESSAGE(status.ok(), status.message());
    return download_u8(canvas);
  }
};

std::string fnv1a(const std::vector<uint8_t>& bytes) {
  uint64_t value = 0xcbf29ce484222325u;
  for (const uint8_t byte : bytes)
    value = (value ^ byte) * 0x100000001b3u;
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

}  // namespace

// Equal to the byte, so no tolerance: 0 levels apart. Planted faults: no half added before the shift 2 levels, the third byte of
// a pixel that lies across two words lost 255.
TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: gives the bytes that Pillow gives, larger, smaller, stretched and one pixel wide") {
  const std::string folder = source_dir() + "/tests/golden/resize/";
  std::ifstream cases(folder + "cases.txt");
  uint32_t width, height, seed, canvas_width, canvas_height, case_count = 0;
  reference::Placement place;
  std::string hash, file;
  while (cases >> width >> height >> seed >> canvas_width >> canvas_height >> place.fit_width >> place.fit_height >> place.x >>
         place.y >> hash >> file) {
    CAPTURE(width);
    CAPTURE(height);
    CAPTURE(canvas_width);
    const auto bytes = computed(test_picture(width, height, seed), width, height, place, canvas_width, canvas_height);
    CHECK(fnv1a(bytes) == hash);
    if (file != "-") {
      std::ifstream stored(folder + file, std::ios::binary);
      const std::vector<uint8_t> wanted{std::istreambuf_iterator<char>(stored), {}};
      REQUIRE(wanted.size() == size_t{canvas_width} * canvas_height * 3);
      CHECK(max_abs_diff(bytes, wanted) == 0);
    }
    ++case_count;
  }
  CHECK(case_count == 28);
}

TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: agrees with the reference whatever bytes a row starts and ends at") {
  for (const uint32_t width : {1u, 2u, 3u, 5u, 31u, 86u, 87u})
    for (const uint32_t fit_width : {1u, 4u, 33u, 65u}) {
      const uint32_t height = 1 + width % 7, fit_height = 1 + fit_width % 5;
      CAPTURE(width);
      CAPTURE(fit_width);
      const reference::Placement place{fit_width, fit_height, width % 3, fit_width % 2};
      const uint32_t canvas_width = place.x + fit_width + width % 2, canvas_height = place.y + fit_height + 1;
      const auto picture = test_picture(width, height, width);
      const auto wanted = reference::pad_resize(picture, width, height, place, canvas_width, canvas_height);
      CHECK(max_abs_diff(computed(picture, width, height, place, canvas_width, canvas_height), wanted) == 0);
    }
}

TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: cuts a picture that is larger than a binding into bands of rows") {
  const reference::Placement place{31, 20, 2, 6};
  const auto picture = test_picture(301, 203, 5);  // 183309 bytes
  const auto wanted = reference::pad_resize(picture, 301, 203, place, 36, 32);
  const PadResize resize = options(301, 203, place);
  for (const uint64_t limit : {uint64_t{1} << 20, uint64_t{40000}, uint64_t{20000}}) {  // the scratch has 18879 bytes
    CAPTURE(limit);
    rec.set_max_binding_bytes(limit);
    const TensorView canvas = tensor({32, 36, 3}, DType::U8);
    const uint64_t before = rec.dispatch_count();
    REQUIRE(pad_resize(rec, upload_u8({203, 301, 3}, picture), resize, canvas).ok());
    const uint64_t dispatches = rec.dispatch_count() - before;
    CHECK((limit == 1 << 20 ? dispatches == 2 : dispatches >= 1 + 183309 / limit));
    CHECK(max_abs_diff(download_u8(canvas), wanted) == 0);
  }
}

TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: reads a picture at any byte, and writes nothing but canvas and scratch") {
  const reference::Placement place{10, 7, 1, 2};
  const auto picture = test_picture(23, 9, 3);
  auto shifted = picture;
  shifted.insert(shifted.begin(), {1, 2, 3, 4, 5, 6, 7});
  const TensorView source =
      make_view(*upload_u8({static_cast<uint32_t>(shifted.size())}, shifted).buffer, DType::U8, {9, 23, 3}, 7);
  const TensorView room = tensor({512 + 13 * 12 * 3 + 64}, DType::U8), scratch_room = tensor({256 + 9 * 10 * 3 + 66}, DType::U8);
  const TensorView canvas = make_view(*room.buffer, DType::U8, {13, 12, 3}, 508);
  PadResize resize = options(23, 9, place);
  resize.scratch = make_view(*scratch_room.buffer, DType::U8, {9, 10, 3}, 260);
  REQUIRE(pad_resize(rec, source, resize, canvas).ok());
  CHECK(max_abs_diff(download_u8(canvas), reference::pad_resize(picture, 23, 9, place, 12, 13)) == 0);
  const auto around = download_u8(room), around_scratch = download_u8(scratch_room);
  for (size_t i = 0; i < around.size(); ++i)
    if (i < 508 || i >= 508 + 13 * 12 * 3)
      REQUIRE(around[i] == 0xff);
  for (size_t i = 0; i < around_scratch.size(); ++i)
    if (i < 260 || i >= 260 + 272)  // 270 bytes, and the rest of their last word
      REQUIRE(around_scratch[i] == 0xff);
}

TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: table entries that reach past the picture are pulled back to its edge") {
  PadResize resize = options(8, 8, {4, 4, 0, 0});  // nine taps
  const TensorView picture = upload_u8({8, 8, 3}, test_picture(8, 8, 1));
  const auto resized = [&](const std::vector<int32_t>& horizontal, const std::vector<int32_t>& vertical) {
    resize.horizontal.bounds = upload_i32({4, 2}, horizontal);
    resize.vertical.bounds = upload_i32({4, 2}, vertical);
    const TensorView canvas = tensor({4, 4, 3}, DType::U8);
    REQUIRE(pad_resize(rec, picture, resize, canvas).ok());
    return download_u8(canvas);
  };
  const auto wild = resized({-5, 3, 100, 8, 2000000000, 2000000000, 7, 3}, {-1, -1, 8, 1, 0, 9, 1 << 30, 0});
  CHECK(max_abs_diff(wild, resized({5, 3, 0, 8, 0, 8, 5, 3}, {0, 8, 7, 1, 0, 8, 0, 0})) == 0);
  CHECK(max_abs_diff(wild, resized({5, 3, 0, 8, 0, 8, 5, 3}, {0, 8, 7, 1, 0, 4, 0, 0})) > 0);
}

TEST_CASE_FIXTURE(PadResizeTest, "pad_resize: refuses what does not fit together, and says what") {
  const TensorView picture = tensor({8, 8, 3}, DType::U8), canvas = tensor({8, 8, 3}, DType::U8);
  const PadResize good = options(8, 8, {4, 4, 0, 0});
  const uint64_t before = rec.dispatch_count();
  const auto refused = [&](const TensorView& from, const PadResize& resize, const TensorView& to) {
    return pad_resize(rec, from, resize, to);
  };
  CHECK(refused(tensor({8, 8, 4}, DType::U8), good, canvas).message() ==
        "pad_resize: picture [8, 8, 4] u8 must be u8 [height, width, 3], contiguous, not empty");
  CHECK(refused(tensor({8, 8, 3}), good, canvas).code() == Code::BadShape);
  PadResize bad = good;
  bad.x = 5;
  CHECK(refused(picture, bad, canvas).message() == "pad_resize: 4 x 4 pixels at (5, 0) do not lie on a canvas of 8 x 8");
  bad.x = 0xffffffffu;
  CHECK(refused(picture, bad, canvas).code() == Code::BadArgument);
  bad = good;
  bad.horizontal = {};
  CHECK(refused(picture, bad, canvas).message() == "pad_resize: no horizontal table, but 8 pixels are to become 4");
  bad = good;
  bad.vertical.weights = tensor({3, 9}, DType::I32);
  CHECK(refused(picture, bad, canvas).code() == Code::BadShape);
  bad.vertical.weights = tensor({4, 9});
  CHECK(refused(picture, bad, canvas).code() == Code::BadDType);
  bad = good;
  bad.scratch = tensor({8, 5, 3}, DType::U8);
  CHECK(refused(picture, bad, canvas).message() ==
        "pad_resize: scratch [8, 5, 3] u8 must be u8 [8, 4, 3], contiguous, at a whole word");
  CHECK(refused(picture, good, make_view(*tensor({400}, DType::U8).buffer, DType::U8, {8, 8, 3}, 2)).code() == Code::BadShape);
  const TensorView huge = make_view(*picture.buffer, DType::U8, {1 << 14, (1 << 14) + 1, 3});
  CHECK(refused(huge, good, canvas).message().find("has more than 268435456 pixels") != std::string::npos);
  rec.set_max_binding_bytes(300);
  CHECK(refused(picture, good, tensor({16, 16, 3}, DType::U8)).code() == Code::Unsupported);
  CHECK(rec.dispatch_count() == before);
}
