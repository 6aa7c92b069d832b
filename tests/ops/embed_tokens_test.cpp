#include "runtime/ops/embed_tokens.h"

#include "tests/reference/embed_tokens.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

// Copies: equal to the bit, but for Q4_K, whose scale * code - minimum a driver may round once or twice: a unit in the last place
// of the product. Planted fault: the last row of every part left out shows as NaN, infinitely far.
TEST_CASE_FIXTURE(GpuTest,
                  "embed_tokens: agrees with the reference in every weight format, and gives zeros for ids past the table") {
  for (const DType format : kWeightFormats)
    for (const uint32_t wanted_width : {1u, 7u, 216u, 255u, 1280u, 2048u}) {
      const uint32_t width = whole_blocks(wanted_width, format);
      CAPTURE(dtype_name(format));
      CAPTURE(width);
      const std::vector<uint32_t> ids{0, 36, 5, 5, 37, 0xffffffffu, 1, 100, 35};
      const auto exact = random_floats(37 * size_t{width}, width), table = rounded(exact, format);
      const TensorView y = tensor({9, width});
      REQUIRE(embed_tokens(rec, upload_weight({37, width}, exact, format), upload_u32({9}, ids), y).ok());
      CHECK(max_abs_diff(download(y), reference::embed_tokens(table, width, ids)) <= (format == DType::Q4_K ? 1.2e-7 : 0));
    }
}

TEST_CASE_FIXTURE(GpuTest, "embed_tokens: cuts a table that is larger than a binding by rows") {
  for (const DType format : {DType::F32, DType::F16, DType::BF16, DType::Q8_0}) {
    const std::vector<uint32_t> ids{99, 0, 50, 17, 98, 1, 33, 34, 66, 67, 100, 4000000000u};
    const uint32_t width = whole_blocks(100, format);
    const auto exact = random_floats(100 * width, 3), table = rounded(exact, format);
    const TensorView weight = upload_weight({100, width}, exact, format), tokens = upload_u32({12}, ids);
    for (const uint64_t limit : {20000u, 9000u, 7000u}) {
      rec.set_max_binding_bytes(limit);
      const uint64_t before = rec.dispatch_count();
      const TensorView y = tensor({12, width});
      const Status status = embed_tokens(rec, weight, tokens, y);
      REQUIRE_MESSAGE(status.ok(), status.message());
      CHECK(rec.dispatch_count() - before >= device_code_bytes(format, 100 * 104) / limit + 1);
      CHECK(max_abs_diff(download(y), reference::embed_tokens(table, width, ids)) == 0);
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "embed_tokens: honours strides and any offset") {
  const auto table = random_floats(20 * 11, 3);
  const std::vector<uint32_t> ids{7, 19, 0, 3};
  const TensorView flat_ids = upload_u32({6}, {1, 1, 7, 19, 0, 3});
  const TensorView room = tensor({7, 30});
  const TensorView y = make_strided_view(*room.buffer, DType::F32, {4, 11}, 30, /*offset=*/33);
  REQUIRE(embed_tokens(rec, upload_weight({20, 11}, table, DType::F32), make_view(*flat_ids.buffer, DType::U32, {4}, 2), y).ok());
  CHECK(max_abs_diff(download(y), reference::embed_tokens(table, 11, ids)) == 0);
  TensorView column = upload_u32({4, 3}, {7, 1, 1, 19, 1, 1, 0, 1, 1, 3, 1, 1});
  column.rank_ = 1;
  const TensorView again = tensor({4, 11});
  REQUIRE(embed_tokens(rec, upload_weight({20, 11}, table, DType::F32), column, again).ok());
  CHECK(max_abs_diff(download(again), reference::embed_tokens(table, 11, ids)) == 0);
  const auto all = download(room);
  for (size_t i = 0; i < all.size(); ++i)
    if (i < 33 || i >= 33 + 4 * 30 || (i - 33) % 30 >= 11)
      REQUIRE(std::isnan(all[i]));
}

TEST_CASE_FIXTURE(GpuTest, "embed_tokens: refuses what does not fit together") {
  const TensorView table = tensor({10, 8}), ids = tensor({3}, DType::U32);
  CHECK(embed_tokens(rec, table, ids, tensor({3, 7})).message() ==
        "embed_tokens: y [3, 7] f32 must be [3, 8], rows adjacent inside");
  CHECK(embed_tokens(rec, table, ids, tensor({4, 8})).code() == Code::BadShape);
  CHECK(embed_tokens(rec, table, tensor({3}), tensor({3, 8})).code() == Code::BadDType);
  CHECK(embed_tokens(rec, table, ids, tensor({3, 8}, DType::F16)).code() == Code::BadDType);
  CHECK(embed_tokens(rec, tensor({10, 8}, DType::U8), ids, tensor({3, 8})).code() == Code::BadDType);
  CHECK(embed_tokens(rec, table, tensor({0}, DType::U32), tensor({0, 8})).ok());
  rec.set_max_binding_bytes(31);
  CHECK(embed_tokens(rec, table, ids, tensor({3, 8})).code() == Code::Unsupported);
  CHECK(rec.dispatch_count() == 0);
}
