#include "runtime/ops/expert_cache.h"

#include <algorithm>
#include <numeric>

#include "runtime/weight_format.h"
#include "tests/reference/expert_cache.h"
#include "tests/support/gpu_test.h"

using namespace vl2;

namespace {

constexpr uint32_t kNone = reference::ExpertCache::kNone;

// Distinct experts of one token, the low ones more often.
std::vector<uint32_t> choose(uint32_t experts, uint32_t top_k, uint32_t seed) {
  const auto draws = random_floats(experts, seed);  // 0 .. 1 and below: only their order matters
  std::vector<uint32_t> ids(experts);
  std::iota(ids.begin(), ids.end(), 0u);
  const auto key = [&](uint32_t e) { return draws[e] + 0.8f * static_cast<float>(e) / static_cast<float>(experts); };
  std::sort(ids.begin(), ids.end(), [&](uint32_t a, uint32_t b) { return key(a) < key(b); });
  ids.resize(top_k);
  return ids;
}

std::vector<uint32_t> words_of(GpuTest& test, const TensorView& view, uint64_t first_byte, uint64_t bytes) {
  return test.download_u32(make_view(*view.buffer, DType::U32, {static_cast<uint32_t>(bytes / 4)}, first_byte / 4));
}

// What an expert of a weight is made of: its codes, then its scales.
std::vector<uint32_t> expert_words(GpuTest& test, const TensorView& weight, uint32_t expert) {
  const uint64_t codes = device_code_bytes(weight.dtype, weight.stride(0)),
                 scales = device_scale_bytes(weight.dtype, weight.stride(0));
  std::vector<uint32_t> words = words_of(test, weight, expert * codes, codes);
  if (scales > 0) {
    const auto more = words_of(test, weight, weight.scales + expert * scales, scales);
    words.insert(words.end(), more.begin(), more.end());
  }
  return words;
}

struct Weights {
  TensorView host, cache, gathered;
};

Weights make_weights(GpuTest& test, DType dtype, uint32_t experts, uint32_t slots, uint32_t rows, uint32_t k) {
  const auto make = [&](uint32_t count, uint32_t seed) {
    return test.upload_weight({count, rows, k}, random_floats(size_t{count} * rows * k, seed), dtype);
  };
  return {make(experts, 1), make(slots, 2), make(experts, 3)};
}

}  // namespace

TEST_CASE_FIXTURE(GpuTest, "expert_cache: slots, loads and state are those of a queue by least recent use") {
  struct Size {
    uint32_t experts, slots, top_k, tokens;
  };
  for (const Size& size : {Size{8, 3, 3, 40}, Size{8, 8, 3, 20}, Size{9, 5, 1, 40}, Size{64, 23, 6, 60}, Size{72, 71, 6, 40},
                           Size{256, 130, 16, 40}, Size{256, 256, 16, 30}}) {
    CAPTURE(size.experts);
    CAPTURE(size.slots);
    const TensorView state = upload_u32({expert_cache_words(size.experts, size.slots)},
                                        std::vector<uint32_t>(expert_cache_words(size.experts, size.slots), 0));
    reference::ExpertCache wanted(size.experts, size.slots);
    std::vector<TensorView> slots, loads;
    std::vector<reference::ExpertCache::Turn> turns;
    for (uint32_t token = 0; token < size.tokens; ++token) {
      const auto ids = choose(size.experts, size.top_k, 100 * size.slots + token);
      slots.push_back(tensor({size.top_k}, DType::U32));
      loads.push_back(tensor({size.top_k}, DType::U32));
      REQUIRE(expert_cache_update(rec, upload_u32({size.top_k}, ids), size.experts, size.slots, state, slots.back(), loads.back())
                  .ok());
      turns.push_back(wanted.turn(ids));
    }
    for (uint32_t token = 0; token < size.tokens; ++token) {
      CAPTURE(token);
      CHECK(download_u32(slots[token]) == turns[token].slots);
      CHECK(download_u32(loads[token]) == turns[token].loads);
    }
    const ExpertCacheState got = expert_cache_state(download_u32(state), size.experts, size.slots);
    CHECK(got.clock == size.tokens);
    CHECK(got.hits == wanted.hits);
    CHECK(got.misses == wanted.misses);
    CHECK(got.expert_of == wanted.expert_of());
    CHECK(got.slot_of == wanted.slot_of());
    CHECK(wanted.misses > 0);
    CHECK(wanted.hits > 0);
  }
}

