#include "runtime/ops/mark_seen.h"

#include "runtime/ops/sample.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

TEST_CASE_FIXTURE(GpuTest, "mark_seen: sets the bits of all ids, repeated ones once, and keeps what was set") {
  for (const uint32_t token_count : {1u, 255u, 256u, 257u, 5000u}) {
    CAPTURE(token_count);
    const uint32_t vocab_size = 1001;
    std::vector<uint32_t> wanted(seen_words(vocab_size)), ids;
    for (const float value : random_floats(token_count, token_count, 500))
      ids.push_back(static_cast<uint32_t>(value + 500));
    wanted[31] = 1u << 8;  // id 1000, set before
    const TensorView seen = upload_u32({seen_words(vocab_size)}, wanted);
    for (const uint32_t id : ids)
      wanted[id / 32] |= 1u << (id % 32);
    REQUIRE(mark_seen(rec, upload_u32({token_count}, ids), seen).ok());
    CHECK(download_u32(seen) == wanted);
  }
}

TEST_CASE_FIXTURE(GpuTest, "mark_seen: passes over ids that have no bit, and takes views at any offset") {
  const TensorView ids = upload_u32({4}, {99, 0, 64, 63}), room = upload_u32({4}, {0, 0, 0, 0});
  REQUIRE(mark_seen(rec, make_view(*ids.buffer, DType::U32, {3}, 1), make_view(*room.buffer, DType::U32, {2}, 1)).ok());
  CHECK(download_u32(room) == std::vector<uint32_t>{0, 1, 1u << 31, 0});
}

TEST_CASE_FIXTURE(GpuTest, "mark_seen: refuses what does not fit; no ids, no work") {
  const TensorView seen = tensor({4}, DType::U32);
  CHECK(mark_seen(rec, tensor({3}), seen).code() == Code::BadDType);
  CHECK(mark_seen(rec, tensor({1, 3}, DType::U32), seen).code() == Code::BadShape);
  CHECK(mark_seen(rec, tensor({3}, DType::U32), tensor({0}, DType::U32)).code() == Code::BadShape);
  CHECK(mark_seen(rec, tensor({0}, DType::U32), seen).ok());
  CHECK(rec.dispatch_count() == 0);
}
