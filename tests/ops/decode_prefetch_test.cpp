#include "runtime/ops/decode_prefetch.h"

#include <bit>

#include "shaders/interface/decode_prefetch.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

constexpr uint32_t kNonsense = 0x9e3779b9u;  // the fold that shows in the sink: how a test sees which bytes are read
constexpr uint32_t kUntouched = 0xdeadbeefu;
constexpr uint32_t kRow = 64;  // f32: 256 bytes

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "decode_prefetch: reads every 16 bytes of its range and none beside it, and changes nothing") {
  struct Case {
    uint32_t rows;
    uint64_t first, count;
  };
  constexpr uint64_t kGroup = 16 * DECODE_PREFETCH_THREADS * DECODE_PREFETCH_UNROLL;
  // Up to the last byte of the buffer: one quad, less than a workgroup, one exactly, one quad more, many.
  const Case cases[] = {{1, 240, 16}, {4, 16, 1008}, {65, 256, kGroup}, {66, 496, kGroup + 16}, {300, 0, 300 * 256}};
  for (const Case& c : cases) {
    CAPTURE(c.first);
    CAPTURE(c.count);
    const uint64_t words = uint64_t{c.rows} * kRow, begin = c.first / 4, end = (c.first + c.count) / 4;
    struct Place {
      uint64_t word;
      bool read;
    };
    std::vector<Place> places{
        {begin, true}, {end - 1, true}, {begin + (end - begin) / 2, true}, {begin + (end - begin) / 3, true}};
    if (begin > 0)
      places.push_back({begin - 1, false});
    if (end < words)
      places.push_back({end, false});
    for (const Place& place : places) {
      CAPTURE(place.word);
      std::vector<float> values(words, 0.0f);
      values[place.word] = std::bit_cast<float>(kNonsense);
      const TensorView weight = upload_weight({c.rows, kRow}, values, DType::F32);
      const TensorView sink = upload_u32({1}, {kUntouched});
      const Status status = decode_prefetch(rec, weight, c.first, c.count, sink);
      REQUIRE_MESSAGE(status.ok(), status.message());
      CHECK(download_u32(sink)[0] == (place.read ? kNonsense : kUntouched));
      CHECK(download(weight) == values);
    }
  }
}

TEST_CASE_FIXTURE(GpuTest, "decode_prefetch: refuses what is not in the weight, and needs no work for no bytes") {
  const TensorView weight = upload_weight({4, kRow}, std::vector<float>(4 * kRow, 1.0f), DType::F16);
  const TensorView sink = tensor({1}, DType::U32);
  CHECK(decode_prefetch(rec, weight, 0, 4 * kRow * 2 + 16, sink).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, weight, 16, 4 * kRow * 2, sink).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, weight, 1u << 20, 16, sink).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, weight, 0, ~uint64_t{0}, sink).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, weight, 8, 16, sink).message() ==
        "decode_prefetch: 16 bytes from byte 8 on must lie in weight [4, 64] f16 and begin at a multiple of 16");
  CHECK(decode_prefetch(rec, weight, 0, 16, tensor({2}, DType::U32)).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, weight, 0, 16, tensor({1})).code() == Code::BadShape);
  CHECK(decode_prefetch(rec, tensor({4, kRow}, DType::U32), 0, 16, sink).code() == Code::BadDType);
  CHECK(decode_prefetch(rec, weight, 64, 0, sink).ok());
  CHECK(rec.dispatch_count() == 0);
}