TEST_CASE_FIXTURE(GpuTest, "expert_cache: several tokens at once are those tokens one after the other") {
  struct Size {
    uint32_t experts, slots, top_k, tokens;
  };
  for (const Size& size :
       {Size{8, 6, 3, 2}, Size{64, 48, 6, 8}, Size{64, 64, 6, 10}, Size{72, 40, 6, 5}, Size{256, 256, 16, 16}}) {
    CAPTURE(size.experts);
    CAPTURE(size.tokens);
    const TensorView state = upload_u32({expert_cache_words(size.experts, size.slots)},
                                        std::vector<uint32_t>(expert_cache_words(size.experts, size.slots), 0));
    reference::ExpertCache wanted(size.experts, size.slots);
    uint32_t shared = 0;
    for (uint32_t step = 0; step < 8; ++step) {
      CAPTURE(step);
      std::vector<uint32_t> ids, slots, loads;
      for (uint32_t token = 0; token < size.tokens; ++token) {
        const auto chosen = choose(size.experts, size.top_k, 1000 * size.slots + 20 * step + token);
        for (const uint32_t id : chosen)
          shared += static_cast<uint32_t>(std::count(ids.begin(), ids.end(), id));
        ids.insert(ids.end(), chosen.begin(), chosen.end());
        const auto turn = wanted.turn(chosen);
        slots.insert(slots.end(), turn.slots.begin(), turn.slots.end());
        loads.insert(loads.end(), turn.loads.begin(), turn.loads.end());
      }
      const TensorView got_slots = tensor({size.tokens, size.top_k}, DType::U32),
                       got_loads = tensor({size.tokens, size.top_k}, DType::U32);
      REQUIRE(expert_cache_update(rec, upload_u32({size.tokens, size.top_k}, ids), size.experts, size.slots, state, got_slots,
                                  got_loads)
                  .ok());
      CHECK(download_u32(got_slots) == slots);
      CHECK(download_u32(got_loads) == loads);
      // All read their slots after the last one's turn: each choice has its own expert there still.
      const std::vector<int> held = wanted.expert_of();
      for (size_t i = 0; i < ids.size(); ++i)
        CHECK(held[slots[i]] == static_cast<int>(ids[i]));
    }
    const ExpertCacheState got = expert_cache_state(download_u32(state), size.experts, size.slots);
    CHECK(got.clock == 8 * size.tokens);
    CHECK(got.hits == wanted.hits);
    CHECK(got.misses == wanted.misses);
    CHECK(got.expert_of == wanted.expert_of());
    CHECK(got.slot_of == wanted.slot_of());
    CHECK(wanted.misses > size.top_k);
    CHECK(shared > 0);  // an expert that two tokens of a step choose is loaded for the first
  }
}

TEST_CASE_FIXTURE(GpuTest, "expert_cache: loading moves the experts that miss, whole, and touches no other slot") {
  for (const WeightFormat& format : weight_formats())
    for (const bool in_pieces : {false, true}) {
      CAPTURE(format.name);
      CAPTURE(in_pieces);
      const uint32_t k = dtype_block(format.dtype) == 1 ? 40 : 256, rows = 34;
      const Weights w = make_weights(*this, format.dtype, 16, 11, rows, k);
      std::vector<std::vector<uint32_t>> before;
      for (uint32_t slot = 0; slot < 11; ++slot)
        before.push_back(expert_words(*this, w.cache, slot));
      if (in_pieces)
        rec.set_max_binding_bytes(9 * device_code_bytes(format.dtype, w.host.stride(0)));
      const std::vector<uint32_t> slots = {10, 3, 0, 7}, loads = {5, kNone, 15, 0};
      const Status status = expert_cache_load(rec, w.host, w.cache, upload_u32({4}, slots), upload_u32({4}, loads));
      rec.set_max_binding_bytes(device.caps().max_storage_buffer_bytes);
      REQUIRE_MESSAGE(status.ok(), status.message());
      for (uint32_t slot = 0; slot < 11; ++slot) {
        CAPTURE(slot);
        const auto at = static_cast<size_t>(std::find(slots.begin(), slots.end(), slot) - slots.begin());
        const bool loaded = at < slots.size() && loads[at] != kNone;
        CHECK(expert_words(*this, w.cache, slot) == (loaded ? expert_words(*this, w.host, loads[at]) : before[slot]));
      }
    }
}

