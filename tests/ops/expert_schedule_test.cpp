#include "runtime/ops/expert_schedule.h"

#include "tests/reference/expert_schedule.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

/// Experts with an uneven share of the pairs: low ones often, some of the high ones never.
std::vector<uint32_t> random_experts(size_t count, uint32_t expert_count, uint32_t seed) {
  std::vector<uint32_t> ids(count);
  const auto values = random_floats(count, seed);
  for (size_t i = 0; i < count; ++i)
    ids[i] = static_cast<uint32_t>(values[i] * values[i] * static_cast<float>(expert_count));
  return ids;
}

void check(GpuTest& test, const std::vector<uint32_t>& ids, uint32_t top_k, uint32_t expert_count) {
  CAPTURE(ids.size());
  CAPTURE(expert_count);
  const auto pairs = static_cast<uint32_t>(ids.size());
  const ExpertSchedule schedule{test.tensor({pairs}, DType::U32), test.tensor({pairs}, DType::U32),
                                test.tensor({expert_count + 1}, DType::U32)};
  REQUIRE(expert_schedule(test.rec, test.upload_u32({pairs / top_k, top_k}, ids), expert_count, schedule).ok());
  const auto wanted = reference::expert_schedule(ids, expert_count);
  CHECK(test.download_u32(schedule.slot_pair) == wanted.slot_pair);
  CHECK(test.download_u32(schedule.pair_slot) == wanted.pair_slot);
  CHECK(test.download_u32(schedule.offsets) == wanted.offsets);
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: is a stable sort for one token and for thousands") {
  struct Size {
    uint32_t token_count, top_k, expert_count;
  };
  for (const Size& size : {Size{1, 1, 1}, Size{1, 6, 64}, Size{2, 6, 72}, Size{43, 6, 64}, Size{255, 1, 8}, Size{257, 1, 8},
                           Size{300, 6, 72}, Size{1025, 4, 16}, Size{8192, 16, 256}})
    check(*this, random_experts(size_t{size.token_count} * size.top_k, size.expert_count, size.token_count), size.top_k,
          size.expert_count);
}

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: one expert may get everything, the first or the last") {
  check(*this, std::vector<uint32_t>(600, 0u), 6, 64);
  check(*this, std::vector<uint32_t>(600, 63u), 6, 64);
  check(*this, std::vector<uint32_t>(600, 31u), 6, 64);
}

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: an id out of range counts as the last expert, so every slot is written") {
  const ExpertSchedule schedule{tensor({4}, DType::U32), tensor({4}, DType::U32), tensor({4}, DType::U32)};
  REQUIRE(expert_schedule(rec, upload_u32({2, 2}, {0xdeadbeefu, 1, 2, 3}), 3, schedule).ok());
  CHECK(download_u32(schedule.slot_pair) == std::vector<uint32_t>{1, 0, 2, 3});
  CHECK(download_u32(schedule.offsets) == std::vector<uint32_t>{0, 0, 1, 4});
}

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: takes views at any offset and writes nothing beside them") {
  const auto ids = random_experts(60, 8, 4);
  std::vector<uint32_t> shifted = {7};
  shifted.insert(shifted.end(), ids.begin(), ids.end());
  const TensorView room[4] = {upload_u32({61}, shifted), tensor({63}, DType::U32), tensor({63}, DType::U32),
                              tensor({13}, DType::U32)};
  const ExpertSchedule schedule{make_view(*room[1].buffer, DType::U32, {60}, 1), make_view(*room[2].buffer, DType::U32, {60}, 2),
                                make_view(*room[3].buffer, DType::U32, {9}, 3)};
  REQUIRE(expert_schedule(rec, make_view(*room[0].buffer, DType::U32, {10, 6}, 1), 8, schedule).ok());
  const auto wanted = reference::expert_schedule(ids, 8);
  CHECK(download_u32(schedule.slot_pair) == wanted.slot_pair);
  CHECK(download_u32(schedule.pair_slot) == wanted.pair_slot);
  CHECK(download_u32(schedule.offsets) == wanted.offsets);
  const auto around = download_u32(room[3]);
  CHECK((around[2] == 0xdeadbeefu && around[12] == 0xdeadbeefu));
}

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: counts the tiles that there are, of two kinds, at any offset") {
  for (const auto& [tokens, experts] : {std::pair{1u, 64u}, {43u, 64u}, {300u, 72u}, {1025u, 1024u}, {2000u, 3u}}) {
    CAPTURE(tokens);
    const auto ids = random_experts(size_t{tokens} * 6, experts, tokens);
    const TensorView room = tensor({9}, DType::U32);
    ExpertSchedule schedule{tensor({tokens * 6}, DType::U32),
                            tensor({tokens * 6}, DType::U32),
                            tensor({experts + 1}, DType::U32),
                            make_view(*room.buffer, DType::U32, {2, 3}, 2),
                            {ExpertTiles{128, 22}, ExpertTiles{32, 7}}};
    REQUIRE(expert_schedule(rec, upload_u32({tokens, 6}, ids), experts, schedule).ok());
    std::vector<uint32_t> counts(experts);
    for (const uint32_t id : ids)
      ++counts[id];
    uint32_t large = 0, small = 0;
    for (const uint32_t count : counts) {
      large += (count + 127) / 128;
      small += (count + 31) / 32;
    }
    CHECK(download_u32(room) == std::vector<uint32_t>{0xdeadbeefu, 0xdeadbeefu, 22, large, 1, 7, small, 1, 0xdeadbeefu});
    CHECK(download_u32(schedule.offsets) == reference::expert_schedule(ids, experts).offsets);
    CHECK(schedule.command({32, 7}).offset == schedule.commands.offset + 3);
    CHECK(schedule.command({32, 8}).empty());
    schedule.tiles[1] = {};
    CHECK(schedule.command({0, 0}).empty());
  }
  const TensorView ids = tensor({5, 6}, DType::U32), pairs = tensor({30}, DType::U32), commands = tensor({2, 3}, DType::U32);
  ExpertSchedule bad{pairs, pairs, tensor({65}, DType::U32), commands};
  CHECK(expert_schedule(rec, ids, 64, bad).message() ==
        "expert_schedule: commands for tiles of 0 rows and 64 experts, wanted rows and at most 1024 experts");
  bad.tiles[0] = {32, 1};
  bad.commands = tensor({6}, DType::U32);
  CHECK(expert_schedule(rec, ids, 64, bad).code() == Code::BadShape);
  bad.commands = commands;
  bad.offsets = tensor({1026}, DType::U32);
  CHECK(expert_schedule(rec, ids, 1025, bad).code() == Code::BadArgument);
}

TEST_CASE_FIXTURE(GpuTest, "expert_schedule: refuses what does not fit") {
  const TensorView ids = tensor({5, 6}, DType::U32), pairs = tensor({30}, DType::U32), offsets = tensor({65}, DType::U32);
  CHECK(expert_schedule(rec, ids, 0, {pairs, pairs, offsets}).code() == Code::BadArgument);
  CHECK(expert_schedule(rec, ids, 63, {pairs, pairs, offsets}).code() == Code::BadShape);
  CHECK(expert_schedule(rec, ids, 64, {pairs, tensor({30}), offsets}).code() == Code::BadDType);
  const Status s = expert_schedule(rec, ids, 64, {tensor({29}, DType::U32), pairs, offsets});
  CHECK(s.code() == Code::BadShape);
  CHECK(s.message() == "expert_schedule: slot_pair [29] u32 must be [30], a slot for each of expert_ids [5, 6] u32");
  const uint64_t before = rec.dispatch_count();
  const TensorView none = tensor({0}, DType::U32);
  CHECK(expert_schedule(rec, tensor({0, 6}, DType::U32), 64, {none, none, offsets}).ok());
  CHECK(rec.dispatch_count() == before);
}