TEST_CASE_FIXTURE(GpuTest, "expert_cache: gathering takes what was chosen from its slot, or from host memory, and nothing else") {
  for (const WeightFormat& format : weight_formats())
    for (const bool in_pieces : {false, true}) {
      CAPTURE(format.name);
      CAPTURE(in_pieces);
      const uint32_t k = dtype_block(format.dtype) == 1 ? 40 : 256, experts = 12, slots = 10;
      const Weights w = make_weights(*this, format.dtype, experts, slots, 34, k);
      // Two tokens of the cache's own kernel: experts 3, 7, 1 in slots 0, 1, 2, then 7 and 11, in slot 3.
      const TensorView state =
          upload_u32({expert_cache_words(experts, slots)}, std::vector<uint32_t>(expert_cache_words(experts, slots), 0));
      for (const auto& ids : {std::vector<uint32_t>{3, 7, 1}, std::vector<uint32_t>{7, 11}}) {
        const auto count = static_cast<uint32_t>(ids.size());
        REQUIRE(expert_cache_update(rec, upload_u32({count}, ids), experts, slots, state, tensor({count}, DType::U32),
                                    tensor({count}, DType::U32))
                    .ok());
      }
      const std::vector<int> slot_of = {-1, 2, -1, 0, -1, -1, -1, 1, -1, -1, -1, 3};
      // Experts 0, 1, 7, 10 and 11 have pairs. The slots hold other values than the experts in host memory, so that it shows whence.
      const std::vector<uint32_t> offsets = {0, 2, 3, 3, 3, 3, 3, 3, 8, 8, 8, 9, 10};
      std::vector<std::vector<uint32_t>> before;
      for (uint32_t expert = 0; expert < experts; ++expert)
        before.push_back(expert_words(*this, w.gathered, expert));
      if (in_pieces)
        rec.set_max_binding_bytes(8 * device_code_bytes(format.dtype, w.host.stride(0)));
      const Status status = expert_cache_gather(rec, w.host, w.cache, state, upload_u32({experts + 1}, offsets), w.gathered);
      rec.set_max_binding_bytes(device.caps().max_storage_buffer_bytes);
      REQUIRE_MESSAGE(status.ok(), status.message());
      for (uint32_t expert = 0; expert < experts; ++expert) {
        CAPTURE(expert);
        const auto got = expert_words(*this, w.gathered, expert);
        if (offsets[expert] == offsets[expert + 1])
          CHECK(got == before[expert]);
        else if (slot_of[expert] < 0)
          CHECK(got == expert_words(*this, w.host, expert));
        else
          CHECK(got == expert_words(*this, w.cache, static_cast<uint32_t>(slot_of[expert])));
      }
    }
}

TEST_CASE_FIXTURE(GpuTest, "expert_cache: refuses fewer slots than choices, and lists and weights that do not fit together") {
  const TensorView four = upload_u32({4}, {0, 1, 2, 3});
  const auto state = [&](uint32_t slots) { return tensor({expert_cache_words(8, slots)}, DType::U32); };
  CHECK(expert_cache_update(rec, four, 8, 3, state(3), four, four).code() == Code::BadShape);
  CHECK(expert_cache_update(rec, four, 8, 9, state(9), four, four).code() == Code::BadShape);
  CHECK(expert_cache_update(rec, four, 8, 5, state(4), four, four).code() == Code::BadShape);
  const TensorView two_tokens = tensor({2, 2}, DType::U32);
  CHECK(expert_cache_update(rec, two_tokens, 8, 3, state(3), two_tokens, two_tokens).code() == Code::BadShape);
  CHECK(expert_cache_update(rec, two_tokens, 8, 4, state(4), two_tokens, two_tokens).ok());
  CHECK(expert_cache_update(rec, four, 8, 5, state(5), four, tensor({3}, DType::U32)).code() == Code::BadShape);
  CHECK(expert_cache_update(rec, four, 257, 256, tensor({expert_cache_words(257, 256)}, DType::U32), four, four).code() ==
        Code::BadShape);
  const Weights f16 = make_weights(*this, DType::F16, 8, 5, 6, 16), f32 = make_weights(*this, DType::F32, 8, 5, 6, 16);
  CHECK(expert_cache_load(rec, f16.host, f32.cache, four, four).code() == Code::BadShape);
  CHECK(expert_cache_load(rec, f16.host, f16.cache, four, tensor({3}, DType::U32)).code() == Code::BadShape);
  CHECK(expert_cache_gather(rec, f16.host, f16.cache, state(5), tensor({8}, DType::U32), f16.gathered).code() == Code::BadShape);
  CHECK(expert_cache_gather(rec, f16.host, f16.cache, state(5), tensor({9}, DType::U32), f16.cache).code() == Code::BadShape);
}
